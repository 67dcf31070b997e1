//! The meaning of a policy: which verdict its rules give. Pure, and the order of rules never matters.
use crate::condition::{Conditions, Outcome};
use crate::maskbook;
use crate::place::{Place, Reach, Spot, To, View};
use crate::policy::Policy;
use crate::rule::Rule;
use crate::rule_set::RuleSet;
use crate::rulebook::Meeting;
use gateway_core::ports::Case;
use gateway_core::{
    Attribute, DATAGRAMS, Effect, HoldTerms, Object, Principal, Subject, Timestamp, Verb, Verdict,
};
use std::sync::Arc;

/// Everything that a verdict depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question<'a> {
    pub(crate) subject: &'a Subject,
    pub(crate) place: Place<'a>,
    pub(crate) to: To<'a>,
    /// Empty before it is known.
    pub(crate) protocol: &'a str,
    pub(crate) verb: Verb,
    pub(crate) effects: &'a [Effect],
    pub(crate) statement: &'a str,
    pub(crate) attributes: &'a [(Arc<str>, Attribute)],
    /// When it is decided. `None`: nobody has said so, and a condition that asks fails.
    pub(crate) now: Option<Timestamp>,
}

/// A verdict, and where it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ruling {
    pub(crate) verdict: Verdict,
    pub(crate) cause: Cause,
    /// The rules that hold it, when the verdict is hold.
    pub(crate) holds: RuleSet,
    /// The rules whose masks are put on the answer.
    pub(crate) masking: RuleSet,
    /// The rules that keep the answer.
    pub(crate) keeping: RuleSet,
    /// It is the ruling about the next operation of this session and shape too.
    pub(crate) stable: bool,
}

/// Where a verdict comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The rule of this number.
    Rule(u16),
    /// The condition of the rule of this number could not be evaluated.
    Condition(u16),
    /// The resource of this number is for another protocol.
    Protocol(Option<u16>),
    /// No rule covers all of it.
    Default,
    /// It could not be classified, and no rule names `unknown`.
    Unnamed,
}

impl Ruling {
    const fn new(verdict: Verdict, cause: Cause) -> Ruling {
        Ruling {
            verdict,
            cause,
            holds: RuleSet::EMPTY,
            masking: RuleSet::EMPTY,
            keeping: RuleSet::EMPTY,
            stable: true,
        }
    }

    /// About nothing.
    pub(crate) const NOTHING: Ruling = Ruling::deny(Cause::Default);

    const fn deny(cause: Cause) -> Ruling {
        Ruling::new(Verdict::Deny, cause)
    }

    /// Is it a denial only because nothing allows it?
    fn is_open(&self) -> bool {
        self.verdict == Verdict::Deny && matches!(self.cause, Cause::Default | Cause::Unnamed)
    }

    /// The ruling by one more name of a destination: what restricts it by any of them counts, and
    /// each whole view has to allow it.
    pub(crate) fn together(all: Option<Ruling>, other: Ruling, is_whole: bool) -> Ruling {
        match all {
            Some(all) => all.and(other, is_whole),
            None => other,
        }
    }

    fn and(self, other: Ruling, is_whole: bool) -> Ruling {
        let denies = other.verdict == Verdict::Deny && (is_whole || !other.is_open());
        let says_more = self.verdict != Verdict::Deny || (self.is_open() && !other.is_open());
        let (verdict, cause) = match denies && says_more {
            true => (Verdict::Deny, other.cause),
            false => (self.verdict, self.cause),
        };
        Ruling {
            verdict,
            cause,
            holds: self.holds.or(&other.holds),
            masking: self.masking.or(&other.masking),
            keeping: self.keeping.or(&other.keeping),
            stable: self.stable && other.stable,
        }
    }

    /// What is not denied is held, when any rule does.
    pub(crate) fn settled(self) -> Ruling {
        match (self.verdict, self.holds.iter().next()) {
            (Verdict::Deny, _) => Ruling {
                holds: RuleSet::EMPTY,
                ..self
            },
            (_, Some(first)) => Ruling {
                verdict: Verdict::Hold,
                cause: Cause::Rule(first),
                ..self
            },
            (_, None) => self,
        }
    }
}

