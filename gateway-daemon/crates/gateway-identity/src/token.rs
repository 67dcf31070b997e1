//! Tokens that an issuer signed: a CI job's, a person's. The only way to a verified principal here.
//!
//! A token is an OpenID Connect ID token or another JWT (RFC 7519) with an `iss` of the
//! configuration. The issuer's keys come from its discovery document and from nowhere else; which
//! algorithm a key is for is decided by the key. RS256, ES256 and EdDSA are known.
//!
//! The signatures are checked with aws-lc, which rustls brings along for the way to the issuers.
//! Of the crates for whole tokens, `jsonwebtoken` takes either aws-lc, a second library of the
//! same kind and a long C build, or the `rsa` crate with its open advisory (RUSTSEC-2023-0071);
//! and nearly all of what it checks of claims would be checked here once more, in stricter form.
use gateway_core::{Principal, Timestamp};
use std::fmt;
use std::sync::Arc;

mod cache;
mod claims;
mod environment;
mod fetch;
mod issuer;
mod jws;
mod keys;
mod sign_in;
mod template;

use cache::Cache;
use issuer::Issuer;
use jws::Jws;
use keys::{Check, KeySet};

pub use environment::{ENVIRONMENT_BYTES_MAX, environment};
pub use fetch::{
    AuthoritiesError, DOCUMENT_BYTES_MAX, Fetch, FetchError, HttpFetch, Posted, UrlError,
};
pub use issuer::{IssuerConfig, IssuerError, IssuerFault};
pub use jws::TOKEN_BYTES_MAX;
pub use keys::KEYS_MAX;
pub use sign_in::{Authorization, Device, IdToken, SignInClient, SignInError};
pub use template::TemplateError;
pub(crate) use template::{Template, VALUE_BYTES_MAX, escape};

// A SAML assertion's attributes become names by the same rules as a token's claims.
pub(crate) use claims::groups;

/// What a token proved. It does not hold the token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedToken {
    /// Who it is, with [`gateway_core::Assurance::Verified`].
    pub principal: Principal,
    /// Whose word that is: the `name` of an `[[issuer]]`.
    pub issuer: Arc<str>,
    /// Its `jti`, or `sha256:` and the hash of what is signed. Unique for its issuer.
    pub id: Arc<str>,
    /// From when on it is worth nothing.
    pub expires: Timestamp,
    /// Its `sub`.
    pub subject: Arc<str>,
}

/// Why a token is not taken. Never quotes the token, but a bounded, escaped part of what it claims.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It was not even looked at.
    #[error("the token has {0} bytes, at most {TOKEN_BYTES_MAX} are expected")]
    TooLarge(usize),
    /// It is no token.
    #[error("not a token: {0}")]
    Malformed(&'static str),
    /// Signed in a way that is not accepted, `none` and HS256 among them.
    #[error("the token's algorithm is \"{0}\"; RS256, ES256 and EdDSA are accepted")]
    Algorithm(String),
    /// It demands an extension to be understood, and none is.
    #[error("the token's header demands extensions (`crit`), none is supported")]
    Critical,
    /// Its `iss` is not the `url` of any `[[issuer]]`.
    #[error("the token is of \"{0}\", which is not a configured issuer")]
    UnknownIssuer(String),
    /// The issuer's keys cannot be had.
    #[error("no keys of issuer \"{issuer}\": {reason}")]
    NoKeys {
        /// The issuer's name.
        issuer: Arc<str>,
        /// Why not.
        reason: String,
    },
    /// The issuer has no such key.
    #[error("issuer \"{issuer}\" has no key {kid:?}; it is asked for new ones once a minute")]
    UnknownKey {
        /// The issuer's name.
        issuer: Arc<str>,
        /// The key that the token names.
        kid: Option<String>,
    },
    /// The issuer has the key, and it is too weak, or not for this.
    #[error("the key that the token names is refused: {0}")]
    RefusedKey(&'static str),
    /// The key is for another algorithm than the token says.
    #[error("the key that the token names is for {0}, not for the algorithm of the token")]
    AnotherAlgorithm(&'static str),
    /// Forged, damaged, or of another issuer.
    #[error("the token's signature is wrong")]
    Signature,
    /// It was made for somebody else.
    #[error("the token is not made out to the audience {0:?}")]
    Audience(String),
    /// It answers another sign-in than this one.
    #[error("the token's `nonce` is not that of this sign-in")]
    Nonce,
    /// It is over.
    #[error("the token has expired")]
    Expired,
    /// It has not begun, by this claim.
    #[error("the token is from the future, by its `{0}`")]
    NotYet(&'static str),
    /// Its address makes the principal, and the issuer does not say that it is verified.
    #[error(
        "the token's `email` is not verified (`email_verified` is not true; \
         `unverified_email` of the issuer's section would take it all the same)"
    )]
    UnverifiedEmail,
    /// It lacks a claim that is needed.
    #[error("the token has no `{0}`")]
    MissingClaim(String),
    /// A claim is not of the form that is needed.
    #[error("the token's `{name}` is not what is expected: {expected}")]
    Claim {
        /// Which claim.
        name: String,
        /// What it should be.
        expected: &'static str,
    },
}

/// The configured issuers, with their keys as they were last seen.
pub struct Issuers {
    issuers: Vec<(Issuer, Cache)>,
    fetch: Box<dyn Fetch>,
}

impl fmt::Debug for Issuers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.issuers.iter().map(|(issuer, _)| &issuer.name);
        f.debug_list().entries(names).finish()
    }
}

