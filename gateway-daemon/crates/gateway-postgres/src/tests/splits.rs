//! Any split of the two streams gives the same effects.
use super::harness::{Harness, Outcome, Policy, Record, welcome};
use super::messages::{
    all, authentication, bare, bind, bind_with, close, complete, copy_data, copy_done,
    copy_response, data_row, describe, error, execute, function_call, notice, parameter_status,
    parse, password, query, raw, ready, row_description, startup, sync, terminate,
};
use gateway_core::Verb;
use gateway_protocol::Side;
use gateway_protocol::Side::{Client, Upstream};
use proptest::prelude::*;

type Transcript = Vec<(Side, Vec<u8>)>;

fn login() -> Transcript {
    vec![
        (
            Client,
            startup(3, &[("user", "ci"), ("options", "-c search_path=app")]),
        ),
        (Upstream, authentication(5)),
        (Client, password("md5")),
        (Upstream, welcome()),
    ]
}

fn bodies() -> Vec<Transcript> {
    let one = || {
        all(&[
            row_description(),
            data_row(&[b'x'; 40]),
            complete("SELECT 1"),
        ])
    };
    let rejected = || error("42601", "syntax error at or near \"gateway\"");
    vec![
        vec![
            (
                Client,
                all(&[query("SELECT 1"), query("DROP TABLE t"), query("SELECT 2")]),
            ),
            (Upstream, all(&[one(), ready('I'), rejected(), ready('I')])),
            (Upstream, all(&[notice("hm"), one(), ready('I')])),
            (Client, terminate()),
        ],
        vec![
            (
                Client,
                all(&[
                    parse("s", "SELECT $1"),
                    describe('S', "s"),
                    bind_with("", "s", &[0], &[Some(b"value")]),
                    execute(""),
                    parse("", "DROP TABLE t"),
                    bind("", ""),
                    execute(""),
                    copy_data(&[b'x'; 100]),
                    sync(),
                    close('S', "s"),
                    sync(),
                ]),
            ),
            (
                Upstream,
                all(&[
                    bare('1'),
                    raw(b't', &[0, 1, 0, 0, 0, 25]),
                    row_description(),
                ]),
            ),
            (
                Upstream,
                all(&[bare('2'), data_row(b"v"), complete("SELECT 1"), rejected()]),
            ),
            (Upstream, all(&[ready('I'), bare('3'), ready('I')])),
        ],
        vec![
            (
                Client,
                all(&[
                    parse("", "COPY t FROM STDIN"),
                    bind("", ""),
                    execute(""),
                    sync(),
                ]),
            ),
            (Upstream, all(&[bare('1'), bare('2'), copy_response('G')])),
            (
                Client,
                all(&[copy_data(&[b'x'; 100]), copy_data(b""), copy_done()]),
            ),
            (Upstream, complete("COPY 1")),
            (Client, sync()),
            (Upstream, ready('I')),
            (Client, query("COPY t TO STDOUT")),
            (
                Upstream,
                all(&[copy_response('H'), copy_data(&[b'x'; 100]), bare('c')]),
            ),
            (Upstream, all(&[complete("COPY 1"), ready('I')])),
            (Client, function_call(1598, b"x")),
            (Upstream, all(&[raw(b'V', &[0, 0, 0, 1, b'x']), ready('I')])),
        ],
        vec![
            (
                Client,
                all(&[query("BEGIN"), query("SET search_path TO other")]),
            ),
            (Upstream, all(&[complete("BEGIN"), ready('T')])),
            (
                Upstream,
                all(&[complete("SET"), parameter_status("x", "y"), ready('T')]),
            ),
            (
                Client,
                all(&[query("DELETE FROM users"), parse("", "SELEC"), sync()]),
            ),
            (
                Upstream,
                all(&[
                    complete("DELETE 3"),
                    ready('T'),
                    error("42601", "x"),
                    ready('E'),
                ]),
            ),
            (Client, query("ROLLBACK")),
            (Upstream, all(&[complete("ROLLBACK"), ready('I')])),
        ],
        vec![(
            Client,
            all(&[query("SELECT 1"), raw(b'?', b"x"), query("SELECT 2")]),
        )],
        vec![
            (Client, all(&[query("SELECT 1"), query("SELECT 2")])),
            (
                Upstream,
                all(&[one(), ready('I'), bare('1'), one(), ready('I')]),
            ),
        ],
    ]
}

