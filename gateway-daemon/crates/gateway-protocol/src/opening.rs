//! The first bytes of both sides, and what a protocol makes of them.
use gateway_core::Destination;

/// What is known when a protocol has to be recognised. Nothing of it is consumed.
#[derive(Clone, Copy, Debug)]
pub struct Opening<'a> {
    /// Where the client meant to go. A port is a hint, never a proof.
    pub destination: &'a Destination,
    /// What the client has sent so far.
    pub client: &'a [u8],
    /// What the upstream has sent so far: MySQL and SSH servers speak first.
    pub upstream: &'a [u8],
}

/// The answer of [`Protocol::recognise`](crate::Protocol::recognise).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recognition {
    /// These bytes are mine.
    Yes,
    /// These bytes cannot be mine.
    No,
    /// More bytes are needed to tell.
    NeedMore,
}
