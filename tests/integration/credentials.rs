//! Credentials: what the command line takes and shows, where the values are, and who can have them.
use crate::approvals::{header, receive, signature};
use gateway_tests::running::{self, Outcome, PATIENCE};
use gateway_tests::{Cluster, Daemon, Running, Scene, Subtree, place, policy};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

/// A value that nothing else in the state directory could have by chance.
const VALUE: &str = "correct-horse-battery-staple";

/// A daemon that does not run: all that the command line needs.
fn stopped() -> Daemon {
    let subtree = Arc::new(Subtree::create().unwrap());
    Daemon::prepare(&subtree).unwrap().stopped().unwrap()
}

fn add(daemon: &Daemon, arguments: &[&str], value: &[u8]) -> Outcome {
    let mut command = daemon.gateway();
    command.args(["credentials", "add"]).args(arguments);
    running::run_with_input(&mut command, value).unwrap()
}

fn list(daemon: &Daemon) -> Vec<Value> {
    daemon.json(&["credentials", "list"]).unwrap()
}

/// Is the value in none of the files below?
fn is_nowhere_below(directory: &Path, value: &str) {
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            is_nowhere_below(&entry.path(), value);
        } else if entry.file_type().unwrap().is_file() {
            let bytes = fs::read(entry.path()).unwrap();
            let found = bytes
                .windows(value.len())
                .any(|window| window == value.as_bytes());
            assert!(!found, "{}", entry.path().display());
        }
    }
}

#[test]
fn a_credential_comes_by_standard_input_and_its_value_never_goes_out() {
    let daemon = stopped();
    let empty = daemon.run(&["credentials", "list"]).unwrap();
    assert_eq!(empty.code(), 0, "{empty:?}");
    let value = format!("{VALUE}\n");
    let added = add(&daemon, &["orders-ci", "--user", "ci"], value.as_bytes());
    let added = added.success().unwrap();
    assert_eq!(added.stdout, "orders-ci added\n");
    add(&daemon, &["hook", "--kind", "secret"], value.as_bytes())
        .success()
        .unwrap();
    let listed = list(&daemon);
    assert_eq!(listed.len(), 2, "{listed:?}");
    assert_eq!(listed[0]["name"], "hook");
    assert_eq!(listed[0]["kind"], "secret");
    assert!(listed[0]["user"].is_null());
    assert_eq!(listed[1]["name"], "orders-ci");
    assert_eq!(listed[1]["kind"], "password");
    assert_eq!(listed[1]["user"], "ci");
    for time in ["added", "changed"] {
        assert!(
            listed[1][time].as_str().unwrap().ends_with('Z'),
            "{listed:?}"
        );
    }
    let table = daemon.run(&["credentials", "list"]).unwrap().stdout;
    assert!(
        table.contains("orders-ci") && table.contains("ci"),
        "{table}"
    );
    for said in [&added.stdout, &added.stderr, &table, &format!("{listed:?}")] {
        assert!(!said.contains(VALUE), "{said}");
    }
    is_nowhere_below(daemon.state(), VALUE);
    let store = daemon.state().join("credentials.sealed");
    for file in [&store, &daemon.credentials_key()] {
        let mode = fs::metadata(file).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600, "{}", file.display());
    }
    let mode = fs::metadata(daemon.state()).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o700, "made as the daemon makes it");
    let mut other = daemon.gateway_as(65534).unwrap();
    let other = running::run(other.args(["credentials", "list"])).unwrap();
    assert_eq!(other.code(), 4, "{other:?}");
}