fn transcripts() -> Vec<Transcript> {
    bodies()
        .into_iter()
        .map(|body| [login(), body].concat())
        .collect()
}

/// The gateway's own cancel key is another one each time: without what follows the process number in
/// each BackendKeyData. A damaged stream can make one of another message, of any length, and end
/// inside of it.
fn without_key(mut bytes: Vec<u8>) -> Vec<u8> {
    let mut at = 0;
    while let Some(&[letter, a, b, c, d]) = bytes[at..].first_chunk() {
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let end = (at + 1 + length).min(bytes.len());
        if letter == b'K' {
            bytes[(at + 9).min(end)..end].fill(0);
        }
        at = end.max(at + 1);
    }
    bytes
}

#[test]
fn every_key_is_taken_out_and_nothing_else() {
    let mut sent = raw(b'S', b"a\0b\0");
    sent.extend(raw(b'K', b"\0\0\0\x2asecret"));
    sent.extend(raw(b'K', b"\0\0\x01\x2alonger"));
    sent.extend(raw(b'Z', b"I"));
    let mut left = raw(b'S', b"a\0b\0");
    left.extend(raw(b'K', b"\0\0\0\x2a\0\0\0\0\0\0"));
    left.extend(raw(b'K', b"\0\0\x01\x2a\0\0\0\0\0\0"));
    left.extend(raw(b'Z', b"I"));
    assert_eq!(without_key(sent.clone()), left);
    for length in 0..sent.len() {
        without_key(sent[..length].to_vec());
    }
}

/// Plays a transcript in pieces whose sizes come from `sizes`, over and over.
fn play(transcript: &Transcript, sizes: &[usize]) -> (Outcome, Vec<Record>) {
    let mut harness = Harness::new(Policy::denying(&[Verb::Define]));
    let mut sizes = sizes.iter().cycle();
    for (side, bytes) in transcript {
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let size = (*sizes.next().unwrap()).clamp(1, rest.len());
            harness.feed(*side, &rest[..size]);
            rest = &rest[size..];
        }
    }
    let mut outcome = harness.outcome.clone();
    outcome.to_client = without_key(outcome.to_client);
    (outcome, harness.records())
}

#[test]
fn byte_by_byte_is_the_same_as_all_at_once() {
    for transcript in transcripts() {
        let whole = play(&transcript, &[usize::MAX]);
        assert!(whole.1.len() > 1, "the transcript does something");
        for size in 1..=17 {
            assert_eq!(play(&transcript, &[size]), whole, "pieces of {size}");
        }
    }
}

proptest! {
    #[test]
    fn any_split_gives_the_same_effects(sizes in prop::collection::vec(1..60_usize, 1..40)) {
        for transcript in transcripts() {
            prop_assert_eq!(play(&transcript, &sizes), play(&transcript, &[usize::MAX]));
        }
    }

    #[test]
    fn random_bytes_never_panic_and_never_reach_the_server_unasked(
        turns in prop::collection::vec(
            (any::<bool>(), prop::collection::vec(any::<u8>(), 0..60)), 1..20
        ),
    ) {
        let mut harness = Harness::ready(Policy::allowing());
        for (client, bytes) in &turns {
            harness.feed(if *client { Client } else { Upstream }, bytes);
        }
        harness.finish(Client).finish(Upstream);
    }

    #[test]
    fn damaged_transcripts_never_panic(
        which in 0..6_usize,
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut transcript = transcripts().swap_remove(which);
        let turn = at.index(transcript.len());
        let bytes = &mut transcript[turn].1;
        let index = at.index(bytes.len());
        bytes[index] = byte;
        let (whole, split) = (play(&transcript, &[usize::MAX]), play(&transcript, &[1]));
        // Where the gateway asks something itself, these are no answers of a server: they come before what
        // they answer has been sent, and how much before depends on how they are split.
        let sent = String::from_utf8_lossy(&whole.0.to_upstream).into_owned();
        prop_assume!(!sent.contains("current_setting"));
        prop_assert_eq!(split, whole);
    }
}
