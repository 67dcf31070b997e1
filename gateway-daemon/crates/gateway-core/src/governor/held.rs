//! An operation that a human is asked about.
use crate::id::OperationId;
use crate::operation::{Attribute, Operation};
use crate::ports::{Answer, Answering, QUESTION_OBJECTS_MAX, QUESTION_STATEMENT_MAX};
use crate::verdict::HoldTerms;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::Arc;
use std::task::{Context, Poll};

/// An operation that waits for a human.
pub(super) struct Held {
    pub(super) id: OperationId,
    /// Tells it from others.
    pub(super) digest: Digest,
    pub(super) terms: Arc<HoldTerms>,
    pub(super) message: Option<Arc<str>>,
    /// Taken when the answer is here.
    pub(super) answering: Option<Answering>,
    pub(super) answer: Option<Answer>,
    /// The client was told.
    pub(super) told: bool,
}

impl Held {
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let Some(answering) = &mut self.answering {
            match answering.as_mut().poll(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(answer) => {
                    self.answering = None;
                    self.answer = Some(answer);
                }
            }
        }
        Poll::Ready(())
    }
}

/// Tells an operation from all others that the same session could submit in its place. Keyed anew
/// each time, so nobody can make two that look the same.
pub(super) struct Digest {
    keys: RandomState,
    value: u64,
}

impl Digest {
    pub(super) fn of(operation: &Operation<'_>) -> Digest {
        let keys = RandomState::new();
        let value = hash(&keys, operation);
        Digest { keys, value }
    }

    pub(super) fn is_of(&self, operation: &Operation<'_>) -> bool {
        hash(&self.keys, operation) == self.value
    }
}

fn hash(keys: &RandomState, operation: &Operation<'_>) -> u64 {
    let mut hasher = keys.build_hasher();
    operation.protocol.hash(&mut hasher);
    operation.verb.hash(&mut hasher);
    operation.effects.hash(&mut hasher);
    operation.statement.hash(&mut hasher);
    operation.parameters.len().hash(&mut hasher);
    for parameter in operation.parameters {
        (&parameter.kind, &parameter.value, parameter.cut_from).hash(&mut hasher);
    }
    operation.basis.hash(&mut hasher);
    // What it does with masked fields depends on what its names stand for by then.
    operation.uses.len().hash(&mut hasher);
    for found in operation.uses {
        (found.kind, &found.field, &found.mask.name).hash(&mut hasher);
    }
    for (name, value) in operation.attributes {
        name.hash(&mut hasher);
        match value {
            Attribute::Bool(value) => value.hash(&mut hasher),
            Attribute::Int(value) => value.hash(&mut hasher),
            Attribute::Text(value) => value.hash(&mut hasher),
        }
    }
    hasher.finish()
}

/// The names of what an operation touches, each once, and whether there are more.
pub(super) fn object_names(operation: &Operation<'_>) -> (Vec<Arc<str>>, bool) {
    let mut names: Vec<Arc<str>> = Vec::new();
    for object in operation.effects.iter().flat_map(|effect| &effect.objects) {
        if names.iter().any(|name| **name == *object.name()) {
            continue;
        }
        if names.len() == QUESTION_OBJECTS_MAX {
            return (names, true);
        }
        names.push(object.name().into());
    }
    (names, false)
}

/// The beginning of a statement.
pub(super) fn cut(statement: &str) -> &str {
    let end = statement.floor_char_boundary(QUESTION_STATEMENT_MAX.min(statement.len()));
    statement.get(..end).unwrap_or_default()
}
