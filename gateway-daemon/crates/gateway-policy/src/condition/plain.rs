//! Most conditions compare variables with constants, and join that by `&&`, `||` and `!`. These are
//! evaluated here, without making values for the library: tens of nanoseconds in the place of
//! hundreds.
//!
//! It never differs from the library. What is not plain is not taken, and a variable that is not
//! to be had leaves the whole condition to the library, errors and all.
use super::facts::{ENTRIES_MAX, PATTERN_PREFIX, Pattern, STATEMENT_MAX};
use super::vocabulary::STATEMENT;
use crate::evaluate::Question;
use cel::IdedExpr;
use cel::common::ast::{CallExpr, Expr, LiteralValue, operators};
use gateway_core::Process;
use std::cmp::Ordering;

/// A plain condition.
#[derive(Debug)]
pub(super) enum Plain {
    Constant(bool),
    Not(Box<Plain>),
    And(Box<Plain>, Box<Plain>),
    Or(Box<Plain>, Box<Plain>),
    Number(Number, Comparison, i64),
    Same(Text, Box<str>),
    Begins(Text, Box<str>),
    Ends(Text, Box<str>),
    Holds(Text, Box<str>),
    Matches(Text, regex::Regex),
    Lists(Texts, Box<str>),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Number {
    Depth,
    Port,
    Pid(Which),
    Uid(Which),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Text {
    Principal,
    Assurance,
    Protocol,
    Verb,
    Statement,
    Resource,
    Exe(Which),
    Cwd(Which),
    Cgroup(Which),
    Container(Which),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Texts {
    Groups,
    Verbs,
    Objects,
    Argv(Which),
}

/// The process that acts, or the root.
#[derive(Clone, Copy, Debug)]
pub(super) enum Which {
    Acting,
    Root,
}

impl Plain {
    /// A checked expression as a plain condition; `None` when it is more than that.
    pub(super) fn of(node: &IdedExpr, patterns: &[Pattern]) -> Option<Plain> {
        match &node.expr {
            Expr::Literal(LiteralValue::Boolean(value)) => Some(Plain::Constant(*value.inner())),
            Expr::Call(call) => match &call.target {
                None => of_operator(call, patterns),
                Some(target) => of_method(target, call),
            },
            _ => None,
        }
    }

    /// Does it hold? `None`: something that it asks for is not to be had.
    pub(super) fn evaluate(&self, question: &Question<'_>, resource: &str) -> Option<bool> {
        let text = |text: Text| text.of(question, resource);
        Some(match self {
            Plain::Constant(value) => *value,
            Plain::Not(inner) => !inner.evaluate(question, resource)?,
            Plain::And(left, right) => {
                left.evaluate(question, resource)? && right.evaluate(question, resource)?
            }
            Plain::Or(left, right) => {
                left.evaluate(question, resource)? || right.evaluate(question, resource)?
            }
            Plain::Number(number, comparison, constant) => {
                comparison.accepts(number.of(question)?.cmp(constant))
            }
            Plain::Same(variable, constant) => text(*variable)? == &**constant,
            Plain::Begins(variable, constant) => text(*variable)?.starts_with(&**constant),
            Plain::Ends(variable, constant) => text(*variable)?.ends_with(&**constant),
            Plain::Holds(variable, constant) => text(*variable)?.contains(&**constant),
            Plain::Matches(variable, regex) => regex.is_match(text(*variable)?),
            Plain::Lists(variable, constant) => variable.contain(question, constant)?,
        })
    }
}

fn of_operator(call: &CallExpr, patterns: &[Pattern]) -> Option<Plain> {
    let plain = |node| Plain::of(node, patterns).map(Box::new);
    match (call.func_name.as_str(), call.args.as_slice()) {
        (operators::LOGICAL_NOT, [inner]) => Some(Plain::Not(plain(inner)?)),
        (operators::LOGICAL_AND, [left, right]) => Some(Plain::And(plain(left)?, plain(right)?)),
        (operators::LOGICAL_OR, [left, right]) => Some(Plain::Or(plain(left)?, plain(right)?)),
        (operators::IN, [item, list]) => of_membership(item, list, patterns),
        (operator, [left, right]) => of_comparison(Comparison::named(operator)?, left, right),
        _ => None,
    }
}

fn of_membership(item: &IdedExpr, list: &IdedExpr, patterns: &[Pattern]) -> Option<Plain> {
    let Expr::Ident(name) = &list.expr else {
        return None;
    };
    if let Some(number) = name.strip_prefix(PATTERN_PREFIX) {
        let pattern = patterns.get(number.parse::<usize>().ok()?)?;
        return Some(Plain::Matches(Text::named(item)?, pattern.0.clone()));
    }
    Some(Plain::Lists(Texts::named(name)?, string(item)?.into()))
}

fn of_comparison(comparison: Comparison, left: &IdedExpr, right: &IdedExpr) -> Option<Plain> {
    if let (Some(number), Some(constant)) = (Number::named(left), integer(right)) {
        return Some(Plain::Number(number, comparison, constant));
    }
    if let (Some(constant), Some(number)) = (integer(left), Number::named(right)) {
        return Some(Plain::Number(number, comparison.turned(), constant));
    }
    let text = |variable, constant| Some((Text::named(variable)?, string(constant)?));
    let (variable, constant) = text(left, right).or_else(|| text(right, left))?;
    let same = Plain::Same(variable, constant.into());
    match comparison {
        Comparison::Equal => Some(same),
        Comparison::NotEqual => Some(Plain::Not(Box::new(same))),
        _ => None,
    }
}

fn of_method(target: &IdedExpr, call: &CallExpr) -> Option<Plain> {
    let make = match call.func_name.as_str() {
        "startsWith" => Plain::Begins,
        "endsWith" => Plain::Ends,
        "contains" => Plain::Holds,
        _ => return None,
    };
    let [constant] = call.args.as_slice() else {
        return None;
    };
    Some(make(Text::named(target)?, string(constant)?.into()))
}

fn string(node: &IdedExpr) -> Option<&str> {
    match &node.expr {
        Expr::Literal(LiteralValue::String(text)) => Some(text.inner()),
        _ => None,
    }
}

/// A whole number, also one that is put together from others.
fn integer(node: &IdedExpr) -> Option<i64> {
    match &node.expr {
        Expr::Literal(LiteralValue::Int(number)) => Some(*number.inner()),
        Expr::Call(call) if call.target.is_none() => {
            match (call.func_name.as_str(), call.args.as_slice()) {
                (operators::NEGATE, [inner]) => integer(inner)?.checked_neg(),
                (operators::ADD, [left, right]) => integer(left)?.checked_add(integer(right)?),
                (operators::SUBSTRACT, [left, right]) => {
                    integer(left)?.checked_sub(integer(right)?)
                }
                _ => None,
            }
        }
        _ => None,
    }
}

impl Comparison {
    fn named(operator: &str) -> Option<Comparison> {
        Some(match operator {
            operators::EQUALS => Comparison::Equal,
            operators::NOT_EQUALS => Comparison::NotEqual,
            operators::LESS => Comparison::Less,
            operators::LESS_EQUALS => Comparison::LessOrEqual,
            operators::GREATER => Comparison::Greater,
            operators::GREATER_EQUALS => Comparison::GreaterOrEqual,
            _ => return None,
        })
    }

    /// The same with its sides exchanged.
    const fn turned(self) -> Comparison {
        match self {
            Comparison::Less => Comparison::Greater,
            Comparison::LessOrEqual => Comparison::GreaterOrEqual,
            Comparison::Greater => Comparison::Less,
            Comparison::GreaterOrEqual => Comparison::LessOrEqual,
            Comparison::Equal | Comparison::NotEqual => self,
        }
    }

    fn accepts(self, ordering: Ordering) -> bool {
        match self {
            Comparison::Equal => ordering.is_eq(),
            Comparison::NotEqual => ordering.is_ne(),
            Comparison::Less => ordering.is_lt(),
            Comparison::LessOrEqual => ordering.is_le(),
            Comparison::Greater => ordering.is_gt(),
            Comparison::GreaterOrEqual => ordering.is_ge(),
        }
    }
}

fn variable(node: &IdedExpr) -> Option<&str> {
    match &node.expr {
        Expr::Ident(name) => Some(name),
        _ => None,
    }
}

/// The field of a process that a variable names, and of which.
fn field(name: &str) -> Option<(Which, &str)> {
    match name.strip_prefix("lineage.root.") {
        Some(field) => Some((Which::Root, field)),
        None => Some((Which::Acting, name.strip_prefix("process.")?)),
    }
}

impl Which {
    fn of<'a>(self, question: &Question<'a>) -> Option<&'a Process> {
        match self {
            Which::Acting => question.subject.lineage.process(),
            Which::Root => question.subject.lineage.root(),
        }
    }
}

impl Number {
    fn named(node: &IdedExpr) -> Option<Number> {
        Some(match variable(node)? {
            "lineage.depth" => Number::Depth,
            "resource.port" => Number::Port,
            name => match field(name)? {
                (which, "pid") => Number::Pid(which),
                (which, "uid") => Number::Uid(which),
                _ => return None,
            },
        })
    }

