//! A human who answers when the test says so.
use gateway_core::ports::{Answer, Answering, Question};
use gateway_core::{Approver, Grant, HoldRule, HoldTerms, Verdict};
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

/// Far more than anything takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// On which terms the fakes hold.
#[must_use]
pub fn terms() -> HoldTerms {
    HoldTerms {
        rules: vec![HoldRule {
            rule: "test".into(),
            approvers: vec!["*".into()],
        }],
        timeout: Duration::from_secs(60),
        grant: Grant::Once,
    }
}

#[derive(Debug, Default)]
struct Slot {
    answer: Option<Answer>,
    waker: Option<Waker>,
    withdrawn: bool,
}

/// Keeps the questions, and answers them in their order.
#[derive(Debug, Default)]
pub struct FakeApprover {
    asked: Mutex<VecDeque<(Question, Arc<Mutex<Slot>>)>>,
    changed: Condvar,
}

struct Waiting(Arc<Mutex<Slot>>);

impl Future for Waiting {
    type Output = Answer;

    fn poll(self: std::pin::Pin<&mut Self>, context: &mut std::task::Context<'_>) -> Poll<Answer> {
        let mut slot = self.0.lock().unwrap();
        if let Some(answer) = slot.answer.take() {
            return Poll::Ready(answer);
        }
        slot.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.lock().unwrap().withdrawn = true;
    }
}

impl Approver for FakeApprover {
    fn ask(&self, question: Question) -> Answering {
        let slot = Arc::<Mutex<Slot>>::default();
        let waiting = Waiting(Arc::clone(&slot));
        self.asked.lock().unwrap().push_back((question, slot));
        self.changed.notify_all();
        Box::pin(waiting)
    }
}

impl FakeApprover {
    /// Waits for a question, and until whoever asked waits for the answer: then it wakes them.
    /// Returns the question.
    ///
    /// # Panics
    /// When nobody asks, or nobody waits, within 20 seconds.
    pub fn answer(&self, verdict: Verdict) -> Question {
        self.wait_asked();
        let deadline = Instant::now() + PATIENCE;
        let waits = || {
            let asked = self.asked.lock().unwrap();
            let slot = asked.front().map(|(_, slot)| Arc::clone(slot)).unwrap();
            drop(asked);
            let slot = slot.lock().unwrap();
            let waker = slot.waker.as_ref();
            waker.is_some_and(|waker| !waker.will_wake(Waker::noop()))
        };
        while !waits() {
            assert!(Instant::now() < deadline, "nobody waits to be woken");
            std::thread::yield_now();
        }
        self.answer_now(verdict)
    }

    /// Waits for a question and answers it, whether anybody waits or looks now and then.
    ///
    /// # Panics
    /// When nobody asks within 20 seconds.
    pub fn answer_now(&self, verdict: Verdict) -> Question {
        let (question, slot) = self.next();
        let mut slot = slot.lock().unwrap();
        slot.answer = Some(Answer {
            verdict,
            approver: Some("user:bob".into()),
            reason: Some("the test says so".into()),
        });
        if let Some(waker) = slot.waker.take() {
            waker.wake();
        }
        question
    }

    /// Waits until somebody asks.
    ///
    /// # Panics
    /// When nobody does within 20 seconds.
    pub fn wait_asked(&self) {
        let asked = self.asked.lock().unwrap();
        let waited = self
            .changed
            .wait_timeout_while(asked, PATIENCE, |asked| asked.is_empty());
        assert!(!waited.unwrap().1.timed_out(), "nobody asked");
    }

    /// Waits for a question, and until it is withdrawn.
    ///
    /// # Panics
    /// When that does not happen within 20 seconds.
    pub fn wait_withdrawn(&self) -> Question {
        let (question, slot) = self.next();
        let deadline = Instant::now() + PATIENCE;
        while !slot.lock().unwrap().withdrawn {
            assert!(Instant::now() < deadline, "the question was not withdrawn");
            std::thread::yield_now();
        }
        question
    }

    fn next(&self) -> (Question, Arc<Mutex<Slot>>) {
        self.wait_asked();
        self.asked.lock().unwrap().pop_front().unwrap()
    }
}
