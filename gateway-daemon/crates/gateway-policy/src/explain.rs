//! Why a verdict is what it is: every rule that matched, effect by effect.
use crate::condition::{Conditions, Outcome};
use crate::evaluate::{Cause, Question, Ruling};
use crate::maskbook::Maskbook;
use crate::place::Spot;
use crate::policy::Policy;
use crate::rule::Rule;
use crate::rule_set::RuleSet;
use gateway_core::ports::Case;
use gateway_core::{Effect, HoldTerms, Mode, Timestamp, Verb, Verdict};
use serde::Serialize;
use std::fmt;
use std::sync::Arc;

/// A verdict with everything that led to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The policy that was asked.
    pub policy: Arc<str>,
    /// How it is applied. The verdict here is that of the rules, whatever the mode.
    pub mode: Mode,
    /// The resource, as rules see it.
    pub resource: Arc<str>,
    /// Other resources that the destination has by its names: each has to allow it too.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub other_resources: Vec<Arc<str>>,
    /// The verdict of the rules.
    pub verdict: Verdict,
    /// The rule that a record would name.
    pub rule: Option<Arc<str>>,
    /// The verdict in one sentence.
    pub because: String,
    /// The masks of the policy, in the order of their names.
    pub masks: Vec<ExplainedMask>,
    /// How much of the answer is kept, should there be one. `None`: nothing.
    pub answers: Option<ExplainedAnswers>,
    /// Who is asked, when the verdict is hold.
    pub hold: Option<Arc<HoldTerms>>,
    /// The conditions that were evaluated, in the order of rules. A rule whose condition is not
    /// true is not among those that matched; one whose condition fails denies.
    pub conditions: Vec<ConditionResult>,
    /// Each effect, for each principal, by each name of the destination that counts.
    pub effects: Vec<ExplainedEffect>,
}

/// A mask, as it concerns an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExplainedMask {
    /// Its name.
    pub mask: Arc<str>,
    /// What it calls sensitive is covered. Otherwise it is returned, and that is recorded. Modes
    /// that refuse nothing cover nothing.
    pub covered: bool,
    /// The rules that put it on, whatever the mode.
    pub rules: Vec<Arc<str>>,
}

/// How much of an answer is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExplainedAnswers {
    /// The most that a rule says, in bytes.
    pub bytes: u32,
    /// The rules that keep some of it.
    pub rules: Vec<Arc<str>>,
}

/// What a rule's condition came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConditionResult {
    /// The rule.
    pub rule: Arc<str>,
    /// Its condition as it is written.
    pub when: Arc<str>,
    /// `true`, `false`, or why it could not be evaluated.
    pub result: String,
}

/// One effect, seen for one principal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExplainedEffect {
    /// The principal, or a delegate.
    pub principal: Arc<str>,
    /// The resource, and the name by which the destination is looked at, when several count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<Arc<str>>,
    /// What is done.
    pub verb: Verb,
    /// To what.
    pub objects: Vec<String>,
    /// The rules that matched, in the order of their names.
    pub matched: Vec<MatchedRule>,
    /// Objects that no allowing rule covers. For an effect without objects: empty.
    pub uncovered: Vec<String>,
    /// No allowing rule covers the effect, or all of its objects.
    pub open: bool,
}

/// A rule that has a say in an effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MatchedRule {
    /// Its name.
    pub rule: Arc<str>,
    /// What it says.
    pub verdict: Verdict,
    /// The objects that it covers or catches.
    pub objects: Vec<String>,
}

impl Policy {
    /// Explains what [`Policy::decide`] says about a case at this time.
    #[must_use]
    pub fn explain(&self, case: &Case<'_>, now: Timestamp) -> Explanation {
        let spot = self.spot(case.destination);
        let several = spot.views().count() > 1;
        let mut told = Told::default();
        for (part, view) in spot.views() {
            let question = Question::of_case(case, part, view, now);
            let place = several.then(|| self.label(part, &question));
            self.tell(&mut told, &question, place, view.is_whole);
        }
        let question = Question::of_case(case, &spot, spot.first(), now);
        Explanation {
            other_resources: self.rivals(&spot).into_iter().skip(1).collect(),
            ..self.explanation(told, &question)
        }
    }

