//! The search path: it is asked before the first request, and before one that comes when nobody knows
//! it any more and nothing is open. The role, the database, the server's configuration and a pooler can
//! each have set it. PostgreSQL 18 reports the setting, and it is asked only what `"$user"` in it means.
//!
//! Asked in the client's turn, between two of its frames: what the gateway sends at any other moment
//! could fall into the middle of one.
use super::masking::own_request;
use super::names::Lookup;
use super::pipeline::{Entry, Own, Request};
use super::serving::Serving;
use super::settings::Told;
use crate::codec::response::Transaction;
use crate::codec::{Reader, frame, push_text};
use crate::error::Error;
use crate::interpret::RoleSchema;
use crate::mask::catalogue::{self, REQUESTS};
use gateway_protocol::Effects;

/// Asked outside of a transaction. A row: the setting, the role, and whether a schema of its name is there;
/// not whether the role may use that, which can change with what others do.
const QUESTION: &str = "SELECT pg_catalog.current_setting('search_path'), CURRENT_USER, \
    pg_catalog.to_regnamespace(pg_catalog.quote_ident(CURRENT_USER::pg_catalog.text)) IS NOT NULL";
/// Asked within one, which must not get its snapshot before its first query (SET TRANSACTION, LOCK).
/// A row each: the setting, the role that was set, or `none`, and the one that it was set by.
const QUESTIONS_WITHIN: [&str; 3] = [
    "SHOW search_path",
    "SHOW role",
    "SHOW session_authorization",
];
/// How many values are told in either case.
const VALUES: usize = 3;
/// The name of its statement and its portal.
const NAME: &[u8] = b"gateway_path";

/// How often it is asked when somebody cancels the question each time.
const TRIES_MAX: u8 = 3;

impl Serving {
    /// Has the search path to be asked for before a request is looked at?
    pub(super) fn wants_path(&mut self) -> bool {
        let is_failed = self.transaction == Transaction::Failed;
        let is_quiet = self.pipeline.is_empty() && !self.up.unsynced && !is_failed;
        is_quiet && self.settings.asks_path(self.transaction)
    }

    /// The question goes upstream, and the client's request waits for the answer: its names would be
    /// looked up nobody knows where.
    pub(super) fn ask_path(&mut self, out: &mut dyn Effects) {
        self.path_asked = true;
        self.path_told.clear();
        self.up.flushed = true;
        let questions = match self.transaction {
            Transaction::Idle => &[QUESTION][..],
            Transaction::Open | Transaction::Failed => &QUESTIONS_WITHIN,
        };
        // The consoles of poolers take no other.
        let (batch, last) = match self.has_unnamed() {
            false => {
                let text = questions.join("; ");
                let query = frame(b'Q', |body| push_text(body, text.as_bytes()));
                (query, Request::Query)
            }
            // A Query would take it away.
            true => {
                let mut batch = Vec::new();
                for (question, ask) in questions
                    .iter()
                    .flat_map(|question| REQUESTS.map(|ask| (question, ask)))
                {
                    batch.extend(catalogue::message(ask, NAME, question));
                    self.pipeline.push_own(own_request(ask), Own::Apart);
                }
                batch.extend(frame(b'S', |_| {}));
                (batch, Request::Sync)
            }
        };
        self.pipeline.push(Entry {
            own: Own::Apart,
            alone: true,
            ..Entry::new(last, 0)
        });
        out.send_upstream(&self.admitted, &batch);
        self.wait_client(out);
    }

    /// Does the client have something without a name, a statement or a portal?
    fn has_unnamed(&self) -> bool {
        let segment = self.pipeline.segment();
        let statement = self.statements.look_up(b"", segment);
        let portal = self.portals.look_up(b"", segment);
        !matches!((statement, portal), (Lookup::Absent, Lookup::Absent))
    }

    /// A row of the answer.
    pub(super) fn path_row(&mut self, body: &[u8]) -> Result<(), Error> {
        let is_utf8 = self.settings.text_is_utf8();
        let mut reader = Reader::new(body);
        for _ in 0..reader.u16()? {
            if self.path_told.len() == VALUES {
                return Err(Error::Value);
            }
            // In other encodings than UTF-8 the bytes of a name can be those of another name.
            let value = reader.value()?.filter(|value| is_utf8 || value.is_ascii());
            let value = value.and_then(|value| std::str::from_utf8(value).ok());
            self.path_told.push(value.map(str::to_owned));
        }
        reader.end()
    }

    /// The answer is whole.
    pub(super) fn path_answered(&mut self) {
        if let Some(told) = told(&std::mem::take(&mut self.path_told), self.transaction) {
            self.settings.path_answered(&told, self.transaction);
            self.path_tries = 0;
        }
    }

    /// The question failed. Where somebody has cancelled it, it is asked again; otherwise the upstream
    /// will not tell.
    pub(super) fn path_failed(&mut self, code: &[u8]) {
        const CANCELLED: &[u8] = b"57014";
        self.path_told.clear();
        if code == CANCELLED && self.path_tries < TRIES_MAX {
            self.path_tries += 1;
            self.settings.ask_path_again();
        }
    }
}

/// What the values say. `None`: they are not all there, or not to be read.
fn told(values: &[Option<String>], transaction: Transaction) -> Option<Told> {
    let [Some(path), role, Some(last)] = values else {
        return None;
    };
    let role_schema = match (transaction, role.as_deref(), last.as_str()) {
        (Transaction::Idle, _, "f") => RoleSchema::Absent,
        (Transaction::Idle, Some(role), "t") => RoleSchema::of(role),
        (Transaction::Idle, ..) | (_, None, _) => return None,
        // Nobody tells whether it is there.
        (_, Some("none"), session_role) => RoleSchema::of(session_role),
        (_, Some(role), _) => RoleSchema::of(role),
    };
    Some(Told {
        path: path.clone(),
        role_schema,
    })
}
