//! The requests that wait for their answers, in the order in which they went upstream.
//!
//! Which answer belongs to which request must never be a guess: a row that is taken for that of
//! another statement is masked, and recorded, as that one's. The protocol leaves it open in two places,
//! and there a request is sent alone, with nothing behind it until its answer is whole:
//!
//! - One that may copy from the client. What the upstream reads as copy data, and whether it ignores
//!   a Sync, depends on how far the copy is.
//! - A Query or a FunctionCall behind messages of the extended protocol without a Sync in between. A
//!   timeout that runs out between the two makes the upstream skip it, without a word about it.
use super::queue::Queue;

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
        matches!(self, Request::Query | Request::FunctionCall | Request::Sync)
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
    /// Nothing goes upstream behind it before it is answered, but for copy data that it asks for.
    pub(super) alone: bool,
    /// It executes a portal that could be another by now, since it has a name, or be used up.
    pub(super) is_unsure: bool,
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
            alone: false,
            is_unsure: false,
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
        self.first() < self.segment
    }

    pub(super) const fn segment(&self) -> u64 {
        self.segment
    }

    /// The position that the next request gets.
    pub(super) const fn next(&self) -> u64 {
        self.next
    }

    /// The position of the first request.
    pub(super) fn first(&self) -> u64 {
        self.next - self.entries.len() as u64
    }

    pub(super) fn front(&self) -> Option<Entry> {
        self.entries.front().copied()
    }

    /// Must what is behind the last request wait for its answer?
    pub(super) fn is_closed(&self) -> bool {
        self.entries.back().is_some_and(|entry| entry.alone)
    }

    /// The request behind the first one.
    pub(super) fn second(&self) -> Option<Entry> {
        self.entries.iter().nth(1).copied()
    }

    /// Takes the first request with its position.
    pub(super) fn pop(&mut self) -> Option<(u64, Entry)> {
        let position = self.first();
        let entry = self.entries.pop()?;
        self.running -= usize::from(entry.request.runs());
        Some((position, entry))
    }
}
