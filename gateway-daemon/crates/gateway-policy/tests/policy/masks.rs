//! Masks: which are covered and which only watched, and what several say together.
use crate::ask::{Ask, policy};
use gateway_core::mask::{Detector, Predicates, Sensitive, Treatment};
use gateway_core::{Decision, Grant, Masks};
use gateway_policy::{Policy, PolicySet, run_cases};
use std::sync::Arc;
use std::time::Duration;

/// One mask for each of these words, over the column of that name: `a` over `*.a`.
fn masks(names: &[&str]) -> String {
    let mask = |name: &&str| format!("[[mask]]\nname = \"{name}\"\nfields = [\"*.{name}\"]\n");
    names.iter().map(mask).collect()
}

/// `(name, lines)` to rules.
fn rules(rules: &[(&str, &str)]) -> String {
    let rule = |(name, lines): &(&str, &str)| format!("[[rule]]\nname = \"{name}\"\n{lines}\n");
    rules.iter().map(rule).collect()
}

const ALLOW: &str = "verdict = \"allow\"\n";

/// Which of the masks `a`, `b` and `c` are covered, as letters; those that are watched in brackets.
fn state(decision: &Decision) -> String {
    let Some(masks) = &decision.masks else {
        return "none".into();
    };
    let mut state = String::new();
    for name in ["a", "b", "c"] {
        match masks.field(&format!("public.users.{name}")) {
            Some(sensitive) if sensitive.covered => state += name,
            Some(_) => state += &format!("({name})"),
            None => {}
        }
    }
    let covered = state
        .replace("(a)", "")
        .replace("(b)", "")
        .replace("(c)", "");
    assert_eq!(masks.cover(), !covered.is_empty());
    state
}

fn ask<'a>(who: &'a str, effects: &'a str) -> Ask<'a> {
    Ask {
        who,
        effects,
        ..Ask::default()
    }
}

#[test]
fn a_policy_without_masks_says_nothing_about_them() {
    assert_eq!(
        state(&Ask::default().of(&policy(&rules(&[("r", ALLOW)])))),
        "none"
    );
}

#[test]
fn the_masks_of_all_rules_that_match_are_covered_and_the_others_watched() {
    let text = masks(&["a", "b", "c"])
        + &rules(&[
            (
                "plain",
                "verdict = \"allow\"\nverbs = [\"connect\", \"read\"]",
            ),
            (
                "one",
                "verdict = \"allow\"\nmasks = [\"a\"]\nprincipals = [\"group:dev\"]",
            ),
            (
                "two",
                "verdict = \"hold\"\napprovers = [\"*\"]\nmasks = [\"b\", \"a\"]\nverbs = [\"write\"]",
            ),
            ("never", "verdict = \"deny\"\nverbs = [\"grant\"]"),
        ]);
    let policy = policy(&text);
    for (who, effects, expected) in [
        // Whoever allows it besides: a rule with masks that matches has them put on.
        ("local:x +dev", "read", "a(b)(c)"),
        ("local:x", "read", "(a)(b)(c)"),
        ("local:x", "connect", "(a)(b)(c)"),
        ("local:x", "read; write t", "ab(c)"),
        ("local:x +dev", "write t", "ab(c)"),
        // Whatever the verdict.
        ("local:x +dev", "read; grant t", "a(b)(c)"),
        ("local:x +dev", "unknown", "a(b)(c)"),
    ] {
        assert_eq!(
            state(&ask(who, effects).of(&policy)),
            expected,
            "{who} {effects}"
        );
    }
}

#[test]
fn masks_of_a_delegate_are_put_on_too() {
    let of =
        |who: &str, mask: &str| format!("{ALLOW}principals = [\"{who}\"]\nmasks = [\"{mask}\"]");
    let text = masks(&["a", "b", "c"])
        + &rules(&[
            ("alice", &of("local:alice", "a")),
            ("agent", &of("ci:agent", "b")),
        ]);
    let policy = policy(&text);
    let delegates = &["ci:agent"];
    let both = Ask {
        delegates,
        ..Ask::default()
    };
    assert_eq!(state(&both.of(&policy)), "ab(c)");
    assert_eq!(both.verdict(&policy), "allow by alice");
    assert_eq!(state(&Ask::default().of(&policy)), "a(b)(c)");
    assert_eq!(state(&ask("ci:agent", "read").of(&policy)), "(a)b(c)");
}

