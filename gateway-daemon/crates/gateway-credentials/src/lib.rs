//! Credentials for upstreams, so that jobs need none: what they are ([`Credential`]), the sealed
//! file that keeps them ([`Store`], for the command line), and the [`Vault`] that hands them out
//! (for the daemon).
//!
//! The file is encrypted whole, with a key that lies elsewhere ([`KeyPlace`]): a copy of the state
//! directory gives nothing away. A change replaces the file as one, and the vault sees it at the
//! next question. A file that is damaged, sealed with another key, or open to others is neither
//! read nor overwritten.
//!
//! Values are [`Hidden`]: they are in no `Debug` output and in no error, and are overwritten in
//! memory when they are dropped.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

mod certificate;
mod content;
pub mod credential;
pub mod error;
mod file;
mod hidden;
pub mod key;
mod name;
mod seal;
pub mod store;
pub mod vault;

#[cfg(test)]
mod testing;

pub use credential::{Credential, Kind};
pub use error::{FileError, KeyError, NameError, StoreError, ValueError, VaultError};
pub use hidden::Hidden;
pub use key::{KeyPlace, StoreKey};
pub use name::Name;
pub use store::{Entry, Store};
pub use vault::Vault;
