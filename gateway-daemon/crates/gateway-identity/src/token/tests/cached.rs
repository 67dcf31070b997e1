//! When an issuer is asked for its keys, and what holds while it does not answer.
use super::*;

const MINUTE: u64 = 60;
const DAY: u64 = 24 * 3600;

/// Claims that do not expire during a test.
fn lasting() -> Value {
    claims_but("exp", json!(NOW.0 / SECOND + 10 * DAY))
}

#[test]
fn keys_are_asked_for_every_ten_minutes() {
    let pair = Pair::ed25519();
    let server = Server::with(&[pair.jwk("e")]);
    let issuers = issuers(&server);
    let token = pair.token("e", &lasting());
    for (seconds, asked) in [(0, 1), (1, 1), (599, 1), (600, 2), (1199, 2), (1200, 3)] {
        assert!(issuers.verify(&token, after(seconds)).is_ok());
        assert_eq!(server.asked(), asked, "after {seconds} s");
    }
}

#[test]
fn a_million_tokens_with_an_unknown_key_ask_once_a_minute() {
    let pair = Pair::ed25519();
    let server = Server::with(&[pair.jwk("e")]);
    let issuers = issuers(&server);
    let (config, cache) = &issuers.issuers[0];
    let token = pair.token("other", &lasting());
    let unknown = TokenError::UnknownKey {
        issuer: "github".into(),
        kid: Some("other".to_owned()),
    };
    // Five minutes, in a million steps; each goes the way of a token whose key is not there.
    let steps = 1_000_000;
    for step in 0..steps {
        let now = Timestamp(NOW.0 + 5 * MINUTE * SECOND * step / steps);
        if step % 1000 == 0 {
            assert_eq!(issuers.verify(&token, now), Err(unknown.clone()));
        }
        let known = cache.keys(now, None, &config.url, &server).expect("keys");
        cache
            .keys(now, Some(&known), &config.url, &server)
            .expect("keys");
    }
    assert_eq!(server.asked(), 5);
    // A down issuer is not asked more often for it.
    server.goes_down();
    for second in 5 * MINUTE..8 * MINUTE {
        assert_eq!(issuers.verify(&token, after(second)), Err(unknown.clone()));
    }
    assert_eq!(server.asked(), 8);
}

#[test]
fn a_rotated_key_is_found_and_the_old_one_gone() {
    let (old, new) = (Pair::p256(), Pair::p256());
    let server = Server::with(&[old.jwk("old")]);
    let issuers = issuers(&server);
    assert!(issuers.verify(&old.token("old", &lasting()), NOW).is_ok());
    server.publish(&[new.jwk("new")]);
    let token = new.token("new", &lasting());
    let refused = issuers.verify(&token, after(30));
    assert!(
        matches!(refused, Err(TokenError::UnknownKey { .. })),
        "asked half a minute ago"
    );
    assert!(issuers.verify(&token, after(60)).is_ok());
    assert_eq!(server.asked(), 2);
    let refused = issuers.verify(&old.token("old", &lasting()), after(60));
    assert!(matches!(refused, Err(TokenError::UnknownKey { .. })));

    // Tokens that name no key: the signature fails with the old one, and is tried with the new.
    let third = Pair::p256();
    server.publish(&[third.jwk("third")]);
    let nameless = third.token_with(&json!({"alg": "ES256"}), &lasting());
    assert_eq!(
        issuers.verify(&nameless, after(61)),
        Err(TokenError::Signature)
    );
    assert!(issuers.verify(&nameless, after(120)).is_ok());
}

#[test]
fn a_down_issuer_is_known_for_a_day_and_then_no_more() {
    let pair = Pair::ed25519();
    let server = Server::with(&[pair.jwk("e")]);
    let issuers = issuers(&server);
    let token = pair.token("e", &lasting());
    assert!(issuers.verify(&token, NOW).is_ok());
    server.goes_down();
    assert!(issuers.verify(&token, after(600)).is_ok());
    assert!(issuers.verify(&token, after(601)).is_ok());
    assert_eq!(server.asked(), 2, "not with every token");
    assert!(issuers.verify(&token, after(DAY)).is_ok());
    let refused = issuers.verify(&token, after(DAY + 1)).expect_err("too old");
    let text = refused.to_string();
    assert!(matches!(refused, TokenError::NoKeys { .. }));
    assert!(
        text.contains("github") && text.contains("connection refused"),
        "{text}"
    );
    server.publish(&[pair.jwk("e")]);
    assert!(
        issuers.verify(&token, after(DAY + 20)).is_ok(),
        "it is back"
    );
}

#[test]
fn without_keys_nobody_is_verified() {
    let pair = Pair::ed25519();
    let server = Server::default();
    server.goes_down();
    let issuers = issuers(&server);
    let token = pair.token("e", &lasting());
    for seconds in [0, 1, 14] {
        let refused = issuers.verify(&token, after(seconds));
        assert!(matches!(refused, Err(TokenError::NoKeys { .. })));
    }
    assert_eq!(server.asked(), 1);
    server.publish(&[pair.jwk("e")]);
    assert!(issuers.verify(&token, after(15)).is_ok());
}

