//! What a session that waits costs: in a process of its own, whose memory nobody else uses.
use gateway_proxy::{Ports, Proxy, ProxyLimits, SystemClock};
use gateway_testkit::{FakeJudge, FixedAttribution, FixedCapture, MemoryRecorder, sockets};
use nix::sys::socket::Backlog;
use std::io::Write;
use std::sync::Arc;
use std::time::Instant;

const SESSIONS: usize = 500;

/// The memory of this process that is in use, in bytes.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[test]
fn a_session_that_waits_costs_a_few_kibibytes() {
    // The kernel answers for a server that does not accept, and keeps what it is sent.
    let upstream = sockets::listener();
    nix::sys::socket::listen(&upstream, Backlog::new(4096).unwrap()).unwrap();
    let listener = sockets::listener();
    let address = listener.local_addr().unwrap();
    let ports = Ports {
        capture: Arc::new(FixedCapture::to(upstream.local_addr().unwrap())),
        attribution: Arc::new(FixedAttribution),
        judge: Arc::new(FakeJudge::allow_all()),
        recorder: Arc::new(MemoryRecorder::default()),
        approver: Arc::new(gateway_core::ports::NoApprover),
        masker: Arc::new(gateway_core::mask::Blank),
        clock: Arc::new(SystemClock),
        encryption: Arc::new(gateway_testkit::NoEncryption),
        logins: Arc::new(gateway_protocol::login::NoLogins),
        meter: Arc::new(gateway_protocol::Unmetered),
        names: Arc::new(gateway_proxy::NoNames),
        protocols: Vec::new(),
    };
    let proxy = Proxy::start(vec![listener], ports, ProxyLimits::default()).unwrap();
    let open = |clients: &mut Vec<_>, count: usize| {
        while clients.len() < count {
            let mut client = sockets::connect(address);
            client.write_all(&[b'x'; 20_000]).unwrap();
            clients.push(client);
        }
        let deadline = Instant::now() + sockets::PATIENCE;
        while proxy.counts().opaque < count as u64 {
            assert!(Instant::now() < deadline, "{:?}", proxy.counts());
            std::thread::yield_now();
        }
    };
    let mut clients = Vec::with_capacity(SESSIONS);
    // The first ones pay for what all share.
    open(&mut clients, 50);
    let before = resident();
    open(&mut clients, SESSIONS);
    let each = resident().saturating_sub(before) / (SESSIONS - 50);
    println!("a session that waits: {each} bytes, with its records kept in memory");
    assert!(each <= 24 * 1024, "{each} bytes");
}