#[test]
fn modes_that_refuse_nothing_cover_nothing() {
    let rest = masks(&["a", "b"]) + &rules(&[("r", "verdict = \"allow\"\nmasks = [\"a\"]")]);
    for (mode, expected) in [
        ("enforce", "a(b)"),
        ("shadow", "(a)(b)"),
        ("observe", "(a)(b)"),
    ] {
        let text = format!("[policy]\nname = \"p\"\nmode = \"{mode}\"\n{rest}");
        let decision = Ask::default().of(&policy(&text));
        assert_eq!(state(&decision), expected, "{mode}");
        assert!(decision.stable);
    }
}

#[test]
fn a_default_that_allows_leaves_masks_on() {
    let head = "[policy]\nname = \"p\"\ndefault = \"allow\"\n";
    let of = "verdict = \"allow\"\nmasks = [\"a\"]\nobjects = [\"public.*\"]";
    let policy = policy(&format!("{head}{}{}", masks(&["a"]), rules(&[("r", of)])));
    for (effects, expected) in [
        ("read public.t", "a"),
        ("read public.t hr.pay", "a"),
        ("read hr.pay", "(a)"),
    ] {
        let decision = ask("local:x", effects).of(&policy);
        assert!(decision.passes());
        assert_eq!(state(&decision), expected, "{effects}");
    }
}

#[test]
fn a_mask_is_put_on_wherever_its_rule_could_be_meant() {
    let of = "verdict = \"allow\"\nmasks = [\"a\"]\nobjects = [\"public.*\"]\nverbs = [\"read\"]";
    let policy = policy(&(masks(&["a"]) + &rules(&[("masked", of), ("rest", ALLOW)])));
    for (effects, expected) in [
        ("read public.t", "a"),
        ("read hr.pay public.t", "a"),
        ("read hr.pay; read public.t", "a"),
        // Nobody knows which one it is.
        ("read ?t", "a"),
        ("read ?hr.t", "a"),
        ("read ?*", "a"),
        // It names nothing, and may be about anything: a cursor.
        ("read", "a"),
        // To change it is to find out about it.
        ("read hr.pay; write public.t", "a"),
        ("write public.t", "a"),
        ("delete hr.pay", "(a)"),
        ("write", "a"),
        ("connect", "(a)"),
    ] {
        assert_eq!(
            state(&ask("local:x", effects).of(&policy)),
            expected,
            "{effects}"
        );
    }
}

#[test]
fn places_count() {
    let text = "[[resource]]\nname = \"db\"\nhosts = [\"10.0.0.7\"]\n";
    let of = "verdict = \"allow\"\nmasks = [\"a\"]\nresources = [\"db\"]";
    let policy = policy(&format!(
        "{text}{}{}",
        masks(&["a"]),
        rules(&[("r", of), ("rest", ALLOW)])
    ));
    assert_eq!(state(&Ask::default().of(&policy)), "a");
    let elsewhere = Ask {
        to: "10.0.0.8:5432",
        ..Ask::default()
    };
    assert_eq!(state(&elsewhere.of(&policy)), "(a)");
}

#[test]
fn a_condition_decides_about_masks() {
    let of = |when: &str| {
        let masked = format!("{ALLOW}masks = [\"a\"]\nobjects = [\"public.*\"]\nwhen = '{when}'");
        policy(&(masks(&["a"]) + &rules(&[("masked", &masked), ("rest", ALLOW)])))
    };
    for (when, effects, verdict, expected) in [
        (
            "lineage.depth == 0",
            "read public.t",
            "allow by masked",
            "a",
        ),
        ("lineage.depth > 0", "read public.t", "allow by rest", "(a)"),
        // A mask that could be meant is a say: who cannot tell whether it is put on denies.
        (
            "operation.attributes[\"x\"] == 1",
            "read public.t",
            "deny by masked",
            "a",
        ),
        (
            "operation.attributes[\"x\"] == 1",
            "read ?t",
            "deny by masked",
            "a",
        ),
        (
            "operation.attributes[\"x\"] == 1",
            "read hr.t",
            "allow by rest",
            "(a)",
        ),
    ] {
        let ask = Ask {
            effects,
            tree: &["/bin/a"],
            ..Ask::default()
        };
        let policy = of(when);
        assert_eq!(ask.verdict(&policy), verdict, "{when} {effects}");
        assert_eq!(state(&ask.of(&policy)), expected, "{when} {effects}");
    }
    for (when, stable) in [
        ("lineage.depth == 0", true),
        ("operation.statement != \"\"", false),
    ] {
        for protocol in ["postgres", "opaque"] {
            let text =
                "[[resource]]\nname = \"db\"\nprotocol = \"postgres\"\nhosts = [\"10.0.0.7\"]\n";
            let masked = format!("{ALLOW}masks = [\"a\"]\nwhen = '{when}'");
            let policy = policy(&format!(
                "{text}{}{}",
                masks(&["a"]),
                rules(&[("r", &masked)])
            ));
            let ask = Ask {
                protocol,
                ..Ask::default()
            };
            assert_eq!(ask.of(&policy).stable, stable, "{when} {protocol}");
        }
    }
}

