//! The settings of a session on which the meaning of its SQL depends, as far as they are certain.
//!
//! A setting can change by a statement that is seen, by code that is not seen, and by the end of
//! a transaction. The upstream reports some settings, but only before the next ReadyForQuery. So
//! a value counts as certain only while nothing is on its way that could make it another one.
//! In doubt the context says so, and a statement that hangs on the doubt is `unknown`.
use super::names::Outcome;
use crate::codec::response::Transaction;
use crate::interpret::{
    Classification, PlainStrings, RoleSchema, SearchPath, SearchPathChange, SessionChanges,
    SqlContext, TextEncoding,
};
use gateway_core::Verb;

/// What happened since the last ReadyForQuery.
#[derive(Clone, Copy, Debug, Default)]
struct Since {
    committed: bool,
    rolled_back: bool,
    failed: bool,
    /// The search path changed before or behind one of these, and nobody knows which.
    doubtful: bool,
}

/// Is it set when a portal is run?
#[derive(Clone, Copy, Debug, Default)]
struct Hangs {
    /// A portal with a name, or a cursor: any statement can fetch from it.
    on_named: bool,
    /// The unnamed one, until it is executed.
    on_unnamed: bool,
}

impl Hangs {
    const fn any(self) -> bool {
        self.on_named || self.on_unnamed
    }

    const fn on(&mut self, is_named: bool) {
        match is_named {
            true => self.on_named = true,
            false => self.on_unnamed = true,
        }
    }
}

/// The tracked settings. Positions are those of the pipeline; a mark of `n` means that the request
/// at position `n - 1` was the last of its sort.
#[derive(Debug)]
pub(super) struct Settings {
    context: SqlContext,
    /// Another number, another search path in the context.
    generation: u64,
    /// The last reports.
    strings_are_standard: bool,
    text_is_utf8: bool,
    /// The database keeps its text in UTF-8.
    database_is_utf8: bool,
    /// The upstream reports its search path (PostgreSQL 18).
    path_is_reported: bool,
    /// It is not known any more, and not asked for yet.
    asks_path: bool,
    path_hangs: Hangs,
    /// What holds now, what will when the transaction commits, and what when it rolls back.
    now: SearchPath,
    if_committed: SearchPath,
    if_rolled_back: SearchPath,
    /// The three are not the same, or were not in this transaction: savepoints keep what it was.
    path_is_dirty: bool,
    /// What `"$user"` means, and whether that ends with the transaction.
    role_schema: RoleSchema,
    role_is_dirty: bool,
    role_hangs: Hangs,
    /// A role has got another name in this session, perhaps.
    roles_are_renamed: bool,
    /// Code ran in this transaction that may have changed a setting until its end.
    is_revertible: bool,
    /// The last request that may change a reported setting, the search path, the role, or that may
    /// end a transaction.
    risky: u64,
    path_changing: u64,
    role_changing: u64,
    ending: u64,
    /// The unnamed portal is made by this request.
    unnamed_bound: u64,
    /// Everything before this position is answered.
    answered: u64,
    since: Since,
}

/// What the upstream tells when it is asked for its search path.
#[derive(Debug)]
pub(super) struct Told {
    /// As the setting says it.
    pub(super) path: String,
    pub(super) role_schema: RoleSchema,
}

impl Settings {
    pub(super) fn new() -> Settings {
        Settings {
            context: SqlContext {
                search_path: SearchPath::unknown(),
                role_schema: RoleSchema::Unknown,
                path_may_end: false,
                hangs: false,
                plain_strings: PlainStrings::Uncertain,
                text_encoding: TextEncoding::Uncertain,
            },
            generation: 0,
            strings_are_standard: false,
            text_is_utf8: false,
            database_is_utf8: false,
            path_is_reported: false,
            asks_path: true,
            path_hangs: Hangs::default(),
            now: SearchPath::unknown(),
            if_committed: SearchPath::unknown(),
            if_rolled_back: SearchPath::unknown(),
            path_is_dirty: false,
            role_schema: RoleSchema::Unknown,
            role_is_dirty: false,
            role_hangs: Hangs::default(),
            roles_are_renamed: false,
            is_revertible: false,
            risky: 0,
            path_changing: 0,
            role_changing: 0,
            ending: 0,
            unnamed_bound: 0,
            answered: 0,
            since: Since::default(),
        }
    }

