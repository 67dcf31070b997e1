//! `when`: what a condition sees, and what happens where it cannot be evaluated.
use crate::ask::{Ask, policy, process};
use crate::mistakes::check;
use gateway_core::{Attribute, Timestamp, Verdict};
use gateway_policy::Policy;
use proptest::prelude::*;
use std::sync::Arc;

/// A rule that allows under a condition.
fn allow(when: &str) -> Arc<Policy> {
    policy(&format!(
        "[[rule]]\nname = \"r\"\nverdict = \"allow\"\nwhen = '''{when}'''\n"
    ))
}

fn attributes() -> Vec<(Arc<str>, Attribute)> {
    vec![
        ("sql.has_where".into(), Attribute::Bool(true)),
        ("http.status".into(), Attribute::Int(7)),
        ("http.method".into(), Attribute::Text("GET".into())),
    ]
}

fn ask(attributes: &[(Arc<str>, Attribute)]) -> Ask<'_> {
    Ask {
        who: "ci:github:acme/api +dev +ops",
        delegates: &["user:bob +ai", "ci:x"],
        effects: "read public.users; delete public.orders",
        statement: "DELETE FROM orders",
        attributes,
        tree: &["/usr/bin/runner", "/bin/sh", "/usr/bin/psql"],
        // 2026-01-01T03:00:00Z, a Thursday
        now: Timestamp(1_767_236_400_000_000_000),
        ..Ask::default()
    }
}

#[test]
fn every_variable_is_what_it_says() {
    let attributes = attributes();
    for when in [
        "principal.id == 'ci:github:acme/api'",
        "principal.assurance == 'kernel'",
        "'ops' in principal.groups && size(principal.groups) == 2",
        "principal.groups == ['dev', 'ops']",
        "size(delegates) == 2 && delegates[0].id == 'user:bob'",
        "delegates.exists(d, 'ai' in d.groups && d.assurance == 'kernel')",
        "delegates.all(d, d.id.startsWith('user:') || d.id.startsWith('ci:'))",
        "process.exe == '/usr/bin/psql' && process.pid == 42 && process.uid == 1000",
        "'--flag' in process.argv && process.argv[0].endsWith('psql')",
        "process.cwd == '/srv' && process.cgroup.startsWith('ci.slice/')",
        "process.container == ''",
        "lineage.depth == 2 && lineage.root.exe == '/usr/bin/runner'",
        "lineage.processes[1].exe == '/bin/sh' && size(lineage.processes) == 3",
        "lineage.processes.exists(p, p.exe.endsWith('/sh'))",
        "lineage.processes.filter(p, p.exe == '/bin/sh').size() == 1",
        "lineage.processes.map(p, p.exe)[2] == process.exe",
        "lineage.processes.exists_one(p, '--flag' in p.argv && p.exe == '/bin/sh')",
        "operation.protocol == 'postgres' && operation.verb == 'read'",
        "operation.verbs == ['read', 'delete']",
        "operation.objects == ['public.users', 'public.orders']",
        "operation.objects.all(o, o.startsWith('public.'))",
        "operation.statement.contains('orders')",
        "operation.statement.matches('(?i)^delete\\\\s+from')",
        "matches(operation.statement, '^DELETE')",
        "operation.attributes['sql.has_where']",
        "operation.attributes['http.status'] > 6",
        "operation.attributes['http.method'] == 'GET'",
        "!('sql.limit' in operation.attributes) && 'sql.has_where' in operation.attributes",
        "resource.name == '10.0.0.7:5432' && resource.ip == '10.0.0.7'",
        "resource.host == '' && resource.port == 5432",
        "time.getHours() == 3 && time.getDayOfWeek() == 4 && time.getFullYear() == 2026",
        "time.getHours('Europe/Berlin') == 4",
        "time > timestamp('2025-12-31T00:00:00Z') && time < timestamp('2026-02-01T00:00:00Z')",
        "time - timestamp('2026-01-01T00:00:00Z') == duration('3h')",
        "lineage.depth > 2 ? false : true",
        "1 + 1 == 2 && -1 < 0 && 7 % 4 == 3 && 2.5 * 2.0 == 5.0",
        "string(lineage.depth) + 'x' == '2x'",
        "// who may\n  lineage.depth < 3 &&\n  true",
    ] {
        assert_eq!(
            ask(&attributes).verdict(&allow(when)),
            "allow by r",
            "{when}"
        );
        let negated = allow(&format!("!({when}\n)"));
        assert_eq!(ask(&attributes).verdict(&negated), "deny", "!({when})");
    }
}

