//! The thread that keeps the index up to date. It follows the journal like any other reader, and
//! nobody ever waits for it.
use super::{Index, aside};
use crate::error::IndexError;
use crate::reader::{Position, Reader};
use parking_lot::{Mutex, RwLock};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

/// How often the journal is looked at when nothing has come.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How long to wait when somebody else has the index open.
const RETRY_IN_USE: Duration = Duration::from_secs(1);
/// How long to wait after a failure, so that a disk that fails is not kept busy.
const RETRY_FAILED: Duration = Duration::from_secs(10);
/// How often the index is brought to the disk.
const FLUSH_EVERY: Duration = Duration::from_secs(5);

/// Keeps an [`Index`] up to date until it is dropped.
#[derive(Debug)]
pub struct Indexer {
    shared: Arc<Shared>,
    handle: Option<JoinHandle<()>>,
}

/// How the index is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IndexStatus {
    /// Up to where the journal is indexed.
    pub position: Position,
    /// Everything that was in the journal at the last look is indexed.
    pub current: bool,
    /// How often the index was found damaged, put aside and built anew.
    pub rebuilt: u64,
    /// Why there is no index now, when there is none.
    pub problem: Option<String>,
}

#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    reader: Reader,
    index: RwLock<Option<Arc<Index>>>,
    status: Mutex<IndexStatus>,
    rebuild: AtomicBool,
    stop: AtomicBool,
}

impl Indexer {
    /// Begins to index the journal of `reader` in `dir`.
    ///
    /// # Errors
    /// No thread can be started. What is wrong with the index itself is in the status.
    pub fn start(dir: impl Into<PathBuf>, reader: Reader) -> io::Result<Indexer> {
        let shared = Arc::new(Shared {
            dir: dir.into(),
            reader: reader.with_index(None),
            index: RwLock::new(None),
            status: Mutex::new(IndexStatus::default()),
            rebuild: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        });
        let given = Arc::clone(&shared);
        let handle = Builder::new()
            .name("journal-index".into())
            .spawn(move || given.run())?;
        Ok(Indexer {
            shared,
            handle: Some(handle),
        })
    }

    /// The index, when there is one: for [`Reader::with_index`].
    #[must_use]
    pub fn index(&self) -> Option<Arc<Index>> {
        self.shared.index.read().clone()
    }

    /// How the index is doing.
    #[must_use]
    pub fn status(&self) -> IndexStatus {
        self.shared.status.lock().clone()
    }

    /// Throws the index away and builds it anew, in the background.
    pub fn rebuild(&self) {
        self.shared.rebuild.store(true, Ordering::Release);
        self.wake();
    }

    fn wake(&self) {
        if let Some(handle) = &self.handle {
            handle.thread().unpark();
        }
    }
}

impl Drop for Indexer {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        self.wake();
        if self
            .handle
            .take()
            .is_some_and(|handle| handle.join().is_err())
        {
            tracing::error!("the thread of the journal's index panicked");
        }
    }
}

impl Shared {
    fn run(&self) {
        let mut put_aside = false;
        while !self.stopped() {
            let opened = if self.rebuild.swap(false, Ordering::AcqRel) {
                super::remove(&self.dir).and_then(|()| Index::open(&self.dir, &self.reader))
            } else if put_aside {
                Index::rebuild(&self.dir)
            } else {
                Index::open(&self.dir, &self.reader)
            };
            put_aside = false;
            let done = opened.and_then(|index| {
                let index = Arc::new(index);
                let done = self.keep(&index);
                self.withdraw(index);
                done
            });
            if let Err(error) = done {
                let pause = self.tell(&error, &mut put_aside);
                self.pause(pause);
            }
        }
    }

    /// Takes the index back, and waits for those who still ask it: its database knows its
    /// directory by name, and must be gone before another one is there.
    fn withdraw(&self, index: Arc<Index>) {
        *self.index.write() = None;
        while Arc::strong_count(&index) > 1 && !self.stopped() {
            std::thread::park_timeout(LOOK_EVERY / 10);
        }
        index_closed(index);
    }

    /// Follows the journal; returns in order to stop, or to be built anew.
    fn keep(&self, index: &Arc<Index>) -> Result<(), IndexError> {
        *self.index.write() = Some(Arc::clone(index));
        let mut flushed = Instant::now();
        let mut dirty = false;
        loop {
            let done = index.catch_up(&self.reader)?;
            dirty |= done.records > 0;
            {
                let mut status = self.status.lock();
                status.position = index.position()?;
                status.current = !done.more;
                status.problem = None;
            }
            let stopped = self.stopped();
            if dirty && (stopped || flushed.elapsed() >= FLUSH_EVERY) {
                index.flush()?;
                flushed = Instant::now();
                dirty = false;
            }
            if stopped || self.rebuild.load(Ordering::Acquire) {
                return Ok(());
            }
            if !done.more {
                self.pause(LOOK_EVERY);
            }
        }
    }

    /// Says what is wrong, and what is done about it. Returns after which time.
    fn tell(&self, error: &IndexError, put_aside: &mut bool) -> Duration {
        let mut status = self.status.lock();
        let text = error.to_string();
        let new = status.problem.as_ref() != Some(&text);
        status.problem = Some(text);
        status.current = false;
        match error {
            IndexError::InUse { .. } => {
                if new {
                    tracing::warn!(%error, "queries read the journal itself");
                }
                RETRY_IN_USE
            }
            error if makes_no_sense(error) => {
                *put_aside = true;
                status.rebuilt += 1;
                let aside = aside(&self.dir);
                tracing::warn!(%error, aside = %aside.display(), "the index is put aside and built anew from the journal");
                if status.rebuilt > 1 {
                    RETRY_FAILED
                } else {
                    Duration::ZERO
                }
            }
            _ => {
                if new {
                    tracing::error!(%error, "queries read the journal itself");
                }
                RETRY_FAILED
            }
        }
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    fn pause(&self, time: Duration) {
        let deadline = Instant::now() + time;
        while !self.stopped() && !self.rebuild.load(Ordering::Acquire) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            std::thread::park_timeout(left);
        }
    }
}

/// Is it the files? What the kernel says (no space, no permission) a new index would not help.
fn makes_no_sense(error: &IndexError) -> bool {
    match error {
        IndexError::Corrupt { .. } => true,
        IndexError::Database {
            source: sled::Error::Io(error),
            ..
        } => error.raw_os_error().is_none(),
        IndexError::Database { .. } => true,
        IndexError::InUse { .. } | IndexError::Io { .. } => false,
    }
}

/// A database that met files it cannot make sense of can give up once more when it is closed.
fn index_closed(index: Arc<Index>) {
    let dir = index.dir.clone();
    let closed = super::guarded(&dir, move || {
        drop(index);
        Ok(())
    });
    if let Err(error) = closed {
        tracing::debug!(%error, "the index was not closed in order");
    }
}