    /// The login is over: what was reported until now holds, however a transaction ends.
    pub(super) fn begin(&mut self) {
        self.settle_path(self.now.clone());
    }

    /// Does the client certainly read UTF-8?
    pub(super) const fn text_is_utf8(&self) -> bool {
        self.text_is_utf8
    }

    /// The number of the search path in [`Settings::context`].
    pub(super) const fn generation(&self) -> u64 {
        self.generation
    }

    /// What [`Settings::context`] has found last.
    pub(super) const fn latest(&self) -> &SqlContext {
        &self.context
    }

    /// What is certain for a request that is sent now. `open_segment`: requests wait for answers
    /// behind which a Sync was sent, so a failure of theirs would not stop this one.
    pub(super) fn context(&mut self, open_segment: bool) -> &SqlContext {
        let may_end = open_segment || self.ending > self.answered;
        let stable = self.risky <= self.answered && !(self.is_revertible && may_end);
        self.context.plain_strings = if stable && self.strings_are_standard {
            PlainStrings::Standard
        } else {
            PlainStrings::Uncertain
        };
        self.context.text_encoding = match stable && self.text_is_utf8 {
            true if self.database_is_utf8 => TextEncoding::Utf8,
            true => TextEncoding::Converted,
            false => TextEncoding::Uncertain,
        };
        let role_is_certain = self.role_changing <= self.answered
            && !(self.role_is_dirty && may_end)
            && !self.role_hangs.any();
        let role_schema = match role_is_certain {
            true => &self.role_schema,
            false => &RoleSchema::Unknown,
        };
        if self.context.role_schema != *role_schema {
            self.context.role_schema = role_schema.clone();
        }
        self.context.path_may_end = self.path_is_dirty || self.role_is_dirty;
        self.context.hangs = self.path_hangs.any() || self.role_hangs.any();
        let path_is_certain = !self.path_hangs.any() && !self.awaits_path(open_segment);
        if path_is_certain {
            if self.context.search_path != self.now {
                self.context.search_path = self.now.clone();
                self.generation += 1;
            }
        } else if self.context.search_path.is_known() {
            self.context.search_path = SearchPath::unknown();
            self.generation += 1;
        }
        &self.context
    }

    /// A statement goes upstream as the request at `position`. `None`: one that cannot be read.
    pub(super) fn sent(&mut self, position: u64, statement: Option<&Classification>) {
        let mark = position + 1;
        let Some(statement) = statement else {
            (self.risky, self.path_changing, self.ending) = (mark, mark, mark);
            self.role_changing = mark;
            self.is_revertible = true;
            self.path_hangs.on(true);
            self.role_hangs.on(true);
            return;
        };
        let changes = &statement.changes;
        self.path_hangs.on_named |= changes.search_path_later;
        self.role_hangs.on_named |= changes.search_path_later && !changes.role.is_empty();
        // What is behind a name, nobody sees: a view, a default, a trigger, which can be put off until
        // the transaction ends, may set anything.
        let runs_code = |verb| matches!(verb, Verb::Define | Verb::Admin | Verb::Unknown);
        let mut effects = statement.effects.iter();
        if changes.plain_strings
            || changes.text_encoding
            || statement.may_end_transaction
            || effects.any(|effect| runs_code(effect.verb) || !effect.objects.is_empty())
        {
            self.risky = mark;
            self.is_revertible = true;
        }
        if self.may_set_path(changes) {
            self.path_changing = mark;
        }
        if !changes.role.is_empty() {
            self.role_changing = mark;
        }
        // BEGIN, COMMIT and the like read nothing in particular.
        let ends = |verb, objects: &[_]| verb == Verb::Read && objects.is_empty();
        if changes.may_revert
            || statement
                .effects
                .iter()
                .any(|effect| ends(effect.verb, &effect.objects))
        {
            self.ending = mark;
        }
    }

