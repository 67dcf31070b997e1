//! COPY in both directions, and the Syncs that a server ignores while it reads copy data.
use super::harness::{Harness, Policy};
use super::messages::{
    all, bare, bind, complete, copy_data, copy_done, copy_fail, copy_response, describe, error,
    execute, flush, kinds, parameter_description, parse, query, ready, row_description, sync,
};
use gateway_core::Verb;
use gateway_protocol::{ProtocolError, Side};

const IN: &str = "COPY t FROM STDIN";

fn in_copy() -> Harness {
    let mut harness = Harness::ready(Policy::allowing());
    harness.client(&query(IN)).upstream(&copy_response('G'));
    harness
}

fn one_query(harness: &mut Harness) {
    let statement = "SELECT 'after'";
    harness.client(&query(statement));
    harness.upstream(&all(&[row_description(), complete("SELECT 0"), ready('I')]));
    assert_eq!(harness.outcome.error, None);
    assert_eq!(harness.statements().pop().unwrap(), statement);
    let (seq, answer) = harness.outcome.answers.last().unwrap().clone();
    assert_eq!(
        seq,
        harness.records().last().unwrap().seq,
        "answers are attributed"
    );
    assert_eq!(answer.error, None);
}

#[test]
fn data_goes_in_and_is_counted() {
    let mut harness = in_copy();
    let data = all(&[copy_data(b"1\n"), copy_data(b"2\n"), copy_done()]);
    harness.take_upstream();
    harness.client(&data);
    assert_eq!(harness.take_upstream(), data);
    harness.upstream(&all(&[complete("COPY 2"), ready('I')]));
    let (_, answer) = &harness.outcome.answers[0];
    assert_eq!(answer.rows, Some(2));
    assert_eq!(
        answer.bytes_up,
        (query(IN).len() + 2 * copy_data(b"1\n").len()) as u64
    );
    let verbs = harness.records()[0].verb;
    assert_eq!(verbs, Verb::Transfer);
    one_query(&mut harness);
}

#[test]
fn data_goes_out_and_is_counted() {
    let mut harness = Harness::ready(Policy::allowing());
    harness.client(&query("COPY t TO STDOUT"));
    let answer = all(&[
        copy_response('H'),
        copy_data(&[b'x'; 3000]),
        copy_data(b"2\n"),
        bare('c'),
        complete("COPY 2"),
        ready('I'),
    ]);
    harness.upstream(&answer);
    assert_eq!(harness.outcome.to_client, answer);
    assert_eq!(harness.outcome.answers[0].1.bytes_down, answer.len() as u64);
    assert_eq!(harness.outcome.answers[0].1.rows, Some(2));
    one_query(&mut harness);
}

#[test]
fn a_refused_copy_gets_no_data_through() {
    let mut harness = Harness::ready(Policy::denying(&[Verb::Transfer]));
    harness.client(&query(IN));
    harness.upstream(&all(&[error("42601", "syntax error"), ready('I')]));
    assert_eq!(harness.take_client(), "E42501 ZI");
    assert!(!String::from_utf8_lossy(&harness.take_upstream()).contains("COPY"));
}

#[test]
fn a_failed_copy_ends_with_its_error() {
    let mut harness = in_copy();
    harness.client(&all(&[copy_data(b"x"), copy_fail("no more")]));
    harness.upstream(&all(&[
        error("57014", "COPY from stdin failed: no more"),
        ready('I'),
    ]));
    assert!(
        harness.outcome.answers[0]
            .1
            .error
            .as_deref()
            .unwrap()
            .starts_with("57014")
    );
    one_query(&mut harness);
}

#[test]
fn data_behind_an_error_of_the_server_is_no_offence() {
    let mut harness = in_copy();
    harness.client(&copy_data(b"bad"));
    harness.upstream(&all(&[error("22P02", "bad data"), ready('I')]));
    harness.client(&all(&[
        copy_data(b"more"),
        copy_data(b"and more"),
        copy_done(),
    ]));
    one_query(&mut harness);
}

#[test]
fn anything_but_data_during_a_copy_ends_the_session() {
    for message in [
        query("SELECT 1"),
        parse("", "SELECT 1"),
        bind("", ""),
        execute(""),
    ] {
        let mut harness = in_copy();
        harness.take_upstream();
        harness.client(&message);
        assert_eq!(harness.outcome.to_upstream, b"");
        assert!(matches!(
            harness.outcome.error,
            Some(ProtocolError::Client(_))
        ));
        assert!(harness.take_client().ends_with("E08P01"));

        // The same, sent before the client could know.
        let mut harness = Harness::ready(Policy::allowing());
        harness
            .client(&all(&[query(IN), message]))
            .upstream(&copy_response('G'));
        assert!(matches!(
            harness.outcome.error,
            Some(ProtocolError::Client(_))
        ));
    }
}

/// How drivers send it: the Sync behind Execute is read during the copy, and ignored.
fn extended() -> Vec<u8> {
    all(&[parse("", IN), bind("", ""), execute(""), sync()])
}

