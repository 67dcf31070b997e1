//! A text of SQL as a sequence of statements: each is read in the session that those before leave.
use super::classification::{
    Classification, Prepared, PreparedChange, RoleChange, SearchPathChange, SessionChanges,
    anything, has_where,
};
use super::context::{RoleSchema, SearchPath, SqlContext};
use super::effects::{EffectSet, strongest};
use super::parse::parse_each;
use super::walk::Walk;
use gateway_core::{Effect, Verb};
use rustc_hash::{FxHashMap, FxHashSet};
use std::sync::Arc;

/// Reads a text. Its shape number is still to be given.
pub(super) fn interpret(sql: &str, context: &SqlContext) -> Classification {
    let Some(statements) = parse_each(sql) else {
        return Classification::unreadable();
    };
    let mut script = Script::new(context);
    for (text, statement) in &statements {
        Walk::run(&mut script, text, statement);
    }
    script.finish(statements.len())
}

/// What the statements of one text share.
pub(super) struct Script {
    /// The search path as it is at this point of the text.
    pub(super) path: SearchPath,
    /// Every UPDATE and DELETE so far has a WHERE.
    pub(super) has_where: bool,
    /// Another value of a literal could mean another classification.
    pub(super) depends_on_literals: bool,
    /// A statement so far may end a transaction.
    pub(super) may_end_transaction: bool,
    /// A statement so far copies from the client.
    pub(super) copies_in: bool,
    /// What is executed is planned where parameters have set the path to.
    executes_elsewhere: bool,
    /// What the text changes but for the path, which is below.
    pub(super) changes: SessionChanges,
    context: SqlContext,
    effects: EffectSet,
    /// What this text prepared, by name.
    prepared: FxHashMap<String, PreparedHere>,
    /// What it executes and did not prepare.
    executes: FxHashSet<String>,
    /// The path that comes back when the transaction ends.
    session_path: SearchPath,
    /// What became of the session's path.
    session_change: SearchPathChange,
    /// The path was set for the transaction only.
    is_local: bool,
    /// The statement that is being read may set the path to anything.
    is_path_doubtful: bool,
    /// What the statement that is being read does to the path.
    pending: Vec<PathChange>,
    /// What it makes of `"$user"`.
    pending_role: RoleChange,
}

/// What a statement does to the search path.
pub(super) enum PathChange {
    /// It becomes this one, or unknown.
    Set(SearchPath),
    /// It becomes this one until the transaction ends.
    SetLocally(SearchPath),
    /// It becomes what it was when the session began, which is not known here.
    Reset,
}

/// A statement that the text itself prepared.
struct PreparedHere {
    path: SearchPath,
    classification: Arc<Classification>,
    /// Its effects are among those of the text.
    is_united: bool,
}

impl Script {
    fn new(context: &SqlContext) -> Script {
        Script {
            path: context.search_path.clone(),
            has_where: true,
            depends_on_literals: false,
            may_end_transaction: false,
            copies_in: false,
            executes_elsewhere: false,
            changes: SessionChanges::default(),
            context: context.clone(),
            effects: EffectSet::default(),
            prepared: FxHashMap::default(),
            executes: FxHashSet::default(),
            session_path: match context.path_may_end {
                true => SearchPath::unknown(),
                false => context.search_path.clone(),
            },
            session_change: SearchPathChange::Unchanged,
            is_local: false,
            is_path_doubtful: false,
            pending: Vec::new(),
            pending_role: RoleChange::default(),
        }
    }

    /// What `"$user"` means where the statement that is being read sets the path.
    pub(super) const fn role_schema(&self) -> &RoleSchema {
        &self.context.role_schema
    }

    /// Adds what one statement does. Only now does the path change that it sets: the names in the
    /// statement itself were looked up before it ran.
    pub(super) fn absorb(&mut self, effects: EffectSet) {
        self.effects.unite(effects.effects());
        if std::mem::take(&mut self.is_path_doubtful) {
            self.path = SearchPath::unknown();
            self.session_path = SearchPath::unknown();
            self.context.role_schema = RoleSchema::Unknown;
        }
        for change in std::mem::take(&mut self.pending) {
            match change {
                PathChange::Set(path) => self.set_session_path(path),
                PathChange::SetLocally(path) => {
                    self.path = path;
                    self.is_local = true;
                }
                PathChange::Reset => {
                    self.set_session_path(SearchPath::unknown());
                    self.session_change = SearchPathChange::Reset;
                }
            }
        }
        let role = std::mem::take(&mut self.pending_role);
        if !role.is_empty() {
            self.set_role(role);
        }
        self.stay_unknown();
    }