    /// Could the search path be another when this has happened?
    fn may_set_path(&self, changes: &SessionChanges) -> bool {
        let follows_role = || {
            let paths = [&self.now, &self.if_committed, &self.if_rolled_back];
            // The one on its way can.
            self.path_changing > self.answered || paths.iter().any(|path| path.follows_role())
        };
        changes.search_path != SearchPathChange::Unchanged
            || !changes.role.is_empty() && follows_role()
    }

    /// A portal goes upstream as the request at `position`, which can be run by whatever comes. `None`:
    /// nobody knows what it changes.
    pub(super) fn sent_portal(
        &mut self,
        position: u64,
        changes: Option<&SessionChanges>,
        is_named: bool,
    ) {
        if !is_named {
            self.unnamed_bound = position;
        }
        let sets_path =
            |changes: &SessionChanges| changes.search_path_later || self.may_set_path(changes);
        if changes.is_none_or(sets_path) {
            self.path_hangs.on(is_named);
        }
        if changes.is_none_or(|changes| !changes.role.is_empty()) {
            self.role_hangs.on(is_named);
        }
    }

    /// The unnamed one is no more, and may have been run by whatever came since it was bound, or still be
    /// run by what holds on to it.
    pub(super) fn unnamed_was_exposed(&mut self) {
        for hangs in [&mut self.path_hangs, &mut self.role_hangs] {
            hangs.on_named |= std::mem::take(&mut hangs.on_unnamed);
        }
    }

    /// The unnamed one was executed by the request at `position`, and what became of the path is known from
    /// its answer; unless another one has been bound behind that.
    pub(super) fn unnamed_executed(&mut self, position: u64) {
        if self.unnamed_bound < position {
            self.path_hangs.on_unnamed = false;
            self.role_hangs.on_unnamed = false;
        }
    }

    /// The context of the unnamed portal itself, which nothing can have run yet.
    pub(super) fn context_of_unnamed(&mut self, open_segment: bool) -> &SqlContext {
        let (path, role) = (self.path_hangs, self.role_hangs);
        (self.path_hangs.on_unnamed, self.role_hangs.on_unnamed) = (false, false);
        self.context(open_segment);
        (self.path_hangs, self.role_hangs) = (path, role);
        &self.context
    }

    /// Is the search path unknown for the time being, because of requests that are not answered yet?
    pub(super) fn awaits_path(&self, open_segment: bool) -> bool {
        let may_end = open_segment || self.ending > self.answered;
        self.path_changing > self.answered || self.path_is_dirty && may_end
    }

    /// Nothing is open but perhaps a transaction. Has the search path to be asked for? Once it is, it
    /// does not have to be any more.
    pub(super) fn asks_path(&mut self, transaction: Transaction) -> bool {
        let is_idle = transaction == Transaction::Idle;
        if is_idle {
            // The portals are gone.
            if std::mem::take(&mut self.role_hangs).any() {
                self.role_schema = RoleSchema::Unknown;
                self.settle_path(self.now.under(&RoleSchema::Unknown));
            }
            if std::mem::take(&mut self.path_hangs).any() && !self.path_is_reported {
                self.settle_path(SearchPath::unknown());
            }
        }
        let is_known = self.now.is_known() && (self.path_is_reported || !is_idle);
        if is_known || self.path_hangs.any() {
            return false;
        }
        std::mem::take(&mut self.asks_path)
    }

