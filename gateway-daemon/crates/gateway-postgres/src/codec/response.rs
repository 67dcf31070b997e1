//! The messages of an upstream that mean something to the gateway, and those that it makes itself.
use super::{Reader, frame, push_text};
use crate::error::Error;
use std::borrow::Cow;
use std::sync::Arc;

/// The fields of an ErrorResponse that the gateway looks at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ErrorFields<'a> {
    /// The severity in English (`V`), or as the server words it (`S`).
    pub severity: &'a [u8],
    /// The SQLSTATE.
    pub code: &'a [u8],
    /// The primary message.
    pub message: &'a [u8],
}

/// An error text may be recorded up to this many bytes.
const MESSAGE_BYTES_MAX: usize = 512;

impl ErrorFields<'_> {
    /// Does the upstream close the connection behind it?
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        matches!(self.severity, b"FATAL" | b"PANIC")
    }

    /// Class 28: who it is, or may be, is not believed.
    #[must_use]
    pub fn is_about_authorization(&self) -> bool {
        self.code.starts_with(b"28")
    }

    /// `CODE: message`, as it is recorded.
    #[must_use]
    pub fn summary(&self) -> Arc<str> {
        let message = super::value::text(self.message, MESSAGE_BYTES_MAX);
        let code = String::from_utf8_lossy(self.code);
        Arc::from(format!("{code}: {message}"))
    }
}

/// Reads an ErrorResponse (`E`).
///
/// # Errors
/// The body is malformed.
pub fn error(body: &[u8]) -> Result<ErrorFields<'_>, Error> {
    let mut reader = Reader::new(body);
    let mut fields = ErrorFields::default();
    let mut localised = &b""[..];
    loop {
        let kind = reader.byte()?;
        if kind == 0 {
            reader.end()?;
            if fields.severity.is_empty() {
                fields.severity = localised;
            }
            return Ok(fields);
        }
        let text = reader.text()?;
        match kind {
            b'S' => localised = text,
            b'V' => fields.severity = text,
            b'C' => fields.code = text,
            b'M' => fields.message = text,
            _ => {}
        }
    }
}

/// The state of the transaction, as ReadyForQuery (`Z`) says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transaction {
    /// None is open.
    Idle,
    /// One is open.
    Open,
    /// One is open and can only be rolled back.
    Failed,
}

/// Reads a ReadyForQuery.
///
/// # Errors
/// The body is malformed.
pub fn ready(body: &[u8]) -> Result<Transaction, Error> {
    match body {
        [b'I'] => Ok(Transaction::Idle),
        [b'T'] => Ok(Transaction::Open),
        [b'E'] => Ok(Transaction::Failed),
        [_] => Err(Error::Value),
        [] => Err(Error::Truncated),
        _ => Err(Error::Trailing),
    }
}

/// Reads the tag of a CommandComplete (`C`).
///
/// # Errors
/// The body is not exactly one terminated text.
pub fn command_tag(body: &[u8]) -> Result<&[u8], Error> {
    match body.split_last() {
        Some((0, tag)) if memchr::memchr(0, tag).is_none() => Ok(tag),
        Some((0, _)) => Err(Error::Trailing),
        _ => Err(Error::Unterminated),
    }
}

/// How many rows a command tag speaks of: `INSERT 0 5`, `SELECT 5`, `COPY 10`.
#[must_use]
pub fn rows(tag: &[u8]) -> Option<u64> {
    let digits = tag.rsplit(|byte| *byte == b' ').next().unwrap_or_default();
    if digits.is_empty() || digits.len() == tag.len() {
        return None;
    }
    digits.iter().try_fold(0_u64, |sum, byte| match byte {
        b'0'..=b'9' => sum.checked_mul(10)?.checked_add(u64::from(byte - b'0')),
        _ => None,
    })
}

/// Reads the name and the value of a ParameterStatus (`S`).
///
/// # Errors
/// The body is malformed.
pub fn parameter_status(body: &[u8]) -> Result<(&[u8], &[u8]), Error> {
    let mut reader = Reader::new(body);
    let name = reader.text()?;
    let value = reader.text()?;
    reader.end()?;
    Ok((name, value))
}

