//! The store as the governor, the approvers and an attacker meet it.
use super::*;
use crate::error::NotAllowed;
use crate::testing::{
    ManualClock, QuestionBuilder, caller, held, options, peek, question, running, still, wait,
};
use gateway_core::{OperationId, SessionId, Timestamp};
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);
const QUARTER: Duration = Duration::from_secs(900);

fn id(seq: u32) -> String {
    OperationId {
        session: SessionId(1),
        seq,
    }
    .to_string()
}

fn dba() -> Caller {
    caller("user:dan", &["dba"])
}

fn ask(approvals: &Approvals, question: QuestionBuilder) -> Answering {
    approvals.ask(question.ask())
}

fn approve(approvals: &Approvals, seq: u32) -> Result<Answered, AnswerError> {
    approvals.answer(&id(seq), true, &dba(), None)
}

/// What was answered without waiting.
fn at_once(approvals: &Approvals, question: QuestionBuilder) -> Option<Answer> {
    peek(&mut ask(approvals, question))
}

fn reason(answer: &Answer) -> &str {
    answer.reason.as_deref().unwrap_or_default()
}

#[test]
fn an_approval_lets_pass_and_says_who() {
    let (approvals, _) = still();
    let mut answering = ask(&approvals, held(1));
    assert_eq!(peek(&mut answering), None);
    let why = Some("  ticket 7 ".to_owned());
    let answered = approvals.answer(&id(1), true, &dba(), why).unwrap();
    assert_eq!(answered.verdict, Verdict::Approved);
    assert_eq!(answered.grant_until, None);
    let answer = wait(answering);
    assert_eq!(answer.verdict, Verdict::Approved);
    assert_eq!(answer.approver.as_deref(), Some("user:dan"));
    assert_eq!(reason(&answer), "ticket 7");
    assert!(approvals.list().is_empty());
}

#[test]
fn a_denial_is_one() {
    let (approvals, _) = still();
    let answering = ask(&approvals, held(1));
    approvals.answer(&id(1), false, &dba(), None).unwrap();
    assert_eq!(wait(answering).verdict, Verdict::Denied);
}

#[test]
fn the_first_answer_counts_and_the_second_learns_who_gave_it() {
    let (approvals, _) = still();
    let answering = ask(&approvals, held(1));
    let first = approvals.answer(&id(1), false, &dba(), None).unwrap();
    let second = approvals.answer(&id(1), true, &caller("user:eve", &["dba"]), None);
    assert_eq!(second, Err(AnswerError::AlreadyAnswered(first.clone())));
    assert!(
        second
            .unwrap_err()
            .to_string()
            .contains("denied by user:dan")
    );
    assert_eq!(approvals.outcome(&id(1)), Some(first));
    assert_eq!(wait(answering).verdict, Verdict::Denied);
}

#[test]
fn who_may_not_answer_changes_nothing() {
    let (approvals, _) = still();
    let mut answering = ask(&approvals, held(1).through("user:bob"));
    let mut governed = dba();
    governed.tree = Some(TreeId(1234));
    for (by, expected) in [
        (governed, NotAllowed::Governed),
        (caller("user:alice", &["dba"]), NotAllowed::OwnTree),
        (caller("user:bob", &["dba"]), NotAllowed::OwnTree),
        (
            caller("user:eve", &["dev"]),
            NotAllowed::NotAnApprover {
                rule: "writes".into(),
            },
        ),
    ] {
        let refused = approvals.answer(&id(1), true, &by, None);
        assert_eq!(refused, Err(AnswerError::NotAllowed(expected)));
    }
    assert_eq!(peek(&mut answering), None, "it waits on");
    assert_eq!(approvals.pending(), 1);
    // One's own request may be taken back.
    let own = caller("user:bob", &[]);
    assert!(approvals.answer(&id(1), false, &own, None).is_ok());
}

#[test]
fn a_governed_process_does_not_learn_what_is_asked() {
    let (approvals, _) = still();
    let _answering = ask(&approvals, held(1));
    let mut governed = dba();
    governed.tree = Some(TreeId(7));
    let known = approvals.answer(&id(1), true, &governed, None);
    assert_eq!(approvals.answer("s0.9", true, &governed, None), known);
}