#[test]
fn one_is_replaced_on_purpose_and_removed_once() {
    let daemon = stopped();
    add(&daemon, &["a"], b"one").success().unwrap();
    let before = list(&daemon).remove(0);
    let twice = add(&daemon, &["a"], b"two");
    assert_eq!(twice.code(), 1, "{twice:?}");
    assert!(twice.stderr.contains("--replace"), "{twice:?}");
    let replaced = add(&daemon, &["a", "--user", "u", "--replace"], b"two");
    assert_eq!(replaced.success().unwrap().stdout, "a replaced\n");
    let after = list(&daemon).remove(0);
    assert_eq!(after["added"], before["added"]);
    assert_eq!(after["user"], "u");
    let new = add(&daemon, &["b", "--replace"], b"x").success().unwrap();
    assert_eq!(new.stdout, "b added\n");
    let remove = || daemon.run(&["credentials", "remove", "a"]).unwrap();
    assert_eq!(remove().success().unwrap().stdout, "a removed\n");
    assert_eq!(remove().code(), 1);
    assert_eq!(list(&daemon).len(), 1);
}

#[test]
fn what_is_wrong_is_said_with_its_exit_code_and_without_the_value() {
    let daemon = stopped();
    let long = VALUE.repeat(50);
    let halves = "-----BEGIN CERTIFICATE-----\ncorrect-horse-battery-staple\n";
    for (arguments, value) in [
        (&["a"][..], ""),
        (&["a"], "\n"),
        (&["a"], &long),
        (&["a"], "correct-horse-battery-staple\0"),
        (&["a", "--user", ""], VALUE),
        (&["a", "--kind", "certificate"], VALUE),
        (&["a", "--kind", "certificate"], halves),
        (&["a", "--kind", "secret", "--user", "u"], VALUE),
        (&["a", "--kind", "token"], VALUE),
        (&["Not-A-Name"], VALUE),
        (&["a", VALUE], ""),
    ] {
        let outcome = add(&daemon, arguments, value.as_bytes());
        assert_eq!(outcome.code(), 2, "{arguments:?} {outcome:?}");
        assert!(!outcome.stderr.is_empty() && outcome.stdout.is_empty());
        // Of an argument that has no place, the argument parser says which one it is.
        if !arguments.contains(&VALUE) {
            assert!(!outcome.stderr.contains(VALUE), "{outcome:?}");
        }
    }
    assert!(
        !daemon.credentials_key().exists(),
        "nothing is made for nothing"
    );
    assert_eq!(
        daemon.run(&["credentials", "remove", "a"]).unwrap().code(),
        1
    );
}

#[test]
fn a_store_that_is_not_as_it_should_be_is_left_alone() {
    let daemon = stopped();
    add(&daemon, &["a"], VALUE.as_bytes()).success().unwrap();
    let store = daemon.state().join("credentials.sealed");
    let key = daemon.credentials_key();
    let (good, good_key) = (fs::read(&store).unwrap(), fs::read(&key).unwrap());
    let refused = |expected: &str| {
        let before = fs::read(&store).unwrap();
        let listed = daemon.run(&["credentials", "list"]).unwrap();
        for outcome in [listed, add(&daemon, &["b"], b"x")] {
            assert_eq!(outcome.code(), 2, "{outcome:?}");
            assert!(outcome.stderr.contains(expected), "{outcome:?}");
        }
        assert_eq!(fs::read(&store).unwrap(), before);
    };
    let mut bad = good.clone();
    bad[40] ^= 1;
    fs::write(&store, bad).unwrap();
    refused("damaged");
    fs::write(&store, &good).unwrap();
    fs::write(&key, [7; 32]).unwrap();
    refused("another key");
    fs::remove_file(&key).unwrap();
    refused("bring the file back");
    assert!(!key.exists(), "no new key hides that the old one is lost");
    fs::write(&key, &good_key).unwrap();
    fs::set_permissions(&key, Permissions::from_mode(0o640)).unwrap();
    refused("open to others");
    fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
    assert_eq!(list(&daemon).len(), 1);
}