#[test]
fn a_clock_that_is_set_back_does_not_make_keys_last() {
    let pair = Pair::ed25519();
    let server = Server::with(&[pair.jwk("e")]);
    let issuers = issuers(&server);
    let token = pair.token("e", &lasting());
    assert!(issuers.verify(&token, after(5 * DAY)).is_ok());
    server.publish(&[]);
    let refused = issuers.verify(&token, NOW);
    assert!(matches!(refused, Err(TokenError::UnknownKey { .. })));
    assert_eq!(server.asked(), 2);
}

#[test]
fn documents_that_are_wrong_leave_what_was_there() {
    let pair = Pair::ed25519();
    let server = Server::with(&[pair.jwk("e")]);
    let issuers = issuers(&server);
    let token = pair.token("e", &lasting());
    assert!(issuers.verify(&token, NOW).is_ok());
    let many = json!({ "keys": vec![pair.jwk("x"); KEYS_MAX + 1] });
    let mut huge = json!({ "keys": [pair.jwk("x")] }).to_string().into_bytes();
    huge.resize(DOCUMENT_BYTES_MAX + 1, b' ');
    let documents = [
        b"<html>sign in</html>".to_vec(),
        Vec::new(),
        b"{}".to_vec(),
        b"{\"keys\": 7}".to_vec(),
        vec![0xff; 1000],
        b"[".repeat(100_000),
        many.to_string().into_bytes(),
        huge,
    ];
    for (minute, document) in (20..).step_by(20).zip(documents) {
        *server.jwks.lock() = Some(document);
        let before = server.asked();
        assert!(
            issuers.verify(&token, after(minute * MINUTE)).is_ok(),
            "{minute}"
        );
        assert_eq!(server.asked(), before + 1);
    }
    // And with nothing there, they are refused for what they are.
    let fresh = super::issuers(&server);
    let refused = fresh.verify(&token, NOW).expect_err("refused").to_string();
    assert!(refused.contains("longer than"), "{refused}");
}

#[test]
fn a_discovery_document_of_somebody_else_is_refused() {
    let pair = Pair::ed25519();
    let cases = [
        (
            json!({"issuer": format!("{URL}/"), "jwks_uri": "https://keys.test/jwks"}),
            "another issuer",
        ),
        (
            json!({"issuer": URL, "jwks_uri": "http://keys.test/jwks"}),
            "not https",
        ),
        (
            json!({"issuer": URL, "jwks_uri": "http://127.0.0.1/jwks"}),
            "not https",
        ),
        (
            json!({"issuer": URL, "jwks_uri": "file:///etc/keys"}),
            "not an address",
        ),
        (json!({"issuer": URL}), "not a discovery document"),
        (json!([]), "not a discovery document"),
    ];
    for (document, expected) in cases {
        let server = Server::with(&[pair.jwk("e")]);
        *server.discovery.lock() = Some(document);
        let issuers = issuers(&server);
        let refused = issuers.verify(&pair.token("e", &claims()), NOW);
        let text = refused.expect_err("refused").to_string();
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn many_at_once_ask_once() {
    let pair = Pair::ed25519();
    let (go, gate): (Sender<()>, _) = channel();
    let mut server = Server::with(&[pair.jwk("e")]);
    server.gate = Some(Arc::new(Mutex::new(gate)));
    let issuers = issuers(&server);
    let token = pair.token("e", &lasting());
    std::thread::scope(|scope| {
        let started = Arc::new(std::sync::Barrier::new(9));
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let started = Arc::clone(&started);
                let (issuers, token) = (&issuers, &token);
                scope.spawn(move || {
                    started.wait();
                    issuers.verify(token, NOW).is_ok()
                })
            })
            .collect();
        started.wait();
        go.send(()).expect("go");
        // A second request would wait for a second word, and fail the test.
        assert!(
            threads
                .into_iter()
                .all(|thread| thread.join().expect("thread"))
        );
    });
    assert_eq!(server.asked(), 1);

    // While one gets new keys, the others go on with the old ones and do not wait.
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| issuers.verify(&token, after(600)));
        while server.asked() < 2 {
            std::thread::yield_now();
        }
        assert!(issuers.verify(&token, after(601)).is_ok());
        go.send(()).expect("go");
        assert!(slow.join().expect("thread").is_ok());
    });
    assert_eq!(server.asked(), 2);
}

/// Panics once.
struct Fragile(Server, AtomicUsize);

impl Fetch for Fragile {
    fn get(&self, url: &str) -> Result<Vec<u8>, FetchError> {
        assert_ne!(self.1.fetch_add(1, Ordering::SeqCst), 0, "on purpose");
        self.0.get(url)
    }
}

#[test]
fn a_panic_while_asking_does_not_lock_the_others_out() {
    let pair = Pair::ed25519();
    let server = Fragile(Server::with(&[pair.jwk("e")]), AtomicUsize::new(0));
    let issuers = Issuers::new(vec![config()], Box::new(server)).expect("issuers");
    let token = pair.token("e", &lasting());
    std::thread::scope(|scope| {
        let panicked = scope.spawn(|| issuers.verify(&token, NOW)).join();
        assert!(panicked.is_err());
    });
    assert!(matches!(
        issuers.verify(&token, NOW),
        Err(TokenError::NoKeys { .. })
    ));
    assert!(issuers.verify(&token, after(15)).is_ok());
}
