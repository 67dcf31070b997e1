//! What a credential is, and what it may not be.
use crate::certificate;
use crate::error::ValueError;
use crate::hidden::Hidden;
use std::fmt;

/// The longest password, in bytes. PostgreSQL's own client takes fewer than 1,024.
pub const PASSWORD_BYTES_MAX: usize = 1024;
/// The longest secret, in bytes.
pub const SECRET_BYTES_MAX: usize = 4096;
/// The longest certificate chain with its key, as PEM, in bytes.
pub const CERTIFICATE_BYTES_MAX: usize = 64 * 1024;
/// The longest name of a user, in bytes.
const USER_BYTES_MAX: usize = 255;

/// Which sort of credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// [`Credential::Password`].
    Password,
    /// [`Credential::ClientCertificate`].
    Certificate,
    /// [`Credential::Secret`].
    Secret,
}

impl Kind {
    /// As it is written: `password`, `certificate`, `secret`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Password => "password",
            Kind::Certificate => "certificate",
            Kind::Secret => "secret",
        }
    }

    /// How many bytes a value may have.
    #[must_use]
    pub const fn bytes_max(self) -> usize {
        match self {
            Kind::Password => PASSWORD_BYTES_MAX,
            Kind::Certificate => CERTIFICATE_BYTES_MAX,
            Kind::Secret => SECRET_BYTES_MAX,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What an upstream, or the receiver of a webhook, is shown. Made by the functions below alone, so
/// that each one has been checked.
#[derive(Clone, Debug)]
pub enum Credential {
    /// A password.
    #[non_exhaustive]
    Password {
        /// Who logs in; `None`: whom the client names.
        user: Option<Box<str>>,
        /// 1 to 1,024 bytes without NUL.
        password: Hidden<String>,
    },
    /// A certificate for TLS, and its key.
    #[non_exhaustive]
    ClientCertificate {
        /// Who logs in; `None`: whom the client names.
        user: Option<Box<str>>,
        /// In PEM, the client's own first, nothing else in between.
        chain_pem: Box<str>,
        /// One key in PEM: PKCS #8, PKCS #1 or SEC 1, not encrypted.
        key_pem: Hidden<String>,
    },
    /// A key that two sides share: 1 to 4,096 bytes of any kind.
    #[non_exhaustive]
    Secret {
        /// The key.
        bytes: Hidden<Vec<u8>>,
    },
}

impl Credential {
    /// A password: text of 1 to 1,024 bytes, without NUL.
    ///
    /// # Errors
    /// The password is something else, or the user is none.
    pub fn password(user: Option<&str>, password: &[u8]) -> Result<Credential, ValueError> {
        let password = text(Kind::Password, password)?;
        if password.contains('\0') {
            return Err(ValueError::Nul(Kind::Password));
        }
        Ok(Credential::Password {
            user: checked_user(user)?,
            password: Hidden::new(password.to_owned()),
        })
    }

    /// A client certificate: PEM with one certificate or more, the client's own first, and one
    /// private key, at most 64 KiB. What else the text has is not kept.
    ///
    /// # Errors
    /// The text is something else, or the user is none.
    pub fn client_certificate(user: Option<&str>, pem: &[u8]) -> Result<Credential, ValueError> {
        let parts = certificate::take_apart(text(Kind::Certificate, pem)?)?;
        Ok(Credential::ClientCertificate {
            user: checked_user(user)?,
            chain_pem: parts.chain.into(),
            key_pem: Hidden::new(parts.key),
        })
    }

    /// A secret: 1 to 4,096 bytes.
    ///
    /// # Errors
    /// There are none, or more.
    pub fn secret(bytes: &[u8]) -> Result<Credential, ValueError> {
        check_length(Kind::Secret, bytes)?;
        Ok(Credential::Secret {
            bytes: Hidden::new(bytes.to_vec()),
        })
    }

    /// Which sort it is.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Credential::Password { .. } => Kind::Password,
            Credential::ClientCertificate { .. } => Kind::Certificate,
            Credential::Secret { .. } => Kind::Secret,
        }
    }

    /// Who logs in with it; `None`: whom the client names, or nobody does.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        match self {
            Credential::Password { user, .. } | Credential::ClientCertificate { user, .. } => {
                user.as_deref()
            }
            Credential::Secret { .. } => None,
        }
    }
}

