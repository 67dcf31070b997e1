//! Hosts that lack something: each ends in a clear error, never in a hang, a panic, or a daemon
//! that looks as if it enforced something.
use gateway_tests::running::{self, Outcome};
use gateway_tests::{Daemon, Scene, Subtree, job, place, policy, wait};
use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

/// It ended, it said why, and it did not panic.
fn check_refusal(outcome: &Outcome, codes: &[i32], words: &[&str]) {
    let said = format!("{}{}", outcome.stdout, outcome.stderr);
    assert!(
        codes.contains(&outcome.code()),
        "exit code {}: {said}",
        outcome.code()
    );
    assert!(!said.contains("panicked"), "{said}");
    let lower = said.to_lowercase();
    for word in words {
        assert!(lower.contains(word), "{word:?} is not in: {said}");
    }
}

/// Runs the daemon of a stopped description under some other program: with less privilege, or in
/// another mount namespace.
fn daemon_under(daemon: &Daemon, subtree: &Subtree, prefix: &[&str]) -> Outcome {
    let mut command = job::inside(&subtree.child("daemon").unwrap(), prefix[0]);
    command.args(&prefix[1..]).arg(place::gateway().unwrap());
    command
        .args(["daemon", "--config"])
        .arg(daemon.config_file());
    running::Running::start(&mut command)
        .unwrap()
        .wait(Duration::from_secs(20))
        .unwrap()
}

fn stopped() -> (Arc<Subtree>, Daemon) {
    let subtree = Arc::new(Subtree::create().unwrap());
    let daemon = Daemon::prepare(&subtree)
        .unwrap()
        .policy("test", &policy::deny_all(&subtree))
        .unwrap()
        .stopped()
        .unwrap();
    (subtree, daemon)
}

#[test]
fn not_root() {
    let (subtree, daemon) = stopped();
    // The binary and the configuration are readable by all; only the privilege is missing.
    let open = daemon.config_file();
    let directory = open.parent().unwrap();
    Command::new("chmod")
        .args(["-R", "a+rwX"])
        .arg(directory)
        .status()
        .unwrap();
    let prefix = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "--",
    ];
    let copy = gateway_tests::place::temporary_directory().unwrap();
    Command::new("chmod")
        .arg("755")
        .arg(copy.path())
        .status()
        .unwrap();
    let binary = copy.path().join("gateway");
    fs::copy(place::gateway().unwrap(), &binary).unwrap();
    let mut command = job::inside(&subtree.child("daemon").unwrap(), prefix[0]);
    command
        .args(&prefix[1..])
        .arg(&binary)
        .args(["daemon", "--config"])
        .arg(&open);
    let outcome = running::run(&mut command).unwrap();
    check_refusal(&outcome, &[2, 4], &["root"]);
}

#[test]
fn no_cap_bpf() {
    let (subtree, daemon) = stopped();
    let drop = "--bounding-set=-bpf,-sys_admin,-perfmon";
    let prefix = ["setpriv", drop, "--inh-caps=-bpf,-sys_admin,-perfmon", "--"];
    check_refusal(
        &daemon_under(&daemon, &subtree, &prefix),
        &[2, 4],
        &["cap_"],
    );
}

#[test]
fn no_btf() {
    let (subtree, daemon) = stopped();
    let hide = "mount -t tmpfs none /sys/kernel/btf && exec \"$@\"";
    let prefix = ["unshare", "--mount", "sh", "-c", hide, "sh"];
    check_refusal(&daemon_under(&daemon, &subtree, &prefix), &[2], &["btf"]);
}

#[test]
fn no_cgroup2() {
    let (subtree, daemon) = stopped();
    let config = fs::read_to_string(daemon.config_file()).unwrap();
    let mount = place::cgroup2().unwrap();
    let given = format!("cgroup_root = {:?}", subtree.path());
    fs::write(
        daemon.config_file(),
        config.replace(&given, "cgroup_root = \"auto\""),
    )
    .unwrap();
    let hide = format!("umount -l {} && exec \"$@\"", mount.display());
    let prefix = ["unshare", "--mount", "sh", "-c", &hide, "sh"];
    check_refusal(
        &daemon_under(&daemon, &subtree, &prefix),
        &[2],
        &["cgroup2"],
    );
}

#[test]
fn a_cgroup_root_that_is_none() {
    for root in ["/tmp", "/no/such/directory", "relative/path"] {
        let (_subtree, daemon) = stopped();
        let config = fs::read_to_string(daemon.config_file()).unwrap();
        let other: String = config
            .lines()
            .map(|line| {
                let other = format!("cgroup_root = {root:?}");
                let line = if line.starts_with("cgroup_root") {
                    &other
                } else {
                    line
                };
                format!("{line}\n")
            })
            .collect();
        fs::write(daemon.config_file(), other).unwrap();
        let mut command = daemon.gateway();
        let outcome = running::run(command.arg("daemon")).unwrap();
        check_refusal(&outcome, &[2], &["cgroup"]);
    }
}

