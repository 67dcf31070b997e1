//! What the directory says of one principal.
use std::sync::Arc;

/// Whether somebody is still with us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// May be allowed something.
    Active,
    /// Has left: denied everywhere.
    Offboarded,
}

impl Status {
    /// The name used in the file and in output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Status::Active => "active",
            Status::Offboarded => "offboarded",
        }
    }
}

/// What the directory says of one principal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The directory has this principal, be it as one that has left.
    pub known: bool,
    /// Active, when it is not known.
    pub status: Status,
    /// Its groups, without `group:`, in the order of the source. None for who is offboarded.
    pub groups: Vec<Arc<str>>,
    /// The principal id of the user that was found, as its source spells it.
    pub user: Option<Arc<str>>,
}

impl Entry {
    /// Of whom the directory says nothing.
    #[must_use]
    pub fn unknown() -> Entry {
        Entry {
            known: false,
            status: Status::Active,
            groups: Vec::new(),
            user: None,
        }
    }
}
