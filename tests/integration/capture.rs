//! Which processes are governed, from which moment, and what is left alone.
use crate::operation;
use gateway_tests::running::{self, PATIENCE};
use gateway_tests::{Daemon, Job, Scene, Subtree, policy, wait};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

#[test]
fn a_client_sees_the_address_that_it_meant() {
    let scene = Scene::allow_all().unwrap();
    let port = scene.cluster.port().to_string();
    let program = "import socket, sys\n\
        s = socket.create_connection(('127.0.0.1', int(sys.argv[1])), 5)\n\
        print(s.getpeername())\n\
        t = socket.socket(socket.AF_INET6)\n\
        t.connect(('::ffff:127.0.0.1', int(sys.argv[1])))\n\
        print(t.getpeername()[0], t.getpeername()[1])\n";
    let client = scene
        .job("client")
        .unwrap()
        .python(program, &[&port])
        .unwrap();
    let outcome = client.wait(PATIENCE).unwrap().success().unwrap();
    let expected = format!("('127.0.0.1', {port})\n::ffff:127.0.0.1 {port}\n");
    assert_eq!(outcome.stdout, expected);
}

#[test]
fn what_no_policy_names_is_untouched() {
    let scene = Scene::with_rules("").unwrap();
    let mut psql = Job::free(&scene.subtree, "free").unwrap().command("psql");
    psql.args([
        "-X",
        "-A",
        "-t",
        "-d",
        &scene.cluster.address(),
        "-c",
        "select 'free'",
    ]);
    let outcome = running::run(&mut psql).unwrap().success().unwrap();
    assert_eq!(outcome.stdout, "free\n");
    let outcome = scene.psql(&["-c", "select 1"]).unwrap();
    assert_ne!(outcome.code(), 0, "the same from a governed job is denied");
    let sessions = scene.daemon.sessions().unwrap();
    assert_eq!(
        sessions.len(),
        1,
        "one session, that of the governed job: {sessions:?}"
    );
    assert_eq!(sessions[0]["end"], "denied");
}

#[test]
fn a_loopback_listener_outside_the_tree_is_an_ordinary_destination() {
    let scene = Scene::allow_all().unwrap();
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let program = "import socket, sys\n\
        for host in ('127.0.0.1', '0.0.0.0', '127.8.9.10', '::ffff:127.0.0.1'):\n    \
            try:\n        \
                s = socket.create_connection((host, int(sys.argv[1])), 5)\n        \
                s.sendall(b'secret')\n        \
                print(host, s.recv(1))\n    \
            except OSError as error:\n        \
                print(host, 'refused')\n";
    let client = scene
        .job("client")
        .unwrap()
        .python(program, &[&port])
        .unwrap();
    let outcome = client.wait(PATIENCE).unwrap().success().unwrap();
    assert!(
        listener.accept().is_err(),
        "a governed connection arrived: {outcome:?}"
    );
    wait::until_true("four denied sessions", PATIENCE, || {
        let sessions = scene.daemon.sessions().unwrap();
        sessions
            .iter()
            .filter(|session| session["end"] == "denied")
            .count()
            == 4
    })
    .unwrap();
}

#[test]
fn processes_of_one_tree_talk_to_each_other() {
    let scene = Scene::allow_all().unwrap();
    let program = "import os, socket\n\
        s = socket.create_server(('127.0.0.1', 0))\n\
        if os.fork() == 0:\n    \
            c = socket.create_connection(s.getsockname(), 5)\n    \
            c.sendall(b'hello'); os._exit(0)\n\
        s.settimeout(5)\nc, _ = s.accept()\nprint(c.recv(5))\n";
    let client = scene.job("pair").unwrap().python(program, &[]).unwrap();
    let outcome = client.wait(PATIENCE).unwrap().success().unwrap();
    assert_eq!(outcome.stdout, "b'hello'\n");
    assert!(
        scene.daemon.sessions().unwrap().is_empty(),
        "that is nobody else's business"
    );
}