impl<'a> Question<'a> {
    /// A case about a destination, by one of its names.
    pub(crate) fn of_case(
        case: &Case<'a>,
        spot: &'a Spot<'_>,
        view: &'a View<'_>,
        now: Timestamp,
    ) -> Question<'a> {
        Question {
            subject: case.subject,
            place: spot.place(view),
            to: To {
                ip: Some(spot.ip),
                port: Some(case.destination.port),
                host: Some(view.host.unwrap_or_default()),
            },
            protocol: case.operation.protocol,
            verb: case.operation.verb,
            effects: case.operation.effects,
            statement: case.operation.statement,
            attributes: case.operation.attributes,
            now: Some(now),
        }
    }

    /// A connection is opened, before anybody can know what will be spoken on it.
    fn is_opening(&self) -> bool {
        let mut effects = self.effects.iter();
        self.protocol.is_empty() && effects.all(|effect| effect.verb == Verb::Connect)
    }

    /// Can masks be put on what is answered?
    pub(crate) fn can_be_masked(&self) -> bool {
        self.is_opening() || maskbook::PROTOCOLS.contains(&self.protocol)
    }

    /// The principal, then those who can only narrow what it may do.
    pub(crate) fn principals(&self) -> impl Iterator<Item = &'a Principal> {
        std::iter::once(&self.subject.principal).chain(&self.subject.delegates)
    }
}

impl Policy {
    /// The ruling about a destination, by all of its names. Whatever the mode.
    pub(crate) fn rule_on(&self, case: &Case<'_>, spot: &Spot<'_>, now: Timestamp) -> Ruling {
        let mut all = None;
        for (spot, view) in spot.views() {
            let question = Question::of_case(case, spot, view, now);
            let name = self.name_at(question.place);
            let ruling = self.judge(&question, &mut Conditions::new(&question, name));
            all = Some(Ruling::together(all, ruling, view.is_whole));
        }
        all.unwrap_or(Ruling::NOTHING).settled()
    }

    /// The verdict of the rules on a question, before what holds it has settled it.
    ///
    /// Any denying rule that catches any effect for anyone decides. Then any condition that fails,
    /// of a rule that would have a say, denies. Otherwise each effect must be allowed for everyone,
    /// be left to the default, or be what a holding rule speaks of.
    pub(crate) fn judge(&self, question: &Question<'_>, conditions: &mut Conditions<'_>) -> Ruling {
        let reach = self.reach(question.place);
        let of_anyone = self.speaking_of_anyone(question, &reach.all);
        let ruling = match self.is_spoken_there(question) {
            true => self.weigh(question, &reach, &of_anyone, conditions),
            false => Ruling::deny(Cause::Protocol(question.place.resource())),
        };
        Ruling {
            masking: self.meeting(&self.rules.masking, question, &of_anyone, conditions),
            keeping: self.meeting(&self.rules.keeping, question, &of_anyone, conditions),
            stable: self.is_stable(question, &of_anyone),
            ..ruling
        }
    }

    /// The rules that keep the answer, where nobody asks for the verdict; and whether they are
    /// those of the next operation of this session and shape too.
    pub(crate) fn keeping(
        &self,
        case: &Case<'_>,
        spot: &Spot<'_>,
        now: Timestamp,
    ) -> (RuleSet, bool) {
        let (mut keeping, mut stable) = (RuleSet::EMPTY, true);
        if self.rules.keeping.rules.is_empty() {
            return (keeping, stable);
        }
        for (spot, view) in spot.views() {
            let question = Question::of_case(case, spot, view, now);
            let name = self.name_at(question.place);
            let of_anyone = self.speaking_of_anyone(&question, &self.reach(question.place).all);
            let mut conditions = Conditions::new(&question, name);
            let met = self.meeting(&self.rules.keeping, &question, &of_anyone, &mut conditions);
            keeping = keeping.or(&met);
            stable &= self.is_stable(&question, &of_anyone);
        }
        (keeping, stable)
    }

    /// The rules among these that speak of the principal or of a delegate.
    fn speaking_of_anyone(&self, question: &Question<'_>, rules: &RuleSet) -> RuleSet {
        let speaking = question.principals().map(|who| self.rules.speaking_of(who));
        speaking
            .fold(RuleSet::EMPTY, |set, of| set.or(&of))
            .and(rules)
    }

