//! Every message that breaks the protocol, from either side.
use super::harness::{Harness, Policy};
use super::messages::{
    all, bind_with, close, copy_done, describe, execute, flush, function_call, parse_with, query,
    raw, ready, row_description, startup, sync, terminate,
};
use crate::Limits;
use gateway_protocol::{ProtocolError, Side};

/// Each of them well-formed.
fn requests() -> Vec<Vec<u8>> {
    vec![
        query("SELECT 1"),
        parse_with("s", "SELECT $1", &[23, 25]),
        bind_with("p", "s", &[0, 1], &[Some(b"12"), None]),
        execute("p"),
        describe('S', "s"),
        close('P', "p"),
        function_call(1598, b"abc"),
    ]
}

fn refused(message: &[u8]) {
    let mut harness = Harness::ready(Policy::allowing());
    harness.client(message);
    assert_eq!(
        harness.outcome.to_upstream, b"",
        "{message:?} went upstream"
    );
    assert!(
        matches!(
            harness.outcome.error,
            Some(
                ProtocolError::Client(_)
                    | ProtocolError::TooLarge {
                        side: Side::Client,
                        ..
                    }
            )
        ),
        "{message:?}: {:?}",
        harness.outcome.error
    );
    assert_eq!(harness.take_client(), "E08P01");
}

#[test]
fn a_body_that_is_cut_or_goes_on_is_refused() {
    for request in requests() {
        let (kind, body) = (request[0], &request[5..]);
        for length in 0..body.len() {
            refused(&raw(kind, &body[..length]));
        }
        refused(&raw(kind, &[body, &[0]].concat()));
    }
}

#[test]
fn every_length_field_is_checked() {
    for length in [0_u32, 1, 3, 0x4000_0000, 0x7fff_ffff, 0x8000_0000, u32::MAX] {
        for kind in *b"QPBEDCFHSXdcf" {
            refused(&[&[kind][..], &length.to_be_bytes()].concat());
        }
        let mut harness = Harness::ready(Policy::allowing());
        harness.upstream(&[&b"D"[..], &length.to_be_bytes()].concat());
        assert!(matches!(
            harness.outcome.error,
            Some(ProtocolError::Upstream(_))
        ));
    }
    for request in [sync(), flush(), terminate(), copy_done()] {
        refused(&raw(request[0], &[0]));
    }
}

#[test]
fn fields_out_of_range_are_refused() {
    // A format that does not exist, more formats than values, a value of length -2, of 2^31 - 1.
    for body in [
        &[0, 0, 0, 1, 0, 2, 0, 0, 0, 0][..],
        &[0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 1, 255, 255, 255, 255, 0, 0],
        &[0, 0, 0, 0, 0, 1, 255, 255, 255, 254, 0, 0],
        &[0, 0, 0, 0, 0, 1, 127, 255, 255, 255, 0, 0],
        &[0, 0, 255, 255],
    ] {
        refused(&raw(b'B', body));
    }
    refused(&raw(b'D', b"Xs\0"));
    refused(&raw(b'C', b"\0s\0"));
    refused(&raw(b'P', b"\0SELECT 1\0\xff\xff"));
    refused(&raw(b'Q', b"SELECT 1\0DROP TABLE t\0"));
}

#[test]
fn every_type_that_no_client_sends_is_refused() {
    for kind in 0..=255_u8 {
        if !b"QPBEDCFHSXdcf".contains(&kind) {
            refused(&raw(kind, &[]));
        }
    }
}

#[test]
fn every_type_that_no_server_sends_is_refused() {
    for kind in (0..=255_u8).filter(|kind| !b"SNA".contains(kind)) {
        let mut harness = Harness::ready(Policy::allowing());
        harness.upstream(&raw(kind, &[]));
        assert!(
            matches!(harness.outcome.error, Some(ProtocolError::Upstream(_))),
            "{kind}: {:?}",
            harness.outcome.error
        );
        assert_eq!(harness.outcome.to_client, b"");
    }
}

#[test]
fn a_servers_message_with_a_broken_body_is_refused() {
    for body in [&b""[..], b"S", b"SERROR", b"SERROR\0", b"SERROR\0\0x"] {
        let mut harness = Harness::ready(Policy::allowing());
        harness
            .client(&query("SELECT 1"))
            .upstream(&raw(b'E', body));
        assert!(
            matches!(harness.outcome.error, Some(ProtocolError::Upstream(_))),
            "{body:?}"
        );
    }
    for (kind, body) in [
        (b'S', &b"a\0b"[..]),
        (b'S', b"a"),
        (b'S', b"a\0b\0c"),
        (b'C', b"SELECT"),
        (b'C', b"SELECT\x001\0"),
        (b'C', b""),
        (b'Z', b""),
        (b'Z', b"IT"),
        (b'Z', b"X"),
        (b'I', b"x"),
    ] {
        let mut harness = Harness::ready(Policy::allowing());
        harness
            .client(&query("SELECT 1"))
            .upstream(&raw(kind, body));
        assert!(
            matches!(harness.outcome.error, Some(ProtocolError::Upstream(_))),
            "{kind} {body:?}"
        );
    }
}