#[test]
fn processes_that_ran_before_the_daemon_are_governed() {
    let subtree = Arc::new(Subtree::create().unwrap());
    let cluster = gateway_tests::Cluster::start().unwrap();
    let job = Job::governed(&subtree, "early").unwrap();
    let program = "import os, sys, time, socket\n\
        if os.fork():\n    os._exit(0)\n\
        print('started', flush=True)\n\
        while not os.path.exists(sys.argv[2]):\n    time.sleep(0.01)\n\
        os.execvp('psql', ['psql', '-X', '-d', sys.argv[1], '-c', \"select 'early'\"])\n";
    let directory = gateway_tests::place::temporary_directory().unwrap();
    let go = directory.path().join("go");
    let mut early = job
        .python(program, &[&cluster.address(), &go.display().to_string()])
        .unwrap();
    wait::until_true("the orphan", PATIENCE, || {
        early.stdout().contains("started")
    })
    .unwrap();
    let text = policy::allow_all(&subtree, cluster.port());
    let daemon = Daemon::prepare(&subtree)
        .unwrap()
        .policy("test", &text)
        .unwrap()
        .start()
        .unwrap();
    std::fs::write(&go, "").unwrap();
    wait::until_true("the answer", PATIENCE, || {
        early.stdout().contains("(1 row)")
    })
    .unwrap();
    let log = daemon.log().unwrap();
    let early_statement = operation(&log, "select 'early'");
    assert_eq!(early_statement["verdict"], "allow");
    let cgroup = early_statement["cgroup"].as_str().unwrap();
    assert!(
        cgroup.contains("jobs/early"),
        "attributed by its cgroup: {early_statement}"
    );
    assert!(early.has_ended());
}

/// clone3 puts a child into a governed cgroup without any attach event.
#[test]
fn a_child_cloned_into_a_governed_cgroup_is_governed_from_its_first_instruction() {
    let scene = Scene::with_rules("").unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let program = r#"
import ctypes, os, socket, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
cgroup = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECTORY)
CLONE_INTO_CGROUP, SIGCHLD = 0x200000000, 17
for round in range(50):
    arguments = struct.pack("11Q", CLONE_INTO_CGROUP, 0, 0, 0, SIGCHLD, 0, 0, 0, 0, 0, cgroup)
    child = libc.syscall(435, arguments, len(arguments))
    if child < 0:
        raise OSError(ctypes.get_errno(), "clone3")
    if child == 0:
        try:
            s = socket.create_connection(("127.0.0.1", int(sys.argv[2])), 3)
            s.sendall(b"out")
            s.recv(1)
        except OSError:
            pass
        os._exit(0)
    os.waitpid(child, 0)
print("done")
"#;
    let cgroup = scene.job("cloned").unwrap().cgroup().display().to_string();
    let outside = Job::free(&scene.subtree, "outside").unwrap();
    let cloner = outside.python(program, &[&cgroup, &port]).unwrap();
    let outcome = cloner
        .wait(Duration::from_secs(60))
        .unwrap()
        .success()
        .unwrap();
    assert_eq!(outcome.stdout, "done\n");
    assert!(listener.accept().is_err(), "a cloned child got out");
    let sessions = scene.daemon.sessions().unwrap();
    assert_eq!(sessions.len(), 50, "each was seen");
}

#[test]
fn a_reused_process_id_inherits_nothing() {
    let scene = Scene::with_rules("").unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let governed = running::run(
        scene
            .job("first")
            .unwrap()
            .command("sh")
            .args(["-c", "echo $$"]),
    );
    let pid = governed
        .unwrap()
        .success()
        .unwrap()
        .stdout
        .trim()
        .to_owned();
    // The next process gets this number when nobody else forks in between.
    let program = "import os, socket, sys\n\
        wanted = int(sys.argv[1])\n\
        for attempt in range(2000):\n    \
            open('/proc/sys/kernel/ns_last_pid', 'w').write(str(wanted - 1))\n    \
            child = os.fork()\n    \
            if child == 0:\n        \
                if os.getpid() == wanted:\n            \
                    s = socket.create_connection(('127.0.0.1', int(sys.argv[2])), 5)\n            \
                    print('connected as', os.getpid(), flush=True)\n        \
                os._exit(0)\n    \
            os.waitpid(child, 0)\n    \
            if child == wanted:\n        \
                sys.exit(0)\n\
        sys.exit(7)\n";
    let outside = Job::free(&scene.subtree, "second").unwrap();
    let outcome = outside
        .python(program, &[&pid, &port])
        .unwrap()
        .wait(PATIENCE)
        .unwrap();
    if outcome.code() == 7 {
        gateway_tests::skip::skip("the process id was never free: this host forks too much");
        return;
    }
    assert_eq!(
        outcome.success().unwrap().stdout.trim(),
        format!("connected as {pid}")
    );
    listener
        .accept()
        .expect("it is not governed, so it arrives");
    assert!(scene.daemon.sessions().unwrap().is_empty());
}