#[test]
fn a_condition_that_fails_denies_whatever_the_rule_says() {
    let attributes = attributes();
    for when in [
        "1 / (lineage.depth - 2) > 0",
        "1 % (lineage.depth - 2) > 0",
        "operation.attributes['nothing'] == true",
        "operation.attributes['http.method']",
        "operation.attributes['http.method'] > 3",
        "lineage.processes[7].exe == ''",
        "lineage.depth * 9223372036854775807 > 0",
        "int(principal.id) == 3",
        "timestamp(principal.id) == time",
        "time.getHours(principal.id) == 3",
        "principal.groups.all(g, 1 / (size(g) - 3) > 0)",
    ] {
        for verdict in ["allow", "deny", "hold"] {
            let terms = match verdict {
                "hold" => "approvers = [\"group:dba\"]\n",
                _ => "",
            };
            let policy = policy(&format!(
                "[policy]\nname = \"p\"\ndefault = \"allow\"\n\
                 [[rule]]\nname = \"all\"\nverdict = \"allow\"\n\
                 [[rule]]\nname = \"r\"\nverdict = \"{verdict}\"\n{terms}when = '''{when}'''\n",
            ));
            let decision = ask(&attributes).of(&policy);
            assert_eq!(decision.verdict, Verdict::Deny, "{verdict} when {when}");
            assert_eq!(decision.rule.as_deref(), Some("r"), "{verdict} when {when}");
            assert_eq!(
                decision.message.as_deref(),
                Some("the condition of the rule \"r\" failed"),
            );
            assert!(decision.hold.is_none());
        }
    }
    // Where the other side settles it, there is nothing to fail on.
    for when in [
        "1 / (lineage.depth - 2) > 0 || true",
        "true || 1 / (lineage.depth - 2) > 0",
    ] {
        assert_eq!(
            ask(&attributes).verdict(&allow(when)),
            "allow by r",
            "{when}"
        );
    }
}

#[test]
fn a_condition_is_asked_only_where_its_rule_has_a_say() {
    let broken = "when = '1 / (lineage.depth - 2) > 0'\n";
    let text = |line: &str| {
        format!(
            "[[rule]]\nname = \"all\"\nverdict = \"allow\"\n\
             [[rule]]\nname = \"r\"\nverdict = \"deny\"\n{line}\n{broken}"
        )
    };
    for (line, expected) in [
        ("", "deny by r"),
        ("principals = [\"local:*\"]", "allow by all"),
        ("principals = [\"user:bob\"]", "deny by r"),
        ("resources = [\"10.0.0.9:80\"]", "allow by all"),
        ("verbs = [\"write\"]", "allow by all"),
        ("verbs = [\"delete\"]", "deny by r"),
        ("objects = [\"hr.*\"]", "allow by all"),
        ("objects = [\"public.orders\"]", "deny by r"),
        (
            "verbs = [\"read\"]\nobjects = [\"public.orders\"]",
            "allow by all",
        ),
    ] {
        assert_eq!(ask(&[]).verdict(&policy(&text(line))), expected, "{line}");
    }
    // A denial that stands is named before a condition that failed, and neither depends on order.
    let denied = text("") + "[[rule]]\nname = \"z\"\nverdict = \"deny\"\n";
    assert_eq!(ask(&[]).verdict(&policy(&denied)), "deny by z");
}

#[test]
fn what_is_too_long_or_unknown_cannot_be_looked_at() {
    let long = "x".repeat(64 * 1024 + 1);
    let objects: Vec<String> = (0..257).map(|number| format!("public.t{number}")).collect();
    let many = format!("read {}", objects.join(" "));
    let limit = format!("read {}", objects[..256].join(" "));
    let ask = Ask {
        statement: &long,
        effects: &many,
        ..ask(&[])
    };
    for when in [
        "!operation.statement.contains('DROP')",
        "!('hr.pay' in operation.objects)",
        "operation.objects.all(o, o.startsWith('public.'))",
    ] {
        let decision = ask.of(&allow(when));
        assert_eq!(decision.verdict, Verdict::Deny, "{when}");
        assert!(
            decision.message.is_some(),
            "{when}: it failed, and is not just false"
        );
        let ask = Ask {
            statement: &long[1..],
            effects: &limit,
            ..ask.clone()
        };
        assert_eq!(ask.verdict(&allow(when)), "allow by r", "{when}");
    }
    // A tree of which nothing is known.
    let nobody = Ask {
        tree: &[],
        ..ask.clone()
    };
    for when in ["process.uid != 0", "lineage.root.exe != '/bin/sh'"] {
        assert!(nobody.of(&allow(when)).message.is_some(), "{when}");
    }
    // Arguments that were not kept whole: what is looked for could be in the rest.
    let mut cut = process("/bin/x");
    cut.argv_cut = true;
    let verdict = Ask {
        effects: "read",
        statement: "",
        ..ask
    }
    .with(|case| {
        let mut subject = case.subject.clone();
        subject.lineage.processes = vec![cut];
        let case = gateway_core::ports::Case {
            subject: &subject,
            ..*case
        };
        allow("!('--force' in process.argv)").decide(&case, Timestamp(0))
    });
    assert_eq!(verdict.verdict, Verdict::Deny);
    assert!(verdict.message.is_some());
}

