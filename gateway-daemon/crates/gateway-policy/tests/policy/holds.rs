//! Rules that hold: what they catch, what they cover, and on which terms.
use crate::ask::{Ask, policy};
use crate::mistakes::check;
use gateway_core::{Grant, Verdict};
use std::time::Duration;

const HOLD: &str = "verdict = \"hold\"\napprovers = [\"group:dba\"]\n";

fn rules(rules: &[(&str, &str)]) -> std::sync::Arc<gateway_policy::Policy> {
    let text: String = rules
        .iter()
        .map(|(name, lines)| format!("[[rule]]\nname = \"{name}\"\n{lines}\n"))
        .collect();
    policy(&text)
}

const ALLOW: &str = "verdict = \"allow\"";

#[test]
fn deny_beats_hold_and_hold_beats_allow() {
    let hold = format!("{HOLD}verbs = [\"write\"]");
    let deny = "verdict = \"deny\"\nverbs = [\"write\"]\nobjects = [\"hr.*\"]";
    let policy = rules(&[("all", ALLOW), ("ask", &hold), ("never", deny)]);
    for (effects, expected) in [
        ("read public.a", "allow by all"),
        ("write public.a", "hold by ask"),
        ("read public.a; write public.b", "hold by ask"),
        ("write hr.pay", "deny by never"),
        ("write public.a hr.pay", "deny by never"),
        ("unknown", "deny"),
    ] {
        let ask = Ask {
            effects,
            ..Ask::default()
        };
        assert_eq!(ask.verdict(&policy), expected, "{effects}");
        assert_eq!(
            ask.of(&policy).hold.is_some(),
            expected.starts_with("hold"),
            "{effects}"
        );
    }
}

#[test]
fn a_hold_covers_what_it_names_and_nothing_else() {
    let hold =
        format!("{HOLD}verbs = [\"write\"]\nobjects = [\"public.*\"]\nprincipals = [\"local:*\"]");
    let policy = rules(&[("ask", &hold)]);
    for (effects, expected) in [
        ("write public.a", "hold by ask"),
        ("write public.a public.b", "hold by ask"),
        // Another object, another verb: somebody must have allowed them.
        ("write public.a hr.pay", "deny"),
        ("read public.a; write public.a", "deny"),
        ("write public.a; write", "deny"),
        ("write public.a; unknown", "deny"),
        // It could be meant, so it is held where it is allowed; a hold does not allow it.
        ("write ?a", "deny"),
        ("write hr.pay", "deny"),
        ("read public.a", "deny"),
    ] {
        let ask = Ask {
            effects,
            ..Ask::default()
        };
        assert_eq!(ask.verdict(&policy), expected, "{effects}");
    }
    let both = rules(&[("ask", &hold), ("all", ALLOW)]);
    for (effects, expected) in [
        ("write public.a hr.pay", "hold by ask"),
        ("read public.a; write public.a", "hold by ask"),
        ("write ?a", "hold by ask"),
        ("write ?pay", "hold by ask"),
        ("write hr.pay", "allow by all"),
    ] {
        let ask = Ask {
            effects,
            ..Ask::default()
        };
        assert_eq!(ask.verdict(&both), expected, "{effects}");
    }
}

#[test]
fn a_hold_of_one_holds_all_and_covers_nobody_else() {
    let hold = format!("{HOLD}principals = [\"ci:agent\"]");
    let of_alice = "verdict = \"allow\"\nprincipals = [\"local:alice\"]";
    let policy = rules(&[("ask", &hold), ("alice", of_alice)]);
    let agent = &["ci:agent"];
    let ask = |who, delegates| {
        Ask {
            who,
            delegates,
            ..Ask::default()
        }
        .verdict(&policy)
    };
    assert_eq!(ask("local:alice", &[]), "allow by alice");
    assert_eq!(
        ask("local:alice", agent),
        "hold by ask",
        "a delegate is asked for"
    );
    assert_eq!(ask("ci:agent", &[]), "hold by ask");
    assert_eq!(ask("ci:agent", &["local:alice"]), "hold by ask");
    // The hold speaks of the agent; nobody allows bob.
    assert_eq!(ask("local:bob", agent), "deny");
    assert_eq!(ask("ci:agent", &["local:bob"]), "deny");
}