#[test]
fn a_configuration_with_mistakes() {
    for (text, word) in [
        ("stat_dir = \"/x\"\n", "stat_dir"),
        ("[limits]\nsessions = -1\n", "sessions"),
        ("[limits]\ndrain = \"soon\"\n", "drain"),
        ("[recording]\ndurability = 7\n", "expected a string"),
        ("[recording\n", "unclosed"),
    ] {
        let (_subtree, daemon) = stopped();
        let config = fs::read_to_string(daemon.config_file()).unwrap();
        let config = if text.starts_with('[') {
            config + text
        } else {
            text.to_owned() + &config
        };
        fs::write(daemon.config_file(), config).unwrap();
        let outcome = running::run(daemon.gateway().arg("daemon")).unwrap();
        check_refusal(&outcome, &[2], &[word, "gateway.toml"]);
    }
    let (_subtree, daemon) = stopped();
    let mut missing = daemon.gateway();
    missing
        .env("GATEWAY_CONFIG", "/no/such/gateway.toml")
        .arg("daemon");
    check_refusal(
        &running::run(&mut missing).unwrap(),
        &[2],
        &["/no/such/gateway.toml"],
    );
}

/// A file system of 32 MiB that fills up: statements are refused, not forwarded unrecorded.
#[test]
fn a_full_disk_refuses_what_cannot_be_recorded() {
    let disk = SmallDisk::mount("32m");
    let subtree = Arc::new(Subtree::create().unwrap());
    let cluster = gateway_tests::Cluster::start().unwrap();
    let text = policy::allow_all(&subtree, cluster.port());
    let state = disk.path().join("state");
    let prepared = Daemon::prepare(&subtree)
        .unwrap()
        .policy("test", &text)
        .unwrap()
        .state(&state);
    // A disk on which not even the first segment fits is refused at once; that is as good.
    let mut daemon = prepared.stopped().unwrap();
    if daemon.restart().is_err() {
        let said = daemon.said().to_lowercase();
        assert!(
            said.contains("space") && !said.contains("panicked"),
            "{said}"
        );
        return;
    }
    let scene = Scene {
        daemon,
        cluster,
        subtree,
    };
    let program = "import psycopg, sys\n\
        refused = 0\n\
        for round in range(400):\n    \
            try:\n        \
                with psycopg.connect(sys.argv[1], autocommit=True) as c:\n            \
                    for i in range(200):\n                \
                        c.execute(f\"select '{round}-{i} \" + 'x' * 1000 + \"'\")\n    \
            except psycopg.Error as error:\n        \
                refused += 1\n        \
                print('refused', error.sqlstate, str(error).splitlines()[0], flush=True)\n        \
                if refused > 3:\n            break\n\
        print('done', refused)\n";
    let client = scene
        .job("filling")
        .unwrap()
        .python(program, &[&scene.cluster.address()])
        .unwrap();
    let outcome = client
        .wait(Duration::from_secs(120))
        .unwrap()
        .success()
        .unwrap();
    assert!(
        outcome.stdout.contains("refused"),
        "the disk never filled up: {}",
        outcome.stdout
    );
    // Nothing that the server saw is missing from the journal.
    let log = scene.daemon.log().unwrap();
    let recorded: std::collections::HashSet<&str> = crate::statements(&log).into_iter().collect();
    for statement in scene.cluster.statements().unwrap() {
        assert!(
            recorded.contains(statement.as_str()),
            "not recorded: {statement}"
        );
    }
}

#[test]
fn a_state_directory_of_another_version() {
    let mut scene = Scene::allow_all().unwrap();
    scene.psql(&["-c", "select 1"]).unwrap().success().unwrap();
    scene.daemon.terminate().unwrap();
    let version = find_version_file(scene.daemon.state());
    fs::write(&version, "999999\n").unwrap();
    let mut command = job::inside(
        &scene.subtree.child("daemon").unwrap(),
        place::gateway().unwrap(),
    );
    command
        .args(["daemon", "--config"])
        .arg(scene.daemon.config_file());
    let outcome = running::run(&mut command).unwrap();
    check_refusal(&outcome, &[2], &["version"]);
    assert_ne!(
        scene.psql(&["-c", "select 1"]).unwrap().code(),
        0,
        "still closed"
    );
}

/// The state directory says its version in a file of that name.
fn find_version_file(state: &std::path::Path) -> std::path::PathBuf {
    let mut open = vec![state.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if entry
                .file_name()
                .to_string_lossy()
                .eq_ignore_ascii_case("version")
            {
                return path;
            }
        }
    }
    panic!("{} has no file `version`", state.display());
}

