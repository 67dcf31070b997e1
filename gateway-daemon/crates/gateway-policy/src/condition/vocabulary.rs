//! What a condition can speak of: the variables, their fields, and the types of both.
use std::fmt;

/// The type of an expression, as far as it is known when the policy is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Bool,
    Int,
    UInt,
    Double,
    String,
    Timestamp,
    Duration,
    List(Box<Type>),
    /// The attributes of an operation: text to anything.
    Map,
    /// A value with the fields of a table below.
    Fields(&'static Fields),
    /// Known when it is evaluated: the value of an attribute.
    Dynamic,
}

/// A name with fields.
#[derive(PartialEq, Eq)]
pub(super) struct Fields {
    pub(super) name: &'static str,
    pub(super) fields: &'static [(&'static str, Known)],
}

/// The type of a field or a variable, in a form that tables can be made of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    Int,
    String,
    Strings,
    Map,
    Timestamp,
    Fields(&'static Fields),
    ListOf(&'static Fields),
}

use Known::{Int, ListOf, Map, String as Text, Strings, Timestamp};

pub(super) static PRINCIPAL: Fields = Fields {
    name: "principal",
    fields: &[("id", Text), ("assurance", Text), ("groups", Strings)],
};

pub(super) static PROCESS: Fields = Fields {
    name: "process",
    fields: &[
        ("pid", Int),
        ("exe", Text),
        ("argv", Strings),
        ("uid", Int),
        ("cwd", Text),
        ("cgroup", Text),
        ("container", Text),
    ],
};

static LINEAGE: Fields = Fields {
    name: "lineage",
    fields: &[
        ("depth", Int),
        ("processes", ListOf(&PROCESS)),
        ("root", Known::Fields(&PROCESS)),
    ],
};

static OPERATION: Fields = Fields {
    name: "operation",
    fields: &[
        ("protocol", Text),
        ("verb", Text),
        ("verbs", Strings),
        ("objects", Strings),
        ("statement", Text),
        ("attributes", Map),
    ],
};

static RESOURCE: Fields = Fields {
    name: "resource",
    fields: &[("name", Text), ("host", Text), ("ip", Text), ("port", Int)],
};

/// The variables.
pub(super) static VARIABLES: &[(&str, Known)] = &[
    ("principal", Known::Fields(&PRINCIPAL)),
    ("delegates", ListOf(&PRINCIPAL)),
    ("process", Known::Fields(&PROCESS)),
    ("lineage", Known::Fields(&LINEAGE)),
    ("operation", Known::Fields(&OPERATION)),
    ("resource", Known::Fields(&RESOURCE)),
    ("time", Timestamp),
];

/// The paths that two operations of one session and one shape can differ in.
pub(super) const UNSTABLE: [&str; 2] = ["time", STATEMENT];
pub(super) const STATEMENT: &str = "operation.statement";

impl Known {
    pub(super) fn to_type(self) -> Type {
        match self {
            Known::Int => Type::Int,
            Known::String => Type::String,
            Known::Strings => Type::List(Box::new(Type::String)),
            Known::Map => Type::Map,
            Known::Timestamp => Type::Timestamp,
            Known::Fields(fields) => Type::Fields(fields),
            Known::ListOf(fields) => Type::List(Box::new(Type::Fields(fields))),
        }
    }
}

impl Fields {
    pub(super) fn get(&self, name: &str) -> Option<Known> {
        let found = self.fields.iter().find(|(field, _)| *field == name);
        found.map(|(_, known)| *known)
    }

    pub(super) fn names(&self) -> Vec<&'static str> {
        self.fields.iter().map(|(name, _)| *name).collect()
    }
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl Type {
    pub(super) const fn is_number(&self) -> bool {
        matches!(self, Type::Int | Type::UInt | Type::Double)
    }

    /// Can a value of one be equal to a value of the other?
    pub(super) fn comparable(&self, other: &Type) -> bool {
        match (self, other) {
            (Type::Fields(_) | Type::Map, _) | (_, Type::Fields(_) | Type::Map) => false,
            (Type::Dynamic, _) | (_, Type::Dynamic) => true,
            (Type::List(left), Type::List(right)) => left.comparable(right),
            (left, right) => left == right || (left.is_number() && right.is_number()),
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Type::Bool => f.write_str("a bool"),
            Type::Int => f.write_str("an int"),
            Type::UInt => f.write_str("a uint"),
            Type::Double => f.write_str("a double"),
            Type::String => f.write_str("a string"),
            Type::Timestamp => f.write_str("a timestamp"),
            Type::Duration => f.write_str("a duration"),
            Type::List(_) => f.write_str("a list"),
            Type::Map => f.write_str("a map"),
            Type::Fields(fields) => write!(f, "a {}", fields.name),
            Type::Dynamic => f.write_str("a value of any type"),
        }
    }
}