#[test]
fn what_passed_before_a_broken_message_is_still_delivered() {
    let mut harness = Harness::ready(Policy::allowing());
    harness.client(&all(&[query("SELECT 1"), raw(b'?', &[])]));
    assert_eq!(harness.take_upstream(), query("SELECT 1"));

    let mut harness = Harness::ready(Policy::allowing());
    harness.client(&query("SELECT 1"));
    harness.upstream(&all(&[row_description(), raw(b'?', &[])]));
    assert_eq!(harness.outcome.to_client, row_description());
}

#[test]
fn no_words_are_put_into_the_middle_of_a_message() {
    let mut harness = Harness::ready(Policy::allowing());
    harness
        .client(&query("SELECT 1"))
        .upstream(&row_description()[..9]);
    harness.client(&raw(b'?', &[]));
    assert!(harness.outcome.error.is_some());
    assert_eq!(harness.outcome.to_client, row_description()[..9]);
}

#[test]
fn startup_packets_are_checked() {
    let good = startup(0, &[("user", "ci")]);
    let with_length = |length: u32| {
        let mut packet = good.clone();
        packet[..4].copy_from_slice(&length.to_be_bytes());
        packet
    };
    let mut unterminated = good.clone();
    unterminated.pop();
    unterminated[3] -= 1;
    let mut trailing = good.clone();
    trailing.extend(b"x\0");
    trailing[3] += 2;
    for packet in [
        with_length(0),
        with_length(7),
        with_length(8),
        with_length(10_001),
        with_length(u32::MAX),
        unterminated,
        trailing,
        [&[0, 0, 0, 8, 0, 3, 0, 0][..], &[0; 8]].concat(),
        [&[0, 0, 0, 9][..], &80_877_103_u32.to_be_bytes(), &[0]].concat(),
        [&[0, 0, 0, 15][..], &80_877_102_u32.to_be_bytes(), &[0; 7]].concat(),
    ] {
        let mut harness = Harness::new(Policy::allowing());
        harness.client(&packet);
        assert_eq!(harness.outcome.to_upstream, b"", "{packet:?}");
        assert!(
            matches!(harness.outcome.error, Some(ProtocolError::Client(_))),
            "{packet:?}"
        );
        assert_eq!(harness.take_client(), "E08P01");
    }
    let mut harness = Harness::new(Policy::allowing());
    harness.client(&with_length(9_999));
    assert_eq!(
        (
            harness.outcome.to_upstream.len(),
            harness.outcome.error.clone()
        ),
        (0, None)
    );
}

#[test]
fn messages_over_their_limit_are_refused_before_they_are_there() {
    let limits = Limits {
        statement_bytes: 1000,
        bind_bytes: 2000,
        control_bytes: 3000,
        ..Limits::default()
    };
    for (kind, limit, name) in [
        (b'Q', 1000_u32, "limits.statement_bytes"),
        (b'P', 1000, "limits.statement_bytes"),
        (b'B', 2000, "limits.bind_bytes"),
        (b'F', 2000, "limits.bind_bytes"),
    ] {
        let mut harness = Harness::ready_with(Policy::allowing(), limits);
        harness.client(&[&[kind][..], &(limit - 1).to_be_bytes()].concat());
        assert_eq!(harness.outcome.error, None);
        let mut harness = Harness::ready_with(Policy::allowing(), limits);
        harness.client(&[&[kind][..], &limit.to_be_bytes()].concat());
        let Some(ProtocolError::TooLarge {
            side,
            size,
            limit_name,
            ..
        }) = harness.outcome.error
        else {
            panic!("{:?}", harness.outcome.error)
        };
        assert_eq!(
            (side, size, limit_name),
            (Side::Client, u64::from(limit) + 1, name)
        );
        let words = super::messages::error_field(&harness.outcome.to_client, 'M').unwrap();
        assert!(words.contains(name), "{words}");
    }
    let mut harness = Harness::ready_with(Policy::allowing(), limits);
    harness
        .client(&query("SELECT 1"))
        .upstream(&[&b"E"[..], &3000_u32.to_be_bytes()].concat());
    assert!(matches!(
        harness.outcome.error,
        Some(ProtocolError::TooLarge {
            side: Side::Upstream,
            ..
        })
    ));
}

#[test]
fn rows_and_copy_data_of_any_size_pass_without_being_held() {
    let mut harness = Harness::ready(Policy::allowing());
    harness
        .client(&query("SELECT 1"))
        .upstream(&row_description())
        .take_client();
    let size = 0x3fff_ffff_u32;
    harness.upstream(&[&b"D"[..], &size.to_be_bytes(), b"first"].concat());
    assert_eq!(harness.outcome.to_client.len(), 10);
    harness.upstream(b"more");
    assert_eq!(harness.outcome.to_client.len(), 14);
    harness.finish(Side::Upstream);
    assert!(matches!(
        harness.outcome.error,
        Some(ProtocolError::Upstream(_))
    ));
}

#[test]
fn a_half_message_at_the_end_is_named() {
    for bytes in [
        &query("SELECT 1")[..4],
        &query("SELECT 1")[..8],
        &raw(b'd', b"1234")[..6],
    ] {
        let mut harness = Harness::ready(Policy::allowing());
        harness.client(bytes).finish(Side::Client);
        assert!(
            matches!(harness.outcome.error, Some(ProtocolError::Client(_))),
            "{bytes:?}"
        );
    }
    let mut harness = Harness::ready(Policy::allowing());
    harness.upstream(&ready('I')[..3]).finish(Side::Upstream);
    assert!(matches!(
        harness.outcome.error,
        Some(ProtocolError::Upstream(_))
    ));
}
