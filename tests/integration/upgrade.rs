//! A daemon gives way to another, of the same build or of one whose programs are others, while jobs
//! connect all the time: no statement reaches the server that is not in the journal, no process is
//! freed, and with a service manager that keeps the listeners no connection is refused either.
use gateway_tests::crash::unrecorded;
use gateway_tests::running::PATIENCE;
use gateway_tests::{Cluster, Daemon, Job, Namespace, Running, Scene, Subtree, policy, wait};
use nix::sys::signal::Signal;
use std::collections::BTreeSet;
use std::fs;
use std::os::linux::fs::MetadataExt;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

/// Connects over and over, from children too, and says who answered.
const PROBE: &str = r#"
import os, psycopg, sys, time
number = 0
while not os.path.exists(sys.argv[2]):
    number += 1
    if number % 40 == 0 and os.fork():
        os.wait()
        break
    try:
        with psycopg.connect(sys.argv[1] + " connect_timeout=30", autocommit=True) as connection:
            connection.execute(f"select 'probe {sys.argv[3]}-{os.getpid()}-{number}'")
        print("answered", number, flush=True)
    except psycopg.Error as error:
        print("refused", number, str(error).replace("\n", " "), flush=True)
        time.sleep(0.02)
"#;
const PROBES: usize = 3;

/// One session that asks all the time, and says what was answered.
const LONG: &str = r#"
import os, psycopg, sys, time
number = 0
with psycopg.connect(sys.argv[1], autocommit=True) as connection:
    while not os.path.exists(sys.argv[2]):
        number += 1
        connection.execute(f"select 'long {os.getpid()}-{number}'")
        print("answered", number, flush=True)
        time.sleep(0.02)
"#;

/// A scene whose daemon is run by a service manager.
fn managed() -> Scene {
    let subtree = Arc::new(Subtree::create().unwrap());
    let cluster = Cluster::start().unwrap();
    let text = policy::with_rules(&subtree, cluster.port(), policy::ALLOW_ALL);
    let daemon = Daemon::prepare(&subtree).unwrap().policy("test", &text);
    let daemon = daemon
        .unwrap()
        .config("\n[limits]\ndrain = \"30s\"\n")
        .managed();
    let daemon = daemon.from_own_file().unwrap().start().unwrap();
    Scene {
        daemon,
        cluster,
        subtree,
    }
}

/// Jobs that connect all the time, and what the server saw of them.
struct Probes {
    directory: tempfile::TempDir,
    running: Vec<Running>,
    compared: u64,
}

impl Probes {
    fn start(scene: &Scene) -> Probes {
        let directory = gateway_tests::place::temporary_directory().unwrap();
        let stop = directory.path().join("stop").display().to_string();
        let mut compared = 0;
        scene.cluster.log_from(&mut compared).unwrap();
        let start = |number: usize| {
            let job = scene.job(&format!("probe-{number}")).unwrap();
            let arguments = [&scene.cluster.address(), &stop, &number.to_string()];
            job.python(PROBE, &arguments.map(String::as_str)).unwrap()
        };
        Probes {
            running: (0..PROBES).map(start).collect(),
            directory,
            compared,
        }
    }

    fn count(&self, word: &str) -> Vec<usize> {
        let said = self.running.iter().map(Running::stdout);
        said.map(|said| said.matches(word).count()).collect()
    }

    /// Until each probe was answered some times more.
    fn wait_for_answers(&self) {
        let before = self.count("answered");
        wait::until_true("all probes to be answered", PATIENCE, || {
            let now = self.count("answered");
            now.iter()
                .zip(&before)
                .all(|(now, before)| *now > before + 5)
        })
        .unwrap();
    }