#[test]
fn what_cannot_be_masked_is_not_allowed_by_a_rule_with_masks() {
    let verbs = "verbs = [\"*\", \"unknown\"]";
    let masked = format!("{ALLOW}{verbs}\nmasks = [\"a\"]\n");
    let held = format!("verdict = \"hold\"\napprovers = [\"*\"]\n{verbs}\nmasks = [\"a\"]\n");
    let open = format!("{ALLOW}{verbs}\nprincipals = [\"group:ops\"]\n");
    for (of, wanted) in [(&masked, "allow by r"), (&held, "hold by r")] {
        let policy = policy(&(masks(&["a"]) + &rules(&[("r", of), ("open", &open)])));
        for (who, protocol, effects, expected) in [
            ("local:x", "postgres", "read", wanted),
            ("local:x", "", "connect", wanted),
            ("local:x", "opaque", "unknown", "deny"),
            ("local:x", "opaque", "read", "deny"),
            ("local:x", "", "read", "deny"),
            ("local:x", "", "connect; unknown", "deny"),
        ] {
            let ask = Ask {
                who,
                protocol,
                effects,
                ..Ask::default()
            };
            assert_eq!(ask.verdict(&policy), expected, "{who} {protocol} {effects}");
        }
    }
    let policy = policy(&(masks(&["a"]) + &rules(&[("r", &masked), ("open", &open)])));
    let ask = |who| Ask {
        who,
        protocol: "opaque",
        effects: "unknown",
        ..Ask::default()
    };
    // Another rule says that they may have it as it is.
    assert_eq!(ask("local:x +ops").verdict(&policy), "allow by open");
    let explained = ask("local:x").with(|case| policy.explain(case, Ask::default().now));
    assert_eq!(
        explained.because,
        "rule \"r\" has masks, and \"opaque\" cannot be masked"
    );
    assert!(explained.effects[0].open && explained.effects[0].matched.is_empty());
}

fn masked(policy: &Policy) -> Arc<dyn Masks> {
    Ask::default().of(policy).masks.expect("masks")
}

fn said(sensitive: Option<Sensitive>) -> String {
    sensitive.map_or("nothing".into(), |of| {
        let predicates = match &of.mask.predicates {
            Predicates::Allow => "allow".to_owned(),
            Predicates::Deny => "deny".to_owned(),
            Predicates::Hold(terms) => {
                let rules: Vec<&str> = terms.rules.iter().map(|rule| &*rule.rule).collect();
                format!("hold by {}", rules.join(", "))
            }
        };
        let covered = if of.covered { "covered" } else { "watched" };
        format!(
            "{covered} by {} with {:?}, {predicates}",
            of.mask.name, of.mask.with
        )
    })
}

const MET: &str = r#"
[[mask]]
name = "plain"
fields = ["*.users.*"]
with = "partial"
predicates = "allow"

[[mask]]
name = "mail"
fields = ["public.*.email"]
with = "hash"
predicates = "hold"
approvers = ["group:a"]
timeout = "30s"
grant = "1h"

[[mask]]
name = "ids"
fields = ["*.ssn", "*.email"]
detect = ["us-ssn", "email"]
with = "hash"
predicates = "hold"
approvers = ["group:b"]
grant = "15m"

[[mask]]
name = "gone"
fields = ["*.users.ssn"]
detect = ["us-ssn"]
with = "null"
"#;

#[test]
fn long_rows_are_cut_where_all_masks_that_are_put_on_say_so() {
    let masks = "[[mask]]\nname = \"a\"\nfields = [\"*.a\"]\nlong_rows = \"cut\"\n\
                 [[mask]]\nname = \"b\"\nfields = [\"*.b\"]\n\
                 [[mask]]\nname = \"c\"\ndetect = [\"iban\"]\nlong_rows = \"cut\"\n";
    for (put_on, cut) in [
        ("\"a\"", true),
        ("\"a\", \"c\"", true),
        ("\"b\"", false),
        ("\"a\", \"b\"", false),
        ("", false),
    ] {
        let rule = format!("{ALLOW}masks = [{put_on}]");
        let rule = if put_on.is_empty() {
            ALLOW.to_owned()
        } else {
            rule
        };
        let masks = masked(&policy(&(masks.to_owned() + &rules(&[("r", &rule)]))));
        assert_eq!(masks.cuts_long_rows(), cut, "{put_on}");
    }
}

