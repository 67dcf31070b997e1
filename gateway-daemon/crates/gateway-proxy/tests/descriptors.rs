//! Out of file descriptors: in a process of its own, since the limit is the process's.
use gateway_proxy::{Ports, Proxy, ProxyLimits, SystemClock};
use gateway_testkit::sockets::{self, read_exactly};
use gateway_testkit::{FakeJudge, FixedAttribution, FixedCapture, MemoryRecorder};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::fs::File;
use std::io::Write;
use std::sync::Arc;
use std::time::Instant;

#[test]
fn without_descriptors_accepting_rests_and_the_connection_is_served_when_there_are_some() {
    let upstream = sockets::listener();
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
    let limits = ProxyLimits {
        workers: 1,
        ..ProxyLimits::default()
    };
    let proxy = Proxy::start(vec![listener], ports, limits).unwrap();

    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 200, hard).unwrap();
    let mut fillers = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        fillers.push(file);
    }
    // One descriptor for the client, none for the proxy.
    fillers.pop();
    let mut client = sockets::connect(address);
    client.write_all(b"hello").unwrap();
    let deadline = Instant::now() + sockets::PATIENCE;
    while proxy.counts().accept_errors < 3 {
        assert!(Instant::now() < deadline, "accepting does not fail");
        std::thread::yield_now();
    }
    // Each failure is followed by a rest that doubles: 5, 10, 20 ms. Spinning would make thousands.
    assert!(proxy.counts().accept_errors < 50, "{:?}", proxy.counts());
    drop(fillers);
    let (mut server, _) = upstream.accept().unwrap();
    assert_eq!(read_exactly(&mut server, 5), b"hello");
}
