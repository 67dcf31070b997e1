//! The list of ways out is whole, and says what the documents say.
use super::*;
use std::collections::BTreeSet;

/// The page that says what is claimed.
const LIMITATIONS: &str = include_str!("../../../../../docs/limitations.md");

#[test]
fn each_number_is_there_once_and_in_its_place() {
    let numbers: Vec<u8> = WAYS.iter().map(|way| way.number).collect();
    let sorted: BTreeSet<u8> = numbers.iter().copied().collect();
    assert_eq!(numbers, sorted.into_iter().collect::<Vec<_>>());
}

#[test]
fn every_way_is_said_in_words() {
    for way in WAYS {
        assert!(!way.way.is_empty() && !way.closed_by.is_empty(), "{way:?}");
        if let Some(open) = way.open {
            assert!(
                !open.reason.is_empty() && !open.remedy.is_empty(),
                "{way:?}"
            );
        }
        // What needs harden or BPF LSM is not closed everywhere.
        assert!(way.tier == Attest || way.open.is_some(), "{way:?}");
    }
}

/// The numbers in brackets of what a text says, such as `(5, 6)`.
fn numbers_in(text: &str) -> BTreeSet<u8> {
    let brackets = text.split('(').skip(1).filter_map(|rest| {
        let (inside, _) = rest.split_once(')')?;
        inside
            .split(", ")
            .map(|number| number.parse().ok())
            .collect::<Option<Vec<u8>>>()
    });
    brackets.flatten().collect()
}

#[test]
fn the_documents_name_what_is_open_and_nothing_else() {
    let (_, claims) = LIMITATIONS.split_once("\n## What is claimed").unwrap();
    let (claims, _) = claims.split_once("\n## ").unwrap();
    let open = |way: &&Way| way.open.is_some();
    let table: BTreeSet<u8> = WAYS.iter().filter(open).map(|way| way.number).collect();
    assert_eq!(numbers_in(claims), table);
}

#[test]
fn what_is_in_brackets_is_read() {
    assert_eq!(numbers_in("a (5, 6), b (high), c\n(7)"), [5, 6, 7].into());
}

#[test]
fn where_nothing_can_be_enforced_nothing_is_closed() {
    let count = |footing| {
        let rows = rows(footing, &Facts::default());
        assert_eq!(rows.len(), WAYS.len());
        rows.iter()
            .filter(|row| row.result == State::Closed)
            .count()
    };
    assert_eq!(count(Footing::Missing), 0);
    assert_eq!(count(Footing::Unknown), 0);
    let closed = WAYS.iter().filter(|way| way.open.is_none()).count();
    assert_eq!(count(Footing::Firm), closed);
}

#[test]
fn a_host_that_takes_no_code_closes_its_row_by_itself() {
    let facts = Facts {
        no_kernel_code: Some("lockdown"),
        ..Facts::default()
    };
    for footing in [Footing::Firm, Footing::Missing] {
        let rows = rows(footing, &facts);
        let row = rows.iter().find(|row| row.row == 38).unwrap();
        assert_eq!((row.result, row.reason), (State::Closed, "lockdown"));
    }
}

/// What BPF LSM is named for as what closes it is closed where it is active, and nothing else is.
#[test]
fn where_bpf_lsm_is_active_its_rows_are_closed() {
    let facts = Facts {
        sealed: true,
        ..Facts::default()
    };
    let rows = rows(Footing::Firm, &facts);
    for (row, way) in rows.iter().zip(WAYS) {
        let by_lsm = way.closed_by.contains("BPF LSM");
        let closed = way.open.is_none() || by_lsm;
        assert_eq!(row.result == State::Closed, closed, "{row:?}");
        assert_eq!(SEALED.contains(&row.row), by_lsm, "{row:?}");
    }
}

#[test]
fn below_a_subtree_only_it_is_closed() {
    let facts = Facts {
        subtree: true,
        ..Facts::default()
    };
    let open = |facts: &Facts| -> BTreeSet<u8> {
        let rows = rows(Footing::Firm, facts).into_iter();
        rows.filter(|row| row.result == State::Open)
            .map(|row| row.row)
            .collect()
    };
    let more = &open(&facts) - &open(&Facts::default());
    assert_eq!(more, [1, 67].into());
}
