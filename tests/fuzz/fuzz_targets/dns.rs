//! A question of any client, and the answer of any server to it.
//!
//! Two bytes say how long the question is; the others are the answer: as it is, and behind the head
//! and the question that it would have to have.
#![no_main]

use gateway_dns::codec::{Answered, Asked, Fault, HEADER_BYTES, Reply, refuse_unread};
use gateway_dns::interpret::{Meaning, UDP, kept};
use gateway_protocol::No;
use libfuzzer_sys::fuzz_target;

/// The gateway's own number for the question.
const NUMBER: u16 = 0x1234;
/// What a name may be in presentation form: each byte as `\ddd` at most.
const NAME_BYTES_MAX: usize = 4 * 255;

fuzz_target!(|input: &[u8]| {
    let Some((length, rest)) = input.split_first_chunk::<2>() else {
        return;
    };
    let length = usize::from(u16::from_be_bytes(*length)).min(rest.len());
    let (question, answer) = rest.split_at(length);
    match Asked::read(question) {
        Ok(asked) => ask(&asked, question, answer),
        Err(fault) => refuse(question, fault),
    }
});

fn ask(asked: &Asked, question: &[u8], answer: &[u8]) {
    assert_eq!(asked.id.to_be_bytes(), question[..2]);
    let meaning = Meaning::of(asked, UDP);
    assert!(meaning.name.len() <= NAME_BYTES_MAX, "{}", meaning.name);
    assert!(!meaning.name.bytes().any(|byte| byte.is_ascii_uppercase()));
    assert!(!meaning.name.chars().any(char::is_control), "{:?}", meaning.name);

    // What goes upstream is what was judged, and nothing beside it.
    let forwarded = asked.forward(NUMBER).expect("a name that was read can be written");
    let again = Asked::read(&forwarded).expect("a question of our own");
    assert_eq!(again.query, asked.query);
    assert_eq!(Meaning::of(&again, UDP), meaning);
    let rewritten = again.forward(NUMBER).expect("a question of our own");
    assert_eq!(rewritten, forwarded, "it carries what was not read");

    for no in [No::Refused, No::Failed] {
        let refusal = asked.refuse(no, "because \u{fffd} of that");
        assert_eq!(refusal[..2], asked.id.to_be_bytes());
        assert!(refusal[2] & 0x80 != 0, "a refusal is an answer");
    }
    hear(asked, answer);
    hear(asked, &framed(&forwarded, answer));
}

/// The answer behind what every answer to this question begins with; how many records of each kind
/// there are is in its first three bytes.
fn framed(forwarded: &[u8], answer: &[u8]) -> Vec<u8> {
    let asked = Asked::read(forwarded).expect("a question of our own");
    let mut all = Asked::refuse(&asked, No::Failed, "");
    let (counts, records) = answer.split_at(answer.len().min(3));
    // The options of the refusal go, and its question stays.
    let options = if all[11] == 1 { 11 + 6 } else { 0 };
    all.truncate(all.len().saturating_sub(options));
    all[3] &= 0xf0;
    for (at, count) in [7, 9, 11].into_iter().zip(counts) {
        all[at] = count % 8;
    }
    all.extend_from_slice(records);
    all
}

fn hear(asked: &Asked, datagram: &[u8]) {
    let Reply::Answer(answered) = asked.hear(NUMBER, datagram) else {
        return;
    };
    check(asked, &answered, datagram);
}

fn check(asked: &Asked, answered: &Answered, datagram: &[u8]) {
    assert_eq!(answered.bytes[..2], asked.id.to_be_bytes());
    assert_eq!(answered.bytes[2..], datagram[2..]);
    let addresses = answered.addresses(&asked.query.name);
    assert!(addresses.len() <= answered.records().len());
    if answered.error().is_some() {
        assert!(addresses.is_empty(), "an error tells no addresses");
    }
    let _ = kept(answered);
}

fn refuse(question: &[u8], fault: Fault) {
    let refusal = refuse_unread(&question[..question.len().min(HEADER_BYTES)], fault);
    let meaning = Meaning::unread(fault, UDP);
    assert!(meaning.name.is_empty());
    if !refusal.is_empty() {
        assert!(question[2] & 0x80 == 0, "an answer is not answered");
        assert_eq!(refusal[..2], question[..2]);
    }
}
