//! A journal that changes hands while sessions go on.
use super::*;
use crate::view::SessionEnding;
use crate::{Query, sessions};
use std::sync::atomic::AtomicUsize;

/// Writes with the journal that took over, and counts.
struct Direct(OnceLock<Journal>, AtomicUsize);

impl Heir for Direct {
    fn append(&self, body: &[u8]) -> Result<(), Arc<str>> {
        let journal = self.0.get().ok_or("nobody writes")?;
        self.1.fetch_add(1, Ordering::Relaxed);
        let kept = journal.append_encoded(body);
        kept.map(drop).map_err(|error| error.to_string().into())
    }
}

fn heir() -> Arc<Direct> {
    Arc::new(Direct(OnceLock::new(), AtomicUsize::new(0)))
}

#[test]
fn a_session_goes_on_over_a_change_of_hands() {
    let dir = tempfile::tempdir().unwrap();
    let old = open(dir.path());
    old.session_opened(&opened(1, 1, "local:alice")).unwrap();
    operate(&old, 1, 1, "SELECT 1");
    let heir = heir();
    let lock = old.hand_over(Arc::clone(&heir) as _).unwrap();
    assert!(
        old.session_opened(&opened(2, 2, "local:bob")).is_err(),
        "nobody writes"
    );
    assert_eq!(old.failures(), 1);
    // A successor that failed: another one gets the lock.
    drop(lock);
    let lock = old.hand_over(Arc::clone(&heir) as _).unwrap();
    assert!(matches!(
        Journal::open(options(dir.path())),
        Err(JournalError::InUse { .. })
    ));
    let (new, recovered) = Journal::take_over(options(dir.path()), lock).unwrap();
    assert!(recovered.is_clean(), "{recovered}");
    operate(&new, 3, 1, "SELECT 3");
    assert!(heir.0.set(new).is_ok());
    operate(&old, 1, 2, "SELECT 2");
    old.session_closed(&closed(1)).unwrap();
    assert!(heir.1.load(Ordering::Relaxed) >= 2);
    old.let_go();
    drop(old);
    // The lock is the other one's now.
    assert!(matches!(
        Journal::open(options(dir.path())),
        Err(JournalError::InUse { .. })
    ));
    assert_eq!(statements(dir.path()), ["SELECT 1", "SELECT 3", "SELECT 2"]);
    let numbers: Vec<_> = records(dir.path())
        .iter()
        .map(|record| record.sequence)
        .collect();
    assert!(
        numbers.windows(2).all(|pair| pair[1] == pair[0] + 1),
        "{numbers:?}"
    );
    let reader = Reader::open(dir.path()).unwrap();
    let views = sessions(&reader, &Query::default()).unwrap();
    let first = views.filter_map(Result::ok).next().unwrap();
    assert!(
        matches!(first.ending, SessionEnding::Closed(_)),
        "{first:?}"
    );
}

#[test]
fn what_is_no_record_is_not_taken() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    for body in [&b""[..], &[99, 1, 2], &[2]] {
        assert!(journal.append_encoded(body).is_err(), "{body:?}");
    }
    assert_eq!(journal.last_sequence(), 1);
}

#[test]
fn threads_that_write_meanwhile_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let old = open(dir.path());
    let heir = heir();
    let (old, heir) = (&old, &heir);
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..4)
            .map(|session| {
                scope.spawn(move || {
                    let mut kept = 0_u32;
                    for seq in 0..2000 {
                        let text = format!("session {session} statement {seq}");
                        let parts = Parts::new(session, seq, &text);
                        kept += u32::from(old.operation(&parts.record()).is_ok());
                    }
                    kept
                })
            })
            .collect();
        let lock = old.hand_over(Arc::clone(heir) as _).unwrap();
        let (new, _) = Journal::take_over(options(dir.path()), lock).unwrap();
        assert!(heir.0.set(new).is_ok());
        let kept: u32 = writers
            .into_iter()
            .map(|writer| writer.join().unwrap())
            .sum();
        assert_eq!(statements(dir.path()).len() as u32, kept);
    });
}