    /// Ends them. What reached the server has to be in the journal, and each job has to be one
    /// tree all the time. Gives what the probes said of connections that failed.
    fn finish(mut self, scene: &Scene) -> Vec<String> {
        fs::write(self.directory.path().join("stop"), "").unwrap();
        let mut failed = Vec::new();
        for probe in self.running {
            let outcome = probe.wait(PATIENCE).unwrap().success().unwrap();
            let lines = outcome.stdout.lines();
            failed.extend(
                lines
                    .filter(|line| line.starts_with("refused"))
                    .map(str::to_owned),
            );
        }
        let seen = scene.cluster.statements_from(&mut self.compared).unwrap();
        let log = scene.daemon.log().unwrap();
        let missing = unrecorded(&seen, &log);
        assert!(seen.len() > 30, "{} statements are few", seen.len());
        assert!(missing.is_empty(), "past the gateway: {missing:?}");
        for number in 0..PROBES {
            let of_probe = log.iter().filter(|operation| {
                let statement = operation["statement"].as_str().unwrap_or_default();
                statement.contains(&format!("probe {number}-"))
            });
            let trees: BTreeSet<_> = of_probe
                .map(|operation| operation["tree"].to_string())
                .collect();
            assert_eq!(trees.len(), 1, "one job, and these trees: {trees:?}");
        }
        failed
    }
}

/// The next daemon attaches other programs: those of the other object.
fn change_programs(daemon: &Daemon) {
    let configuration = fs::read_to_string(daemon.config_file()).unwrap();
    let changed = match configuration.contains("debug_log = true\n") {
        true => configuration.replace("debug_log = true\n", ""),
        false => configuration.replace("[capture]\n", "[capture]\ndebug_log = true\n"),
    };
    fs::write(daemon.config_file(), changed).unwrap();
}

/// The one set of links, by its name.
fn links(daemon: &Daemon) -> String {
    let sets = fs::read_dir(daemon.pins()).unwrap();
    let sets = sets.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    let sets: Vec<_> = sets.filter(|name| name != "maps").collect();
    assert_eq!(sets.len(), 1, "{sets:?}");
    sets.into_iter().next().unwrap()
}

/// Sets of links whose programs are being replaced.
fn retired(daemon: &Daemon) -> usize {
    let sets = fs::read_dir(daemon.pins()).into_iter().flatten().flatten();
    sets.filter(|entry| {
        entry
            .file_name()
            .to_string_lossy()
            .starts_with("links-was-")
    })
    .count()
}

fn said(daemon: &Daemon, line: &str) -> usize {
    daemon.said().matches(line).count()
}

/// Waits until the manager heard of one more daemon that is ready.
fn wait_for_ready(daemon: &Daemon, before: usize) {
    wait::until_true("the next daemon", PATIENCE, || {
        said(daemon, "\nready ") > before
    })
    .unwrap_or_else(|error| panic!("{error}\n{}", daemon.said()));
}

