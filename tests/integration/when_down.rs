//! What governed processes can do while the daemon is dead.
use gateway_tests::running::PATIENCE;
use gateway_tests::{Daemon, Job, Subtree, policy, wait};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Connects over and over, and says when it goes.
const PROGRAM: &str = r#"
import socket, sys, time
begin = time.monotonic()
while time.monotonic() - begin < 12:
    try:
        socket.create_connection(("127.0.0.1", int(sys.argv[1])), 2).close()
        print("connected", flush=True)
        break
    except OSError as error:
        print(type(error).__name__, flush=True)
    time.sleep(0.5)
"#;

#[test]
fn a_policy_can_let_pass_after_a_while() {
    for (keys, waits) in [("", false), ("when_down = { allow_after = \"5s\" }", true)] {
        let subtree = Arc::new(Subtree::create().unwrap());
        let text = policy::opaque_anywhere(&subtree, keys);
        let prepared = Daemon::prepare(&subtree).unwrap();
        let mut daemon = prepared.policy("test", &text).unwrap().start().unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port().to_string();
        let job = Job::governed(&subtree, "job").unwrap();
        daemon.crash().unwrap();
        let began = Instant::now();
        let job = job.python(PROGRAM, &[&port]).unwrap();
        let said = job.wait(PATIENCE).unwrap().stdout;
        assert_eq!(said.contains("connected"), waits, "{keys}: {said}");
        assert!(said.starts_with("ConnectionRefusedError"), "{keys}: {said}");
        // The last heartbeat is up to a second old.
        assert!(began.elapsed() > Duration::from_secs(4), "{keys}: {said}");
        if !waits {
            continue;
        }
        // Back, it sees everything again, and says what passed meanwhile.
        daemon.restart().unwrap();
        let job = Job::governed(&subtree, "later").unwrap();
        let job = job.python(PROGRAM, &[&port]).unwrap();
        assert!(job.wait(PATIENCE).unwrap().stdout.contains("connected"));
        wait::until_true("the session", PATIENCE, || {
            daemon.sessions().is_ok_and(|sessions| sessions.len() == 1)
        })
        .unwrap();
        let said = daemon.said();
        assert!(said.contains("silent for as long as when_down"), "{said}");
    }
}
