//! Bytes and frames of protocol 3: a type byte, a length that counts itself, a body.
//!
//! Source: PostgreSQL documentation, "Message Formats". Nothing here knows the order or the
//! meaning of messages.
pub mod authentication;
pub mod request;
pub mod response;
pub mod startup;
pub mod types;
pub mod value;

use crate::error::Error;

/// The type byte and the length field.
pub const HEADER_BYTES: usize = 5;
/// What PostgreSQL itself takes at most in one message (`PQ_LARGE_MESSAGE_LIMIT`).
pub const FRAME_BYTES_MAX: usize = 0x3fff_ffff;

/// The head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The message type.
    pub kind: u8,
    /// The size of the whole frame in bytes, type byte and length field included.
    pub size: usize,
}

/// Reads the head of the frame that `bytes` begin with; `None` when it is not complete yet.
///
/// # Errors
/// The length is below 4 or above what PostgreSQL takes.
pub fn header(bytes: &[u8]) -> Result<Option<Header>, Error> {
    let Some((&[kind, a, b, c, d], _)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    if !(4..=FRAME_BYTES_MAX).contains(&length) {
        return Err(Error::Length);
    }
    Ok(Some(Header {
        kind,
        size: length + 1,
    }))
}

/// Reads the fields of a body in their order. Never indexes, never panics.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Begins at the first byte of `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes }
    }

    /// What has not been read.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    /// The next `count` bytes.
    ///
    /// # Errors
    /// There are fewer.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Error> {
        let (taken, rest) = self.bytes.split_at_checked(count).ok_or(Error::Truncated)?;
        self.bytes = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (taken, rest) = self
            .bytes
            .split_first_chunk::<N>()
            .ok_or(Error::Truncated)?;
        self.bytes = rest;
        Ok(*taken)
    }

    /// The next byte.
    ///
    /// # Errors
    /// There is none.
    pub fn byte(&mut self) -> Result<u8, Error> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// The next two bytes as an unsigned number. Counts are unsigned on the wire since a bind
    /// may have 65,535 values.
    ///
    /// # Errors
    /// There are fewer.
    pub fn u16(&mut self) -> Result<u16, Error> {
        self.array().map(u16::from_be_bytes)
    }

    /// The next four bytes as an unsigned number.
    ///
    /// # Errors
    /// There are fewer.
    pub fn u32(&mut self) -> Result<u32, Error> {
        self.array().map(u32::from_be_bytes)
    }

    /// The next four bytes as a signed number.
    ///
    /// # Errors
    /// There are fewer.
    pub fn i32(&mut self) -> Result<i32, Error> {
        self.array().map(i32::from_be_bytes)
    }

    /// The bytes up to the next zero byte, which is read as well.
    ///
    /// # Errors
    /// There is no zero byte.
    pub fn text(&mut self) -> Result<&'a [u8], Error> {
        let end = memchr::memchr(0, self.bytes).ok_or(Error::Unterminated)?;
        let text = self.take(end)?;
        self.take(1)?;
        Ok(text)
    }

    /// A value with a length before it; -1 stands for NULL.
    ///
    /// # Errors
    /// The length is below -1 or more than there is.
    pub fn value(&mut self) -> Result<Option<&'a [u8]>, Error> {
        match self.i32()? {
            -1 => Ok(None),
            length => {
                let length = usize::try_from(length).map_err(|_| Error::Length)?;
                self.take(length).map(Some)
            }
        }
    }

    /// Says that all has been read.
    ///
    /// # Errors
    /// It has not.
    pub const fn end(&self) -> Result<(), Error> {
        if self.bytes.is_empty() {
            Ok(())
        } else {
            Err(Error::Trailing)
        }
    }
}

/// Makes a frame of the gateway's own.
#[must_use]
pub fn frame(kind: u8, write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = vec![kind, 0, 0, 0, 0];
    write(&mut bytes);
    let length = u32::try_from(bytes.len() - 1).unwrap_or(u32::MAX);
    if let Some(field) = bytes.get_mut(1..HEADER_BYTES) {
        field.copy_from_slice(&length.to_be_bytes());
    }
    bytes
}

/// Appends a text and its zero byte. A zero byte inside would end it early, so it is left out.
pub fn push_text(bytes: &mut Vec<u8>, text: &[u8]) {
    bytes.extend(text.iter().copied().filter(|byte| *byte != 0));
    bytes.push(0);
}
