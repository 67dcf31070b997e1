//! The messages that open a connection. They have no type byte: a length, then a code.
use super::{Reader, push_text};
use crate::error::Error;

/// "May we speak TLS?"
pub const SSL: u32 = 80_877_103;
/// "May we speak GSSAPI encryption?"
pub const GSSENC: u32 = 80_877_104;
/// "Stop what that other connection is doing."
pub const CANCEL: u32 = 80_877_102;
/// The newest minor version of protocol 3 that the gateway speaks.
pub const MINOR_MAX: u16 = 2;
/// What PostgreSQL takes at most (`MAX_STARTUP_PACKET_LENGTH`).
pub const PACKET_BYTES_MAX: usize = 10_000;
/// The longest name of a user or a database.
const NAME_BYTES_MAX: usize = 63;
/// A cancel key: 4 bytes in protocol 3.0, up to 256 from 3.2 on.
pub const SECRET_BYTES_MAX: usize = 256;
/// The shortest cancel key.
pub const SECRET_BYTES_MIN: usize = 4;

/// The first message of a connection, or the next one after an `N`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// SSLRequest.
    Ssl,
    /// GSSENCRequest.
    Gssenc,
    /// CancelRequest.
    Cancel {
        /// The process that is to stop.
        process: u32,
        /// The key that proves the right to ask.
        secret: &'a [u8],
    },
    /// StartupMessage of protocol 3.
    Startup {
        /// The minor version asked for.
        minor: u16,
        /// Names and values, each with its zero byte, checked.
        parameters: Parameters<'a>,
    },
    /// A version of the protocol that the gateway does not speak.
    OtherVersion,
}

/// The names and values of a StartupMessage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameters<'a> {
    bytes: &'a [u8],
}

impl<'a> Parameters<'a> {
    fn read(bytes: &'a [u8]) -> Result<Parameters<'a>, Error> {
        let mut reader = Reader::new(bytes);
        loop {
            if reader.text()?.is_empty() {
                reader.end()?;
                return Ok(Parameters { bytes });
            }
            reader.text()?;
        }
    }

    /// Each name with its value, in the client's order. A name may come twice.
    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let mut reader = Reader::new(self.bytes);
        std::iter::from_fn(move || {
            let name = reader.text().ok().filter(|name| !name.is_empty())?;
            Some((name, reader.text().ok()?))
        })
    }
}

/// The name of a user or a database as the server reads it: it cuts what is longer (ProcessStartupPacket).
#[must_use]
pub fn as_read(name: &[u8]) -> &[u8] {
    name.get(..NAME_BYTES_MAX).unwrap_or(name)
}

/// How long the packet is that `bytes` begin with; `None` when that is not said yet.
///
/// # Errors
/// The length is one that PostgreSQL would not take.
pub fn packet_size(bytes: &[u8]) -> Result<Option<usize>, Error> {
    let Some((length, _)) = bytes.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes(*length) as usize;
    if (8..=PACKET_BYTES_MAX).contains(&length) {
        Ok(Some(length))
    } else {
        Err(Error::Length)
    }
}

/// Reads a whole packet, length field included.
///
/// # Errors
/// It is malformed.
pub fn packet(bytes: &[u8]) -> Result<Packet<'_>, Error> {
    let mut reader = Reader::new(bytes);
    reader.u32()?;
    let code = reader.u32()?;
    match code {
        SSL => reader.end().map(|()| Packet::Ssl),
        GSSENC => reader.end().map(|()| Packet::Gssenc),
        CANCEL => {
            let process = reader.u32()?;
            let secret = reader.rest();
            if (SECRET_BYTES_MIN..=SECRET_BYTES_MAX).contains(&secret.len()) {
                Ok(Packet::Cancel { process, secret })
            } else {
                Err(Error::Length)
            }
        }
        _ if code >> 16 == 3 => {
            let parameters = Parameters::read(reader.rest())?;
            Ok(Packet::Startup {
                minor: (code & 0xffff) as u16,
                parameters,
            })
        }
        _ => Ok(Packet::OtherVersion),
    }
}

/// The same StartupMessage with another minor version.
#[must_use]
pub fn with_minor(packet: &[u8], minor: u16) -> Vec<u8> {
    let mut bytes = packet.to_vec();
    if let Some(field) = bytes.get_mut(6..8) {
        field.copy_from_slice(&minor.to_be_bytes());
    }
    bytes
}

/// The same StartupMessage for another user and database.
#[must_use]
pub fn with_user(
    packet: &[u8],
    parameters: Parameters<'_>,
    user: &[u8],
    database: &[u8],
) -> Vec<u8> {
    let mut bytes = packet.get(..8).unwrap_or_default().to_vec();
    let others = parameters
        .iter()
        .filter(|(name, _)| !matches!(*name, b"user" | b"database"));
    let own: [(&[u8], &[u8]); 2] = [(b"user", user), (b"database", database)];
    for (name, value) in own.into_iter().chain(others) {
        push_text(&mut bytes, name);
        push_text(&mut bytes, value);
    }
    bytes.push(0);
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    if let Some(field) = bytes.get_mut(..4) {
        field.copy_from_slice(&length.to_be_bytes());
    }
    bytes
}

/// Could a connection that begins with `bytes` be PostgreSQL? `None` when more is needed.
///
/// Source: the codes above, and `ProcessStartupPacket` for the lengths.
#[must_use]
pub fn recognise(bytes: &[u8]) -> Option<bool> {
    // The length is below 2^16, so the first two bytes are zero; no other protocol that begins
    // with the client does that.
    if bytes.iter().take(2).any(|byte| *byte != 0) {
        return Some(false);
    }
    let Some((&[a, b, c, d, e, f, g, h], _)) = bytes.split_first_chunk::<8>() else {
        return match packet_size(bytes) {
            Err(_) => Some(false),
            Ok(_) => None,
        };
    };
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    let code = u32::from_be_bytes([e, f, g, h]);
    Some(match code {
        SSL | GSSENC => length == 8,
        CANCEL => (12 + SECRET_BYTES_MIN..=12 + SECRET_BYTES_MAX).contains(&length),
        // The shortest one is an empty list of parameters.
        _ => code >> 16 == 3 && (9..=PACKET_BYTES_MAX).contains(&length),
    })
}