    /// The same of a question about one place.
    pub(crate) fn explain_question(&self, question: &Question<'_>) -> Explanation {
        let mut told = Told::default();
        self.tell(&mut told, question, None, true);
        self.explanation(told, question)
    }

    /// `dbs as orders.db.internal`
    fn label(&self, spot: &Spot<'_>, question: &Question<'_>) -> Arc<str> {
        let name = self.name_at(question.place);
        match question.to.host {
            Some(host) if !host.is_empty() => format!("{name} as {host}").into(),
            _ => Arc::clone(&spot.name),
        }
    }

    /// Judges by one more name.
    fn tell(
        &self,
        told: &mut Told,
        question: &Question<'_>,
        place: Option<Arc<str>>,
        is_whole: bool,
    ) {
        let mut conditions = Conditions::new(question, self.name_at(question.place));
        let ruling = self.judge(question, &mut conditions);
        told.ruling = Some(Ruling::together(told.ruling, ruling, is_whole));
        for principal in question.principals() {
            for effect in question.effects {
                let explained = self.explain_effect(question, principal, effect, &conditions);
                let uncovered = match is_whole {
                    true => explained.uncovered,
                    false => Vec::new(),
                };
                told.effects.push(ExplainedEffect {
                    place: place.clone(),
                    open: explained.open && is_whole,
                    uncovered,
                    ..explained
                });
            }
        }
        for result in self.results(&conditions) {
            if !told.conditions.contains(&result) {
                told.conditions.push(result);
            }
        }
    }

    fn explanation(&self, told: Told, question: &Question<'_>) -> Explanation {
        let ruling = told.ruling.unwrap_or(Ruling::NOTHING).settled();
        let rule = match ruling.cause {
            Cause::Rule(number) | Cause::Condition(number) => {
                self.rules.get(number).map(|rule| Arc::clone(&rule.name))
            }
            _ => None,
        };
        let because = self.because(question, &ruling, rule.as_deref(), &told.effects);
        Explanation {
            policy: Arc::clone(&self.name),
            mode: self.mode,
            resource: self.name_at(question.place).into(),
            other_resources: Vec::new(),
            verdict: ruling.verdict,
            rule,
            because,
            masks: self.explain_masks(&ruling.masking),
            answers: self.explain_answers(&ruling.keeping),
            hold: self.terms(&ruling.holds),
            conditions: told.conditions,
            effects: told.effects,
        }
    }

    /// A rule that would have a say, if what is answered could be masked.
    fn unmaskable(&self, question: &Question<'_>, ruling: &Ruling) -> Option<&str> {
        if question.can_be_masked() {
            return None;
        }
        let (_, rule) = self.rules.of(&ruling.masking).next()?;
        Some(&rule.name)
    }

    fn explain_masks(&self, masking: &RuleSet) -> Vec<ExplainedMask> {
        let names = self.masks.iter().flat_map(Maskbook::names);
        names
            .map(|(number, mask)| {
                let rules = self.rules.of(masking);
                let rules: Vec<Arc<str>> = rules
                    .filter(|(_, rule)| rule.masks.contains(&number))
                    .map(|(_, rule)| Arc::clone(&rule.name))
                    .collect();
                ExplainedMask {
                    mask: Arc::clone(mask),
                    covered: !rules.is_empty() && self.mode == Mode::Enforce,
                    rules,
                }
            })
            .collect()
    }

    fn explain_answers(&self, keeping: &RuleSet) -> Option<ExplainedAnswers> {
        let rules = self.rules.of(keeping);
        let rules: Vec<Arc<str>> = rules.map(|(_, rule)| Arc::clone(&rule.name)).collect();
        let bytes = self.rules.answers_of(keeping);
        (!rules.is_empty()).then_some(ExplainedAnswers { bytes, rules })
    }

    /// What is known about the conditions of all rules.
    fn results(&self, conditions: &Conditions<'_>) -> Vec<ConditionResult> {
        let rules = self.rules.of(&self.rules.conditional);
        rules
            .filter_map(|(_, rule)| {
                let result = match conditions.known(rule.condition)? {
                    Outcome::Met => "true".into(),
                    Outcome::Unmet => "false".into(),
                    Outcome::Failed(reason) => reason,
                };
                Some(ConditionResult {
                    rule: Arc::clone(&rule.name),
                    when: Arc::clone(&rule.when.as_ref()?.text),
                    result,
                })
            })
            .collect()
    }

