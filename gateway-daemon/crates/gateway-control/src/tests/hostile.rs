//! Callers that hang, flood and lie.
use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_requests_are_answered_and_leave_no_trace() {
    let server = serve_with(Limits {
        request_ms_max: 300,
        ..Limits::default()
    });
    let post = |path: &str, body: &str| {
        let length = body.len();
        format!("POST {path} HTTP/1.1\r\nHost: g\r\nContent-Length: {length}\r\n\r\n{body}")
    };
    let head = "GET /healthz HTTP/1.1\r\nHost: g\r\n";
    let cases = [
        (post("/v1/kill", ""), "400"),
        (post("/v1/kill", "[]"), "400"),
        (
            post("/v1/kill", "{\"target\":\"s000000000000a\",\"x\":1}"),
            "400",
        ),
        (post("/v1/kill", "{\"target\":\"../x\"}"), "400"),
        (post("/v1/run", "{\"policy\":5}"), "400"),
        (post("/v1/ssh-session", "{\"user\":\"u\"}"), "400"),
        (post("/v1/ssh-session", "{\"user\":\"\\ud800\"}"), "400"),
        (post("/v1/run", "{\"policy\":\"p\",\"pid\":1}"), "400"),
        (post("/v1/status", ""), "405"),
        (
            post(
                "/v1/run",
                &format!("{{\"policy\":\"{}\"}}", "x".repeat(70_000)),
            ),
            "413",
        ),
        ("GET /v1/kill HTTP/1.1\r\nHost: g\r\n\r\n".into(), "405"),
        (
            "GET /v1/lineage/nope HTTP/1.1\r\nHost: g\r\n\r\n".into(),
            "400",
        ),
        (
            "GET /v1/sessions/nope HTTP/1.1\r\nHost: g\r\n\r\n".into(),
            "400",
        ),
        (
            "GET /v1/sessions?follow=true HTTP/1.1\r\nHost: g\r\n\r\n".into(),
            "400",
        ),
        (
            "GET /v1/operations?colour=red HTTP/1.1\r\nHost: g\r\n\r\n".into(),
            "400",
        ),
        ("GET /etc/passwd HTTP/1.1\r\nHost: g\r\n\r\n".into(), "404"),
        (format!("{head}X: {}\r\n\r\n", "y".repeat(100_000)), "431"),
        (format!("{head}{}\r\n", "A: b\r\n".repeat(200)), "431"),
        ("\u{0}\u{1}\u{2}garbage\r\n\r\n".into(), "400"),
        // A body that never comes: the answer is a time-out, not a thread that waits for ever.
        (
            "POST /v1/kill HTTP/1.1\r\nHost: g\r\nContent-Length: 10\r\n\r\n{".into(),
            "408",
        ),
    ];
    for (request, status) in cases {
        let answer = raw(&server.path, request.as_bytes()).await;
        let got = answer.split(' ').nth(1).unwrap_or("");
        assert_eq!(
            got,
            status,
            "{:?} -> {answer:?}",
            &request[..request.len().min(80)]
        );
    }
    assert!(server.fake.killed.lock().unwrap().is_empty());
    assert!(server.fake.ran.lock().unwrap().is_empty());
    assert_eq!(server.client.status().await.unwrap().pid, 42);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hung_callers_of_one_kind_cost_another_kind_nothing() {
    let server = serve_with(Limits {
        connections_max: 4,
        ..Limits::default()
    });
    server.fake.is(Some(OWN), Role::Admin);
    let mut hung: Vec<StdStream> = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(8);
    let turned_away = loop {
        hung.push(StdStream::connect(&server.path).unwrap());
        let mut probe = StdStream::connect(&server.path).unwrap();
        probe
            .set_read_timeout(Some(Duration::from_secs(2)))
            .unwrap();
        let asked = probe.write_all(b"GET /v1/trees HTTP/1.1\r\nHost: g\r\n\r\n");
        let mut answer = [0; 64];
        if asked.is_err() || !matches!(probe.read(&mut answer), Ok(n) if n > 0) {
            break true;
        }
        if Instant::now() > deadline {
            break false;
        }
    };
    assert!(turned_away, "the budget of the governed kind has an end");
    server.fake.is(None, Role::Admin);
    let started = Instant::now();
    assert_eq!(server.client.status().await.unwrap().pid, 42);
    assert!(started.elapsed() < Duration::from_secs(2));
    drop(hung);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_caller_is_dropped_in_time() {
    let server = serve_with(Limits {
        request_ms_max: 200,
        ..Limits::default()
    });
    for opening in [&b""[..], b"GET /v1/st"] {
        let started = Instant::now();
        let answer = raw(&server.path, opening).await;
        assert!(!answer.contains(" 200 "));
        assert!(
            started.elapsed() < Duration::from_secs(5),
            "dropped, not kept: {opening:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_stops_reading_or_leaves_is_let_go() {
    let limits = Limits {
        stall_ms_max: 300,
        followers_max: 2,
        ..Limits::default()
    };
    let server = serve_with(limits);
    let following = || server.fake.following.load(Ordering::SeqCst);
    let ask = b"GET /v1/operations?follow=true HTTP/1.1\r\nHost: g\r\n\r\n";
    let mut stuck = StdStream::connect(&server.path).unwrap();
    stuck.write_all(ask).unwrap();
    until("it follows", || following() == 1).await;
    let mut leaving = StdStream::connect(&server.path).unwrap();
    leaving.write_all(ask).unwrap();
    until("both follow", || following() == 2).await;
    let mut ignore = |_: &[u8]| ControlFlow::Continue(());
    let third = server
        .client
        .operations(&Filter::default(), true, &mut ignore)
        .await;
    assert!(
        matches!(third, Err(ClientError::Refused(_))),
        "followers are bounded"
    );
    drop(leaving);
    until("the one that left is let go, the stuck one too", || {
        following() == 0
    })
    .await;
    let mut seen = 0;
    let mut few = |_: &[u8]| {
        seen += 1;
        if seen < 100 {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    };
    server
        .client
        .operations(&Filter::default(), true, &mut few)
        .await
        .unwrap();
    assert_eq!(seen, 100);
    drop(stuck);
}
