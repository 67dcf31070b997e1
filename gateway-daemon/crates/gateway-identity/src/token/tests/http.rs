//! The way to a real server, on a loopback address.
use super::*;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};
use ureq::tls::{Certificate, RootCerts};

/// More than any answer here takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// Answers one request after the other with what `answer` makes of its path, until told `/end`.
fn serve(answer: impl Fn(&str, &str) -> Vec<u8> + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let base = format!("http://{}", listener.local_addr().expect("address"));
    let own = base.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("stream");
            let mut lines = BufReader::new(stream.try_clone().expect("stream")).lines();
            let Some(Ok(line)) = lines.next() else {
                continue;
            };
            while lines
                .next()
                .is_some_and(|line| line.is_ok_and(|line| !line.is_empty()))
            {}
            let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
            // The client may have seen enough.
            let _ = stream.write_all(&answer(&own, &path));
        }
    });
    base
}

fn ok(body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    [head.as_bytes(), body].concat()
}

fn http() -> HttpFetch {
    HttpFetch::trusting(RootCerts::new_with_certs(&[]), PATIENCE)
}

#[test]
fn keys_come_over_http_from_loopback() {
    let pair = Pair::p256();
    let keys = json!({ "keys": [pair.jwk("a")] }).to_string();
    let base = serve(move |own, path| match path {
        "/.well-known/openid-configuration" => {
            let document = json!({"issuer": own, "jwks_uri": format!("{own}/keys")});
            ok(document.to_string().as_bytes())
        }
        "/keys" => ok(keys.as_bytes()),
        other => panic!("{other}"),
    });
    let mut config = config();
    config.url.clone_from(&base);
    let issuers = Issuers::new(vec![config], Box::new(http())).expect("issuers");
    let token = pair.token("a", &claims_but("iss", json!(base)));
    let verified = issuers.verify(&token, NOW).expect("verified");
    assert_eq!(
        &*verified.principal.id,
        "ci:github:acme/api@refs/heads/main"
    );
}

#[test]
fn answers_that_are_no_document_are_errors() {
    let base = serve(|own, path| match path {
        "/huge" => ok(&vec![b' '; DOCUMENT_BYTES_MAX + 1]),
        "/full" => ok(&vec![b' '; DOCUMENT_BYTES_MAX]),
        // No length, no end: the reader must stop by itself.
        "/endless" => [
            &b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n"[..],
            &vec![b' '; 3 * DOCUMENT_BYTES_MAX],
        ]
        .concat(),
        "/short" => b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc".to_vec(),
        "/gone" => b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_vec(),
        "/moved" => {
            format!("HTTP/1.1 302 Found\r\nlocation: {own}/full\r\ncontent-length: 0\r\n\r\n")
                .into_bytes()
        }
        _ => b"SSH-2.0-x\r\n".to_vec(),
    });
    let fetch = http();
    let full = fetch.get(&format!("{base}/full")).expect("document");
    assert_eq!(full.len(), DOCUMENT_BYTES_MAX);
    for path in ["/huge", "/endless", "/short", "/gone", "/moved", "/ssh"] {
        let error = fetch.get(&format!("{base}{path}")).expect_err(path);
        assert!(
            error.to_string().starts_with(&format!("{base}{path}: ")),
            "{error}"
        );
    }
    assert!(
        fetch.get("http://192.0.2.1/x").is_err(),
        "not loopback, not asked"
    );
}

/// A certificate for these names, signed by itself.
fn certified(names: &[&str]) -> rcgen::CertifiedKey<rcgen::KeyPair> {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    rcgen::generate_simple_self_signed(names).expect("certificate")
}

/// Answers each connection in TLS, with this certificate. Returns its port.
fn serve_tls(own: &rcgen::CertifiedKey<rcgen::KeyPair>) -> u16 {
    let chain = vec![own.cert.der().clone()];
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(own.signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("certificate");
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let port = listener.local_addr().expect("address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = rustls::ServerConnection::new(Arc::clone(&config)).expect("tls");
            let mut stream = rustls::StreamOwned::new(connection, stream.expect("stream"));
            let mut lines = BufReader::new(&mut stream).lines();
            while lines
                .next()
                .is_some_and(|line| line.is_ok_and(|line| !line.is_empty()))
            {}
            // A client that does not trust this has left.
            let _ = stream.write_all(&ok(b"{}"));
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    });
    port
}