    fn of(self, question: &Question<'_>) -> Option<i64> {
        match self {
            Number::Depth => i64::try_from(question.subject.lineage.depth()).ok(),
            Number::Port => question.to.port.map(i64::from),
            Number::Pid(which) => Some(i64::from(which.of(question)?.pid)),
            Number::Uid(which) => Some(i64::from(which.of(question)?.uid)),
        }
    }
}

impl Text {
    fn named(node: &IdedExpr) -> Option<Text> {
        Some(match variable(node)? {
            "principal.id" => Text::Principal,
            "principal.assurance" => Text::Assurance,
            "operation.protocol" => Text::Protocol,
            "operation.verb" => Text::Verb,
            STATEMENT => Text::Statement,
            "resource.name" => Text::Resource,
            name => match field(name)? {
                (which, "exe") => Text::Exe(which),
                (which, "cwd") => Text::Cwd(which),
                (which, "cgroup") => Text::Cgroup(which),
                (which, "container") => Text::Container(which),
                _ => return None,
            },
        })
    }

    fn of<'a>(self, question: &Question<'a>, resource: &'a str) -> Option<&'a str> {
        let principal = &question.subject.principal;
        let optional = |text: &'a Option<std::sync::Arc<str>>| text.as_deref().unwrap_or_default();
        Some(match self {
            Text::Principal => &principal.id,
            Text::Assurance => principal.assurance.name(),
            Text::Protocol => question.protocol,
            Text::Verb => question.verb.name(),
            Text::Statement => {
                (question.statement.len() <= STATEMENT_MAX).then_some(question.statement)?
            }
            Text::Resource => resource,
            Text::Exe(which) => &which.of(question)?.exe,
            Text::Cwd(which) => optional(&which.of(question)?.cwd),
            Text::Cgroup(which) => &which.of(question)?.cgroup,
            Text::Container(which) => optional(&which.of(question)?.container),
        })
    }
}

impl Texts {
    fn named(name: &str) -> Option<Texts> {
        Some(match name {
            "principal.groups" => Texts::Groups,
            "operation.verbs" => Texts::Verbs,
            "operation.objects" => Texts::Objects,
            name => match field(name)? {
                (which, "argv") => Texts::Argv(which),
                _ => return None,
            },
        })
    }