#[test]
fn a_decision_is_stable_when_it_hangs_on_nothing_that_changes() {
    for (when, stable) in [
        ("lineage.depth > 7", true),
        ("'sql.x' in operation.attributes", true),
        ("operation.objects.all(o, o == 'x')", true),
        ("resource.port == 1 && principal.id == 'x'", true),
        ("time.getHours() < 6", false),
        ("operation.statement == ''", false),
        ("lineage.depth > 7 && time.getHours() < 6", false),
        ("[time].exists(t, t.getHours() < 6)", false),
    ] {
        let rule = |line: &str| {
            policy(&format!(
                "[[rule]]\nname = \"all\"\nverdict = \"allow\"\n\
                 [[rule]]\nname = \"r\"\nverdict = \"deny\"\nwhen = '''{when}'''\n{line}\n"
            ))
        };
        assert_eq!(ask(&[]).of(&rule("")).stable, stable, "{when}");
        // Of the same shape means of the same objects; still, a rule that speaks of this
        // principal, resource and verb could have applied.
        assert_eq!(
            ask(&[]).of(&rule("verbs = [\"delete\"]")).stable,
            stable,
            "{when}"
        );
        assert_eq!(
            ask(&[]).of(&rule("principals = [\"ci:x\"]")).stable,
            stable,
            "{when}"
        );
        for line in [
            "verbs = [\"write\"]",
            "principals = [\"local:*\"]",
            "resources = [\"10.0.0.9:80\"]",
        ] {
            assert!(ask(&[]).of(&rule(line)).stable, "{when} {line}");
        }
    }
    assert!(ask(&[]).of(&policy("")).stable);
    let observed = "[policy]\nname = \"p\"\nmode = \"observe\"\n[[rule]]\nname = \"r\"\nverdict = \"deny\"\nwhen = 'time.getHours() < 6'\n";
    assert!(ask(&[]).of(&policy(observed)).stable);
}

#[test]
fn only_a_policy_that_asks_for_the_time_needs_it() {
    assert!(allow("time.getHours() < 6").asks_time());
    assert!(!allow("lineage.depth > 6").asks_time());
}

/// A mistake in a condition: what is said, from the line and the column on.
fn mistake(when: &str, expected: &str) {
    let head = "[policy]\nname = \"p\"\n[[rule]]\nname = \"r\"\nverdict = \"deny\"\n";
    check(&format!("{head}when = {when}\n"), &[expected]);
}

