//! What is known about an operation, as the variables of conditions: looked up when an expression
//! asks, converted once, borrowed wherever it can be.
use super::vocabulary::STATEMENT;
use crate::evaluate::Question;
use cel::ExecutionError;
use cel::common::traits::{Container, Indexer};
use cel::common::types::{
    CelBool, CelInt, CelList, CelMap, CelMapKey, CelString, CelTimestamp, DYN_TYPE, Type,
};
use cel::common::value::{CowVal, Val};
use cel::context::VariableResolver;
use gateway_core::{Attribute, Principal, Process};
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

/// The most entries of a list that a condition looks at. One that is longer is not there at all:
/// the condition fails, which denies. Half a list would let a client hide behind the other half.
pub(crate) const ENTRIES_MAX: usize = 256;
/// The longest statement that a condition looks at, in bytes; beyond it the condition fails.
pub(crate) const STATEMENT_MAX: usize = 64 * 1024;

/// A value that is made when it is first asked for; `None` when it is not to be had.
type Lazy<T> = OnceLock<Option<T>>;

/// Everything a condition can ask about one operation.
pub(super) struct Facts<'a> {
    question: &'a Question<'a>,
    resource: CelString<'a>,
    id: CelString<'a>,
    assurance: CelString<'a>,
    protocol: CelString<'a>,
    verb: CelString<'a>,
    statement: CelString<'a>,
    host: CelString<'a>,
    depth: CelInt,
    port: CelInt,
    process: Option<ProcessFacts<'a>>,
    root: Option<ProcessFacts<'a>>,
    groups: Lazy<CelList<'a>>,
    delegates: Lazy<CelList<'a>>,
    processes: Lazy<CelList<'a>>,
    verbs: Lazy<CelList<'a>>,
    objects: Lazy<CelList<'a>>,
    attributes: Lazy<CelMap<'a>>,
    ip: Lazy<CelString<'a>>,
    time: Lazy<CelTimestamp>,
}

struct ProcessFacts<'a> {
    process: &'a Process,
    exe: CelString<'a>,
    cwd: CelString<'a>,
    cgroup: CelString<'a>,
    container: CelString<'a>,
    pid: CelInt,
    uid: CelInt,
    argv: Lazy<CelList<'a>>,
}

impl<'a> Facts<'a> {
    pub(super) fn new(question: &'a Question<'a>, resource: &'a str) -> Facts<'a> {
        let lineage = &question.subject.lineage;
        let (host, port) = (question.to.host, question.to.port);
        Facts {
            question,
            resource: text(resource),
            id: text(&question.subject.principal.id),
            assurance: text(question.subject.principal.assurance.name()),
            protocol: text(question.protocol),
            verb: text(question.verb.name()),
            statement: text(question.statement),
            host: text(host.unwrap_or_default()),
            depth: number(lineage.depth()),
            port: CelInt::from(port.map_or(0, i64::from)),
            process: lineage.process().map(ProcessFacts::new),
            root: lineage.root().map(ProcessFacts::new),
            groups: OnceLock::new(),
            delegates: OnceLock::new(),
            processes: OnceLock::new(),
            verbs: OnceLock::new(),
            objects: OnceLock::new(),
            attributes: OnceLock::new(),
            ip: OnceLock::new(),
            time: OnceLock::new(),
        }
    }

    /// The value behind a path of the vocabulary. `None`: it is not known, or too long.
    fn get(&self, path: &str) -> Option<&(dyn Val + '_)> {
        let question = self.question;
        let subject = question.subject;
        Some(match path {
            "principal.id" => &self.id,
            "principal.assurance" => &self.assurance,
            "principal.groups" => lazy(&self.groups, || texts(&subject.principal.groups))?,
            "delegates" => lazy(&self.delegates, || {
                list(subject.delegates.iter(), |one| {
                    Box::new(PrincipalValue(one))
                })
            })?,
            "lineage.depth" => &self.depth,
            "lineage.processes" => lazy(&self.processes, || {
                list(subject.lineage.processes.iter(), |one| {
                    Box::new(ProcessValue(one))
                })
            })?,
            "operation.protocol" => &self.protocol,
            "operation.verb" => &self.verb,
            "operation.verbs" => lazy(&self.verbs, || {
                let verbs: gateway_core::VerbSet =
                    question.effects.iter().map(|effect| effect.verb).collect();
                let verbs: Vec<_> = verbs.iter().collect();
                list(verbs.into_iter(), |verb| Box::new(text(verb.name())))
            })?,
            "operation.objects" => lazy(&self.objects, || self.objects())?,
            STATEMENT if question.statement.len() <= STATEMENT_MAX => &self.statement,
            "operation.attributes" => lazy(&self.attributes, || self.attributes())?,
            "resource.name" => &self.resource,
            "resource.host" if question.to.host.is_some() => &self.host,
            "resource.ip" => lazy(&self.ip, || {
                let ip = question.to.ip?.to_string();
                Some(CelString::from(ip))
            })?,
            "resource.port" if question.to.port.is_some() => &self.port,
            "time" => lazy(&self.time, || {
                let nanos = i64::try_from(question.now?.0).ok()?;
                let time = chrono::DateTime::from_timestamp_nanos(nanos);
                Some(CelTimestamp::from(time.fixed_offset()))
            })?,
            _ => {
                let (process, field) = match path.strip_prefix("lineage.root.") {
                    Some(field) => (&self.root, field),
                    None => (&self.process, path.strip_prefix("process.")?),
                };
                return process.as_ref()?.get(field);
            }
        })
    }

    fn objects(&self) -> Option<CelList<'a>> {
        let effects = self.question.effects.iter();
        let objects = effects.flat_map(|effect| &effect.objects);
        let objects: Vec<_> = objects.take(ENTRIES_MAX + 1).collect();
        list(objects.into_iter(), |object| Box::new(text(object.name())))
    }

