//! What `gateway run` takes from a command, as its policy says.
use gateway_tests::running::{self, Outcome};
use gateway_tests::{Scene, policy};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use std::collections::HashMap;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

const SCRIPT: &str = include_str!("scripts/harden.py");

/// A daemon whose policy hardens so.
fn scene(harden: &str) -> Scene {
    let scene = Scene::allow_all().unwrap();
    let rules = "[[rule]]\nname = \"all\"\nverbs = [\"*\"]\nverdict = \"allow\"\n";
    let text = policy::with_rules(&scene.subtree, scene.cluster.port(), rules);
    let text = text.replacen("[policy]\n", &format!("[policy]\nharden = {harden}\n"), 1);
    assert!(text.contains("harden"), "{text}");
    scene.daemon.put_in_force("test", &text).unwrap();
    scene
}

/// What a command under `gateway run` can do, by the words of the script.
fn tried(scene: &Scene, uid: u32, more: &[&str]) -> HashMap<String, String> {
    words(&started(scene, uid, more).success().unwrap())
}

fn started(scene: &Scene, uid: u32, more: &[&str]) -> Outcome {
    let mut command = match uid {
        0 => scene.daemon.gateway(),
        uid => scene.daemon.gateway_as(uid).unwrap(),
    };
    command.args(["run", "--policy", "test", "--", "/usr/bin/python3"]);
    command.args(["-c", SCRIPT]).args(more);
    running::run(&mut command).unwrap()
}

fn words(outcome: &Outcome) -> HashMap<String, String> {
    let lines = outcome.stdout.lines();
    let pairs = lines.filter_map(|line| line.split_once(' '));
    pairs
        .map(|(name, word)| (name.to_owned(), word.to_owned()))
        .collect()
}

fn assert_said(found: &HashMap<String, String>, expected: &[(&str, &str)]) {
    for (name, word) in expected {
        let said = found.get(*name).map(String::as_str);
        assert_eq!(said, Some(*word), "{name}: {found:?}");
    }
}

const NOTHING: &str = "0000000000000000";

#[test]
fn what_a_filter_refuses_works_without_it() {
    let found = tried(&scene("[]"), 0, &[]);
    assert_said(
        &found,
        &[
            ("unix", "ok"),
            ("packet", "ok"),
            ("netfilter", "ok"),
            ("packet-high", "ok"),
            ("io_uring", "ok"),
            ("i386", "ok"),
            ("NoNewPrivs", "0"),
            ("Seccomp", "0"),
        ],
    );
    assert_ne!(found["CapEff"], NOTHING);
}

#[test]
fn a_filter_leaves_the_sockets_that_are_governed() {
    let found = tried(&scene("[\"seccomp\"]"), 0, &[]);
    assert_said(
        &found,
        &[
            ("unix", "ok"),
            ("inet", "ok"),
            ("inet6", "ok"),
            ("route", "ok"),
            ("pair", "ok"),
            ("netfilter", "EPROTONOSUPPORT"),
            ("packet", "EAFNOSUPPORT"),
            ("packet-high", "EAFNOSUPPORT"),
            ("vsock", "EAFNOSUPPORT"),
            ("alg", "EAFNOSUPPORT"),
            ("xdp", "EAFNOSUPPORT"),
            ("tipc", "EAFNOSUPPORT"),
            ("pair-tipc", "EAFNOSUPPORT"),
            ("io_uring", "ENOSYS"),
            ("x32", "ENOSYS"),
            ("i386", "ENOSYS"),
            ("NoNewPrivs", "1"),
            ("Seccomp", "2"),
        ],
    );
}

#[test]
fn capabilities_are_gone_and_stay_so() {
    let all = "[\"drop-capabilities\", \"seccomp\", \"no-new-privs\", \"close-sockets\"]";
    let none = [
        ("CapInh", NOTHING),
        ("CapPrm", NOTHING),
        ("CapEff", NOTHING),
        ("CapBnd", NOTHING),
        ("CapAmb", NOTHING),
    ];
    let scene = scene(all);
    assert_said(&tried(&scene, 0, &[]), &none);
    // What root executes next gets none either.
    let outcome = started(&scene, 0, &["grep", "Cap", "/proc/self/status"]);
    let after = outcome.stdout.rsplit("CapInh:").next().unwrap_or_default();
    assert_eq!(after.matches(NOTHING).count(), 5, "{outcome:?}");
    // It is governed all the same.
    let address = scene.cluster.address();
    let psql = [
        "psql",
        "-X",
        "-A",
        "-t",
        "-d",
        &address,
        "-c",
        "select 'hardened'",
    ];
    assert!(started(&scene, 0, &psql).stdout.ends_with("hardened\n"));
    let log = scene.daemon.log().unwrap();
    crate::operation(&log, "select 'hardened'");

    let user = tried(&scene, 65534, &[]);
    assert_said(
        &user,
        &[("NoNewPrivs", "1"), ("Seccomp", "2"), ("CapPrm", NOTHING)],
    );
}

#[test]
fn a_user_whose_capabilities_could_come_back_is_not_started() {
    let scene = scene("[\"drop-capabilities\"]");
    let outcome = started(&scene, 65534, &[]);
    assert_eq!(outcome.code(), 125, "{outcome:?}");
    assert!(outcome.stderr.contains("no-new-privs"), "{outcome:?}");
    assert_eq!(outcome.stdout, "");
}

#[test]
fn sockets_from_outside_stay_outside_unless_the_policy_says_otherwise() {
    for (harden, stays) in [("[\"close-sockets\"]", false), ("[]", true)] {
        let scene = scene(harden);
        let (inside, _outside) = UnixStream::pair().unwrap();
        fcntl(&inside, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
        let mut command = scene.daemon.gateway();
        command.args(["run", "--policy", "test", "--", "readlink"]);
        command.arg(format!("/proc/self/fd/{}", inside.as_raw_fd()));
        let outcome = running::run(&mut command).unwrap();
        assert_eq!(outcome.stdout.starts_with("socket:"), stays, "{outcome:?}");
    }
}
