//! Webhooks with the secrets that sign what they are told: from files, which are read once, or
//! from the credential store, which is asked each time.
use crate::config::{self, Config, Place, WebhookSecret};
use crate::exit::Failure;
use gateway_approvals::{Secret, Webhook};
use gateway_credentials::{Credential, Name, Vault};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use zeroize::Zeroizing;

/// A secret is a line, not a document.
const FILE_BYTES_MAX: usize = 64 * 1024;

/// All of them. A secret that is not there now keeps the daemon from starting.
pub(crate) fn webhooks(config: &Config, vault: &Arc<Vault>) -> Result<Vec<Webhook>, Failure> {
    let each = |webhook: &config::Webhook| {
        resolve(webhook, vault).map_err(|fault| mistake(config, webhook.place, &fault))
    };
    config.webhooks.iter().map(each).collect()
}

fn resolve(webhook: &config::Webhook, vault: &Arc<Vault>) -> Result<Webhook, String> {
    let (url, form) = (webhook.url.clone(), webhook.form);
    match &webhook.secret {
        WebhookSecret::File(file) => {
            let secret = read(file)
                .map_err(|error| error.to_string())
                .and_then(|bytes| secret(bytes.trim_ascii()));
            let named = |error: String| format!("webhook.secret_file {}: {error}", file.display());
            Ok(Webhook::new(url, form, secret.map_err(named)?))
        }
        WebhookSecret::Stored(name) => {
            stored(vault, name).map_err(|error| format!("webhook.secret: {error}"))?;
            let (vault, name) = (Arc::clone(vault), name.clone());
            let ask = move || stored(&vault, &name);
            Ok(Webhook::asking(url, form, Arc::new(ask)))
        }
    }
}

/// The secret as the store has it now.
fn stored(vault: &Vault, name: &Name) -> Result<Secret, String> {
    let credential = vault
        .get(name.as_str())
        .map_err(|error| error.to_string())?;
    match &*credential {
        Credential::Secret { bytes, .. } => {
            secret(bytes.reveal()).map_err(|error| format!("the credential \"{name}\": {error}"))
        }
        other => Err(format!(
            "the credential \"{name}\" is a {} (expected a secret: `gateway credentials add {name} \
             --kind secret --replace`)",
            other.kind()
        )),
    }
}

fn secret(bytes: &[u8]) -> Result<Secret, String> {
    Secret::new(bytes).map_err(|error| error.to_string())
}

fn read(file: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_BYTES_MAX + 1));
    let opened = File::open(file)?;
    opened
        .take(FILE_BYTES_MAX as u64 + 1)
        .read_to_end(&mut bytes)?;
    match bytes.len() > FILE_BYTES_MAX {
        true => Err(io::Error::other("is larger than 64 KiB")),
        false => Ok(bytes),
    }
}

fn mistake(config: &Config, place: Place, fault: &str) -> Failure {
    let file = config
        .file
        .as_deref()
        .unwrap_or(Path::new(config::DEFAULT_FILE));
    let Place { line, column } = place;
    Failure::usage(format!("{}:{line}:{column}: {fault}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;
    use gateway_approvals::{Form, WebhookUrl};
    use gateway_core::Timestamp;
    use gateway_credentials::{KeyPlace, Store};
    use std::path::PathBuf;
    use tempfile::TempDir;

    const GOOD: &[u8] = b"0123456789abcdef";
    const NOW: Timestamp = Timestamp(1);

    fn store(directory: &TempDir) -> Store {
        let keys = KeyPlace::new(directory.path().join("key"), None);
        Store::new(directory.path().join("store"), keys)
    }

    fn resolved(directory: &TempDir, secret: WebhookSecret) -> Result<Webhook, Failure> {
        let config = Config {
            file: Some("/g.toml".into()),
            webhooks: vec![config::Webhook {
                url: WebhookUrl::parse("https://chat.internal/PATH").unwrap(),
                form: Form::Json,
                secret,
                place: Place { line: 7, column: 1 },
            }],
            ..Config::default()
        };
        let vault = Arc::new(Vault::new(store(directory)));
        webhooks(&config, &vault).map(|mut all| all.remove(0))
    }

    fn check(directory: &TempDir, secret: WebhookSecret, expected: &str) {
        let failure = resolved(directory, secret).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        let message = failure.message;
        assert!(
            message.starts_with("/g.toml:7:1: webhook.secret"),
            "{message}"
        );
        assert!(message.contains(expected), "{message}");
        assert!(!message.contains("PATH"), "{message}");
    }

    #[test]
    fn a_secret_in_a_file_is_taken_without_its_line_break() {
        let directory = tempfile::tempdir().unwrap();
        let file: PathBuf = directory.path().join("secret");
        let secret = || WebhookSecret::File(file.clone());
        check(&directory, secret(), "No such file");
        std::fs::write(&file, "short\n").unwrap();
        check(&directory, secret(), "at least 16");
        std::fs::write(&file, [GOOD, b"\n"].concat()).unwrap();
        let webhook = resolved(&directory, secret()).unwrap();
        assert_eq!((webhook.secrets)(), Ok(Secret::new(GOOD).unwrap()));
    }

    #[test]
    fn a_stored_secret_is_asked_for_each_time() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(&directory);
        let name: Name = "hook".parse().unwrap();
        let secret = || WebhookSecret::Stored(name.clone());
        check(&directory, secret(), "there is no credential \"hook\"");
        let put = |credential| store.replace(name.clone(), credential, NOW).unwrap();
        put(Credential::password(None, GOOD).unwrap());
        check(&directory, secret(), "is a password (expected a secret");
        put(Credential::secret(b"short").unwrap());
        check(&directory, secret(), "at least 16");
        put(Credential::secret(GOOD).unwrap());
        let webhook = resolved(&directory, secret()).unwrap();
        assert_eq!((webhook.secrets)(), Ok(Secret::new(GOOD).unwrap()));
        put(Credential::secret(b"another secret!!").unwrap());
        let changed = Secret::new(b"another secret!!").unwrap();
        assert_eq!((webhook.secrets)(), Ok(changed));
        store.remove(&name).unwrap();
        assert!((webhook.secrets)().is_err());
    }
}
