//! Prepared statements and portals: what the gateway keeps of them until they are executed.
use super::judge::{Phase, Reading, attributes};
use super::masking::Stamp;
use super::names::Same;
use crate::codec::types::TypeNames;
use crate::interpret::{Classification, PlainStrings, SessionChanges, TextEncoding};
use gateway_core::{Attribute, Parameter};
use parking_lot::Mutex;
use rustc_hash::FxHashSet;
use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

/// Attributes of an operation.
pub(super) type Attributes = Vec<(Arc<str>, Attribute)>;

/// How much memory a session holds on behalf of its client, in bytes.
#[derive(Debug, Default)]
pub(super) struct Held(Arc<AtomicUsize>);

impl Held {
    pub(super) fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Counts so many bytes, until the share is dropped.
    pub(super) fn share(&self, bytes: usize) -> Share {
        self.0.fetch_add(bytes, Ordering::Relaxed);
        Share {
            total: Arc::clone(&self.0),
            bytes,
        }
    }
}

/// A part of what a session holds.
#[derive(Debug)]
pub(super) struct Share {
    total: Arc<AtomicUsize>,
    bytes: usize,
}

impl Drop for Share {
    fn drop(&mut self) {
        self.total.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// The types of so many parameters are kept. No record has values of more.
const TYPES_MAX: usize = 1024;

/// A prepared statement.
#[derive(Debug)]
pub(super) struct Statement {
    /// Its text as it is recorded.
    pub(super) text: Box<str>,
    /// What it does. `None`: it is no text at all.
    pub(super) meaning: Option<Arc<Classification>>,
    /// How its strings were read.
    pub(super) strings: PlainStrings,
    pub(super) encoding: TextEncoding,
    /// The search path under which its names were looked up.
    pub(super) generation: u64,
    /// The attributes of its execution.
    pub(super) attributes: Attributes,
    /// The types of its parameters that the client gave; 0 where it left them open.
    given: Box<[u32]>,
    /// Nothing sensitive is in it, as far as was known when it was prepared.
    pub(super) clean: AtomicBool,
    /// When that was.
    pub(super) prepared: Mutex<Option<Stamp>>,
    /// The types that the upstream told.
    described: OnceLock<Box<[u32]>>,
    _share: Share,
}

impl Statement {
    pub(super) fn new(
        reading: &Reading<'_>,
        given: impl Iterator<Item = u32>,
        held: &Held,
    ) -> Statement {
        Statement {
            text: Box::from(&*reading.text),
            meaning: reading.meaning.clone(),
            strings: reading.strings,
            encoding: reading.encoding,
            generation: reading.generation,
            attributes: attributes(reading.meaning.as_deref(), Phase::Execute),
            given: given.take(TYPES_MAX).collect(),
            clean: AtomicBool::new(false),
            prepared: Mutex::new(None),
            described: OnceLock::new(),
            _share: held.share(reading.text.len()),
        }
    }

    /// Would this text, read now, make the same statement?
    pub(super) fn is_same(
        &self,
        reading: &Reading<'_>,
        given: impl ExactSizeIterator<Item = u32>,
    ) -> bool {
        self.means(reading.meaning.as_ref())
            && self.generation == reading.generation
            && self.strings == reading.strings
            && self.encoding == reading.encoding
            && *self.text == *reading.text
            && self.given.iter().copied().eq(given)
    }

    /// Is this what it was found to do when it was prepared?
    pub(super) fn means(&self, meaning: Option<&Arc<Classification>>) -> bool {
        match (&self.meaning, meaning) {
            (Some(before), Some(now)) => Arc::ptr_eq(before, now),
            (None, None) => true,
            _ => false,
        }
    }

    /// The attributes of its execution, should this be what it does. They are kept with it, unless it
    /// means something else by now.
    pub(super) fn attributes_of(
        &self,
        meaning: Option<&Arc<Classification>>,
    ) -> Cow<'_, Attributes> {
        match self.means(meaning) {
            true => Cow::Borrowed(&self.attributes),
            false => Cow::Owned(attributes(
                meaning.map(|meaning| &**meaning),
                Phase::Execute,
            )),
        }
    }

    /// The upstream told the types of its parameters.
    pub(super) fn describe(&self, mut types: Vec<u32>) {
        types.truncate(TYPES_MAX);
        let _ = self.described.set(types.into());
    }

    /// Can a parameter be of one of these types, as the client gave them?
    pub(super) fn may_take(&self, types: &FxHashSet<u32>) -> bool {
        let mut given = self.given.iter();
        let is_cut = self.given.len() == TYPES_MAX && !types.is_empty();
        is_cut || given.any(|given| types.contains(given))
    }

    /// The type of a parameter; 0 when nobody said.
    pub(super) fn parameter_type(&self, index: usize) -> u32 {
        let types = self.described.get().unwrap_or(&self.given);
        types.get(index).copied().unwrap_or(0)
    }
}

/// A statement with values: what is executed.
#[derive(Debug)]
pub(super) struct Portal {
    pub(super) bound: Bound,
    /// The values, as they are recorded.
    pub(super) parameters: Vec<Parameter>,
    /// An Execute of it went upstream, which was judged.
    pub(super) asked: AtomicBool,
    /// Such a one has come to its end: nothing can run it any more.
    pub(super) executed: AtomicBool,
    /// For a named one: of the unnamed ones only the last is kept.
    pub(super) _share: Option<Share>,
}

/// What a portal was made of.
#[derive(Clone, Debug, Default)]
pub(super) struct Bound {
    /// `None`: of a statement that the gateway has not seen, or of one of several.
    pub(super) statement: Option<Arc<Statement>>,
    /// What it does, as it was planned.
    pub(super) meaning: Option<Arc<Classification>>,
    /// The search path under which that was.
    pub(super) generation: u64,
    /// When it was made, where the policy calls something sensitive.
    pub(super) stamp: Option<Stamp>,
    /// Permission was asked when it was made, as if it were executed then.
    pub(super) is_judged: bool,
}

impl Bound {
    /// What it executes is another prepared statement by now, perhaps.
    pub(super) fn is_indirect(&self) -> bool {
        let meaning = self.meaning.as_ref();
        meaning.is_some_and(|meaning| !meaning.executes.is_empty())
    }

