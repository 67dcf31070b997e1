//! What can be wrong with a message, apart from who sent it.
use gateway_protocol::{ProtocolError, Side};
use std::fmt;

/// A rule of the protocol that a message breaks. The peer's bytes never appear in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// A length field is below its minimum, negative, or above what the message can hold.
    Length,
    /// A message is larger than its limit.
    TooLarge {
        /// What its length field says, in bytes.
        size: u64,
        /// The limit, in bytes.
        limit: u64,
        /// The key of the limit in the configuration.
        name: &'static str,
    },
    /// A message ends inside one of its fields.
    Truncated,
    /// A message goes on behind its last field.
    Trailing,
    /// A text has no terminating zero byte.
    Unterminated,
    /// A field has a value that the protocol does not define.
    Value,
    /// A message type that the protocol does not define.
    Type,
    /// A message at a moment when the protocol does not allow it.
    Order,
    /// A protocol version that the gateway does not speak.
    Version,
    /// More requests wait for their answers than the limit allows.
    Pipeline,
    /// A message other than copy data while the upstream reads copy data.
    Copying,
    /// A cancel request with a key that the gateway did not hand out to this tree for this place.
    CancelKey,
    /// The proxy-wide table of cancel keys is full, or the system has no randomness to give.
    CancelTable,
    /// An answer that no request asked for.
    Unasked,
    /// The upstream accepted a statement that was made to fail.
    Accepted,
    /// A client that would bind its proof of the password to the server's certificate, which is
    /// not the one that it sees.
    Binding,
    /// A login by ticket, which is for the server's host.
    Ticket,
    /// The stream ended inside a message.
    Cut,
    /// The stream ended although requests wait for their answers.
    Unanswered,
}

impl Error {
    /// The error as one sentence.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Error::Length => "a length field is out of range",
            Error::TooLarge { .. } => "a message is larger than its limit",
            Error::Truncated => "a message ends inside a field",
            Error::Trailing => "a message goes on behind its last field",
            Error::Unterminated => "a text in a message is not terminated",
            Error::Value => "a field has a value that the protocol does not define",
            Error::Type => "a message of an unknown type",
            Error::Order => "a message that is not allowed at this point",
            Error::Version => "a protocol version that is not supported",
            Error::Pipeline => "too many requests without an answer (limits.pipeline)",
            Error::Copying => "a message other than copy data during COPY FROM STDIN",
            Error::CancelKey => "a cancel request with an unknown key",
            Error::CancelTable => "no cancel key could be made",
            Error::Unasked => "an answer that nobody asked for",
            Error::Accepted => "a statement was accepted that cannot be valid",
            Error::Binding => {
                "SCRAM cannot be passed on from a client that could bind it to the server's \
                 certificate: use channel_binding=disable, or no TLS up to the gateway \
                 (tls.client of the resource), or let the gateway log in (credential)"
            }
            Error::Ticket => "logins by GSSAPI, SSPI or Kerberos are not passed on",
            Error::Cut => "the stream ended inside a message",
            Error::Unanswered => "the stream ended with requests unanswered",
        }
    }

    /// The SQLSTATE under which a client is told.
    #[must_use]
    pub const fn sqlstate(self) -> &'static str {
        match self {
            Error::Version => "0A000",
            Error::Pipeline => "54000",
            Error::CancelTable => "53300",
            // Which makes clients that only prefer TLS try again without it.
            Error::Binding | Error::Ticket => "28000",
            _ => "08P01",
        }
    }

    /// The error with the side that is at fault.
    #[must_use]
    pub const fn of(self, side: Side) -> ProtocolError {
        match (self, side) {
            (Error::TooLarge { size, limit, name }, side) => ProtocolError::TooLarge {
                side,
                size,
                limit,
                limit_name: name,
            },
            (error, Side::Client) => ProtocolError::Client(error.text()),
            (error, Side::Upstream) => ProtocolError::Upstream(error.text()),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::TooLarge { size, limit, name } => {
                write!(
                    f,
                    "a message of {size} bytes is larger than {name} allows ({limit} bytes)"
                )
            }
            error => f.write_str(error.text()),
        }
    }
}

impl std::error::Error for Error {}