    /// Where something is open that sets the path or the role when it is fetched from, whatever runs can
    /// do that.
    fn stay_unknown(&mut self) {
        if self.context.hangs {
            self.path = SearchPath::unknown();
            self.session_path = SearchPath::unknown();
            self.context.role_schema = RoleSchema::Unknown;
            if matches!(self.session_change, SearchPathChange::Becomes(_)) {
                self.session_change = SearchPathChange::Unknown;
            }
        }
    }

    /// `"$user"` means something else once the statement has run: the role is another.
    pub(super) fn change_role(&mut self, role_schema: RoleSchema) {
        self.pending_role.becomes = Some(match self.pending_role.becomes {
            None => role_schema,
            // Who knows which comes last.
            Some(_) => RoleSchema::Unknown,
        });
    }

    /// Roles have other names once the statement has run.
    pub(super) fn rename_roles(&mut self) {
        self.change_role(RoleSchema::Unknown);
        self.pending_role.renamed = true;
    }

    /// The role can have this schema once the statement has run.
    pub(super) fn make_schema(&mut self, name: &str) {
        match name {
            "" => self.change_role(RoleSchema::Unknown),
            name => self.pending_role.made.push(Arc::from(name)),
        }
    }

    fn set_role(&mut self, change: RoleChange) {
        let role_schema = change.of(&self.context.role_schema);
        self.put_under(&role_schema);
        self.path = self.path.under(&role_schema);
        self.context.role_schema = role_schema;
        self.changes.role.then(change);
    }

    /// The session's path, where `"$user"` in it means this.
    fn put_under(&mut self, role_schema: &RoleSchema) {
        self.session_path = self.session_path.under(role_schema);
        if let SearchPathChange::Becomes(path) = &self.session_change {
            self.session_change = becomes(path.under(role_schema));
        }
    }

    /// Where the text has changed the role, nobody knows which it is now.
    fn lose_changed_role(&mut self) -> bool {
        let is_changed = !self.changes.role.is_empty();
        if is_changed {
            self.changes.role.becomes = Some(RoleSchema::Unknown);
        }
        is_changed
    }

    /// Code that is not seen may end the transaction.
    pub(super) fn end_unseen(&mut self) {
        self.may_end_transaction = true;
        self.changes.ends_unseen = true;
    }

    /// The search path becomes another once the statement has run.
    pub(super) fn change_path(&mut self, change: PathChange) {
        self.pending.push(change);
    }

    /// The search path may become any once the statement has run.
    pub(super) fn lose_path(&mut self) {
        self.change_path(PathChange::Set(SearchPath::unknown()));
    }

    /// What the statement that is being read does to the path it does not do now, but when rows are
    /// fetched from it.
    pub(super) fn defer_path(&mut self) {
        let role = std::mem::take(&mut self.pending_role);
        if !self.pending.is_empty() || !role.is_empty() {
            self.changes.search_path_later = true;
            if !role.is_empty() {
                self.changes.role.becomes = Some(RoleSchema::Unknown);
                self.changes.role.renamed |= role.renamed;
            }
            self.context.role_schema = RoleSchema::Unknown;
            self.context.hangs = true;
            self.pending.clear();
            // This text can fetch from it, too.
            self.path = SearchPath::unknown();
            self.session_path = SearchPath::unknown();
        }
    }

    fn set_session_path(&mut self, path: SearchPath) {
        self.path = path.clone();
        self.is_local = false;
        self.session_path = path.clone();
        self.session_change = becomes(path);
    }

    /// The transaction ends well: what was set for it alone goes.
    pub(super) fn commit(&mut self) {
        self.context.role_schema = RoleSchema::Unknown;
        // It was set for the transaction, perhaps.
        if self.lose_changed_role() || self.context.path_may_end {
            self.put_under(&RoleSchema::Unknown);
        }
        self.path = self.session_path.clone();
        self.is_local = false;
        self.may_end_transaction = true;
    }

    /// What was set goes back to a point that may lie before this text.
    pub(super) fn roll_back(&mut self) {
        if self.session_change != SearchPathChange::Unchanged || self.is_local {
            self.session_change = SearchPathChange::Unknown;
        }
        self.path = SearchPath::unknown();
        self.session_path = SearchPath::unknown();
        self.context.role_schema = RoleSchema::Unknown;
        self.lose_changed_role();
        self.is_local = false;
        self.changes.may_revert = true;
        self.may_end_transaction = true;
    }

