//! A real SAML identity provider: the npm package samlp, beside the OpenID provider and with the
//! same Node.js ([`crate::provider`]); `tests/provider/saml.mjs` asks it for a response.
use crate::{place, provider, running, skip};
use anyhow::Result;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

/// What it calls itself.
pub const ENTITY_ID: &str = "https://idp.acme.example/metadata";
/// Whom its assertions are for, when nobody says otherwise.
pub const AUDIENCE: &str = "https://gateway.acme.example/saml";
/// Where they are to be posted to.
pub const RECIPIENT: &str = "https://gateway.acme.example/acs";

const PROGRAM: &str = include_str!("../provider/saml.mjs");

/// The provider: a key with its certificate.
pub struct SamlProvider {
    directory: TempDir,
}

impl SamlProvider {
    /// One with a key of its own, or notes this test as skipped on a host where setup could not
    /// provide it.
    ///
    /// # Errors
    /// openssl fails.
    ///
    /// # Panics
    /// As [`skip::skip`].
    pub fn new_or_skip() -> Result<Option<SamlProvider>> {
        if let Err(missing) = provider::node(PROGRAM) {
            skip::skip(&missing.to_string());
            return Ok(None);
        }
        let provider = SamlProvider {
            directory: place::temporary_directory()?,
        };
        let mut openssl = Command::new("openssl");
        openssl
            .args([
                "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
            ])
            .args(["-subj", "/CN=idp.acme.example", "-keyout"])
            .arg(provider.directory.path().join("key.pem"))
            .arg("-out")
            .arg(provider.certificate());
        running::run(&mut openssl)?.success()?;
        Ok(Some(provider))
    }

    /// The certificate that it signs with, in PEM.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.directory.path().join("certificate.pem")
    }

    /// What it has the browser of `NAME@acme.example` post, after a sign-in just now. `options` are
    /// samlp's, over those of an honest response: `lifetimeInSeconds`, `audience`, `signResponse`.
    ///
    /// # Errors
    /// samlp refuses.
    pub fn response(&self, name: &str, groups: &[&str], options: &Value) -> Result<String> {
        let mut request = json!({
            "issuer": ENTITY_ID,
            "audience": AUDIENCE,
            "recipient": RECIPIENT,
            "destination": RECIPIENT,
            "user": {
                "name": format!("{name}@acme.example"),
                "attributes": { "groups": groups },
            },
        });
        if let (Some(request), Some(options)) = (request.as_object_mut(), options.as_object()) {
            request.extend(options.clone());
        }
        let mut command = provider::node(PROGRAM)?;
        command
            .env("SAML_DIRECTORY", self.directory.path())
            .env("SAML_REQUEST", request.to_string());
        Ok(running::run(&mut command)?.success()?.stdout)
    }
}