    /// What it changes in the session; `None` when nobody knows.
    pub(super) fn changes(&self) -> Option<&SessionChanges> {
        let meaning = self.meaning.as_ref().filter(|_| !self.is_indirect());
        meaning.map(|meaning| &meaning.changes)
    }
}

/// How much memory recorded values take, in bytes.
pub(super) fn size_of_values(parameters: &[Parameter]) -> usize {
    let texts = parameters
        .iter()
        .filter_map(|parameter| parameter.value.as_ref());
    texts.map(String::len).sum::<usize>() + size_of_val(parameters)
}

impl Same for Portal {
    /// Two Binds never make the same portal.
    fn same(&self, other: &Portal) -> bool {
        std::ptr::eq(self, other)
    }
}

/// How much of the values is recorded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keep {
    pub(super) value_bytes: usize,
    pub(super) total_bytes: usize,
}

/// What a value costs in a record besides its bytes.
const VALUE_OVERHEAD_BYTES: usize = 8;

/// Writes values into `parameters`, whose memory is used again.
pub(super) fn record_values<'a>(
    parameters: &mut Vec<Parameter>,
    values: impl Iterator<Item = (bool, Option<&'a [u8]>)>,
    type_of: impl Fn(usize) -> u32,
    names: &TypeNames,
    keep: Keep,
) {
    let mut left = keep.total_bytes;
    let mut omitted = (0_u64, 0_u64);
    let mut count = 0;
    for (index, (binary, value)) in values.enumerate() {
        if left < VALUE_OVERHEAD_BYTES {
            omitted.0 += 1;
            omitted.1 += value.map_or(0, <[u8]>::len) as u64;
            continue;
        }
        left -= VALUE_OVERHEAD_BYTES;
        let oid = type_of(index);
        if parameters.len() <= index {
            parameters.push(Parameter {
                kind: None,
                value: None,
                cut_from: None,
            });
        }
        if let Some(parameter) = parameters.get_mut(index) {
            parameter.kind = names.name(oid);
            let limit = keep.value_bytes.min(left);
            left -= value_into(parameter, value, binary, oid, limit).min(left);
        }
        count = index + 1;
    }
    parameters.truncate(count);
    if omitted.0 > 0 {
        parameters.push(Parameter {
            kind: Some(Arc::from("omitted")),
            value: Some(format!("{} more values", omitted.0)),
            cut_from: Some(omitted.1),
        });
    }
}

/// Returns how many bytes it took.
fn value_into(
    parameter: &mut Parameter,
    value: Option<&[u8]>,
    binary: bool,
    oid: u32,
    limit: usize,
) -> usize {
    let Some(value) = value else {
        parameter.value = None;
        parameter.cut_from = None;
        return 0;
    };
    let text = parameter.value.get_or_insert_default();
    text.clear();
    parameter.cut_from = crate::codec::value::describe(text, value, binary, oid, limit);
    text.len()
}