#[test]
fn neither_another_user_nor_a_governed_process_gets_at_them() {
    let scene = Scene::allow_all().unwrap();
    add(&scene.daemon, &["a"], VALUE.as_bytes())
        .success()
        .unwrap();
    assert_eq!(list(&scene.daemon).len(), 1, "with the daemon alive too");
    for arguments in [
        &["credentials", "list"][..],
        &["credentials", "remove", "a"],
    ] {
        let mut other = scene.daemon.gateway_as(65534).unwrap();
        let other = running::run(other.args(arguments)).unwrap();
        assert_eq!(other.code(), 4, "{other:?}");
        // As root, inside of a tree.
        let job = scene.job("inside").unwrap();
        let mut inside = job.command(place::gateway().unwrap());
        inside.env("GATEWAY_CONFIG", scene.daemon.config_file());
        let inside = running::run(inside.args(arguments)).unwrap();
        assert_eq!(inside.code(), 4, "{inside:?}");
    }
    assert_eq!(list(&scene.daemon).len(), 1);
    is_nowhere_below(scene.daemon.state(), VALUE);
    assert!(!scene.daemon.said().contains(VALUE));
}

#[test]
fn on_a_terminal_it_is_asked_for_twice_and_not_shown() {
    let daemon = stopped();
    // What is typed before the terminal is silent is shown, as with every prompt.
    let script = "import os, pty, sys, termios\n\
        values = sys.argv[2:4]\n\
        pid, master = pty.fork()\n\
        if pid == 0:\n    \
            os.execv(sys.argv[1], [sys.argv[1], 'credentials', 'add', 'typed'])\n\
        seen = b''\n\
        def until(text):\n    \
            global seen\n    \
            while text not in seen:\n        \
                try: piece = os.read(master, 4096)\n        \
                except OSError: break\n        \
                if not piece: break\n        \
                seen += piece\n\
        def silent():\n    \
            while termios.tcgetattr(master)[3] & termios.ECHO: os.sched_yield()\n\
        until(b'typed: ')\n\
        silent()\n\
        line = open(f'/proc/{pid}/cmdline', 'rb').read()\n\
        assert values[0].encode() not in line, line\n\
        os.write(master, values[0].encode() + b'\\n')\n\
        until(b'again: ')\n\
        silent()\n\
        os.write(master, values[1].encode() + b'\\n')\n\
        until(b'\\0')\n\
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])\n\
        assert values[0].encode() not in seen, seen\n\
        print(seen.decode())\n\
        sys.exit(code)\n";
    let typed = |one: &str, two: &str| {
        let mut python = Command::new(place::python().unwrap());
        python.args(["-c", script]).arg(place::gateway().unwrap());
        python.args([one, two]);
        python.env("GATEWAY_CONFIG", daemon.config_file());
        running::run(&mut python).unwrap()
    };
    let different = typed(VALUE, "something else");
    assert_eq!(different.code(), 2, "{different:?}");
    assert!(different.stdout.contains("not the same"), "{different:?}");
    typed(VALUE, VALUE).success().unwrap();
    assert_eq!(list(&daemon)[0]["name"], "typed");
}