    fn because(
        &self,
        question: &Question<'_>,
        ruling: &Ruling,
        rule: Option<&str>,
        effects: &[ExplainedEffect],
    ) -> String {
        let verdict = ruling.verdict;
        let by_default = matches!(ruling.cause, Cause::Default | Cause::Unnamed);
        if by_default
            && verdict == Verdict::Deny
            && let Some(rule) = self.unmaskable(question, ruling)
        {
            let protocol = question.protocol;
            return format!("rule {rule:?} has masks, and {protocol:?} cannot be masked");
        }
        match ruling.cause {
            Cause::Rule(_) => format!("rule {:?} says {verdict}", rule.unwrap_or_default()),
            Cause::Condition(_) => {
                format!(
                    "the condition of rule {:?} failed",
                    rule.unwrap_or_default()
                )
            }
            Cause::Protocol(index) => {
                let resource = index.and_then(|index| self.catalogue.get(index));
                let expected = resource.and_then(|resource| resource.protocol.as_deref());
                let (expected, spoken) = (expected.unwrap_or("another one"), question.protocol);
                format!("the protocol must be {expected}, and it is {spoken:?}")
            }
            Cause::Unnamed => "it could not be classified, and no rule names \"unknown\"".into(),
            Cause::Default if question.effects.is_empty() => {
                "it says nothing about what it does".into()
            }
            Cause::Default if verdict == Verdict::Allow => "the policy's default is allow".into(),
            Cause::Default => match effects.iter().find(|effect| effect.open) {
                Some(effect) => format!("no rule allows {effect}"),
                None => "no rule allows it".into(),
            },
        }
    }

    fn explain_effect(
        &self,
        question: &Question<'_>,
        principal: &gateway_core::Principal,
        effect: &Effect,
        conditions: &Conditions<'_>,
    ) -> ExplainedEffect {
        let reach = self.reach(question.place);
        let rules = self.rules.speaking_of(principal).and(&reach.all);
        let mut matched = Vec::new();
        let mut covered = vec![false; effect.objects.len()];
        let mut open = true;
        let denials = rules.and(&self.rules.denials);
        for (number, rule) in self
            .rules
            .of(&denials)
            .chain(self.rules.of(&rules.without(&denials)))
        {
            let outcome = rule.known(conditions);
            if outcome == Some(Outcome::Unmet) {
                continue;
            }
            let failed = matches!(outcome, Some(Outcome::Failed(_)));
            let verdict = match (self.rules.verdict(number), failed) {
                (_, true) => Verdict::Deny,
                (verdict, false) => verdict,
            };
            let covers =
                reach.here.contains(number) && (rule.masks.is_empty() || question.can_be_masked());
            let mut objects = Vec::new();
            let mut whole = false;
            let speaks = verdict == Verdict::Allow || rule.catches(effect);
            if verdict != Verdict::Deny && covers && speaks {
                for (object, covered) in effect.objects.iter().zip(&mut covered) {
                    if rule.covers(effect.verb, Some(object)) {
                        *covered = true;
                        objects.push(object.to_string());
                    }
                }
                whole = effect.objects.is_empty() && rule.covers(effect.verb, None);
                open &= !whole;
            }
            let catches = match verdict {
                Verdict::Deny if failed => rule.has_a_say(effect),
                Verdict::Deny | Verdict::Hold => rule.catches(effect),
                _ => false,
            };
            if catches {
                objects = touched(rule, effect);
            }
            if catches || whole || !objects.is_empty() {
                matched.push(MatchedRule {
                    rule: Arc::clone(&rule.name),
                    verdict,
                    objects,
                });
            }
        }
        let uncovered: Vec<String> = effect
            .objects
            .iter()
            .zip(&covered)
            .filter(|(_, covered)| !**covered)
            .map(|(object, _)| object.to_string())
            .collect();
        if !effect.objects.is_empty() {
            open = !uncovered.is_empty();
        }
        let objects = effect.objects.iter().map(ToString::to_string).collect();
        ExplainedEffect {
            principal: Arc::clone(&principal.id),
            place: None,
            verb: effect.verb,
            objects,
            matched,
            uncovered,
            open,
        }
    }
}

