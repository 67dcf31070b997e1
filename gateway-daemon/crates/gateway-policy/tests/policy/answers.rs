//! Which answers are kept, and how much of them.
use crate::ask::{Ask, policy};
use crate::mistakes::check;
use gateway_core::Verdict;

const RULES: &str = r#"
[[rule]]
name = "people read"
verdict = "allow"
verbs = ["connect", "read"]

[[rule]]
name = "what developers see is kept"
principals = ["group:dev"]
verdict = "allow"
verbs = ["read"]
record_answers = "64KiB"

[[rule]]
name = "what anybody sees of pay is kept"
verdict = "allow"
verbs = ["read"]
objects = ["hr.*"]
record_answers = "1MiB"

[[rule]]
name = "writing is asked about"
verdict = "hold"
approvers = ["group:dba"]
verbs = ["write"]
when = "lineage.depth > 1"
record_answers = "2KiB"
"#;

const KIB: u32 = 1024;

fn ask<'a>(who: &'a str, effects: &'a str) -> Ask<'a> {
    Ask {
        who,
        effects,
        ..Ask::default()
    }
}

fn in_mode(mode: &str) -> std::sync::Arc<gateway_policy::Policy> {
    policy(&format!(
        "[policy]\nname = \"p\"\nmode = \"{mode}\"\n{RULES}"
    ))
}

#[test]
fn a_policy_that_keeps_no_answers_says_nothing_about_them() {
    let plain = policy("[[rule]]\nname = \"r\"\nverdict = \"allow\"\n");
    assert_eq!(Ask::default().of(&plain).answers, None);
}

/// Recording refuses nothing, so modes that refuse nothing do it as well.
#[test]
fn of_all_rules_that_match_the_largest_counts_in_every_mode() {
    for mode in ["enforce", "shadow", "observe"] {
        let policy = in_mode(mode);
        for (who, effects, expected) in [
            ("local:x", "read public.a", 0),
            ("local:x", "connect", 0),
            ("local:x +dev", "read public.a", 64 * KIB),
            ("local:x +dev", "read", 1024 * KIB),
            ("local:x", "read hr.pay", 1024 * KIB),
            ("local:x +dev", "read public.a; read hr.pay", 1024 * KIB),
            // As with masks: what is written depends on what is there.
            ("local:x +dev", "write public.a", 64 * KIB),
            ("local:x", "write public.a", 0),
        ] {
            let answers = ask(who, effects).of(&policy).answers;
            assert_eq!(answers, Some(expected), "{mode} {who} {effects}");
        }
        let nested = Ask {
            tree: &["/bin/a", "/bin/b", "/bin/c"],
            ..ask("local:x", "write public.a")
        };
        assert_eq!(nested.of(&policy).answers, Some(2 * KIB), "{mode}");
        let delegated = Ask {
            delegates: &["ci:x +dev"],
            ..ask("local:x", "read public.a")
        };
        assert_eq!(delegated.of(&policy).answers, Some(64 * KIB), "{mode}");
    }
}

#[test]
fn recording_changes_no_verdict() {
    let without: String = RULES
        .lines()
        .filter(|line| !line.starts_with("record_answers"))
        .map(|line| format!("{line}\n"))
        .collect();
    let (with, without) = (policy(RULES), policy(&without));
    for who in ["local:x", "local:x +dev"] {
        for effects in ["read public.a", "read", "write public.a", "define t"] {
            for protocol in ["postgres", "opaque"] {
                let ask = Ask {
                    protocol,
                    ..ask(who, effects)
                };
                assert_eq!(ask.verdict(&with), ask.verdict(&without), "{who} {effects}");
            }
        }
    }
}

#[test]
fn what_a_time_decides_is_decided_anew() {
    let text = "[policy]\nname = \"p\"\nmode = \"observe\"\n[[rule]]\nname = \"r\"\n\
                verdict = \"allow\"\nrecord_answers = \"1KiB\"\nwhen = \"operation.statement != ''\"\n";
    let decision = Ask::default().of(&policy(text));
    assert_eq!(decision.verdict, Verdict::Allow);
    assert!(!decision.stable);
}

#[test]
fn explain_says_how_much_is_kept_and_why() {
    let explain = |who, effects| {
        let policy = in_mode("enforce");
        let ask: Ask<'_> = ask(who, effects);
        ask.with(|case| policy.explain(case, ask.now))
    };
    let kept = explain("local:x +dev", "read hr.pay");
    assert!(
        kept.to_string().contains(
            "\n  1048576 bytes of the answer are kept by rule \"what anybody sees of pay is kept\", \
             \"what developers see is kept\"\n"
        ),
        "{kept}"
    );
    let json = serde_json::to_value(kept).unwrap();
    assert_eq!(json["answers"]["bytes"], 1_048_576);
    assert_eq!(explain("local:x", "read public.a").answers, None);
}

/// One allowing rule: its lines begin on line 6.
fn in_rule(verdict: &str, lines: &str, expected: &[&str]) {
    check(
        &format!(
            "[policy]\nname = \"p\"\n[[rule]]\nname = \"r\"\nverdict = \"{verdict}\"\n{lines}\n"
        ),
        expected,
    );
}

#[test]
fn mistakes_in_sizes() {
    for size in ["1KiB", "1024B", "64KiB", "16MiB"] {
        in_rule("allow", &format!("record_answers = \"{size}\""), &[]);
    }
    for size in ["1023B", "0KiB", "17MiB", "64", "64KB", "64 KiB", "all", ""] {
        in_rule(
            "allow",
            &format!("record_answers = \"{size}\""),
            &[&format!(
                "6:18: `record_answers` is \"{size}\" (expected a size from \"1KiB\" to \"16MiB\")"
            )],
        );
    }
    in_rule(
        "allow",
        "record_answers = 65536",
        &["6:18: `record_answers` is an integer (expected a size from \"1KiB\" to \"16MiB\")"],
    );
    in_rule(
        "deny",
        "record_answers = \"64KiB\"",
        &[
            "6:18: `record_answers` in a rule whose verdict is \"deny\": nothing is returned (expected no `record_answers`, or another verdict)",
        ],
    );
    in_rule(
        "allow",
        "record_answer = \"64KiB\"",
        &["6:1: [[rule]] has no key \"record_answer\" (expected `record_answers`, perhaps)"],
    );
}

#[test]
fn answers_where_none_can_be_read_are_refused() {
    let resource = "resource = [{ name = \"web\", protocol = \"http\", hosts = [\"10.0.0.2\"] }, \
                    { name = \"pg\", protocol = \"postgres\", hosts = [\"10.0.0.3\"] }]\n";
    let in_rule = |list: &str, expected: &[&str]| {
        let text = format!(
            "{resource}policy = {{ name = \"p\" }}\n[[rule]]\nname = \"r\"\nverdict = \"allow\"\n\
             resources = [{list}]\nrecord_answers = \"1KiB\"\n"
        );
        check(&text, expected);
    };
    in_rule("\"web\", \"pg\"", &[]);
    in_rule(
        "\"web\"",
        &[
            "7:18: `record_answers` in a rule all of whose resources have a protocol whose answers are not read (expected no `record_answers`, or a resource whose protocol is \"postgres\")",
        ],
    );
}