    /// Could no rule that speaks of this have come to something else at another time, or for
    /// another statement of the same shape?
    fn is_stable(&self, question: &Question<'_>, of_anyone: &RuleSet) -> bool {
        let unstable = of_anyone.and(&self.rules.unstable);
        let verbs = || self.rules.with_verbs_of(question.effects);
        unstable.is_empty() || unstable.and(&verbs()).is_empty()
    }

    fn weigh(
        &self,
        question: &Question<'_>,
        reach: &Reach,
        of_anyone: &RuleSet,
        conditions: &mut Conditions<'_>,
    ) -> Ruling {
        if let Some(cause) = self.denial(question, of_anyone, conditions) {
            return Ruling::deny(cause);
        }
        if question.effects.is_empty() {
            // Nothing said about an operation is nothing known about it.
            return Ruling::deny(Cause::Default);
        }
        let unmet = match self.unmet(question, of_anyone, conditions) {
            Ok(unmet) => unmet,
            Err(failed) => return Ruling::deny(Cause::Condition(failed)),
        };
        let holds = self.holding(question, &of_anyone.without(&unmet));
        let mut open = self.rules.allowances.or(&holds).without(&unmet);
        if !question.can_be_masked() {
            // What they allow is an answer that is masked.
            open = open.without(&self.rules.masking.rules);
        }
        let (verdict, cause) = match self.allowed(question, &reach.here.and(&open), &holds) {
            Ok(rule) => (Verdict::Allow, rule.map_or(Cause::Default, Cause::Rule)),
            Err(cause) => (Verdict::Deny, cause),
        };
        Ruling {
            holds,
            ..Ruling::new(verdict, cause)
        }
    }

    /// A resource may say what must be spoken there. A connection is opened before that is known.
    pub(crate) fn is_spoken_there(&self, question: &Question<'_>) -> bool {
        // What nobody understands, and nobody expects, passes nowhere.
        let unsaid = question.protocol != DATAGRAMS;
        let Some(index) = question.place.resource() else {
            return unsaid;
        };
        let Some(resource) = self.catalogue.get(index) else {
            return false;
        };
        let Some(protocol) = &resource.protocol else {
            return unsaid;
        };
        **protocol == *question.protocol || question.is_opening()
    }

    /// Is every effect allowed for everyone by these rules? The answer is the one that does for the
    /// principal.
    fn allowed(
        &self,
        question: &Question<'_>,
        rules: &RuleSet,
        holds: &RuleSet,
    ) -> Result<Option<u16>, Cause> {
        let of = |who| self.rules.speaking_of(who).and(rules);
        let cause = self.allowance(question, &of(&question.subject.principal), holds)?;
        for delegate in &question.subject.delegates {
            self.allowance(question, &of(delegate), holds)?;
        }
        Ok(cause)
    }

    /// Why an operation is denied by a rule: the first denying one, in the order of rules, that
    /// catches any effect for anyone; else the first of them whose condition fails.
    fn denial(
        &self,
        question: &Question<'_>,
        of_anyone: &RuleSet,
        conditions: &mut Conditions<'_>,
    ) -> Option<Cause> {
        let denials = of_anyone.and(&self.rules.denials);
        let mut failed = None;
        for (number, rule) in self.rules.of(&denials) {
            if !question.effects.iter().any(|effect| rule.catches(effect)) {
                continue;
            }
            match rule.outcome(conditions) {
                Outcome::Met => return Some(Cause::Rule(number)),
                Outcome::Unmet => {}
                Outcome::Failed(_) => failed = failed.or(Some(Cause::Condition(number))),
            }
        }
        failed
    }

