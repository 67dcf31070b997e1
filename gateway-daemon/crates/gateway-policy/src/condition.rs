//! `when`: a condition in CEL, checked and compiled with the policy, evaluated with an operation.
//!
//! An expression cannot run for long: it is short and flat, its loops do not nest and run over
//! lists of [`facts::ENTRIES_MAX`] entries at most. One that fails all the same denies.
mod check;
mod facts;
mod plain;
mod vocabulary;

use crate::evaluate::Question;
use crate::rule_set::RuleSet;
use cel::common::types::CelBool;
use cel::{Context, Env, ExecutionError, IdedExpr, Program, Value};
use check::Fault;
use facts::{Facts, Pattern, Scope};
use plain::Plain;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock, OnceLock};

/// The longest condition, in bytes.
pub(crate) const WHEN_MAX: usize = 1024;
/// The parser descends for each bracket and each operator; a condition of [`WHEN_MAX`] bytes can
/// take several MiB of stack in a build without optimisation. Only what is touched is used.
const PARSER_STACK: usize = 64 * 1024 * 1024;

/// The standard functions of CEL, shared by all evaluations.
static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib()));

/// A condition, ready to be evaluated.
#[derive(Debug)]
pub(crate) struct Condition {
    /// As it was written.
    pub(crate) text: Arc<str>,
    expr: IdedExpr,
    patterns: Vec<Pattern>,
    /// The same without the library, where that can be.
    plain: Option<Plain>,
    /// Two operations of one session and one shape may differ in what it looks at.
    pub(crate) unstable: bool,
    /// It looks at the time.
    pub(crate) asks_time: bool,
    /// It looks at the name of the destination.
    pub(crate) asks_host: bool,
}

/// What is wrong with a condition.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mistake {
    /// The bytes of the text that are meant.
    pub(crate) span: Range<usize>,
    pub(crate) message: String,
    pub(crate) expected: String,
}

/// What a condition comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Met,
    Unmet,
    /// It could not be evaluated, or is neither true nor false; why.
    Failed(String),
}

impl Condition {
    /// Parses, checks and tries a condition.
    pub(crate) fn compile(text: &str) -> Result<Condition, Mistake> {
        let whole = |message: &str, expected: &str| Mistake {
            span: 0..text.len(),
            message: message.into(),
            expected: expected.into(),
        };
        if text.trim().is_empty() {
            return Err(whole("the condition is empty", "an expression in CEL"));
        }
        if text.len() > WHEN_MAX {
            return Err(whole("the condition is too long", "at most 1024 bytes"));
        }
        let condition = std::thread::scope(|scope| {
            let parser = std::thread::Builder::new().stack_size(PARSER_STACK);
            let parser = parser.spawn_scoped(scope, || parse(text));
            parser.ok().and_then(|parser| parser.join().ok())
        });
        let condition =
            condition.unwrap_or_else(|| Err(whole("the condition cannot be parsed", "CEL")))?;
        match condition.try_out() {
            Some(error) => Err(whole(&format!("the condition cannot work: {error}"), "CEL")),
            None => Ok(condition),
        }
    }

    /// Evaluates it once on an operation about which nothing is special. What fails there for
    /// want of a fact or by arithmetic may work elsewhere; a defect of the library will not.
    fn try_out(&self) -> Option<String> {
        let sample = Sample::new();
        let question = sample.question();
        let facts = Facts::new(&question, "sample");
        match catch_unwind(AssertUnwindSafe(|| self.resolve(&facts))) {
            Ok(Ok(_)) => None,
            Ok(Err(
                error @ (ExecutionError::NoSuchOverload(_)
                | ExecutionError::UnexpectedType { .. }
                | ExecutionError::InvalidArgumentCount { .. }
                | ExecutionError::NotSupportedAsMethod { .. }),
            )) => Some(error.to_string()),
            Ok(Err(_)) => None,
            Err(_) => Some("evaluating it panics".into()),
        }
    }

    fn evaluate(&self, facts: &Facts<'_>) -> Outcome {
        match catch_unwind(AssertUnwindSafe(|| self.resolve(facts))) {
            Ok(Ok(true)) => Outcome::Met,
            Ok(Ok(false)) => Outcome::Unmet,
            Ok(Err(error)) => Outcome::Failed(reason(&error)),
            Err(_) => Outcome::Failed("evaluating it panicked".into()),
        }
    }

