//! A judge that answers what the test wants.
use gateway_core::ports::Case;
use gateway_core::{Decision, Destination, Judge, LinkTerms, Masks, Mode, Verb, Verdict};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

type Rule = dyn Fn(&Case<'_>) -> Verdict + Send + Sync;

/// Decides by a closure, in mode enforce unless told otherwise. The resource is the destination's
/// address; a denial names the rule `test` and has the message `denied by the test`.
pub struct FakeJudge {
    rule: Box<Rule>,
    mode: Mode,
    generation: AtomicU64,
    asked: AtomicU64,
    terms: Arc<LinkTerms>,
    masks: Option<Arc<dyn Masks>>,
    answers: Option<u32>,
}

impl fmt::Debug for FakeJudge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeJudge")
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

impl FakeJudge {
    /// Decides by `rule`.
    pub fn new(rule: impl Fn(&Case<'_>) -> Verdict + Send + Sync + 'static) -> FakeJudge {
        FakeJudge {
            rule: Box::new(rule),
            mode: Mode::Enforce,
            generation: AtomicU64::new(0),
            asked: AtomicU64::new(0),
            terms: Arc::default(),
            masks: None,
            answers: None,
        }
    }

    /// With these terms for every way.
    #[must_use]
    pub fn on_terms(self, terms: LinkTerms) -> FakeJudge {
        FakeJudge {
            terms: Arc::new(terms),
            ..self
        }
    }

    /// With this called sensitive in every answer.
    #[must_use]
    pub fn with_masks(self, masks: Arc<dyn Masks>) -> FakeJudge {
        FakeJudge {
            masks: Some(masks),
            ..self
        }
    }

    /// With so many bytes of every answer kept.
    #[must_use]
    pub fn keeping_answers(self, bytes: u32) -> FakeJudge {
        FakeJudge {
            answers: Some(bytes),
            ..self
        }
    }

    /// Allows everything.
    #[must_use]
    pub fn allow_all() -> FakeJudge {
        FakeJudge::new(|_| Verdict::Allow)
    }

    /// Denies everything.
    #[must_use]
    pub fn deny_all() -> FakeJudge {
        FakeJudge::new(|_| Verdict::Deny)
    }

    /// Denies each operation that has one of these verbs among its effects.
    #[must_use]
    pub fn denying(verbs: &'static [Verb]) -> FakeJudge {
        FakeJudge::new(move |case| {
            let denied = case
                .operation
                .effects
                .iter()
                .any(|effect| verbs.contains(&effect.verb));
            if denied {
                Verdict::Deny
            } else {
                Verdict::Allow
            }
        })
    }

    /// The same rule in another mode.
    #[must_use]
    pub fn in_mode(mut self, mode: Mode) -> FakeJudge {
        self.mode = mode;
        self
    }

    /// Makes all remembered decisions stale.
    pub fn reload(&self) {
        self.generation.fetch_add(1, Ordering::Relaxed);
    }

    /// How often it was asked.
    #[must_use]
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Judge for FakeJudge {
    fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }

    fn decide(&self, case: &Case<'_>) -> Decision {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let verdict = (self.rule)(case);
        let denied = verdict == Verdict::Deny;
        Decision {
            verdict,
            mode: self.mode,
            resource: case.destination.to_string().into(),
            rule: denied.then(|| "test".into()),
            message: denied.then(|| "denied by the test".into()),
            hold: (verdict == Verdict::Hold).then(|| Arc::new(crate::approver::terms())),
            masks: self.masks.clone(),
            answers: self.answers,
            stable: true,
        }
    }

    fn terms(&self, _: &str, _: &Destination) -> Arc<LinkTerms> {
        Arc::clone(&self.terms)
    }
}
