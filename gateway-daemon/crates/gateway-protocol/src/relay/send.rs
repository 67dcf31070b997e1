//! Writing the pieces of a turn without putting them together first.
use super::stream::Stream;
use super::turn::{Cursor, Output};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

/// Pieces per write. More are written in several; the kernel's own limit is 1,024.
const SLICES_MAX: usize = 64;

/// Writes what the stream takes without waiting and leaves `cursor` behind it. Says how many
/// bytes were written.
pub(super) fn poll_send<S: Stream>(
    stream: &mut S,
    context: &mut Context<'_>,
    output: &Output,
    input: &[u8],
    cursor: &mut Cursor,
) -> io::Result<usize> {
    if let Some(bytes) = output.single(input) {
        let written = match Pin::new(stream).poll_write(context, bytes) {
            Poll::Ready(written) => refuse_zero(written?)?,
            Poll::Pending => 0,
        };
        output.advance(cursor, written);
        return Ok(written);
    }
    let mut total = 0;
    loop {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let (count, offered) = output.slices(*cursor, input, &mut slices);
        let slices = slices.get(..count).unwrap_or_default();
        if slices.is_empty() {
            return Ok(total);
        }
        let written = match Pin::new(&mut *stream).poll_write_vectored(context, slices) {
            Poll::Ready(written) => refuse_zero(written?)?,
            Poll::Pending => return Ok(total),
        };
        output.advance(cursor, written);
        total += written;
        if written < offered {
            return Ok(total);
        }
    }
}

/// A stream that takes nothing and does not say "later" would be asked for ever.
fn refuse_zero(written: usize) -> io::Result<usize> {
    if written == 0 {
        Err(io::ErrorKind::WriteZero.into())
    } else {
        Ok(written)
    }
}
