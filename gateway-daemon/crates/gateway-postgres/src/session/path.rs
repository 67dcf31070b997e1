//! The search path, where the upstream does not report it (before PostgreSQL 18): it is asked as soon
//! as nothing is open, when the session begins and whenever nobody knows it any more. The role, the
//! database, the server's configuration and a pooler can each have set it.
use super::pipeline::{Entry, Own, Request};
use super::serving::Serving;
use crate::codec::response::Transaction;
use crate::codec::{Reader, frame, push_text};
use crate::error::Error;
use crate::interpret::SearchPath;
use gateway_protocol::Effects;

const QUESTION: &[u8] = b"SHOW search_path";

impl Serving {
    /// ReadyForQuery was passed on. What the client sends waits for the answer, since its names would
    /// be looked up nobody knows where.
    pub(super) fn ask_path(&mut self, out: &mut dyn Effects) {
        let is_idle = self.pipeline.is_empty() && self.transaction == Transaction::Idle;
        if !is_idle || self.up.unsynced || self.up.terminated || !self.settings.asks_path() {
            return;
        }
        out.send_upstream(
            &self.admitted,
            &frame(b'Q', |body| push_text(body, QUESTION)),
        );
        self.up.flushed = true;
        self.pipeline.push(Entry {
            own: Own::Apart,
            alone: true,
            ..Entry::new(Request::Query, 0)
        });
    }

    /// The row of the answer.
    pub(super) fn path_row(&mut self, body: &[u8]) {
        let path = read(body).ok().flatten();
        self.settings
            .path_answered(path.unwrap_or_else(SearchPath::unknown));
    }
}

fn read(body: &[u8]) -> Result<Option<SearchPath>, Error> {
    let mut reader = Reader::new(body);
    if reader.u16()? != 1 {
        return Err(Error::Value);
    }
    let value = reader
        .value()?
        .and_then(|value| std::str::from_utf8(value).ok());
    reader.end()?;
    Ok(value.map(SearchPath::parse))
}
