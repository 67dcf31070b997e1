//! From the first byte to the first ReadyForQuery, and the cancel keys that are handed out there.
use super::harness::{Harness, Policy, origin, welcome, welcome_before_18};
use super::messages::{
    all, authentication, backend_key, cancel_request, error_field, gssenc_request, kinds,
    negotiate, notice, parameter_status, parse, password, query, raw, ready, severe, ssl_request,
    startup, terminate,
};
use crate::{Channel, Injected, Limits, Origin, Shared};
use gateway_core::Verb;
use gateway_protocol::{Login, Proof, ProtocolError, Side};
use std::sync::Arc;

fn user() -> Vec<u8> {
    startup(0, &[("user", "ci")])
}

#[test]
fn a_question_about_encryption_is_too_late_and_nothing_of_it_goes_upstream() {
    for question in [ssl_request(), gssenc_request()] {
        let mut harness = Harness::new(Policy::allowing());
        harness.client(&question);
        assert_eq!(kinds(&harness.outcome.to_client), "E0A000");
        assert_eq!(harness.outcome.to_upstream, b"");
        assert!(harness.outcome.error.is_some());
    }
}

#[test]
fn the_login_is_asked_for_before_the_startup_message_goes() {
    let mut harness = Harness::new(Policy::allowing());
    harness.client(&startup(
        0,
        &[
            ("user", "ci"),
            ("database", "app"),
            ("application_name", "x"),
        ],
    ));
    let records = harness.records();
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].verb, Verb::Authenticate);
    for word in [
        "sql.user",
        "\"ci\"",
        "sql.database",
        "\"app\"",
        "sql.application",
        "\"x\"",
    ] {
        assert!(
            records[0].attributes.contains(word),
            "{word}: {}",
            records[0].attributes
        );
    }
}

#[test]
fn a_name_is_judged_as_the_server_reads_it() {
    let mut harness = Harness::new(Policy::allowing());
    let (long, cut) = ("d".repeat(64), format!("\"{}\"", "d".repeat(63)));
    harness.client(&startup(0, &[("user", &long), ("database", &long)]));
    let attributes = &harness.records()[0].attributes;
    assert_eq!(attributes.matches(&cut).count(), 2, "{attributes}");
}

#[test]
fn a_refused_login_never_reaches_the_server() {
    let mut harness = Harness::new(Policy::denying(&[Verb::Authenticate]));
    harness.client(&all(&[user(), query("DROP TABLE t")]));
    assert_eq!(harness.outcome.to_upstream, b"");
    assert_eq!(harness.take_client(), "E42501");
    assert!(harness.outcome.closed);
}

#[test]
fn a_login_that_cannot_be_recorded_does_not_happen() {
    let policy = Policy::allowing();
    policy.break_recorder();
    let mut harness = Harness::new(policy);
    harness.client(&user());
    assert_eq!(harness.outcome.to_upstream, b"");
    assert!(harness.outcome.closed);
}

#[test]
fn what_a_startup_message_asks_for_is_seen() {
    let cases: [(&str, &str, Option<Verb>); 20] = [
        ("replication", "true", Some(Verb::Admin)),
        ("replication", "database", Some(Verb::Admin)),
        ("replication", "1", Some(Verb::Admin)),
        ("replication", "On", Some(Verb::Admin)),
        ("replication", "off", None),
        ("replication", "F", None),
        ("replication", "0", None),
        ("options", "-c statement_timeout=5s", None),
        ("options", "-c role=postgres", Some(Verb::Admin)),
        ("options", "--role=postgres", Some(Verb::Admin)),
        ("options", "-crole=postgres", Some(Verb::Admin)),
        ("options", "-c work_mem=1\\ MB -c ROLE=x", Some(Verb::Admin)),
        (
            "options",
            "-c session-authorization=postgres",
            Some(Verb::Admin),
        ),
        ("options", "-O", Some(Verb::Admin)),
        ("options", "-c", Some(Verb::Admin)),
        ("role", "postgres", Some(Verb::Admin)),
        ("Role", "postgres", Some(Verb::Admin)),
        ("x\"y", "1", Some(Verb::Unknown)),
        ("DateStyle", "ISO", None),
        ("client_encoding", "UTF8", None),
    ];
    for (name, value, verb) in cases {
        let mut harness = Harness::new(Policy::allowing());
        harness.client(&startup(0, &[("user", "ci"), (name, value)]));
        let expected = verb.unwrap_or(Verb::Authenticate);
        assert_eq!(harness.records()[0].verb, expected, "{name}={value}");
        assert_eq!(harness.outcome.error, None);

        let mut harness = Harness::new(Policy::denying(&[Verb::Admin]));
        harness.client(&startup(0, &[("user", "ci"), (name, value)]));
        assert_eq!(
            harness.outcome.to_upstream.is_empty(),
            verb.is_some(),
            "{name}={value}"
        );
    }
}

