//! The journal as the control API's archive. The command line reads through it too when the
//! daemon is dead.
use crate::terminal::moment;
use gateway_control::{ActFilter, Archive, Filter, Gone, LineSink, PortError};
use gateway_core::{SessionId, TreeId};
use gateway_recording::{
    ActQuery, Follower, Indexer, OperationView, Pattern, Query, ReadError, Reader, SessionView,
    Start, acts, operations, replay, sessions,
};
use serde::Serialize;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How often a follower looks for more.
const LOOK_EVERY: Duration = Duration::from_millis(50);
const MINUTE_NS: u64 = 60_000_000_000;
/// How many sessions of one tree are looked through for its processes.
const SESSIONS_MAX: usize = 1000;

/// Reads the journal of a directory.
pub(crate) struct JournalArchive {
    reader: Reader,
    /// Makes questions about sessions and trees quick; the daemon's only.
    indexer: Option<Indexer>,
    /// What cannot be read is said here; what can be is still shown.
    damaged: Box<dyn Fn(&ReadError) + Send + Sync>,
}

fn unreadable(error: &ReadError) -> PortError {
    PortError(format!("the journal cannot be read: {error}"))
}

impl JournalArchive {
    /// For the command line: damage is said on stderr.
    pub(crate) fn open(journal: &Path) -> Result<JournalArchive, PortError> {
        let reader = Reader::open(journal).map_err(|error| unreadable(&error))?;
        let damaged = |error: &ReadError| eprintln!("gateway: a part of the journal: {error}");
        let damaged = Box::new(damaged);
        Ok(JournalArchive {
            reader,
            indexer: None,
            damaged,
        })
    }

    /// For the daemon: damage is said in its log.
    pub(crate) fn of_daemon(reader: Reader, indexer: Indexer) -> JournalArchive {
        let said = AtomicU64::new(u64::MAX);
        let damaged = Box::new(move |error: &ReadError| {
            // Whoever asks meets the same damage again: once a minute is enough.
            let minute = moment::now().0 / MINUTE_NS;
            if said.swap(minute, Ordering::Relaxed) != minute {
                tracing::warn!(%error, "a part of the journal is damaged");
            }
        });
        JournalArchive {
            reader,
            indexer: Some(indexer),
            damaged,
        }
    }

    /// The reader, with the index that there is now.
    fn reader(&self) -> Reader {
        let index = self.indexer.as_ref().and_then(Indexer::index);
        self.reader.clone().with_index(index)
    }

    /// One session as it was recorded.
    pub(crate) fn session_view(
        &self,
        session: SessionId,
    ) -> Result<Option<SessionView>, PortError> {
        let query = Query {
            session: Some(session),
            ..Query::default()
        };
        let found = sessions(&self.reader(), &query).map_err(|error| unreadable(&error))?;
        Ok(self.readable(found).next())
    }

    /// The sessions of a tree, oldest first; at most a thousand.
    pub(crate) fn sessions_of(&self, tree: TreeId) -> Result<Vec<SessionView>, PortError> {
        let query = Query {
            tree: Some(tree),
            ..Query::default()
        };
        let found = sessions(&self.reader(), &query).map_err(|error| unreadable(&error))?;
        Ok(self.readable(found).take(SESSIONS_MAX).collect())
    }

    /// What could be read.
    fn readable<'a, T: 'a>(
        &'a self,
        found: impl Iterator<Item = Result<T, ReadError>> + 'a,
    ) -> impl Iterator<Item = T> + 'a {
        found.filter_map(|item| item.inspect_err(|error| (self.damaged)(error)).ok())
    }

    fn follow(&self, query: &Query, out: &mut dyn LineSink) -> Result<(), PortError> {
        let mut follower = Follower::new(&self.reader(), query, Start::Beginning)
            .map_err(|error| unreadable(&error))?;
        loop {
            let sent = match follower.poll(Instant::now()) {
                Some(Ok(view)) => send(out, &view)?,
                Some(Err(error)) => {
                    (self.damaged)(&error);
                    Ok(())
                }
                None => out.pause(LOOK_EVERY),
            };
            if sent.is_err() {
                return Ok(());
            }
        }
    }
}

impl Archive for JournalArchive {
    fn sessions(&self, filter: &Filter, out: &mut dyn LineSink) -> Result<(), PortError> {
        let found =
            sessions(&self.reader(), &query_of(filter)).map_err(|error| unreadable(&error))?;
        for view in self.readable(found) {
            if send(out, &view)?.is_err() {
                break;
            }
        }
        Ok(())
    }

    fn operations(
        &self,
        filter: &Filter,
        follow: bool,
        out: &mut dyn LineSink,
    ) -> Result<(), PortError> {
        let query = query_of(filter);
        if follow {
            return self.follow(&query, out);
        }
        let found = operations(&self.reader(), &query).map_err(|error| unreadable(&error))?;
        for view in self.readable(found) {
            if send(out, &view)?.is_err() {
                break;
            }
        }
        Ok(())
    }

    fn acts(&self, filter: &ActFilter, out: &mut dyn LineSink) -> Result<(), PortError> {
        let query = ActQuery {
            since: filter.since,
            who: filter.principal.clone().map(Pattern::new),
            act: filter.act.clone(),
            target: filter.target.clone().map(Pattern::new),
        };
        let found = acts(&self.reader(), &query).map_err(|error| unreadable(&error))?;
        for view in self.readable(found) {
            if send(out, &view)?.is_err() {
                break;
            }
        }
        Ok(())
    }

    fn session(&self, session: SessionId, out: &mut dyn LineSink) -> Result<bool, PortError> {
        let Some(view) = self.session_view(session)? else {
            return Ok(false);
        };
        if send(out, &view)?.is_err() {
            return Ok(true);
        }
        let query = Query {
            session: Some(session),
            ..Query::default()
        };
        let found = operations(&self.reader(), &query).map_err(|error| unreadable(&error))?;
        for view in self.readable(found) {
            let view: OperationView = view;
            if send(out, &view)?.is_err() {
                break;
            }
        }
        Ok(true)
    }

    fn replay(
        &self,
        session: SessionId,
        after: Option<u64>,
        out: &mut dyn LineSink,
    ) -> Result<bool, PortError> {
        let found = replay(&self.reader(), session, after);
        let mut found = found.map_err(|error| unreadable(&error))?;
        for view in self.readable(found.by_ref()) {
            if send(out, &view)?.is_err() {
                return Ok(true);
            }
        }
        Ok(found.is_known())
    }
}

fn send<T: Serialize>(out: &mut dyn LineSink, view: &T) -> Result<Result<(), Gone>, PortError> {
    let line = serde_json::to_vec(view).map_err(|error| PortError(error.to_string()))?;
    Ok(out.line(line))
}

fn query_of(filter: &Filter) -> Query {
    Query {
        session: filter.session,
        tree: filter.tree,
        principal: filter.principal.clone().map(Pattern::new),
        resource: filter.resource.clone().map(Pattern::new),
        protocol: filter.protocol.clone(),
        since: filter.since,
        live: filter.live,
        verb: filter.verb,
        verdict: filter.verdict.clone(),
        grep: filter.grep.clone(),
        disclosed: filter.disclosed.clone().map(Pattern::new),
        masked: filter.masked.clone().map(Pattern::new),
    }
}

#[cfg(test)]
mod tests;