const HOLD: &str = "\
[[rule]]
name = \"open\"
resources = [\"db\"]
verbs = [\"connect\", \"authenticate\", \"read\"]
verdict = \"allow\"

[[rule]]
name = \"a human for writes\"
resources = [\"db\"]
verbs = [\"write\"]
verdict = \"hold\"
approvers = [\"local:daemon\"]
";

#[test]
fn a_webhook_is_signed_with_the_secret_that_the_store_has_then() {
    let hook = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = hook.local_addr().unwrap();
    let webhook = format!("[[webhook]]\nurl = \"http://{address}/hook\"\nsecret = \"hook\"\n");
    let subtree = Arc::new(Subtree::create().unwrap());
    let cluster = Cluster::start().unwrap();
    let rules = policy::with_rules(&subtree, cluster.port(), HOLD);
    let prepared = Daemon::prepare(&subtree).unwrap();
    let prepared = prepared.policy("test", &rules).unwrap().config(&webhook);
    let mut daemon = prepared.stopped().unwrap();
    let missing = daemon.run(&["daemon"]).unwrap();
    assert_eq!(missing.code(), 2, "{missing:?}");
    assert!(
        missing
            .stderr
            .contains("webhook.secret: there is no credential \"hook\""),
        "{missing:?}"
    );
    let first = "a secret of more than 16 bytes";
    add(&daemon, &["hook", "--kind", "secret"], first.as_bytes())
        .success()
        .unwrap();
    daemon.restart().unwrap();
    let scene = Scene {
        daemon,
        cluster,
        subtree,
    };
    let ask = |number: &str| {
        let statement = format!("create temp table held_{number} (a int)");
        let mut psql = scene.job(number).unwrap().command("psql");
        psql.args(["-X", "-d", &scene.cluster.address(), "-c", &statement]);
        Running::start(&mut psql).unwrap()
    };
    let _one = ask("one");
    let (head, body) = receive(&hook);
    assert_eq!(
        header(&head, "X-Gateway-Signature"),
        signature(first, &head, &body)
    );
    let second = "quite another secret of 16 bytes";
    let arguments = ["hook", "--kind", "secret", "--replace"];
    add(&scene.daemon, &arguments, second.as_bytes())
        .success()
        .unwrap();
    let _two = ask("two");
    let (head, body) = receive(&hook);
    assert_eq!(
        header(&head, "X-Gateway-Signature"),
        signature(second, &head, &body),
        "without a restart"
    );
}

/// What a process may leave of its memory: the soft and the hard limit.
fn core_limit(pid: u32) -> String {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max core file size"));
    let words: Vec<&str> = line.unwrap().split_whitespace().collect();
    words[..2].join(" ")
}

fn allow_cores(pid: u32) {
    let (_, hard) = getrlimit(Resource::RLIMIT_CORE).unwrap();
    assert!(hard > 1 << 20, "the tests may leave no core dumps: {hard}");
    let mut prlimit = Command::new("prlimit");
    prlimit.args([&format!("--core={hard}:"), "--pid", &pid.to_string()]);
    running::run(&mut prlimit).unwrap().success().unwrap();
}

#[test]
fn the_daemon_leaves_no_core_dump() {
    // A process that may leave one does, so that the daemon's leaving none means something.
    let directory = place::temporary_directory().unwrap();
    let mut sleep = Command::new("sleep");
    let sleep = Running::start(sleep.arg("1000").current_dir(directory.path())).unwrap();
    allow_cores(sleep.pid());
    sleep.signal(Signal::SIGABRT).unwrap();
    let dumped = sleep.wait(PATIENCE).unwrap().status.core_dumped();
    assert!(
        dumped,
        "this host dumps no cores at all, so nothing is shown"
    );

    let mut daemon = Scene::allow_all().unwrap().daemon;
    let pid = daemon.pid().unwrap();
    assert!(core_limit(pid).starts_with("0 "), "{}", core_limit(pid));
    // With the limit out of the way, the mark alone keeps it from being written.
    allow_cores(pid);
    assert!(!core_limit(pid).starts_with("0 "), "{}", core_limit(pid));
    let ended = daemon.abort().unwrap();
    assert_eq!(ended.status.signal(), Some(Signal::SIGABRT as i32));
    assert!(!ended.status.core_dumped(), "{ended:?}");
}

/// What `gateway run` starts is not the daemon's business: it keeps its own limits.
#[test]
fn a_command_keeps_its_own_core_limit() {
    let scene = Scene::allow_all().unwrap();
    let mut command = Command::new("prlimit");
    command
        .arg("--core=4096:8192")
        .arg(place::gateway().unwrap());
    command.args(["run", "--policy", "test", "--", "cat", "/proc/self/limits"]);
    command.env("GATEWAY_CONFIG", scene.daemon.config_file());
    let outcome = running::run(&mut command).unwrap().success().unwrap();
    let line = outcome
        .stdout
        .lines()
        .find(|line| line.starts_with("Max core file size"))
        .unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(words[4..6], ["4096", "8192"], "{line}");
}
