//! The meaning of a policy: which verdict its rules give. Pure, and the order of rules never matters.
use crate::policy::Policy;
use crate::rule_set::RuleSet;
use gateway_core::ports::Case;
use gateway_core::{Effect, Object, Principal, Verb, Verdict};

/// Where an operation goes, as the policy names it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place<'a> {
    /// The number of a resource.
    Named(u16),
    /// `address:port`
    Unnamed(&'a str),
}

/// Everything that a verdict depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question<'a> {
    pub(crate) principal: &'a Principal,
    pub(crate) delegates: &'a [Principal],
    pub(crate) place: Place<'a>,
    /// Empty before it is known.
    pub(crate) protocol: &'a str,
    pub(crate) verb: Verb,
    pub(crate) effects: &'a [Effect],
}

/// A verdict, and where it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ruling {
    pub(crate) verdict: Verdict,
    pub(crate) cause: Cause,
}

/// Where a verdict comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The rule of this number.
    Rule(u16),
    /// The resource is for another protocol.
    Protocol,
    /// No rule covers all of it.
    Default,
    /// It could not be classified, and no rule names `unknown`.
    Unnamed,
}

impl Ruling {
    const fn deny(cause: Cause) -> Ruling {
        Ruling {
            verdict: Verdict::Deny,
            cause,
        }
    }
}

impl<'a> Question<'a> {
    pub(crate) fn of_case(case: &Case<'a>, place: Place<'a>) -> Question<'a> {
        Question {
            principal: &case.subject.principal,
            delegates: &case.subject.delegates,
            place,
            protocol: case.operation.protocol,
            verb: case.operation.verb,
            effects: case.operation.effects,
        }
    }

    /// The principal, then those who can only narrow what it may do.
    pub(crate) fn principals(&self) -> impl Iterator<Item = &'a Principal> {
        std::iter::once(self.principal).chain(self.delegates)
    }
}

impl Policy {
    /// The verdict of the rules, whatever the mode.
    ///
    /// Any denying rule that catches any effect for anyone decides. Otherwise each effect must be
    /// allowed for everyone, or be left to the default.
    pub(crate) fn judge(&self, question: &Question<'_>) -> Ruling {
        if !self.is_spoken_there(question) {
            return Ruling::deny(Cause::Protocol);
        }
        let here = self.reach(question.place);
        let of_principal = self.rules.speaking_of(question.principal).and(&here);
        if let Some(rule) = self.denial(question, &here, &of_principal) {
            return Ruling::deny(Cause::Rule(rule));
        }
        if question.effects.is_empty() {
            // Nothing said about an operation is nothing known about it.
            return Ruling::deny(Cause::Default);
        }
        let cause = match self.allowance(question, &of_principal) {
            Ok(rule) => rule.map_or(Cause::Default, Cause::Rule),
            Err(cause) => return Ruling::deny(cause),
        };
        for delegate in question.delegates {
            let of_delegate = self.rules.speaking_of(delegate).and(&here);
            if let Err(cause) = self.allowance(question, &of_delegate) {
                return Ruling::deny(cause);
            }
        }
        Ruling {
            verdict: Verdict::Allow,
            cause,
        }
    }

    /// A resource may say what must be spoken there. A connection is opened before that is known.
    pub(crate) fn is_spoken_there(&self, question: &Question<'_>) -> bool {
        let Place::Named(index) = question.place else {
            return true;
        };
        let Some(resource) = self.catalogue.get(index) else {
            return false;
        };
        let Some(protocol) = &resource.protocol else {
            return true;
        };
        let opening = question.protocol.is_empty()
            && question
                .effects
                .iter()
                .all(|effect| effect.verb == Verb::Connect);
        **protocol == *question.protocol || opening
    }

    /// The rules that apply at a place.
    pub(crate) fn reach(&self, place: Place<'_>) -> RuleSet {
        match place {
            Place::Named(index) => self.rules.at(index),
            Place::Unnamed(name) => self.rules.reaching(name),
        }
    }

    /// The first denying rule, in the order of rules, that catches any effect for anyone.
    fn denial(
        &self,
        question: &Question<'_>,
        here: &RuleSet,
        of_principal: &RuleSet,
    ) -> Option<u16> {
        let mut of_anyone = *of_principal;
        for delegate in question.delegates {
            of_anyone = of_anyone.or(&self.rules.speaking_of(delegate).and(here));
        }
        let denials = of_anyone.and(&self.rules.denials);
        self.rules
            .of(&denials)
            .find(|(_, rule)| question.effects.iter().any(|effect| rule.catches(effect)))
            .map(|(number, _)| number)
    }

    /// Is every effect allowed by these rules, or left to a default that allows? The answer is the
    /// rule that allows the effect which names the operation, of several the first.
    fn allowance(&self, question: &Question<'_>, rules: &RuleSet) -> Result<Option<u16>, Cause> {
        let allowances = rules.and(&self.rules.allowances);
        let mut first: Option<u16> = None;
        for effect in question.effects {
            match self.coverage(effect, &allowances.and(self.rules.with_verb(effect.verb))) {
                Some(rule) if effect.verb == question.verb => {
                    first = Some(first.map_or(rule, |first| first.min(rule)));
                }
                Some(_) => {}
                None if effect.verb == Verb::Unknown => return Err(Cause::Unnamed),
                None if self.allow_by_default => {}
                None => return Err(Cause::Default),
            }
        }
        Ok(first)
    }

    /// The first of the rules that takes part in covering all of an effect; `None` if part of it
    /// is open.
    fn coverage(&self, effect: &Effect, allowances: &RuleSet) -> Option<u16> {
        let cover = |object: Option<&Object>| {
            let mut rules = self.rules.of(allowances);
            rules
                .find(|(_, rule)| rule.covers(effect.verb, object))
                .map(|(number, _)| number)
        };
        if effect.objects.is_empty() {
            return cover(None);
        }
        let mut first = u16::MAX;
        for object in &effect.objects {
            first = first.min(cover(Some(object))?);
        }
        Some(first)
    }
}