    fn resolve(&self, facts: &Facts<'_>) -> Result<bool, ExecutionError> {
        let patterns = &self.patterns;
        let scope = Scope { facts, patterns };
        let mut context = Context::with_env(Arc::clone(&ENVIRONMENT));
        context.set_variable_resolver(&scope);
        let value = Value::resolve_val(&self.expr, &context)?;
        match value.downcast_ref::<CelBool>() {
            Some(value) => Ok(*value.inner()),
            None => Err(ExecutionError::UnexpectedType {
                got: value.get_type().name().to_owned(),
                want: "bool".to_owned(),
            }),
        }
    }
}

/// In a thread of its own, for its stack.
fn parse(text: &str) -> Result<Condition, Mistake> {
    let program = Program::compile(text).map_err(|errors| syntax(text, &errors))?;
    let mut expr = program.expression().clone();
    let checked = check::check(&mut expr).map_err(|fault| located(text, &program, fault))?;
    Ok(Condition {
        text: text.into(),
        plain: Plain::of(&expr, &checked.patterns),
        expr,
        patterns: checked.patterns,
        unstable: checked.unstable,
        asks_time: checked.asks_time,
        asks_host: checked.asks_host,
    })
}

/// Evaluates what asks for nothing; why it cannot be.
fn resolve_constant(expr: &IdedExpr) -> Result<(), String> {
    let context = Context::with_env(Arc::clone(&ENVIRONMENT));
    let resolved = catch_unwind(AssertUnwindSafe(|| {
        let value = Value::resolve_val(expr, &context);
        value.map(drop).map_err(|error| reason(&error))
    }));
    resolved.unwrap_or_else(|_| Err("evaluating it panics".into()))
}

/// The first mistake of the syntax; those behind it are mostly consequences.
fn syntax(text: &str, errors: &cel::ParseErrors) -> Mistake {
    let Some(error) = errors.errors.first() else {
        return Mistake {
            span: 0..text.len(),
            message: "the condition cannot be parsed".into(),
            expected: "an expression in CEL".into(),
        };
    };
    let (line, column) = error.pos;
    let line = usize::try_from(line).unwrap_or(1).max(1);
    let column = usize::try_from(column).unwrap_or(1).max(1);
    let mut start = 0;
    for part in text.split_inclusive('\n').take(line - 1) {
        start += part.len();
    }
    let rest = text.get(start..).unwrap_or_default();
    let at = rest.char_indices().nth(column - 1);
    start += at.map_or(rest.trim_end().len(), |(at, _)| at);
    let (message, expected) = match error.msg.split_once(" expecting ") {
        Some((message, expected)) => (message.to_owned(), one_line(expected)),
        None => (error.msg.clone(), "an expression in CEL".to_owned()),
    };
    let message = one_line(message.trim_start_matches("Syntax error: "));
    Mistake {
        span: start..(start + 1).min(text.len()),
        message: format!("the condition is not CEL: {message}"),
        expected,
    }
}

fn one_line(text: &str) -> String {
    let text: String = text.chars().take(200).collect();
    text.replace(|c: char| c.is_control(), " ")
}

fn located(text: &str, program: &Program, fault: Fault) -> Mistake {
    let place = program.source_info().offset_for(fault.id);
    // The parser counts characters, and the last one is meant too.
    let byte = |character: u32| {
        let at = text.char_indices().nth(character as usize);
        at.map_or(text.len(), |(at, _)| at)
    };
    let span = match place {
        Some((start, stop)) => byte(start)..byte(stop.max(start).saturating_add(1)),
        None => 0..text.len(),
    };
    Mistake {
        span,
        message: fault.message,
        expected: fault.expected,
    }
}

/// Why an evaluation failed, in words that hold for what our variables do.
fn reason(error: &ExecutionError) -> String {
    match error {
        ExecutionError::UndeclaredReference(path) => {
            format!("`{path}` is not known here, or is longer than a condition looks at")
        }
        ExecutionError::NoSuchKey(key) => format!("there is no {key:?}"),
        ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => {
            "division by zero".into()
        }
        ExecutionError::Overflow(..) => "a number is too large".into(),
        ExecutionError::IndexOutOfBounds(_) => "a list is not that long".into(),
        other => one_line(&other.to_string()),
    }
}