    fn attributes(&self) -> Option<CelMap<'a>> {
        let attributes = self.question.attributes;
        if attributes.len() > ENTRIES_MAX {
            return None;
        }
        let mut map: HashMap<CelMapKey<'a>, Box<dyn Val + 'a>> = HashMap::new();
        for (name, value) in attributes {
            let value: Box<dyn Val + 'a> = match value {
                Attribute::Bool(value) => Box::new(CelBool::from(*value)),
                Attribute::Int(value) => Box::new(CelInt::from(*value)),
                Attribute::Text(value) => Box::new(text(value)),
            };
            map.insert(CelMapKey::from(&**name), value);
        }
        Some(CelMap::from(map))
    }
}

impl<'a> ProcessFacts<'a> {
    fn new(process: &'a Process) -> ProcessFacts<'a> {
        ProcessFacts {
            process,
            exe: text(&process.exe),
            cwd: text(process.cwd.as_deref().unwrap_or_default()),
            cgroup: text(&process.cgroup),
            container: text(process.container.as_deref().unwrap_or_default()),
            pid: CelInt::from(i64::from(process.pid)),
            uid: CelInt::from(i64::from(process.uid)),
            argv: OnceLock::new(),
        }
    }

    fn get(&self, field: &str) -> Option<&(dyn Val + '_)> {
        Some(match field {
            "exe" => &self.exe,
            "cwd" => &self.cwd,
            "cgroup" => &self.cgroup,
            "container" => &self.container,
            "pid" => &self.pid,
            "uid" => &self.uid,
            "argv" => lazy(&self.argv, || argv(self.process))?,
            _ => return None,
        })
    }
}

fn lazy<T: Val>(cell: &Lazy<T>, make: impl FnOnce() -> Option<T>) -> Option<&T> {
    cell.get_or_init(make).as_ref()
}

fn text(text: &str) -> CelString<'_> {
    CelString::from(text)
}

fn number(number: usize) -> CelInt {
    CelInt::from(i64::try_from(number).unwrap_or(i64::MAX))
}

/// A list, unless it is too long.
fn list<'v, T>(
    items: impl ExactSizeIterator<Item = T>,
    value: impl Fn(T) -> Box<dyn Val + 'v>,
) -> Option<CelList<'v>> {
    (items.len() <= ENTRIES_MAX).then(|| CelList::from(items.map(value).collect::<Vec<_>>()))
}

fn texts(items: &[Arc<str>]) -> Option<CelList<'_>> {
    list(items.iter(), |item| Box::new(text(item)))
}

/// The arguments, unless part of them was not kept.
fn argv(process: &Process) -> Option<CelList<'_>> {
    if process.argv_cut {
        return None;
    }
    texts(&process.argv)
}

/// What one expression sees: the facts, and the patterns that were compiled with it.
pub(super) struct Scope<'a, 'q> {
    pub(super) facts: &'a Facts<'q>,
    pub(super) patterns: &'a [Pattern],
}

