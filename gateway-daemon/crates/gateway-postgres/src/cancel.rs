//! The cancel keys that the gateway hands out, and what they stand for.
//!
//! A CancelRequest comes on a connection of its own, with nothing but a key to say which session
//! it is meant for. A client never gets the upstream's key: it gets one that is good only through
//! the gateway, only in its own tree, and only as long as its session lives.
use gateway_core::{SessionId, TreeId};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::SocketAddr;
use std::sync::Arc;

/// Where a session came from and where it goes. A key is good only for the same of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The tree of the client.
    pub tree: TreeId,
    /// The server that it meant to reach.
    pub destination: SocketAddr,
}

/// What a key of ours stands for.
#[derive(Clone, PartialEq, Eq)]
pub struct Cancellable {
    /// The session that is to be interrupted.
    pub session: SessionId,
    /// The upstream's own key for it.
    pub secret: Box<[u8]>,
    origin: Origin,
}

/// The process number that the upstream told, and a secret of our own. The number is kept since
/// clients compare it with that in NOTIFY messages.
type Key = (u32, Box<[u8]>);

/// Secrets are drawn this often before giving up; with 4 bytes two sessions of one process number
/// hardly ever meet.
const DRAWS_MAX: usize = 8;

/// All keys of one gateway. Bounded.
pub struct CancelTable {
    keys: Mutex<HashMap<Key, Cancellable>>,
    keys_max: usize,
}

impl CancelTable {
    /// A table for at most `keys_max` sessions at a time.
    #[must_use]
    pub fn new(keys_max: usize) -> CancelTable {
        CancelTable {
            keys: Mutex::default(),
            keys_max,
        }
    }

    /// Makes a key for a session. `None` when the table is full, or the system's source of
    /// randomness fails.
    #[must_use]
    pub fn register(
        self: &Arc<Self>,
        session: SessionId,
        origin: Origin,
        process: u32,
        secret: &[u8],
    ) -> Option<CancelKey> {
        let mut own: Box<[u8]> = secret.into();
        for _ in 0..DRAWS_MAX {
            getrandom::fill(&mut own).ok()?;
            let mut keys = self.keys.lock();
            if keys.len() >= self.keys_max {
                return None;
            }
            if let Entry::Vacant(vacant) = keys.entry((process, own.clone())) {
                vacant.insert(Cancellable {
                    session,
                    secret: secret.into(),
                    origin,
                });
                return Some(CancelKey {
                    table: Arc::clone(self),
                    key: (process, own),
                });
            }
        }
        None
    }

    /// What a key stands for, when it was handed out to the same tree for the same destination.
    #[must_use]
    pub fn find(&self, origin: Origin, process: u32, secret: &[u8]) -> Option<Cancellable> {
        let keys = self.keys.lock();
        keys.get(&(process, secret.into()))
            .filter(|found| found.origin == origin)
            .cloned()
    }

    /// How many keys are out.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.lock().len()
    }

    /// Is no key out?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A key that is out. It stops being good when this is dropped.
pub struct CancelKey {
    table: Arc<CancelTable>,
    key: Key,
}

impl CancelKey {
    /// The secret that the client gets.
    #[must_use]
    pub fn secret(&self) -> &[u8] {
        &self.key.1
    }
}

impl Drop for CancelKey {
    fn drop(&mut self) {
        self.table.keys.lock().remove(&self.key);
    }
}
