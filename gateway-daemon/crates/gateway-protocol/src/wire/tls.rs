//! TLS over a stream that says "later": what rustls does not know about sockets.
//!
//! Bytes are read from the stream in large pieces and decrypted from there, and written as soon as
//! they are encrypted. What the stream does not take is kept encrypted, bounded by
//! [`UNSENT_MAX`], and nothing more is taken from the relay before it has left.
use crate::relay::Stream;
use rustls::{Connection, ProtocolVersion};
use std::cell::Cell;
use std::io::{self, IoSlice, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::ReadBuf;

/// Bytes of plaintext that may be encrypted and not yet taken by the stream.
const UNSENT_MAX: usize = 64 * 1024;
/// How much is read from the stream at once.
const READ_BYTES: usize = 64 * 1024;
/// So many pieces are read in one go when none has plaintext in it: records that change keys, or
/// are empty, cost time and bring nothing.
const FILLS_MAX: usize = 2;
/// After so many bytes without any plaintext the peer is up to nothing good: the longest record has
/// 16 KiB, and what is said beside the data is short.
const BARREN_BYTES_MAX: usize = 1 << 20;
/// The least that is read: a small buffer of the caller must not make many small reads.
const READ_BYTES_MIN: usize = 4 * 1024;

thread_local! {
    /// What was read, until it is decrypted: never longer than one call. Taken out while in use.
    static CIPHERTEXT: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
}

/// One end of a connection whose handshake is done.
#[derive(Debug)]
pub struct Tls<S> {
    stream: S,
    connection: Connection,
    /// Read from the stream, and not decrypted, since there was no room for more plaintext.
    unread: Vec<u8>,
    /// The end was announced to the peer.
    closing: bool,
    /// How many bytes were read since there last was plaintext in them.
    barren: usize,
}

impl<S> Tls<S> {
    /// A connection whose handshake is done, over the stream that it was made on.
    pub fn new(stream: S, mut connection: Connection) -> Tls<S> {
        connection.set_buffer_limit(Some(UNSENT_MAX));
        Tls {
            stream,
            connection,
            unread: Vec::new(),
            closing: false,
            barren: 0,
        }
    }

    pub(super) const fn stream(&self) -> &S {
        &self.stream
    }

    pub(super) const fn stream_mut(&mut self) -> &mut S {
        &mut self.stream
    }

    pub(super) fn version(&self) -> Option<&'static str> {
        match self.connection.protocol_version()? {
            ProtocolVersion::TLSv1_2 => Some("TLSv1.2"),
            ProtocolVersion::TLSv1_3 => Some("TLSv1.3"),
            _ => None,
        }
    }

    pub(super) fn try_map<T, E>(self, change: impl FnOnce(S) -> Result<T, E>) -> Result<Tls<T>, E> {
        Ok(Tls {
            stream: change(self.stream)?,
            connection: self.connection,
            unread: self.unread,
            closing: self.closing,
            barren: self.barren,
        })
    }

    /// Changes the keys, as a peer may do at any time.
    #[cfg(test)]
    pub(super) fn refresh(&mut self) -> Result<(), rustls::Error> {
        self.connection.refresh_traffic_keys()
    }

    pub(super) fn has_unsent(&self) -> bool {
        self.connection.wants_write()
    }
}