impl Issuers {
    /// Checks the configuration. Nothing is fetched before the first token.
    ///
    /// # Errors
    /// One of them will not do, or two have the same name or address.
    pub fn new(configs: Vec<IssuerConfig>, fetch: Box<dyn Fetch>) -> Result<Issuers, IssuerError> {
        let mut issuers: Vec<(Issuer, Cache)> = Vec::new();
        for config in configs {
            let name = config.name.clone();
            let fail = |fault| IssuerError {
                name: name.clone(),
                fault,
            };
            let issuer = Issuer::new(config).map_err(fail)?;
            for (other, _) in &issuers {
                if other.name == issuer.name {
                    return Err(fail(IssuerFault::Twice("name")));
                }
                if other.url == issuer.url {
                    return Err(fail(IssuerFault::Twice("url")));
                }
            }
            issuers.push((issuer, Cache::default()));
        }
        Ok(Issuers { issuers, fetch })
    }

    /// The variables in which jobs may have a token, for [`environment`].
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        let issuers = self.issuers.iter();
        issuers.filter_map(|(issuer, _)| issuer.environment.as_deref())
    }

    /// Who the bearer of this token is. White space around it does not matter.
    ///
    /// **Blocks** while keys are fetched, for at most two documents of five seconds each: to be
    /// called on a thread made for it, never on a task. Keys are fetched when there are none or
    /// they are ten minutes old, and at most once a minute for a key that is not among them; by
    /// one thread per issuer, whatever the number of tokens. While an issuer is down, the keys
    /// that it had are used for a day.
    ///
    /// # Errors
    /// The token is refused, for this reason.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<VerifiedToken, TokenError> {
        let jws = Jws::parse(token)?;
        let Some(url) = jws.claims.get("iss").and_then(|iss| iss.as_str()) else {
            return Err(TokenError::MissingClaim("iss".to_owned()));
        };
        let found = self.issuers.iter().find(|(it, _)| it.url.text == url);
        let (issuer, cache) = found.ok_or_else(|| TokenError::UnknownIssuer(shown(url)))?;
        self.check_signature(&jws, issuer, cache, now)?;
        claims::judge(&jws, issuer, now)
    }

    /// The same for an ID token of a sign-in at this issuer: it is made out to the client, not to
    /// the audience of jobs.
    fn verify_id_token(
        &self,
        (issuer, cache): &(Issuer, Cache),
        client_id: &str,
        token: &str,
        nonce: Option<&str>,
        now: Timestamp,
    ) -> Result<VerifiedToken, TokenError> {
        let jws = Jws::parse(token)?;
        match jws.claims.get("iss").and_then(|iss| iss.as_str()) {
            Some(url) if url == issuer.url.text => {}
            Some(url) => return Err(TokenError::UnknownIssuer(shown(url))),
            None => return Err(TokenError::MissingClaim("iss".to_owned())),
        }
        self.check_signature(&jws, issuer, cache, now)?;
        claims::judge_id_token(&jws, issuer, client_id, nonce, now)
    }

    fn check_signature(
        &self,
        jws: &Jws<'_>,
        issuer: &Issuer,
        cache: &Cache,
        now: Timestamp,
    ) -> Result<(), TokenError> {
        let keys = |unsuited: Option<&Arc<KeySet>>| {
            cache
                .keys(now, unsuited, &issuer.url, &*self.fetch)
                .map_err(|reason| TokenError::NoKeys {
                    issuer: Arc::clone(&issuer.name),
                    reason,
                })
        };
        let known = keys(None)?;
        let mut check = known.check(jws);
        let perhaps_new =
            check == Check::NoKey || (check != Check::Signed && jws.header.kid.is_none());
        if perhaps_new {
            let newer = keys(Some(&known))?;
            if !Arc::ptr_eq(&known, &newer) {
                check = newer.check(jws);
            }
        }
        signed(check, issuer, jws)
    }
}

fn signed(check: Check, issuer: &Issuer, jws: &Jws<'_>) -> Result<(), TokenError> {
    match check {
        Check::Signed => Ok(()),
        Check::NoKey => Err(TokenError::UnknownKey {
            issuer: Arc::clone(&issuer.name),
            kid: jws.header.kid.as_deref().map(shown),
        }),
        Check::Refused(reason) => Err(TokenError::RefusedKey(reason)),
        Check::AnotherAlgorithm(name) => Err(TokenError::AnotherAlgorithm(name)),
        Check::Forged => Err(TokenError::Signature),
    }
}

/// What somebody else wrote, fit for an error's text: short, on one line.
pub(crate) fn shown(text: &str) -> String {
    const CHARACTERS_MAX: usize = 128;
    let mut shown: String = text.chars().take(CHARACTERS_MAX).collect();
    shown = shown.escape_default().collect();
    if text.chars().nth(CHARACTERS_MAX).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests;
