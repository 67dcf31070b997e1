//! Callers by the network that hang, flood and lie.
use super::*;

fn limits() -> RemoteLimits {
    RemoteLimits {
        requests: Limits {
            request_ms_max: 300,
            ..RemoteLimits::default().requests
        },
        handshake_ms_max: 300,
        ..RemoteLimits::default()
    }
}

/// What comes back for bytes without TLS, and that it ends.
async fn plain(address: SocketAddr, request: &'static [u8]) -> Vec<u8> {
    tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let _ = stream.write_all(request);
        let mut answer = Vec::new();
        let mut buffer = [0; 1024];
        loop {
            match stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => answer.extend_from_slice(&buffer[..count]),
                Err(error) => {
                    assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "kept open");
                    break;
                }
            }
        }
        answer
    })
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_tls_nothing_is_answered_and_a_slow_handshake_ends() {
    let server = serve_remote_with(limits());
    let request = b"GET /healthz HTTP/1.1\r\nHost: g\r\n\r\n";
    let answer = plain(server.address, request).await;
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    // Nothing, and the first bytes of a ClientHello that never goes on.
    for opening in [&b""[..], b"\x16\x03\x01\x02\x00\x01"] {
        let answer = plain(server.address, opening).await;
        assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    }
    assert_eq!(server.ask("GET", "/healthz", "", "").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_or_too_slow_is_answered_so() {
    let server = serve_remote_with(limits());
    let token = "Authorization: Bearer admin\r\n";
    let head = |more: &str| format!("GET /v1/status HTTP/1.1\r\nHost: g\r\n{token}{more}\r\n");
    for (request, status) in [
        (head(&format!("X: {}\r\n", "y".repeat(100_000))), 431),
        (head(&"A: b\r\n".repeat(200)), 431),
        ("\u{0}\u{1}garbage\r\n\r\n".to_owned(), 400),
        (
            format!("POST /v1/kill HTTP/1.1\r\nHost: g\r\n{token}Content-Length: 9\r\n\r\n{{"),
            408,
        ),
        // Refused before the body: who is not known sends none.
        (
            "POST /v1/kill HTTP/1.1\r\nHost: g\r\nContent-Length: 9\r\n\r\n{".to_owned(),
            401,
        ),
    ] {
        let reply = Reply::of(&server.raw(request.clone()).await);
        // A client that is still sending may be reset before it has read what is said.
        let overtaken = request.len() > 65_536 && reply.status == 0;
        assert!(overtaken || reply.status == status, "{:?}", &request[..40]);
    }
    let large = format!("{{\"target\":\"{}\"}}", "x".repeat(300_000));
    let reply = server.with("admin", "POST", "/v1/kill", &large).await;
    assert_eq!(reply.status, 413);
    assert!(server.remote.callers.lock().unwrap().is_empty());
    // A head that never ends is dropped.
    let cut = server.raw("GET /healthz HTTP/1.1\r\nHost:").await;
    assert!(!cut.contains(" 200 "), "{cut}");
}

/// Was it closed by the other end?
fn closed(stream: &TcpStream) -> bool {
    match stream.peek(&mut [0]) {
        Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
        Ok(_) => true,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_bounded_in_all_and_for_each_address() {
    let bounded = |connections_max, connections_per_address_max| RemoteLimits {
        connections_max,
        connections_per_address_max,
        handshake_ms_max: 60_000,
        ..RemoteLimits::default()
    };
    for limits in [bounded(3, 100), bounded(100, 3)] {
        let server = serve_remote_with(limits);
        let connect = |_| {
            let stream = TcpStream::connect(server.address).unwrap();
            stream.set_nonblocking(true).unwrap();
            stream
        };
        let streams: Vec<TcpStream> = (0..10).map(connect).collect();
        let turned_away = || streams.iter().filter(|stream| closed(stream)).count();
        until("seven are turned away", || turned_away() >= 7).await;
        assert_eq!(server.ask("GET", "/healthz", "", "").await.status, 0);
        assert_eq!(turned_away(), 7);
        drop(streams);
        // They give their places back.
        let deadline = Instant::now() + Duration::from_secs(10);
        while server.ask("GET", "/healthz", "", "").await.status != 200 {
            assert!(Instant::now() < deadline, "the places are free again");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_issuer_that_hangs_keeps_a_few_threads_and_no_caller() {
    let server = serve_remote_with(RemoteLimits {
        authentications_max: 2,
        authentication_ms_max: 200,
        ..RemoteLimits::default()
    });
    server.remote.waits.store(true, Ordering::SeqCst);
    for _ in 0..5 {
        let reply = server.with("admin", "GET", "/v1/status", "").await;
        assert_eq!(reply.status, 503);
        assert!(server.remote.waiting.load(Ordering::SeqCst) <= 2);
    }
    assert_eq!(server.ask("GET", "/healthz", "", "").await.status, 200);
    server.remote.waits.store(false, Ordering::SeqCst);
    until("the threads come back", || {
        server.remote.waiting.load(Ordering::SeqCst) == 0
    })
    .await;
    assert_eq!(
        server.with("admin", "GET", "/v1/status", "").await.status,
        200
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_has_to_come_again_with_a_token() {
    let server = serve_remote_with(RemoteLimits {
        connection_ms_max: 500,
        ..RemoteLimits::default()
    });
    let path = "/v1/operations?follow=true";
    let reply = server.with("viewer", "GET", path, "").await;
    assert_eq!(reply.status, 200);
    assert!(reply.body.contains("\"n\":"));
    assert!(!reply.body.ends_with("0\r\n\r\n"), "cut, not ended");
    until("its thread ended", || {
        server.fake.following.load(Ordering::SeqCst) == 0
    })
    .await;
}