#[test]
fn an_unreachable_upstream_is_a_reset_and_a_record() {
    let mut scene = Scene::allow_all().unwrap();
    let port = scene.cluster.port();
    // The cluster goes, its address stays allowed.
    let other = gateway_tests::Cluster::start().unwrap();
    scene.cluster = other;
    let address = format!("host=127.0.0.1 port={port} user=postgres connect_timeout=10");
    let mut psql = scene.job("unreachable").unwrap().command("psql");
    psql.args(["-X", "-d", &address, "-c", "select 1"]);
    let outcome = running::run(&mut psql).unwrap();
    assert_ne!(outcome.code(), 0, "{outcome:?}");
    wait::until_true("the session's end", running::PATIENCE, || {
        scene
            .daemon
            .sessions()
            .unwrap()
            .iter()
            .any(|session| session["end"] == "error")
    })
    .unwrap();
}

struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(size: &str) -> SmallDisk {
        let directory = place::temporary_directory().unwrap();
        let option = format!("size={size}");
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", &option, "none"])
            .arg(directory.path());
        running::run(&mut mount).unwrap().success().unwrap();
        SmallDisk(directory)
    }

    fn path(&self) -> &std::path::Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = running::run(Command::new("umount").arg("--lazy").arg(self.0.path()));
    }
}

#[test]
fn a_bpffs_that_cannot_be_written() {
    let (subtree, daemon) = stopped();
    let mount = daemon.pins();
    let mount = mount.parent().unwrap();
    remount(mount, "ro");
    check_refusal(
        &daemon_under(&daemon, &subtree, &["env"]),
        &[2],
        &["read-only", "bpf/gateway"],
    );
    remount(mount, "rw");

    // What is pinned there already stays in force, and waits for a daemon that can take it over.
    let mut scene = Scene::allow_all().unwrap();
    scene.psql(&["-c", "select 1"]).unwrap().success().unwrap();
    let pins = scene.daemon.pins();
    let mount = pins.parent().unwrap();
    scene.daemon.crash().unwrap();
    remount(mount, "ro");
    let error = scene.daemon.restart().unwrap_err().to_string();
    assert!(error.contains("Read-only file system"), "{error}");
    let outcome = scene.psql(&["-c", "select 2"]).unwrap();
    assert_ne!(outcome.code(), 0, "past a dead daemon: {outcome:?}");
    remount(mount, "rw");
    let _ = scene.daemon.crash();
    scene.daemon.restart().unwrap();
    scene.psql(&["-c", "select 3"]).unwrap().success().unwrap();
    assert!(!scene.cluster.log().unwrap().contains("select 2"));
}

fn remount(mount: &std::path::Path, how: &str) {
    let mut command = Command::new("mount");
    command.args(["-o", &format!("remount,{how}")]).arg(mount);
    running::run(&mut command).unwrap().success().unwrap();
}

/// A runner that makes a cgroup for each job would fill the map of names otherwise.
#[test]
fn a_cgroup_that_is_gone_takes_no_room() {
    let scene = Scene::allow_all().unwrap();
    let job = scene.job("many").unwrap();
    let names = || scene.daemon.entries().unwrap()["CGROUPS"];
    let before = names();
    let inner: Vec<_> = (0..200)
        .map(|n| job.cgroup().join(format!("{n}")))
        .collect();
    inner
        .iter()
        .for_each(|cgroup| fs::create_dir(cgroup).unwrap());
    assert_eq!(names(), before + 200);
    inner
        .iter()
        .for_each(|cgroup| fs::remove_dir(cgroup).unwrap());
    assert_eq!(names(), before);
}

/// What needs an entry in a full map is refused, and goes on when there is room.
#[test]
fn full_maps_let_nothing_past() {
    let scene = Scene::allow_all().unwrap();
    let asked = |job: &str, text: &str| {
        let mut psql = scene.job(job).unwrap().command("psql");
        psql.args(["-X", "-d", &scene.cluster.address(), "-c", text]);
        running::run(&mut psql).unwrap()
    };
    scene.daemon.stuff("HANDSHAKES", "fill").unwrap();
    let outcome = asked("one", "select 'no handshake'");
    assert_ne!(outcome.code(), 0, "{outcome:?}");
    scene.daemon.stuff("HANDSHAKES", "empty").unwrap();
    asked("one", "select 'room again'").success().unwrap();

    // A cgroup that cannot be named: its processes are refused, or known by the cgroup above.
    scene.daemon.stuff("CGROUPS", "fill").unwrap();
    let outcome = asked("two", "select 'no name'");
    if outcome.code() == 0 {
        let log = scene.daemon.log().unwrap();
        let is_it = |operation: &&serde_json::Value| operation["statement"] == "select 'no name'";
        assert_eq!(log.iter().filter(is_it).count(), 1, "unseen");
    }
    // The daemon finds out by itself that these are names of nobody.
    wait::until_true("a new cgroup to be known", running::PATIENCE, || {
        asked("three", "select 'named'").code() == 0
    })
    .unwrap();
    let log = scene.cluster.log().unwrap();
    assert!(!log.contains("no handshake"));
    assert!(log.contains("room again") && log.contains("named"));
    let log = scene.daemon.log().unwrap();
    let named = log
        .iter()
        .any(|operation| operation["statement"] == "select 'named'");
    assert!(named, "recorded");
}
