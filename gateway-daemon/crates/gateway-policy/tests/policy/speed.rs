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

#[test]
fn a_decision_over_200_rules() {
    let mut text = String::from("[[resource]]\nname = \"db\"\nhosts = [\"10.0.0.0/8\"]\n");
    for number in 0..200 {
        let verdict = if number % 2 == 0 { "deny" } else { "allow" };
        let last = number == 199;
        let principal = if last {
            "local:alice".into()
        } else {
            format!("ci:github:acme/repo-{number}@*")
        };
        text += &format!(
            "[[rule]]\nname = \"rule {number:03}\"\nverdict = \"{verdict}\"\n\
             principals = [\"{principal}\", \"group:team-{number}\"]\nresources = [\"d*\"]\n\
             verbs = [\"read\", \"write\"]\nobjects = [\"public.*\", \"app_{number}.*\"]\n"
        );
    }
    let policy = policy(&text);
    let ask = Ask {
        effects: "read public.users public.orders",
        who: "local:alice +dev +ops",
        ..Ask::default()
    };
    let fastest = ask.with(|case| {
        (0..50)
            .map(|_| {
                let start = Instant::now();
                for _ in 0..100 {
                    assert_eq!(policy.decide(case).verdict, Verdict::Allow);
                }
                start.elapsed() / 100
            })
            .min()
    });
    let fastest = fastest.unwrap_or_default();
    println!("a decision over 200 rules takes {fastest:?}");
    assert!(fastest <= BUDGET, "{fastest:?}");
}