#[test]
fn restarts_and_upgrades_refuse_no_connection_and_let_none_past() {
    let scene = managed();
    let probes = Probes::start(&scene);
    probes.wait_for_answers();
    for upgrade in [false, true, true] {
        let programs = links(&scene.daemon);
        if upgrade {
            change_programs(&scene.daemon);
        }
        let ready = said(&scene.daemon, "\nready ");
        scene.daemon.signal(Signal::SIGHUP).unwrap();
        wait_for_ready(&scene.daemon, ready);
        assert_eq!(links(&scene.daemon) != programs, upgrade);
        probes.wait_for_answers();
    }
    assert_eq!(
        said(&scene.daemon, "kept=true"),
        3,
        "{}",
        scene.daemon.said()
    );
    let failed = probes.finish(&scene);
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn connections_wait_while_a_killed_daemon_is_away() {
    let scene = managed();
    scene.psql(&["-c", "select 1"]).unwrap().success().unwrap();
    scene.daemon.signal(Signal::SIGUSR1).unwrap();
    wait::until_true("the death", PATIENCE, || {
        said(&scene.daemon, "stopped -9") == 1
    })
    .unwrap();
    let mut waiting = scene.job("waiting").unwrap().command("psql");
    waiting.args([
        "-X",
        "-d",
        &scene.cluster.address(),
        "-c",
        "select 'waited'",
    ]);
    let waiting = Running::start(&mut waiting).unwrap();
    // It has connected when its SYN was answered: by the listener, which nobody accepts from.
    wait::until_true("the client to wait", PATIENCE, || waits(waiting.pid())).unwrap();
    change_programs(&scene.daemon);
    scene.daemon.signal(Signal::SIGUSR2).unwrap();
    let outcome = waiting.wait(PATIENCE).unwrap().success().unwrap();
    assert!(outcome.stdout.contains("waited"), "{outcome:?}");
    let log = scene.daemon.log().unwrap();
    assert!(crate::statements(&log).contains(&"select 'waited'"));
}

fn pid(scene: &Scene) -> Option<u32> {
    let status = scene.daemon.status().ok()?;
    u32::try_from(status["pid"].as_u64()?).ok()
}

/// Has the daemon give way to another one. Gives the pid of the one before.
fn upgrade(scene: &Scene) -> u32 {
    let before = pid(scene).unwrap();
    let outcome = scene.daemon.run(&["upgrade"]).unwrap();
    assert_eq!(outcome.code(), 0, "{outcome:?}\n{}", scene.daemon.said());
    assert_ne!(pid(scene), Some(before));
    before
}

fn lives(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

/// A session that goes on, and what ends it.
fn long_session(scene: &Scene) -> (Running, tempfile::TempDir) {
    let directory = gateway_tests::place::temporary_directory().unwrap();
    let stop = directory.path().join("stop").display().to_string();
    let job = scene.job("long").unwrap();
    let long = job
        .python(LONG, &[&scene.cluster.address(), &stop])
        .unwrap();
    wait_for_more(&long);
    (long, directory)
}

fn wait_for_more(long: &Running) {
    let answered = || long.stdout().matches("answered").count();
    let before = answered();
    wait::until_true("answers in the session", PATIENCE, || {
        answered() > before + 3
    })
    .unwrap_or_else(|error| panic!("{error}: {}", long.stdout()));
}

#[test]
fn sessions_go_on_in_the_daemon_that_gives_way_to_another() {
    let scene = managed();
    let probes = Probes::start(&scene);
    probes.wait_for_answers();
    let (long, directory) = long_session(&scene);
    change_programs(&scene.daemon);
    let old = upgrade(&scene);
    wait_for_more(&long);
    probes.wait_for_answers();
    assert!(lives(old), "it serves the session");
    let status = scene.daemon.status().unwrap();
    assert!(status["sessions"].as_u64() >= Some(1), "{status}");
    let warnings = status["warnings"].to_string();
    assert!(warnings.contains("1 sessions go on"), "{status}");
    // One at a time.
    scene.daemon.signal(Signal::SIGWINCH).unwrap();
    wait::until_true("a refusal", PATIENCE, || {
        said(
            &scene.daemon,
            "the daemon before this one still has sessions",
        ) == 1
    })
    .unwrap();
    wait_for_more(&long);
    fs::write(directory.path().join("stop"), "").unwrap();
    let outcome = long.wait(PATIENCE).unwrap().success().unwrap();
    let answered = outcome.stdout.matches("answered").count();
    wait::until_true("the first daemon to end", PATIENCE, || !lives(old)).unwrap();
    wait::until_true("its end to be known", PATIENCE, || {
        said(&scene.daemon, "the daemon before this one is gone") == 1
    })
    .unwrap();
    upgrade(&scene);
    probes.wait_for_answers();
    links(&scene.daemon);
    let log = scene.daemon.log().unwrap();
    let statements = crate::statements(&log);
    let recorded = statements
        .iter()
        .filter(|text| text.starts_with("select 'long "));
    assert_eq!(recorded.count(), answered, "{}", scene.daemon.said());
    let sessions = scene.daemon.sessions().unwrap();
    let cut = sessions
        .iter()
        .filter(|session| session["error"].is_string());
    assert_eq!(cut.count(), 0, "each session has its end: {sessions:?}");
    let failed = probes.finish(&scene);
    assert!(failed.is_empty(), "{failed:#?}");
}

/// The session that is there, as the journal has it.
fn session_of(scene: &Scene, long: &Running) -> serde_json::Value {
    let log = scene.daemon.log().unwrap();
    let text = format!("'long {}-", long.pid());
    let own = log.iter().rev().find(|operation| {
        let statement = operation["statement"].as_str().unwrap_or_default();
        statement.contains(&text)
    });
    let id = own.unwrap()["session"].clone();
    let sessions = scene.daemon.sessions().unwrap();
    let found = sessions
        .into_iter()
        .find(|session| session["session"] == id);
    found.unwrap_or_else(|| panic!("no session {id}"))
}

fn kill(pid: u32) {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).unwrap());
    nix::sys::signal::kill(pid, Signal::SIGKILL).unwrap();
}

