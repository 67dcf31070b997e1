//! The meaning of a policy: which verdict its rules give. Pure, and the order of rules never matters.
use crate::document::TABLES_MAX;
use crate::policy::{Candidates, Policy};
use crate::rule::Rule;
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
        if let Some(rule) = self.denial(question) {
            return Ruling::deny(Cause::Rule(rule));
        }
        if question.effects.is_empty() {
            // Nothing said about an operation is nothing known about it.
            return Ruling::deny(Cause::Default);
        }
        let mut cause = Cause::Default;
        for (number, principal) in question.principals().enumerate() {
            let mut speakers = Speakers::new(principal);
            for effect in question.effects {
                match self.coverage(question, effect, &mut speakers) {
                    Some(rule) if number == 0 && effect.verb == question.verb => {
                        // Of several, the first in the order of names, as with denials.
                        cause = match cause {
                            Cause::Rule(other) => Cause::Rule(rule.min(other)),
                            _ => Cause::Rule(rule),
                        };
                    }
                    Some(_) => {}
                    None if effect.verb == Verb::Unknown => return Ruling::deny(Cause::Unnamed),
                    None if self.allow_by_default => {}
                    None => return Ruling::deny(Cause::Default),
                }
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

    /// The rules that can apply at a place.
    pub(crate) fn candidates(&self, place: Place<'_>) -> &Candidates {
        match place {
            // Every resource has an entry. If one had not, only patterns would be asked.
            Place::Named(index) => self.named.get(usize::from(index)).unwrap_or(&self.unnamed),
            Place::Unnamed(_) => &self.unnamed,
        }
    }

    /// The numbers are of this policy, so each has its rule.
    pub(crate) fn rules_of<'p>(
        &'p self,
        numbers: &'p [u16],
        place: Place<'p>,
    ) -> impl Iterator<Item = (u16, &'p Rule)> {
        numbers
            .iter()
            .filter_map(|number| Some((*number, self.rules.get(usize::from(*number))?)))
            .filter(move |(_, rule)| match place {
                Place::Named(_) => true,
                Place::Unnamed(name) => rule.reaches(name),
            })
    }

    /// The first denying rule in the order of rules that catches anything.
    fn denial(&self, question: &Question<'_>) -> Option<u16> {
        let numbers = &self.candidates(question.place).deny;
        self.rules_of(numbers, question.place)
            .find(|(_, rule)| {
                question.effects.iter().any(|effect| rule.catches(effect))
                    && question
                        .principals()
                        .any(|principal| rule.speaks_of(principal))
            })
            .map(|(number, _)| number)
    }

    /// The first rule that takes part in covering all of an effect; `None` if part of it is open.
    fn coverage(
        &self,
        question: &Question<'_>,
        effect: &Effect,
        speakers: &mut Speakers<'_>,
    ) -> Option<u16> {
        let numbers = &self.candidates(question.place).allow;
        let mut cover = |object: Option<&Object>| {
            self.rules_of(numbers, question.place)
                .find(|(number, rule)| {
                    rule.covers(effect.verb, object) && speakers.has(*number, rule)
                })
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

/// Which rules speak of one principal. Remembered, since an operation can have many objects and a
/// principal many groups.
struct Speakers<'a> {
    principal: &'a Principal,
    asked: [u64; WORDS],
    speak: [u64; WORDS],
}

const WORDS: usize = TABLES_MAX.div_ceil(64);

impl<'a> Speakers<'a> {
    fn new(principal: &'a Principal) -> Speakers<'a> {
        Speakers {
            principal,
            asked: [0; WORDS],
            speak: [0; WORDS],
        }
    }

    fn has(&mut self, number: u16, rule: &Rule) -> bool {
        let (word, bit) = (usize::from(number / 64), 1u64 << (number % 64));
        let (Some(asked), Some(speak)) = (self.asked.get_mut(word), self.speak.get_mut(word))
        else {
            return rule.speaks_of(self.principal);
        };
        if *asked & bit == 0 {
            *asked |= bit;
            if rule.speaks_of(self.principal) {
                *speak |= bit;
            }
        }
        *speak & bit != 0
    }
}
