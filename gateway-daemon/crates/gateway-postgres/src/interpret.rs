//! SQL text → what it does, in the verbs and objects that policies know.
//!
//! Statements are read with PostgreSQL's own grammar, and every node of the parse tree is looked
//! at. What is not understood is `unknown`; what is not proven free of effects is `execute`. There
//! is no catalogue to ask, so some things stay unseen:
//!
//! - What a view, a trigger, a rule, a default, a row security policy, a foreign key or a domain
//!   does behind the name that a statement uses.
//! - A user's function, operator or cast that the server prefers to a built-in one of the same
//!   name, because its argument types fit better; and one that is called as if it were a field of
//!   a table's row: `t.f` for `f(t)`.
//! - Whether a schema of the search path exists, the one named after the user among them (it is
//!   taken to be absent), and whether a temporary table hides another.
//! - What the code of a function, a procedure or a DO block sets: it could set the search path. Who
//!   may run code is trusted with what that code does.
//! - The words that newer grammars made syntax (`JSON_VALUE(…)`) are that syntax here, also where
//!   an older server takes them for functions.
mod abridge;
mod builtin;
mod cache;
mod calls;
mod classification;
mod context;
mod effects;
pub(crate) mod flow;
mod names;
mod parse;
mod script;
mod settings;
mod shape;
mod shape_check;
mod tree;
mod utility;
mod walk;

#[cfg(test)]
mod tests;

pub use classification::{
    Classification, Prepared, PreparedChange, RoleChange, SearchPathChange, SessionChanges,
};
pub use context::{PlainStrings, RoleSchema, SearchPath, SqlContext, TextEncoding};
pub use shape_check::{ShapeDisagreement, check_shape};

use abridge::abridge;
use cache::{Cache, Form};
use effects::{EffectSet, strongest};
use gateway_core::Verb;
use script::interpret;
use shape::{Scan, What, write_shape};
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Longest statement that is remembered, in bytes.
const REMEMBERED_BYTES_MAX: usize = 64 * 1024;
/// From this length on a statement is abridged before it is parsed, where that is sure to change
/// nothing: the parser takes hundreds of bytes of memory for each literal.
const ABRIDGED_BYTES_MIN: usize = 16 * 1024;
/// Largest buffer for a shape that a thread keeps, in bytes.
const BUFFER_BYTES_MAX: usize = REMEMBERED_BYTES_MAX;

