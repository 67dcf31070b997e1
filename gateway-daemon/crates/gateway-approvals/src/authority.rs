//! Who may answer. Every answer passes here, and every use of an earlier one.
use crate::error::NotAllowed;
use gateway_core::ports::Question;
use gateway_core::{Assurance, HoldTerms, Principal, TreeId};
use std::fmt;
use std::sync::Arc;

/// Does one of these approver patterns (`group:dba`, `user:*@acme.com`) match this principal? The
/// policy language answers. It is called with a lock held: it must be quick, and not call back.
pub type Matches = Arc<dyn Fn(&[Arc<str>], &Principal) -> bool + Send + Sync>;

/// Are these two principals one person, by what the directory knows (`local:alice` and
/// `user:alice@acme.com`)? Called as [`Matches`] is. Principals of one id always are.
pub type SamePerson = Arc<dyn Fn(&Principal, &Principal) -> bool + Send + Sync>;

/// Whom the kernel says a tree is, whatever was presented in it since. Called as [`Matches`] is.
pub type Described = Arc<dyn Fn(TreeId) -> Option<Principal> + Send + Sync>;

/// Who answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// As whom they signed in, or whom the kernel says they are.
    pub principal: Principal,
    /// The governed tree that the calling process is in. `None` outside of every tree, and for
    /// who comes by the network.
    pub tree: Option<TreeId>,
}