#[test]
fn several_masks_say_one_thing_about_a_field() {
    let of = |put_on: &str| {
        let rule = format!("{ALLOW}masks = [{put_on}]");
        masked(&policy(&(MET.to_owned() + &rules(&[("r", &rule)]))))
    };
    let all = of("\"gone\", \"ids\", \"mail\", \"plain\"");
    for (field, expected) in [
        ("public.users.name", "covered by plain with Partial, allow"),
        (
            "public.orders.email",
            "covered by ids with Hash, hold by mask ids, mask mail",
        ),
        (
            "hr.people.email",
            "covered by ids with Hash, hold by mask ids",
        ),
        (
            "public.users.email",
            "covered by ids with Hash, hold by mask ids, mask mail",
        ),
        ("public.users.ssn", "covered by gone with Null, deny"),
        ("public.orders.total", "nothing"),
        ("email", "nothing"),
    ] {
        assert_eq!(said(all.field(field)), expected, "{field}");
    }
    let Some(Predicates::Hold(terms)) = all
        .field("public.users.email")
        .map(|of| of.mask.predicates.clone())
    else {
        panic!("a hold");
    };
    assert_eq!(terms.timeout, Duration::from_secs(30));
    assert_eq!(terms.grant, Grant::Until(Duration::from_secs(900)));
    // What is only watched adds nothing to what is covered.
    let some = of("\"plain\"");
    for (field, expected) in [
        ("public.users.ssn", "covered by plain with Partial, allow"),
        (
            "public.orders.ssn",
            "watched by ids with Hash, hold by mask ids",
        ),
    ] {
        assert_eq!(said(some.field(field)), expected, "{field}");
    }
    let found = |masks: &dyn Masks| -> Vec<String> {
        let detectors = masks.detectors().iter();
        detectors
            .map(|(detector, of)| format!("{detector}: {}", said(Some(of.clone()))))
            .collect()
    };
    assert_eq!(
        found(&*all),
        [
            "email: covered by ids with Hash, hold by mask ids",
            "us-ssn: covered by gone with Null, deny"
        ]
    );
    assert_eq!(
        found(&*some),
        [
            "email: watched by ids with Hash, hold by mask ids",
            "us-ssn: watched by gone with Null, deny"
        ]
    );
    assert!(all.cover() && some.cover() && !of("").cover());
}

#[test]
fn what_is_not_written_is_strict() {
    let masks = masked(&policy("[[mask]]\nname = \"m\"\ndetect = [\"jwt\"]\n"));
    assert_eq!(masks.detectors()[0].0, Detector::Jwt);
    let of = &masks.detectors()[0].1;
    assert!(!of.covered);
    assert_eq!(
        (of.mask.with, &of.mask.predicates),
        (Treatment::Redact, &Predicates::Deny)
    );
}

#[test]
fn equal_numbers_mean_equal_answers() {
    let put_on =
        |who: &str, mask: &str| format!("{ALLOW}principals = [\"{who}\"]\nmasks = [\"{mask}\"]\n");
    let text = masks(&["a", "b", "c"])
        + &rules(&[
            ("1", &put_on("group:one", "a")),
            ("2", &put_on("group:two", "b")),
            ("3", &put_on("group:three", "a")),
            ("4", ALLOW),
        ]);
    let first = policy(&text);
    let id = |policy: &Policy, who: &str| ask(who, "read").of(policy).masks.unwrap().id();
    let (one, two, three) = (
        id(&first, "x +one"),
        id(&first, "x +two"),
        id(&first, "x +three"),
    );
    assert_eq!(one, three, "the same masks by another rule");
    assert_ne!(one, two);
    assert_ne!(one, id(&first, "x"));
    assert_ne!(one, id(&first, "x +one +two"));
    assert_eq!(id(&first, "x +two +three"), id(&first, "x +one +two"));
    let again = policy(&text);
    assert_ne!(
        one,
        id(&again, "x +one"),
        "another policy could say something else"
    );
    let kept = ask("x +one", "read").of(&first).masks.unwrap();
    assert_eq!(kept.id(), one, "it is made once");
}