/// The conditions of one decision: what was evaluated, and what came out.
pub(crate) struct Conditions<'a> {
    question: &'a Question<'a>,
    resource: &'a str,
    facts: OnceLock<Facts<'a>>,
    met: RuleSet,
    unmet: RuleSet,
    failed: Vec<(u16, String)>,
}

impl<'a> Conditions<'a> {
    /// Of a question about a resource of this name. Nothing is evaluated yet.
    pub(crate) fn new(question: &'a Question<'a>, resource: &'a str) -> Conditions<'a> {
        Conditions {
            question,
            resource,
            facts: OnceLock::new(),
            met: RuleSet::EMPTY,
            unmet: RuleSet::EMPTY,
            failed: Vec::new(),
        }
    }

    /// What the condition of this number comes to; evaluated at most once.
    pub(crate) fn outcome(&mut self, number: u16, condition: &Condition) -> Outcome {
        if self.met.contains(number) {
            return Outcome::Met;
        }
        if self.unmet.contains(number) {
            return Outcome::Unmet;
        }
        if let Some((_, reason)) = self.failed.iter().find(|(failed, _)| *failed == number) {
            return Outcome::Failed(reason.clone());
        }
        let (question, resource) = (self.question, self.resource);
        let plain = condition.plain.as_ref();
        let outcome = match plain.and_then(|plain| plain.evaluate(question, resource)) {
            Some(true) => Outcome::Met,
            Some(false) => Outcome::Unmet,
            None => {
                let facts = self.facts.get_or_init(|| Facts::new(question, resource));
                condition.evaluate(facts)
            }
        };
        match &outcome {
            Outcome::Met => self.met.insert(number),
            Outcome::Unmet => self.unmet.insert(number),
            Outcome::Failed(reason) => self.failed.push((number, reason.clone())),
        }
        outcome
    }

    /// What is known about a condition without evaluating it.
    pub(crate) fn known(&self, number: u16) -> Option<Outcome> {
        let failed = || self.failed.iter().find(|(failed, _)| *failed == number);
        match (self.met.contains(number), self.unmet.contains(number)) {
            (true, _) => Some(Outcome::Met),
            (_, true) => Some(Outcome::Unmet),
            _ => failed().map(|(_, reason)| Outcome::Failed(reason.clone())),
        }
    }
}

impl std::fmt::Debug for Conditions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Conditions")
            .field("met", &self.met)
            .field("unmet", &self.unmet)
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}

/// An operation about which nothing is special.
struct Sample {
    subject: gateway_core::Subject,
    effects: Vec<gateway_core::Effect>,
    destination: gateway_core::Destination,
}

impl Sample {
    fn new() -> Sample {
        let process = gateway_core::Process {
            pid: 1000,
            start: 0,
            exe: "/usr/bin/sample".into(),
            argv: vec!["sample".into(), "--flag".into()],
            uid: 1000,
            cwd: Some("/srv".into()),
            cgroup: "system.slice/sample.service".into(),
            container: None,
            provenance: gateway_core::Provenance::Kernel,
            argv_cut: false,
            exited: false,
        };
        let principal = gateway_core::Principal {
            id: "local:sample".into(),
            assurance: gateway_core::Assurance::Kernel,
            groups: vec!["sample".into()],
        };
        Sample {
            subject: gateway_core::Subject {
                delegates: vec![principal.clone()],
                principal,
                lineage: gateway_core::Lineage {
                    tree: gateway_core::TreeId(1),
                    processes: vec![process.clone(), process],
                },
            },
            effects: vec![gateway_core::Effect {
                verb: gateway_core::Verb::Read,
                objects: vec![gateway_core::Object::Named("public.sample".into())],
            }],
            destination: gateway_core::Destination::from_address(([192, 0, 2, 1], 5432).into()),
        }
    }

    fn question(&self) -> Question<'_> {
        Question {
            subject: &self.subject,
            place: crate::place::Place::Unnamed("sample"),
            to: crate::place::To {
                ip: Some(self.destination.ip),
                port: Some(self.destination.port),
                host: Some(""),
            },
            protocol: "sample",
            verb: gateway_core::Verb::Read,
            effects: &self.effects,
            statement: "SELECT 1",
            attributes: &[],
            now: Some(gateway_core::Timestamp(1_700_000_000_000_000_000)),
        }
    }
}