    /// PREPARE: reads the statement on its own, as it will be read again when it runs under
    /// another path.
    pub(super) fn prepare(&mut self, name: &str, statement: Option<&str>) -> Arc<Classification> {
        let context = SqlContext {
            search_path: self.path.clone(),
            ..self.context.clone()
        };
        let classification = match statement {
            Some(statement) => interpret(statement, &context),
            None => Classification::unreadable(),
        };
        let classification = Arc::new(classification);
        self.has_where &= classification.has_where();
        self.changes
            .prepared
            .push(PreparedChange::Prepare(Prepared {
                name: name.to_owned(),
                statement: Arc::from(statement.unwrap_or_default().trim()),
                classification: Arc::clone(&classification),
            }));
        let here = PreparedHere {
            path: self.path.clone(),
            classification: Arc::clone(&classification),
            is_united: false,
        };
        self.prepared.insert(name.to_owned(), here);
        classification
    }

    /// DEALLOCATE of one name, or of all.
    pub(super) fn deallocate(&mut self, name: Option<&str>) {
        self.changes.prepared.push(match name {
            Some(name) => {
                self.prepared.remove(name);
                PreparedChange::Deallocate(name.to_owned())
            }
            None => {
                self.prepared.clear();
                PreparedChange::DeallocateAll
            }
        });
    }

    /// EXECUTE: what this text prepared itself, under the path that is still in force, is known.
    /// The rest the session must know. The parameters were read before: they are computed first.
    pub(super) fn execute(&mut self, name: &str) {
        let sets_path =
            !self.pending.is_empty() || !self.pending_role.is_empty() || self.is_path_doubtful;
        self.executes_elsewhere |= sets_path;
        match self.prepared.get_mut(name) {
            Some(here) if here.path == self.path && !sets_path => {
                let does = Arc::clone(&here.classification);
                if !std::mem::replace(&mut here.is_united, true) {
                    self.effects.unite(&does.own_effects);
                }
                self.copies_in |= does.copies_in;
                self.may_end_transaction |= does.may_end_transaction;
                self.changes.add_in_any_order(&does.changes);
                if !does.changes.role.is_empty() {
                    self.change_role(RoleSchema::Unknown);
                    self.pending_role.renamed |= does.changes.role.renamed;
                }
                if does.changes.search_path != SearchPathChange::Unchanged {
                    self.lose_path();
                }
            }
            _ => {
                self.executes.insert(name.to_owned());
                // It may set the path: names after it are looked up who knows where.
                self.is_path_doubtful = true;
            }
        }
    }

    fn finish(self, statements: usize) -> Classification {
        let search_path = match (self.is_local, self.session_change) {
            (false, change) => change,
            (true, SearchPathChange::Unchanged) => SearchPathChange::BecomesLocally(self.path),
            (true, _) => SearchPathChange::Unknown,
        };
        let own_effects = if self.executes.is_empty() || !self.effects.effects().is_empty() {
            self.effects.finish()
        } else {
            Vec::new()
        };
        let mut effects = own_effects.clone();
        if !self.executes.is_empty() {
            effects.push(Effect {
                verb: Verb::Unknown,
                objects: vec![anything()],
            });
        }
        let mut executes: Vec<String> = self.executes.into_iter().collect();
        executes.sort();
        Classification {
            shape: 0,
            verb: strongest(&effects),
            effects: merged(effects),
            attributes: has_where(self.has_where && executes.is_empty()),
            statements,
            changes: SessionChanges {
                search_path,
                ..self.changes
            },
            may_end_transaction: self.may_end_transaction || !executes.is_empty(),
            copies_in: self.copies_in,
            executes_elsewhere: self.executes_elsewhere,
            executes,
            own_effects,
            own_has_where: self.has_where,
            depends_on_literals: self.depends_on_literals,
        }
    }
}

fn becomes(path: SearchPath) -> SearchPathChange {
    match path.is_known() {
        true => SearchPathChange::Becomes(path),
        false => SearchPathChange::Unknown,
    }
}

/// One effect per verb.
pub(super) fn merged(effects: Vec<Effect>) -> Vec<Effect> {
    let mut set = EffectSet::default();
    set.unite(&effects);
    set.finish()
}