#[test]
fn an_id_that_is_none_is_named() {
    let (approvals, _) = still();
    for wrong in [id(9), "x".repeat(5000), String::new(), "🦀".repeat(50)] {
        let error = approvals.answer(&wrong, true, &dba(), None).unwrap_err();
        assert!(matches!(error, AnswerError::NoSuchQuestion(_)));
        assert!(error.to_string().len() < 300);
    }
}

#[test]
fn a_reason_is_one_short_line_of_plain_text() {
    let (approvals, _) = still();
    let _answering = ask(&approvals, held(1));
    let long = "x".repeat(1025);
    for bad in [&long, "two\nlines", "\u{1b}[2J", "\u{202e}txet", "nul\0"] {
        let error = approvals.answer(&id(1), true, &dba(), Some(bad.to_owned()));
        assert!(
            matches!(
                error,
                Err(AnswerError::ReasonTooLong(1025) | AnswerError::ReasonNotPlain(_))
            ),
            "{bad:?}"
        );
    }
    let longest = Some("x".repeat(1024));
    assert!(approvals.answer(&id(1), true, &dba(), longest).is_ok());
}

#[test]
fn nobody_answers_in_time() {
    let (approvals, clock) = still();
    let mut answering = ask(&approvals, held(1));
    clock.forward(MINUTE - Duration::from_nanos(1));
    assert!(approvals.expire().is_some());
    assert_eq!(peek(&mut answering), None);
    clock.forward(Duration::from_nanos(1));
    assert_eq!(approvals.expire(), None);
    let answer = wait(answering);
    assert_eq!(answer.verdict, Verdict::Expired);
    assert_eq!(answer.approver, None);
    let late = approve(&approvals, 1).unwrap_err().to_string();
    assert!(late.contains("was expired"), "{late}");
}

#[test]
fn late_is_late_also_before_the_thread_comes_to_it() {
    let (approvals, clock) = still();
    let answering = ask(&approvals, held(1));
    // The thread sleeps a real minute; only the clock has moved.
    clock.forward(MINUTE);
    assert!(matches!(
        approve(&approvals, 1),
        Err(AnswerError::AlreadyAnswered(Answered {
            verdict: Verdict::Expired,
            ..
        }))
    ));
    assert_eq!(wait(answering).verdict, Verdict::Expired);
}

#[test]
fn the_thread_keeps_the_time_and_a_sooner_deadline_wakes_it() {
    let approvals = running();
    let late = ask(&approvals, held(1).timeout(MINUTE));
    let soon = ask(&approvals, held(2).timeout(Duration::from_millis(20)));
    assert_eq!(wait(soon).verdict, Verdict::Expired);
    assert_eq!(approvals.pending(), 1);
    drop(late);
    let never = ask(&approvals, held(3).timeout(Duration::ZERO));
    assert_eq!(wait(never).verdict, Verdict::Expired);
}

#[test]
fn a_client_that_leaves_takes_its_question_along() {
    let (approvals, _) = still();
    let answering = ask(&approvals, held(1));
    let stays = ask(&approvals, held(2));
    drop(answering);
    assert_eq!(approvals.pending(), 1);
    let late = approve(&approvals, 1).unwrap_err().to_string();
    assert!(late.contains("the client did not wait"), "{late}");
    assert_eq!(approvals.counts().withdrawn, 1);
    drop(stays);
    assert_eq!(approvals.expire(), None, "no deadline is left behind");
}

#[test]
fn a_future_that_was_answered_withdraws_nothing() {
    let (approvals, _) = still();
    let answering = ask(&approvals, held(1));
    approve(&approvals, 1).unwrap();
    // Its id is used again, by a defect or after four thousand million operations.
    let _again = ask(&approvals, held(1));
    drop(answering);
    assert_eq!(approvals.pending(), 1);
    assert_eq!(approvals.counts().withdrawn, 0);
}

