//! A link while it is open: turns in both directions, one after the other.
use super::buffers::Held;
use super::closing::{Cause, Closing};
use super::end::End;
use super::idle::Idle;
use super::scratch::{self, Scratch};
use super::stream::Stream;
use super::turn::{self, Output, Outputs};
use super::{ROUNDS_MAX, RelayLimits, send};
use crate::meter::Meter;
use crate::protocol::Closed;
use crate::session::{ProtocolError, Session, Side};
use crate::stop::{Stop, StopReason};
use gateway_core::Governor;
use gateway_core::governor::Ending;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;
use tokio::io::ReadBuf;

/// An incomplete frame up to this size is copied before what is read next, so that it needs no
/// memory of its own to grow in. More would let a peer that sends byte by byte buy a large copy
/// with each of them.
const COPIED_MAX: usize = 16 * 1024;

/// A link while it is open. In the order of use: between two turns of a session run those of many
/// others and much of the kernel, so what a turn touches is fetched anew, line by line.
#[repr(C)]
pub(super) struct Open<S> {
    waker: Option<Waker>,
    stop: Arc<Stop>,
    session: Box<dyn Session>,
    begun: bool,
    cleared: bool,
    refused: bool,
    /// An operation waits for a human; what the client sends stays where it is.
    holding: bool,
    /// The session waits for something of the upstream; what the client sends stays where it is.
    paused: bool,
    /// The side that sent its last byte first.
    first_finished: Option<Side>,
    client: End<S>,
    upstream: End<S>,
    bytes_up: u64,
    bytes_down: u64,
    limits: RelayLimits,
    meter: Arc<dyn Meter>,
    idle: Option<Idle>,
    governor: Governor,
}

impl<S: Stream> Open<S> {
    pub(super) fn new(
        client: End<S>,
        upstream: End<S>,
        stop: Arc<Stop>,
        meter: Arc<dyn Meter>,
        governor: Governor,
        session: Box<dyn Session>,
        limits: RelayLimits,
    ) -> Open<S> {
        let bytes_up = client.held.len() as u64;
        Open {
            client,
            upstream,
            stop,
            meter,
            governor,
            session,
            limits,
            idle: limits.idle.map(Idle::new),
            waker: None,
            begun: false,
            bytes_up,
            bytes_down: 0,
            cleared: false,
            refused: false,
            holding: false,
            paused: false,
            first_finished: None,
        }
    }

    pub(super) const fn end(&self, side: Side) -> &End<S> {
        match side {
            Side::Client => &self.client,
            Side::Upstream => &self.upstream,
        }
    }

    pub(super) const fn end_mut(&mut self, side: Side) -> &mut End<S> {
        match side {
            Side::Client => &mut self.client,
            Side::Upstream => &mut self.upstream,
        }
    }

    pub(super) fn stop(&self) -> Arc<Stop> {
        Arc::clone(&self.stop)
    }