#[test]
fn a_sync_that_the_copy_swallowed_is_not_waited_for() {
    let mut harness = Harness::ready(Policy::allowing());
    harness.client(&extended());
    harness.upstream(&all(&[bare('1'), bare('2'), copy_response('G')]));
    harness.client(&all(&[
        copy_data(b"1\n"),
        flush(),
        sync(),
        copy_done(),
        sync(),
    ]));
    assert_eq!(
        kinds(&harness.take_upstream()),
        "P B E H d c H",
        "the Syncs of the copy are ignored, and the one behind it waits for the end"
    );
    harness.upstream(&complete("COPY 1"));
    assert_eq!(harness.take_upstream(), sync());
    harness.upstream(&ready('I'));
    one_query(&mut harness);
}

#[test]
fn a_copy_sent_in_one_go_works() {
    let mut harness = Harness::ready(Policy::allowing());
    harness.client(&all(&[extended(), copy_data(b"1\n"), copy_done(), sync()]));
    harness.upstream(&all(&[bare('1'), bare('2'), copy_response('G')]));
    harness.upstream(&complete("COPY 1")).upstream(&ready('I'));
    one_query(&mut harness);

    let mut harness = Harness::ready(Policy::allowing());
    harness.client(&all(&[
        query(IN),
        copy_data(b"1\n"),
        copy_done(),
        query("SELECT 2"),
    ]));
    harness.upstream(&copy_response('G'));
    harness.upstream(&all(&[complete("COPY 1"), ready('I')]));
    harness.upstream(&all(&[complete("SELECT 1"), ready('I')]));
    one_query(&mut harness);
}

#[test]
fn an_error_in_the_data_skips_to_the_sync_behind_the_data() {
    let mut harness = Harness::ready(Policy::allowing());
    harness.client(&extended());
    harness.upstream(&all(&[bare('1'), bare('2'), copy_response('G')]));
    harness
        .client(&copy_data(b"bad"))
        .upstream(&error("22P02", "bad data"));
    // The server ignored the first Sync, and answers the one behind the data.
    harness
        .client(&all(&[copy_done(), sync()]))
        .upstream(&ready('I'));
    one_query(&mut harness);
    one_query(&mut harness);
}

#[test]
fn an_error_before_the_data_leaves_both_syncs_to_be_answered() {
    let mut harness = Harness::ready(Policy::allowing());
    harness.client(&extended());
    harness.upstream(&all(&[bare('1'), bare('2'), copy_response('G')]));
    // "Cannot copy to view" comes behind CopyInResponse and before the first Sync is read.
    harness.upstream(&all(&[error("42809", "cannot copy to view"), ready('I')]));
    harness
        .client(&all(&[copy_done(), sync()]))
        .upstream(&ready('I'));
    one_query(&mut harness);
    one_query(&mut harness);
}

#[test]
fn statements_stay_known_behind_a_failed_copy() {
    let mut harness = Harness::ready(Policy::denying(&[]));
    harness.client(&extended());
    harness.upstream(&all(&[bare('1'), bare('2'), copy_response('G')]));
    harness
        .client(&copy_data(b"bad"))
        .upstream(&error("22P02", "bad data"));
    harness
        .client(&all(&[copy_done(), sync()]))
        .upstream(&ready('I'));
    for round in 0..3 {
        harness.client(&all(&[parse("", &format!("SELECT {round}")), sync()]));
        harness.upstream(&all(&[bare('1'), ready('I')]));
        harness.client(&all(&[bind("", ""), execute(""), sync()]));
        harness.upstream(&all(&[bare('2'), complete("SELECT 0"), ready('I')]));
        assert_eq!(harness.outcome.error, None);
        assert_eq!(
            harness.statements().pop().unwrap(),
            format!("SELECT {round}")
        );
    }
}

#[test]
fn a_server_may_leave_when_every_sync_is_answered() {
    let mut harness = in_copy();
    harness.client(&all(&[sync(), copy_data(b"bad"), copy_done(), sync()]));
    // The first Sync was ignored, the second is answered.
    harness.upstream(&all(&[error("22P02", "bad data"), ready('I')]));
    harness.upstream(&ready('I'));
    harness.finish(Side::Client).finish(Side::Upstream);
    assert_eq!(harness.outcome.error, None);

    let mut harness = Harness::ready(Policy::allowing());
    harness.client(&sync()).finish(Side::Upstream);
    assert!(harness.outcome.error.is_some(), "this one was not answered");
}

#[test]
fn a_copy_of_what_was_not_alone_is_nonsense() {
    for request in [
        query("SELECT 1"),
        all(&[parse("", "SELECT 1"), bind("", ""), execute("")]),
    ] {
        for kind in ['G', 'W'] {
            let mut harness = Harness::ready(Policy::allowing());
            harness.client(&request);
            if request[0] == b'P' {
                harness.upstream(&all(&[bare('1'), bare('2')]));
            }
            harness.upstream(&copy_response(kind));
            assert!(matches!(
                harness.outcome.error,
                Some(ProtocolError::Upstream(_))
            ));
        }
    }
}

