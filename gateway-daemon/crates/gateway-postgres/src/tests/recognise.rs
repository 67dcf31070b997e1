//! What a connection has to begin with to be PostgreSQL.
use super::harness::origin;
use super::messages::{cancel_request, gssenc_request, ssl_request, startup};
use crate::{Limits, Postgres};
use gateway_core::governor::RefusalReason;
use gateway_core::{Destination, OperationId, Refusal, SessionId, Verb};
use gateway_protocol::{Opening, Protocol, Recognition};

fn recognise(client: &[u8], upstream: &[u8]) -> Recognition {
    let destination = Destination::from_address(origin(1).destination);
    Postgres::new(Limits::default()).recognise(Opening {
        destination: &destination,
        client,
        upstream,
    })
}

#[test]
fn every_opening_of_postgres_is_known_at_eight_bytes_and_not_before() {
    for opening in [
        startup(0, &[("user", "ci")]),
        startup(2, &[("user", "ci")]),
        startup(9999, &[]),
        ssl_request(),
        gssenc_request(),
        cancel_request(1, &[0; 4]),
        cancel_request(1, &[0; 256]),
    ] {
        for length in 0..8 {
            let seen = recognise(&opening[..length], &[]);
            assert_eq!(seen, Recognition::NeedMore, "{:?}", &opening[..length]);
        }
        for length in [8, opening.len()] {
            assert_eq!(
                recognise(&opening[..length], &[]),
                Recognition::Yes,
                "{opening:?}"
            );
        }
    }
}

#[test]
fn other_openings_are_refused_at_the_first_byte_that_shows_it() {
    let cases: [&[u8]; 12] = [
        b"G",
        b"GET / HTTP/1.1\r\n",
        b"\x16\x03\x01\0\x05abcde",
        b"SSH-2.0-x\r\n",
        b"*1\r\n$4\r\nPING\r\n",
        &[0, 1],
        &[0, 0, 0, 7],
        &[0, 0, 0x27, 0x11],
        &[0, 0, 0, 9, 4, 210, 22, 47],
        &[0, 0, 0, 8, 0, 2, 0, 0],
        &[0, 0, 0, 8, 0, 3, 0, 0],
        &[0, 0, 0, 15, 4, 210, 22, 46],
    ];
    for opening in cases {
        assert_eq!(recognise(opening, &[]), Recognition::No, "{opening:?}");
    }
}

/// A client that begins with TLS is one of ours when it says so by ALPN.
#[test]
fn tls_is_postgres_when_it_says_so() {
    let hello = |alpn: &[&[u8]]| {
        let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        let name = "db.internal".try_into().unwrap();
        let mut client = rustls::ClientConnection::new(config.into(), name).unwrap();
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        bytes
    };
    let ours = hello(&[b"http/1.1", b"postgresql"]);
    assert_eq!(recognise(&ours, &[]), Recognition::Yes);
    for end in 1..ours.len() {
        assert_eq!(recognise(&ours[..end], &[]), Recognition::NeedMore, "{end}");
    }
    assert_eq!(recognise(&hello(&[b"http/1.1"]), &[]), Recognition::No);
    assert_eq!(recognise(&hello(&[]), &[]), Recognition::No);
    assert_eq!(recognise(&ours, b"x"), Recognition::No);
}

#[test]
fn a_server_that_speaks_first_is_no_postgres() {
    assert_eq!(recognise(&[], b"SSH-2.0-x"), Recognition::No);
    assert_eq!(recognise(&ssl_request(), b"N"), Recognition::No);
}

#[test]
fn a_refusal_is_worded_for_whoever_can_read_it() {
    let postgres = Postgres::new(Limits::default());
    let destination = Destination::from_address(origin(1).destination);
    let refusal = Refusal {
        id: OperationId {
            session: SessionId(7),
            seq: 1,
        },
        verb: Verb::Connect,
        resource: "orders".into(),
        reason: RefusalReason::Denied {
            rule: None,
            message: None,
        },
    };
    let words = |client: &[u8]| {
        postgres.refuse(
            Opening {
                destination: &destination,
                client,
                upstream: &[],
            },
            &refusal,
        )
    };
    let startup = startup(0, &[("user", "ci")]);
    for (asks, answer) in [
        (vec![], ""),
        (ssl_request(), "N"),
        ([gssenc_request(), ssl_request()].concat(), "NN"),
    ] {
        assert_eq!(
            words(&asks),
            answer.as_bytes(),
            "answered, and not refused yet"
        );
        let words = words(&[asks, startup.clone()].concat());
        let words = words.strip_prefix(answer.as_bytes()).unwrap();
        assert_eq!(super::messages::kinds(words), "E42501");
        assert_eq!(super::messages::error_field(words, 'S').unwrap(), "FATAL");
        assert_eq!(super::messages::error_field(words, 'V').unwrap(), "FATAL");
        let message = super::messages::error_field(words, 'M').unwrap();
        assert_eq!(
            message,
            "gateway: connect on orders denied: no rule allows it (session s0000000000007)"
        );
    }
    assert!(words(&cancel_request(1, &[0; 4])).is_empty());
    assert!(words(b"GET /").is_empty());
}
