//! What a decision costs over 200 rules, 50 of which have a condition.
//!
//! `cargo bench -p gateway-policy --bench decide`
use criterion::{Criterion, criterion_group, criterion_main};
use gateway_core::ports::Case;
use gateway_core::{
    Assurance, Destination, Effect, Lineage, Object, Operation, Principal, Process, Provenance,
    Subject, Timestamp, TreeId, Verb, Verdict,
};
use gateway_policy::{Policy, PolicySet};
use std::hint::black_box;
use std::sync::Arc;

fn policy(text: &str) -> Arc<Policy> {
    let loaded = PolicySet::load_texts([("p.toml", text)]);
    assert!(loaded.diagnostics.is_empty(), "{:#?}", loaded.diagnostics);
    let policy = loaded.set.policies().next().map(Arc::clone);
    policy.expect("a policy")
}

/// 200 rules of which every fourth has a condition. `principals` says whom a rule speaks of.
fn rules(principals: impl Fn(usize) -> String, when: impl Fn(usize) -> String) -> Arc<Policy> {
    let mut text = String::from(
        "[policy]\nname = \"p\"\n[[resource]]\nname = \"db\"\nhosts = [\"10.0.0.0/8\"]\n",
    );
    for number in 0..200 {
        let verdict = if number % 2 == 0 { "deny" } else { "allow" };
        let schema = match number % 4 {
            // An unconditional rule that touches these objects would decide at once.
            0 | 1 => "public".to_owned(),
            _ => format!("app_{number}"),
        };
        text += &format!(
            "[[rule]]\nname = \"rule {number:03}\"\nverdict = \"{verdict}\"\nprincipals = [{}]\n\
             resources = [\"d*\"]\nverbs = [\"read\", \"write\"]\nobjects = [\"{schema}.*\"]\n",
            principals(number)
        );
        if number % 4 == 0 {
            text += &format!("when = '''{}'''\n", when(number));
        }
    }
    policy(&text)
}

fn process(exe: &str) -> Process {
    Process {
        pid: 42,
        start: 7,
        exe: exe.into(),
        argv: vec![exe.into(), "--flag".into()],
        uid: 1000,
        cwd: Some("/srv".into()),
        cgroup: "ci.slice/job".into(),
        container: None,
        provenance: Provenance::Kernel,
        argv_cut: false,
        exited: false,
    }
}

fn decide(criterion: &mut Criterion) {
    let subject = Subject {
        principal: Principal {
            id: "local:alice".into(),
            assurance: Assurance::Verified,
            groups: vec!["dev".into(), "ops".into()],
        },
        delegates: Vec::new(),
        lineage: Lineage {
            tree: TreeId(1),
            processes: ["/bin/a", "/bin/b", "/bin/c"].map(process).to_vec(),
        },
    };
    let destination = Destination::from_address(([10, 0, 0, 7], 5432).into());
    let effects = [Effect {
        verb: Verb::Read,
        objects: vec![
            Object::Named("public.users".into()),
            Object::Named("public.orders".into()),
        ],
    }];
    let operation = Operation {
        protocol: "postgres",
        verb: Verb::Read,
        effects: &effects,
        statement: "SELECT * FROM users JOIN orders USING (id)",
        parameters: &[],
        attributes: &[],
        announces: false,
        uses: &[],
        shown: None,
        shape: None,
        basis: 0,
    };
    let case = Case {
        policy: "p",
        subject: &subject,
        destination: &destination,
        operation: &operation,
    };
    let others = |number: usize| match number {
        0 | 4 | 197 => "\"local:alice\"".to_owned(),
        _ => format!("\"ci:github:acme/repo-{number}@*\", \"group:team-{number}\""),
    };
    let same = |_: usize| "\"local:*\"".to_owned();
    let lineage = |number: usize| {
        format!("lineage.depth > {number} + 2 && !(\"release\" in principal.groups)")
    };
    let two = |number: usize| {
        format!("lineage.depth > {number} + 2 || \"team-{number}\" in principal.groups")
    };
    let one = |number: usize| format!("principal.id == \"local:{number}\"");
    let equal = |_: usize| "lineage.depth > 7 && !(\"release\" in principal.groups)".to_owned();
    for (name, policy) in [
        (
            "200 rules, 2 of 50 conditions apply",
            rules(others, lineage),
        ),
        ("200 rules, 50 equal conditions apply", rules(same, equal)),
        ("200 rules, 50 comparisons apply", rules(same, one)),
        (
            "200 rules, 50 conditions of one variable apply",
            rules(same, lineage),
        ),
        (
            "200 rules, 50 conditions of two variables apply",
            rules(same, two),
        ),
    ] {
        assert_eq!(
            policy.decide(&case, Timestamp(0)).verdict,
            Verdict::Allow,
            "{name}"
        );
        criterion.bench_function(name, |bencher| {
            bencher.iter(|| black_box(policy.decide(black_box(&case), Timestamp(0))));
        });
    }
}

criterion_group!(benches, decide);
criterion_main!(benches);
