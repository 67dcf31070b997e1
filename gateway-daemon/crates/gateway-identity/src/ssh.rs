//! Who logged in by SSH: what sshd says of it, and the principal that this makes.
//!
//! sshd tells PAM's modules by which methods somebody was authenticated in `SSH_AUTH_INFO_0`
//! (OpenSSH 7.6, auth2.c: auth2_update_methods_lists): a line for each that succeeded, the name of
//! the method, for keys the key as it stands in authorized_keys, and what else the method has to
//! say. A certificate is there whole. sshd has verified it; here only its key id is read.
use crate::token::{Template, TemplateError, VALUE_BYTES_MAX, escape, shown};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use gateway_core::{Assurance, Principal};
use serde_json::{Map, Value};
use std::fmt;
use std::sync::Arc;

mod certificate;

use certificate::Certificate;

/// The longest `SSH_AUTH_INFO_0` that is read: a certificate has a few KiB.
pub const AUTH_INFO_BYTES_MAX: usize = 32 * 1024;
/// More methods than sshd knows.
const METHODS_MAX: usize = 16;
/// The name of a method with its device, as `keyboard-interactive/pam`.
const METHOD_BYTES_MAX: usize = 64;
/// The longest name of a user that is taken; useradd(8) makes none beyond 32.
const USER_BYTES_MAX: usize = 128;
/// The claims of a template.
const USER: &str = "user";
const KEY_ID: &str = "key_id";

/// Why nobody can be told from what sshd said. Quotes it shortened and escaped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SshError {
    /// A user without a name, or with one that is none.
    #[error("the user's name: expected 1 to {USER_BYTES_MAX} bytes without control characters")]
    User,
    /// The session was authenticated by nothing.
    #[error("sshd does not say how the user was authenticated (SSH_AUTH_INFO_0, OpenSSH 7.6)")]
    NoMethod,
    /// More than sshd says.
    #[error("SSH_AUTH_INFO_0 has {0} bytes, at most {AUTH_INFO_BYTES_MAX} are expected")]
    TooLarge(usize),
    /// More methods than there are.
    #[error("SSH_AUTH_INFO_0 has more than {METHODS_MAX} lines")]
    TooMany,
    /// The last line has no end.
    #[error("SSH_AUTH_INFO_0 is cut off")]
    Cut,
    /// A line that sshd does not write.
    #[error("SSH_AUTH_INFO_0, line {line}: {expected}")]
    Line {
        /// Which, from 1.
        line: usize,
        /// What was expected.
        expected: &'static str,
    },
    /// The method `none`: an account without a password.
    #[error("the user was not authenticated at all (method none)")]
    Unauthenticated,
    /// The principal needs the key id of a certificate.
    #[error("the user logged in without a certificate, and [ssh] principal needs its {{key_id}}")]
    NoCertificate,
    /// Two certificates that say different things.
    #[error("the user logged in with two certificates of different key ids")]
    TwoKeyIds,
    /// A key id that cannot be part of a name.
    #[error("the certificate's key id: expected 1 to {VALUE_BYTES_MAX} bytes")]
    KeyId,
}

/// What is wrong with `[ssh] principal`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SshTemplateError {
    /// As in any template.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// There are two claims.
    #[error("{{{0}}} is not known: {{user}} and {{key_id}} are expected")]
    Claim(String),
}

/// A key that somebody logged in with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SshKey {
    /// A key that the account trusts.
    Plain {
        /// `SHA256:…`, as ssh-keygen writes it.
        fingerprint: String,
    },
    /// A key that an authority vouches for.
    Certificate {
        /// What the authority calls it.
        key_id: String,
        /// Of the key.
        fingerprint: String,
        /// Of the authority's key.
        authority: String,
    },
}

/// A method that succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshMethod {
    /// `publickey`, `password`, `keyboard-interactive/pam` …
    pub name: String,
    /// The user's key; that of the client's host (`hostbased`) is none.
    pub key: Option<SshKey>,
}

/// A login, as sshd tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshLogin {
    user: String,
    methods: Vec<SshMethod>,
}

impl SshLogin {
    /// Reads PAM's user and sshd's `SSH_AUTH_INFO_0`.
    ///
    /// # Errors
    /// They are not what sshd writes.
    pub fn read(user: &str, auth_info: &str) -> Result<SshLogin, SshError> {
        if !(1..=USER_BYTES_MAX).contains(&user.len()) || user.chars().any(char::is_control) {
            return Err(SshError::User);
        }
        if auth_info.len() > AUTH_INFO_BYTES_MAX {
            return Err(SshError::TooLarge(auth_info.len()));
        }
        if auth_info.is_empty() {
            return Err(SshError::NoMethod);
        }
        let lines = auth_info.strip_suffix('\n').ok_or(SshError::Cut)?;
        let mut methods = Vec::new();
        for (number, line) in (1..).zip(lines.split('\n')) {
            if number > METHODS_MAX {
                return Err(SshError::TooMany);
            }
            let fault = |expected| SshError::Line {
                line: number,
                expected,
            };
            methods.push(method(line).map_err(fault)?);
        }
        if methods.iter().all(|method| method.name == "none") {
            return Err(SshError::Unauthenticated);
        }
        Ok(SshLogin {
            user: user.to_owned(),
            methods,
        })
    }

