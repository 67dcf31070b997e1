//! Sockets from before a process was governed: outbound connections are ended, what others share
//! or no policy forbids goes on and is said, and what was accepted stays. Each way is tried by an
//! ungoverned process too, which shows that it is one.
use gateway_tests::running::{PATIENCE, Running};
use gateway_tests::sniffer::Sniffer;
use gateway_tests::{Daemon, Job, Namespace, Subtree, place, policy, wait};
use serde_json::Value;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

const SINK_PORT: u16 = 7000;

/// Keeps connections, and sends a token over each when it is told.
const KEEPER: &str = include_str!("scripts/keeper.py");

/// Somewhere else, on this machine, and what goes there.
struct Far {
    sniffer: Sniffer,
    namespace: Namespace,
    files: TempDir,
    subtree: Arc<Subtree>,
}

impl Far {
    fn open() -> Far {
        let namespace = Namespace::create().unwrap();
        Far {
            sniffer: Sniffer::start(&namespace, SINK_PORT).unwrap(),
            namespace,
            files: place::temporary_directory().unwrap(),
            subtree: Arc::new(Subtree::create().unwrap()),
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    /// Lets what waits for this file go on.
    fn go(&self, name: &str) {
        std::fs::write(self.file(name), "").unwrap();
    }

    fn far(&self, kind: &str) -> String {
        format!("{kind},{},{SINK_PORT}", self.namespace.address())
    }

    fn far_v6(&self, kind: &str) -> String {
        format!("{kind},{},{SINK_PORT}", self.namespace.address_v6())
    }

    /// Starts a keeper of connections in this job, whose token is `label`.
    fn keep(&self, job: &Job, label: &str, targets: &[String], more: Value) -> Running {
        let mut told = serde_json::json!({
            "targets": targets,
            "go": self.file(label),
            "token": Sniffer::token(label),
            "program": KEEPER,
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            told[key] = value.clone();
        }
        let mut keeper = job.python(KEEPER, &[&told.to_string()]).unwrap();
        keeper.wait_for_output("connected", PATIENCE).unwrap();
        keeper
    }

    fn daemon(&self, mode: &str) -> Daemon {
        let policy = policy::deny_all(&self.subtree).replace("\"enforce\"", mode);
        Daemon::prepare(&self.subtree)
            .unwrap()
            .policy("test", &policy)
            .unwrap()
            .start()
            .unwrap()
    }

    fn governed(&self, name: &str) -> Job {
        Job::governed(&self.subtree, name).unwrap()
    }

    fn free(&self, name: &str) -> Job {
        Job::free(&self.subtree, name).unwrap()
    }

    /// Has this token arrived? Asked when everything that was sent before has: the link keeps the
    /// order, of each CPU.
    fn arrived(&self, label: &str) -> bool {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        for number in 0..2 {
            let token = Sniffer::token(&format!("fence{number}-{label}"));
            wait::until_true("the fence to arrive", PATIENCE, || {
                let sink = (self.namespace.address(), SINK_PORT);
                socket.send_to(token.as_bytes(), sink).unwrap();
                self.sniffer.tokens().contains(token.trim_end_matches('.'))
            })
            .unwrap();
        }
        self.sniffer.tokens().contains(&format!("gwtok-{label}"))
    }
}

/// What the daemon counts of sockets from before.
fn count(daemon: &Daemon, what: &str) -> u64 {
    daemon.status().unwrap()["before"][what].as_u64().unwrap()
}

fn wait_for(daemon: &Daemon, what: &str, number: u64) {
    wait::until_true(what, PATIENCE, || count(daemon, what) == number)
        .unwrap_or_else(|error| panic!("{error}: {}", daemon.said()));
}

/// A sink on loopback, which the gateway does not govern.
fn loopback_sink() -> (TcpListener, String) {
    let sink = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let target = format!("tcp,127.0.0.1,{}", sink.local_addr().unwrap().port());
    (sink, target)
}

/// All that comes over a connection, and whether it ended with a reset.
fn drain(mut connection: TcpStream) -> (Vec<u8>, bool) {
    connection.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut bytes = Vec::new();
    match connection.read_to_end(&mut bytes) {
        Ok(_) => (bytes, false),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
            (bytes, true)
        }
    }
}

/// Row 27.
#[test]
fn connections_from_before_the_daemon_are_ended() {
    let far = Far::open();
    let (sink, near) = loopback_sink();
    let mut targets = vec![near, far.far("tcp"), far.far_v6("tcp"), far.far("udp")];
    let mptcp = std::fs::read_to_string("/proc/sys/net/mptcp/enabled");
    if mptcp.is_ok_and(|enabled| enabled.trim() == "1") {
        targets.push(far.far("mptcp"));
    }
    let count_all = targets.len();
    let free = far.keep(&far.free("free"), "before-control", &targets, Value::Null);
    let (of_free, _) = sink.accept().unwrap();
    let kept = far.keep(&far.governed("early"), "before", &targets, Value::Null);
    let (of_kept, _) = sink.accept().unwrap();

    let daemon = far.daemon("\"enforce\"");
    assert_eq!(
        count(&daemon, "ended"),
        count_all as u64,
        "{}",
        daemon.said()
    );
    assert_eq!(
        drain(of_kept),
        (Vec::new(), true),
        "reset, and nothing came"
    );
    far.go("before");
    let said = kept.wait(PATIENCE).unwrap().success().unwrap().stdout;
    assert_eq!(said.matches("failed").count(), count_all, "{said}");
    assert!(!far.arrived("before"), "{}", daemon.said());
    let line = "a connection from before its process was governed is ended";
    assert_eq!(
        daemon.said().matches(line).count(),
        count_all,
        "{}",
        daemon.said()
    );

    far.go("before-control");
    let said = free.wait(PATIENCE).unwrap().success().unwrap().stdout;
    assert_eq!(said.matches("sent").count(), count_all, "{said}");
    assert!(far.arrived("before-control"));
    let (bytes, _) = drain(of_free);
    assert_eq!(bytes, Sniffer::token("before-control").repeat(3).as_bytes());
}

/// Row 26: a launcher that keeps nothing of it hands its connections to a job.
#[test]
fn inherited_connections_are_ended_behind_the_first_exec() {
    let far = Far::open();
    let (sink, near) = loopback_sink();
    let targets = [near, far.far("tcp"), far.far("udp")];
    let daemon = far.daemon("\"enforce\"");
    let launcher = far.free("launcher");
    // The same program into a cgroup that nothing governs.
    let place = serde_json::json!({"then": "move", "cgroup": far.free("elsewhere").cgroup()});
    let free = far.keep(&launcher, "inherited-control", &targets, place);
    let place = serde_json::json!({"then": "move", "cgroup": far.governed("job").cgroup()});
    let job = far.keep(&launcher, "inherited", &targets, place);
    wait_for(&daemon, "ended", 3);
    far.go("inherited");
    let said = job.wait(PATIENCE).unwrap().success().unwrap().stdout;
    assert_eq!(said.matches("failed").count(), 3, "{said}");
    assert!(!far.arrived("inherited"), "{}", daemon.said());
    far.go("inherited-control");
    let said = free.wait(PATIENCE).unwrap().success().unwrap().stdout;
    assert_eq!(said.matches("sent").count(), 3, "{said}");
    assert!(far.arrived("inherited-control"));
    drop(sink);
}

/// Where the policy lets a command of `gateway run` keep its sockets, its connections are ended all
/// the same.
#[test]
fn a_command_of_gateway_run_brings_no_connection_along() {
    let far = Far::open();
    let (sink, near) = loopback_sink();
    let policy =
        policy::deny_all(&far.subtree).replacen("[policy]\n", "[policy]\nharden = []\n", 1);
    let prepared = Daemon::prepare(&far.subtree).unwrap();
    let daemon = prepared.policy("test", &policy).unwrap().start().unwrap();
    let command = "import socket, sys\n\
        s = socket.socket(fileno=int(sys.argv[1]))\n\
        try:\n    print('received', s.recv(10))\n\
        except OSError as error:\n    print(type(error).__name__)\n\
        try:\n    s.sendall(b'token')\n\
        except OSError as error:\n    print('failed', type(error).__name__)\n";
    let program = "import os, socket, sys\n\
        s = socket.create_connection(('127.0.0.1', int(sys.argv[1])))\n\
        s.set_inheritable(True)\n\
        os.execv(sys.argv[2], ['gateway', 'run', '--policy', 'test', '--', \
            '/usr/bin/python3', '-u', '-c', sys.argv[3], str(s.fileno())])\n";
    let mut launcher = Command::new("/usr/bin/python3");
    launcher.env("GATEWAY_CONFIG", daemon.config_file());
    launcher.args(["-c", program, near.rsplit(',').next().unwrap()]);
    launcher.arg(place::gateway().unwrap()).arg(command);
    let launcher = Running::start(&mut launcher).unwrap();
    let (of_command, _) = sink.accept().unwrap();
    assert_eq!(drain(of_command), (Vec::new(), true), "{}", daemon.said());
    let said = launcher.wait(PATIENCE).unwrap().stdout;
    assert!(
        said.contains("failed") && !said.contains("received b'"),
        "{said}"
    );
    assert_eq!(count(&daemon, "ended"), 1);
}

/// Who moves and never executes anything is known when it first forks.
#[test]
fn a_process_that_never_executes_anything_is_looked_at_soon() {
    let far = Far::open();
    let daemon = far.daemon("\"enforce\"");
    let place = serde_json::json!({"then": "fork", "cgroup": far.governed("job").cgroup()});
    let targets = [far.far("tcp")];
    let job = far.keep(&far.free("launcher"), "no-exec", &targets, place);
    wait_for(&daemon, "ended", 1);
    far.go("no-exec");
    let said = job.wait(PATIENCE).unwrap().success().unwrap().stdout;
    assert!(said.contains("failed"), "{said}");
    assert!(!far.arrived("no-exec"));
}

#[test]
fn a_connection_that_an_ungoverned_parent_shares_goes_on_and_is_said() {
    let far = Far::open();
    let daemon = far.daemon("\"enforce\"");
    let place = serde_json::json!({
        "then": "share",
        "cgroup": far.governed("job").cgroup(),
        "parent_go": far.file("parent"),
        "parent_token": Sniffer::token("parent"),
    });
    let parent = far.keep(&far.free("parent"), "shared", &[far.far("tcp")], place);
    wait_for(&daemon, "shared", 1);
    let line = "a connection from before its process was governed goes on: others share it";
    let said = daemon.said();
    let said = said.lines().find(|said| said.contains(line)).unwrap();
    assert!(
        said.contains(&format!("holders=\"{}\"", parent.pid())),
        "{said}"
    );
    let sink = format!("{}:{SINK_PORT}", far.namespace.address());
    assert!(said.contains(&format!("peer=\"{sink}\"")), "{said}");
    // On record too: what goes on unseen is a gap in what the journal knows.
    let noted = place::files_with(daemon.state(), "1 from before go on unseen: tcp").unwrap();
    assert_eq!(noted.len(), 1, "{noted:?}");
    far.go("parent");
    far.go("shared");
    let said = parent.wait(PATIENCE).unwrap().success().unwrap().stdout;
    assert!(said.contains("sent") && !said.contains("failed"), "{said}");
    assert!(far.arrived("parent"), "it is not the job's alone");
    assert_eq!(count(&daemon, "ended"), 0);
}

/// A launcher lets go of what it has handed on when the job runs already, as `Popen` with
/// `pass_fds` does.
#[test]
fn a_connection_is_ended_when_the_launcher_lets_go_of_it() {
    let far = Far::open();
    let daemon = far.daemon("\"enforce\"");
    let place = serde_json::json!({
        "then": "hand",
        "cgroup": far.governed("job").cgroup(),
        "parent_go": far.file("parent"),
    });
    let parent = far.keep(&far.free("parent"), "handed", &[far.far("tcp")], place);
    wait_for(&daemon, "shared", 1);
    assert_eq!(count(&daemon, "ended"), 0);
    far.go("parent");
    wait_for(&daemon, "ended", 1);
    far.go("handed");
    let said = parent.wait(PATIENCE).unwrap().success().unwrap().stdout;
    assert!(said.contains("failed"), "{said}");
    assert!(!far.arrived("handed"));
    assert_eq!(count(&daemon, "shared"), 1, "said once");
}

/// A login service goes on, whoever logged in before; and what listens is its tree's.
#[test]
fn what_was_accepted_stays_and_a_listener_is_known() {
    let far = Far::open();
    let program = "import os, socket, sys, time\n\
        listener = socket.create_server(('127.0.0.1', 0))\n\
        print('port', listener.getsockname()[1], flush=True)\n\
        s, peer = listener.accept()\n\
        print('accepted', flush=True)\n\
        s.sendall(b'answer ' + s.recv(100))\n\
        own = socket.create_connection(listener.getsockname(), 5)\n\
        s, peer = listener.accept()\n\
        own.sendall(b'own')\n\
        print(s.recv(100), flush=True)\n";
    let mut server = far.governed("server").python(program, &[]).unwrap();
    server.wait_for_output("port", PATIENCE).unwrap();
    let said = server.stdout();
    let port = said.trim().rsplit(' ').next().unwrap().parse().unwrap();
    let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    server.wait_for_output("accepted", PATIENCE).unwrap();
    let daemon = far.daemon("\"enforce\"");
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(b"question").unwrap();
    let mut answer = [0; 15];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"answer question");
    let said = server.wait(PATIENCE).unwrap().success().unwrap().stdout;
    assert!(said.ends_with("b'own'\n"), "{said}");
    assert_eq!(count(&daemon, "ended"), 0, "{}", daemon.said());
    assert!(daemon.sessions().unwrap().is_empty(), "its own listener");
}

/// Both ends of it are the tree's.
#[test]
fn a_connection_within_a_tree_goes_on() {
    let far = Far::open();
    let program = "import os, socket, sys, time\n\
        listener = socket.create_server(('127.0.0.1', 0))\n\
        one = socket.create_connection(listener.getsockname())\n\
        other, peer = listener.accept()\n\
        listener.close()\n\
        print('connected', flush=True)\n\
        while not os.path.exists(sys.argv[1]):\n    time.sleep(0.01)\n\
        one.sendall(b'one')\n\
        other.sendall(b'other')\n\
        print(other.recv(10), one.recv(10))\n";
    let go = far.file("go").display().to_string();
    let mut pair = far.governed("pair").python(program, &[&go]).unwrap();
    pair.wait_for_output("connected", PATIENCE).unwrap();
    let daemon = far.daemon("\"enforce\"");
    far.go("go");
    let said = pair.wait(PATIENCE).unwrap().success().unwrap().stdout;
    assert!(said.contains("b'one' b'other'"), "{said}{}", daemon.said());
    assert_eq!(count(&daemon, "ended"), 0);
}

/// A raw socket from before is no connection: the backstop has it from now on.
#[test]
fn a_raw_socket_from_before_sends_nothing() {
    let far = Far::open();
    let program = "import os, socket, sys, time\n\
        s = socket.socket(socket.AF_INET, socket.SOCK_RAW, 253)\n\
        print('made', flush=True)\n\
        while not os.path.exists(sys.argv[1]):\n    time.sleep(0.01)\n\
        try:\n    s.sendto(sys.argv[2].encode(), (sys.argv[3], 0))\n\
        except OSError as error:\n    print(error)\n";
    let host = far.namespace.address().to_string();
    let raw = |job: &Job, label: &str| {
        let go = far.file(label).display().to_string();
        let token = Sniffer::token(label);
        let mut raw = job.python(program, &[&go, &token, &host]).unwrap();
        raw.wait_for_output("made", PATIENCE).unwrap();
        raw
    };
    let free = raw(&far.free("free"), "raw-control");
    let governed = raw(&far.governed("raw"), "raw");
    let mut daemon = far.daemon("\"enforce\"");
    daemon.expect_backstop_drops();
    far.go("raw");
    governed.wait(PATIENCE).unwrap().success().unwrap();
    assert!(!far.arrived("raw"), "{}", daemon.said());
    far.go("raw-control");
    free.wait(PATIENCE).unwrap().success().unwrap();
    assert!(far.arrived("raw-control"));
}

/// No hook and no storage reaches it.
#[test]
fn a_packet_socket_from_before_is_said_to_be_a_gap() {
    let far = Far::open();
    let program = "import socket, time\n\
        s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)\n\
        print('made', flush=True)\n\
        time.sleep(1000)\n";
    let mut packets = far.governed("packets").python(program, &[]).unwrap();
    packets.wait_for_output("made", PATIENCE).unwrap();
    let daemon = far.daemon("\"enforce\"");
    assert_eq!(count(&daemon, "gaps"), 1, "{}", daemon.said());
    let reason = "a socket of a family that the gateway does not see";
    assert!(daemon.said().contains(reason), "{}", daemon.said());
}

/// Threads may have descriptors of their own, and go on when their process's first one has ended.
#[test]
fn a_thread_that_hides_its_connection_is_found() {
    let far = Far::open();
    let (sink, near) = loopback_sink();
    let program = "import ctypes, os, socket, sys, threading, time\n\
        libc = ctypes.CDLL(None)\n\
        def hide():\n    \
            if libc.unshare(0x400) != 0: os._exit(3)\n    \
            s = socket.create_connection(('127.0.0.1', int(sys.argv[1])))\n    \
            print('hidden', flush=True)\n    \
            while not os.path.exists(sys.argv[2]): time.sleep(0.01)\n    \
            try: s.sendall(b'token')\n    \
            except OSError as error: print('failed', flush=True)\n    \
            os._exit(0)\n\
        threading.Thread(target=hide).start()\n\
        libc.syscall(60, 0)\n";
    let (_, port) = near.rsplit_once(',').unwrap();
    let go = far.file("go").display().to_string();
    let hidden = far
        .governed("hidden")
        .python(program, &[port, &go])
        .unwrap();
    let (of_hidden, _) = sink.accept().unwrap();
    hidden.wait_for_output_of("hidden", PATIENCE).unwrap();
    let daemon = far.daemon("\"enforce\"");
    if count(&daemon, "gaps") == 1 {
        gateway_tests::skip::skip("this kernel does not give descriptors of threads (6.9)");
        return;
    }
    assert_eq!(count(&daemon, "ended"), 1, "{}", daemon.said());
    assert_eq!(drain(of_hidden), (Vec::new(), true));
    far.go("go");
    let said = hidden.wait(PATIENCE).unwrap().success().unwrap().stdout;
    assert!(said.contains("failed"), "{said}");
}

#[test]
fn where_nothing_is_enforced_connections_go_on_until_it_is() {
    for mode in ["\"observe\"", "\"shadow\""] {
        let far = Far::open();
        let (sink, near) = loopback_sink();
        let first = far.keep(
            &far.governed("first"),
            "watched",
            &[far.far("tcp")],
            Value::Null,
        );
        let second = far.keep(&far.governed("second"), "raised", &[near], Value::Null);
        let (of_second, _) = sink.accept().unwrap();
        let daemon = far.daemon(mode);
        assert_eq!(count(&daemon, "observed"), 2, "{}", daemon.said());
        assert_eq!(count(&daemon, "ended"), 0);
        far.go("watched");
        let said = first.wait(PATIENCE).unwrap().success().unwrap().stdout;
        assert!(said.contains("sent"), "{said}");
        assert!(far.arrived("watched"));
        let enforced = policy::deny_all(&far.subtree);
        daemon.put_in_force("test", &enforced).unwrap();
        wait_for(&daemon, "ended", 1);
        assert_eq!(drain(of_second), (Vec::new(), true));
        far.go("raised");
        let said = second.wait(PATIENCE).unwrap().success().unwrap().stdout;
        assert!(said.contains("failed"), "{said}");
    }
}

/// A policy that comes later finds who is there by then.
#[test]
fn connections_from_before_a_policy_are_ended() {
    let far = Far::open();
    let daemon = Daemon::prepare(&far.subtree).unwrap().start().unwrap();
    let (sink, near) = loopback_sink();
    let kept = far.keep(&far.governed("early"), "later", &[near], Value::Null);
    let (of_kept, _) = sink.accept().unwrap();
    let policy = policy::deny_all(&far.subtree);
    daemon.put_in_force("test", &policy).unwrap();
    wait_for(&daemon, "ended", 1);
    assert_eq!(drain(of_kept), (Vec::new(), true));
    far.go("later");
    kept.wait(PATIENCE).unwrap().success().unwrap();
}

/// A daemon that is killed while it looks at others leaves them running: nobody is frozen or
/// stopped for it, and the next daemon does what is left.
#[test]
fn a_daemon_that_dies_meanwhile_holds_up_nobody() {
    let far = Far::open();
    let (sink, near) = loopback_sink();
    let targets = vec![near; 20];
    let keepers: Vec<Running> = (0..4)
        .map(|number| {
            let job = far.governed(&format!("early{number}"));
            far.keep(&job, "dying", &targets, Value::Null)
        })
        .collect();
    let text = policy::deny_all(&far.subtree);
    let prepared = Daemon::prepare(&far.subtree).unwrap();
    let mut daemon = prepared.policy("test", &text).unwrap().stopped().unwrap();
    for moment in ["the programs are attached", "is ended"] {
        daemon.launch().unwrap();
        // From the second on nothing may be left that would be said.
        let _ = wait::until_true(moment, Duration::from_secs(5), || {
            daemon.said().contains(moment)
        });
        daemon.crash().unwrap();
        for keeper in &keepers {
            assert!(runs(keeper.pid()), "{moment}");
            let frozen = far.subtree.path().join("jobs/cgroup.events");
            assert!(
                std::fs::read_to_string(frozen)
                    .unwrap()
                    .contains("frozen 0")
            );
        }
    }
    daemon.restart().unwrap();
    far.go("dying");
    for keeper in keepers {
        let said = keeper.wait(PATIENCE).unwrap().success().unwrap().stdout;
        assert_eq!(said.matches("failed").count(), targets.len(), "{said}");
    }
    for _ in 0..4 * targets.len() {
        let (connection, _) = sink.accept().unwrap();
        assert_eq!(drain(connection).0, b"", "nothing came");
    }
}

/// Neither stopped nor traced.
fn runs(pid: u32) -> bool {
    let status = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status"));
    let status = status.unwrap();
    let state = status.lines().find(|line| line.starts_with("State:"));
    state.is_some_and(|state| state.contains('S') || state.contains('R'))
}
