//! A policy file as it is written: every value checked by itself, none against another.
pub(crate) mod case;
pub(crate) mod hold;
pub(crate) mod link;
pub(crate) mod mask;
pub(crate) mod policy;
pub(crate) mod resource;
pub(crate) mod rule;

use crate::cgroup::CgroupGlob;
use crate::condition::Condition;
use crate::diagnostic::Source;
use crate::harden::Measure;
use crate::network::Host;
use crate::reader::{Located, Reader, Section, Value};
use crate::rule::PrincipalPattern;
use crate::schema::{Form, Key};
use gateway_core::mask::{Detector, Treatment};
use gateway_core::{
    Attribute, Grant, LinkTerms, Mode, Posture, Subject, Timestamp, Verb, VerbSet, Verdict,
};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use toml::de::DeTable;

/// The most resources, rules and masks, each, that one policy can have.
pub(crate) const TABLES_MAX: usize = 2048;

/// The tables of a file.
pub(crate) const KEYS: [Key; 5] = [
    Key::needed(
        "policy",
        Form::Policy,
        "The policy: its name, what it governs, how",
    ),
    Key::new("resource", Form::Resources, "Names for destinations"),
    Key::new(
        "rule",
        Form::Rules,
        "Who may do what, where, to which objects",
    ),
    Key::new(
        "case",
        Form::Cases,
        "Questions with the answers that the policy must give",
    ),
    Key::new(
        "mask",
        Form::Masks,
        "What is sensitive in answers, and what becomes of it",
    ),
];

/// The file form of a policy. Where the reader found a mistake, something is missing here.
#[derive(Debug, Default)]
pub(crate) struct PolicyFile {
    pub(crate) name: Option<Located<String>>,
    pub(crate) cgroups: Vec<Located<CgroupGlob>>,
    pub(crate) mode: Mode,
    pub(crate) allow_by_default: bool,
    pub(crate) boundaries: Vec<Box<str>>,
    /// `None`: it does not say.
    pub(crate) harden: Option<Vec<Measure>>,
    pub(crate) posture: Posture,
    /// `None`: it does not say.
    pub(crate) unix: Option<Vec<Box<str>>>,
    pub(crate) resources: Vec<ResourceTable>,
    pub(crate) rules: Vec<RuleTable>,
    pub(crate) masks: Vec<MaskTable>,
    pub(crate) cases: Vec<CaseTable>,
}

/// One `[[resource]]`.
#[derive(Debug)]
pub(crate) struct ResourceTable {
    pub(crate) name: Option<Located<String>>,
    pub(crate) protocol: Option<Located<String>>,
    pub(crate) hosts: Vec<Located<Host>>,
    /// `None`: all of them.
    pub(crate) ports: Option<Vec<u16>>,
    /// `None`: it says nothing about the way to it.
    pub(crate) terms: Option<LinkTerms>,
}

/// One `[[rule]]`. `None` in a list: everything.
#[derive(Debug)]
pub(crate) struct RuleTable {
    pub(crate) name: Option<Located<String>>,
    pub(crate) principals: Option<Vec<PrincipalPattern>>,
    pub(crate) resources: Option<Vec<Located<String>>>,
    pub(crate) verbs: VerbSet,
    pub(crate) objects: Option<Vec<String>>,
    pub(crate) verdict: Verdict,
    pub(crate) message: Option<String>,
    pub(crate) when: Option<Condition>,
    /// Of a rule that holds.
    pub(crate) hold: Option<HoldTable>,
    /// What is put on answers. `None`: nothing.
    pub(crate) masks: Option<Located<Vec<Located<String>>>>,
    /// How much of each answer is kept, in bytes. `None`: nothing.
    pub(crate) answers: Option<Located<u32>>,
}

/// One `[[mask]]`.
#[derive(Debug)]
pub(crate) struct MaskTable {
    pub(crate) name: Option<Located<String>>,
    /// Globs over names of fields.
    pub(crate) fields: Vec<String>,
    pub(crate) detectors: Vec<Detector>,
    pub(crate) with: Treatment,
    pub(crate) predicates: PredicatesTable,
    pub(crate) cuts_long_rows: bool,
}

/// What a mask says about operations that only ask about its fields.
#[derive(Debug)]
pub(crate) enum PredicatesTable {
    Allow,
    Deny,
    Hold(HoldTable),
}

/// On which terms a rule or a mask holds.
#[derive(Debug)]
pub(crate) struct HoldTable {
    pub(crate) approvers: Vec<Arc<str>>,
    pub(crate) timeout: Duration,
    pub(crate) grant: Grant,
}

/// One `[[case]]`, complete.
#[derive(Debug)]
pub(crate) struct CaseTable {
    pub(crate) span: Range<usize>,
    pub(crate) subject: Subject,
    pub(crate) time: Option<Timestamp>,
    pub(crate) resource: Located<String>,
    pub(crate) protocol: Option<String>,
    pub(crate) attributes: Vec<(Arc<str>, Attribute)>,
    pub(crate) asked: Asked,
    pub(crate) verdict: Verdict,
    pub(crate) rule: Option<Located<String>>,
    /// The masks that must be covered, and no others.
    pub(crate) masks: Option<Vec<Located<String>>>,
}

/// What a case asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// A statement, to be taken apart by its protocol.
    Statement(String),
    /// A verb on objects.
    Verb(Verb, Vec<String>),
}

/// Reads a file, and leaves what is wrong with it in the reader.
pub(crate) fn read(source: &Source) -> (PolicyFile, Reader<'_>) {
    let (document, errors) = DeTable::parse_recoverable(source.text());
    let mut reader = Reader::new(source, &errors);
    let mut file = PolicyFile::default();
    let root = Section {
        name: "the file",
        table: document.get_ref(),
        span: 0..0,
    };
    if reader.is_whole() {
        // The keys behind a broken table header seem to be keys of the file.
        reader.check_keys(&root, &KEYS);
    }
    let head = "a table [policy] with a `name`";
    if let Some(value) = reader.required(&root, "policy", head) {
        policy::read(&mut reader, value, &mut file);
    }
    if let Some(value) = root.get("resource") {
        let tables = reader.tables("resource", "[[resource]]", value, TABLES_MAX);
        file.resources = tables
            .iter()
            .map(|table| resource::read(&mut reader, table))
            .collect();
    }
    if let Some(value) = root.get("rule") {
        let tables = reader.tables("rule", "[[rule]]", value, TABLES_MAX);
        file.rules = tables
            .iter()
            .map(|table| rule::read(&mut reader, table))
            .collect();
    }
    if let Some(value) = root.get("mask") {
        let tables = reader.tables("mask", "[[mask]]", value, TABLES_MAX);
        file.masks = tables
            .iter()
            .map(|table| mask::read(&mut reader, table))
            .collect();
    }
    if let Some(value) = root.get("case") {
        let tables = reader.tables("case", "[[case]]", value, usize::MAX);
        file.cases = tables
            .iter()
            .filter_map(|table| case::read(&mut reader, table))
            .collect();
    }
    (file, reader)
}

/// What a rule can say, and what a case can want.
pub(crate) const VERDICTS: [Verdict; 3] = [Verdict::Allow, Verdict::Deny, Verdict::Hold];

/// One of these verdicts.
fn read_verdict(
    reader: &mut Reader<'_>,
    key: &str,
    value: &Value<'_>,
    verdicts: &[Verdict],
) -> Option<Verdict> {
    let words: Vec<_> = verdicts
        .iter()
        .map(|verdict| (verdict.name(), *verdict))
        .collect();
    reader.word(key, value, &words)
}