thread_local! {
    /// Where shapes are written, so that a statement that is remembered costs no allocation.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Reads SQL, and remembers what it read. One for all sessions.
pub struct Classifier {
    cache: Cache,
    next_shape: AtomicU64,
    /// What all texts are that cannot be read.
    unreadable: Arc<Classification>,
}

impl Classifier {
    /// A classifier that remembers about so many statements, of up to 64 KiB each.
    #[must_use]
    pub fn new(cache_entries_max: usize) -> Classifier {
        let unreadable = Classification {
            shape: 1,
            ..Classification::unreadable()
        };
        Classifier {
            cache: Cache::new(cache_entries_max),
            next_shape: AtomicU64::new(2),
            unreadable: Arc::new(unreadable),
        }
    }

    /// What a text of SQL does when it runs in a session with these settings.
    ///
    /// Never fails: what cannot be read is `unknown`. Takes well below a microsecond for what is
    /// remembered, some ten for a short statement that is not, and up to a tenth of a second for
    /// the longest.
    #[must_use]
    pub fn classify(&self, sql: &str, context: &SqlContext) -> Arc<Classification> {
        if context.text_encoding == TextEncoding::Uncertain && !sql.is_ascii() {
            return Arc::clone(&self.unreadable);
        }
        BUFFER.with(|buffer| match buffer.try_borrow_mut() {
            Ok(mut buffer) => {
                let classification = self.classify_with(sql, context, &mut buffer);
                if buffer.capacity() > BUFFER_BYTES_MAX {
                    *buffer = Vec::new();
                }
                classification
            }
            Err(_) => self.classify_with(sql, context, &mut Vec::new()),
        })
    }

    fn classify_with(
        &self,
        sql: &str,
        context: &SqlContext,
        shape: &mut Vec<u8>,
    ) -> Arc<Classification> {
        let scan = write_shape(sql, shape);
        if context.text_encoding != TextEncoding::Utf8 {
            // Where not all was understood, there is no shape.
            let names = if scan.certain {
                shape.as_slice()
            } else {
                sql.as_bytes()
            };
            if names_beyond_ascii(names) {
                return Arc::clone(&self.unreadable);
            }
        }
        if context.plain_strings == PlainStrings::Uncertain && may_end_elsewhere(sql, scan) {
            return Arc::clone(&self.unreadable);
        }
        if sql.len() > REMEMBERED_BYTES_MAX {
            return self.numbered(read(sql, context, scan, shape));
        }
        let by_shape = scan
            .certain
            .then(|| self.cache.key(Form::Shape, shape, context));
        if let Some(known) = by_shape.as_ref().and_then(|key| self.cache.get(key)) {
            return known;
        }
        let by_text = self.cache.key(Form::Exact, sql.as_bytes(), context);
        if let Some(known) = self.cache.get(&by_text) {
            return known;
        }
        let classification = self.numbered(read(sql, context, scan, shape));
        match by_shape {
            Some(key) if !classification.depends_on_literals => {
                self.cache.insert(&key, classification)
            }
            _ => self.cache.insert(&by_text, classification),
        }
    }

    /// Puts what prepared statements do into the classification of a text that executes them.
    /// `lookup` gives what the session knows of a name, classified under the search path of now; a
    /// name that it does not know stays `unknown`.
    ///
    /// A statement that the protocol prepared can be of any kind, `SET search_path` or COMMIT too,
    /// so its changes count as well as its effects.
    #[must_use]
    pub fn unite(
        &self,
        classification: &Arc<Classification>,
        lookup: impl Fn(&str) -> Option<Arc<Classification>>,
    ) -> Arc<Classification> {
        if classification.executes.is_empty() {
            return Arc::clone(classification);
        }
        let names = classification.executes.iter();
        let found: Vec<_> = names.map(|name| lookup(name)).collect();
        // The usual case: the text is one EXECUTE and nothing else.
        if let ([Some(prepared)], 1) = (found.as_slice(), classification.statements)
            && classification.own_effects.is_empty()
            && prepared.executes.is_empty()
        {
            return Arc::clone(prepared);
        }
        let mut united = Classification::clone(classification);
        let mut effects = EffectSet::default();
        effects.unite(&classification.own_effects);
        let mut has_where = classification.own_has_where;
        for prepared in found {
            let prepared = prepared.unwrap_or_else(|| Arc::clone(&self.unreadable));
            effects.unite(&prepared.effects);
            has_where &= prepared.has_where();
            united.copies_in |= prepared.copies_in;
            united.changes.add_in_any_order(&prepared.changes);
        }
        united.effects = effects.finish();
        united.verb = strongest(&united.effects);
        united.own_effects = united.effects.clone();
        united.attributes = classification::has_where(has_where);
        united.executes = Vec::new();
        united.executes_elsewhere = false;
        self.numbered(united)
    }

    /// Gives a classification its number, and those of what it prepares theirs.
    fn numbered(&self, mut classification: Classification) -> Arc<Classification> {
        if classification.statements == 0 && classification.verb == Verb::Unknown {
            return Arc::clone(&self.unreadable);
        }
        classification.shape = self.next_shape.fetch_add(1, Ordering::Relaxed);
        for change in &mut classification.changes.prepared {
            if let PreparedChange::Prepare(prepared) = change {
                let inner = Classification::clone(&prepared.classification);
                prepared.classification = self.numbered(inner);
            }
        }
        Arc::new(classification)
    }
}

/// Where the literals and the comments of a text are, each with whether it is a comment. `None`:
/// nobody knows. `read`: it is known that its strings were read by the standard, in which a
/// backslash in a plain one is a character like any other.
pub(crate) fn literals(sql: &str, read: bool) -> Option<Vec<(std::ops::Range<usize>, bool)>> {
    let mut found = Vec::new();
    let scan = shape::write_shape_and(sql, &mut Vec::new(), |literal| {
        found.push((literal.start..literal.end, literal.what == What::Comment));
    });
    match scan.certain {
        true => (read || !scan.plain_backslash).then_some(found),
        false => parse::literals(sql, read),
    }
}

/// Where the numbers begin that a text's shape keeps; `None`: what is known of the text is known of
/// this text only.
fn kept_numbers(sql: &str) -> Option<Vec<usize>> {
    let mut kept = Vec::new();
    let scan = shape::write_shape_and(sql, &mut Vec::new(), |literal| {
        if literal.is_kept {
            kept.push(literal.start);
        }
    });
    scan.certain.then_some(kept)
}

/// May there be names that are not ASCII: as they are, or as `U&"\00E9"`?
fn names_beyond_ascii(text: &[u8]) -> bool {
    let is_escaped = |part: &[u8]| part.eq_ignore_ascii_case(b"u&\"");
    !text.is_ascii() || text.windows(3).any(is_escaped)
}

/// Could a plain string end somewhere else than the lexer thinks, where a backslash escapes?
fn may_end_elsewhere(sql: &str, scan: Scan) -> bool {
    if scan.certain {
        scan.plain_backslash
    } else {
        sql.contains('\\')
    }
}

/// The short form of the shape of a text that is too long to be parsed whole, in which some of its
/// literals are left out; `None` when it is not so long, or not understood.
fn shortened(sql: &str) -> Option<String> {
    if sql.len() <= parse::PARSED_BYTES_MAX {
        return None;
    }
    let mut shape = Vec::new();
    let scan = write_shape(sql, &mut shape);
    let shape = std::str::from_utf8(&shape).ok().filter(|_| scan.certain)?;
    Some(abridge(shape))
}

/// Reads a text that is not remembered. Of a long one, the short form of its shape will do, where
/// its literals do not matter.
fn read(sql: &str, context: &SqlContext, scan: Scan, shape: &[u8]) -> Classification {
    if sql.len() >= ABRIDGED_BYTES_MIN
        && scan.certain
        && let Ok(shape) = std::str::from_utf8(shape)
    {
        let classification = interpret(&abridge(shape), context);
        if !classification.depends_on_literals {
            return classification;
        }
    }
    interpret(sql, context)
}
