//! Questions and answers one by one.
use super::*;
use crate::codec::{Asked, Fault, refuse_unread};
use gateway_core::{AnswerPart, Object, Verb};
use gateway_protocol::{Datagrams, Heard, No, Protocol, Question};
use proptest::prelude::*;

fn question(bytes: &[u8]) -> Box<dyn Question> {
    dns(Limits::default()).0.question(asker(SERVER), bytes)
}

#[test]
fn a_question_reads_its_name_in_lower_case() {
    let question = question(&query(7, "WWW.Example.COM", 28));
    let operation = question.operation();
    assert_eq!(operation.verb, Verb::Read);
    assert_eq!(operation.statement, "AAAA www.example.com");
    let object = Object::Named("www.example.com".into());
    assert_eq!(operation.effects[0].objects, [object]);
    assert_eq!(
        operation.effects[1].verb,
        Verb::Connect,
        "a datagram opens the way too"
    );
    assert_eq!(operation.shape, None);
}

#[test]
fn what_goes_upstream_is_made_of_what_was_read() {
    let mut asked = query(7, "Example.com", 1);
    let plain = asked.clone();
    // Bytes behind the message, and options of EDNS, could carry anything.
    asked.extend(b"exfiltrated");
    let forwarded = question(&asked).forward(0x1234);
    assert_eq!(forwarded[..2], [0x12, 0x34]);
    assert_eq!(
        forwarded[2..],
        plain[2..],
        "the case is kept, all else is gone"
    );
    let mut with_options = plain;
    with_options[11] = 1;
    let option = [&65001u16.to_be_bytes()[..], &7u16.to_be_bytes(), b"secret!"].concat();
    let mut opt = vec![0];
    opt.extend([41u16.to_be_bytes(), 65_535u16.to_be_bytes()].concat());
    opt.extend([0, 0, 0x80, 0]);
    opt.extend(u16::try_from(option.len()).unwrap().to_be_bytes());
    opt.extend(option);
    with_options.extend(opt);
    let forwarded = question(&with_options).forward(1);
    assert!(!forwarded.windows(6).any(|window| window == b"secret"));
    assert_eq!(
        forwarded[forwarded.len() - 11..],
        [0, 0, 41, 0x10, 0, 0, 0, 0x80, 0, 0, 0],
        "4096 bytes at most, signatures as they were wanted"
    );
}

#[test]
fn what_is_no_question_is_unknown_and_goes_nowhere() {
    let good = query(7, "example.com", 1);
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    let last = good.len() - 1;
    for (bytes, fault, code) in [
        (vec![], Fault::Malformed, None),
        (good[..20].to_vec(), Fault::Malformed, Some(1)),
        (vec![0; 5000], Fault::Long, Some(1)),
        (with(2, 0x81), Fault::Answer, None),
        (with(2, 0x28), Fault::Operation, Some(4)),
        (with(5, 0), Fault::Questions, Some(1)),
        (with(last, 3), Fault::Class, Some(5)),
        (query(7, "example.com", 252), Fault::Operation, Some(4)),
        (query(7, "example.com", 251), Fault::Operation, Some(4)),
    ] {
        assert_eq!(Asked::read(&bytes).unwrap_err(), fault);
        let mut question = question(&bytes);
        assert_eq!(question.operation().verb, Verb::Unknown, "{fault:?}");
        assert!(question.admit(clock()).is_err());
        assert!(question.forward(1).is_empty());
        let told = question.refuse(No::Refused, "no");
        assert_eq!(told.get(3).map(|byte| byte & 15), code, "{fault:?}");
        assert_eq!(told, refuse_unread(&bytes, fault));
    }
}

/// By what the tree knows an address.
fn known(names: &NameTable, address: [u8; 4]) -> String {
    names.names(TREE, address.into(), clock()).join(" ")
}

/// Reads an answer of the server `from` to `A www.example.com`.
fn heard(from: [u8; 4], change: impl Fn(Vec<u8>) -> Vec<u8>) -> (Heard, Arc<NameTable>) {
    heard_by(asker(from), change)
}

fn heard_by(asker: Asker, change: impl Fn(Vec<u8>) -> Vec<u8>) -> (Heard, Arc<NameTable>) {
    let (dns, names) = dns(Limits::default());
    let mut question = dns.question(asker, &query(7, "www.example.com", 1));
    let asked = question.forward(99);
    (question.hear(&change(asked), clock()), names)
}

#[test]
fn an_answer_is_believed_when_it_is_to_this_question() {
    let records = [
        record("www.example.com", 5, 60, &name("a.example.net")),
        record("a.example.net", 1, 600, &[192, 0, 2, 9]),
        record("trusted.example", 1, 600, &[192, 0, 2, 66]),
    ];
    let (heard_answer, names) = heard(SERVER, |asked| answer(&asked, &records));
    let Heard::Answer {
        bytes,
        answer: said,
        part,
    } = heard_answer
    else {
        panic!("{heard_answer:?}");
    };
    assert_eq!(bytes[..2], 7u16.to_be_bytes(), "under the client's number");
    assert_eq!((said.rows, said.error), (Some(3), None));
    let Some(AnswerPart::Rows(rows)) = part else {
        panic!("rows");
    };
    let value = |text: &str| Some(text.to_owned());
    assert_eq!(
        rows[0],
        [
            value("www.example.com"),
            value("60"),
            value("CNAME"),
            value("a.example.net")
        ]
    );
    assert_eq!(rows[1][3], value("192.0.2.9"));
    assert_eq!(known(&names, [192, 0, 2, 9]), "www.example.com");
    assert_eq!(known(&names, [192, 0, 2, 66]), "", "nobody asked for it");
}

