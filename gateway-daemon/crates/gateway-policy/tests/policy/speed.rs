//! What a decision costs.
use crate::ask::{Ask, policy};
use gateway_core::Verdict;
use std::time::{Duration, Instant};

/// The budget of a decision over 200 rules is 5 µs in a release build. A build without
/// optimisation is ten to thirty times slower, and the machine may be busy: the bound here is
/// wide, and still far below what a quadratic mistake would cost.
const BUDGET: Duration = if cfg!(debug_assertions) {
    Duration::from_micros(150)
} else {
    Duration::from_micros(5)
};

/// The fastest of many decisions, each of which gives this verdict.
fn fastest(text: &str, ask: &Ask<'_>, expected: Verdict) -> Duration {
    let policy = policy(text);
    let fastest = ask.with(|case| {
        (0..50)
            .map(|_| {
                let start = Instant::now();
                for _ in 0..100 {
                    assert_eq!(policy.decide(case, ask.now).verdict, expected);
                }
                start.elapsed() / 100
            })
            .min()
    });
    fastest.unwrap_or_default()
}

/// 200 rules, every second one a denial; the last one allows.
fn rules(principals: impl Fn(usize) -> String) -> String {
    let mut text = String::from("[[resource]]\nname = \"db\"\nhosts = [\"10.0.0.0/8\"]\n");
    for number in 0..200 {
        let verdict = if number % 2 == 0 { "deny" } else { "allow" };
        let schema = if number == 199 {
            "public".into()
        } else {
            format!("app_{number}")
        };
        text += &format!(
            "[[rule]]\nname = \"rule {number:03}\"\nverdict = \"{verdict}\"\n\
             principals = [{}]\nresources = [\"d*\"]\n\
             verbs = [\"read\", \"write\"]\nobjects = [\"{schema}.*\"]\n",
            principals(number)
        );
    }
    text
}

#[test]
fn a_decision_over_200_rules_about_others() {
    let text = rules(|number| match number {
        199 => "\"local:alice\"".into(),
        _ => format!("\"ci:github:acme/repo-{number}@*\", \"group:team-{number}\""),
    });
    let effects = "read public.users public.orders";
    let ask = Ask {
        effects,
        who: "local:alice +dev +ops",
        ..Ask::default()
    };
    let fastest = fastest(&text, &ask, Verdict::Allow);
    println!("a decision over 200 rules about others takes {fastest:?}");
    assert!(fastest <= BUDGET, "{fastest:?}");
}

#[test]
fn a_decision_over_200_rules_with_masks() {
    let mut text = rules(|_| "\"local:*\"".into());
    for number in 0..20 {
        text += &format!("[[mask]]\nname = \"mask {number}\"\nfields = [\"*.column_{number}\"]\n");
    }
    // Every allowing rule puts one on, where it speaks of the object or there is none.
    let mut parts = text.split("verdict = \"allow\"\n");
    let mut masked = parts.next().unwrap_or_default().to_owned();
    for (number, part) in parts.enumerate() {
        masked += &format!(
            "verdict = \"allow\"\nmasks = [\"mask {}\"]\n{part}",
            number % 20
        );
    }
    for effects in ["read public.users public.orders", "read"] {
        let ask = Ask {
            effects,
            ..Ask::default()
        };
        let fastest = fastest(&masked, &ask, Verdict::Allow);
        println!("a decision over 200 rules with masks takes {fastest:?}: {effects}");
        assert!(fastest <= BUDGET, "{fastest:?}");
    }
}

#[test]
fn a_decision_over_200_rules_about_the_same() {
    let effects = "read public.users public.orders";
    let ask = Ask {
        effects,
        ..Ask::default()
    };
    let fastest = fastest(&rules(|_| "\"local:*\"".into()), &ask, Verdict::Allow);
    println!("a decision over 200 rules about the same takes {fastest:?}");
    assert!(fastest <= BUDGET, "{fastest:?}");
}
