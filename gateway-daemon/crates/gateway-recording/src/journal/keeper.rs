//! The journal's own threads: one brings records to the disk, one readies what is written next.
use super::state::{AHEAD_BYTES, Durable, Spare};
use super::{Durability, Shared, new_header};
use crate::error::JournalError;
use crate::format::HEADER_BYTES;
use crate::segment::WritableSegment;
use parking_lot::Mutex;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle, Thread};
use std::time::{Duration, Instant};

/// How long after a failure to make a segment the next attempt comes.
const RETRY: Duration = Duration::from_millis(250);

/// Both threads; they end when this is dropped, the flusher last, with everything on the disk.
pub(super) struct Keepers {
    preparer: Keeper,
    flusher: Keeper,
}

struct Keeper {
    bell: Bell,
    handle: Mutex<Option<JoinHandle<()>>>,
}

/// Calls a thread to work.
#[derive(Clone)]
struct Bell {
    call: Arc<Call>,
    thread: Thread,
}

/// What a thread is called for.
#[derive(Default)]
struct Call {
    /// There is something to do.
    wanted: AtomicBool,
    /// It must not wait.
    urgent: AtomicBool,
    stop: AtomicBool,
}

impl Keepers {
    pub(super) fn start(shared: &Arc<Shared>) -> io::Result<Keepers> {
        let preparer = {
            let shared = Arc::clone(shared);
            Keeper::start("journal-prepare", move |call| run_preparer(&shared, call))?
        };
        let flusher = {
            let shared = Arc::clone(shared);
            let preparer = preparer.bell.clone();
            Keeper::start("journal-flush", move |call| {
                run_flusher(&shared, call, &preparer)
            })?
        };
        preparer.bell.ring();
        Ok(Keepers { preparer, flusher })
    }

    /// There are records to bring to the disk, within the time that was agreed on.
    pub(super) fn flush(&self) {
        self.flusher.bell.ring();
    }

    /// A segment is full; the next spare waits until it is on the disk.
    pub(super) fn flush_now(&self) {
        self.flusher.bell.call.urgent.store(true, Ordering::Release);
        self.flusher.bell.ring();
    }

    /// Ends both, the flusher last, with everything on the disk.
    pub(super) fn end(&self) {
        self.preparer.end();
        self.flusher.end();
    }

    /// Pages or a segment are needed.
    pub(super) fn prepare(&self) {
        self.preparer.bell.ring();
    }
}

impl Keeper {
    fn start(name: &str, work: impl FnOnce(&Call) + Send + 'static) -> io::Result<Keeper> {
        let call = Arc::new(Call::default());
        let given = Arc::clone(&call);
        let handle = Builder::new()
            .name(name.to_owned())
            .spawn(move || work(&given))?;
        let bell = Bell {
            call,
            thread: handle.thread().clone(),
        };
        Ok(Keeper {
            bell,
            handle: Mutex::new(Some(handle)),
        })
    }
}