#[test]
fn an_empty_policy_directory_governs_nothing_and_says_so() {
    let subtree = Arc::new(Subtree::create().unwrap());
    let cluster = gateway_tests::Cluster::start().unwrap();
    let daemon = Daemon::prepare(&subtree).unwrap().start().unwrap();
    let status = daemon.run(&["status"]).unwrap();
    assert_eq!(status.code(), 1, "nothing is enforced: {status:?}");
    let mut psql = Job::governed(&subtree, "free").unwrap().command("psql");
    psql.args(["-X", "-d", &cluster.address(), "-c", "select 1"]);
    running::run(&mut psql).unwrap().success().unwrap();
    assert!(daemon.sessions().unwrap().is_empty());
    assert!(daemon.json(&["trees"]).unwrap().is_empty());
}

#[test]
fn udp_is_refused_at_once_and_so_are_questions_that_no_rule_allows() {
    let scene = Scene::allow_all().unwrap();
    let program = "import socket, time\n\
        def attempt(name, action):\n    \
            start = time.monotonic()\n    \
            try:\n        print(name, action() or 'passed')\n    \
            except OSError as error:\n        \
                print(name, 'refused' if time.monotonic() - start < 1 else 'slow')\n\
        u = lambda: socket.socket(type=socket.SOCK_DGRAM)\n\
        attempt('send', lambda: u().sendto(b'x', ('192.0.2.1', 9999)))\n\
        attempt('connect', lambda: u().connect(('192.0.2.1', 9999)))\n\
        attempt('quic', lambda: u().connect(('192.0.2.1', 443)))\n\
        def question():\n    \
            s = u()\n    \
            s.settimeout(5)\n    \
            s.sendto(b'\\x12\\x34\\x01\\0\\0\\x01\\0\\0\\0\\0\\0\\0\\x09localhost\\0\\0\\x01\\0\\x01', \
                ('192.0.2.1', 53))\n    \
            data, who = s.recvfrom(999)\n    \
            return who[0], data[3] & 15\n\
        attempt('question', question)\n";
    let client = scene.job("udp").unwrap().python(program, &[]).unwrap();
    let outcome = client.wait(PATIENCE).unwrap().success().unwrap();
    // 5 is REFUSED, and it comes from the server that was meant.
    assert_eq!(
        outcome.stdout,
        "send refused\nconnect refused\nquic refused\nquestion ('192.0.2.1', 5)\n"
    );
}

/// A client that has nothing to say, and says so at once, is answered all the same.
#[test]
fn a_client_that_half_closes_at_once_is_answered() {
    let subtree = Arc::new(Subtree::create().unwrap());
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let text = policy::opaque_to(&subtree, "127.0.0.1", port);
    let prepared = Daemon::prepare(&subtree).unwrap();
    let daemon = prepared.policy("test", &text).unwrap().start().unwrap();
    let job = Job::governed(&subtree, "half").unwrap();
    std::thread::spawn(move || {
        for mut connection in listener.incoming().flatten() {
            // It hears the end too, before it says anything.
            let mut heard = Vec::new();
            connection.read_to_end(&mut heard).unwrap();
            let _ = connection.write_all(b"answered");
        }
    });
    let program = format!(
        "import socket\ns = socket.create_connection(('127.0.0.1', {port}), 5)\n\
         s.shutdown(socket.SHUT_WR)\ns.settimeout(8)\nprint(s.recv(100))\n"
    );
    for _ in 0..20 {
        let said = job.python(&program, &[]).unwrap().wait(PATIENCE).unwrap();
        assert!(
            said.stdout.contains("answered"),
            "{said:?} {}",
            daemon.said()
        );
    }
    let sessions = daemon.sessions().unwrap();
    assert!(
        sessions.iter().all(|session| session["bytes_down"] == 8),
        "{sessions:#?}"
    );
}

/// 0.0.0.0 means loopback: what the tree itself listens on there is reached directly.
#[test]
fn a_tree_reaches_its_own_listener_by_the_unspecified_address() {
    let scene = Scene::with_rules("").unwrap();
    let program = "import socket\n\
        listener = socket.create_server(('127.0.0.1', 0))\n\
        s = socket.create_connection(('0.0.0.0', listener.getsockname()[1]), 5)\n\
        s.sendall(b'own')\n\
        listener.settimeout(5)\n\
        print(listener.accept()[0].recv(9))\n";
    let client = scene.job("own").unwrap().python(program, &[]).unwrap();
    let outcome = client.wait(PATIENCE).unwrap();
    assert_eq!(outcome.stdout, "b'own'\n", "{outcome:?}");
    assert_eq!(scene.daemon.sessions().unwrap().len(), 0);
}