/// What the client asks for in its StartupMessage is not all that counts: the server tells.
#[test]
fn the_search_path_is_what_the_server_says() {
    for (path, expected) in [
        ("secret", "secret.users"),
        ("\"$user\", public", "public.users"),
        ("not, a list,", "users"),
    ] {
        let mut harness = Harness::new(Policy::allowing());
        harness.client(&startup(0, &[("user", "ci"), ("search_path", "other")]));
        harness.take_upstream();
        harness.upstream(&welcome_before_18());
        // It waits until that is known.
        harness.client(&query("TABLE users"));
        assert_eq!(harness.records().len(), 1, "the login alone");
        harness.tell_path(path);
        assert_eq!(harness.take_upstream(), query("TABLE users"));
        assert_eq!(harness.records().pop().unwrap().objects, [expected]);
    }
}

#[test]
fn a_search_path_that_the_server_does_not_tell_is_unknown() {
    let mut harness = Harness::new(Policy::allowing());
    harness.client(&user());
    harness.upstream(&welcome_before_18());
    harness.take_client();
    harness.client(&query("TABLE users"));
    harness.upstream(&all(&[
        severe("ERROR", "42601", "no such command"),
        ready('I'),
    ]));
    assert_eq!(harness.take_client(), "");
    assert_eq!(harness.records().pop().unwrap().objects, ["users"]);
    assert_eq!(harness.outcome.error, None);
}

#[test]
fn an_exchange_of_secrets_passes_and_is_not_recorded() {
    let mut harness = Harness::new(Policy::allowing());
    harness.client(&user());
    harness.take_upstream();
    harness
        .upstream(&authentication(10))
        .client(&password("hunter2"));
    assert_eq!(harness.take_upstream(), password("hunter2"));
    harness
        .upstream(&authentication(11))
        .client(&password("more"));
    harness.upstream(&authentication(12)).upstream(&welcome());
    assert_eq!(harness.take_client(), "R R R R S S S K ZI");
    let told = format!("{:?} {:?}", harness.records(), harness.outcome.answers);
    assert!(
        !told.contains("hunter2") && !told.contains("more"),
        "{told}"
    );
    assert_eq!(harness.outcome.answers.len(), 1);
    assert_eq!(harness.outcome.answers[0].1.error, None);
}

#[test]
fn a_failed_login_is_recorded_with_the_servers_words() {
    let mut harness = Harness::new(Policy::allowing());
    harness.client(&user());
    harness.upstream(&severe(
        "FATAL",
        "28P01",
        "password authentication failed for user \"ci\"",
    ));
    assert_eq!(harness.take_client(), "E28P01");
    let error = harness.outcome.answers[0].1.error.clone().unwrap();
    assert_eq!(
        &*error,
        "28P01: password authentication failed for user \"ci\""
    );
    harness.finish(Side::Upstream);
    assert_eq!(harness.outcome.error, None);
}

#[test]
fn queries_before_the_login_never_pass() {
    for message in [query("SELECT 1"), parse("", "SELECT 1"), raw(b'?', &[])] {
        for before in [vec![], authentication(3), authentication(0)] {
            let mut harness = Harness::new(Policy::allowing());
            harness.client(&user());
            harness.take_upstream();
            harness.upstream(&before).client(&message);
            assert_eq!(harness.outcome.to_upstream, b"");
            assert!(matches!(
                harness.outcome.error,
                Some(ProtocolError::Client(_))
            ));
        }
    }
}