impl Bell {
    fn ring(&self) {
        self.call.wanted.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

impl Keeper {
    fn end(&self) {
        self.bell.call.stop.store(true, Ordering::Release);
        self.bell.thread.unpark();
        let handle = self.handle.lock().take();
        if handle.is_some_and(|handle| handle.join().is_err()) {
            tracing::error!(
                thread = self.bell.thread.name(),
                "a thread of the journal panicked"
            );
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.end();
    }
}

impl Call {
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Waits to be called, for the time to pass, or for the end.
    fn wait(&self, at_most: Option<Duration>) {
        self.park(at_most, |call| call.wanted.swap(false, Ordering::AcqRel));
    }

    /// Sleeps, unless it is urgent or the end comes.
    fn sleep(&self, time: Duration) {
        self.park(Some(time), |call| call.urgent.swap(false, Ordering::AcqRel));
    }

    fn park(&self, at_most: Option<Duration>, called: impl Fn(&Call) -> bool) {
        let deadline = at_most.map(|at_most| Instant::now() + at_most);
        while !self.stopped() && !called(self) {
            match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                Some(left) if left.is_zero() => return,
                Some(left) => std::thread::park_timeout(left),
                None => std::thread::park(),
            }
        }
    }
}

fn run_flusher(shared: &Shared, call: &Call, preparer: &Bell) {
    loop {
        call.wait(None);
        if let Durability::Within(time) = shared.options.durability {
            call.sleep(time);
        }
        // What goes wrong is kept in the state, and the next append says it.
        let _ = shared.sync();
        if call.stopped() {
            return;
        }
        if shared.wants_spare() {
            preparer.ring();
        }
    }
}

fn run_preparer(shared: &Shared, call: &Call) {
    loop {
        shared.populate();
        let pause = shared.prepare_spare();
        if call.stopped() {
            return;
        }
        call.wait(pause);
        if call.stopped() {
            return;
        }
    }
}

impl Shared {
    fn wants_spare(&self) -> bool {
        !matches!(self.state.lock().spare, Spare::Ready(_))
    }

    /// Brings everything that was appended before this call to the disk.
    pub(super) fn sync(&self) -> Result<(), Arc<str>> {
        let target = {
            let state = self.state.lock();
            Durable {
                segment: state.segment.number,
                offset: state.offset,
            }
        };
        let mut durable = self.durable.lock();
        // Whoever held the lock may have brought these records along.
        if (durable.segment, durable.offset) >= (target.segment, target.offset) {
            return match &self.state.lock().broken {
                Some(broken) => Err(Arc::clone(broken)),
                None => Ok(()),
            };
        }
        let (retired, segment, offset, populated) = {
            let mut state = self.state.lock();
            state.dirty = false;
            if let Some(broken) = &state.broken {
                return Err(Arc::clone(broken));
            }
            let retired = state.retired.clone();
            (
                retired,
                Arc::clone(&state.segment),
                state.offset,
                state.populated,
            )
        };
        if let Some((full, end)) = &retired {
            self.sync_segment(&mut durable, full, *end)?;
            tidy(full.release(0..full.bytes));
            self.state.lock().retired = None;
        }
        self.sync_segment(&mut durable, &segment, offset)?;
        // The page that is half full was made read-only by being written back.
        let page = offset / HEADER_BYTES * HEADER_BYTES;
        tidy(
            segment
                .release(0..page)
                .and_then(|()| segment.populate(page..populated)),
        );
        Ok(())
    }

    fn sync_segment(
        &self,
        durable: &mut Durable,
        segment: &WritableSegment,
        end: u64,
    ) -> Result<(), Arc<str>> {
        let start = if durable.segment == segment.number {
            durable.offset
        } else {
            HEADER_BYTES
        };
        segment
            .sync(start..end)
            .map_err(|error| self.break_down(segment, &error))?;
        *durable = Durable {
            segment: segment.number,
            offset: end,
        };
        Ok(())
    }

    /// What the disk refused once is not asked for again: the kernel forgets which pages it could
    /// not write, and would call the next attempt a success.
    fn break_down(&self, segment: &WritableSegment, error: &io::Error) -> Arc<str> {
        let file = segment.path().display();
        let text: Arc<str> = format!(
            "{file} could not be brought to the disk ({error}); nothing is recorded until the gateway is started anew"
        )
        .into();
        tracing::error!(%text, "the journal is broken");
        self.state.lock().broken = Some(Arc::clone(&text));
        self.spare_changed.notify_all();
        text
    }

    /// Readies pages ahead of the writer.
    fn populate(&self) {
        let (segment, range) = {
            let state = self.state.lock();
            let end = (state.offset + AHEAD_BYTES).next_multiple_of(HEADER_BYTES);
            (
                Arc::clone(&state.segment),
                state.populated..end.min(state.segment.bytes),
            )
        };
        if let Err(error) = segment.populate(range.clone()) {
            tracing::warn!(%error, file = %segment.path().display(), "no pages ahead of the journal's writer");
        }
        let mut state = self.state.lock();
        if state.segment.number == segment.number {
            state.populated = state.populated.max(range.end);
            state.pages_called = false;
        }
    }

    /// Makes the next segment, when there is none and the one before the last is on the disk.
    /// Returns after which time to try again.
    fn prepare_spare(&self) -> Option<Duration> {
        let number = {
            let state = self.state.lock();
            if matches!(state.spare, Spare::Ready(_)) || state.retired.is_some() {
                return None;
            }
            state.next_segment
        };
        let header = new_header(&self.options, self.boot, number);
        let made = WritableSegment::create(&self.options.dir, &header);
        if let Ok(segment) = &made
            && let Err(error) = segment.populate(0..AHEAD_BYTES)
        {
            tracing::warn!(%error, file = %segment.path().display(), "no pages ahead of the journal's writer");
        }
        let mut state = self.state.lock();
        let failed_before = matches!(state.spare, Spare::Failed(_));
        let pause = match made {
            Ok(segment) => {
                state.next_segment = number + 1;
                state.spare = Spare::Ready(Arc::new(segment));
                None
            }
            Err(error) => {
                state.spare = Spare::Failed(words(&error));
                Some(RETRY)
            }
        };
        let failed = matches!(state.spare, Spare::Failed(_));
        drop(state);
        match (failed_before, failed) {
            (false, true) => {
                tracing::error!(dir = %self.options.dir.display(), "no room is left to record in once the current segment is full")
            }
            (true, false) => {
                tracing::info!(dir = %self.options.dir.display(), "there is room to record in again")
            }
            _ => {}
        }
        self.spare_changed.notify_all();
        pause
    }
}

/// It is only about memory; the records are where they belong whether this works or not.
fn tidy(done: io::Result<()>) {
    if let Err(error) = done {
        tracing::debug!(%error, "the pages of the journal could not be kept in order");
    }
}

fn words(error: &JournalError) -> Arc<str> {
    error.to_string().into()
}
