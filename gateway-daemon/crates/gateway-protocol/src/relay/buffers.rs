//! What a session has to keep between two turns: input that is not yet a frame, and output that
//! its receiver does not take yet. Both own no memory while they are empty, so an idle session
//! costs none.
use super::stream::Stream;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// A buffer up to this size is kept when it runs empty: the end of a frame that was cut in two
/// is short, and comes again and again in a bulk transfer.
const KEPT_MAX: usize = 1024;
/// With less room than this behind a large incomplete frame, the buffer grows,
const ROOM_MIN: usize = 16 * 1024;
/// and by this much at least.
const GROWTH_MIN: usize = 64 * 1024;

/// Bytes of one side that the session did not use yet: `bytes[start..end]`. What lies behind
/// `end` is zeroed room for the next read.
#[derive(Debug, Default)]
pub(super) struct Held {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Held {
    pub(super) fn new(bytes: Vec<u8>) -> Held {
        let end = bytes.len();
        Held {
            bytes,
            start: 0,
            end,
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.end - self.start
    }

    pub(super) fn filled(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    /// Holds a copy of `rest` from now on.
    pub(super) fn replace(&mut self, rest: &[u8]) {
        if self.bytes.capacity() > KEPT_MAX.max(rest.len().saturating_mul(4)) {
            self.bytes = Vec::new();
        }
        self.bytes.clear();
        self.bytes.extend_from_slice(rest);
        self.start = 0;
        self.end = self.bytes.len();
    }

    /// Room for the next read, behind what is held. Doubles, up to `limit`; empty at the limit.
    pub(super) fn room(&mut self, limit: usize) -> &mut [u8] {
        if self.bytes.len() - self.end < ROOM_MIN {
            if self.start > 0 {
                self.bytes.copy_within(self.start..self.end, 0);
                self.end -= self.start;
                self.start = 0;
            }
            let wanted = self.end.saturating_mul(2).max(self.end + GROWTH_MIN);
            let length = wanted.min(limit).max(self.end);
            if length > self.bytes.len() {
                self.bytes.reserve_exact(length - self.bytes.len());
                self.bytes.resize(length, 0);
            }
        }
        self.bytes.get_mut(self.end..).unwrap_or_default()
    }

    /// `read` bytes were put into the room.
    pub(super) fn extend(&mut self, read: usize) {
        self.end = (self.end + read).min(self.bytes.len());
    }

    /// The first `used` bytes became frames.
    pub(super) fn consume(&mut self, used: usize) {
        self.start = (self.start + used).min(self.end);
        if self.len() * 4 < self.bytes.len() {
            let rest = self.filled().to_vec();
            self.replace(&rest);
        }
    }
}

/// Bytes that one side did not take yet: `bytes[start..]`.
#[derive(Debug, Default)]
pub(super) struct Pending {
    bytes: Vec<u8>,
    start: usize,
    /// How many bytes of the gateway's own making were queued since it last was empty.
    made: usize,
}

impl Pending {
    pub(super) const fn is_empty(&self) -> bool {
        self.bytes.len() == self.start
    }

    pub(super) const fn made(&self) -> usize {
        self.made
    }

    pub(super) fn clear(&mut self) {
        *self = Pending::default();
    }

    /// The end of the queue, to append to; `made` of what comes was made by the gateway.
    pub(super) fn tail(&mut self, made: usize) -> &mut Vec<u8> {
        self.made = self.made.saturating_add(made);
        if self.start > 0 && self.start * 2 > self.bytes.len() {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        &mut self.bytes
    }

    /// Writes until nothing is left. Adds what was written to `count`.
    pub(super) fn poll_flush<S: Stream>(
        &mut self,
        stream: &mut S,
        context: &mut Context<'_>,
        count: &mut u64,
    ) -> Poll<io::Result<()>> {
        while !self.is_empty() {
            let rest = self.bytes.get(self.start..).unwrap_or_default();
            let written = ready!(Pin::new(&mut *stream).poll_write(context, rest))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.start += written;
            *count += written as u64;
        }
        if self.bytes.capacity() > 0 {
            self.clear();
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_survives_growth_and_use() {
        let all: Vec<u8> = (0..1_000_000u32).map(|n| (n * 7 % 251) as u8).collect();
        let mut held = Held::new(all[..100].to_vec());
        let (mut read, mut used) = (100, 0);
        for step in 1.. {
            let room = held.room(600_000);
            let n = room.len().min(step * 977).min(all.len() - read);
            room[..n].copy_from_slice(&all[read..read + n]);
            held.extend(n);
            read += n;
            assert_eq!(held.filled(), &all[used..read]);
            let eat = held.len() / 3;
            held.consume(eat);
            used += eat;
            assert_eq!(held.filled(), &all[used..read]);
            if read == all.len() {
                break;
            }
        }
    }

    #[test]
    fn room_ends_at_the_limit() {
        let mut held = Held::new(vec![1; 100]);
        assert_eq!(held.room(150).len(), 50);
        held.extend(50);
        assert!(held.room(150).is_empty());
    }

    #[test]
    fn empty_buffers_own_next_to_nothing() {
        let mut held = Held::new(vec![0; 1 << 20]);
        held.consume(1 << 20);
        assert!(held.bytes.capacity() <= KEPT_MAX);
        held.replace(&[1; 500_000]);
        held.replace(&[1; 10]);
        assert!(held.bytes.capacity() <= KEPT_MAX);
    }
}