#[test]
fn a_password_after_the_login_does_not_pass() {
    let mut harness = Harness::ready(Policy::allowing());
    harness.client(&password("x"));
    assert_eq!(harness.outcome.to_upstream, b"");
    assert_eq!(harness.take_client(), "E08P01");
}

#[test]
fn a_server_that_answers_nonsense_at_login_is_named() {
    for messages in [
        vec![ready('I')],
        vec![parameter_status("a", "b")],
        vec![backend_key(1, &[0; 4])],
        vec![authentication(0), authentication(0)],
        vec![
            authentication(0),
            backend_key(1, &[0; 4]),
            backend_key(1, &[0; 4]),
        ],
        vec![authentication(0), backend_key(1, &[0; 3])],
        vec![authentication(0), backend_key(1, &[0; 5])],
        vec![authentication(0), negotiate(0)],
        vec![authentication(0), raw(b'T', &[0, 0])],
        vec![authentication(0), raw(b'Z', b"X")],
        vec![raw(b'R', &[0, 0])],
        vec![raw(b'?', &[])],
        vec![negotiate(1)],
        vec![b"Ecould not fork\n\0".to_vec()],
    ] {
        let mut harness = Harness::new(Policy::allowing());
        harness.client(&user()).upstream(&messages.concat());
        assert!(
            matches!(harness.outcome.error, Some(ProtocolError::Upstream(_))),
            "{messages:?}: {:?}",
            harness.outcome.error
        );
    }
}

#[test]
fn notices_pass_at_login() {
    let mut harness = Harness::new(Policy::allowing());
    harness
        .client(&user())
        .upstream(&all(&[notice("hello"), welcome()]));
    assert_eq!(harness.take_client(), "N R S S S K ZI");
}

#[test]
fn versions_are_agreed_on() {
    // Asked, told by the upstream, what goes upstream, what the client sees.
    for (asked, told, sent, seen) in [
        (0, None, 0, "R S S S K ZI"),
        (2, None, 2, "R S S S K ZI"),
        (2, Some(0), 2, "v R S S S K ZI"),
        (3, None, 2, "v R S S S K ZI"),
        (9999, Some(2), 2, "v R S S S K ZI"),
        (9999, Some(0), 2, "v R S S S K ZI"),
    ] {
        let mut harness = Harness::new(Policy::allowing());
        harness.client(&startup(asked, &[("user", "ci")]));
        assert_eq!(harness.take_upstream(), startup(sent, &[("user", "ci")]));
        harness
            .upstream(&told.map(negotiate).unwrap_or_default())
            .upstream(&welcome());
        assert_eq!(harness.take_client(), seen, "{asked} {told:?}");
        assert_eq!(harness.outcome.error, None);
    }
    for version in [0x0002_0000, 0x0004_0000, 0] {
        let mut harness = Harness::new(Policy::allowing());
        let mut packet = user();
        packet[4..8].copy_from_slice(&u32::to_be_bytes(version));
        harness.client(&packet);
        assert_eq!(harness.take_client(), "E0A000");
    }
}

#[test]
fn a_cancel_key_is_as_long_as_the_upstreams_and_never_the_same() {
    for (minor, length, fits) in [
        (0, 4, true),
        (0, 32, false),
        (2, 4, true),
        (2, 32, true),
        (2, 256, true),
        (2, 257, false),
    ] {
        let mut harness = Harness::new(Policy::allowing());
        let secret = vec![7; length];
        harness.client(&startup(minor, &[("user", "ci")]));
        harness.upstream(&all(&[
            authentication(0),
            backend_key(42, &secret),
            ready('I'),
        ]));
        assert_eq!(harness.outcome.error.is_none(), fits, "{minor} {length}");
        if fits {
            let key = &harness.outcome.to_client[9..];
            assert_eq!(
                key[..9],
                backend_key(42, &secret)[..9],
                "the process number stays"
            );
            assert_eq!(key[9..].len(), length + 6, "ReadyForQuery is behind it");
            assert_ne!(&key[9..9 + length], secret);
        }
    }
}

fn logged_in(shared: &Arc<Shared>, number: u64, place: Origin) -> (Harness, Vec<u8>) {
    let mut harness = Harness::in_gateway(shared, Policy::allowing(), number, place);
    harness.client(&user()).upstream(&welcome());
    let to_client = &harness.outcome.to_client;
    let secret = to_client[to_client.len() - 10..to_client.len() - 6].to_vec();
    (harness, secret)
}

