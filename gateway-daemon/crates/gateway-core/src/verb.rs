//! The eleven verbs into which every protocol translates.
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What an effect does to its objects. The meaning per protocol is in the users' contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Verb {
    /// Open a session to a destination.
    Connect,
    /// Present an identity to the upstream.
    Authenticate,
    /// Look at data, or change nothing but the session.
    Read,
    /// Add or change data.
    Write,
    /// Remove data.
    Delete,
    /// Change structure or configuration (DDL).
    Define,
    /// Change who may do what.
    Grant,
    /// Run code whose effects cannot be seen from outside.
    Execute,
    /// Move data in bulk: COPY, file transfer, port forwarding.
    Transfer,
    /// Act on the server itself: roles, files, processes, replication.
    Admin,
    /// What could not be classified. Denied unless a rule names it.
    Unknown,
}

impl Verb {
    /// Every verb, in the order of their bits.
    pub const ALL: [Verb; 11] = [
        Verb::Connect,
        Verb::Authenticate,
        Verb::Read,
        Verb::Write,
        Verb::Delete,
        Verb::Define,
        Verb::Grant,
        Verb::Execute,
        Verb::Transfer,
        Verb::Admin,
        Verb::Unknown,
    ];

    /// The name used in policies and in output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Verb::Connect => "connect",
            Verb::Authenticate => "authenticate",
            Verb::Read => "read",
            Verb::Write => "write",
            Verb::Delete => "delete",
            Verb::Define => "define",
            Verb::Grant => "grant",
            Verb::Execute => "execute",
            Verb::Transfer => "transfer",
            Verb::Admin => "admin",
            Verb::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The text is not a verb.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no such verb: {0:?} (expected one of connect, authenticate, read, write, delete, define, grant, execute, transfer, admin, unknown)"
)]
pub struct ParseVerbError(String);

impl FromStr for Verb {
    type Err = ParseVerbError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Verb::ALL
            .into_iter()
            .find(|verb| verb.name() == text)
            .ok_or_else(|| ParseVerbError(text.to_owned()))
    }
}

/// A set of verbs, one bit each.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct VerbSet(u16);

impl VerbSet {
    /// No verb.
    pub const EMPTY: VerbSet = VerbSet(0);

    /// What `*` means in a rule: every verb but `unknown`.
    #[must_use]
    pub fn all_known() -> VerbSet {
        Verb::ALL
            .into_iter()
            .filter(|verb| *verb != Verb::Unknown)
            .collect()
    }

    /// Adds a verb.
    pub fn insert(&mut self, verb: Verb) {
        self.0 |= 1 << verb as u16;
    }

    /// Is the verb in the set?
    #[must_use]
    pub const fn contains(self, verb: Verb) -> bool {
        self.0 & (1 << verb as u16) != 0
    }

    /// Is the set empty?
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The verbs in their order.
    pub fn iter(self) -> impl Iterator<Item = Verb> {
        Verb::ALL
            .into_iter()
            .filter(move |verb| self.contains(*verb))
    }
}

impl FromIterator<Verb> for VerbSet {
    fn from_iter<I: IntoIterator<Item = Verb>>(verbs: I) -> Self {
        let mut set = VerbSet::EMPTY;
        for verb in verbs {
            set.insert(verb);
        }
        set
    }
}

impl fmt::Debug for VerbSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(Verb::name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn star_leaves_unknown_out() {
        let star = VerbSet::all_known();
        assert!(star.contains(Verb::Admin));
        assert!(!star.contains(Verb::Unknown));
    }

    #[test]
    fn every_name_reads_back() {
        for verb in Verb::ALL {
            assert_eq!(verb.name().parse(), Ok(verb));
        }
        assert!("drop".parse::<Verb>().is_err());
    }
}