#[test]
fn more_combinations_than_are_remembered_are_answered_all_the_same() {
    let names: Vec<String> = (0..8).map(|number| format!("m{number}")).collect();
    let mut text = masks(&names.iter().map(|name| &**name).collect::<Vec<_>>());
    for name in &names {
        text += &rules(&[(
            name,
            &format!("{ALLOW}principals = [\"group:{name}\"]\nmasks = [\"{name}\"]"),
        )]);
    }
    let policy = policy(&text);
    let mut seen = std::collections::BTreeMap::new();
    for round in 0..2 {
        for bits in 0..256u32 {
            let on = |number: &usize| bits & (1 << number) != 0;
            let who: String = (0..8)
                .filter(on)
                .map(|number| format!(" +m{number}"))
                .collect();
            let who = format!("x{who}");
            let masks = ask(&who, "read").of(&policy).masks.unwrap();
            for (number, name) in names.iter().enumerate() {
                let field = masks.field(&format!("s.t.{name}")).unwrap();
                assert_eq!(field.covered, on(&number), "{round} {who} {name}");
            }
            assert_eq!(
                *seen.entry(masks.id()).or_insert(bits),
                bits,
                "two meanings of a number"
            );
        }
    }
}

#[test]
fn an_explanation_names_the_masks_and_the_rules_that_put_them_on() {
    let rest = masks(&["a", "b"]) + &rules(&[("r", "verdict = \"allow\"\nmasks = [\"a\"]")]);
    let explain = |mode: &str| {
        let text = format!("[policy]\nname = \"p\"\nmode = \"{mode}\"\n{rest}");
        let ask = Ask::default();
        ask.with(|case| policy(&text).explain(case, ask.now))
    };
    let shown = explain("enforce").to_string();
    let expected = "policy p (mode enforce)\n  \
                      mask \"a\" is put on by rule \"r\"\n  \
                      mask \"b\" is only watched\n  read [] for local:alice\n";
    assert!(shown.contains(expected), "{shown}");
    let shown = explain("shadow").to_string();
    assert!(
        shown.contains("mask \"a\" is put on by rule \"r\", and covers nothing in this mode\n"),
        "{shown}"
    );
    let json = serde_json::to_value(explain("enforce")).unwrap();
    assert_eq!(
        json["masks"],
        serde_json::json!([
            { "mask": "a", "covered": true, "rules": ["r"] },
            { "mask": "b", "covered": false, "rules": [] },
        ])
    );
}

#[test]
fn cases_ask_for_masks() {
    let rest = masks(&["a", "b", "c"])
        + &rules(&[
            (
                "reads",
                "verdict = \"allow\"\nverbs = [\"read\"]\nmasks = [\"a\", \"b\"]",
            ),
            ("writes", "verdict = \"allow\"\nverbs = [\"write\"]"),
        ]);
    let run = |verb: &str, masks: &str| {
        // A case is about what the rules say, whatever the mode.
        let text = format!(
            "[policy]\nname = \"p\"\nmode = \"shadow\"\n{rest}[[case]]\nwho = {{ principal = \"x\" }}\n\
             operation = {{ resource = \"10.0.0.7:1\", protocol = \"postgres\", verb = \"{verb}\" }}\n\
             verdict = \"allow\"\nmasks = {masks}\n"
        );
        let loaded = PolicySet::load_texts([("p.toml", text.as_str())]);
        assert_eq!(loaded.diagnostics, []);
        let results = run_cases(&loaded.set, &|_, _| Err("no statements here".into()));
        let shown = results[0].to_string();
        assert_eq!(results[0].passed, shown.contains(": ok: "), "{shown}");
        shown
            .split(": read: ")
            .last()
            .unwrap_or_default()
            .to_owned()
    };
    assert_eq!(run("read", "[\"b\", \"a\"]"), "allow");
    assert!(run("write", "[\"a\", \"b\"]").ends_with(": write: allow"));
    assert!(run("connect", "[]").contains(": connect: "));
    assert_eq!(
        run("read", "[\"a\"]"),
        "expected allow with masks \"a\", got allow: rule \"reads\" says allow, with masks \"a\", \"b\""
    );
    assert_eq!(
        run("read", "[\"a\", \"c\"]"),
        "expected allow with masks \"a\", \"c\", got allow: rule \"reads\" says allow, with masks \"a\", \"b\""
    );
    assert!(run("write", "[\"a\"]").ends_with(
        "expected allow with masks \"a\", got allow: rule \"writes\" says allow, with masks \"a\", \"b\""
    ));
}