#[test]
fn only_a_trusted_server_teaches_names_and_never_one_on_the_way() {
    let direct = [record("www.example.com", 1, 60, &[192, 0, 2, 9])];
    let (_, names) = heard([10, 0, 0, 8], |asked| answer(&asked, &direct));
    assert_eq!(known(&names, [192, 0, 2, 9]), "");
    // In a namespace of its own a job may stand at the address of one.
    let abroad = Asker {
        abroad: true,
        ..asker(SERVER)
    };
    let (_, names) = heard_by(abroad, |asked| answer(&asked, &direct));
    assert_eq!(known(&names, [192, 0, 2, 9]), "");
    let over = [
        record("www.example.com", 5, 60, &name("trusted.test")),
        record("trusted.test", 1, 60, &[192, 0, 2, 66]),
    ];
    let (_, names) = heard(SERVER, |asked| answer(&asked, &over));
    assert_eq!(known(&names, [192, 0, 2, 66]), "www.example.com");
}

/// What is one part on the wire must not read as several, or a name below one domain could be
/// written like one below another.
#[test]
fn a_dot_within_a_part_is_not_one_between_parts() {
    let (dns, names) = dns(Limits::default());
    let mut wire = query(7, "ordersXdb.internal", 1);
    let dot = wire.iter().position(|byte| *byte == b'X').unwrap();
    wire[dot] = b'.';
    let mut question = dns.question(asker(SERVER), &wire);
    let asked = question.forward(99);
    let mut answered = answer(
        &asked,
        &[record("ordersXdb.internal", 1, 60, &[192, 0, 2, 9])],
    );
    for byte in &mut answered {
        if *byte == b'X' {
            *byte = b'.';
        }
    }
    let heard = question.hear(&answered, clock());
    assert!(matches!(heard, Heard::Answer { .. }), "{heard:?}");
    assert_eq!(known(&names, [192, 0, 2, 9]), "orders\\.db.internal");
}

#[test]
fn answers_to_something_else_are_strange_and_broken_ones_are_said() {
    let good = [record("www.example.com", 1, 60, &[192, 0, 2, 1])];
    let strange = |change: &dyn Fn(Vec<u8>) -> Vec<u8>| {
        let (heard, _) = heard(SERVER, change);
        assert!(matches!(heard, Heard::Strange), "{heard:?}");
    };
    strange(&|_| vec![]);
    strange(&|asked| asked);
    strange(&|mut asked| {
        asked[1] ^= 1;
        answer(&asked, &good)
    });
    strange(&|_| answer(&query(99, "www.example.org", 1), &good));
    strange(&|_| answer(&query(99, "www.example.com", 28), &good));
    strange(&|_| answer(&head(99, 0, [0; 4]), &[]));
    let (cut, _) = heard(SERVER, |asked| {
        let mut bytes = answer(&asked, &good);
        bytes.truncate(bytes.len() - 2);
        bytes
    });
    assert!(matches!(cut, Heard::Broken(_)), "{cut:?}");
    // Upper and lower case are the server's business.
    let (other_case, _) = heard(SERVER, |_| answer(&query(99, "WWW.example.COM", 1), &good));
    assert!(matches!(other_case, Heard::Answer { .. }));
    let (nothing, _) = heard(SERVER, |asked| {
        let mut bytes = answer(&asked, &[]);
        bytes[3] |= 3;
        bytes
    });
    let Heard::Answer { answer, part, .. } = nothing else {
        panic!("{nothing:?}");
    };
    assert_eq!((answer.error.as_deref(), part), (Some("NXDOMAIN"), None));
}

#[test]
fn a_text_is_not_kept() {
    let secret = [record("www.example.com", 16, 60, b"\x06secret")];
    let (heard, _) = heard(SERVER, |asked| answer(&asked, &secret));
    let Heard::Answer {
        part: Some(AnswerPart::Rows(rows)),
        ..
    } = heard
    else {
        panic!("{heard:?}");
    };
    assert_eq!(rows[0][2..], [Some("TXT".to_owned()), None]);
}

#[test]
fn statements_are_taken_apart_for_cases() {
    let (dns, _) = dns(Limits::default());
    let meaning = dns.interpret("AAAA Db.Example.com.");
    assert_eq!(meaning.verb, Verb::Read);
    assert_eq!(
        meaning.effects[0].objects,
        [Object::Named("db.example.com".into())]
    );
    for nonsense in ["", "A", "SELECT 1", "A a..b"] {
        assert_eq!(dns.interpret(nonsense).verb, Verb::Unknown, "{nonsense}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_and_answered_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let mut question = question(&bytes);
        let _ = question.operation();
        let sent = question.forward(5);
        let _ = question.refuse(No::Failed, "no");
        let _ = question.hear(&bytes, clock());
        if !sent.is_empty() {
            prop_assert_eq!(Asked::read(&sent).map(|asked| asked.id), Ok(5));
        }
    }

    #[test]
    fn a_damaged_answer_ends_in_one_of_three_ways(at in 0usize..80, byte: u8) {
        let records = [record("www.example.com", 1, 60, &[192, 0, 2, 1])];
        let (_, names) = heard(SERVER, |asked| {
            let mut bytes = answer(&asked, &records);
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
            bytes
        });
        // Whatever was damaged, no other name has come to be known.
        let known = known(&names, [192, 0, 2, 1]);
        prop_assert!(known.is_empty() || known == "www.example.com");
    }
}