fn check_length(kind: Kind, bytes: &[u8]) -> Result<(), ValueError> {
    let bytes_max = kind.bytes_max();
    match bytes.len() {
        0 => Err(ValueError::Empty(kind)),
        length if length > bytes_max => Err(ValueError::TooLong { kind, bytes_max }),
        _ => Ok(()),
    }
}

fn text(kind: Kind, bytes: &[u8]) -> Result<&str, ValueError> {
    check_length(kind, bytes)?;
    std::str::from_utf8(bytes).map_err(|_| ValueError::NotText(kind))
}

fn checked_user(user: Option<&str>) -> Result<Option<Box<str>>, ValueError> {
    let Some(user) = user else { return Ok(None) };
    let good =
        !user.is_empty() && user.len() <= USER_BYTES_MAX && !user.chars().any(char::is_control);
    match good {
        true => Ok(Some(user.into())),
        false => Err(ValueError::User),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::pem;

    #[test]
    fn a_password_is_a_text_of_some_length() {
        let longest = "p".repeat(PASSWORD_BYTES_MAX);
        for good in [" ", "pass word", "päßwörd\n", longest.as_str()] {
            let made = Credential::password(Some("ci"), good.as_bytes()).unwrap();
            let Credential::Password { user, password } = made else {
                panic!("a password was expected");
            };
            assert_eq!(
                (user.as_deref(), password.reveal().as_str()),
                (Some("ci"), good)
            );
        }
        let longer = vec![b'p'; PASSWORD_BYTES_MAX + 1];
        let too_long = ValueError::TooLong {
            kind: Kind::Password,
            bytes_max: PASSWORD_BYTES_MAX,
        };
        for (bad, error) in [
            (&b""[..], ValueError::Empty(Kind::Password)),
            (b"a\0b", ValueError::Nul(Kind::Password)),
            (b"\xff\xfe", ValueError::NotText(Kind::Password)),
            (&longer, too_long),
        ] {
            assert_eq!(Credential::password(None, bad).unwrap_err(), error);
        }
    }

    #[test]
    fn a_user_is_plain_and_not_empty() {
        let longer = "u".repeat(256);
        for bad in ["", "a\nb", "a\0", "\u{9b}", &longer] {
            let made = Credential::password(Some(bad), b"x");
            assert_eq!(made.unwrap_err(), ValueError::User, "{bad:?}");
        }
        let made = Credential::password(Some("Jörg X"), b"x").unwrap();
        assert_eq!(made.user(), Some("Jörg X"));
    }

    #[test]
    fn a_secret_is_any_bytes() {
        assert!(Credential::secret(&[0, 255, 10]).is_ok());
        assert!(Credential::secret(&vec![1; SECRET_BYTES_MAX]).is_ok());
        assert!(Credential::secret(&vec![1; SECRET_BYTES_MAX + 1]).is_err());
        assert_eq!(
            Credential::secret(b"").unwrap_err(),
            ValueError::Empty(Kind::Secret)
        );
    }

    #[test]
    fn debug_shows_no_value() {
        let (chain, key) = pem();
        let all = [
            Credential::password(Some("ci"), b"hunter2").unwrap(),
            Credential::client_certificate(None, format!("{chain}{key}").as_bytes()).unwrap(),
            Credential::secret(b"hunter2 hunter2!").unwrap(),
        ];
        let shown = format!("{all:?} {all:#?}");
        assert!(shown.contains("ci") && shown.contains('…'), "{shown}");
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(!shown.contains("104, 117, 110"), "{shown}");
        assert!(!shown.contains("PRIVATE KEY"), "{shown}");
    }
}