#[test]
fn mistakes_are_found_where_they_are() {
    for (when, expected) in [
        (
            "'lineage.dept > 2'",
            "6:16: `lineage` has no field \"dept\" (expected `depth`, perhaps)",
        ),
        (
            "'true && linage.depth > 2'",
            "6:17: there is no variable \"linage\" (expected `lineage`, perhaps)",
        ),
        ("'lineage.depth > > 2'", "6:25: the condition is not CEL: "),
        ("'lineage.depth >'", "6:"),
        (
            "'''\ntrue &&\n  principl.id == \"x\"'''",
            "8:3: there is no variable \"principl\"",
        ),
        (
            "\"principal.id == \\\"x\\\" && foo\"",
            "6:8: there is no variable \"foo\"",
        ),
        (
            "'principal.id'",
            "6:9: the condition is a string (expected something that is true or false)",
        ),
        ("'lineage.depth'", "6:9: the condition is an int"),
        (
            "'principal.id == 3'",
            "6:22: `==` between a string and an int",
        ),
        (
            "'principal == 3'",
            "6:9: `principal` is not a value by itself (expected one of its fields: `id`",
        ),
        ("'process.exe > 3'", "6:21: `>` between a string and an int"),
        (
            "'\"a\" in principal.id'",
            "6:13: `in` between a string and a string",
        ),
        (
            "'3 in principal.groups'",
            "6:11: `in` between an int and a list",
        ),
        ("'!lineage.depth'", "6:"),
        (
            "'lineage.processes.exists(p, p.exee == \"x\")'",
            "6:38: `process` has no field \"exee\" (expected `exe`, perhaps)",
        ),
        ("'lineage.processes.all(p, p == p)'", "6:"),
        (
            "'principal.exists(p, true)'",
            "6:9: `principal` is not a value by itself",
        ),
        ("'principal.id.exists(p, true)'", "6:"),
        ("'principal.groups.exists(time, true)'", "6:"),
        ("'frob(1)'", "6:"),
        ("'principal.id.lowerAscii() == \"x\"'", "6:"),
        ("'size(3) == 1'", "6:"),
        ("'has(principal.id)'", "6:"),
        ("'principal.id.matches(\"(\")'", "6:"),
        ("'principal.id.matches(process.exe)'", "6:"),
        ("'principal.id.matches(\"(a{1000}){1000}\")'", "6:"),
        (
            "'operation.objects.exists(o, operation.statement.contains(o))'",
            "6:",
        ),
        (
            "'principal.groups.exists(g, principal.groups.exists(h, g == h))'",
            "6:",
        ),
        ("'b\"x\" == b\"x\"'", "6:"),
        ("'dyn(principal.id) == 3'", "6:"),
        ("'time.getHours(\"Nowhere/City\") == 3'", "6:"),
        ("'.principal.id == \"x\"'", "6:"),
        ("'principal.groups + principal.groups == []'", "6:"),
        ("'{\"a\": 1}[\"a\"] == 1'", "6:"),
        ("'1 / 0 > 0'", "6:11: this always fails: division by zero"),
        ("'timestamp(\"soon\") == time'", "6:"),
        ("''", "6:8: the condition is empty"),
        ("'  '", "6:9: the condition is empty"),
        ("3", "6:8: `when` is an integer"),
    ] {
        mistake(when, expected);
    }
}

#[test]
fn what_could_explode_is_refused() {
    for when in [
        "1+".repeat(400) + "1 > 0",
        "(".repeat(450) + "true" + &")".repeat(450),
        "[".repeat(1000),
        "true?true:".repeat(90) + "true",
        "principal".to_owned() + &".id".repeat(300),
        "principal.groups".to_owned() + &"[0]".repeat(300),
        "true && ".repeat(200) + "true",
        "principal.groups.exists(g, true) && ".repeat(5) + "true",
        "principal.groups".to_owned() + &".map(g, g)".repeat(60) + " == []",
        "size(".repeat(160) + "'x'" + &")".repeat(160) + " == 1",
    ] {
        let head = "[policy]\nname = \"p\"\n[[rule]]\nname = \"r\"\nverdict = \"deny\"\n";
        let text = format!("{head}when = '''{when}'''\n");
        let loaded = gateway_policy::PolicySet::load_texts([("p.toml", text.as_str())]);
        assert_eq!(loaded.diagnostics.len(), 1, "{when}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn no_expression_breaks_the_reader_or_the_judge(
        words in proptest::collection::vec(proptest::sample::select(vec![
            "principal.id", "principal.groups", "lineage.depth", "lineage.processes", "time",
            "operation.attributes", "operation.statement", "&&", "||", "!", "==", "<", "+", "-",
            "/", "%", "in", "(", ")", "[", "]", "?", ":", ".", ",", "1", "0", "-9223372036854775808",
            "\"a\"", "size(", ".exists(x, ", ".all(p, p.exe == ", ".matches(\"a+\")", "x", "true",
            ".getHours()", "int(", "duration(\"1h\")", "1.5", "2u", "\u{fc}",
        ]), 1..12),
    ) {
        let text = format!(
            "[policy]\nname = \"p\"\n[[rule]]\nname = \"r\"\nverdict = \"allow\"\nwhen = \'\'\'{}\'\'\'\n",
            words.join(" ")
        );
        let loaded = gateway_policy::PolicySet::load_texts([("p.toml", text.as_str())]);
        prop_assert_eq!(loaded.set.is_empty(), !loaded.diagnostics.is_empty());
        loaded.diagnostics.iter().for_each(|diagnostic| drop(diagnostic.render()));
        if let Some(policy) = loaded.set.policies().next() {
            ask(&[]).of(policy);
        }
    }
}
