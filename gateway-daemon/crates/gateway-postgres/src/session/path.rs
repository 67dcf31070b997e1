//! The search path, where the upstream does not report it (before PostgreSQL 18): it is asked before
//! the first request, and before one that comes when nobody knows it any more and nothing is open. The
//! role, the database, the server's configuration and a pooler can each have set it.
//!
//! Asked in the client's turn, between two of its frames: what the gateway sends at any other moment
//! could fall into the middle of one.
use super::masking::own_request;
use super::names::Lookup;
use super::pipeline::{Entry, Own, Request};
use super::serving::Serving;
use crate::codec::response::Transaction;
use crate::codec::{Reader, frame, push_text};
use crate::error::Error;
use crate::interpret::SearchPath;
use crate::mask::catalogue::{self, REQUESTS};
use gateway_protocol::Effects;

const QUESTION: &str = "SHOW search_path";
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
        self.up.flushed = true;
        // The consoles of poolers take no other.
        let (batch, last) = match self.has_unnamed() {
            false => {
                let query = frame(b'Q', |body| push_text(body, QUESTION.as_bytes()));
                (query, Request::Query)
            }
            // A Query would take it away.
            true => {
                let mut batch = Vec::new();
                for ask in REQUESTS {
                    batch.extend(catalogue::message(ask, NAME, QUESTION));
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

    /// The row of the answer.
    pub(super) fn path_row(&mut self, body: &[u8]) {
        let path = read(body, self.settings.text_is_utf8()).ok().flatten();
        let path = path.unwrap_or_else(SearchPath::unknown);
        self.settings.path_answered(path, self.transaction);
        self.path_tries = 0;
    }

    /// The question failed. Where somebody has cancelled it, it is asked again; otherwise the upstream
    /// will not tell.
    pub(super) fn path_failed(&mut self, code: &[u8]) {
        const CANCELLED: &[u8] = b"57014";
        if code == CANCELLED && self.path_tries < TRIES_MAX {
            self.path_tries += 1;
            self.settings.ask_path_again();
        }
    }
}

/// The path of a row. In other encodings than UTF-8 the bytes of a name can be those of another name.
fn read(body: &[u8], is_utf8: bool) -> Result<Option<SearchPath>, Error> {
    let mut reader = Reader::new(body);
    if reader.u16()? != 1 {
        return Err(Error::Value);
    }
    let value = reader.value()?.filter(|value| is_utf8 || value.is_ascii());
    let value = value.and_then(|value| std::str::from_utf8(value).ok());
    reader.end()?;
    Ok(value.map(SearchPath::parse))
}
