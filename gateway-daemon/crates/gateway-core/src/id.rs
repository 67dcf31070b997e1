//! Identifiers that people read aloud at night: short, lower case, without look-alikes.
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// Crockford's base 32: no `i`, `l`, `o`, `u`.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// 13 digits of 5 bits hold 64 bits.
const DIGITS: usize = 13;

/// The text is not an identifier of the kind asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a {kind} id: {text:?} (expected `{prefix}` and {DIGITS} characters of 0-9 a-z without i, l, o, u)"
)]
pub struct ParseIdError {
    kind: &'static str,
    prefix: char,
    text: String,
}

fn write_base32(value: u64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for digit in (0..DIGITS).rev() {
        let index = (value >> (digit * 5)) & 31;
        let character = ALPHABET.get(index as usize).copied().unwrap_or(b'0');
        fmt::Write::write_char(f, char::from(character))?;
    }
    Ok(())
}

fn read_base32(text: &str) -> Option<u64> {
    if text.len() != DIGITS {
        return None;
    }
    let mut value: u64 = 0;
    for byte in text.bytes() {
        let digit = ALPHABET
            .iter()
            .position(|&c| c == byte.to_ascii_lowercase())?;
        if value >> 59 != 0 {
            return None;
        }
        value = (value << 5) | digit as u64;
    }
    Some(value)
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Write::write_char(f, $prefix)?;
                write_base32(self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.strip_prefix($prefix).and_then(read_base32).map($name).ok_or_else(|| {
                    ParseIdError { kind: $kind, prefix: $prefix, text: text.to_owned() }
                })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    serializer.serialize_u64(self.0)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    let text = String::deserialize(deserializer)?;
                    text.parse().map_err(serde::de::Error::custom)
                } else {
                    u64::deserialize(deserializer).map($name)
                }
            }
        }
    };
}

id!(
    /// All processes descended from one governed root: a job, an agent run, a login.
    TreeId, "tree", 't'
);
id!(
    /// One client connection through the gateway.
    SessionId, "session", 's'
);

/// One operation: its session and its number there, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OperationId {
    /// The session in which the operation was asked for.
    pub session: SessionId,
    /// Its number there, from 1, in the order of the client's bytes.
    pub seq: u32,
}

impl fmt::Display for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.session, self.seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_survive_their_text_form() {
        for value in [0, 1, 31, 32, 0xdead_beef, u64::MAX] {
            let id = SessionId(value);
            assert_eq!(id.to_string().parse::<SessionId>(), Ok(id));
            assert_eq!(id.to_string().len(), 14);
        }
    }

    #[test]
    fn a_tree_is_not_a_session_and_overflow_is_refused() {
        assert!("t0000000000001".parse::<SessionId>().is_err());
        assert!("szzzzzzzzzzzzz".parse::<SessionId>().is_err(), "65 bits");
        assert!("s000".parse::<SessionId>().is_err());
    }
}