#[test]
fn the_terms_are_those_of_all_rules_that_hold() {
    let policy = rules(&[
        (
            "b",
            "verdict = \"hold\"\napprovers = [\"group:b\", \"user:*\"]\ntimeout = \"30s\"\ngrant = \"15m\"\nmessage = \"wait\"",
        ),
        (
            "a",
            "verdict = \"hold\"\napprovers = [\"group:a\"]\ntimeout = \"2m\"\ngrant = \"1h\"",
        ),
        (
            "c",
            "verdict = \"hold\"\napprovers = [\"group:c\"]\nverbs = [\"write\"]",
        ),
    ]);
    let decision = Ask::default().of(&policy);
    let terms = decision.hold.unwrap();
    let names: Vec<&str> = terms.rules.iter().map(|rule| &*rule.rule).collect();
    assert_eq!(names, ["b", "a"], "the one that says something comes first");
    assert_eq!(decision.rule.as_deref(), Some("b"));
    assert_eq!(decision.message.as_deref(), Some("wait"));
    assert_eq!(
        terms.rules[0]
            .approvers
            .iter()
            .map(|a| &**a)
            .collect::<Vec<_>>(),
        ["group:b", "user:*"]
    );
    assert_eq!(terms.timeout, Duration::from_secs(30));
    assert_eq!(terms.grant, Grant::Until(Duration::from_secs(900)));
    let terms = Ask {
        effects: "write",
        ..Ask::default()
    }
    .of(&policy)
    .hold
    .unwrap();
    assert_eq!((terms.rules.len(), terms.grant), (3, Grant::Once));
    // Shadow says what enforce would do.
    let text = "[policy]\nname = \"p\"\nmode = \"shadow\"\n[[rule]]\nname = \"r\"\n";
    let decision = Ask::default().of(&crate::ask::policy(&format!("{text}{HOLD}")));
    assert_eq!(decision.verdict, Verdict::Hold);
    assert!(decision.passes());
}

#[test]
fn opaque_sessions_can_be_held() {
    let policy = rules(&[("ask", &format!("{HOLD}verbs = [\"connect\", \"unknown\"]"))]);
    let ask = |protocol, effects| {
        Ask {
            protocol,
            effects,
            ..Ask::default()
        }
        .verdict(&policy)
    };
    assert_eq!(ask("", "connect"), "hold by ask");
    assert_eq!(ask("opaque", "unknown"), "hold by ask");
    assert_eq!(ask("postgres", "read"), "deny");
}

#[test]
fn an_explanation_says_who_is_asked_and_what_conditions_came_to() {
    let hold = format!("{HOLD}when = 'lineage.depth\n  > 0'",).replace('\n', "\n");
    let hold = hold.replace("'lineage.depth\n  > 0'", "'''lineage.depth\n  > 0'''");
    let never = "verdict = \"deny\"\nwhen = 'lineage.depth > 5'";
    let policy = rules(&[("ask", &hold), ("all", ALLOW), ("never", never)]);
    let ask = Ask {
        tree: &["/bin/a", "/bin/b"],
        effects: "write public.a",
        ..Ask::default()
    };
    let shown = ask.with(|case| policy.explain(case, ask.now)).to_string();
    assert_eq!(
        shown,
        "hold on 10.0.0.7:5432: rule \"ask\" says hold\n\
         policy p (mode enforce)\n  \
           rule \"ask\" asks group:dba\n  \
           when lineage.depth > 0 (rule \"ask\"): true\n  \
           when lineage.depth > 5 (rule \"never\"): false\n  \
           write [public.a] for local:alice\n    \
             allow rule \"all\" [public.a]\n    \
             hold  rule \"ask\" [public.a]\n"
    );
}

#[test]
fn terms_are_checked() {
    let head = "[policy]\nname = \"p\"\n[[rule]]\nname = \"r\"\n";
    let hold = |lines: &str, expected: &[&str]| {
        check(&format!("{head}verdict = \"hold\"\n{lines}\n"), expected);
    };
    hold(
        "approvers = [\"group:dba\", \"user:*\"]\ntimeout = \"1s\"\ngrant = \"24h\"",
        &[],
    );
    hold(
        "approvers = [\"*\"]\ntimeout = \"24h\"\ngrant = \"once\"",
        &[],
    );
    hold("approvers = []", &["6:13: `approvers` is an empty list"]);
    hold(
        "approvers = [\"group:\"]",
        &["6:14: `group:` is without a name"],
    );
    hold("approvers = \"x\"", &["6:13: `approvers` is a string"]);
    for time in ["0s", "25h", "86401s", "60", "1d", "soon", ""] {
        hold(
            &format!("approvers = [\"x\"]\ntimeout = \"{time}\""),
            &[&format!(
                "7:11: `timeout` is \"{time}\" (expected a time from \"1s\" to \"24h\")"
            )],
        );
        hold(
            &format!("approvers = [\"x\"]\ngrant = \"{time}\""),
            &[&format!(
                "7:9: `grant` is \"{time}\" (expected \"once\", or a time from"
            )],
        );
    }
    hold(
        "approvers = [\"x\"]\ntimeout = 60",
        &["7:11: `timeout` is an integer"],
    );
    for verdict in ["allow", "deny"] {
        check(
            &format!(
                "{head}verdict = \"{verdict}\"\napprovers = [\"x\"]\ntimeout = \"60s\"\ngrant = \"once\"\n"
            ),
            &[
                &format!(
                    "6:13: `approvers` in a rule whose verdict is \"{verdict}\" (expected no `approvers`, or `verdict = \"hold\"`)"
                ),
                "7:11: `timeout` in a rule",
                "8:9: `grant` in a rule",
            ],
        );
    }
}
