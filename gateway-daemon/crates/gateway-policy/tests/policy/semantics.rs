//! What policies mean, as tables.
use crate::ask::{Ask, policy};
use gateway_core::{Claim, Destination, Mode, Verdict};
use gateway_policy::PolicySet;

const DB: &str = "[[resource]]\nname = \"db\"\nhosts = [\"10.0.0.7\"]\nports = [5432]\n";

fn rule(name: &str, verdict: &str, rest: &str) -> String {
    format!("[[rule]]\nname = \"{name}\"\nverdict = \"{verdict}\"\n{rest}\n")
}

/// Effects and the verdict on them, by `local:alice` on `db`.
fn table(text: &str, rows: &[(&str, &str)]) {
    let policy = policy(text);
    for (effects, expected) in rows {
        let verdict = Ask {
            effects,
            ..Ask::default()
        }
        .verdict(&policy);
        assert_eq!(verdict, *expected, "{effects}\n{text}");
    }
}

#[test]
fn without_rules_all_is_denied_and_default_allow_leaves_unknown_out() {
    table(
        "",
        &[("read", "deny"), ("connect", "deny"), ("unknown", "deny")],
    );
    let allow = "default = \"allow\"";
    table(
        allow,
        &[
            ("read x", "allow"),
            ("admin", "allow"),
            ("unknown", "deny"),
            ("read; unknown", "deny"),
        ],
    );
}

#[test]
fn every_effect_must_be_allowed_and_a_denial_of_one_is_enough() {
    let text = rule("reads", "allow", "verbs = [\"read\"]")
        + &rule("writes", "allow", "verbs = [\"write\"]")
        + &rule("drops", "deny", "verbs = [\"define\"]");
    table(
        &text,
        &[
            ("read a", "allow by reads"),
            ("write a", "allow by writes"),
            ("read a; write b", "allow by reads"),
            ("read a; delete a; write b", "deny"),
            ("read a; define b", "deny by drops"),
            ("delete a; define b", "deny by drops"),
        ],
    );
}

#[test]
fn deny_beats_allow_whatever_is_written_first() {
    let deny = rule("no", "deny", "verbs = [\"delete\"]");
    let allow = rule("yes", "allow", "");
    for text in [deny.clone() + &allow, allow + &deny] {
        table(
            &text,
            &[("delete a", "deny by no"), ("write a", "allow by yes")],
        );
    }
}

#[test]
fn verbs_with_a_star_or_without_a_list_leave_unknown_out() {
    for verbs in ["", "verbs = [\"*\"]"] {
        table(
            &rule("all", "allow", verbs),
            &[("admin", "allow by all"), ("unknown", "deny")],
        );
        // A denial neither: what could not be classified is denied by itself.
        let text = rule("all", "deny", verbs) + &rule("it", "allow", "verbs = [\"unknown\"]");
        table(
            &text,
            &[("read", "deny by all"), ("unknown", "allow by it")],
        );
    }
    let both = rule("both", "allow", "verbs = [\"*\", \"unknown\"]");
    table(
        &both,
        &[
            ("unknown", "allow by both"),
            ("read; unknown x", "allow by both"),
        ],
    );
    let named = rule("named", "allow", "verbs = [\"unknown\"]");
    table(
        &named,
        &[
            ("unknown", "allow by named"),
            ("connect", "deny"),
            ("connect; unknown", "deny"),
        ],
    );
}

#[test]
fn an_allow_needs_every_object_covered() {
    let text = rule("public", "allow", "objects = [\"public.*\"]")
        + &rule(
            "audit",
            "allow",
            "verbs = [\"read\"]\nobjects = [\"audit.log\"]",
        );
    table(
        &text,
        &[
            ("read public.a public.b", "allow by public"),
            ("read public.a audit.log", "allow by audit"),
            ("write public.a audit.log", "deny"),
            ("read public.a secret.b", "deny"),
            ("read public.a; read secret.b", "deny"),
            ("read PUBLIC.a", "deny"),
        ],
    );
}