impl VariableResolver for Scope<'_, '_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        if let Some(number) = variable.strip_prefix(PATTERN_PREFIX) {
            let pattern = self.patterns.get(number.parse::<usize>().ok()?)?;
            return Some(CowVal::Borrowed(pattern));
        }
        self.facts.get(variable).map(CowVal::Borrowed)
    }
}

/// In front of the number of a pattern. No name in an expression can begin with `@`.
pub(super) const PATTERN_PREFIX: &str = "@pattern";

/// A regular expression that a text is in when it matches: `x.matches("…")` is evaluated as
/// `x in @pattern0`, so that it is compiled with the policy and not with each operation.
#[derive(Clone, Debug)]
pub(super) struct Pattern(pub(super) regex::Regex);

static DYNAMIC: Type = DYN_TYPE;

/// The parts that are the same for every value of our own.
macro_rules! value {
    ($clone:expr) => {
        fn get_type(&self) -> &Type {
            &DYNAMIC
        }

        fn cel_type() -> &'static Type {
            &DYNAMIC
        }

        fn clone_as_boxed<'w>(&self) -> Box<dyn Val + 'w>
        where
            Self: 'w,
        {
            Box::new($clone(self))
        }
    };
}

impl Val for Pattern {
    value!(Pattern::clone);

    fn as_container(&self) -> Option<&dyn Container> {
        Some(self)
    }
}

impl Container for Pattern {
    fn contains(&self, value: &dyn Val) -> Result<bool, ExecutionError> {
        match value.downcast_ref::<CelString>() {
            Some(text) => Ok(self.0.is_match(text.inner())),
            None => Err(ExecutionError::no_such_member_overload(
                "matches",
                vec![value.get_type().name().to_owned()],
            )),
        }
    }
}

/// An entry of `delegates`.
#[derive(Clone, Copy, Debug)]
struct PrincipalValue<'a>(&'a Principal);

/// An entry of `lineage.processes`.
#[derive(Clone, Copy, Debug)]
struct ProcessValue<'a>(&'a Process);

impl<'a> PrincipalValue<'a> {
    fn field(&self, field: &str) -> Option<Box<dyn Val + 'a>> {
        let principal: &'a Principal = self.0;
        Some(match field {
            "id" => Box::new(text(&principal.id)),
            "assurance" => Box::new(text(principal.assurance.name())),
            "groups" => Box::new(texts(&principal.groups)?),
            _ => return None,
        })
    }
}

impl<'a> ProcessValue<'a> {
    fn field(&self, field: &str) -> Option<Box<dyn Val + 'a>> {
        let process: &'a Process = self.0;
        Some(match field {
            "exe" => Box::new(text(&process.exe)),
            "cwd" => Box::new(text(process.cwd.as_deref().unwrap_or_default())),
            "cgroup" => Box::new(text(&process.cgroup)),
            "container" => Box::new(text(process.container.as_deref().unwrap_or_default())),
            "pid" => Box::new(CelInt::from(i64::from(process.pid))),
            "uid" => Box::new(CelInt::from(i64::from(process.uid))),
            "argv" => Box::new(argv(process)?),
            _ => return None,
        })
    }
}

/// Makes a value whose fields can be selected.
macro_rules! fields {
    ($value:ident) => {
        impl<'a> Val for $value<'a> {
            value!($value::clone);

            fn as_indexer<'b, 'w>(&'b self) -> Option<&'b (dyn Indexer + 'w)>
            where
                Self: 'w,
            {
                Some(self)
            }
        }

        impl<'a> Indexer for $value<'a> {
            fn get<'b, 'w>(&'b self, field: &dyn Val) -> Result<CowVal<'b, 'w>, ExecutionError>
            where
                Self: 'w,
            {
                let name = field.downcast_ref::<CelString>();
                let name = name.map_or("", CelString::inner);
                let found = self.field(name).map(CowVal::Owned);
                found.ok_or_else(|| ExecutionError::no_such_key(name))
            }

            fn steal<'w>(
                self: Box<Self>,
                field: &dyn Val,
            ) -> Result<Box<dyn Val + 'w>, ExecutionError>
            where
                Self: 'w,
            {
                self.get(field).map(CowVal::into_owned)
            }
        }
    };
}

fields!(PrincipalValue);
fields!(ProcessValue);