#[test]
fn a_session_that_drains_can_be_killed_and_is_over_when_its_daemon_dies() {
    let scene = managed();
    let (long, _directory) = long_session(&scene);
    let old = upgrade(&scene);
    wait_for_more(&long);
    let session = session_of(&scene, &long);
    let id = session["session"].as_str().unwrap();
    scene.daemon.run(&["kill", id]).unwrap().success().unwrap();
    assert_ne!(long.wait(PATIENCE).unwrap().code(), 0);
    wait::until_true("the daemon before it to end", PATIENCE, || !lives(old)).unwrap();

    let (long, _directory) = long_session(&scene);
    let old = upgrade(&scene);
    wait_for_more(&long);
    let session = session_of(&scene, &long);
    assert!(session["ended"].is_null(), "it goes on: {session}");
    let (text, pid) = ("the daemon before this one is gone", long.pid());
    let gone = said(&scene.daemon, text);
    kill(old);
    assert_ne!(long.wait(PATIENCE).unwrap().code(), 0);
    wait::until_true("its end to be known", PATIENCE, || {
        said(&scene.daemon, text) > gone
    })
    .unwrap();
    let id = session["session"].clone();
    let sessions = scene.daemon.sessions().unwrap();
    let session = sessions
        .iter()
        .find(|session| session["session"] == id)
        .unwrap();
    assert!(
        session
            .to_string()
            .contains("the gateway that served it died"),
        "{pid}: {session}"
    );
    scene.psql(&["-c", "select 1"]).unwrap().success().unwrap();
}

#[test]
fn what_drains_ends_when_the_rules_change_or_the_new_daemon_does() {
    let scene = managed();
    for restart in [false, true] {
        let (long, _directory) = long_session(&scene);
        let old = upgrade(&scene);
        wait_for_more(&long);
        let session = session_of(&scene, &long)["session"].clone();
        let policy = scene.daemon.policies().join("test.toml");
        match restart {
            true => scene.daemon.signal(Signal::SIGHUP).unwrap(),
            false => fs::write(&policy, fs::read_to_string(&policy).unwrap() + "\n").unwrap(),
        }
        assert_ne!(long.wait(PATIENCE).unwrap().code(), 0);
        wait::until_true("the daemon before it to end", PATIENCE, || !lives(old)).unwrap();
        if restart {
            wait_for_ready(&scene.daemon, 3);
        }
        // Its last record is there, and says who ended it.
        let sessions = scene.daemon.sessions().unwrap();
        let mut own = sessions.iter().filter(|found| found["session"] == session);
        assert_eq!(own.next().unwrap()["end"], "killed", "{sessions:?}");
        wait::until_true("its end to be known", PATIENCE, || {
            said(&scene.daemon, "the daemon before this one is gone") > usize::from(restart)
        })
        .unwrap();
    }
}

#[test]
fn what_drains_records_nothing_and_asks_nothing_when_the_new_daemon_dies() {
    let scene = managed();
    let probes = Probes::start(&scene);
    probes.wait_for_answers();
    let (long, _directory) = long_session(&scene);
    let old = upgrade(&scene);
    wait_for_more(&long);
    scene.daemon.signal(Signal::SIGUSR1).unwrap();
    assert_ne!(
        long.wait(PATIENCE).unwrap().code(),
        0,
        "it cannot be recorded"
    );
    wait::until_true("the daemon before it to end", PATIENCE, || !lives(old)).unwrap();
    wait::until_true("the death", PATIENCE, || {
        said(&scene.daemon, "stopped -9") == 1
    })
    .unwrap();
    let ready = said(&scene.daemon, "\nready ");
    scene.daemon.signal(Signal::SIGUSR2).unwrap();
    wait_for_ready(&scene.daemon, ready);
    probes.wait_for_answers();
    probes.finish(&scene);
}

/// Answers whoever connects.
const SERVER: &str = "import socket\n\
    s = socket.create_server(('127.0.0.1', 7200))\n\
    print('listening', flush=True)\n\
    while True:\n    \
        c, _ = s.accept()\n    \
        c.recv(9)\n    \
        c.sendall(b'here')\n    \
        c.close()\n";

/// Connects all the time, and says what came of it. Until the gateway listens, nothing does.
const CLIENT: &str = "import socket, time\n\
    while True:\n    \
        try:\n        \
            with socket.create_connection(('127.0.0.1', 7200), 30) as c:\n            \
                c.sendall(b'?')\n            \
                print('answered' if c.recv(9) else 'ended', flush=True)\n    \
        except OSError as error: print('refused', error, flush=True)\n    \
        time.sleep(0.01)\n";