#[test]
fn a_server_is_believed_by_its_certificate() {
    let own = certified(&["127.0.0.1"]);
    let trusting = |own: &rcgen::CertifiedKey<rcgen::KeyPair>| {
        let authority = Certificate::from_der(own.cert.der()).to_owned();
        HttpFetch::trusting([authority].into(), PATIENCE)
    };
    let url = format!("https://127.0.0.1:{}/", serve_tls(&own));
    assert_eq!(trusting(&own).get(&url).as_deref(), Ok(&b"{}"[..]));
    // An authority that nobody knows, one that did not sign this, a certificate for another name.
    for fetch in [http(), trusting(&certified(&["127.0.0.1"]))] {
        let error = fetch.get(&url).expect_err("not believed").to_string();
        assert!(error.contains("certificate"), "{error}");
    }
    let elsewhere = certified(&["issuer.test"]);
    let url = format!("https://127.0.0.1:{}/", serve_tls(&elsewhere));
    let error = trusting(&elsewhere)
        .get(&url)
        .expect_err("not believed")
        .to_string();
    assert!(error.contains("certificate"), "{error}");
}

#[test]
fn the_authorities_of_the_host_are_loaded_or_missed_by_name() {
    // Which of the two depends on the host; neither is silent.
    match HttpFetch::new() {
        Ok(fetch) => assert!(fetch.get("ftp://127.0.0.1/").is_err()),
        Err(error) => assert!(error.to_string().contains("certificate authorities")),
    }
}

#[test]
fn a_server_that_never_ends_is_left() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let url = format!("http://{}/", listener.local_addr().expect("address"));
    let dripping = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("stream");
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n");
        // A byte now and then, for as long as somebody listens: each read succeeds in time.
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end && stream.write_all(b" ").is_ok() {
            std::thread::park_timeout(Duration::from_millis(20));
        }
        Instant::now() < end
    });
    let fetch = HttpFetch::trusting(RootCerts::new_with_certs(&[]), Duration::from_millis(200));
    let error = fetch.get(&url).expect_err("too slow").to_string();
    assert!(error.contains("timeout"), "{error}");
    assert!(dripping.join().expect("server"), "it was left early");
}

#[test]
fn a_form_is_posted_and_answered_whatever_the_status() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let base = format!("http://{}", listener.local_addr().expect("address"));
    let served = std::thread::spawn(move || {
        let mut seen = Vec::new();
        for answer in [
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}",
            "HTTP/1.1 302 Found\r\nlocation: /x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        ] {
            let (mut stream, _) = listener.accept().expect("stream");
            let mut reader = BufReader::new(stream.try_clone().expect("stream"));
            let mut line = String::new();
            let mut length = 0;
            while line != "\r\n" {
                line.clear();
                reader.read_line(&mut line).expect("line");
                let lower = line.to_ascii_lowercase();
                if let Some(value) = lower.strip_prefix("content-length:") {
                    length = value.trim().parse().expect("length");
                }
            }
            let mut body = vec![0; length];
            std::io::Read::read_exact(&mut reader, &mut body).expect("body");
            seen.push(String::from_utf8(body).expect("text"));
            stream.write_all(answer.as_bytes()).expect("answer");
        }
        seen
    });
    let form = [("a", "1 &"), ("b", "ü")];
    let answer = http()
        .post_form(&format!("{base}/token"), &form)
        .expect("answer");
    assert_eq!((answer.status, &*answer.body), (400, &b"{}"[..]));
    let moved = http().post_form(&format!("{base}/token"), &form);
    assert!(
        moved.is_err() || moved.is_ok_and(|it| it.status == 302),
        "not sent elsewhere"
    );
    assert_eq!(served.join().expect("server"), ["a=1+%26&b=%C3%BC"; 2]);
    assert!(http().post_form("http://192.0.2.1/x", &form).is_err());
}