impl<S: Stream> Tls<S> {
    /// Decrypts what there is into `buffer`. A peer that ends without announcing it (close_notify)
    /// ends all the same: where that cuts something short, the protocol's frames tell.
    pub(super) fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        for _ in 0..FILLS_MAX {
            if self.take_plaintext(buffer)?
                || buffer.filled().len() > before
                || buffer.remaining() == 0
            {
                self.barren = 0;
                return Poll::Ready(Ok(()));
            }
            ready!(self.poll_fill(context, buffer))?;
        }
        if self.barren > BARREN_BYTES_MAX {
            let words = "records, and nothing in them";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, words)));
        }
        // Others come first.
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Moves plaintext that is there. True: no more comes.
    fn take_plaintext(&mut self, buffer: &mut ReadBuf<'_>) -> io::Result<bool> {
        while buffer.remaining() > 0 {
            match self.connection.reader().read(buffer.initialize_unfilled()) {
                Ok(0) => return Ok(true),
                Ok(count) => buffer.advance(count),
                Err(error) => {
                    return match error.kind() {
                        io::ErrorKind::WouldBlock => Ok(false),
                        io::ErrorKind::UnexpectedEof => Ok(true),
                        _ => Err(error),
                    };
                }
            }
        }
        Ok(false)
    }

    /// Reads from the stream once, and decrypts.
    fn poll_fill(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.unread.is_empty() {
            let unread = std::mem::take(&mut self.unread);
            return Poll::Ready(self.decrypt(&unread, context, buffer));
        }
        lend(|ciphertext| {
            // No more than becomes plaintext that has room: what is left over would be copied.
            let most = buffer.remaining().clamp(READ_BYTES_MIN, READ_BYTES);
            let mut read = ReadBuf::new(ciphertext.get_mut(..most).unwrap_or_default());
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut read))?;
            let read = read.filled();
            if read.is_empty() {
                // Tells the connection that this was the end.
                self.connection.read_tls(&mut io::empty())?;
                return Poll::Ready(Ok(()));
            }
            self.barren += read.len();
            Poll::Ready(self.decrypt(read, context, buffer))
        })
    }

    fn decrypt(
        &mut self,
        mut bytes: &[u8],
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> io::Result<()> {
        while !bytes.is_empty() {
            if buffer.remaining() == 0 {
                self.unread = bytes.to_vec();
                break;
            }
            if self.connection.read_tls(&mut bytes)? == 0 {
                // Nothing counts behind the announcement of the end.
                break;
            }
            let processed = self.connection.process_new_packets();
            if self.connection.wants_write() {
                // An alert, a new key: whether it leaves now or later changes nothing here.
                let _ = self.poll_send(context);
            }
            processed.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            self.take_plaintext(buffer)?;
        }
        Ok(())
    }

    /// Encrypts and sends as much as the stream takes, and a little more.
    pub(super) fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut taken = 0;
        loop {
            match self.poll_send(context) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending if taken == 0 => return Poll::Pending,
                Poll::Pending => return Poll::Ready(Ok(taken)),
            }
            let count = self.encrypt(slices, taken)?;
            if count == 0 {
                return Poll::Ready(Ok(taken));
            }
            taken += count;
        }
    }

    /// Encrypts what lies behind the first `skip` bytes, as far as there is room.
    fn encrypt(&mut self, slices: &[IoSlice<'_>], mut skip: usize) -> io::Result<usize> {
        let mut writer = self.connection.writer();
        for (index, slice) in slices.iter().enumerate() {
            match slice.get(skip..) {
                Some(rest) if skip > 0 && !rest.is_empty() => return writer.write(rest),
                Some(rest) if skip == 0 && !rest.is_empty() => {
                    return writer.write_vectored(slices.get(index..).unwrap_or_default());
                }
                _ => skip -= slice.len(),
            }
        }
        Ok(0)
    }

    /// Sends what is encrypted. Ready when all of it has left.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.connection.wants_write() {
            let mut writer = Writer {
                stream: &mut self.stream,
                context,
            };
            match self.connection.write_tls(&mut writer) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }

    pub(super) fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(context))?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    /// Announces the end (close_notify), and then ends.
    pub(super) fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !std::mem::replace(&mut self.closing, true) {
            self.connection.send_close_notify();
        }
        ready!(self.poll_send(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// The stream as rustls writes to it.
struct Writer<'a, 'b, S> {
    stream: &'a mut S,
    context: &'a mut Context<'b>,
}

impl<S: Stream> Write for Writer<'_, '_, S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        now(Pin::new(&mut *self.stream).poll_write(self.context, bytes))
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        now(Pin::new(&mut *self.stream).poll_write_vectored(self.context, slices))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn now<T>(polled: Poll<io::Result<T>>) -> io::Result<T> {
    match polled {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

fn lend<R>(borrower: impl FnOnce(&mut [u8]) -> R) -> R {
    let idle = CIPHERTEXT.try_with(Cell::take).ok().flatten();
    let mut bytes = idle.unwrap_or_else(|| vec![0; READ_BYTES].into_boxed_slice());
    let result = borrower(&mut bytes);
    let _ = CIPHERTEXT.try_with(|cell| cell.set(Some(bytes)));
    result
}
