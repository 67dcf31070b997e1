//! `gateway uninstall`: alive, dead, and twice. Afterwards the host is as it was.
use gateway_tests::{Scene, wait};
use std::time::Duration;

fn check_uninstalled(scene: &Scene) {
    assert!(
        !scene.daemon.pins().exists(),
        "pins are left: {}",
        scene.daemon.pins().display()
    );
    let outcome = scene.psql(&["-A", "-t", "-c", "select 'direct'"]).unwrap();
    assert_eq!(outcome.clone().success().unwrap().stdout, "direct\n");
    let log = scene.daemon.log().unwrap();
    let statements = crate::statements(&log);
    assert!(
        statements.contains(&"select 'before'"),
        "the journal is kept: {statements:?}"
    );
    assert!(
        !statements.contains(&"select 'direct'"),
        "nothing is governed any more"
    );
    let again = scene.daemon.run(&["uninstall"]).unwrap();
    assert_eq!(again.code(), 0, "it can be repeated: {again:?}");
}

#[test]
fn uninstall_with_the_daemon_alive_stops_it() {
    let mut scene = Scene::allow_all().unwrap();
    scene
        .psql(&["-c", "select 'before'"])
        .unwrap()
        .success()
        .unwrap();
    scene.daemon.run(&["uninstall"]).unwrap().success().unwrap();
    wait::until_true("the daemon to end", Duration::from_secs(15), || {
        !scene.daemon.is_alive()
    })
    .unwrap();
    check_uninstalled(&scene);
}

#[test]
fn uninstall_with_the_daemon_dead_frees_the_trees() {
    let mut scene = Scene::allow_all().unwrap();
    scene
        .psql(&["-c", "select 'before'"])
        .unwrap()
        .success()
        .unwrap();
    scene.daemon.crash().unwrap();
    assert_ne!(
        scene.psql(&["-c", "select 1"]).unwrap().code(),
        0,
        "cut off"
    );
    scene.daemon.run(&["uninstall"]).unwrap().success().unwrap();
    check_uninstalled(&scene);
}

#[test]
fn a_daemon_that_comes_after_an_uninstall_governs_again() {
    let mut scene = Scene::allow_all().unwrap();
    scene
        .psql(&["-c", "select 'before'"])
        .unwrap()
        .success()
        .unwrap();
    scene.daemon.crash().unwrap();
    scene.daemon.run(&["uninstall"]).unwrap().success().unwrap();
    scene.daemon.restart().unwrap();
    scene
        .psql(&["-c", "select 'after'"])
        .unwrap()
        .success()
        .unwrap();
    let log = scene.daemon.log().unwrap();
    let statements = crate::statements(&log);
    for statement in ["select 'before'", "select 'after'"] {
        assert!(statements.contains(&statement), "{statements:?}");
    }
}