fn cancel(shared: &Arc<Shared>, place: Origin, packet: &[u8], policy: Arc<Policy>) -> Harness {
    let mut harness = Harness::in_gateway(shared, policy, 99, place);
    harness.client(packet);
    harness
}

#[test]
fn a_cancel_reaches_the_server_with_its_own_key() {
    let shared = Arc::new(Shared::new(Limits::default()));
    let (session, secret) = logged_in(&shared, 7, origin(1));
    let packet = cancel_request(42, &secret);
    let mut harness = cancel(&shared, origin(1), &packet, Policy::allowing());
    assert_eq!(
        harness.outcome.to_upstream,
        cancel_request(42, &[1, 2, 3, 4])
    );
    assert!(
        !harness.outcome.closed,
        "the client waits until the server has taken it"
    );
    assert_eq!(harness.statements(), ["CANCEL"]);
    assert!(harness.records()[0].attributes.contains("s0000000000007"));
    harness.finish(Side::Upstream);
    assert_eq!(harness.outcome.answers.len(), 1);

    drop(session);
    let harness = cancel(&shared, origin(1), &packet, Policy::allowing());
    assert_eq!(harness.outcome.to_upstream, b"", "the session is over");
    assert!(shared.cancels.is_empty());
}

#[test]
fn a_cancel_with_a_wrong_key_or_from_elsewhere_is_dropped_in_silence() {
    let shared = Arc::new(Shared::new(Limits::default()));
    let (_session, secret) = logged_in(&shared, 7, origin(1));
    let elsewhere = Origin {
        destination: ([10, 0, 0, 8], 5432).into(),
        ..origin(1)
    };
    let good = cancel_request(42, &secret);
    let mut longer = secret.clone();
    longer.push(0);
    for (place, packet) in [
        (origin(2), good.clone()),
        (elsewhere, good.clone()),
        (origin(1), cancel_request(43, &secret)),
        (origin(1), cancel_request(42, &[1, 2, 3, 4])),
        (origin(1), cancel_request(42, &longer)),
    ] {
        let harness = cancel(&shared, place, &packet, Policy::allowing());
        assert_eq!(harness.outcome.to_upstream, b"");
        assert_eq!(harness.outcome.to_client, b"");
        assert!(matches!(
            harness.outcome.error,
            Some(ProtocolError::Client(_))
        ));
        assert_eq!(harness.statements(), ["CANCEL"]);
        assert!(harness.outcome.answers[0].1.error.is_some());
    }
    let denied = cancel(&shared, origin(1), &good, Policy::denying(&[Verb::Connect]));
    assert_eq!(denied.outcome.to_upstream, b"");
    assert_eq!(denied.statements(), ["!CANCEL"]);
    assert!(denied.outcome.closed);
}

#[test]
fn a_full_table_of_keys_ends_the_login() {
    let shared = Arc::new(Shared::new(Limits {
        cancel_keys: 1,
        ..Limits::default()
    }));
    let (first, _) = logged_in(&shared, 7, origin(1));
    let (second, _) = logged_in(&shared, 8, origin(1));
    assert_eq!(kinds(&second.outcome.to_client), "R S S S E53300");
    assert!(second.outcome.error.is_some());
    drop(first);
    let (third, _) = logged_in(&shared, 9, origin(1));
    assert_eq!(third.outcome.error, None);
}

#[test]
fn leaving_is_allowed_between_messages_only() {
    let mut harness = Harness::new(Policy::allowing());
    assert_eq!(harness.finish(Side::Client).outcome.error, None);

    let mut harness = Harness::ready(Policy::allowing());
    harness.client(&all(&[terminate(), query("DROP TABLE t")]));
    assert_eq!(harness.take_upstream(), terminate());
    assert_eq!(
        harness
            .finish(Side::Client)
            .finish(Side::Upstream)
            .outcome
            .error,
        None
    );

    let mut harness = Harness::new(Policy::allowing());
    harness.client(&user()[..5]).finish(Side::Client);
    assert!(matches!(
        harness.outcome.error,
        Some(ProtocolError::Client(_))
    ));

    let mut harness = Harness::new(Policy::allowing());
    harness.client(&user()).finish(Side::Upstream);
    assert!(matches!(
        harness.outcome.error,
        Some(ProtocolError::Upstream(_))
    ));
    assert!(
        harness.outcome.answers[0].1.error.is_some(),
        "the login is answered"
    );
}