#[test]
fn connections_in_another_network_namespace_wait_for_the_next_daemon() {
    let subtree = Arc::new(Subtree::create().unwrap());
    let namespace = Namespace::create().unwrap();
    let text = policy::opaque_anywhere(&subtree, "");
    let daemon = Daemon::prepare(&subtree).unwrap().policy("test", &text);
    let mut daemon = daemon.unwrap().managed().start().unwrap();
    let mut server = namespace.command(gateway_tests::place::python().unwrap());
    let mut server = Running::start(server.args(["-u", "-c", SERVER])).unwrap();
    server.wait_for_output("listening", PATIENCE).unwrap();
    let job = Job::governed(&subtree, "inside").unwrap();
    let mut client = job.command("ip");
    client.args(["netns", "exec", namespace.name()]);
    client.arg(gateway_tests::place::python().unwrap());
    let client = Running::start(client.args(["-u", "-c", CLIENT])).unwrap();
    let wait = |daemon: &Daemon| {
        let answered = || client.stdout().matches("answered").count();
        let before = answered();
        wait::until_true("answers", PATIENCE, || answered() > before + 5)
            .unwrap_or_else(|error| panic!("{error}\n{}\n{}", client.stdout(), daemon.said()));
    };
    wait(&daemon);
    let before = client.stdout();
    for round in 1..=2 {
        // What the last one had is entered by the next one, or left.
        let outcome = daemon.run(&["upgrade"]).unwrap();
        assert_eq!(outcome.code(), 0, "{outcome:?}\n{}", daemon.said());
        wait(&daemon);
        wait::until_true("the daemon before it to go", PATIENCE, || {
            said(&daemon, "the daemon before this one is gone") == round
        })
        .unwrap();
    }
    let after = client.stdout();
    let after = after.strip_prefix(&before).unwrap();
    assert!(
        !after.contains("refused") && !after.contains("ended"),
        "{after}"
    );
    daemon.terminate().unwrap();
}

/// The processes of the daemon, the oldest first.
fn daemons(scene: &Scene) -> Vec<u32> {
    let cgroup = scene.subtree.path().join("daemon/cgroup.procs");
    let pids = fs::read_to_string(cgroup).unwrap();
    let pids = pids.lines().map(|pid| pid.parse().unwrap());
    let mut pids: Vec<u32> = pids
        .filter(|pid| Some(*pid) != scene.daemon.pid().ok())
        .collect();
    pids.sort_unstable();
    pids
}

#[test]
fn whoever_is_killed_in_an_upgrade_frees_nobody_and_loses_no_record() {
    let scene = managed();
    let probes = Probes::start(&scene);
    probes.wait_for_answers();
    for (round, delay_ms) in [20, 90, 160, 300, 500, 900].into_iter().enumerate() {
        scene.daemon.signal(Signal::SIGWINCH).unwrap();
        std::thread::sleep(Duration::from_millis(delay_ms));
        let all = daemons(&scene);
        let victim = if round % 2 == 0 {
            all.last()
        } else {
            all.first()
        };
        kill(*victim.unwrap());
        // What the manager takes for the daemon ends too; what it does not know ends by itself.
        let stopped = said(&scene.daemon, "stopped ");
        scene.daemon.signal(Signal::SIGUSR1).unwrap();
        wait::until_true("the death", PATIENCE, || {
            said(&scene.daemon, "stopped ") > stopped
        })
        .unwrap_or_else(|error| panic!("{error}\n{}", scene.daemon.said()));
        wait::until_true("all to be gone", PATIENCE, || {
            daemons(&scene).iter().all(|pid| !lives(*pid))
        })
        .unwrap_or_else(|error| panic!("{error}\n{}", scene.daemon.said()));
        let ready = said(&scene.daemon, "\nready ");
        scene.daemon.signal(Signal::SIGUSR2).unwrap();
        wait_for_ready(&scene.daemon, ready);
        probes.wait_for_answers();
    }
    probes.finish(&scene);
}