#[test]
fn an_answer_is_taken_once() {
    let (approvals, _) = still();
    let mut answering = ask(&approvals, held(1));
    approve(&approvals, 1).unwrap();
    assert_eq!(peek(&mut answering).unwrap().verdict, Verdict::Approved);
    assert_eq!(peek(&mut answering).unwrap().verdict, Verdict::Denied);
}

#[test]
fn two_questions_never_share_an_id() {
    let (approvals, _) = still();
    let mut first = ask(&approvals, held(1));
    let second = at_once(&approvals, held(1)).unwrap();
    assert_eq!(second.verdict, Verdict::Denied);
    assert_eq!(peek(&mut first), None);
}

#[test]
fn what_nobody_could_answer_is_denied_at_once() {
    let (approvals, _) = still();
    for unanswerable in [question(1), held(1).held_by("b", &[])] {
        let answer = at_once(&approvals, unanswerable).unwrap();
        assert_eq!(answer.verdict, Verdict::Denied);
        assert!(reason(&answer).contains("names nobody"));
    }
    let forever = at_once(&approvals, held(1).timeout(Duration::MAX)).unwrap();
    assert_eq!(forever.verdict, Verdict::Denied);
    assert_eq!(approvals.counts().refused, 3);
}

#[test]
fn one_too_many_is_denied_at_once() {
    let clock = ManualClock::new();
    let mut options = options(clock);
    options.limits.pending_max = 3;
    options.limits.pending_tree_max = 2;
    let approvals = Approvals::start(options).unwrap();
    let first = ask(&approvals, held(1));
    let _second = ask(&approvals, held(2));
    let third = at_once(&approvals, held(3)).unwrap();
    assert_eq!(third.verdict, Verdict::Denied);
    assert!(reason(&third).contains("limits.approvals_tree"));
    let _other = ask(&approvals, held(3).tree(8));
    let fourth = at_once(&approvals, held(4).tree(9)).unwrap();
    assert_eq!(
        reason(&fourth),
        "3 questions wait already (limits.approvals)"
    );
    drop(first);
    assert_eq!(
        at_once(&approvals, held(4).tree(9)),
        None,
        "there is room again"
    );
}

#[test]
fn two_hundred_wait_and_each_gets_its_own_answer() {
    let (approvals, _) = still();
    let mut answerings: Vec<_> = (1..=200).map(|seq| ask(&approvals, held(seq))).collect();
    let list = approvals.list();
    assert_eq!(list.len(), 200);
    let seqs: Vec<u32> = list.iter().map(|pending| pending.id().seq).collect();
    assert!(seqs.is_sorted(), "oldest first");
    // From both ends, by two people, while the futures are polled by their own threads.
    std::thread::scope(|scope| {
        for answering in answerings.drain(..) {
            scope.spawn(|| {
                let answer = wait(answering);
                let by = answer.approver.unwrap();
                let approved = answer.verdict == Verdict::Approved;
                assert_eq!(&*by == "user:dan", approved);
            });
        }
        scope.spawn(|| (1..=100).for_each(|seq| drop(approve(&approvals, seq).unwrap())));
        scope.spawn(|| {
            for seq in (101..=200).rev() {
                let eve = caller("user:eve", &["dba"]);
                approvals.answer(&id(seq), false, &eve, None).unwrap();
            }
        });
    });
    let counts = approvals.counts();
    assert_eq!(
        (counts.asked, counts.approved, counts.denied),
        (200, 100, 100)
    );
    assert!(approvals.shared.state.lock().is_consistent());
}