#[test]
fn the_refusal_says_who_refused_what() {
    let mut harness = Harness::new(Policy::denying(&[Verb::Authenticate]));
    harness.client(&user());
    let message = error_field(&harness.outcome.to_client, 'M').unwrap();
    assert!(
        message.starts_with("gateway: authenticate on orders denied"),
        "{message}"
    );
}

fn sasl(mechanisms: &str) -> Vec<u8> {
    let mut body = 10u32.to_be_bytes().to_vec();
    body.extend_from_slice(mechanisms.as_bytes());
    crate::codec::frame(b'R', |frame| frame.extend_from_slice(&body))
}

fn initial(mechanism: &str, said: &str) -> Vec<u8> {
    crate::codec::frame(b'p', |frame| {
        frame.extend_from_slice(mechanism.as_bytes());
        frame.push(0);
        frame.extend_from_slice(&(said.len() as u32).to_be_bytes());
        frame.extend_from_slice(said.as_bytes());
    })
}

const BOTH: Channel = Channel {
    client: Some("TLSv1.3"),
    upstream: Some("TLSv1.3"),
    verified: true,
};

#[test]
fn a_client_is_not_offered_what_it_could_not_prove() {
    let mut harness = Harness::over(BOTH);
    harness.client(&user());
    harness.take_upstream();
    harness.upstream(&sasl("SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"));
    assert_eq!(harness.outcome.to_client, sasl("SCRAM-SHA-256\0\0"));
    let honest = initial("SCRAM-SHA-256", "n,,n=,r=x");
    harness.client(&honest);
    assert_eq!(harness.take_upstream(), honest);

    for said in ["y,,n=,r=x", "p=tls-server-end-point,,n=,r=x"] {
        let mut harness = Harness::over(BOTH);
        harness.client(&user());
        harness.take_upstream();
        harness.upstream(&sasl("SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"));
        harness.take_client();
        harness.client(&initial("SCRAM-SHA-256", said));
        assert_eq!(harness.take_client(), "E28000");
        assert_eq!(harness.take_upstream(), b"");
        assert!(harness.outcome.error.is_some());
    }
    // Nothing is left that it could prove.
    let mut harness = Harness::over(BOTH);
    harness
        .client(&user())
        .upstream(&sasl("SCRAM-SHA-256-PLUS\0\0"));
    assert_eq!(harness.take_client(), "E28000");
    assert!(harness.outcome.answers[0].1.error.is_some());
    // Where the upstream has no TLS there is nothing to bind to, and it is asked nothing.
    let mut harness = Harness::over(Channel {
        upstream: None,
        ..BOTH
    });
    harness.client(&user()).upstream(&sasl("SCRAM-SHA-256\0\0"));
    harness.take_upstream();
    let honest = initial("SCRAM-SHA-256", "y,,n=,r=x");
    harness.client(&honest);
    assert_eq!(harness.take_upstream(), honest);
}

#[test]
fn logins_by_ticket_are_refused() {
    for code in [2, 7, 8, 9] {
        let mut harness = Harness::new(Policy::allowing());
        harness.client(&user()).upstream(&authentication(code));
        assert_eq!(harness.take_client(), "E28000");
        assert!(harness.outcome.answers[0].1.error.is_some());
        assert!(harness.outcome.error.is_some());
    }
}

fn stored(user: Option<&str>) -> Injected {
    let proof = Proof::Password(b"canary-7f3a".to_vec().into());
    Injected {
        login: Arc::new(Login {
            user: user.map(Into::into),
            proof,
        }),
        resource: "orders".into(),
        credential: "orders-ci".into(),
    }
}

