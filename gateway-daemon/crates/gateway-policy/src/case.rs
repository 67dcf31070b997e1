//! Runs the cases that a policy is proven by.
use crate::diagnostic::Location;
use crate::document::Asked;
use crate::evaluate::Question;
use crate::explain::{ConditionResult, Explanation};
use crate::place::Place;
use crate::policy::{CasePlace, Policy, PolicyCase};
use crate::set::PolicySet;
use gateway_core::{Attribute, Effect, Object, Verb, Verdict};
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// What a statement asks for, taken apart by its protocol.
#[derive(Clone, Debug, PartialEq)]
pub struct CaseOperation {
    /// The verb that people would name it by.
    pub verb: Verb,
    /// Everything it does. Empty is a denial.
    pub effects: Vec<Effect>,
    /// What the protocol adds.
    pub attributes: Vec<(Arc<str>, Attribute)>,
}

/// Takes a statement apart: `(protocol, statement)` to its operations in order, or why not.
pub type Interpret<'a> = dyn Fn(&str, &str) -> Result<Vec<CaseOperation>, String> + 'a;

/// How a case went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CaseResult {
    /// The policy.
    pub policy: Arc<str>,
    /// Where the case is written.
    #[serde(flatten)]
    pub location: Location,
    /// Who asks.
    pub principal: Arc<str>,
    /// Where.
    pub resource: String,
    /// What is asked: the statement, or the verb.
    pub asked: String,
    /// The verdict that the case wants.
    pub expected: Verdict,
    /// The rule that it wants it from.
    pub expected_rule: Option<String>,
    /// The masks that it wants covered, and no others.
    pub expected_masks: Option<Vec<String>>,
    /// The verdict that there is; `None` when the statement could not be taken apart.
    pub verdict: Option<Verdict>,
    /// The rules that give this verdict, by name.
    pub rules: Vec<Arc<str>>,
    /// The masks that the rules cover, in the order of their names.
    pub masks: Vec<Arc<str>>,
    /// The conditions that were evaluated, and what they came to.
    pub conditions: Vec<ConditionResult>,
    /// Did it go as the case wants?
    pub passed: bool,
    /// The verdict in one sentence, or why there is none.
    pub because: String,
}

impl fmt::Display for CaseResult {
    /// One line for people; the reason and the conditions only when it failed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CaseResult {
            location,
            principal,
            resource,
            asked,
            expected,
            ..
        } = self;
        let word = if self.passed { "ok" } else { "FAILED" };
        write!(
            f,
            "{location}: {word}: {principal} on {resource}: {asked}: "
        )?;
        if self.passed {
            return write!(f, "{expected}");
        }
        write!(f, "expected {expected}")?;
        if let Some(rule) = &self.expected_rule {
            write!(f, " by rule {rule:?}")?;
        }
        if let Some(masks) = &self.expected_masks {
            write!(f, " with {}", masked(masks))?;
        }
        match self.verdict {
            Some(verdict) => write!(f, ", got {verdict}: {}", self.because)?,
            None => write!(f, ": {}", self.because)?,
        }
        if self.expected_masks.is_some() && self.verdict.is_some() {
            write!(f, ", with {}", masked(&self.masks))?;
        }
        for condition in &self.conditions {
            write!(f, "; {condition}")?;
        }
        Ok(())
    }
}

/// `masks "a", "b"`
fn masked<T: fmt::Debug>(masks: &[T]) -> String {
    if masks.is_empty() {
        return "no masks".into();
    }
    let masks: Vec<String> = masks.iter().map(|mask| format!("{mask:?}")).collect();
    format!("masks {}", masks.join(", "))
}

/// Runs every case of every policy, in the order of policies and files.
#[must_use]
pub fn run_cases(set: &PolicySet, interpret: &Interpret<'_>) -> Vec<CaseResult> {
    set.policies()
        .flat_map(|policy| policy.run_cases(interpret))
        .collect()
}

impl Policy {
    /// Runs the policy's cases in the order of the file. The mode does not count: a case is about
    /// what the rules say.
    #[must_use]
    pub fn run_cases(&self, interpret: &Interpret<'_>) -> Vec<CaseResult> {
        self.cases
            .iter()
            .map(|case| self.run_case(case, interpret))
            .collect()
    }