    /// How it was authenticated, in sshd's order.
    #[must_use]
    pub fn methods(&self) -> &[SshMethod] {
        &self.methods
    }

    /// The key id of the certificate that it was made with, if it was.
    fn key_id(&self) -> Result<Option<&str>, SshError> {
        let mut ids = self.methods.iter().filter_map(|method| match &method.key {
            Some(SshKey::Certificate { key_id, .. }) => Some(key_id.as_str()),
            _ => None,
        });
        let Some(first) = ids.next() else {
            return Ok(None);
        };
        match first.len() {
            _ if ids.any(|id| id != first) => Err(SshError::TwoKeyIds),
            1..=VALUE_BYTES_MAX => Ok(Some(first)),
            _ => Err(SshError::KeyId),
        }
    }
}

/// For the journal: `user alice, publickey SHA256:…`.
impl fmt::Display for SshLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "user {}", shown(&self.user))?;
        for method in &self.methods {
            write!(f, ", {}", method.name)?;
            match &method.key {
                None => {}
                Some(SshKey::Plain { fingerprint }) => write!(f, " {fingerprint}")?,
                Some(SshKey::Certificate {
                    key_id,
                    fingerprint,
                    authority,
                }) => {
                    let key_id = shown(key_id);
                    write!(
                        f,
                        " {fingerprint} certificate \"{key_id}\" of authority {authority}"
                    )?;
                }
            }
        }
        Ok(())
    }
}

fn method(line: &str) -> Result<SshMethod, &'static str> {
    let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
    let plain = |byte: u8| byte.is_ascii_graphic();
    if !(1..=METHOD_BYTES_MAX).contains(&name.len()) || !name.bytes().all(plain) {
        return Err("expected the name of a method");
    }
    // The key of `hostbased` is that of a host, whoever is at work there.
    let key = match name.split('/').next() {
        Some("publickey") => Some(key(rest)?),
        _ => None,
    };
    Ok(SshMethod {
        name: name.to_owned(),
        key,
    })
}

/// A key as it stands in authorized_keys: what it is, and its blob.
fn key(text: &str) -> Result<SshKey, &'static str> {
    let mut words = text.split(' ');
    let (Some(kind), Some(blob)) = (words.next(), words.next()) else {
        return Err("expected the kind of the key and the key");
    };
    let blob = STANDARD.decode(blob);
    let blob = blob.map_err(|_| "expected the key in base64")?;
    if certificate::string(&mut blob.as_slice()) != Some(kind.as_bytes()) {
        return Err("expected a key of the kind that stands before it");
    }
    if !certificate::is_kind(kind) {
        return Ok(SshKey::Plain {
            fingerprint: fingerprint(&blob),
        });
    }
    let certificate = Certificate::read(&blob).ok_or("expected a certificate")?;
    if !certificate.of_user {
        return Err("expected the certificate of a user, not of a host");
    }
    Ok(SshKey::Certificate {
        key_id: certificate.key_id,
        fingerprint: fingerprint(&certificate.key),
        authority: fingerprint(certificate.authority),
    })
}

/// As ssh-keygen writes it: the hash of a key's blob.
fn fingerprint(blob: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, blob);
    format!("SHA256:{}", STANDARD_NO_PAD.encode(digest))
}

/// How logins become principals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshNames {
    template: Template,
    /// A login with a certificate is that of its key id.
    by_key_id: bool,
}

impl SshNames {
    /// By a template over `{user}` and `{key_id}`; with `by_key_id` those with a certificate are
    /// `ssh-cert:KEYID` instead.
    ///
    /// # Errors
    /// The template makes no names.
    pub fn new(template: &str, by_key_id: bool) -> Result<SshNames, SshTemplateError> {
        let template = Template::parse(template)?;
        if let Some(other) = template
            .claims()
            .find(|name| ![USER, KEY_ID].contains(name))
        {
            return Err(SshTemplateError::Claim(shown(other)));
        }
        Ok(SshNames {
            template,
            by_key_id,
        })
    }

    /// Who logged in, verified, without groups: these are the directory's.
    ///
    /// # Errors
    /// It cannot be told.
    pub fn principal(&self, login: &SshLogin) -> Result<Principal, SshError> {
        let needs = self.by_key_id || self.template.claims().any(|name| name == KEY_ID);
        let key_id = match needs {
            true => login.key_id()?,
            false => None,
        };
        let id: Arc<str> = match key_id {
            Some(key_id) if self.by_key_id => format!("ssh-cert:{}", escape(key_id)).into(),
            _ => {
                let text = |text: &str| Value::String(text.to_owned());
                let mut claims = Map::new();
                claims.insert(USER.to_owned(), text(&login.user));
                if let Some(key_id) = key_id {
                    claims.insert(KEY_ID.to_owned(), text(key_id));
                }
                // Lengths are judged above: only the key id can be missing.
                let filled = self.template.fill(&claims);
                filled.map_err(|_| SshError::NoCertificate)?
            }
        };
        Ok(Principal {
            id,
            assurance: Assurance::Verified,
            groups: Vec::new(),
        })
    }
}

#[cfg(test)]
mod tests;
