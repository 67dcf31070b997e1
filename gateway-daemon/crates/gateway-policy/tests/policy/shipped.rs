//! The example policies that are shipped: without mistakes, and proven by their cases.
use crate::ask::effects;
use gateway_policy::{CaseOperation, PolicySet, run_cases};
use std::path::Path;

/// The statements of the shipped cases and what they do. That the protocol reads them so is
/// shown where both are known; here it is about the policies.
const STATEMENTS: &[(&str, &str)] = &[
    ("SELECT id, total FROM public.orders", "read public.orders"),
    ("BEGIN", "read"),
    (
        "INSERT INTO public.orders (total) VALUES (1)",
        "write public.orders",
    ),
    (
        "DELETE FROM public.orders WHERE id = 7",
        "delete public.orders",
    ),
    ("DROP TABLE public.orders", "define public.orders"),
    (
        "COPY public.orders TO STDOUT",
        "read public.orders; transfer public.orders",
    ),
    ("SELECT * FROM payroll.salaries", "read payroll.salaries"),
    ("DO $$ BEGIN PERFORM 1; END $$", "execute"),
    (
        "SELECT pg_read_file('/etc/passwd')",
        "admin pg_catalog.pg_read_file",
    ),
    ("A c2VjcmV0.tunnel.example", "read c2vjcmv0.tunnel.example"),
    ("A orders.acme.internal", "read orders.acme.internal"),
    ("AAAA db.acme.internal", "read db.acme.internal"),
];

#[test]
fn the_shipped_policies_hold_what_they_promise() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../policies");
    let loaded = PolicySet::load(&directory).unwrap();
    let shown: Vec<String> = loaded.diagnostics.iter().map(|d| d.render()).collect();
    assert!(shown.is_empty(), "{}", shown.join("\n"));
    assert_eq!(
        loaded.set.check_protocols(&["dns", "opaque", "postgres"]),
        []
    );
    let interpret = |protocol: &str, statement: &str| {
        assert!(["dns", "postgres"].contains(&protocol), "{protocol}");
        let known = STATEMENTS.iter().find(|(text, _)| *text == statement);
        let effects = effects(
            known
                .ok_or(format!("{statement} is not in the table of this test"))?
                .1,
        );
        Ok(vec![CaseOperation {
            verb: effects[0].verb,
            effects,
            attributes: Vec::new(),
        }])
    };
    let results = run_cases(&loaded.set, &interpret);
    let failed: Vec<String> = results
        .iter()
        .filter(|result| !result.passed)
        .map(ToString::to_string)
        .collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    for policy in loaded.set.policies() {
        assert!(policy.summary().cases > 0, "{} has no case", policy.name());
        for rule in results
            .iter()
            .filter(|result| result.policy == *policy.name())
        {
            assert!(!rule.because.is_empty());
        }
    }
    assert_eq!(loaded.set.policies().count(), 3);
}

#[test]
fn the_reference_shows_what_works() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../docs/policy.md");
    let text = std::fs::read_to_string(page).unwrap();
    let blocks = text
        .split("```toml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next());
    let file: String = blocks.collect();
    let loaded = PolicySet::load_texts([("policy.md", file.as_str())]);
    let shown: Vec<String> = loaded.diagnostics.iter().map(|d| d.render()).collect();
    assert!(shown.is_empty(), "{}", shown.join("\n"));
    let interpret = |_: &str, statement: &str| {
        let known = STATEMENTS.iter().find(|(text, _)| *text == statement);
        let effects = effects(known.ok_or("not in the table of this test")?.1);
        Ok(vec![CaseOperation {
            verb: effects[0].verb,
            effects,
            attributes: Vec::new(),
        }])
    };
    let results = run_cases(&loaded.set, &interpret);
    assert_eq!(results.len(), 4);
    assert!(results.iter().all(|result| result.passed), "{results:#?}");
}