    /// Ready with the cause of its end.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Cause> {
        if let Some(reason) = self.look_for_stop(context.waker()) {
            return Poll::Ready(Cause::stopped(reason));
        }
        match scratch::lend(|scratch| self.poll_rounds(context, scratch)) {
            Ok(()) => {}
            Err(cause) => return Poll::Ready(cause),
        }
        match &mut self.idle {
            // To wait for a human is not to be idle, and the wait has a limit of its own.
            Some(idle) if !self.holding => idle.poll(context).map(|()| Cause::idle()),
            _ => Poll::Pending,
        }
    }

    /// Was the link told to end? Registering is the dearer part, and a task's waker stays the same.
    fn look_for_stop(&mut self, waker: &Waker) -> Option<StopReason> {
        if !self
            .waker
            .as_ref()
            .is_some_and(|known| known.will_wake(waker))
        {
            self.stop.register(waker);
            self.waker = Some(waker.clone());
        }
        self.stop.reason()
    }

    /// Moves bytes until neither side has any, or until it is time to let others run.
    fn poll_rounds(
        &mut self,
        context: &mut Context<'_>,
        scratch: &mut Scratch,
    ) -> Result<(), Cause> {
        if !self.begun {
            self.begun = true;
            // Nothing has gone upstream yet, so what the upstream said, it said first.
            self.offer_held(Side::Upstream, context, &mut scratch.outputs)?;
            self.offer_held(Side::Client, context, &mut scratch.outputs)?;
        }
        // A side that had nothing wakes this task when it has; it is not asked again before.
        let mut waits = [false, false];
        for _ in 0..ROUNDS_MAX {
            // In each round: one that holds something has moved, so another follows, and waits.
            self.poll_answer(context, &mut scratch.outputs)?;
            self.note_end_of_paused();
            let mut moved = false;
            for (from, waits) in [Side::Upstream, Side::Client].into_iter().zip(&mut waits) {
                moved |= self.poll_direction(from, waits, context, scratch)?;
            }
            if self.client.finished && self.upstream.finished && self.is_delivered() {
                return Err(Cause::finished(self.first_finished.unwrap_or(Side::Client)));
            }
            if !moved {
                return Ok(());
            }
            if let Some(idle) = &mut self.idle {
                idle.touch();
            }
        }
        // Polled once, it wakes this task after the others and after a look at the sockets.
        let _ = pin!(tokio::task::yield_now()).poll(context);
        Ok(())
    }

    /// A client that is paused is not read from, so its end is not met with. It may still wait for
    /// answers, but not for ever.
    fn note_end_of_paused(&mut self) {
        if self.paused && self.idle.is_none() && self.client.stream.is_over() {
            self.idle = self.limits.half_closed.map(Idle::new);
        }
    }

    /// Offers what is held again, when there is an answer.
    fn poll_answer(
        &mut self,
        context: &mut Context<'_>,
        outputs: &mut Outputs,
    ) -> Result<(), Cause> {
        while self.holding {
            if self.client.stream.is_over() {
                return Err(Cause::finished(Side::Client));
            }
            if self.governor.poll_answer(context).is_pending() {
                break;
            }
            self.holding = false;
            if let Some(idle) = &mut self.idle {
                idle.touch();
            }
            self.offer_held(Side::Client, context, outputs)?;
            // A session that is paused finds something out before it asks again.
            if !self.holding
                && !self.paused
                && let Err(error) = self.governor.withdraw(turn::now())
            {
                // It went on without it, and that cannot be recorded.
                return Err(Cause::broken(error.into(), false, false));
            }
        }
        Ok(())
    }

    fn is_delivered(&self) -> bool {
        [&self.client, &self.upstream]
            .iter()
            .all(|end| end.told || end.deaf.is_some())
    }

    /// One direction once: what waits is written, then new bytes are read. True when it moved.
    fn poll_direction(
        &mut self,
        from: Side,
        waits: &mut bool,
        context: &mut Context<'_>,
        scratch: &mut Scratch,
    ) -> Result<bool, Cause> {
        let mut moved = self.poll_flush(from.other(), context)?;
        let was_paused = self.paused;
        if !*waits && self.may_read(from) {
            match self.poll_receive(from, context, scratch) {
                Poll::Ready(result) => {
                    result?;
                    moved = true;
                }
                Poll::Pending => *waits = true,
            }
        }
        if was_paused && !self.paused {
            self.offer_held(Side::Client, context, &mut scratch.outputs)?;
        }
        if self.end(from).finished && self.end(from.other()).has_taken_all() {
            let last = self.end(from.other()).finished;
            let to = self.end_mut(from.other());
            if last && !to.stream.announces_end() {
                // The close that follows says the same, in one system call less.
                to.told = true;
            } else {
                let _ = to.poll_tell(context);
            }
        }
        Ok(moved)
    }

    /// True when something was written.
    fn poll_flush(&mut self, to: Side, context: &mut Context<'_>) -> Result<bool, Cause> {
        if self.end(to).has_taken_all() {
            return Ok(false);
        }
        let mut count = 0;
        let _ = self.end_mut(to).poll_flush(context, &mut count);
        self.count_sent(to, count);
        self.check_deaf(to)?;
        Ok(count > 0)
    }

    fn count_sent(&mut self, to: Side, count: u64) {
        if to == Side::Client {
            self.bytes_down += count;
        }
    }

    /// A side that neither takes nor sends bytes is gone.
    fn check_deaf(&self, side: Side) -> Result<(), Cause> {
        match &self.end(side).deaf {
            Some(words) if self.end(side).finished => Err(Cause::gone(side, words)),
            _ => Ok(()),
        }
    }

    fn may_read(&self, from: Side) -> bool {
        let (end, to) = (self.end(from), self.end(from.other()));
        let held = (self.holding || self.paused) && from == Side::Client;
        !held
            && !end.finished
            && to.has_taken_all()
            && to.deaf.is_none()
            && end.pending.made() <= self.limits.made_bytes_max
    }

    /// Reads what a side has and takes it through the session.
    fn poll_receive(
        &mut self,
        from: Side,
        context: &mut Context<'_>,
        scratch: &mut Scratch,
    ) -> Poll<Result<(), Cause>> {
        let Scratch { input, outputs } = scratch;
        let end = self.end_mut(from);
        let kept = end.held.len();
        if kept > COPIED_MAX {
            return self.poll_receive_large(from, context, outputs);
        }
        let Some(room) = input.get_mut(kept..) else {
            return Poll::Pending;
        };
        let mut buffer = ReadBuf::new(room);
        if let Err(error) = ready!(Pin::new(&mut end.stream).poll_read(context, &mut buffer)) {
            return Poll::Ready(Err(self.read_failed(from, &error)));
        }
        let read = buffer.filled().len();
        if read == 0 {
            return Poll::Ready(self.finish(from, context, outputs));
        }
        // What was kept goes before what was read, only now that something was.
        if let Some(front) = input.get_mut(..kept) {
            front.copy_from_slice(end.held.filled());
        }
        self.count_received(from, read);
        let bytes = input.get(..kept + read).unwrap_or_default();
        let used = self.offer(from, bytes, context, outputs);
        Poll::Ready(used.map(|used| {
            let rest = bytes.get(used..).unwrap_or_default();
            self.end_mut(from).held.replace(rest);
        }))
    }

    /// The same for a frame that is too large for the scratch memory: it grows where it is held.
    fn poll_receive_large(
        &mut self,
        from: Side,
        context: &mut Context<'_>,
        outputs: &mut Outputs,
    ) -> Poll<Result<(), Cause>> {
        let limit = self.limits.frame_bytes_max;
        let end = self.end_mut(from);
        let size = end.held.len() as u64;
        let room = end.held.room(limit);
        if room.is_empty() {
            let limit = limit as u64;
            let limit_name = "limits.frame";
            let error = ProtocolError::TooLarge {
                side: from,
                size,
                limit,
                limit_name,
            };
            return Poll::Ready(Err(Cause::broken(error, false, false)));
        }
        let mut buffer = ReadBuf::new(room);
        if let Err(error) = ready!(Pin::new(&mut end.stream).poll_read(context, &mut buffer)) {
            return Poll::Ready(Err(self.read_failed(from, &error)));
        }
        let read = buffer.filled().len();
        if read == 0 {
            return Poll::Ready(self.finish(from, context, outputs));
        }
        end.held.extend(read);
        self.count_received(from, read);
        Poll::Ready(self.offer_held(from, context, outputs))
    }

    fn count_received(&mut self, from: Side, read: usize) {
        if from == Side::Client {
            self.bytes_up += read as u64;
        }
    }

    fn read_failed(&self, from: Side, error: &io::Error) -> Cause {
        match &self.end(from).deaf {
            // The write that failed before says more than the read that fails because of it.
            Some(words) => Cause::gone(from, words),
            None => Cause::failed(from, error),
        }
    }

    /// Offers what is held, without a read.
    fn offer_held(
        &mut self,
        from: Side,
        context: &mut Context<'_>,
        outputs: &mut Outputs,
    ) -> Result<(), Cause> {
        let mut held = std::mem::take(&mut self.end_mut(from).held);
        if held.len() > 0 {
            let used = self.offer(from, held.filled(), context, outputs)?;
            held.consume(used);
        }
        self.end_mut(from).held = held;
        Ok(())
    }

    /// One turn: bytes to the session, and what comes out to where it belongs.
    fn offer(
        &mut self,
        from: Side,
        bytes: &[u8],
        context: &mut Context<'_>,
        outputs: &mut Outputs,
    ) -> Result<usize, Cause> {
        let began = Instant::now();
        let result = turn::receive(&mut *self.session, from, bytes, &mut self.governor, outputs);
        match from {
            Side::Client if outputs.cleared > 0 => self.meter.cleared(began.elapsed()),
            Side::Upstream if outputs.masked => self.meter.masked(began.elapsed()),
            _ => {}
        }
        self.deliver(from, bytes, context, outputs, result)
    }

    /// A side has sent its last byte.
    fn finish(
        &mut self,
        from: Side,
        context: &mut Context<'_>,
        outputs: &mut Outputs,
    ) -> Result<(), Cause> {
        let end = self.end_mut(from);
        if let Some(words) = &end.deaf {
            // The error was told to the write before; this is no clean end.
            return Err(Cause::gone(from, words));
        }
        end.finished = true;
        let unused = end.held.len();
        end.held = Held::default();
        self.first_finished.get_or_insert(from);
        if self.idle.is_none() {
            self.idle = self.limits.half_closed.map(Idle::new);
        }
        let result = turn::finish(
            &mut *self.session,
            from,
            unused,
            &mut self.governor,
            outputs,
        );
        self.deliver(from, &[], context, outputs, result)
    }

    /// Sends what a turn brought, whether it went well or not.
    fn deliver<T>(
        &mut self,
        from: Side,
        input: &[u8],
        context: &mut Context<'_>,
        outputs: &Outputs,
        result: Result<T, ProtocolError>,
    ) -> Result<T, Cause> {
        self.cleared |= outputs.cleared > 0;
        self.refused |= outputs.refused > 0;
        self.holding |= outputs.held;
        self.paused = outputs.paused.unwrap_or(self.paused);
        self.send(Side::Upstream, &outputs.to_upstream, input, context);
        self.send(Side::Client, &outputs.to_client, input, context);
        match result {
            Err(error) => {
                let worded = outputs.to_client.made_len() > 0;
                Err(Cause::broken(error, worded, self.refused && !self.cleared))
            }
            Ok(_) if outputs.close => Err(Cause::closed(from, self.refused && !self.cleared)),
            Ok(value) => {
                self.check_deaf(Side::Upstream)?;
                self.check_deaf(Side::Client)?;
                Ok(value)
            }
        }
    }

    /// Writes at once what the receiver takes, and keeps the rest. Words of the gateway for a side
    /// that was told the end already come too late.
    fn send(&mut self, to: Side, output: &Output, input: &[u8], context: &mut Context<'_>) {
        let end = self.end_mut(to);
        if output.is_empty() || end.told || end.deaf.is_some() {
            return;
        }
        let mut cursor = turn::Cursor::default();
        let mut count = 0;
        if end.pending.is_empty() {
            match send::poll_send(&mut end.stream, context, output, input, &mut cursor) {
                Ok(written) => count = written,
                Err(error) => return end.set_deaf(&error),
            }
        }
        if count < output.len() {
            output.copy_rest(cursor, input, end.pending.tail(output.made_len()));
        }
        self.count_sent(to, count as u64);
    }

    /// Lets go of what only an open link needs. What is still to be sent leaves while it closes.
    pub(super) fn close(self, cause: Cause) -> (Closing<S>, Closed) {
        let Cause {
            end,
            error,
            note,
            farewells,
        } = cause;
        let words = error.as_ref().map(|error| Arc::from(error.to_string()));
        let ending = Ending {
            end,
            bytes_up: self.bytes_up,
            bytes_down: self.bytes_down,
            error: words.or(note.map(Arc::from)),
        };
        let closing = Closing::new(
            self.client,
            self.upstream,
            farewells,
            self.stop,
            self.limits.linger,
        );
        let governor = self.governor;
        (
            closing,
            Closed {
                governor,
                ending,
                error,
            },
        )
    }
}
