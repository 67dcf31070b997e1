//! `capture.debug_log`: the kernel half tells its decisions, and decides as ever.
use gateway_tests::running::PATIENCE;
use gateway_tests::{Daemon, Job, Subtree, policy, wait};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;

/// A connect, a datagram that is refused, a kind of socket that is refused, and a child.
const PROGRAM: &str = "import os, socket, sys\n\
    if os.fork() == 0: os._exit(0)\n\
    os.wait()\n\
    def attempt(what):\n    \
        try: what(); print('passed')\n    \
        except OSError as error: print(error.errno)\n\
    attempt(lambda: socket.create_connection(('127.0.0.1', int(sys.argv[1])), 5).recv(1))\n\
    attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 9)))\n\
    attempt(lambda: socket.socket(socket.AF_INET6, socket.SOCK_RAW, 255))\n";

fn try_everything(subtree: &Subtree, port: u16) -> (u32, String) {
    let job = Job::governed(subtree, "talk").unwrap();
    let running = job.python(PROGRAM, &[&port.to_string()]).unwrap();
    let pid = running.pid();
    let outcome = running.wait(PATIENCE).unwrap().success().unwrap();
    (pid, outcome.stdout)
}

fn expect_lines(daemon: &Daemon, pid: u32, port: u16) {
    let expected = [
        format!("of {pid} is of tree "),
        format!("connect to ::ffff:127.0.0.1 port {port} by {pid}: passed"),
        format!("datagram to ::ffff:192.0.2.1 port 9 by {pid}: refused"),
        format!("socket(10, 3, 255) by {pid}: refused"),
    ];
    wait::until_true("the kernel half's own words", PATIENCE, || {
        let said = daemon.said();
        expected.iter().all(|line| said.contains(line))
    })
    .unwrap_or_else(|error| panic!("{error}\n{expected:#?}\n{}", daemon.said()));
}

#[test]
fn the_kernel_half_tells_its_decisions_when_asked_to() {
    let subtree = Arc::new(Subtree::create().unwrap());
    let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = server.local_addr().unwrap().port();
    let daemon = Daemon::prepare(&subtree)
        .unwrap()
        .policy("test", &policy::deny_all(&subtree))
        .unwrap()
        .config("debug_log = true\n");
    let mut daemon = daemon.start().unwrap();

    let (pid, with_debug_log) = try_everything(&subtree, port);
    expect_lines(&daemon, pid, port);

    // What is attached outlives the daemon; its ring is found again.
    daemon.crash().unwrap();
    daemon.restart().unwrap();
    assert!(daemon.said().contains("taken_over=true"));
    let (pid, _) = try_everything(&subtree, port);
    expect_lines(&daemon, pid, port);

    let configuration = std::fs::read_to_string(daemon.config_file()).unwrap();
    std::fs::write(
        daemon.config_file(),
        configuration.replace("debug_log = true", ""),
    )
    .unwrap();
    daemon.terminate().unwrap();
    daemon.restart().unwrap();
    let (pid, plain) = try_everything(&subtree, port);
    assert_eq!(plain, with_debug_log, "it decides the same");
    assert!(
        !daemon.said().contains(&format!("by {pid}: ")),
        "the plain programs are attached, and say nothing"
    );
}