/// Answer, deadline and withdrawal at once: exactly one ends the question, and all see the same.
#[test]
fn one_of_three_ends_it() {
    let (approvals, clock) = still();
    let approved = AtomicUsize::new(0);
    for seq in 1..=400 {
        let mut answering = ask(&approvals, held(seq));
        let barrier = Barrier::new(3);
        let (answered, seen) = std::thread::scope(|scope| {
            let answered = scope.spawn(|| {
                barrier.wait();
                approve(&approvals, seq)
            });
            scope.spawn(|| {
                barrier.wait();
                clock.forward(MINUTE);
                approvals.expire();
            });
            barrier.wait();
            let seen = peek(&mut answering);
            // Every second client leaves, whatever it has seen.
            let seen = if seq % 2 == 0 {
                drop(answering);
                seen
            } else {
                seen.or_else(|| Some(wait(answering)))
            };
            (answered.join().unwrap(), seen)
        });
        let outcome = approvals.outcome(&id(seq)).unwrap();
        if let Some(seen) = seen {
            assert_eq!(seen.verdict, outcome.verdict);
        }
        match answered {
            Ok(answered) => {
                approved.fetch_add(1, Ordering::Relaxed);
                assert_eq!(answered, outcome);
                assert_eq!(answered.verdict, Verdict::Approved);
            }
            Err(AnswerError::AlreadyAnswered(ended)) => {
                assert_eq!(ended, outcome);
                assert_ne!(ended.verdict, Verdict::Approved);
            }
            Err(error) => panic!("{error}"),
        }
    }
    let counts = approvals.counts();
    let approved = approved.into_inner() as u64;
    assert_eq!(counts.approved, approved);
    assert_eq!(approved + counts.expired + counts.withdrawn, 400);
    assert_eq!(approvals.pending(), 0);
    assert!(approvals.shared.state.lock().is_consistent());
}

#[test]
fn of_many_approvers_one_is_first() {
    let (approvals, _) = still();
    for seq in 1..=50 {
        let answering = ask(&approvals, held(seq));
        let won = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for approver in 0..4 {
                let (approvals, won) = (&approvals, &won);
                scope.spawn(move || {
                    let by = caller(&format!("user:{approver}"), &["dba"]);
                    let answer = approvals.answer(&id(seq), approver % 2 == 0, &by, None);
                    won.fetch_add(usize::from(answer.is_ok()), Ordering::Relaxed);
                });
            }
        });
        assert_eq!(won.into_inner(), 1);
        assert!(wait(answering).approver.is_some());
    }
}

/// Each change makes a version that one who waits for it is woken by.
#[test]
fn a_follower_sees_every_change() {
    let (approvals, clock) = still();
    type Step<'a> = Box<dyn Fn(&mut Option<Answering>) + 'a>;
    let steps: Vec<Step<'_>> = vec![
        Box::new(|waits| *waits = Some(ask(&approvals, held(1)))),
        Box::new(|_| drop(approve(&approvals, 1).unwrap())),
        Box::new(|waits| *waits = Some(ask(&approvals, held(2)))),
        Box::new(|waits| *waits = None),
        Box::new(|waits| *waits = Some(ask(&approvals, held(3)))),
        Box::new(|_| {
            clock.forward(MINUTE);
            approvals.expire();
        }),
        Box::new(|waits| *waits = Some(ask(&approvals, held(4).grants(QUARTER)))),
        Box::new(|_| drop(approve(&approvals, 4).unwrap())),
        Box::new(|_| assert_eq!(approvals.revoke_tree(TreeId(7)), 1)),
    ];
    let mut waits = None;
    let mut seen = approvals.version();
    for (number, step) in steps.iter().enumerate() {
        let before = seen;
        seen = std::thread::scope(|scope| {
            let approvals = &approvals;
            let follower = scope.spawn(move || wait(Box::pin(approvals.changed(before))));
            step(&mut waits);
            follower.join().unwrap()
        });
        assert!(seen > before, "step {number}");
    }
    assert_eq!(seen, approvals.version());
    // A refused answer changes nothing.
    assert!(approve(&approvals, 77).is_err());
    assert_eq!(seen, approvals.version());
}

#[test]
fn a_follower_that_comes_late_missed_nothing() {
    let (approvals, _) = still();
    let before = approvals.version();
    let _answering = ask(&approvals, held(1));
    assert!(wait(Box::pin(approvals.changed(before))) > before);
}

fn granted(approvals: &Approvals, seq: u32) -> Answered {
    let _answering = ask(approvals, held(seq).grants(QUARTER));
    approve(approvals, seq).unwrap()
}

