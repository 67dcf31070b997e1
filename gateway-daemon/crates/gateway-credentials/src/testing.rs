//! What the tests of this crate are made of.
use crate::credential::Credential;
use crate::key::KeyPlace;
use crate::name::Name;
use crate::store::Store;
use std::path::PathBuf;
use tempfile::TempDir;

/// A certificate and its key, in PEM.
pub(crate) fn pem() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["client".to_owned()]).unwrap();
    let plain = |text: String| text.replace('\r', "");
    (
        plain(made.cert.pem()),
        plain(made.signing_key.serialize_pem()),
    )
}

pub(crate) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub(crate) fn password(text: &str) -> Credential {
    Credential::password(None, text.as_bytes()).unwrap()
}

/// The password of a credential that is one.
pub(crate) fn revealed(credential: &Credential) -> &str {
    match credential {
        Credential::Password { password, .. } => password.reveal(),
        other => panic!("a password was expected, not {other:?}"),
    }
}

/// A store in a directory of its own.
pub(crate) struct Place {
    pub(crate) directory: TempDir,
}

impl Place {
    pub(crate) fn new() -> Place {
        Place {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.directory.path().join("credentials.sealed")
    }

    pub(crate) fn key_file(&self) -> PathBuf {
        self.directory.path().join("credentials.key")
    }

    pub(crate) fn store(&self) -> Store {
        Store::new(self.file(), KeyPlace::new(self.key_file(), None))
    }
}
