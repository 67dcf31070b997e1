//! A storm of processes: no connect without its tree, and nothing left when it is over.
//! `cargo xtask soak storm` is the long form.
use gateway_tests::churn::Churn;
use gateway_tests::storm::{self, Idle};
use gateway_tests::{Scene, flood};
use std::time::Duration;

#[test]
fn a_storm_of_processes_leaves_no_connect_without_its_tree() {
    let scene = Scene::with_rules("").unwrap();
    let report = storm::run(&scene, 4_000, 8, Idle::Nobody).unwrap();
    assert!(report.connects > 100, "{report:?}");
    report.check().unwrap();
}

/// `cargo xtask vm` runs it under a kernel that preempts itself.
#[test]
fn who_runs_only_when_nobody_else_does_keeps_its_tag() {
    let scene = Scene::with_rules("").unwrap();
    let report = storm::run(&scene, 1_000, 8, Idle::Half).unwrap();
    assert!(report.connects > 20, "{report:?}");
    report.check().unwrap();
}

/// `cargo xtask soak churn` is the long form.
#[test]
fn clients_that_abort_and_vanish_leave_nothing_behind() {
    let mut churn = Churn::prepare(40).unwrap();
    for _ in 0..2 {
        churn.round(40, Duration::from_secs(5)).unwrap();
    }
    let report = churn.finish().unwrap();
    assert!(report.statements > 200, "{report:?}");
    for what in ["cancel", "abort", "vanish", "cut", "half_close"] {
        assert!(report.counts[what] > 0, "{report:?}");
    }
}

/// `cargo xtask soak flood` is the long form.
#[test]
fn a_flood_from_several_namespaces_is_in_the_journal_whoever_dies() {
    let report = flood::run(4, 400, 2).unwrap();
    assert!(report.reached >= 6400, "{report:?}");
}