#[test]
fn a_timed_grant_covers_the_same_tree_rules_and_resource() {
    let (approvals, clock) = still();
    let answered = granted(&approvals, 1);
    assert_eq!(answered.grant_until, Some(Timestamp(901_000_000_000)));
    clock.forward(QUARTER - Duration::from_nanos(1));
    // Another session of the same tree.
    let covered = at_once(&approvals, held(2).session(5).grants(QUARTER)).unwrap();
    assert_eq!(covered.verdict, Verdict::Approved);
    assert_eq!(covered.approver.as_deref(), Some("user:dan"));
    assert_eq!(
        reason(&covered),
        "covered by the approval of s0000000000001.1 until 1970-01-01T00:15:01.000000Z"
    );
    let grants = approvals.grants();
    assert_eq!((grants.len(), grants[0].used), (1, 1));
    // To use it is not to renew it.
    clock.forward(Duration::from_nanos(1));
    assert_eq!(at_once(&approvals, held(3).grants(QUARTER)), None);
    assert!(approvals.grants().is_empty());
}

#[test]
fn a_grant_covers_nothing_else() {
    let (approvals, _) = still();
    granted(&approvals, 1);
    for other in [
        held(2).grants(QUARTER).tree(8),
        held(3).grants(QUARTER).resource("prod-users"),
        held(4).grants(QUARTER).held_by("deletes", &["group:dba"]),
        question(5).held_by("deletes", &["*"]).grants(QUARTER),
        // The policy gives no grants any more, or shorter ones that are over.
        held(6),
        held(7).grants(Duration::ZERO),
        // The rule names others by now.
        question(8)
            .held_by("writes", &["group:security"])
            .grants(QUARTER),
        // Who approved it has become part of the tree.
        held(9).grants(QUARTER).through("user:dan"),
        held(10).grants(QUARTER).by("user:dan"),
    ] {
        let question = other.ask();
        let seq = question.id.seq;
        assert_eq!(peek(&mut approvals.ask(question)), None, "{seq}");
    }
    assert!(
        at_once(&approvals, held(11).grants(QUARTER)).is_some(),
        "it is still there"
    );
}

#[test]
fn once_is_once() {
    let (approvals, _) = still();
    let _answering = ask(&approvals, held(1));
    approve(&approvals, 1).unwrap();
    assert_eq!(at_once(&approvals, held(2)), None);
    assert_eq!(at_once(&approvals, held(3).grants(QUARTER)), None);
    assert!(approvals.grants().is_empty());
}

#[test]
fn a_denial_grants_nothing() {
    let (approvals, _) = still();
    let _answering = ask(&approvals, held(1).grants(QUARTER));
    approvals.answer(&id(1), false, &dba(), None).unwrap();
    assert_eq!(at_once(&approvals, held(2).grants(QUARTER)), None);
}

#[test]
fn the_order_of_the_rules_does_not_matter() {
    let (approvals, _) = still();
    let one_way = held(1).held_by("b", &["*"]).grants(QUARTER);
    let other_way = question(2)
        .held_by("b", &["*"])
        .held_by("writes", &["group:dba"])
        .grants(QUARTER);
    let _answering = ask(&approvals, one_way);
    approve(&approvals, 1).unwrap();
    assert!(at_once(&approvals, other_way).is_some());
}

#[test]
fn a_grant_can_be_revoked() {
    let (approvals, _) = still();
    granted(&approvals, 1);
    assert_eq!(approvals.revoke_tree(TreeId(8)), 0);
    assert_eq!(approvals.revoke_tree(TreeId(7)), 1);
    assert_eq!(at_once(&approvals, held(2).grants(QUARTER)), None);
    granted(&approvals, 3);
    assert_eq!(approvals.revoke_approver("user:eve"), 0);
    assert_eq!(approvals.revoke_approver("user:dan"), 1);
    assert_eq!(at_once(&approvals, held(4).grants(QUARTER)), None);
}

