//! Copy data from the client: COPY FROM STDIN, and both ways at once, as replication does.
//!
//! A request that may copy is alone in the pipeline, so what the client sends here is for it and for
//! nothing else. Outside of a copy the upstream ignores copy data, but takes a note of it
//! (`doing_extended_query_message`); it does not get any there.
use super::pipeline::{Entry, Request};
use super::serving::{Copy, Serving, Step};
use crate::codec::{HEADER_BYTES, Header, frame};
use crate::error::Error;
use gateway_protocol::Effects;

impl Serving {
    /// A message of the client while the upstream reads copy data and nothing else.
    pub(super) fn step_copying(&mut self, header: Header, bytes: &[u8]) -> Result<Step, Error> {
        match header.kind {
            b'd' => self.up.copy_bytes += header.size as u64,
            b'c' | b'f' => {
                self.reply.copy.end();
                self.up.flushed = false;
            }
            // The upstream ignores these.
            b'H' => return Ok(Step::Drop(header.size)),
            b'S' => return self.early_sync(header.size),
            _ => return Err(Error::Copying),
        }
        // The upstream has read what was before it.
        self.up.early_syncs = 0;
        Ok(self.up.rest.begin(header.size, bytes.len(), false))
    }

    /// Drivers send a Sync behind an Execute before they know that it copies. The upstream ignores
    /// one that it reads while it copies, and answers one that it reads when the copy has failed.
    fn early_sync(&mut self, size: usize) -> Result<Step, Error> {
        self.up.early_syncs += 1;
        if self.up.early_syncs > self.shared.limits.pipeline {
            return Err(Error::Pipeline);
        }
        Ok(Step::Drop(size))
    }

    /// The copy failed before the upstream got anything behind the early Syncs: they count.
    pub(super) fn send_early_syncs(&mut self, out: &mut dyn Effects) {
        for _ in 0..std::mem::take(&mut self.up.early_syncs) {
            out.send_upstream(&self.admitted, &frame(b'S', |_| {}));
            self.push_sync(HEADER_BYTES);
        }
    }

    pub(super) fn push_sync(&mut self, size: usize) {
        self.up.absorbing = false;
        self.up.unsynced = false;
        self.pipeline.push(Entry::new(Request::Sync, size));
    }
}

impl Copy {
    /// Does the upstream read copy data and nothing else?
    pub(super) const fn is_reading(self) -> bool {
        matches!(
            self,
            Copy::In { ended: false } | Copy::Both { ended: false }
        )
    }

    /// The client has said that it was all.
    const fn end(&mut self) {
        match self {
            Copy::In { ended } | Copy::Both { ended } => *ended = true,
            Copy::None | Copy::Out => {}
        }
    }
}