    /// The upstream has told the search path and the role, with no request before it open.
    pub(super) fn path_answered(&mut self, told: &Told, transaction: Transaction) {
        let is_idle = transaction == Transaction::Idle;
        // What is known of the role's schema in a transaction says more than its name.
        if is_idle || self.role_schema == RoleSchema::Unknown {
            // Within one it is the name that the role had when it was set.
            self.role_schema = match self.roles_are_renamed && !is_idle {
                true => RoleSchema::Unknown,
                false => told.role_schema.clone(),
            };
            self.role_is_dirty = !is_idle;
        }
        let path = SearchPath::parse(&told.path, self.certain_role());
        if is_idle {
            self.settle_path(path);
        } else {
            // What it becomes when the transaction ends is asked for then.
            self.if_rolled_back = SearchPath::unknown();
            self.set_path(path, SearchPath::unknown());
        }
        self.asks_path = false;
    }

    /// It could not be asked for just now.
    pub(super) fn ask_path_again(&mut self) {
        self.asks_path = true;
    }

    /// A function is called by its number as the request at `position`: `set_config`, perhaps.
    pub(super) fn sent_call(&mut self, position: u64) {
        self.risky = position + 1;
        self.path_changing = position + 1;
        self.role_changing = position + 1;
        self.is_revertible = true;
        self.roles_are_renamed = true;
        self.change_role(&RoleSchema::Unknown);
        self.lose_path();
    }

    /// A statement was answered. `None`: one that cannot be read.
    pub(super) fn answered(&mut self, statement: Option<&Classification>, outcome: Outcome) {
        self.since.doubtful |= statement.is_some_and(|statement| statement.changes.ends_unseen);
        if outcome == Outcome::Failed {
            return;
        }
        let Some(Classification {
            changes: change, ..
        }) = statement
        else {
            self.roles_are_renamed = true;
            self.change_role(&RoleSchema::Unknown);
            return self.lose_path();
        };
        let may_set_path = self.may_set_path(change);
        if !change.role.is_empty() {
            self.roles_are_renamed |= change.role.renamed;
            self.change_role(&match outcome {
                Outcome::Unsure => RoleSchema::Unknown,
                _ => change.role.of(&self.role_schema),
            });
        }
        if self.path_is_reported || !may_set_path {
            return;
        }
        let ended = self.since.committed || self.since.rolled_back;
        if outcome == Outcome::Unsure || change.may_revert || ended {
            self.since.doubtful = true;
            return self.lose_path();
        }
        match &change.search_path {
            SearchPathChange::Unchanged => {}
            SearchPathChange::Becomes(path) => {
                let path = path.under(self.certain_role());
                let if_committed = match self.role_is_dirty {
                    // The role was set for the transaction, perhaps.
                    true => path.under(&RoleSchema::Unknown),
                    false => path.clone(),
                };
                self.set_path(path, if_committed);
            }
            SearchPathChange::BecomesLocally(path) => {
                self.set_path(path.under(self.certain_role()), self.if_committed.clone());
            }
            // What it was when the server process began, which need not have been for this session.
            SearchPathChange::Reset | SearchPathChange::Unknown => self.lose_path(),
        }
    }

    /// Nobody knows the path, unless it is reported.
    fn lose_path(&mut self) {
        if !self.path_is_reported {
            self.set_path(SearchPath::unknown(), SearchPath::unknown());
        }
    }

    /// What `"$user"` means where that is certain.
    const fn certain_role(&self) -> &RoleSchema {
        match self.role_hangs.any() {
            true => &RoleSchema::Unknown,
            false => &self.role_schema,
        }
    }

    /// `"$user"` means this, as long as the transaction is not over.
    fn change_role(&mut self, role_schema: &RoleSchema) {
        self.role_schema = role_schema.clone();
        self.role_is_dirty = true;
        if self.now.follows_role() || self.if_committed.follows_role() {
            let if_committed = self.if_committed.under(&RoleSchema::Unknown);
            self.set_path(self.now.under(role_schema), if_committed);
        }
    }

    /// The path is this one, however a transaction ends.
    fn settle_path(&mut self, path: SearchPath) {
        self.if_rolled_back = path.clone();
        self.set_path(path.clone(), path);
        self.path_is_dirty = false;
    }

