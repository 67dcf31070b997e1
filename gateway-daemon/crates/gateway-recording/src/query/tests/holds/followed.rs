//! Holds as a follower sees them.
use super::*;

#[test]
fn a_follower_gives_a_hold_when_it_is_held_and_when_that_ends() {
    let dir = tempfile::tempdir().unwrap();
    let journal = begun(dir.path());
    hold(&journal, 1, 1, "of earlier");
    let reader = Reader::open(dir.path()).unwrap();
    let query = Query {
        principal: Some(Pattern::new("local:*")),
        ..Query::default()
    };
    let mut follower = Follower::new(&reader, &query, Start::End).unwrap();
    let now = Instant::now();
    let mut next = |at: Instant| {
        follower.poll(at).map(|view| {
            let view = view.unwrap();
            assert_eq!(
                &*view.session.as_ref().unwrap().subject.principal.id,
                "local:alice"
            );
            shown(&view)
        })
    };
    resolve(&journal, 1, Verdict::Approved);
    assert_eq!(next(now), None, "it was held before");
    hold(&journal, 1, 2, "approved");
    assert_eq!(next(now).unwrap(), "2 hold - - -", "at once");
    assert_eq!(next(now + Duration::from_secs(9)), None, "it waits");
    resolve(&journal, 2, Verdict::Approved);
    assert_eq!(next(now), None, "for its outcome");
    journal.outcome(&outcome(1, 2)).unwrap();
    assert_eq!(
        next(now).unwrap(),
        "2 approved user:dana@acme.com ticket 7 2"
    );
    hold(&journal, 1, 3, "approved, and slow");
    resolve(&journal, 3, Verdict::Approved);
    hold(&journal, 1, 4, "denied");
    resolve(&journal, 4, Verdict::Denied);
    assert_eq!(next(now).unwrap(), "3 hold - - -");
    let later = now + Duration::from_secs(1);
    assert_eq!(next(now), None, "in order");
    assert_eq!(
        next(later).unwrap(),
        "3 approved user:dana@acme.com ticket 7 -"
    );
    assert_eq!(next(later).unwrap(), "4 hold - - -");
    assert_eq!(
        next(later).unwrap(),
        "4 denied user:dana@acme.com ticket 7 -"
    );
    hold(&journal, 1, 5, "closed");
    journal.session_closed(&closed(1)).unwrap();
    assert_eq!(next(later).unwrap(), "5 hold - - -");
    assert_eq!(next(later).unwrap(), format!("5 denied - {LOST} -"));
    journal
        .session_opened(&opened(2, 1, "local:alice"))
        .unwrap();
    hold(&journal, 2, 6, "killed");
    assert_eq!(next(later).unwrap(), "6 hold - - -");
    assert_eq!(next(later), None);
    drop(journal);
    assert_eq!(
        next(later).unwrap(),
        format!("6 denied - {LOST} -"),
        "nobody holds it"
    );
    assert_eq!(next(later), None);
    let journal = open(dir.path());
    journal
        .session_opened(&opened(3, 1, "local:alice"))
        .unwrap();
    hold(&journal, 3, 7, "of the next daemon");
    assert_eq!(next(later).unwrap(), "7 hold - - -");
    // It dies unseen, and another one is there.
    drop(journal);
    let journal = open(dir.path());
    assert_eq!(next(later).unwrap(), format!("7 denied - {LOST} -"));
    drop(journal);
    assert_eq!(next(later), None);
}

#[test]
fn a_follower_of_one_verdict_gives_only_that() {
    let dir = tempfile::tempdir().unwrap();
    let journal = begun(dir.path());
    hold(&journal, 1, 1, "DELETE FROM a");
    resolve(&journal, 1, Verdict::Denied);
    hold(&journal, 1, 2, "DELETE FROM b");
    resolve(&journal, 2, Verdict::Approved);
    operate(&journal, 1, 3, "SELECT 1");
    journal.session_closed(&closed(1)).unwrap();
    let reader = Reader::open(dir.path()).unwrap();
    for (verdict, expected) in [
        ("hold", "1 2"),
        ("denied", "1"),
        ("approved", "2"),
        ("allow", "3"),
    ] {
        for session in [None, Some(SessionId(1))] {
            let query = Query {
                verdict: Some(verdict.into()),
                session,
                ..Query::default()
            };
            let mut follower = Follower::new(&reader, &query, Start::Beginning).unwrap();
            let given = std::iter::from_fn(|| follower.poll(Instant::now()));
            let given: Vec<_> = given
                .map(|view| view.unwrap().operation.id.seq.to_string())
                .collect();
            assert_eq!(given.join(" "), expected, "{verdict}, {session:?}");
        }
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 48, ..Default::default() })]

    /// Whatever comes in whichever order: every operation is found once, in order, the index
    /// changes nothing, and the follower's last word about each is that of the query.
    #[test]
    fn holds_and_answers_in_any_order(
        steps in proptest::collection::vec((0u8..9, 1u64..4, 1u32..9), 0..80),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let mut journal = open(&path);
        let mut asked = std::collections::BTreeSet::new();
        for (step, session, seq) in steps {
            // No id comes twice.
            if (1..=3).contains(&step) && !asked.insert((session, seq)) {
                continue;
            }
            let answer = |verdict| resolution(session, seq, verdict);
            match step {
                0 => journal.session_opened(&opened(session, session, "local:alice")).unwrap(),
                1 => operate(&journal, session, seq, "SELECT 1"),
                2 | 3 => hold(&journal, session, seq, "DELETE FROM a"),
                4 => journal.resolution(&answer(Verdict::Approved)).unwrap(),
                5 => journal.resolution(&answer(Verdict::Denied)).unwrap(),
                6 => journal.outcome(&outcome(session, seq)).unwrap(),
                7 => journal.session_closed(&closed(session)).unwrap(),
                _ => {
                    drop(journal);
                    journal = open(&path);
                }
            }
        }
        let [(_, plain), (_, indexed)] = readers(&path);
        let views = found(&plain, &Query::default());
        // Of a session that has ended, the index knows the beginning still.
        let without_session = |view: &OperationView| (view.sequence, view.hold.clone(), view.outcome.clone());
        let by_index: Vec<_> = found(&indexed, &Query::default()).iter().map(without_session).collect();
        proptest::prop_assert_eq!(by_index, views.iter().map(without_session).collect::<Vec<_>>());
        proptest::prop_assert_eq!(views.len(), asked.len());
        proptest::prop_assert!(views.is_sorted_by_key(|view| view.sequence));
        let mut follower = Follower::new(&plain, &Query::default(), Start::Beginning).unwrap();
        // Asked once more when everybody's patience is over.
        let (now, mut given) = (Instant::now(), Vec::new());
        for moment in [now, now + Duration::from_secs(9), now + Duration::from_secs(18)] {
            given.extend(std::iter::from_fn(|| follower.poll(moment)).map(Result::unwrap));
        }
        let mut last = std::collections::BTreeMap::new();
        let mut times = std::collections::BTreeMap::new();
        for view in given {
            *times.entry(view.sequence).or_insert(0) += 1;
            last.insert(view.sequence, view.verdict());
        }
        for view in &views {
            proptest::prop_assert_eq!(last.get(&view.sequence), Some(&view.verdict()));
            let twice = view.hold.is_some() && !view.is_waiting();
            proptest::prop_assert_eq!(times[&view.sequence], 1 + i32::from(twice));
        }
    }
}