#[test]
fn an_effect_without_objects_is_covered_unless_it_may_touch_anything() {
    let text = rule(
        "public",
        "allow",
        "verbs = [\"*\", \"unknown\"]\nobjects = [\"public.*\"]",
    );
    for verb in [
        "connect",
        "authenticate",
        "read",
        "write",
        "delete",
        "transfer",
    ] {
        table(&text, &[(verb, "allow by public")]);
    }
    for verb in ["define", "grant", "execute", "admin", "unknown"] {
        table(
            &text,
            &[
                (verb, "deny"),
                (&format!("{verb} public.a"), "allow by public"),
            ],
        );
        let any = rule(
            "any",
            "allow",
            "verbs = [\"*\", \"unknown\"]\nobjects = [\"x\", \"*\"]",
        );
        table(&any, &[(verb, "allow by any")]);
    }
}

#[test]
fn an_unresolved_object_is_covered_by_a_star_alone() {
    for objects in [
        "objects = [\"public.*\"]",
        "objects = [\"users\", \"*.users\"]",
        "objects = [\"*s\"]",
    ] {
        table(&rule("some", "allow", objects), &[("read ?users", "deny")]);
    }
    for objects in ["", "objects = [\"*\"]", "objects = [\"x\", \"**\"]"] {
        table(
            &rule("all", "allow", objects),
            &[("read ?users", "allow by all")],
        );
    }
}

#[test]
fn a_denial_catches_one_object_of_many_and_every_one_that_could_be_meant() {
    let text = rule("all", "allow", "verbs = [\"*\", \"unknown\"]")
        + &rule(
            "secret",
            "deny",
            "verbs = [\"*\", \"unknown\"]\nobjects = [\"vault.keys\", \"hr.*\"]",
        );
    table(
        &text,
        &[
            ("read public.a", "allow by all"),
            ("read public.a vault.keys", "deny by secret"),
            ("read public.a; write hr.pay", "deny by secret"),
            ("read ?keys", "deny by secret"),
            ("read ?other.keys", "deny by secret"),
            // `hr.*` could be any of them.
            ("read ?monkeys", "deny by secret"),
            // The word of protocols for an object that may be anything.
            ("admin ?*", "deny by secret"),
            ("connect", "allow by all"),
            ("read", "allow by all"),
            // A DO block, and what does not parse, could touch them too.
            ("execute", "deny by secret"),
            ("unknown", "deny by secret"),
            ("execute public.f", "allow by all"),
        ],
    );
    let text = rule("all", "allow", "") + &rule("keys", "deny", "objects = [\"vault.keys\"]");
    table(
        &text,
        &[
            ("read ?keys", "deny by keys"),
            ("read ?monkeys", "allow by all"),
            ("write ?*", "deny by keys"),
        ],
    );
}

#[test]
fn principals_are_matched_by_name_and_by_group() {
    let text = rule(
        "acme",
        "allow",
        "principals = [\"ci:github:acme/*\", \"group:eng*\"]",
    ) + &rule("out", "deny", "principals = [\"group:contractors\"]");
    let policy = policy(&text);
    for (who, expected) in [
        ("ci:github:acme/api@refs/heads/main", "allow by acme"),
        ("ci:github:acme", "deny"),
        ("local:alice", "deny"),
        ("local:alice +engineering", "allow by acme"),
        ("local:alice +ops +eng", "allow by acme"),
        ("local:alice +engineering +contractors", "deny by out"),
        // A principal that is called like a group is not in it.
        ("group:engineering", "deny"),
        ("unknown", "deny"),
    ] {
        assert_eq!(
            Ask {
                who,
                ..Ask::default()
            }
            .verdict(&policy),
            expected,
            "{who}"
        );
    }
    for principals in ["", "principals = [\"*\"]"] {
        let policy = crate::ask::policy(&rule("all", "allow", principals));
        assert_eq!(
            Ask {
                who: "unknown",
                ..Ask::default()
            }
            .verdict(&policy),
            "allow by all"
        );
    }
}