    fn set_path(&mut self, now: SearchPath, if_committed: SearchPath) {
        self.asks_path |= !now.is_known() || !if_committed.is_known();
        self.now = now;
        self.if_committed = if_committed;
        self.path_is_dirty |=
            self.now != self.if_rolled_back || self.if_committed != self.if_rolled_back;
    }

    /// A command was completed. Its tag tells the truth about the end of a transaction: a COMMIT
    /// of a failed one is tagged ROLLBACK.
    pub(super) fn completed(&mut self, tag: &[u8]) {
        match tag {
            b"COMMIT" | b"PREPARE TRANSACTION" => self.since.committed = true,
            b"ROLLBACK" => self.since.rolled_back = true,
            _ => {}
        }
    }

    /// A request failed; `late`: when something of it was done already, perhaps for good.
    pub(super) fn failed(&mut self, late: bool) {
        self.since.failed = true;
        self.since.doubtful |= late;
    }

    /// The upstream reported a setting.
    pub(super) fn reported(&mut self, name: &[u8], value: &[u8]) {
        match name {
            b"standard_conforming_strings" => self.strings_are_standard = value == b"on",
            b"client_encoding" => {
                self.text_is_utf8 = [&b"UTF8"[..], b"UNICODE", b"SQL_ASCII"]
                    .iter()
                    .any(|known| value.eq_ignore_ascii_case(known));
            }
            b"server_encoding" => self.database_is_utf8 = value.eq_ignore_ascii_case(b"UTF8"),
            b"search_path" => {
                let path = std::str::from_utf8(value).map_or(SearchPath::unknown(), |path| {
                    SearchPath::parse(path, &self.role_schema)
                });
                self.path_is_reported = true;
                self.set_path(path.clone(), path);
            }
            _ => {}
        }
    }

    /// ReadyForQuery for the request at `position`: everything that changed before is reported.
    pub(super) fn ready(&mut self, position: u64, transaction: Transaction) {
        self.answered = self.answered.max(position + 1);
        let since = std::mem::take(&mut self.since);
        if self.role_is_dirty {
            self.end_role(since, transaction);
        }
        if self.path_is_dirty {
            self.end_path(since, transaction);
        }
        if transaction == Transaction::Idle && self.risky <= self.answered {
            self.is_revertible = false;
        }
    }

    /// Where the transaction has ended, or went back to a savepoint, so has the role.
    fn end_role(&mut self, since: Since, transaction: Transaction) {
        let is_idle = transaction == Transaction::Idle;
        let went_back = since.rolled_back || since.failed || since.doubtful;
        if !(is_idle || went_back || since.committed) {
            return;
        }
        self.role_schema = RoleSchema::Unknown;
        self.role_is_dirty = !is_idle;
        if self.path_is_reported {
            let now = self.now.under(&RoleSchema::Unknown);
            self.set_path(now.clone(), now);
        }
    }

    fn end_path(&mut self, since: Since, transaction: Transaction) {
        let rolled_back = since.rolled_back || since.failed;
        let settled = match transaction {
            _ if self.path_is_reported => match transaction {
                Transaction::Idle => self.now.clone(),
                _ => return,
            },
            // More than one thing happened at once: nobody knows in which order.
            _ if since.doubtful => SearchPath::unknown(),
            Transaction::Idle if rolled_back && since.committed => SearchPath::unknown(),
            Transaction::Idle if rolled_back => self.if_rolled_back.clone(),
            Transaction::Idle => self.if_committed.clone(),
            // COMMIT AND CHAIN, ROLLBACK TO, ROLLBACK AND CHAIN.
            Transaction::Open if since.committed || since.rolled_back => SearchPath::unknown(),
            Transaction::Open | Transaction::Failed => return,
        };
        self.settle_path(settled);
        self.path_is_dirty = transaction != Transaction::Idle;
    }
}