/// Puts a script in the place of the daemon's file.
fn replace_binary(daemon: &Daemon, script: &str) {
    let beside = daemon.file().with_extension("new");
    fs::write(&beside, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&beside, fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(&beside, daemon.file()).unwrap();
}

#[test]
fn a_successor_that_is_no_good_changes_nothing() {
    let scene = managed();
    let probes = Probes::start(&scene);
    probes.wait_for_answers();
    let (long, _directory) = long_session(&scene);
    let before = pid(&scene);
    replace_binary(&scene.daemon, "exit 1");
    scene.daemon.signal(Signal::SIGWINCH).unwrap();
    wait::until_true("a refusal", PATIENCE, || {
        said(&scene.daemon, "no daemon can take over; this one goes on") == 1
    })
    .unwrap();
    probes.wait_for_answers();
    assert_eq!(pid(&scene), before);

    // One that dies with everything in its hands: the one before starts its own build.
    let gateway = gateway_tests::place::gateway().unwrap();
    let dies = format!(
        "exec 3<&0\n\
         {} \"$@\" <&3 &\n\
         while kill -0 $! && [ \"$(cat {}/lock)\" != $! ]; do sleep 0.01; done\n\
         kill -9 $!",
        gateway.display(),
        scene.daemon.state().display()
    );
    replace_binary(&scene.daemon, &dies);
    upgrade(&scene);
    assert_eq!(
        said(&scene.daemon, "a daemon did not take over"),
        1,
        "{}",
        scene.daemon.said()
    );
    wait_for_more(&long);
    probes.wait_for_answers();
    let failed = probes.finish(&scene);
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn nothing_waits_under_a_policy_that_lets_trees_pass() {
    let scene = managed();
    let policy = fs::read_to_string(scene.daemon.policies().join("test.toml")).unwrap();
    let (head, rest) = policy.split_once("mode = ").unwrap();
    let passing = format!("{head}when_down = {{ allow_after = \"5s\" }}\nmode = {rest}");
    fs::write(scene.daemon.policies().join("test.toml"), passing).unwrap();
    wait::until_true("the listeners to be given back", PATIENCE, || {
        // Once at the start, before they are kept.
        said(&scene.daemon, "kept 0") == 2
    })
    .unwrap_or_else(|error| panic!("{error}\n{}", scene.daemon.said()));
    scene.daemon.signal(Signal::SIGUSR1).unwrap();
    wait::until_true("the death", PATIENCE, || {
        said(&scene.daemon, "stopped -9") == 1
    })
    .unwrap();
    assert_ne!(scene.psql(&["-c", "select 1"]).unwrap().code(), 0);
    wait::until_true("the time to be over", PATIENCE, || {
        scene.psql(&["-c", "select 'passed'"]).unwrap().code() == 0
    })
    .unwrap();
    scene.daemon.signal(Signal::SIGUSR2).unwrap();
    wait_for_ready(&scene.daemon, 1);
}

/// Has this process an established connection?
fn waits(pid: u32) -> bool {
    let sockets = fs::read_dir(format!("/proc/{pid}/fd"));
    let sockets = sockets.into_iter().flatten().filter_map(|entry| {
        let path = entry.ok()?.path();
        let socket = fs::read_link(&path)
            .ok()?
            .to_string_lossy()
            .starts_with("socket:");
        socket.then(|| fs::metadata(&path).ok().map(|socket| socket.st_ino()))?
    });
    let sockets: BTreeSet<String> = sockets.map(|inode| inode.to_string()).collect();
    let table = fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    table.lines().any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words.get(3) == Some(&"01") && words.get(9).is_some_and(|inode| sockets.contains(*inode))
    })
}

#[test]
fn a_daemon_that_dies_while_it_replaces_programs_lets_nobody_past() {
    let mut scene = Scene::allow_all().unwrap();
    let probes = Probes::start(&scene);
    probes.wait_for_answers();
    for delay_ms in [0, 20, 50, 100, 200] {
        scene.daemon.crash().unwrap();
        change_programs(&scene.daemon);
        scene.daemon.launch().unwrap();
        // Some hooks have programs of one build then, and some of the other.
        wait::until_true("programs to be replaced", PATIENCE, || {
            retired(&scene.daemon) > 0
        })
        .unwrap();
        std::thread::sleep(Duration::from_millis(delay_ms));
    }
    scene.daemon.crash().unwrap();
    scene.daemon.restart().unwrap();
    links(&scene.daemon);
    probes.wait_for_answers();
    probes.finish(&scene);
}
