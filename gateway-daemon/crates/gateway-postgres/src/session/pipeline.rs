//! The requests that wait for their answers, in the order in which they went upstream.
use super::queue::Queue;
use crate::error::Error;

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    Query,
    Parse,
    Bind,
    DescribeStatement,
    DescribePortal,
    Execute,
    Close,
    FunctionCall,
    Sync,
    /// A Sync that the upstream may have ignored, because it read it during COPY FROM STDIN.
    MaybeSync,
    /// CopyDone or CopyFail. It has no answer; it marks where copy data ends.
    CopyEnd,
}

impl Request {
    /// Is it skipped after an error, up to the next Sync?
    pub(super) const fn is_extended(self) -> bool {
        matches!(
            self,
            Request::Parse
                | Request::Bind
                | Request::DescribeStatement
                | Request::DescribePortal
                | Request::Execute
                | Request::Close
        )
    }

    /// Does it run a statement or a function?
    const fn runs(self) -> bool {
        matches!(
            self,
            Request::Query | Request::Execute | Request::FunctionCall
        )
    }

    /// Is it answered with a ReadyForQuery?
    pub(super) const fn ends_ready(self) -> bool {
        matches!(
            self,
            Request::Query | Request::FunctionCall | Request::Sync | Request::MaybeSync
        )
    }
}

/// Whose request it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Own {
    /// The client's.
    No,
    /// The gateway's, in a batch that ends with a Sync of the gateway's.
    Apart,
    /// The gateway's, in the middle of a batch of the client's: if it fails, the client's fails.
    Within,
}

/// One request. Small, since 10,000 statements in a row make 50,000 of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) request: Request,
    /// Something that cannot succeed went upstream in its place.
    pub(super) refused: bool,
    /// It changes what a name stands for; the change is at the front of the queue of changes.
    pub(super) changes: bool,
    /// Its answer describes a statement; which one is at the front of the queue of those.
    pub(super) describes: bool,
    /// What the policy says about its answer is at the front of the queue of views.
    pub(super) viewed: bool,
    /// Its answer is kept; how is in the queue of keepings.
    pub(super) recorded: bool,
    /// It makes something of the name of a cursor; what is in the queue of those changes.
    pub(super) names_cursor: bool,
    /// Nothing sensitive is in what it is about.
    pub(super) clean: bool,
    /// The gateway asked it, and its answer is not for the client.
    pub(super) own: Own,
    /// The number of its operation in the session; 0 when it has none.
    pub(super) operation: u32,
    /// Its size in bytes.
    pub(super) bytes_up: u32,
}

impl Entry {
    pub(super) fn new(request: Request, size: usize) -> Entry {
        Entry {
            request,
            refused: false,
            changes: false,
            describes: false,
            viewed: false,
            recorded: false,
            names_cursor: false,
            clean: false,
            own: Own::No,
            operation: 0,
            bytes_up: u32::try_from(size).unwrap_or(u32::MAX),
        }
    }
}

/// The queue. Every entry has a position, which only grows.
#[derive(Debug, Default)]
pub(super) struct Pipeline {
    entries: Queue<Entry>,
    next: u64,
    /// How many of them run something.
    running: usize,
    /// The first position behind the last request that is answered with a ReadyForQuery. What is
    /// asked from here on is skipped by the upstream when something before it in here fails.
    segment: u64,
}

impl Pipeline {
    /// Appends a request of the gateway's own.
    pub(super) fn push_own(&mut self, request: Request, own: Own) {
        self.push(Entry {
            own,
            ..Entry::new(request, 0)
        });
    }

    /// Appends a request and returns its position.
    pub(super) fn push(&mut self, entry: Entry) -> u64 {
        let position = self.next;
        self.running += usize::from(entry.request.runs());
        self.entries.push(entry);
        self.next += 1;
        if entry.request.ends_ready() {
            self.segment = self.next;
        }
        position
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Does a statement run, or wait to?
    pub(super) const fn is_running(&self) -> bool {
        self.running > 0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Does a request wait behind which the upstream goes on even if it fails?
    pub(super) fn has_open_segment(&self) -> bool {
        self.next - (self.entries.len() as u64) < self.segment
    }

    pub(super) const fn segment(&self) -> u64 {
        self.segment
    }

    /// The position that the next request gets.
    pub(super) const fn next(&self) -> u64 {
        self.next
    }

    pub(super) fn front(&self) -> Option<Entry> {
        self.entries.front().copied()
    }

    /// The request behind the first one.
    pub(super) fn second(&self) -> Option<Entry> {
        self.entries.iter().nth(1).copied()
    }

    /// Takes the first request with its position.
    pub(super) fn pop(&mut self) -> Option<(u64, Entry)> {
        let position = self.next - self.entries.len() as u64;
        let entry = self.entries.pop()?;
        self.running -= usize::from(entry.request.runs());
        Some((position, entry))
    }

    /// Could it be that nothing waits any more, when so many answers to a Sync may have been taken
    /// for that of an earlier one?
    pub(super) fn may_be_answered(&self, surplus: u32) -> bool {
        let mut left = surplus;
        self.entries.iter().all(|entry| match entry.request {
            Request::CopyEnd | Request::MaybeSync => true,
            Request::Sync => {
                let could = left > 0;
                left = left.saturating_sub(1);
                could
            }
            _ => false,
        })
    }

    /// The upstream has begun to read copy data for the first request. Says whether the client has
    /// already ended it. A Sync in between may be ignored.
    ///
    /// # Errors
    /// Something else is in between, which the upstream takes for a broken copy.
    pub(super) fn begin_copy(&mut self) -> Result<bool, Error> {
        for entry in self.entries.iter_mut().skip(1) {
            match entry.request {
                Request::CopyEnd => return Ok(true),
                Request::Sync | Request::MaybeSync => entry.request = Request::MaybeSync,
                _ => return Err(Error::Copying),
            }
        }
        Ok(false)
    }

    /// The copy of the first request went well to its end, so the upstream ignored each Sync up to
    /// there. False when the client has not ended it, and the upstream cannot have succeeded.
    pub(super) fn end_copy(&mut self) -> bool {
        let end = self
            .entries
            .iter()
            .position(|entry| entry.request == Request::CopyEnd);
        let Some(end) = end else { return false };
        // Positions are counted from the back, so the first request keeps a place further behind.
        // Nothing between it and the end of the copy changes a name.
        if let Some(first) = self.entries.front().copied() {
            self.entries.skip(end);
            if let Some(slot) = self.entries.front_mut() {
                *slot = first;
            }
        }
        true
    }
}
