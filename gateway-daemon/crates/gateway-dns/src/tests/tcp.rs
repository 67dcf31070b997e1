//! Connections: messages with their length in front, over any chunking.
use super::*;
use crate::TcpSession;
use crate::session::framed;
use gateway_protocol::{ProtocolError, Side};
use gateway_testkit::{FakeJudge, MemoryRecorder, SessionDriver, samples};

fn driver(judge: FakeJudge, limits: Limits) -> (SessionDriver, Arc<MemoryRecorder>) {
    let recorder = Arc::new(MemoryRecorder::default());
    let governor = samples::governor(Arc::new(judge), recorder.clone());
    let (dns, _) = dns(limits);
    let session = TcpSession::new(Arc::clone(&dns.shared), asker(SERVER));
    (SessionDriver::new(Box::new(session), governor), recorder)
}

#[test]
fn questions_are_answered_in_any_order_and_any_chunking() {
    let (one, two) = (query(7, "one.test", 1), query(7, "two.test", 1));
    let stream = [framed(&one), framed(&two)].concat();
    for size in 1..=stream.len() {
        let (mut driver, recorder) = driver(FakeJudge::allow_all(), Limits::default());
        for chunk in stream.chunks(size) {
            driver.client(chunk);
        }
        let sent = driver.take_upstream();
        let (first, second) = sent.split_at(framed(&one).len());
        let reply = |asked: &[u8]| framed(&answer(&asked[2..], &[]));
        for byte in [reply(second), reply(first)].concat() {
            driver.upstream(&[byte]);
        }
        // Each comes back under the number that the client gave it, twice the same here.
        let expected = [framed(&answer(&two, &[])), framed(&answer(&one, &[]))].concat();
        assert_eq!(driver.take_client(), expected);
        driver.finish(Side::Client);
        assert_eq!(driver.error, None);
        assert_eq!(recorder.recorded().operations.len(), 2);
    }
}

#[test]
fn a_stream_that_is_no_dns_ends() {
    for bytes in [&b"\0\x03abc"[..], b"\xff\xff", b"SSH-2.0-OpenSSH"] {
        let (mut driver, _) = driver(FakeJudge::allow_all(), Limits::default());
        driver.client(bytes);
        assert!(
            matches!(driver.error, Some(ProtocolError::Client(_))),
            "{bytes:?}"
        );
        assert!(driver.take_upstream().is_empty());
    }
    let (mut driver, _) = driver(FakeJudge::allow_all(), Limits::default());
    driver.upstream(&framed(&answer(&query(1, "one.test", 1), &[])));
    let expected = ProtocolError::Upstream("an answer to no question");
    assert_eq!(driver.error, Some(expected));
}

#[test]
fn only_so_many_questions_wait() {
    let limits = Limits {
        pending: 2,
        ..Limits::default()
    };
    let (mut driver, _) = driver(FakeJudge::allow_all(), limits);
    let question = framed(&query(7, "one.test", 1));
    driver.client(&question.repeat(3));
    let sent = driver.take_upstream();
    assert_eq!(sent.len(), 2 * question.len());
    driver.upstream(&framed(&answer(&sent[2..question.len()], &[])));
    driver.client(&[]);
    assert_eq!(driver.take_upstream().len(), question.len());
}

#[test]
fn what_is_over_a_limit_is_refused_and_recorded() {
    let limits = Limits {
        name_bytes: 10,
        ..Limits::default()
    };
    let (mut driver, recorder) = driver(FakeJudge::allow_all(), limits);
    driver.client(&framed(&query(7, "a.name.that.is.long", 1)));
    let told = driver.take_client();
    assert_eq!(told[5] & 15, 5, "REFUSED");
    assert!(driver.take_upstream().is_empty());
    assert_eq!(recorder.recorded().operations.len(), 1);
}
