//! What can be wrong with a name, a value, a file, a key. No error quotes a value.
use crate::credential::Kind;
use crate::name::Name;
use std::io;
use std::path::PathBuf;

/// Not a name of a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a name of a credential (expected 1 to 64 of a-z, 0-9, `.`, `_`, `-`, the first one a \
     letter or a digit)"
)]
pub struct NameError;

/// A value that cannot be a credential.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// There is nothing.
    #[error("the {0} is empty")]
    Empty(Kind),
    /// There is too much.
    #[error("the {kind} is too long (at most {bytes_max} bytes are taken)")]
    TooLong {
        /// What it was to be.
        kind: Kind,
        /// How many bytes one may have.
        bytes_max: usize,
    },
    /// It is no text.
    #[error("the {0} is not text in UTF-8")]
    NotText(Kind),
    /// C strings end there, and so do the passwords of many servers.
    #[error("the {0} has a NUL in it")]
    Nul(Kind),
    /// Not a user that an upstream could know.
    #[error("the user is empty, longer than 255 bytes, or has a control character in it")]
    User,
    /// A text that begins as PEM and does not go on as it.
    #[error("the PEM text is damaged: {0}")]
    Pem(&'static str),
    /// No certificate, or no more room for them.
    #[error(
        "no certificate in it (expected `-----BEGIN CERTIFICATE-----`, the client's own first)"
    )]
    NoCertificate,
    /// No private key that could be used.
    #[error(
        "no private key in it (expected `-----BEGIN PRIVATE KEY-----` beside the certificate; one \
         that is encrypted with a password cannot be used)"
    )]
    NoPrivateKey,
    /// Which one is meant cannot be known.
    #[error("{0} private keys in it (expected one)")]
    PrivateKeys(usize),
}

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The kernel does not let us.
    #[error("{doing} {}: not permitted", file.display())]
    NotPermitted {
        /// What was to be done.
        doing: &'static str,
        /// With which file.
        file: PathBuf,
    },
    /// Others may read or write it. Whatever is in it may be known, or theirs.
    #[error("{}: open to others, mode {mode:04o} (expected 0600)", file.display())]
    Exposed {
        /// The file.
        file: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// Somebody else's.
    #[error("{}: belongs to uid {owner} (expected uid {expected})", file.display())]
    Foreign {
        /// The file.
        file: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Whose it should be: the effective user's.
        expected: u32,
    },
    /// A directory, a pipe.
    #[error("{}: not a file", file.display())]
    NotAFile {
        /// The path.
        file: PathBuf,
    },
    /// Larger than what we write.
    #[error("{}: larger than {bytes_max} bytes", file.display())]
    TooLarge {
        /// The file.
        file: PathBuf,
        /// What it may have.
        bytes_max: u64,
    },
    /// The disk, the file system.
    #[error("{doing} {}: {error}", file.display())]
    Io {
        /// What was to be done.
        doing: &'static str,
        /// With which file.
        file: PathBuf,
        /// What happened.
        error: io::Error,
    },
}

/// There is no usable key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Nowhere. Only the command line makes one, and only where nothing has been sealed yet.
    #[error(
        "there is no key at {} (what is sealed can be opened with its own key alone: bring the \
         file back)",
        file.display()
    )]
    Missing {
        /// Where it was looked for.
        file: PathBuf,
    },
    /// It is none of ours, or was cut.
    #[error("{}: {found} bytes are no key (expected 32 random bytes)", file.display())]
    Length {
        /// The file.
        file: PathBuf,
        /// How many bytes it has.
        found: usize,
    },
    /// The file cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// The kernel has no random bytes.
    #[error("no randomness for a key")]
    Randomness,
}

/// The store cannot do what it was asked. It is as it was.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Not without being told to replace it.
    #[error("there is a credential {0} already (`--replace` puts this one in its place)")]
    Exists(Name),
    /// Nothing is called so.
    #[error("there is no credential {0}")]
    NotThere(Name),
    /// It would not fit any more.
    #[error("the store is full: all credentials together may have {bytes_max} bytes")]
    Full {
        /// What is in it, in the clear.
        bytes_max: usize,
    },
    /// Something else has this name.
    #[error("{}: not a store of credentials", file.display())]
    NotAStore {
        /// The file.
        file: PathBuf,
    },
    /// Written by another gateway.
    #[error(
        "{}: the store is of version {found}, this gateway reads version {expected}",
        file.display()
    )]
    Version {
        /// The file.
        file: PathBuf,
        /// What it says.
        found: u32,
        /// What is known.
        expected: u32,
    },
    /// Sealed with another key than the one that was found.
    #[error("{}: sealed with another key than that of {}", file.display(), key.display())]
    OtherKey {
        /// The store.
        file: PathBuf,
        /// Where the key was found.
        key: PathBuf,
    },
    /// Bits are missing, or are not those that were written.
    #[error("{}: damaged; it is left as it is (bring back a copy, or move it away)", file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
    },
    /// The file cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// The key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// AES-GCM failed, which it does only without random bytes.
    #[error("the credentials could not be sealed")]
    Sealing,
}

/// The vault has no such credential to give.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// Nothing is called so.
    #[error("there is no credential {name:?} (`gateway credentials add` makes one)")]
    NotThere {
        /// What was asked for.
        name: Box<str>,
    },
    /// The store cannot be read; what it had before does not count any more.
    #[error("the credential {name:?}: {error}")]
    Unreadable {
        /// What was asked for.
        name: Box<str>,
        /// Why.
        error: StoreError,
    },
}