/// Reads the process and the secret of a BackendKeyData (`K`).
///
/// # Errors
/// The body is too short.
pub fn backend_key(body: &[u8]) -> Result<(u32, &[u8]), Error> {
    let mut reader = Reader::new(body);
    let process = reader.u32()?;
    Ok((process, reader.rest()))
}

/// Reads the types of a ParameterDescription (`t`).
///
/// # Errors
/// The body is malformed.
pub fn parameter_description(body: &[u8]) -> Result<Vec<u32>, Error> {
    let mut reader = Reader::new(body);
    let count = reader.u16()?;
    let types = (0..count).map(|_| reader.u32()).collect::<Result<_, _>>()?;
    reader.end()?;
    Ok(types)
}

/// Reads the minor version of a NegotiateProtocolVersion (`v`). Servers send the whole version
/// number, the documentation speaks of the minor one; both are understood.
///
/// # Errors
/// The body is malformed, or the version is not one of protocol 3.
pub fn negotiated_minor(body: &[u8]) -> Result<u16, Error> {
    let mut reader = Reader::new(body);
    let version = reader.u32()?;
    let count = reader.u32()?;
    for _ in 0..count {
        reader.text()?;
    }
    reader.end()?;
    match version >> 16 {
        0 | 3 => Ok((version & 0xffff) as u16),
        _ => Err(Error::Version),
    }
}

/// Makes a NegotiateProtocolVersion that names a version and no option.
#[must_use]
pub fn negotiate(minor: u16) -> Vec<u8> {
    frame(b'v', |body| {
        body.extend_from_slice(&[0, 3]);
        body.extend_from_slice(&minor.to_be_bytes());
        body.extend_from_slice(&[0; 4]);
    })
}

/// Makes a BackendKeyData.
#[must_use]
pub fn make_backend_key(process: u32, secret: &[u8]) -> Vec<u8> {
    frame(b'K', |body| {
        body.extend_from_slice(&process.to_be_bytes());
        body.extend_from_slice(secret);
    })
}

/// What a message of the gateway's own means for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// It goes on as if nothing had been said: a NoticeResponse.
    Notice,
    /// The request failed: an ErrorResponse.
    Error,
    /// The connection is closed behind it.
    Fatal,
}

impl Severity {
    const fn word(self) -> &'static [u8] {
        match self {
            Severity::Notice => b"NOTICE",
            Severity::Error => b"ERROR",
            Severity::Fatal => b"FATAL",
        }
    }

    const fn kind(self) -> u8 {
        match self {
            Severity::Notice => b'N',
            Severity::Error | Severity::Fatal => b'E',
        }
    }
}

/// An ErrorResponse or a NoticeResponse of the gateway's own.
#[derive(Clone, Copy, Debug)]
pub struct Complaint<'a> {
    /// How bad it is.
    pub severity: Severity,
    /// The SQLSTATE.
    pub code: &'a str,
    /// The primary message.
    pub message: &'a str,
    /// More, for who asks.
    pub detail: Option<&'a str>,
    /// The client reads UTF-8. Otherwise all but ASCII is replaced by question marks, which every
    /// encoding of PostgreSQL has.
    pub utf8: bool,
}

impl Complaint<'_> {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let severity = self.severity.word();
        frame(self.severity.kind(), |body| {
            let mut field = |kind: u8, text: &[u8]| {
                body.push(kind);
                push_text(body, text);
            };
            field(b'S', severity);
            field(b'V', severity);
            field(b'C', self.code.as_bytes());
            field(b'M', self.encoded(self.message).as_bytes());
            if let Some(detail) = self.detail {
                field(b'D', self.encoded(detail).as_bytes());
            }
            body.push(0);
        })
    }

    fn encoded<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if self.utf8 || text.is_ascii() {
            return Cow::Borrowed(text);
        }
        text.chars()
            .map(|character| if character.is_ascii() { character } else { '?' })
            .collect()
    }
}
