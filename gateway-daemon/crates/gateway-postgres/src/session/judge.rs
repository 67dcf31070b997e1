//! How a statement becomes an operation, and is asked permission for.
use super::masking::Seen;
use super::names::{Name, significant};
use super::pipeline::Entry;
use super::serving::{Change, Serving};
use super::statement::{Attributes, Bound, Portal, Statement};
use crate::Shared;
use crate::interpret::{
    Classification, PlainStrings, PreparedChange, SearchPath, SqlContext, TextEncoding,
};
use gateway_core::{Attribute, Clearance, Obstacle, Operation, Parameter, Verb};
use gateway_protocol::Effects;
use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

/// What a statement is asked permission for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// A simple query: it is parsed and executed at once.
    Query,
    /// To be parsed. Judged as if it were executed, since the upstream must not see what it may
    /// not execute.
    Parse,
    /// To be executed with values.
    Execute,
    /// To become a portal. Any statement can run that from then on (FETCH, `cursor_to_xml`, a function
    /// with a cursor), so it is judged as if it were executed.
    Bind,
}

/// No search path has this number.
const ANOTHER_PATH: u64 = u64::MAX;
/// The name of the attribute that says so; a simple query has none.
const PHASE: &str = "sql.phase";
/// The attribute of what is judged as if it were executed, when it becomes a portal.
const BOUND: &str = "sql.bound";

impl Phase {
    fn attributes(self) -> &'static [(Arc<str>, Attribute)] {
        static PARSE: LazyLock<[(Arc<str>, Attribute); 1]> = LazyLock::new(|| [phase("parse")]);
        static EXECUTE: LazyLock<[(Arc<str>, Attribute); 1]> = LazyLock::new(|| [phase("execute")]);
        static BIND: LazyLock<[(Arc<str>, Attribute); 2]> =
            LazyLock::new(|| [phase("execute"), (Arc::from(BOUND), Attribute::Bool(true))]);
        match self {
            Phase::Query => &[],
            Phase::Parse => &*PARSE,
            Phase::Execute => &*EXECUTE,
            Phase::Bind => &*BIND,
        }
    }

    /// A number for the decision: the attributes are not the same in every phase.
    const fn shape(self, shape: u64) -> u64 {
        (shape << 2) | self as u64
    }
}

fn phase(value: &str) -> (Arc<str>, Attribute) {
    (Arc::from(PHASE), Attribute::Text(value.into()))
}

/// A statement that was read. `meaning` is `None` when it is no text at all.
#[derive(Debug)]
pub(super) struct Reading<'a> {
    pub(super) text: Cow<'a, str>,
    pub(super) meaning: Option<Arc<Classification>>,
    pub(super) strings: PlainStrings,
    pub(super) encoding: TextEncoding,
    pub(super) generation: u64,
}

/// The attributes of an operation in a phase.
pub(super) fn attributes(meaning: Option<&Classification>, phase: Phase) -> Attributes {
    let of_statement = meaning.map_or(&[][..], |meaning| &meaning.attributes);
    of_statement
        .iter()
        .chain(phase.attributes())
        .cloned()
        .collect()
}

/// Everything about a statement that is asked permission for.
pub(super) struct Question<'a> {
    pub(super) meaning: Option<&'a Classification>,
    pub(super) text: &'a str,
    pub(super) parameters: &'a [Parameter],
    pub(super) attributes: &'a Attributes,
    pub(super) phase: Phase,
    /// What it runs was planned when the database was another, perhaps.
    pub(super) is_stale: bool,
    /// No human is asked about it: that is done when it is executed, or was done when it was bound.
    pub(super) announces: bool,
}

impl Question<'_> {
    /// The operation that is asked permission for. What cannot be read is `unknown`.
    pub(super) fn operation<'a>(&'a self, shared: &'a Shared) -> Operation<'a> {
        let (verb, effects, shape) = match self.meaning {
            Some(meaning) => (
                meaning.verb,
                meaning.effects.as_slice(),
                Some(self.phase.shape(meaning.shape)),
            ),
            None => (Verb::Unknown, shared.anything.as_slice(), None),
        };
        Operation {
            protocol: crate::NAME,
            verb,
            effects,
            statement: self.text,
            parameters: self.parameters,
            attributes: self.attributes,
            announces: self.announces,
            uses: &[],
            shown: None,
            shape,
            basis: 0,
        }
    }
}

/// Asks permission. What is sensitive about it is part of the question, and not of the record.
pub(super) fn ask(
    question: &Question<'_>,
    seen: Option<&mut Seen>,
    shared: &Shared,
    out: &mut dyn Effects,
) -> Result<Clearance, Obstacle> {
    let operation = question.operation(shared);
    let Some(seen) = seen else {
        return out.submit(&operation);
    };
    let shown = seen.shown(question.text, out);
    let parameters = seen.parameters(question.parameters, out);
    // What is written is known when it is executed.
    if question.phase != Phase::Parse {
        seen.look_for_constants(question.text, question.parameters, out);
    }
    out.submit(&Operation {
        parameters: parameters.as_deref().unwrap_or(question.parameters),
        shown: shown.as_deref(),
        // What it asks about values it can ask as soon as a Bind has it planned: functions are called by
        // then, and operators with what statistics hold.
        uses: &seen.uses,
        basis: seen.basis(),
        announces: operation.announces
            && !(question.phase == Phase::Parse && seen.asks_when_planned()),
        ..operation
    })
}

