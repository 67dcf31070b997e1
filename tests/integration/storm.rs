//! A storm of processes: no connect without its tree, and nothing left when it is over.
//! `cargo xtask soak storm` is the long form.
use gateway_tests::{Scene, storm};

#[test]
fn a_storm_of_processes_leaves_no_connect_without_its_tree() {
    let scene = Scene::with_rules("").unwrap();
    let report = storm::run(&scene, 4_000, 8).unwrap();
    assert!(report.connects > 100, "{report:?}");
    report.check().unwrap();
}