/// What was told so far, by some of the names of a destination.
#[derive(Default)]
struct Told {
    ruling: Option<Ruling>,
    effects: Vec<ExplainedEffect>,
    conditions: Vec<ConditionResult>,
}

impl Rule {
    fn known(&self, conditions: &Conditions<'_>) -> Option<Outcome> {
        let condition = self.when.as_ref().map(|_| self.condition);
        condition.and_then(|number| conditions.known(number))
    }
}

/// The objects for which a denying or holding rule catches the effect.
fn touched(rule: &Rule, effect: &Effect) -> Vec<String> {
    let alone = |object: &gateway_core::Object| {
        rule.catches(&Effect {
            verb: effect.verb,
            objects: vec![object.clone()],
        })
    };
    effect
        .objects
        .iter()
        .filter(|object| alone(object))
        .map(ToString::to_string)
        .collect()
}

impl fmt::Display for ExplainedMask {
    /// `mask "personal-data" is put on by rule "people read"`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.rules.is_empty() {
            return write!(f, "mask {:?} is only watched", self.mask);
        }
        let rules: Vec<String> = self.rules.iter().map(|rule| format!("{rule:?}")).collect();
        let rules = rules.join(", ");
        write!(f, "mask {:?} is put on by rule {rules}", self.mask)?;
        if !self.covered {
            f.write_str(", and covers nothing in this mode")?;
        }
        Ok(())
    }
}

impl fmt::Display for ExplainedAnswers {
    /// `65536 bytes of the answer are kept by rule "people read"`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rules: Vec<String> = self.rules.iter().map(|rule| format!("{rule:?}")).collect();
        let (bytes, rules) = (self.bytes, rules.join(", "));
        write!(f, "{bytes} bytes of the answer are kept by rule {rules}")
    }
}

impl fmt::Display for ConditionResult {
    /// `when lineage.depth > 2 (rule "agents"): true`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A condition can be written on several lines.
        let when: Vec<&str> = self.when.split_whitespace().collect();
        let when = when.join(" ");
        write!(f, "when {when} (rule {:?}): {}", self.rule, self.result)
    }
}

impl fmt::Display for ExplainedEffect {
    /// `write on public.users for local:alice`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let objects = if self.uncovered.is_empty() {
            &self.objects
        } else {
            &self.uncovered
        };
        self.verb.fmt(f)?;
        if !objects.is_empty() {
            write!(f, " on {}", objects.join(", "))?;
        }
        write!(f, " for {}", self.principal)?;
        match &self.place {
            Some(place) => write!(f, " at {place}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} on {}: {}", self.verdict, self.resource, self.because)?;
        writeln!(f, "policy {} (mode {})", self.policy, self.mode)?;
        if !self.other_resources.is_empty() {
            let others = self.other_resources.join(", ");
            writeln!(
                f,
                "  it belongs to {others} too, each of which has to allow it"
            )?;
        }
        if let Some(terms) = &self.hold {
            for rule in &terms.rules {
                let approvers = rule.approvers.join(", ");
                writeln!(f, "  rule {:?} asks {approvers}", rule.rule)?;
            }
        }
        for mask in &self.masks {
            writeln!(f, "  {mask}")?;
        }
        if let Some(answers) = &self.answers {
            writeln!(f, "  {answers}")?;
        }
        for condition in &self.conditions {
            writeln!(f, "  {condition}")?;
        }
        for effect in &self.effects {
            let (verb, principal) = (effect.verb, &effect.principal);
            write!(
                f,
                "  {verb} [{}] for {principal}",
                effect.objects.join(", ")
            )?;
            match &effect.place {
                Some(place) => writeln!(f, " at {place}")?,
                None => writeln!(f)?,
            }
            for matched in &effect.matched {
                let objects = matched.objects.join(", ");
                writeln!(
                    f,
                    "    {:<5} rule {:?} [{objects}]",
                    matched.verdict, matched.rule
                )?;
            }
            if !effect.uncovered.is_empty() {
                writeln!(
                    f,
                    "    not covered by any rule: {}",
                    effect.uncovered.join(", ")
                )?;
            } else if effect.open {
                writeln!(f, "    no rule allows it")?;
            }
        }
        Ok(())
    }
}
