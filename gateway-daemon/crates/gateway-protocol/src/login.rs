//! What the gateway logs in with upstream, in the place of a client that never has it.
use std::fmt;
use std::sync::Arc;
use zeroize::Zeroizing;

/// A credential.
pub struct Login {
    /// The user that it is for; `None`: whoever the client says that it is.
    pub user: Option<Box<str>>,
    /// What proves it.
    pub proof: Proof,
}

/// What proves who logs in. Wiped from memory when it is dropped.
pub enum Proof {
    /// A password.
    Password(Zeroizing<Vec<u8>>),
    /// A certificate for TLS, with those that lead to its authority, and its key; in PEM form.
    Certificate {
        /// The certificates, its own first.
        chain: Vec<u8>,
        /// The key.
        key: Zeroizing<Vec<u8>>,
    },
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").finish_non_exhaustive()
    }
}

/// A credential is not to be had. It says which, and never what.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct LoginError(pub Arc<str>);

/// Has the credentials that policies name.
pub trait Logins: Send + Sync {
    /// The credential of this name. It may read files: not to be called where nothing may block.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    fn find(&self, name: &str) -> Result<Arc<Login>, LoginError>;
}

/// Nobody has any.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoLogins;

impl Logins for NoLogins {
    fn find(&self, name: &str) -> Result<Arc<Login>, LoginError> {
        Err(LoginError(
            format!("there is no credential {name:?}").into(),
        ))
    }
}
