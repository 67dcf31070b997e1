//! Why a verdict is what it is: every rule that matched, effect by effect.
use crate::evaluate::{Cause, Place, Question};
use crate::policy::Policy;
use crate::rule::Rule;
use gateway_core::ports::Case;
use gateway_core::{Effect, Mode, Verb, Verdict};
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
    /// The verdict of the rules.
    pub verdict: Verdict,
    /// The rule that a record would name.
    pub rule: Option<Arc<str>>,
    /// The verdict in one sentence.
    pub because: String,
    /// Each effect, for each principal.
    pub effects: Vec<ExplainedEffect>,
}

/// One effect, seen for one principal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExplainedEffect {
    /// The principal, or a delegate.
    pub principal: Arc<str>,
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
    /// Explains what [`Policy::decide`] says about a case.
    #[must_use]
    pub fn explain(&self, case: &Case<'_>) -> Explanation {
        let name = self.resource_name(case.destination);
        let place = match self.catalogue.find(case.destination) {
            Some(index) => Place::Named(index),
            None => Place::Unnamed(&name),
        };
        self.explain_question(&Question::of_case(case, place))
    }

    pub(crate) fn explain_question(&self, question: &Question<'_>) -> Explanation {
        let ruling = self.judge(question);
        let resource: Arc<str> = match question.place {
            Place::Unnamed(name) => name.into(),
            Place::Named(index) => self
                .catalogue
                .get(index)
                .map_or("".into(), |resource| Arc::clone(&resource.name)),
        };
        let mut effects = Vec::new();
        for principal in question.principals() {
            for effect in question.effects {
                effects.push(self.explain_effect(question, principal, effect));
            }
        }
        let rule = match ruling.cause {
            Cause::Rule(number) => self.rules.get(number).map(|rule| Arc::clone(&rule.name)),
            _ => None,
        };
        let because = self.because(
            question,
            ruling.cause,
            ruling.verdict,
            rule.as_deref(),
            &effects,
        );
        let (policy, mode, verdict) = (Arc::clone(&self.name), self.mode, ruling.verdict);
        Explanation {
            policy,
            mode,
            resource,
            verdict,
            rule,
            because,
            effects,
        }
    }

    fn because(
        &self,
        question: &Question<'_>,
        cause: Cause,
        verdict: Verdict,
        rule: Option<&str>,
        effects: &[ExplainedEffect],
    ) -> String {
        match cause {
            Cause::Rule(_) => format!("rule {:?} says {verdict}", rule.unwrap_or_default()),
            Cause::Protocol => {
                let resource = match question.place {
                    Place::Named(index) => self.catalogue.get(index),
                    Place::Unnamed(_) => None,
                };
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
    ) -> ExplainedEffect {
        let rules = self
            .rules
            .speaking_of(principal)
            .and(&self.reach(question.place));
        let mut matched = Vec::new();
        for (_, rule) in self.rules.of(&rules.and(&self.rules.denials)) {
            if rule.catches(effect) {
                let objects = touched(rule, effect);
                matched.push(MatchedRule {
                    rule: Arc::clone(&rule.name),
                    verdict: Verdict::Deny,
                    objects,
                });
            }
        }
        let mut covered = vec![false; effect.objects.len()];
        let mut open = true;
        for (_, rule) in self.rules.of(&rules.and(&self.rules.allowances)) {
            let mut objects = Vec::new();
            for (object, covered) in effect.objects.iter().zip(&mut covered) {
                if rule.covers(effect.verb, Some(object)) {
                    *covered = true;
                    objects.push(object.to_string());
                }
            }
            let whole = effect.objects.is_empty() && rule.covers(effect.verb, None);
            if whole || !objects.is_empty() {
                open &= !whole;
                matched.push(MatchedRule {
                    rule: Arc::clone(&rule.name),
                    verdict: Verdict::Allow,
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
        let (principal, verb) = (Arc::clone(&principal.id), effect.verb);
        ExplainedEffect {
            principal,
            verb,
            objects,
            matched,
            uncovered,
            open,
        }
    }
}

/// The objects for which a denying rule catches the effect.
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
        write!(f, " for {}", self.principal)
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} on {}: {}", self.verdict, self.resource, self.because)?;
        writeln!(f, "policy {} (mode {})", self.policy, self.mode)?;
        for effect in &self.effects {
            let (verb, principal) = (effect.verb, &effect.principal);
            writeln!(
                f,
                "  {verb} [{}] for {principal}",
                effect.objects.join(", ")
            )?;
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
