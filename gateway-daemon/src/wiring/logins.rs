//! The credential store as the proxy asks it: what the gateway logs in with.
use gateway_credentials::{Credential, Vault};
use gateway_protocol::{Login, LoginError, Logins, Proof};
use std::sync::Arc;
use zeroize::Zeroizing;

/// As the store has them now.
pub(crate) struct StoredLogins(pub(crate) Arc<Vault>);

impl Logins for StoredLogins {
    fn find(&self, name: &str) -> Result<Arc<Login>, LoginError> {
        let credential = self.0.get(name);
        let credential = credential.map_err(|error| LoginError(error.to_string().into()))?;
        let user = credential.user().map(Into::into);
        let proof = match &*credential {
            Credential::Password { password, .. } => {
                Proof::Password(Zeroizing::new(password.reveal().as_bytes().to_vec()))
            }
            Credential::ClientCertificate {
                chain_pem, key_pem, ..
            } => Proof::Certificate {
                chain: chain_pem.as_bytes().to_vec(),
                key: Zeroizing::new(key_pem.reveal().as_bytes().to_vec()),
            },
            other => {
                let words = format!(
                    "the credential \"{name}\" is a {}, with which nobody can log in",
                    other.kind()
                );
                return Err(LoginError(words.into()));
            }
        };
        Ok(Arc::new(Login { user, proof }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gateway_core::Timestamp;
    use gateway_credentials::{KeyPlace, Store};

    #[test]
    fn the_store_is_asked_each_time_and_errors_say_nothing_of_the_value() {
        let directory = tempfile::tempdir().unwrap();
        let keys = || KeyPlace::new(directory.path().join("key"), None);
        let store = || Store::new(directory.path().join("sealed"), keys());
        keys().find_or_make().unwrap();
        let logins = StoredLogins(Arc::new(Vault::new(store())));
        let missing = logins.find("orders").unwrap_err().to_string();
        assert!(missing.contains("orders"), "{missing}");
        let add = |name: &str, credential| {
            store()
                .replace(name.parse().unwrap(), credential, Timestamp(1))
                .unwrap();
        };
        for value in ["canary-1", "canary-2"] {
            add(
                "orders",
                Credential::password(Some("svc"), value.as_bytes()).unwrap(),
            );
            let login = logins.find("orders").unwrap();
            assert_eq!(login.user.as_deref(), Some("svc"));
            assert!(matches!(&login.proof, Proof::Password(found) if **found == value.as_bytes()));
            assert!(!format!("{login:?}").contains("canary"));
        }
        add("hook", Credential::secret(b"canary-3").unwrap());
        let wrong = logins.find("hook").unwrap_err().to_string();
        assert!(
            wrong.contains("secret") && !wrong.contains("canary"),
            "{wrong}"
        );
    }
}