#[test]
fn grants_are_bounded_and_what_is_over_makes_room() {
    let clock = ManualClock::new();
    let mut options = options(Arc::clone(&clock) as Arc<dyn Clock>);
    options.limits.grants_max = 2;
    let approvals = Approvals::start(options).unwrap();
    let grant = |seq: u32, tree: u64| {
        let _answering = ask(&approvals, held(seq).tree(tree).grants(QUARTER));
        approve(&approvals, seq).unwrap().grant_until.is_some()
    };
    assert!(grant(1, 1) && grant(2, 2));
    assert!(!grant(3, 3), "approved, but once");
    assert_eq!(
        at_once(&approvals, held(4).tree(3).grants(QUARTER)),
        None,
        "asked again"
    );
    assert_eq!(approvals.grants().len(), 2);
    clock.forward(QUARTER);
    assert!(grant(5, 3));
    assert_eq!(approvals.grants().len(), 1);
}

#[test]
fn the_keys_of_a_grant() {
    let (approvals, _) = still();
    granted(&approvals, 1);
    assert_eq!(
        serde_json::to_value(&approvals.grants()[0]).unwrap(),
        serde_json::json!({
            "id": "s0000000000001.1", "tree": "t0000000000007", "rules": ["writes"],
            "resource": "prod-orders", "approver": "user:dan",
            "time": "1970-01-01T00:00:01.000000Z", "until": "1970-01-01T00:15:01.000000Z",
            "used": 0,
        })
    );
}

#[test]
fn all_of_a_tree_is_denied_and_nothing_else() {
    let (approvals, _) = still();
    let ours: Vec<_> = (1..=3).map(|seq| ask(&approvals, held(seq))).collect();
    let mut other = ask(&approvals, held(4).tree(8));
    assert_eq!(approvals.deny_all(TreeId(7), "user:alice was revoked"), 3);
    for answering in ours {
        let answer = wait(answering);
        assert_eq!(answer.verdict, Verdict::Denied);
        assert_eq!(reason(&answer), "user:alice was revoked");
    }
    assert_eq!(peek(&mut other), None);
}

#[test]
fn the_end_of_the_gateway_denies_all_and_opens_nothing() {
    let (approvals, _) = still();
    granted(&approvals, 1);
    let waiting: Vec<_> = (2..=4).map(|seq| ask(&approvals, held(seq))).collect();
    approvals.close();
    for answering in waiting {
        let answer = wait(answering);
        assert_eq!(answer.verdict, Verdict::Denied);
        assert_eq!(reason(&answer), "the gateway restarts");
    }
    let after = at_once(&approvals, held(5).grants(QUARTER)).unwrap();
    assert_eq!(after.verdict, Verdict::Denied, "no grant outlives it");
    assert!(approvals.grants().is_empty());
}

#[test]
fn a_question_outlives_the_store_and_is_denied() {
    let (approvals, _) = still();
    let mut polled = ask(&approvals, held(1));
    let unpolled = ask(&approvals, held(2));
    assert_eq!(peek(&mut polled), None);
    drop(approvals);
    for answering in [polled, unpolled] {
        assert_eq!(wait(answering).verdict, Verdict::Denied);
    }
}

/// The store is dropped while threads ask, answer and leave.
#[test]
fn the_end_comes_in_the_middle_of_everything() {
    for _ in 0..50 {
        let approvals = Arc::new(running());
        let threads: Vec<_> = (1..=3)
            .map(|session| {
                let approvals = Arc::clone(&approvals);
                std::thread::spawn(move || {
                    let mut waiting = Vec::new();
                    for seq in 1..=20 {
                        let question = held(seq).session(session).timeout(MINUTE).ask();
                        let text = question.id.to_string();
                        let answering = approvals.ask(question);
                        match seq % 3 {
                            0 => drop(answering),
                            1 => drop(approvals.answer(&text, true, &dba(), None)),
                            _ => waiting.push(answering),
                        }
                        if seq == 10 && session == 1 {
                            approvals.close();
                        }
                    }
                    waiting
                })
            })
            .collect();
        let waiting: Vec<_> = threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect();
        drop(approvals);
        for answering in waiting {
            assert_eq!(wait(answering).verdict, Verdict::Denied);
        }
    }
}