#[test]
fn delegates_only_narrow() {
    let text = rule("alice", "allow", "principals = [\"local:alice\"]")
        + &rule(
            "agent",
            "allow",
            "principals = [\"ci:agent\"]\nverbs = [\"read\"]",
        )
        + &rule("bad", "deny", "principals = [\"ci:bad\"]");
    let policy = policy(&text);
    for (who, delegates, effects, expected) in [
        ("local:alice", &[][..], "write a", "allow by alice"),
        ("local:alice", &["ci:agent"], "read a", "allow by alice"),
        ("local:alice", &["ci:agent"], "write a", "deny"),
        ("local:alice", &["ci:agent", "ci:other"], "read a", "deny"),
        (
            "local:alice",
            &["ci:agent", "ci:bad"],
            "read a",
            "deny by bad",
        ),
        ("ci:agent", &["local:alice"], "write a", "deny"),
        ("ci:agent", &["local:alice"], "read a", "allow by agent"),
    ] {
        let verdict = Ask {
            who,
            delegates,
            effects,
            ..Ask::default()
        }
        .verdict(&policy);
        assert_eq!(verdict, expected, "{who} {delegates:?} {effects}");
    }
}

#[test]
fn a_destination_has_the_resource_of_its_longest_network() {
    let text = "
resource = [
  { name = \"any\", hosts = [\"0.0.0.0/0\"] },
  { name = \"net\", hosts = [\"10.20.0.0/16\", \"fd00::/8\"] },
  { name = \"web\", hosts = [\"10.20.0.0/24\"], ports = [80, 443] },
  { name = \"one\", hosts = [\"10.20.0.7\"], ports = [5432] },
]
[policy]
name = \"p\"
";
    let policy = policy(text);
    for (to, expected) in [
        ("10.20.0.7:5432", "one"),
        ("10.20.0.7:80", "web"),
        ("10.20.0.7:22", "net"),
        ("10.20.0.8:5432", "net"),
        ("10.20.1.8:443", "net"),
        ("10.21.0.1:443", "any"),
        ("[fd00::1]:443", "net"),
        ("[::ffff:10.20.0.7]:5432", "one"),
        ("[2001:db8::1]:443", "[2001:db8::1]:443"),
    ] {
        let destination = Destination::from_address(to.parse().unwrap());
        assert_eq!(*policy.resource_name(&destination), *expected, "{to}");
        assert_eq!(
            *Ask {
                to,
                ..Ask::default()
            }
            .of(&policy)
            .resource,
            *expected,
            "{to}"
        );
    }
    // A mapped address that was not made canonical is the same destination.
    let mapped = Destination {
        ip: "::ffff:10.20.0.7".parse().unwrap(),
        port: 5432,
        hosts: Vec::new(),
        abroad: false,
        claim: Claim::Nothing,
    };
    assert_eq!(*policy.resource_name(&mapped), *"one");
}

#[test]
fn rules_name_resources_and_destinations_without_one() {
    let text = DB.to_owned()
        + &rule("db", "allow", "resources = [\"d*\"]")
        + &rule("ssh", "allow", "resources = [\"*:22\"]")
        + &rule("six", "allow", "resources = [\"[fd00:0::1]:80\"]")
        + &rule("metadata", "deny", "resources = [\"169.254.169.254:*\"]");
    let policy = policy(&text);
    for (to, expected) in [
        ("10.0.0.7:5432", "allow by db"),
        ("10.0.0.7:5433", "deny"),
        ("10.0.0.9:22", "allow by ssh"),
        ("169.254.169.254:22", "deny by metadata"),
        ("[fd00::1]:80", "allow by six"),
        ("[fd00::2]:80", "deny"),
        ("[fd00::2]:22", "allow by ssh"),
    ] {
        assert_eq!(
            Ask {
                to,
                ..Ask::default()
            }
            .verdict(&policy),
            expected,
            "{to}"
        );
    }
    // A name that became known, or a mapped address, does not lead past a denial.
    for (ip, host) in [
        ("169.254.169.254", Some("x.internal")),
        ("::ffff:169.254.169.254", None),
    ] {
        let destination = Destination {
            ip: ip.parse().unwrap(),
            port: 22,
            hosts: host.into_iter().map(Into::into).collect(),
            abroad: false,
            claim: Claim::Nothing,
        };
        let decision = Ask::default().with(|case| {
            let case = gateway_core::ports::Case {
                destination: &destination,
                ..*case
            };
            policy.decide(&case, Ask::default().now)
        });
        assert_eq!(decision.rule.as_deref(), Some("metadata"), "{ip}");
        assert_eq!(*decision.resource, *"169.254.169.254:22");
    }
    // A named destination is reached by its name alone.
    let policy =
        crate::ask::policy(&(DB.to_owned() + &rule("ip", "allow", "resources = [\"10.*\"]")));
    assert_eq!(Ask::default().verdict(&policy), "deny");
    assert_eq!(
        Ask {
            to: "10.0.0.7:1",
            ..Ask::default()
        }
        .verdict(&policy),
        "allow by ip"
    );
}

#[test]
fn a_resource_with_a_protocol_hears_no_other() {
    let text = DB.replace("hosts", "protocol = \"postgres\"\nhosts")
        + &rule("all", "allow", "verbs = [\"*\", \"unknown\"]");
    let policy = policy(&text);
    for (protocol, effects, expected) in [
        ("postgres", "read a", Verdict::Allow),
        ("", "connect", Verdict::Allow),
        ("", "connect; unknown", Verdict::Deny),
        ("", "read", Verdict::Deny),
        ("opaque", "connect", Verdict::Deny),
        ("opaque", "unknown", Verdict::Deny),
        ("mysql", "read a", Verdict::Deny),
    ] {
        let decision = Ask {
            protocol,
            effects,
            ..Ask::default()
        }
        .of(&policy);
        assert_eq!(decision.verdict, expected, "{protocol} {effects}");
        if expected == Verdict::Deny {
            assert_eq!(decision.rule, None);
            assert_eq!(
                decision.message.as_deref(),
                Some("only postgres may be spoken to db")
            );
        }
    }
    let elsewhere = Ask {
        to: "10.0.0.8:5432",
        protocol: "opaque",
        effects: "unknown",
        ..Ask::default()
    };
    assert_eq!(elsewhere.verdict(&policy), "allow by all");
}

#[test]
fn datagrams_pass_only_where_a_resource_is_for_them() {
    let all = rule("all", "allow", "verbs = [\"*\", \"unknown\"]");
    let of = |protocol: &str, to| {
        let policy = policy(&(DB.replace("hosts", &format!("{protocol}hosts")) + &all));
        let asked = Ask {
            to,
            protocol: "udp",
            effects: "connect; unknown",
            ..Ask::default()
        };
        (asked.of(&policy), policy.posture().datagrams)
    };
    let (decision, datagrams) = of("protocol = \"udp\"\n", "10.0.0.7:5432");
    assert_eq!((decision.verdict, datagrams), (Verdict::Allow, true));
    for (protocol, to, known) in [
        ("protocol = \"udp\"\n", "10.0.0.8:5432", true),
        ("", "10.0.0.7:5432", false),
    ] {
        let (decision, datagrams) = of(protocol, to);
        assert_eq!(
            (decision.verdict, datagrams),
            (Verdict::Deny, known),
            "{to}"
        );
        let message = decision.message.unwrap();
        assert!(message.contains("protocol = \"udp\""), "{message}");
    }
}

#[test]
fn the_rule_that_is_named_has_a_message_if_any_has_one() {
    let text = rule("a", "deny", "")
        + &rule("b", "deny", "message = \"ask the dba\"")
        + &rule("c", "deny", "");
    let decision = Ask::default().of(&policy(&text));
    assert_eq!(
        (decision.rule.as_deref(), decision.message.as_deref()),
        (Some("b"), Some("ask the dba"))
    );
    let text = rule("b", "allow", "") + &rule("a", "allow", "verbs = [\"read\"]");
    table(&text, &[("read", "allow by a"), ("write", "allow by b")]);
}

#[test]
fn an_operation_that_says_nothing_is_denied() {
    let text = "default = \"allow\"\n".to_owned() + &rule("all", "allow", "");
    table(&text, &[("", "deny")]);
}

#[test]
fn modes() {
    let rules =
        rule("no", "deny", "verbs = [\"write\"]") + &rule("yes", "allow", "verbs = [\"read\"]");
    for (mode, effects, verdict, rule, passes) in [
        ("enforce", "write a", Verdict::Deny, Some("no"), false),
        ("enforce", "delete a", Verdict::Deny, None, false),
        ("enforce", "read a", Verdict::Allow, Some("yes"), true),
        ("shadow", "write a", Verdict::Deny, Some("no"), true),
        ("shadow", "unknown", Verdict::Deny, None, true),
        ("observe", "write a", Verdict::Allow, None, true),
        ("observe", "unknown", Verdict::Allow, None, true),
        ("observe", "", Verdict::Allow, None, true),
    ] {
        let policy = policy(&format!("mode = \"{mode}\"\n{rules}"));
        let decision = Ask {
            effects,
            ..Ask::default()
        }
        .of(&policy);
        assert_eq!(decision.mode.name(), mode);
        assert_eq!(decision.verdict, verdict, "{mode} {effects}");
        assert_eq!(decision.rule.as_deref(), rule, "{mode} {effects}");
        assert_eq!(decision.passes(), passes, "{mode} {effects}");
    }
    assert_eq!(policy("").mode(), Mode::Enforce);
}

#[test]
fn a_cgroup_is_under_the_policy_with_the_longest_literal_prefix() {
    let files = [
        ("all", "**"),
        ("system", "system.slice/**"),
        ("runner", "system.slice/runner.service/*/**"),
        ("itself", "system.slice/runner.service"),
        ("jobs", "system.slice/ci-*.service/**"),
    ]
    .map(|(name, glob)| {
        (
            format!("{name}.toml"),
            format!("[policy]\nname = \"{name}\"\ncgroups = [\"{glob}\"]\n"),
        )
    });
    let loaded = PolicySet::load_texts(
        files
            .iter()
            .map(|(file, text)| (file.as_str(), text.as_str())),
    );
    assert_eq!(loaded.diagnostics, []);
    for (path, expected) in [
        ("", "all"),
        ("/", "all"),
        ("user.slice/x", "all"),
        ("system.slice", "system"),
        ("/system.slice/sshd.service", "system"),
        ("system.slice/runner.service", "itself"),
        ("system.slice/runner.service/job-1", "runner"),
        ("system.slice/runner.service/job-1/step", "runner"),
        ("system.slice/ci-7.service", "jobs"),
        ("system.slice/ci-7.service/a/b", "jobs"),
        ("system.slice/ci-7.slice", "system"),
    ] {
        let policy = loaded.set.for_cgroup(path).map(|policy| &**policy.name());
        assert_eq!(policy, Some(expected), "{path}");
        assert!(loaded.set.policy(expected).unwrap().governs(path), "{path}");
    }
    let policy = crate::ask::policy("cgroups = [\"a/b\"]");
    for (path, governed) in [
        ("a/b", true),
        ("a/b/c/d", true),
        ("a", false),
        ("a/bc", false),
    ] {
        assert_eq!(
            policy.governs(path),
            governed,
            "what is below is governed too: {path}"
        );
    }
    let none = PolicySet::load_texts([("p.toml", "[policy]\nname = \"p\"\n")]).set;
    assert!(
        none.for_cgroup("a").is_none(),
        "a policy for `gateway run` alone"
    );
    assert!(none.policy("p").is_some());
    let summary = serde_json::to_value(loaded.set.summaries()).unwrap();
    assert_eq!(
        summary[0],
        serde_json::json!({
            "name": "all", "mode": "enforce", "cgroups": ["**"], "file": "all.toml",
            "resources": 0, "rules": 0, "cases": 0,
        })
    );
}
