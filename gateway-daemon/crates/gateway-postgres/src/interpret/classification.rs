//! What a text of SQL does: its effects, and what it changes in its session.
use super::context::{RoleSchema, SearchPath};
use gateway_core::{Attribute, Effect, Object, Verb};
use std::sync::Arc;

/// The name of the attribute that says whether every UPDATE and DELETE has a WHERE.
pub(super) const HAS_WHERE: &str = "sql.has_where";

/// What a text of SQL does.
#[derive(Clone, Debug, PartialEq)]
pub struct Classification {
    /// Unique among the classifications of one [`Classifier`](super::Classifier): the same number
    /// has the same effects and attributes.
    pub shape: u64,
    /// The strongest verb among the effects.
    pub verb: Verb,
    /// One effect per verb, in the order of the verbs. Never empty. Only `read` may be without
    /// objects; where anything else has no known object, it has `*`, unresolved.
    ///
    /// A text that executes prepared statements carries `unknown` here until
    /// [`Classifier::unite`](super::Classifier::unite) has put their effects in.
    pub effects: Vec<Effect>,
    /// `sql.has_where`: every UPDATE and DELETE in the text has a WHERE. True where there is none;
    /// false where it cannot be known.
    pub attributes: Vec<(Arc<str>, Attribute)>,
    /// How many statements the text holds. Zero also for what could not be read.
    pub statements: usize,
    /// What it changes in the session, once it has run.
    pub changes: SessionChanges,
    /// It may end a transaction, or a part of one: COMMIT, ROLLBACK and their kin, code that can do
    /// the same (CALL, DO), or a prepared statement that it executes.
    pub may_end_transaction: bool,
    /// It may copy from the client: COPY FROM STDIN.
    pub copies_in: bool,
    /// Parameters of what it executes set the search path before that is planned.
    pub executes_elsewhere: bool,
    /// Prepared statements that it executes and that it has not prepared itself, by name. Those of
    /// SQL and of the extended protocol share one namespace.
    pub executes: Vec<String>,
    /// The effects without the `unknown` that stands for `executes`.
    pub(super) own_effects: Vec<Effect>,
    /// Every UPDATE and DELETE in the text itself has a WHERE, whatever it executes.
    pub(super) own_has_where: bool,
    /// A literal of another value could have made another classification.
    pub(super) depends_on_literals: bool,
}

impl Classification {
    /// What a text is that cannot be read: it may do anything.
    pub(super) fn unreadable() -> Classification {
        let effects = vec![Effect {
            verb: Verb::Unknown,
            objects: vec![anything()],
        }];
        Classification {
            shape: 0,
            verb: Verb::Unknown,
            own_effects: effects.clone(),
            effects,
            attributes: has_where(false),
            statements: 0,
            changes: SessionChanges {
                search_path: SearchPathChange::Unknown,
                search_path_later: true,
                plain_strings: true,
                text_encoding: true,
                role: RoleChange {
                    becomes: Some(RoleSchema::Unknown),
                    made: Vec::new(),
                    renamed: true,
                },
                ends_unseen: true,
                may_revert: true,
                prepared: vec![PreparedChange::Unknown],
            },
            may_end_transaction: true,
            copies_in: true,
            executes_elsewhere: true,
            executes: Vec::new(),
            own_has_where: false,
            depends_on_literals: true,
        }
    }

    /// Does every UPDATE and DELETE in the text have a WHERE?
    pub(super) fn has_where(&self) -> bool {
        self.attributes
            .iter()
            .any(|(name, value)| &**name == HAS_WHERE && *value == Attribute::Bool(true))
    }
}

/// The object of an effect that may touch anything.
pub(super) fn anything() -> Object {
    Object::Unresolved(Arc::from("*"))
}

/// The attributes of a classification.
pub(super) fn has_where(value: bool) -> Vec<(Arc<str>, Attribute)> {
    vec![(Arc::from(HAS_WHERE), Attribute::Bool(value))]
}

