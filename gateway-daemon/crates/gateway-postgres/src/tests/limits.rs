//! What a session may hold, and how it says that it is full.
use super::harness::{Harness, Policy};
use super::messages::{
    all, bare, bind, bind_with, close, error, error_field, execute, parse, query, ready, sync,
};
use crate::Limits;
use gateway_protocol::ProtocolError;

fn limited(limits: Limits) -> Harness {
    Harness::ready_with(Policy::allowing(), limits)
}

fn rejected() -> Vec<u8> {
    all(&[error("42601", "syntax error"), ready('I')])
}

#[test]
fn prepared_statements_are_counted() {
    let mut harness = limited(Limits {
        prepared_statements: 2,
        ..Limits::default()
    });
    let ok = || all(&[bare('1'), ready('I')]);
    let prepare = |name: &str| all(&[parse(name, "SELECT 1"), sync()]);
    harness
        .client(&prepare("a"))
        .upstream(&ok())
        .client(&prepare("b"))
        .upstream(&ok());
    harness.client(&prepare("")).upstream(&ok()).take_client();
    harness.client(&prepare("c")).upstream(&rejected());
    let words = error_field(&harness.outcome.to_client, 'M').unwrap();
    assert!(words.contains("limits.prepared_statements"), "{words}");
    assert_eq!(harness.take_client(), "E54000 ZI");
    harness
        .client(&query("PREPARE c AS SELECT 1"))
        .upstream(&rejected());
    assert_eq!(harness.take_client(), "E54000 ZI");

    harness
        .client(&all(&[close('S', "a"), sync()]))
        .upstream(&all(&[bare('3'), ready('I')]));
    harness.client(&prepare("c")).upstream(&ok());
    assert_eq!(harness.take_client(), "3 ZI 1 ZI");
}

#[test]
fn the_text_of_prepared_statements_is_counted() {
    let mut harness = limited(Limits {
        held_bytes: 110,
        ..Limits::default()
    });
    let long = format!("SELECT '{}'", "x".repeat(80));
    harness
        .client(&all(&[parse("a", &long), sync()]))
        .upstream(&all(&[bare('1'), ready('I')]));
    harness
        .client(&all(&[parse("b", &long), sync()]))
        .upstream(&rejected());
    assert_eq!(harness.take_client(), "1 ZI E54000 ZI");
}

#[test]
fn portals_are_counted() {
    let mut harness = limited(Limits {
        portals: 1,
        ..Limits::default()
    });
    harness.client(&all(&[
        parse("", "SELECT 1"),
        bind("p", ""),
        bind("", ""),
        bind("q", ""),
    ]));
    harness.client(&sync());
    harness.upstream(&all(&[bare('1'), bare('2'), bare('2'), rejected()]));
    assert_eq!(harness.take_client(), "1 2 2 E54000 ZI");
    harness
        .client(&all(&[bind("q", ""), sync()]))
        .upstream(&all(&[bare('2'), ready('I')]));
    assert_eq!(harness.outcome.error, None);
}

#[test]
fn requests_without_an_answer_are_counted() {
    let mut harness = limited(Limits {
        pipeline: 10,
        ..Limits::default()
    });
    harness.client(&sync().repeat(10));
    assert_eq!(harness.outcome.error, None);
    harness.client(&query("SELECT 1"));
    assert!(matches!(
        harness.outcome.error,
        Some(ProtocolError::Client(_))
    ));
    assert_eq!(harness.take_client(), "E54000");
    assert_eq!(harness.statements(), [""; 0]);
}

#[test]
fn values_are_cut_and_say_so() {
    let limits = Limits {
        parameter_bytes: 10,
        parameters_bytes: 100,
        ..Limits::default()
    };
    let mut harness = limited(limits);
    let long = [b'x'; 1000];
    let cut = "é".repeat(10);
    let mut values = vec![Some(&long[..]), Some(cut.as_bytes()), None];
    values.extend([Some(&b"short"[..]); 200]);
    harness.client(&all(&[
        parse("", "SELECT 1"),
        bind_with("", "", &[], &values),
        execute(""),
    ]));
    let parameters = harness.records().pop().unwrap().parameters;
    assert_eq!(parameters[0], "? xxxxxxxxxx of 1000");
    assert_eq!(parameters[1], "? ééééé of 20");
    assert_eq!(parameters[2], "? NULL");
    assert_eq!(parameters[3], "? short");
    assert!(parameters.len() < 20);
    let last = parameters.last().unwrap();
    assert!(
        last.starts_with("omitted 19") && last.contains("more values of 9"),
        "{last}"
    );
}

#[test]
fn a_pipeline_costs_what_its_last_unnamed_statement_and_portal_cost() {
    let mut harness = limited(Limits {
        held_bytes: 3000,
        ..Limits::default()
    });
    let long = format!("SELECT '{}'", "x".repeat(1000));
    let value = [b'v'; 1000];
    for round in 0..100 {
        let text = format!("{long}, {round}");
        harness.client(&all(&[
            parse("", &text),
            bind_with("", "", &[], &[Some(&value)]),
            execute(""),
            sync(),
        ]));
        assert_eq!(harness.statements().pop().unwrap(), text);
    }
    assert!(harness.records().iter().all(|record| !record.denied));
}

#[test]
fn a_pipeline_of_named_portals_is_bounded() {
    let mut harness = limited(Limits {
        held_bytes: 3000,
        ..Limits::default()
    });
    let value = [b'v'; 1000];
    harness.client(&parse("", "SELECT $1"));
    for _ in 0..3 {
        harness.client(&bind_with("p", "", &[], &[Some(&value)]));
    }
    harness.client(&sync());
    harness.upstream(&all(&[bare('1'), bare('2'), bare('2'), rejected()]));
    assert_eq!(harness.take_client(), "1 2 2 E54000 ZI");
}

#[test]
fn what_a_text_prepares_is_counted_as_a_whole() {
    let mut harness = limited(Limits {
        prepared_statements: 10,
        ..Limits::default()
    });
    let prepare = |count: usize| -> String {
        (0..count)
            .map(|name| format!("PREPARE p{name} AS SELECT 1;"))
            .collect()
    };
    harness.client(&query(&prepare(11))).upstream(&rejected());
    assert_eq!(harness.take_client(), "E54000 ZI");
    harness.client(&query(&prepare(10)));
    assert_eq!(harness.statements(), [prepare(10)]);
}
