//! Two daemons with disjoint directories and subtrees know nothing of each other.
use gateway_tests::{Scene, policy};

#[test]
fn two_daemons_govern_their_own_trees_only() {
    let mut strict = Scene::with_rules(policy::READ_WRITE).unwrap();
    let open = Scene::allow_all().unwrap();
    for (scene, code) in [(&strict, 1), (&open, 0)] {
        scene.cluster.query("create table t (x int)").unwrap();
        assert_eq!(scene.psql(&["-c", "drop table t"]).unwrap().code(), code);
        let log = scene.daemon.log().unwrap();
        let drops = crate::statements(&log)
            .iter()
            .filter(|text| **text == "drop table t")
            .count();
        assert_eq!(drops, 1, "its own statement, once: {log:?}");
    }
    let trees = |scene: &Scene| {
        let sessions = scene.daemon.sessions().unwrap();
        sessions
            .iter()
            .map(|session| session["tree"].to_string())
            .collect::<Vec<_>>()
    };
    assert_ne!(trees(&strict), trees(&open));

    // The death and the removal of one are nothing to the other.
    strict.daemon.crash().unwrap();
    open.psql(&["-c", "select 'still here'"])
        .unwrap()
        .success()
        .unwrap();
    strict
        .daemon
        .run(&["uninstall"])
        .unwrap()
        .success()
        .unwrap();
    open.psql(&["-c", "select 'and now'"])
        .unwrap()
        .success()
        .unwrap();
    let log = open.daemon.log().unwrap();
    assert!(crate::statements(&log).contains(&"select 'and now'"));
}

#[test]
fn a_second_daemon_on_the_same_directories_refuses_to_start() {
    let scene = Scene::allow_all().unwrap();
    let cgroup = scene.subtree.child("daemon").unwrap();
    let binary = gateway_tests::place::gateway().unwrap();
    let mut second = gateway_tests::job::inside(&cgroup, binary);
    second
        .args(["daemon", "--config"])
        .arg(scene.daemon.config_file());
    let outcome = gateway_tests::running::run(&mut second).unwrap();
    assert_eq!(outcome.code(), 2, "{outcome:?}");
    assert!(
        !outcome.stderr.is_empty() && !outcome.stderr.contains("panicked"),
        "{outcome:?}"
    );
    scene
        .psql(&["-c", "select 'the first goes on'"])
        .unwrap()
        .success()
        .unwrap();
}