#[test]
fn the_gateway_logs_in_and_the_client_is_asked_for_nothing() {
    let mut harness = Harness::logging_in(BOTH, stored(Some("svc")));
    harness.client(&startup(0, &[("user", "alice"), ("options", "-c a=b")]));
    let expected = startup(
        0,
        &[
            ("user", "svc"),
            ("database", "alice"),
            ("options", "-c a=b"),
        ],
    );
    assert_eq!(harness.take_upstream(), expected);
    harness.upstream(&authentication(3));
    assert_eq!(harness.take_client(), "");
    assert_eq!(harness.take_upstream(), password("canary-7f3a"));
    harness.upstream(&welcome());
    assert_eq!(harness.take_client(), "R S S S K ZI");
    let told = format!("{:?} {:?}", harness.records(), harness.outcome.answers);
    assert!(!told.contains("canary"), "{told}");
    for word in ["svc", "alice", "orders-ci"] {
        assert!(harness.records()[0].attributes.contains(word), "{told}");
    }
}

#[test]
fn a_stored_credential_that_fails_says_for_what_and_no_more() {
    let refused = severe(
        "FATAL",
        "28P01",
        "password authentication failed for user \"svc\"",
    );
    for answer in [
        refused,
        authentication(7),
        authentication(99),
        sasl("OTHER\0\0"),
    ] {
        let mut harness = Harness::logging_in(BOTH, stored(Some("svc")));
        harness.client(&startup(0, &[("user", "alice")]));
        harness.upstream(&answer);
        let client = harness.outcome.to_client.clone();
        let words = String::from_utf8_lossy(&client);
        assert!(
            words.contains("orders") && !words.contains("svc"),
            "{words}"
        );
        assert_eq!(harness.take_client(), "E28000");
        assert!(harness.outcome.error.is_some());
        let error = format!("{:?}", harness.outcome.answers[0].1.error);
        assert!(
            error.contains("orders") && !error.contains("canary"),
            "{error}"
        );
    }
    // A client that proves something all the same is out of turn; its words go nowhere.
    let mut harness = Harness::logging_in(BOTH, stored(None));
    harness.client(&user());
    assert_eq!(
        harness.take_upstream(),
        startup(0, &[("user", "ci"), ("database", "ci")])
    );
    harness.client(&password("mine"));
    assert_eq!(harness.take_upstream(), b"");
    assert!(harness.outcome.error.is_some());
    // Whoever could be another gets no proof that would be of use to him.
    let somebody = Channel {
        verified: false,
        ..BOTH
    };
    for channel in [Channel::default(), somebody] {
        for code in [3, 5] {
            let mut harness = Harness::logging_in(channel, stored(Some("svc")));
            harness.client(&user());
            harness.take_upstream();
            harness.upstream(&authentication(code));
            assert_eq!(harness.take_upstream(), b"");
            assert_eq!(harness.take_client(), "E28000");
        }
    }
}

/// What is judged and recorded is where the session goes.
#[test]
fn the_database_of_a_stored_user_is_the_one_in_the_record() {
    let cases: [(&[(&str, &str)], &str); 5] = [
        (&[("user", "alice")], "alice"),
        (&[("user", "alice"), ("database", "")], "alice"),
        (&[("user", ""), ("database", "app")], "app"),
        (&[("user", "")], "svc"),
        (&[], "svc"),
    ];
    for (said, database) in cases {
        let mut harness = Harness::logging_in(BOTH, stored(Some("svc")));
        harness.client(&startup(0, said));
        let expected = startup(0, &[("user", "svc"), ("database", database)]);
        assert_eq!(harness.take_upstream(), expected, "{said:?}");
        let attributes = harness.records()[0].attributes.clone();
        let named = |name: &str, value: &str| {
            let found = attributes.split("sql.").find(|part| part.starts_with(name));
            assert!(found.unwrap().contains(value), "{said:?}: {attributes}");
        };
        named("database", database);
        named("user", "svc");
    }
}

/// What the upstream said before passes before: the client reads in order.
#[test]
fn the_last_words_come_behind_what_was_said_before() {
    let notice = crate::codec::frame(b'N', |body| {
        body.extend_from_slice(b"SNOTICE\0C00000\0Mx\0\0")
    });
    let mut harness = Harness::logging_in(BOTH, stored(Some("svc")));
    harness.client(&user());
    harness.upstream(&all(&[notice, authentication(99)]));
    assert_eq!(harness.take_client(), "N E28000");
}
