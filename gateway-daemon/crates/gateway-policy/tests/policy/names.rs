//! Resources by name: which names find which resource, and what a name cannot do.
use crate::ask::{Ask, policy};
use crate::mistakes::check;
use gateway_core::{Claim, LinkTerms, UpstreamTls};
use gateway_policy::{Policy, PolicySet, run_cases};
use std::sync::Arc;

const HEAD: &str = "
resource = [
  { name = \"orders\", hosts = [\"Orders.DB.internal.\"], ports = [5432] },
  { name = \"dbs\", hosts = [\"*.db.internal\"] },
  { name = \"prod\", hosts = [\"prod-*.db.internal\"] },
  { name = \"one\", hosts = [\"10.0.0.9\", \"one.internal\"] },
  { name = \"net\", hosts = [\"10.20.0.0/16\"] },
]
[policy]
name = \"p\"
";

fn with(rules: &str) -> Arc<Policy> {
    policy(&format!("{HEAD}\n{rules}"))
}

fn ask<'a>(hosts: &'a [&'a str]) -> Ask<'a> {
    Ask {
        hosts,
        ..Ask::default()
    }
}

#[test]
fn a_name_finds_the_resource_that_has_it_else_the_longest_pattern() {
    let policy = with("");
    for (to, hosts, expected) in [
        ("10.0.0.7:5432", &["orders.db.internal"][..], "orders"),
        ("10.0.0.7:5433", &["orders.db.internal"], "dbs"),
        ("10.0.0.7:5432", &["other.db.internal"], "dbs"),
        ("10.0.0.7:5432", &["prod-7.db.internal"], "prod"),
        ("10.0.0.7:5432", &["a.b.db.internal"], "dbs"),
        ("10.0.0.7:5432", &["db.internal"], "10.0.0.7:5432"),
        (
            "10.0.0.7:5432",
            &["x.orders.db.internal.evil"],
            "10.0.0.7:5432",
        ),
        ("[fd00::7]:5432", &["orders.db.internal"], "orders"),
        ("10.0.0.7:5432", &[], "10.0.0.7:5432"),
        // Addresses come first, and the longer one of them.
        ("10.20.0.7:5432", &["orders.db.internal"], "net"),
        ("10.0.0.9:5432", &["orders.db.internal"], "one"),
        ("10.0.0.8:5432", &["one.internal"], "one"),
        // Of several names the one that was asked for last.
        (
            "10.0.0.7:5432",
            &["evil.example", "orders.db.internal"],
            "orders",
        ),
        (
            "10.0.0.7:5432",
            &["orders.db.internal", "evil.example"],
            "orders",
        ),
        (
            "10.0.0.7:5432",
            &["a.db.internal", "orders.db.internal"],
            "dbs",
        ),
        (
            "10.0.0.7:5432",
            &["orders.db.internal", "a.db.internal"],
            "orders",
        ),
    ] {
        let ask = Ask { to, ..ask(hosts) };
        let found = policy.resource_name(&ask.destination());
        assert_eq!(*found, *expected, "{to} {hosts:?}");
        assert_eq!(*ask.of(&policy).resource, *expected, "{to} {hosts:?}");
    }
}

#[test]
fn a_policy_says_whether_it_needs_name_servers() {
    let of = |host: &str| {
        policy(&format!(
            "[[resource]]\nname = \"r\"\nhosts = [\"{host}\"]\n"
        ))
        .asks_names()
    };
    assert!(!of("10.0.0.7"));
    assert!(of("db.internal") && of("*.internal"));
}

#[test]
fn two_resources_cannot_have_the_same_name() {
    let two = |left: &str, right: &str| {
        format!(
            "[policy]\nname = \"p\"\n[[resource]]\nname = \"a\"\nhosts = [{left}]\n\
             [[resource]]\nname = \"b\"\nhosts = [{right}]\n"
        )
    };
    check(
        &two("\"db.internal\"", "\"DB.internal.\""),
        &[
            "8:10: db.internal belongs to the resource \"a\" too (expected other hosts or ports than on line 5)",
        ],
    );
    check(
        &two("\"*.internal\"", "\"x\", \"*.internal\""),
        &[
            "8:15: *.internal belongs to the resource \"a\" too (expected other hosts or ports than on line 5)",
        ],
    );
    check(
        &two("\"db-*.internal\"", "\"*-db.internal\""),
        &[
            "8:10: *-db.internal and db-*.internal of the resource \"a\" can match the same name, and have as many characters beside `*` (expected other hosts or ports than on line 5)",
        ],
    );
    // Other ports, another length, no common name, or one resource: no tie.
    for (left, right) in [
        (
            "\"db.internal\"]\nports = [1",
            "\"db.internal\"]\nports = [2",
        ),
        ("\"db.internal\"", "\"*.internal\""),
        ("\"*.internal\"", "\"*.db.internal\""),
        ("\"a*.internal\"", "\"b*.internal\""),
        (
            "\"db.internal\", \"DB.internal\", \"*.x\", \"*.x\"",
            "\"x.y\"",
        ),
    ] {
        check(&two(left, right), &[]);
    }
    let many: Vec<String> = (0..=256).map(|n| format!("\"*.n{n}.internal\"")).collect();
    check(
        &two("\"db.internal\"", &many.join(", ")),
        &["8:4764: more than 256 patterns over names (expected names, or fewer patterns)"],
    );
}

const RULES: &str = "
[[rule]]
name = \"orders\"
resources = [\"orders\"]
verbs = [\"connect\", \"read\"]
verdict = \"allow\"

[[rule]]
name = \"dbs\"
resources = [\"dbs\"]
verbs = [\"connect\", \"read\", \"write\"]
verdict = \"allow\"

[[rule]]
name = \"no deletes\"
resources = [\"dbs\"]
verbs = [\"delete\"]
verdict = \"deny\"

[[rule]]
name = \"metadata\"
resources = [\"169.254.169.254:*\"]
verdict = \"deny\"

[[rule]]
name = \"address\"
resources = [\"10.0.0.7:*\"]
verbs = [\"execute\"]
verdict = \"allow\"

[[rule]]
name = \"all deletes\"
verbs = [\"delete\"]
resources = [\"orders\"]
verdict = \"allow\"
";

#[test]
fn a_rule_for_a_name_is_for_whoever_asked_for_it() {
    let policy = with(RULES);
    for (hosts, effects, expected) in [
        (&["orders.db.internal"][..], "read", "allow by orders"),
        (&["orders.db.internal"], "write", "deny"),
        (&[], "read", "deny"),
        (&["evil.example"], "read", "deny"),
        // A rule that allows the address is about destinations that no resource has.
        (&[], "execute", "allow by address"),
        (&["evil.example"], "execute", "allow by address"),
        (&["orders.db.internal"], "execute", "deny"),
    ] {
        let verdict = Ask {
            effects,
            ..ask(hosts)
        }
        .verdict(&policy);
        assert_eq!(verdict, expected, "{hosts:?} {effects}");
    }
}

/// What a tree asks for later must not lead past what is said about an earlier name or an address.
#[test]
fn a_second_name_takes_nothing_away() {
    let policy = with(RULES);
    let (orders, other) = ("orders.db.internal", "other.db.internal");
    for hosts in [
        &[orders, other][..],
        &[other, orders],
        &[other, "evil.example", orders],
    ] {
        for (effects, expected) in [
            ("read", "allow"),
            ("write", "deny"),
            ("delete", "deny by no deletes"),
            ("read; write", "deny"),
        ] {
            let verdict = Ask {
                effects,
                ..ask(hosts)
            }
            .verdict(&policy);
            let expected = match (expected, hosts[0] == orders) {
                ("allow", true) => "allow by orders",
                ("allow", false) => "allow by dbs",
                (other, _) => other,
            };
            assert_eq!(verdict, expected, "{hosts:?} {effects}");
        }
    }
    let decision = Ask {
        effects: "write",
        ..ask(&[other, orders])
    }
    .of(&policy);
    assert_eq!(
        decision.message.as_deref(),
        Some("10.0.0.7:5432 belongs to dbs, orders, each of which has to allow it")
    );
    assert_eq!(*decision.resource, *"dbs");
    // And what denies an address denies it by whatever name.
    for hosts in [&[][..], &[orders], &["evil.example"], &[other, orders]] {
        let verdict = Ask {
            to: "169.254.169.254:5432",
            ..ask(hosts)
        }
        .verdict(&policy);
        assert_eq!(verdict, "deny by metadata", "{hosts:?}");
    }
}

/// The more names, the less is allowed: for all names of a destination that has a resource by one
/// of them, and all sets that have more.
#[test]
fn more_names_never_allow_more() {
    let policy = with(RULES);
    let names = [
        "orders.db.internal",
        "other.db.internal",
        "prod-1.db.internal",
        "evil.example",
    ];
    let sets: Vec<Vec<&str>> = (0u8..16)
        .map(|bits| {
            let chosen = names
                .iter()
                .zip(0u8..)
                .filter(|(_, bit)| bits >> bit & 1 == 1);
            chosen.map(|(name, _)| *name).collect()
        })
        .collect();
    let allows = |hosts: &[&str], effects: &'static str| {
        let verdict = Ask {
            effects,
            ..ask(hosts)
        }
        .verdict(&policy);
        verdict.starts_with("allow")
    };
    let mut compared = 0;
    for fewer in &sets {
        let by_name = policy.resource_name(&ask(fewer).destination());
        if by_name.contains(':') {
            continue;
        }
        for more in sets
            .iter()
            .filter(|more| fewer.iter().all(|name| more.contains(name)))
        {
            for effects in ["read", "write", "delete", "execute", "read; write"] {
                let turned: Vec<&str> = more.iter().rev().copied().collect();
                for more in [more, &turned] {
                    compared += 1;
                    let wider = !allows(fewer, effects) && allows(more, effects);
                    assert!(!wider, "{effects}: {fewer:?} and then {more:?}");
                }
            }
        }
    }
    assert!(compared > 100, "{compared}");
}

#[test]
fn holds_masks_and_protocols_of_every_name_and_of_the_address_count() {
    let text = "
[policy]
name = \"p\"

[[resource]]
name = \"a\"
hosts = [\"a.internal\"]

[[resource]]
name = \"b\"
protocol = \"postgres\"
hosts = [\"b.internal\"]

[[mask]]
name = \"emails\"
fields = [\"*.email\"]

[[rule]]
name = \"all\"
resources = [\"a\", \"b\"]
verdict = \"allow\"
verbs = [\"connect\", \"read\", \"write\", \"unknown\"]

[[rule]]
name = \"b masks\"
resources = [\"b\"]
verbs = [\"read\"]
verdict = \"allow\"
masks = [\"emails\"]

[[rule]]
name = \"address holds\"
resources = [\"10.0.0.7:*\"]
verbs = [\"write\"]
verdict = \"hold\"
approvers = [\"local:root\"]
";
    let policy = policy(text);
    let covers = |hosts: &[&str]| ask(hosts).of(&policy).masks.unwrap().cover();
    assert!(!covers(&["a.internal"]));
    assert!(covers(&["b.internal"]));
    assert!(covers(&["a.internal", "b.internal"]));
    let of = |hosts, effects, protocol| {
        Ask {
            effects,
            protocol,
            ..ask(hosts)
        }
        .of(&policy)
    };
    let held = of(&["a.internal"], "write", "postgres");
    assert_eq!(held.verdict.to_string(), "hold");
    assert_eq!(held.rule.as_deref(), Some("address holds"));
    assert_eq!(held.hold.unwrap().rules.len(), 1);
    let free = Ask {
        to: "10.0.0.8:5432",
        effects: "write",
        ..ask(&["a.internal"])
    };
    assert_eq!(free.verdict(&policy), "allow by all");
    let opaque = of(&["a.internal"], "unknown", "opaque");
    assert_eq!(opaque.verdict.to_string(), "allow");
    let opaque = of(&["a.internal", "b.internal"], "unknown", "opaque");
    assert_eq!(opaque.verdict.to_string(), "deny");
    assert_eq!(
        opaque.message.as_deref(),
        Some("only postgres may be spoken to b")
    );
    // Nobody asks about an address that only a hold speaks of: it allows nothing by a name.
    let text = text.replace("\"read\", \"write\", \"unknown\"", "\"read\"");
    let narrow = crate::ask::policy(&text);
    let refused = Ask {
        effects: "write",
        ..ask(&["a.internal"])
    };
    assert_eq!(refused.verdict(&narrow), "deny");
    assert_eq!(ask(&[]).verdict(&narrow), "deny");
}

#[test]
fn a_certificate_is_for_the_name_that_the_policy_has() {
    let text = "
[policy]
name = \"p\"

[[resource]]
name = \"named\"
hosts = [\"orders.db.internal\", \"*.dbs.internal\", \"10.20.0.0/16\"]
ports = [5432]
tls = { upstream = \"verify-full\" }

[[resource]]
name = \"told\"
hosts = [\"told.internal\"]
tls = { upstream = \"verify-full\", name = \"cert.internal\" }

[[resource]]
name = \"silent\"
hosts = [\"silent.internal\"]

[[resource]]
name = \"login\"
hosts = [\"login.internal\"]
credential = \"secret\"
";
    let policy = policy(text);
    let terms = |to, hosts| -> Arc<LinkTerms> {
        policy.link_terms(&Ask { to, ..ask(hosts) }.destination())
    };
    for (to, hosts, expected) in [
        (
            "10.0.0.7:5432",
            &["orders.db.internal"][..],
            Some("orders.db.internal"),
        ),
        (
            "10.0.0.7:5432",
            &["evil.example", "orders.db.internal"],
            Some("orders.db.internal"),
        ),
        ("10.0.0.7:5432", &["a.dbs.internal"], Some("a.dbs.internal")),
        (
            "10.20.0.7:5432",
            &["evil.example", "orders.db.internal"],
            Some("orders.db.internal"),
        ),
        ("10.20.0.7:5432", &["evil.example", "told.internal"], None),
        ("10.20.0.7:5432", &[], None),
        ("10.0.0.7:5432", &["evil.example"], None),
        ("10.0.0.7:5432", &["told.internal"], Some("cert.internal")),
        (
            "10.0.0.7:5432",
            &["silent.internal"],
            Some("silent.internal"),
        ),
        ("10.0.0.7:5432", &["login.internal"], Some("login.internal")),
    ] {
        let terms = terms(to, hosts);
        assert_eq!(terms.name.as_deref(), expected, "{to} {hosts:?}");
    }
    let named = terms("10.0.0.7:5432", &["orders.db.internal"]);
    assert_eq!(
        (named.upstream, &*named.resource),
        (UpstreamTls::VerifyFull, "named")
    );
    let silent = terms("10.0.0.7:5432", &["silent.internal"]);
    assert_eq!(silent.upstream, UpstreamTls::WhereOffered);
    let login = terms("10.0.0.7:5432", &["login.internal"]);
    assert_eq!(login.credential.as_deref(), Some("secret"));
    assert_eq!(login.upstream, UpstreamTls::VerifyFull);
    // Whoever connects without having asked for the name gets nothing of it.
    let nobody = terms("10.0.0.7:5432", &[]);
    assert_eq!(nobody.credential, None);
}

#[test]
fn conditions_see_the_name_by_which_the_resource_was_found() {
    let rule = "
[[rule]]
name = \"by name\"
when = 'resource.host == \"orders.db.internal\" && resource.name == \"orders\"'
verdict = \"allow\"
";
    let policy = with(rule);
    for (hosts, expected) in [
        (&["orders.db.internal"][..], "allow by by name"),
        (&["evil.example", "orders.db.internal"], "allow by by name"),
        (&["evil.example"], "deny"),
        (&[], "deny"),
    ] {
        assert_eq!(ask(hosts).verdict(&policy), expected, "{hosts:?}");
    }
}

/// A condition that denies by a name is not evaded by a later one: of the same resource, of another,
/// of none, or where there is no resource at all.
#[test]
fn conditions_are_asked_about_every_name() {
    let text = "
[policy]
name = \"p\"

[[resource]]
name = \"dbs\"
hosts = [\"*.db.internal\"]

[[resource]]
name = \"own\"
hosts = [\"*.own.internal\"]

[[resource]]
name = \"net\"
hosts = [\"10.20.0.0/16\"]

[[mask]]
name = \"emails\"
fields = [\"*.email\"]

[[rule]]
name = \"all\"
verdict = \"allow\"
verbs = [\"read\", \"write\"]

[[rule]]
name = \"not prod\"
verdict = \"deny\"
verbs = [\"write\"]
when = 'resource.host == \"prod.db.internal\"'

[[rule]]
name = \"not here\"
verdict = \"deny\"
resources = [\"dbs\"]
verbs = [\"write\"]
when = 'resource.name == \"dbs\" && resource.host == \"here.db.internal\"'

[[rule]]
name = \"masks\"
verdict = \"allow\"
verbs = [\"read\"]
masks = [\"emails\"]
when = 'resource.host.startsWith(\"prod.\")'

[[rule]]
name = \"asks\"
verdict = \"hold\"
verbs = [\"delete\"]
approvers = [\"local:root\"]
when = 'resource.host == \"prod.db.internal\"'

[[rule]]
name = \"own deletes\"
verdict = \"allow\"
verbs = [\"delete\"]
when = 'resource.host == \"x.own.internal\" || resource.host == \"evil.example\"'
";
    let policy = policy(text);
    let prod = "prod.db.internal";
    for later in [
        None,
        Some("other.db.internal"),
        Some("x.own.internal"),
        Some("evil.example"),
    ] {
        let hosts: Vec<&str> = later.into_iter().chain([prod]).collect();
        for to in ["10.0.0.7:5432", "10.20.0.7:5432"] {
            let writes = Ask {
                to,
                effects: "write",
                ..ask(&hosts)
            };
            assert_eq!(
                writes.verdict(&policy),
                "deny by not prod",
                "{to} {hosts:?}"
            );
            let masks = Ask { to, ..ask(&hosts) }.of(&policy).masks.unwrap();
            assert!(masks.cover(), "{to} {hosts:?}");
        }
    }
    for (hosts, effects, expected) in [
        // Each name is asked about with its own resource.
        (
            &["x.own.internal", "here.db.internal"][..],
            "write",
            "deny by not here",
        ),
        (&["x.own.internal", "evil.example"], "write", "allow by all"),
        // What holds by one name holds by all; what allows does so by the name that counts.
        (&["x.own.internal"], "delete", "allow by own deletes"),
        (
            &["x.own.internal", "evil.example"],
            "delete",
            "allow by own deletes",
        ),
        (&[prod, "evil.example"], "delete", "hold by asks"),
        (&["evil.example", prod], "delete", "hold by asks"),
        (&["x.own.internal", prod], "delete", "hold by asks"),
        (&["evil.example"], "delete", "allow by own deletes"),
        (
            &["evil.example", "unknown.example"],
            "delete",
            "allow by own deletes",
        ),
        (&["unknown.example", "evil.example"], "delete", "deny"),
        (&["x.own.internal", "other.db.internal"], "delete", "deny"),
    ] {
        let verdict = Ask {
            effects,
            ..ask(hosts)
        }
        .verdict(&policy);
        assert_eq!(verdict, expected, "{hosts:?} {effects}");
    }
    let free = ask(&["x.own.internal", "evil.example"]).of(&policy);
    assert!(!free.masks.unwrap().cover());
}

#[test]
fn cases_and_references_can_say_a_name() {
    let text = format!(
        "{HEAD}\n{RULES}
[[rule]]
name = \"when\"
resources = [\"one\"]
when = 'resource.host == \"one.internal\" && resource.port == 80'
verdict = \"allow\"

[[rule]]
name = \"ip\"
resources = [\"prod\"]
when = 'resource.ip == \"10.0.0.7\"'
verdict = \"allow\"

[[case]]
who = {{ principal = \"local:alice\" }}
operation = {{ resource = \"ORDERS.db.internal:5432\", verb = \"read\" }}
verdict = \"allow\"
rule = \"orders\"

[[case]]
who = {{ principal = \"local:alice\" }}
operation = {{ resource = \"a.db.internal:5432\", verb = \"delete\" }}
verdict = \"deny\"
rule = \"no deletes\"

[[case]]
who = {{ principal = \"local:alice\" }}
operation = {{ resource = \"one.internal:80\", verb = \"read\" }}
verdict = \"allow\"
rule = \"when\"

[[case]]
who = {{ principal = \"local:alice\" }}
operation = {{ resource = \"prod-1.db.internal:80\", verb = \"read\" }}
verdict = \"allow\"
"
    );
    let loaded = PolicySet::load_texts([("p.toml", text.as_str())]);
    assert_eq!(loaded.diagnostics, []);
    let results = run_cases(&loaded.set, &|_, _| Err("not asked".into()));
    let passed: Vec<bool> = results.iter().map(|result| result.passed).collect();
    assert_eq!(passed, [true, true, true, false]);
    assert!(
        results[3]
            .because
            .contains("condition of rule \"ip\" failed"),
        "a name says no address: {}",
        results[3].because
    );
    let reference = |text: &str| {
        format!(
            "[policy]\nname = \"p\"\n[[resource]]\nname = \"orders\"\nhosts = [\"orders.internal\"]\n\
             [[rule]]\nname = \"r\"\nverdict = \"allow\"\nresources = [\"{text}\"]\n"
        )
    };
    check(&reference("orders"), &[]);
    check(
        &reference("orders.internal:5432"),
        &["9:14: \"orders.internal:5432\" is the resource \"orders\" here (expected \"orders\""],
    );
    check(
        &reference("other.internal:5432"),
        &["9:14: the host name in \"other.internal:5432\" is known, but not built"],
    );
}

#[test]
fn an_explanation_says_which_other_resources_have_a_say() {
    let policy = with(RULES);
    let asked = Ask {
        effects: "write",
        ..ask(&["other.db.internal", "orders.db.internal"])
    };
    let explanation = asked.with(|case| policy.explain(case, asked.now));
    assert_eq!(explanation.other_resources, ["orders".into()]);
    let shown = explanation.to_string();
    assert!(
        shown.contains("it belongs to orders too, each of which has to allow it"),
        "{shown}"
    );
    assert!(
        shown.contains("write [] for local:alice at dbs as other.db.internal\n    allow"),
        "{shown}"
    );
    assert!(
        shown.contains(
            "write [] for local:alice at orders as orders.db.internal\n    no rule allows it"
        ),
        "{shown}"
    );
    assert_eq!(
        explanation.because,
        "no rule allows write for local:alice at orders as orders.db.internal"
    );
}

/// A client that does not say so that it can be read for which server it asks.
fn doubted<'a>(hosts: &'a [&'a str]) -> Ask<'a> {
    Ask {
        claim: Claim::Unreadable,
        ..ask(hosts)
    }
}

const DOUBTS: &str = "
[[rule]]
name = \"by name\"
resources = [\"orders\", \"one\"]
verdict = \"allow\"

[[rule]]
name = \"no writes\"
resources = [\"orders\"]
verbs = [\"write\"]
verdict = \"deny\"

[[rule]]
name = \"as asked\"
when = 'resource.host == \"a.other\"'
verdict = \"allow\"

[[rule]]
name = \"never asked\"
when = 'resource.host == \"b.other\"'
verdict = \"deny\"
";

#[test]
fn a_name_that_is_doubted_allows_nothing_and_denies_as_before() {
    let orders = &["orders.db.internal"][..];
    let policy = with(DOUBTS);
    assert_eq!(ask(orders).verdict(&policy), "allow by by name");
    let decision = doubted(orders).of(&policy);
    assert_eq!(decision.verdict, gateway_core::Verdict::Deny);
    assert_eq!(*decision.resource, *"10.0.0.7:5432");
    let message = decision.message.unwrap_or_default();
    assert!(message.contains("do not count"), "{message}");
    assert_eq!(ask(&["a.other"]).verdict(&policy), "allow by as asked");
    assert_eq!(doubted(&["a.other"]).verdict(&policy), "deny");
    // The address itself is not doubted.
    let own = Ask {
        to: "10.0.0.9:5432",
        ..doubted(&["one.internal"])
    };
    assert_eq!(own.verdict(&policy), "allow by by name");

    // Where the address is allowed, what denies by the name still does.
    let address = "[[rule]]\nname = \"address\"\nresources = [\"10.0.*\"]\nverdict = \"allow\"\n";
    let policy = with(&format!("{DOUBTS}{address}"));
    assert_eq!(doubted(orders).verdict(&policy), "allow by address");
    let write = Ask {
        effects: "write",
        ..doubted(orders)
    };
    assert_eq!(write.verdict(&policy), "deny by no writes");
    assert_eq!(
        doubted(&["b.other"]).verdict(&policy),
        "deny by never asked"
    );
}

#[test]
fn what_the_client_asks_for_has_to_be_allowed_by_its_own_name() {
    let policy = with(DOUBTS);
    let (orders, evil) = ("orders.db.internal", "evil.example");
    let claiming = |hosts: &'static [&'static str], name: &str| Ask {
        claim: Claim::Server(name.into()),
        ..ask(hosts)
    };
    const BOTH: &[&str] = &["evil.example", "orders.db.internal"];
    assert_eq!(ask(BOTH).verdict(&policy), "allow by by name");
    assert_eq!(claiming(BOTH, orders).verdict(&policy), "allow by by name");
    assert_eq!(claiming(BOTH, evil).verdict(&policy), "deny");
    assert_eq!(claiming(BOTH, "third.example").verdict(&policy), "deny");
    assert_eq!(claiming(&["evil.example"], orders).verdict(&policy), "deny");
    // Another resource's name need not allow what it is not asked for, and may deny it.
    const TWO: &[&str] = &["other.db.internal", "orders.db.internal"];
    assert_eq!(ask(TWO).verdict(&policy), "deny");
    assert_eq!(claiming(TWO, orders).verdict(&policy), "allow by by name");
    let write = Ask {
        effects: "write",
        ..claiming(TWO, "other.db.internal")
    };
    assert_eq!(write.verdict(&policy), "deny by no writes");
    let asked = claiming(&["a.other", "b.other"], "a.other");
    assert_eq!(asked.verdict(&policy), "deny by never asked");
}

const INSIDE: &str = "
[[rule]]
name = \"net\"
resources = [\"net\"]
verbs = [\"read\"]
verdict = \"allow\"

[[rule]]
name = \"tunnels\"
resources = [\"[64:ff9b:*\", \"[2002:*\"]
verdict = \"allow\"

[[rule]]
name = \"never\"
resources = [\"10.66.*\"]
verdict = \"deny\"

[[rule]]
name = \"no deletes\"
resources = [\"net\"]
verbs = [\"delete\"]
verdict = \"deny\"
";

#[test]
fn an_address_inside_of_another_is_judged_too() {
    let policy = with(INSIDE);
    for (to, effects, expected) in [
        ("[64:ff9b::10.20.0.7]:5432", "read", "allow by net"),
        ("[64:ff9b::10.20.0.7]:5432", "write", "deny"),
        ("[64:ff9b::10.20.0.7]:5432", "delete", "deny by no deletes"),
        ("[64:ff9b::10.66.0.7]:5432", "read", "deny by never"),
        ("[64:ff9b::10.67.0.7]:5432", "write", "allow by tunnels"),
        // A tunnel to it is not it: it has to be allowed itself.
        ("[2002:a14:7::1]:5432", "read", "allow by tunnels"),
        ("[2002:a14:7::1]:5432", "write", "deny"),
        ("[2002:a14:7::1]:5432", "delete", "deny by no deletes"),
        ("[2002:a42:7::1]:5432", "read", "deny by never"),
        ("[fd00::5efe:10.20.0.7]:5432", "read", "deny"),
        ("[fd00::1]:5432", "read", "deny"),
    ] {
        let ask = Ask {
            to,
            effects,
            ..Ask::default()
        };
        assert_eq!(ask.verdict(&policy), expected, "{to} {effects}");
    }
    let through = Ask {
        to: "[64:ff9b::10.20.0.7]:5432",
        ..Ask::default()
    };
    assert_eq!(*through.of(&policy).resource, *"net");
}