/// What a text changes in its session when it succeeds. What code behind a function, a trigger or
/// DO changes is not seen here; what the server reports (ParameterStatus) goes before all of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SessionChanges {
    /// What becomes of the search path.
    pub search_path: SearchPathChange,
    /// A cursor that it declares sets the search path when it is fetched from.
    pub search_path_later: bool,
    /// `standard_conforming_strings` may become another: uncertain until the server reports it.
    pub plain_strings: bool,
    /// `client_encoding` may become another: uncertain until the server reports it.
    pub text_encoding: bool,
    /// What becomes of the role, and of the schemas that can be its own.
    pub role: RoleChange,
    /// Code of it (CALL, DO) may end transactions, of which no tag tells.
    pub ends_unseen: bool,
    /// The text rolls back, wholly or to a savepoint, which also takes settings back.
    pub may_revert: bool,
    /// What happens to prepared statements, in this order.
    pub prepared: Vec<PreparedChange>,
}

impl SessionChanges {
    /// Does the session stay as it was?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == SessionChanges::default()
    }

    /// Adds the changes of another statement of the same text, before or after.
    pub(super) fn add_in_any_order(&mut self, other: &SessionChanges) {
        if other.search_path != SearchPathChange::Unchanged {
            self.search_path = SearchPathChange::Unknown;
        }
        self.search_path_later |= other.search_path_later;
        self.plain_strings |= other.plain_strings;
        self.text_encoding |= other.text_encoding;
        if !other.role.is_empty() {
            self.role.becomes = Some(RoleSchema::Unknown);
            self.role.renamed |= other.role.renamed;
        }
        self.ends_unseen |= other.ends_unseen;
        self.may_revert |= other.may_revert;
        if !other.prepared.is_empty() {
            self.prepared.push(PreparedChange::Unknown);
        }
    }
}

/// What becomes of what `"$user"` in a search path means.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoleChange {
    /// The role becomes that of this schema.
    pub becomes: Option<RoleSchema>,
    /// Schemas of these names are made.
    pub made: Vec<Arc<str>>,
    /// Roles get other names; those that the settings say are as they were when they were set.
    pub renamed: bool,
}

impl RoleChange {
    /// Does everything stay?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == RoleChange::default()
    }

    /// What it means then, where it means this now.
    #[must_use]
    pub fn of(&self, now: &RoleSchema) -> RoleSchema {
        let mut schema = self.becomes.as_ref().unwrap_or(now).clone();
        for made in &self.made {
            schema = schema.or(made);
        }
        schema
    }

    /// Adds what comes behind it.
    pub(super) fn then(&mut self, next: RoleChange) {
        if next.becomes.is_some() {
            self.becomes = next.becomes;
        }
        self.made.extend(next.made);
        self.renamed |= next.renamed;
    }
}

/// What becomes of the search path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SearchPathChange {
    /// It stays.
    #[default]
    Unchanged,
    /// It becomes this one. A transaction that rolls back takes it back.
    Becomes(SearchPath),
    /// It becomes this one until the transaction ends, however it ends.
    BecomesLocally(SearchPath),
    /// It becomes what it was when the session began.
    Reset,
    /// It may become anything.
    Unknown,
}

/// One change among the prepared statements of a session.
#[derive(Clone, Debug, PartialEq)]
pub enum PreparedChange {
    /// PREPARE: a statement gets a name.
    Prepare(Prepared),
    /// DEALLOCATE of one name.
    Deallocate(String),
    /// DEALLOCATE ALL or DISCARD ALL.
    DeallocateAll,
    /// Any of these, for any name.
    Unknown,
}

/// A statement that SQL prepared.
#[derive(Clone, Debug, PartialEq)]
pub struct Prepared {
    /// Its name.
    pub name: String,
    /// Its text. The server looks its names up anew when the search path has become another since,
    /// so it must be classified anew then.
    pub statement: Arc<str>,
    /// What it does under the search path in force where it was prepared.
    pub classification: Arc<Classification>,
}