    /// Is this text one of them? `None` when there are more than a condition looks at.
    fn contain(self, question: &Question<'_>, wanted: &str) -> Option<bool> {
        let among = |texts: &[std::sync::Arc<str>]| {
            let found = texts.iter().any(|text| **text == *wanted);
            (texts.len() <= ENTRIES_MAX).then_some(found)
        };
        match self {
            Texts::Groups => among(&question.subject.principal.groups),
            Texts::Verbs => {
                let mut effects = question.effects.iter();
                Some(effects.any(|effect| effect.verb.name() == wanted))
            }
            Texts::Objects => {
                let objects = question.effects.iter().flat_map(|effect| &effect.objects);
                let mut found = false;
                for (number, object) in objects.enumerate() {
                    if number == ENTRIES_MAX {
                        return None;
                    }
                    found |= *object.name() == *wanted;
                }
                Some(found)
            }
            Texts::Argv(which) => {
                let process = which.of(question)?;
                if process.argv_cut {
                    return None;
                }
                among(&process.argv)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Condition, Outcome, Sample};
    use super::*;
    use crate::condition::facts::Facts;
    use proptest::prelude::*;
    use std::sync::Arc;

    /// Conditions that are plain.
    const PLAIN: &[&str] = &[
        "true && !false",
        "lineage.depth > 1 + 1 || lineage.depth == -1 - -2",
        "2 < lineage.depth && 3 >= lineage.depth && lineage.depth != 2",
        "process.uid == 0 || lineage.root.uid <= 1 || process.pid < 3",
        "resource.port == 5432 && resource.name != 'a'",
        "principal.id == 'a' || 'b' == principal.id",
        "principal.assurance == 'verified' && operation.protocol == 'sample'",
        "operation.verb == 'read' || 'write' in operation.verbs",
        "'a' in principal.groups || !('b' in process.argv)",
        "'a' in operation.objects && !('b' in lineage.root.argv)",
        "process.exe.startsWith('a') || process.cwd.endsWith('b')",
        "lineage.root.cgroup.contains('ab') || process.container == ''",
        "operation.statement.matches('^a+b?$') || process.exe.matches('b$')",
        "lineage.root.exe == 'a' && lineage.root.cwd == 'b' && lineage.root.container == 'a'",
        "process.cgroup.startsWith('a') && operation.statement.contains('b')",
    ];

    /// And some that are not, which the library evaluates.
    const MORE: &[&str] = &[
        "lineage.depth * 2 > 3",
        "lineage.depth > process.uid",
        "size(principal.groups) > 1",
        "lineage.processes.exists(p, p.exe == 'a')",
        "process.exe < 'b'",
        "lineage.depth in [1, 2]",
        "9223372036854775807 + 1 > lineage.depth || true",
        "operation.attributes['x'] == true",
        "process.exe == 'a' ? true : false",
    ];

    #[test]
    fn what_is_plain_is_known() {
        for text in PLAIN {
            let condition = Condition::compile(text).unwrap();
            assert!(condition.plain.is_some(), "{text}");
        }
        for text in MORE {
            if let Ok(condition) = Condition::compile(text) {
                assert!(condition.plain.is_none(), "{text}");
            }
        }
    }

    fn word() -> impl Strategy<Value = Arc<str>> {
        "[ab]{0,3}".prop_map(Arc::from)
    }

    fn words() -> impl Strategy<Value = Vec<Arc<str>>> {
        prop_oneof![
            9 => prop::collection::vec(word(), 0..4),
            1 => prop::collection::vec(word(), ENTRIES_MAX..ENTRIES_MAX + 2),
        ]
    }

    fn process() -> impl Strategy<Value = Process> {
        let texts = (
            word(),
            words(),
            word(),
            prop::option::of(word()),
            prop::option::of(word()),
        );
        (texts, 0_u32..4, 0_u32..4, any::<bool>()).prop_map(
            |((exe, argv, cgroup, cwd, container), pid, uid, argv_cut)| Process {
                pid,
                start: 0,
                exe,
                argv,
                uid,
                cwd,
                cgroup,
                container,
                provenance: gateway_core::Provenance::Kernel,
                argv_cut,
                exited: false,
            },
        )
    }

    proptest! {
        /// Here and in the library the same conditions hold, and what fails there is left to it.
        #[test]
        fn it_says_what_the_library_says(
            processes in prop::collection::vec(process(), 0..4),
            groups in words(),
            objects in words(),
            id in word(),
            resource in word(),
            statement in prop_oneof![Just("a".repeat(STATEMENT_MAX + 1)), "[ab]{0,4}"],
            host in any::<bool>(),
        ) {
            let mut sample = Sample::new();
            sample.subject.lineage.processes = processes;
            sample.subject.principal.groups = groups;
            sample.subject.principal.id = id;
            sample.effects[0].objects = objects.iter().map(|name| gateway_core::Object::Named(Arc::clone(name))).collect();
            let mut question = sample.question();
            question.statement = &statement;
            if !host {
                question.to = crate::place::To::default();
            }
            for text in PLAIN {
                let condition = Condition::compile(text).unwrap();
                let plain = condition.plain.as_ref().unwrap().evaluate(&question, &resource);
                let whole = condition.evaluate(&Facts::new(&question, &resource));
                match plain {
                    Some(true) => prop_assert_eq!(whole, Outcome::Met, "{}", text),
                    Some(false) => prop_assert_eq!(whole, Outcome::Unmet, "{}", text),
                    // It may hold all the same: `unknown || true`.
                    None => {}
                }
            }
        }
    }
}