    /// The allowing and holding rules whose condition does not hold. All that would have a say
    /// are evaluated, so that the order of rules cannot matter.
    ///
    /// # Errors
    /// The first of them, in the order of rules, whose condition fails.
    fn unmet(
        &self,
        question: &Question<'_>,
        of_anyone: &RuleSet,
        conditions: &mut Conditions<'_>,
    ) -> Result<RuleSet, u16> {
        let mut unmet = RuleSet::EMPTY;
        let candidates = of_anyone.and(&self.rules.conditional);
        for (number, rule) in self.rules.of(&candidates.without(&self.rules.denials)) {
            if !question.effects.iter().any(|effect| rule.has_a_say(effect)) {
                continue;
            }
            match rule.outcome(conditions) {
                Outcome::Met => {}
                Outcome::Unmet => unmet.insert(number),
                Outcome::Failed(_) => return Err(number),
            }
        }
        Ok(unmet)
    }

    /// The holding rules among these that catch any effect.
    fn holding(&self, question: &Question<'_>, rules: &RuleSet) -> RuleSet {
        let holds = rules.and(&self.rules.holds);
        self.rules
            .of(&holds)
            .filter(|(_, rule)| question.effects.iter().any(|effect| rule.catches(effect)))
            .map(|(number, _)| number)
            .collect()
    }

    /// The rules among these that have a say about the answer: whatever else is decided, all that
    /// could speak of any effect. Where a condition fails nobody knows, so it counts as met.
    fn meeting(
        &self,
        about_answers: &Meeting,
        question: &Question<'_>,
        rules: &RuleSet,
        conditions: &mut Conditions<'_>,
    ) -> RuleSet {
        if about_answers.rules.is_empty() {
            return RuleSet::EMPTY;
        }
        let mut met = RuleSet::EMPTY;
        for effect in question.effects {
            met = met.or(&rules.and(&self.rules.meeting_named(about_answers, effect)));
        }
        let unresolved = |object: &Object| matches!(object, Object::Unresolved(_));
        let mut objects = question.effects.iter().flat_map(|effect| &effect.objects);
        if objects.any(unresolved) {
            let rest = rules.and(&about_answers.rules).without(&met);
            for (number, rule) in self.rules.of(&rest) {
                if question.effects.iter().any(|effect| rule.meets(effect)) {
                    met.insert(number);
                }
            }
        }
        let conditional = met.and(&self.rules.conditional);
        let unmet: RuleSet = self
            .rules
            .of(&conditional)
            .filter(|(_, rule)| rule.outcome(conditions) == Outcome::Unmet)
            .map(|(number, _)| number)
            .collect();
        met.without(&unmet)
    }

    /// Is every effect allowed by these rules, or left to a default that allows? The answer is the
    /// rule that allows the effect which names the operation, of several the first.
    fn allowance(
        &self,
        question: &Question<'_>,
        rules: &RuleSet,
        holds: &RuleSet,
    ) -> Result<Option<u16>, Cause> {
        let mut first: Option<u16> = None;
        for effect in question.effects {
            let rules = rules.and(self.rules.with_verb(effect.verb));
            match self.coverage(effect, &rules, holds) {
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
    /// is open. A rule that holds covers what it catches, and nothing else.
    fn coverage(&self, effect: &Effect, rules: &RuleSet, holds: &RuleSet) -> Option<u16> {
        let cover = |object: Option<&Object>| {
            let mut rules = self.rules.of(rules);
            rules
                .find(|(number, rule)| {
                    rule.covers(effect.verb, object)
                        && (!holds.contains(*number) || rule.catches(effect))
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

    /// The terms of all rules that hold an operation.
    pub(crate) fn terms(&self, holds: &RuleSet) -> Option<Arc<HoldTerms>> {
        let rules = self.rules.of(holds);
        crate::hold::together(rules.filter_map(|(_, rule)| rule.hold.as_ref()))
    }
}

impl Rule {
    /// What its condition comes to; a rule without one always has its say.
    pub(crate) fn outcome(&self, conditions: &mut Conditions<'_>) -> Outcome {
        match &self.when {
            None => Outcome::Met,
            Some(condition) => conditions.outcome(self.condition, condition),
        }
    }

    /// Would an allowing or a holding rule have a say in the effect, if its condition holds?
    pub(crate) fn has_a_say(&self, effect: &Effect) -> bool {
        match self.hold {
            // What becomes of the answer is a say, too.
            _ if self.is_about_answers() => self.meets(effect),
            Some(_) => self.catches(effect),
            None => self.covers_any(effect),
        }
    }
}