/// The server takes a note of copy data outside of a copy: an error after that has it say that it is
/// ready, where it would have skipped to the next Sync.
#[test]
fn copy_data_outside_of_a_copy_does_not_reach_the_server() {
    let mut harness = Harness::ready(Policy::allowing());
    let stray = all(&[copy_data(b"x"), copy_done(), copy_fail("no")]);
    harness.client(&all(&[
        parse("", "SELECT 1"),
        flush(),
        stray,
        query("SELECT 2"),
    ]));
    assert_eq!(kinds(&harness.take_upstream()), "P H");
}

#[test]
fn early_syncs_are_bounded() {
    let mut harness = in_copy();
    let limit = crate::Limits::default().pipeline;
    harness.client(&sync().repeat(limit));
    assert_eq!(harness.outcome.error, None);
    harness.client(&sync());
    assert!(harness.take_client().ends_with("E54000"));
}

/// A timeout of a Query can come as late as with the next message. Where that is a Flush, the server skips
/// up to the next Sync, and says nothing of it.
#[test]
fn a_flush_reaches_the_server_where_it_has_something_to_flush() {
    let mut harness = Harness::ready(Policy::allowing());
    harness.client(&all(&[
        query("SELECT 1"),
        flush(),
        sync(),
        flush(),
        query("SELECT 2"),
    ]));
    assert_eq!(kinds(&harness.take_upstream()), "Q S Q");
    let mut harness = in_copy();
    harness.take_upstream();
    harness.client(&all(&[copy_done(), query("SELECT 1"), sync()]));
    assert_eq!(kinds(&harness.take_upstream()), "c");
}

/// What a timeout does between a Flush and the next message, nobody can tell from what it does to that
/// message, so that is not sent before everything is answered, and nothing behind it.
#[test]
fn a_query_behind_messages_without_a_sync_is_alone() {
    let behind = all(&[query("SELECT 'behind'"), query("SELECT 'more'")]);
    let ran = || all(&[row_description(), complete("SELECT 1"), ready('I')]);
    let begin = || {
        let mut harness = Harness::ready(Policy::allowing());
        let before = [parse("s", "SELECT 1"), describe('S', "s"), flush()];
        harness.client(&all(&[all(&before), behind.clone()]));
        assert_eq!(harness.take_upstream(), all(&before));
        harness
    };
    let described = all(&[bare('1'), parameter_description(&[]), row_description()]);

    let mut harness = begin();
    harness.upstream(&described);
    assert_eq!(harness.take_upstream(), query("SELECT 'behind'"));
    harness.upstream(&ran());
    assert_eq!(harness.take_upstream(), query("SELECT 'more'"));

    // It ran out before the query was sent: the server skips to a Sync, which is the client's to send.
    let mut harness = begin();
    harness.upstream(&all(&[described.clone(), error("57014", "timeout")]));
    assert_eq!(harness.take_upstream(), b"");
    harness.client(&sync());
    assert_eq!(harness.take_upstream(), sync());
    harness.upstream(&ready('I'));
    one_query(&mut harness);

    // It ran out when the query was on its way: nothing goes on until the server is ready.
    let mut harness = begin();
    harness
        .upstream(&described)
        .upstream(&error("57014", "timeout"));
    harness.take_upstream();
    harness.client(&all(&[sync(), query("SELECT 'third'")]));
    assert_eq!(harness.take_upstream(), b"");
}

#[test]
fn two_copies_in_one_text() {
    let mut harness = Harness::ready(Policy::allowing());
    harness.client(&query("COPY a FROM STDIN; COPY b FROM STDIN"));
    harness
        .upstream(&copy_response('G'))
        .client(&all(&[copy_data(b"1\n"), copy_done()]));
    harness.upstream(&all(&[complete("COPY 1"), copy_response('G')]));
    harness.client(&all(&[copy_data(b"1\n"), copy_done()]));
    harness.upstream(&all(&[complete("COPY 1"), ready('I')]));
    assert_eq!(harness.outcome.answers[0].1.rows, Some(2));
    one_query(&mut harness);
}

#[test]
fn a_copy_that_ends_by_itself_is_nonsense() {
    let mut harness = in_copy();
    harness.upstream(&complete("COPY 0"));
    assert!(matches!(
        harness.outcome.error,
        Some(ProtocolError::Upstream(_))
    ));

    let mut harness = in_copy();
    harness.upstream(&copy_data(b"x"));
    assert!(matches!(
        harness.outcome.error,
        Some(ProtocolError::Upstream(_))
    ));
}

#[test]
fn replication_is_admin_and_moves_data_both_ways() {
    let start = "START_REPLICATION 0/0";
    let mut harness = Harness::ready(Policy::denying(&[Verb::Admin]));
    harness.client(&query(start));
    assert_eq!(harness.statements(), [format!("!{start}")]);

    let mut harness = Harness::ready(Policy::allowing());
    harness.client(&query(start)).upstream(&copy_response('W'));
    harness
        .upstream(&copy_data(b"w"))
        .client(&copy_data(b"r"))
        .upstream(&copy_data(b"w"));
    harness.client(&copy_done());
    harness.upstream(&all(&[
        bare('c'),
        complete("COPY 0"),
        complete("START"),
        ready('I'),
    ]));
    one_query(&mut harness);
}