impl Serving {
    /// Finds out what a text does, if it is executed now.
    pub(super) fn read<'a>(&mut self, text: &'a [u8]) -> Reading<'a> {
        let context = self.settings.context(self.pipeline.has_open_segment());
        let (strings, encoding) = (context.plain_strings, context.text_encoding);
        let (text, meaning) = match std::str::from_utf8(text) {
            Ok(text) => {
                let meaning = self.shared.classifier.classify(text, context);
                (Cow::Borrowed(text), Some(meaning))
            }
            Err(_) => (String::from_utf8_lossy(text), None),
        };
        Reading {
            text,
            meaning,
            strings,
            encoding,
            generation: self.settings.generation(),
        }
    }

    /// What a prepared statement does, if it is executed now: its names are looked up anew when
    /// the search path has become another. How its strings were read stays as it was.
    pub(super) fn read_again(&mut self, statement: &Statement) -> Option<Arc<Classification>> {
        let context = self.settings.context(self.pipeline.has_open_segment());
        let search_path = context.search_path.clone();
        let meaning = statement.meaning.as_ref()?;
        if self.settings.generation() == statement.generation {
            return Some(Arc::clone(meaning));
        }
        Some(self.read_under(search_path, statement))
    }

    fn read_under(&self, search_path: SearchPath, statement: &Statement) -> Arc<Classification> {
        let latest = self.settings.latest();
        let context = SqlContext {
            search_path,
            role_schema: latest.role_schema.clone(),
            hangs: latest.hangs,
            // One statement, which has nothing behind it.
            path_may_end: false,
            plain_strings: statement.strings,
            text_encoding: statement.encoding,
        };
        self.shared.classifier.classify(&statement.text, &context)
    }

    /// What a portal does, if it is executed now. A query was planned when it was bound; a command's
    /// names are looked up now. Where the search path has become another since, it is not known which.
    /// `is_fresh`: nothing came since it was bound that could have run it.
    pub(super) fn read_portal(
        &mut self,
        bound: &Bound,
        is_fresh: bool,
    ) -> Option<Arc<Classification>> {
        let is_open = self.pipeline.has_open_segment();
        match is_fresh {
            true => self.settings.context_of_unnamed(is_open),
            false => self.settings.context(is_open),
        };
        if self.settings.generation() == bound.generation {
            return bound.meaning.clone();
        }
        bound.meaning.as_ref()?;
        let statement = bound.statement.as_deref()?;
        Some(self.read_under(SearchPath::unknown(), statement))
    }

    /// Puts the effects of the prepared statements that a text executes into it.
    pub(super) fn unite(&mut self, meaning: Arc<Classification>) -> Arc<Classification> {
        if meaning.executes.is_empty() {
            return meaning;
        }
        let elsewhere = meaning.executes_elsewhere;
        let mut executed = Vec::with_capacity(meaning.executes.len());
        for name in &meaning.executes {
            let statement = significant(name.as_bytes())
                .filter(|name| !name.is_empty())
                .and_then(|name| {
                    self.statements
                        .look_up(name, self.pipeline.segment())
                        .one()
                        .cloned()
                });
            let does = statement.and_then(|statement| match elsewhere {
                true => Some(self.read_under(SearchPath::unknown(), &statement)),
                false => self.read_again(&statement),
            });
            executed.push((name.as_str(), does));
        }
        let look_up = |name: &str| {
            let (_, does) = executed.iter().find(|(executed, _)| *executed == name)?;
            does.clone()
        };
        self.shared.classifier.unite(&meaning, look_up)
    }

    /// The statement goes upstream as `entry`: what it may change is kept until it is answered.
    /// `size` is how much memory its meaning may take, in bytes.
    pub(super) fn push_statement(
        &mut self,
        mut entry: Entry,
        meaning: Option<Arc<Classification>>,
        size: usize,
    ) {
        let position = self.pipeline.next();
        self.settings.sent(position, meaning.as_deref());
        if meaning
            .as_ref()
            .is_none_or(|meaning| !meaning.changes.is_empty())
        {
            let names = meaning
                .as_ref()
                .map(|meaning| self.change_prepared(meaning, position));
            self.changes.push(Change::Session {
                meaning,
                names: names.unwrap_or_default(),
                _share: self.held.share(size),
            });
            entry.changes = true;
        }
        self.pipeline.push(entry);
    }

    /// The names among SQL's own prepared statements, which are those of the protocol as well.
    fn change_prepared(&mut self, meaning: &Classification, position: u64) -> Vec<Name> {
        let mut names = Vec::new();
        for change in &meaning.changes.prepared {
            let (name, statement) = match change {
                PreparedChange::Prepare(prepared) => {
                    let meaning = Arc::clone(&prepared.classification);
                    let statement = Statement::new(
                        &Reading {
                            text: Cow::Borrowed(&prepared.statement),
                            meaning: Some(meaning),
                            // Its strings were read within the text that prepared it. Its names
                            // were as well, under a search path that may be gone by now.
                            strings: PlainStrings::Standard,
                            encoding: TextEncoding::Utf8,
                            generation: ANOTHER_PATH,
                        },
                        std::iter::empty(),
                        &self.held,
                    );
                    (&prepared.name, Some(Arc::new(statement)))
                }
                PreparedChange::Deallocate(name) => (name, None),
                PreparedChange::DeallocateAll | PreparedChange::Unknown => continue,
            };
            let key = significant(name.as_bytes()).filter(|key| !key.is_empty());
            if let Some(key) = key
                && (statement.is_some() || self.statements.contains(key))
            {
                names.push(self.statements.change(key, position, statement).0);
            }
        }
        names
    }

    /// Memory that a portal does not need any more.
    pub(super) fn reuse(&mut self, portal: Portal) {
        if portal.parameters.capacity() > self.spare.capacity() {
            self.spare = portal.parameters;
        }
    }
}