    fn run_case(&self, case: &PolicyCase, interpret: &Interpret<'_>) -> CaseResult {
        let mut result = CaseResult {
            policy: Arc::clone(&self.name),
            location: case.location.clone(),
            principal: Arc::clone(&case.subject.principal.id),
            resource: case.resource.clone(),
            asked: String::new(),
            expected: case.verdict,
            expected_rule: case.rule.clone(),
            expected_masks: case.masks.clone(),
            verdict: None,
            rules: Vec::new(),
            masks: Vec::new(),
            conditions: Vec::new(),
            passed: false,
            because: String::new(),
        };
        let protocol = case.protocol.as_deref().unwrap_or_default();
        let operations = match &case.asked {
            Asked::Statement(statement) => {
                result.asked = crate::diagnostic::quoted(statement);
                interpret(protocol, statement)
            }
            Asked::Verb(verb, objects) => {
                result.asked = verb.to_string();
                Ok(vec![operation(*verb, objects, &case.attributes)])
            }
        };
        match operations {
            Err(reason) => result.because = format!("the statement cannot be read: {reason}"),
            Ok(operations) if operations.is_empty() => {
                result.because = "the statement holds no operation".into();
            }
            Ok(operations) => self.judge_case(case, protocol, &operations, &mut result),
        }
        result
    }

    /// All operations of a statement must be allowed for the statement to be; one that is held
    /// holds it, and one that is denied denies it.
    fn judge_case(
        &self,
        case: &PolicyCase,
        protocol: &str,
        operations: &[CaseOperation],
        result: &mut CaseResult,
    ) {
        let mut rules = BTreeSet::new();
        let mut masks = BTreeSet::new();
        for operation in operations {
            let explanation = self.explain_question(&Question {
                subject: &case.subject,
                to: case.to.to(),
                statement: match &case.asked {
                    Asked::Statement(statement) => statement,
                    Asked::Verb(..) => "",
                },
                attributes: &operation.attributes,
                now: case.time,
                place: match &case.place {
                    CasePlace::Named(index) => Place::Named(*index),
                    CasePlace::Unnamed(name) => Place::Unnamed(name),
                },
                protocol,
                verb: operation.verb,
                effects: &operation.effects,
            });
            result
                .conditions
                .extend(explanation.conditions.iter().cloned());
            let covered = explanation.masks.iter();
            let covered = covered.filter(|mask| !mask.rules.is_empty());
            masks.extend(covered.map(|mask| Arc::clone(&mask.mask)));
            let stricter = result.verdict.map(severity) < Some(severity(explanation.verdict));
            if stricter {
                rules.clear();
            }
            if stricter || result.verdict == Some(explanation.verdict) {
                rules.extend(deciding(&explanation));
            }
            if stricter {
                result.because = explanation.because;
                result.verdict = Some(explanation.verdict);
            }
        }
        let by_rule = match &case.rule {
            Some(rule) => rules.iter().any(|found| **found == **rule),
            None => true,
        };
        let as_wanted = match &case.masks {
            // Neither names a mask twice.
            Some(wanted) => {
                wanted.len() == masks.len() && wanted.iter().all(|mask| masks.contains(&**mask))
            }
            None => true,
        };
        result.passed = result.verdict == Some(case.verdict) && by_rule && as_wanted;
        result.masks = masks.into_iter().collect();
        result.rules = rules.into_iter().collect();
    }
}

/// Deny beats hold, and hold beats allow.
fn severity(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Allow => 0,
        Verdict::Hold => 1,
        _ => 2,
    }
}

/// The rules that give the verdict. Since their order does not matter, all of them do; where a
/// denial comes from elsewhere, none.
fn deciding(explanation: &Explanation) -> Vec<Arc<str>> {
    if explanation.verdict == Verdict::Deny && explanation.rule.is_none() {
        return Vec::new();
    }
    let matched = explanation
        .effects
        .iter()
        .flat_map(|effect| &effect.matched);
    let deciding = matched.filter(|matched| matched.verdict == explanation.verdict);
    deciding.map(|matched| Arc::clone(&matched.rule)).collect()
}

fn operation(
    verb: Verb,
    objects: &[String],
    attributes: &[(Arc<str>, Attribute)],
) -> CaseOperation {
    let objects = objects
        .iter()
        .map(|object| Object::Named(object.as_str().into()))
        .collect();
    CaseOperation {
        verb,
        effects: vec![Effect { verb, objects }],
        attributes: attributes.to_vec(),
    }
}