/// Decides who may answer.
#[derive(Clone)]
pub struct Authority {
    /// Pattern against principal.
    pub matches: Matches,
    /// Principal against principal.
    pub same_person: SamePerson,
    /// A token that somebody presents does not hide from whose login their tree comes.
    pub described: Described,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl Authority {
    /// An authority for which two principals are one person only when their ids are equal.
    #[must_use]
    pub fn new(matches: Matches) -> Authority {
        Authority {
            matches,
            same_person: Arc::new(|_, _| false),
            described: Arc::new(|_| None),
        }
    }

    /// May they give this answer?
    ///
    /// # Errors
    /// They may not, and why.
    pub fn check(
        &self,
        caller: &Caller,
        approved: bool,
        question: &Question,
    ) -> Result<(), NotAllowed> {
        may_answer_at_all(caller)?;
        if self.is_own(&caller.principal, question) {
            // Taking one's own request back harms nobody.
            return if approved {
                Err(NotAllowed::OwnTree)
            } else {
                Ok(())
            };
        }
        self.satisfies(&caller.principal, &question.terms)
    }

    /// Would this principal, who approved something like it before, be allowed to approve it now?
    pub(crate) fn reaches(&self, approver: &Principal, question: &Question) -> bool {
        !self.is_own(approver, question) && self.satisfies(approver, &question.terms).is_ok()
    }

    fn is_own(&self, principal: &Principal, question: &Question) -> bool {
        let subject = &question.subject;
        let described = (self.described)(subject.lineage.tree);
        std::iter::once(&subject.principal)
            .chain(&subject.delegates)
            .chain(&described)
            .any(|theirs| theirs.id == principal.id || (self.same_person)(theirs, principal))
    }

    /// One of the approvers of every rule.
    fn satisfies(&self, principal: &Principal, terms: &HoldTerms) -> Result<(), NotAllowed> {
        if !can_be_satisfied(terms) {
            return Err(NotAllowed::NoApprovers);
        }
        let unsatisfied = terms
            .rules
            .iter()
            .find(|rule| !(self.matches)(&rule.approvers, principal));
        match unsatisfied {
            Some(rule) => Err(NotAllowed::NotAnApprover {
                rule: Arc::clone(&rule.rule),
            }),
            None => Ok(()),
        }
    }
}

/// Is there anybody who could answer? "Each of no rules" must not mean everybody.
pub(crate) fn can_be_satisfied(terms: &HoldTerms) -> bool {
    !terms.rules.is_empty() && terms.rules.iter().all(|rule| !rule.approvers.is_empty())
}

/// What can be said of a caller without looking at the question.
pub(crate) fn may_answer_at_all(caller: &Caller) -> Result<(), NotAllowed> {
    if caller.tree.is_some() {
        return Err(NotAllowed::Governed);
    }
    if caller.principal.assurance < Assurance::Kernel {
        return Err(NotAllowed::Unproven);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{authority, caller, principal, question};

    fn check(caller: &Caller, approved: bool, question: &Question) -> Result<(), NotAllowed> {
        authority().check(caller, approved, question)
    }

    #[test]
    fn an_approver_of_every_rule_may_approve_and_deny() {
        let question = question(1)
            .held_by("a", &["group:dba"])
            .held_by("b", &["user:eve"])
            .ask();
        let both = caller("user:eve", &["dba"]);
        assert_eq!(check(&both, true, &question), Ok(()));
        assert_eq!(check(&both, false, &question), Ok(()));
        for one in [caller("user:eve", &[]), caller("user:dan", &["dba"])] {
            for approved in [true, false] {
                assert!(matches!(
                    check(&one, approved, &question),
                    Err(NotAllowed::NotAnApprover { .. })
                ));
            }
        }
    }

    #[test]
    fn a_process_of_a_governed_tree_answers_nothing() {
        let question = question(1).held_by("a", &["*"]).ask();
        let mut inside = caller("local:root", &["dba"]);
        // Any tree: not only the one that asks.
        inside.tree = Some(TreeId(99));
        for approved in [true, false] {
            assert_eq!(
                check(&inside, approved, &question),
                Err(NotAllowed::Governed)
            );
        }
    }

    #[test]
    fn nobody_approves_for_a_tree_of_their_own() {
        let question = question(1)
            .by("user:alice")
            .through("user:bob")
            .held_by("a", &["*"])
            .ask();
        for own in ["user:alice", "user:bob"] {
            assert_eq!(
                check(&caller(own, &[]), true, &question),
                Err(NotAllowed::OwnTree)
            );
            assert_eq!(check(&caller(own, &[]), false, &question), Ok(()));
        }
        assert_eq!(check(&caller("user:carol", &[]), true, &question), Ok(()));
    }

    #[test]
    fn one_person_by_two_names_is_still_one_person() {
        let mut authority = authority();
        authority.same_person =
            Arc::new(|a, b| &*a.id == "local:alice" && &*b.id == "user:alice@acme.com");
        let question = question(1).by("local:alice").held_by("a", &["*"]).ask();
        let caller = caller("user:alice@acme.com", &[]);
        assert_eq!(
            authority.check(&caller, true, &question),
            Err(NotAllowed::OwnTree)
        );
    }

    #[test]
    fn a_token_does_not_hide_whose_login_it_is() {
        let mut authority = authority();
        authority.described =
            Arc::new(|tree| (tree == TreeId(7)).then(|| principal("local:alice", &[])));
        authority.same_person =
            Arc::new(|a, b| &*a.id == "local:alice" && &*b.id == "user:alice@acme.com");
        let question = question(1)
            .by("ci:github:acme/api")
            .held_by("a", &["*"])
            .ask();
        for own in ["local:alice", "user:alice@acme.com"] {
            assert_eq!(
                authority.check(&caller(own, &[]), true, &question),
                Err(NotAllowed::OwnTree)
            );
            assert!(!authority.reaches(&principal(own, &[]), &question));
        }
        assert_eq!(
            authority.check(&caller("user:carol", &[]), true, &question),
            Ok(())
        );
    }

    #[test]
    fn whoever_only_says_who_they_are_answers_nothing() {
        let question = question(1).held_by("a", &["*"]).ask();
        for assurance in [Assurance::None, Assurance::Asserted] {
            let mut caller = caller("user:dan", &["dba"]);
            caller.principal.assurance = assurance;
            assert_eq!(
                check(&caller, true, &question),
                Err(NotAllowed::Unproven),
                "{assurance}"
            );
        }
    }

    #[test]
    fn rules_that_name_nobody_are_satisfied_by_nobody() {
        let none = question(1).ask();
        let empty = question(1).held_by("a", &["*"]).held_by("b", &[]).ask();
        let everything = Authority::new(Arc::new(|_, _| true));
        let eve = Caller {
            principal: principal("user:eve", &[]),
            tree: None,
        };
        for question in [none, empty] {
            assert_eq!(
                everything.check(&eve, true, &question),
                Err(NotAllowed::NoApprovers)
            );
        }
    }
}
