//! Signing people in at an issuer, as a public client: on another device (RFC 8628), or with a
//! browser that comes back with a code (OpenID Connect Core 1.0, RFC 7636).
//!
//! A public client has no secret. What comes of either way is an ID token, which counts only when
//! it is verified; access tokens are not looked at, and nothing is refreshed.
use super::cache::{Cache, Discovery, discover, endpoint};
use super::fetch::{Posted, Url};
use super::issuer::Issuer;
use super::{Issuers, TokenError, VerifiedToken, shown};
use form_urlencoded::Serializer;
use gateway_core::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What is asked for: who somebody is, by which address, in which groups.
const SCOPE: &str = "openid email groups";
const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// How often an issuer is asked that does not say how often (RFC 8628, section 3.2).
const INTERVAL: Duration = Duration::from_secs(5);
/// What `slow_down` adds to it (RFC 8628, section 3.5).
const SLOWER: Duration = Duration::from_secs(5);
/// No issuer makes us ask more seldom.
const INTERVAL_MAX: Duration = Duration::from_secs(60);
/// Nobody has longer than this to approve, whatever the issuer says.
const EXPIRES_MAX: Duration = Duration::from_secs(15 * 60);
/// What is shown to people may be long, in bytes.
const ADDRESS_BYTES_MAX: usize = 2048;
const USER_CODE_BYTES_MAX: usize = 64;
/// A secret that is only handed back, in bytes.
const SECRET_BYTES_MAX: usize = 16 << 10;

/// Why nobody is signed in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignInError {
    /// No issuer lets anybody sign in.
    #[error("no [[issuer]] with a `client_id` is configured: nobody can sign in")]
    NoClient,
    /// There is no such issuer, or it has no client.
    #[error("there is no [[issuer]] {0:?} with a `client_id`")]
    Unknown(String),
    /// It has to be said at which.
    #[error("several issuers let people sign in, name one of them: {0}")]
    Several(String),
    /// The issuer does not offer this way.
    #[error("issuer \"{issuer}\" has no `{endpoint}`")]
    Unsupported {
        /// The issuer's name.
        issuer: Arc<str>,
        /// What is missing in its discovery document.
        endpoint: &'static str,
    },
    /// It did not answer, or not what was expected. Later it may.
    #[error("issuer \"{issuer}\": {reason}")]
    Unavailable {
        /// The issuer's name.
        issuer: Arc<str>,
        /// What happened.
        reason: String,
    },
    /// The person, or the issuer in their name, said no.
    #[error("the sign-in was denied")]
    Denied,
    /// Nobody approved in time.
    #[error("the sign-in was not approved in time")]
    Expired,
    /// The issuer says no, in its own words.
    #[error("issuer \"{issuer}\" refuses: {error}")]
    Refused {
        /// The issuer's name.
        issuer: Arc<str>,
        /// Its error code.
        error: String,
    },
    /// What the issuer says of the person does not count.
    #[error("the ID token is not good: {0}")]
    Token(#[from] TokenError),
}

/// An ID token as it came, not verified.
pub struct IdToken(pub(super) String);

impl fmt::Debug for IdToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdToken(…)")
    }
}

/// A sign-in on another device, under way.
pub struct Device {
    /// Where the person goes: https, or http to this host where the issuer is there.
    pub verification_uri: String,
    /// The same with the code in it, where the issuer has that.
    pub verification_uri_complete: Option<String>,
    /// What the person types.
    pub user_code: String,
    /// How long that is good.
    pub expires_in: Duration,
    /// How long to wait before each question.
    interval: Duration,
    /// Whoever has this gets the token.
    device_code: String,
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Device")
            .field("verification_uri", &self.verification_uri)
            .finish_non_exhaustive()
    }
}

impl Device {
    /// How long to wait before the next [`SignInClient::ask`].
    #[must_use]
    pub const fn interval(&self) -> Duration {
        self.interval
    }
}

/// With what a browser is sent to the issuer.
#[derive(Clone, Copy, Debug)]
pub struct Authorization<'a> {
    /// Where it comes back to.
    pub redirect_uri: &'a str,
    /// Comes back with it.
    pub state: &'a str,
    /// Stands in the ID token.
    pub nonce: &'a str,
    /// The SHA-256 of the verifier, base64url (RFC 7636, S256).
    pub challenge: &'a str,
}

/// The gateway as a client of one issuer. Every call but the address **blocks**, for one document of
/// five seconds; the verification as [`Issuers::verify`] does.
pub struct SignInClient {
    issuers: Arc<Issuers>,
    /// Which of them.
    index: usize,
    name: Arc<str>,
    client_id: Arc<str>,
    discovery: Discovery,
}

impl fmt::Debug for SignInClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignInClient")
            .field("issuer", &self.name)
            .finish_non_exhaustive()
    }
}

impl Issuers {
    /// Asks an issuer where people sign in: the one of this name, or the only one that has a
    /// client. **Blocks**, for one document of five seconds. Nothing is remembered.
    ///
    /// # Errors
    /// There is no such issuer, or it does not answer.
    pub fn sign_in(self: &Arc<Issuers>, name: Option<&str>) -> Result<SignInClient, SignInError> {
        let clients = self.issuers.iter().enumerate();
        let mut clients = clients.filter_map(|(index, (issuer, _))| {
            let client_id = issuer.client_id.as_ref()?;
            Some((index, issuer, Arc::clone(client_id)))
        });
        let (index, issuer, client_id) = match name {
            Some(name) => clients
                .find(|(_, issuer, _)| *issuer.name == *name)
                .ok_or_else(|| SignInError::Unknown(shown(name)))?,
            None => {
                let first = clients.next().ok_or(SignInError::NoClient)?;
                let others: Vec<&str> = clients.map(|(_, issuer, _)| &*issuer.name).collect();
                if !others.is_empty() {
                    let all = [&[&*first.1.name], &others[..]].concat();
                    return Err(SignInError::Several(all.join(", ")));
                }
                first
            }
        };
        let unavailable = |reason| SignInError::Unavailable {
            issuer: Arc::clone(&issuer.name),
            reason,
        };
        let discovery = discover(&issuer.url, &*self.fetch).map_err(unavailable)?;
        Ok(SignInClient {
            issuers: Arc::clone(self),
            index,
            name: Arc::clone(&issuer.name),
            client_id,
            discovery,
        })
    }
}

impl SignInClient {
    /// The issuer's name.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.name
    }

    /// Begins a sign-in on another device.
    ///
    /// # Errors
    /// The issuer does not do that, does not answer, or says no.
    pub fn begin_device(&self) -> Result<Device, SignInError> {
        let key = "device_authorization_endpoint";
        let url = self.endpoint(key, self.discovery.device_authorization_endpoint.as_ref())?;
        let form = [("client_id", &*self.client_id), ("scope", SCOPE)];
        let begun: Begun = self.post(&url, &form)?;
        self.device(begun)
    }

    /// Asks once whether the person has approved. `None`: not yet; wait for the
    /// [`Device::interval`], which may have changed, and ask again. An issuer that does not answer
    /// is asked more seldom, until the time is over.
    ///
    /// # Errors
    /// Nobody is signed in, and asking again is of no use.
    pub fn ask(&self, device: &mut Device) -> Result<Option<IdToken>, SignInError> {
        let url = self.token_endpoint()?;
        let form = [
            ("grant_type", DEVICE_GRANT),
            ("client_id", &*self.client_id),
            ("device_code", &device.device_code),
        ];
        match self.post::<Tokens>(&url, &form) {
            Ok(tokens) => self.id_token(tokens).map(Some),
            Err(SignInError::Refused { error, .. }) if error == "authorization_pending" => Ok(None),
            Err(SignInError::Refused { error, .. }) if error == "slow_down" => {
                device.slow(SLOWER);
                Ok(None)
            }
            // RFC 8628, section 3.5: more seldom, twice as seldom each time.
            Err(SignInError::Unavailable { .. }) => {
                device.slow(device.interval);
                Ok(None)
            }
            Err(SignInError::Refused { error, .. }) if error == "access_denied" => {
                Err(SignInError::Denied)
            }
            Err(SignInError::Refused { error, .. }) if error == "expired_token" => {
                Err(SignInError::Expired)
            }
            Err(error) => Err(error),
        }
    }

    /// The address that a browser is sent to.
    ///
    /// # Errors
    /// The issuer does not do that.
    pub fn authorization_url(&self, with: &Authorization<'_>) -> Result<String, SignInError> {
        let key = "authorization_endpoint";
        let url = self.endpoint(key, self.discovery.authorization_endpoint.as_ref())?;
        let query = Serializer::new(String::new())
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.client_id)
            .append_pair("redirect_uri", with.redirect_uri)
            .append_pair("scope", SCOPE)
            .append_pair("state", with.state)
            .append_pair("nonce", with.nonce)
            .append_pair("code_challenge", with.challenge)
            .append_pair("code_challenge_method", "S256")
            .finish();
        let separator = if url.contains('?') { '&' } else { '?' };
        Ok(format!("{url}{separator}{query}"))
    }

    /// Exchanges the code that a browser came back with. `verifier` is what the challenge was made
    /// of, `redirect_uri` the one that it was sent with.
    ///
    /// # Errors
    /// The issuer does not answer, or says no.
    pub fn exchange(
        &self,
        code: &str,
        verifier: &str,
        redirect_uri: &str,
    ) -> Result<IdToken, SignInError> {
        let form = [
            ("grant_type", "authorization_code"),
            ("client_id", &*self.client_id),
            ("code", code),
            ("redirect_uri", redirect_uri),
            ("code_verifier", verifier),
        ];
        let tokens = self.post(&self.token_endpoint()?, &form)?;
        self.id_token(tokens)
    }

    /// Who it is that signed in. The token must be of this issuer and made out to this client
    /// (never to the audience of jobs, unless the two are the same in the configuration), with this
    /// `nonce` where one was sent.
    ///
    /// # Errors
    /// The token is not good.
    pub fn verify(
        &self,
        token: &IdToken,
        nonce: Option<&str>,
        now: Timestamp,
    ) -> Result<VerifiedToken, TokenError> {
        let here: Option<&(Issuer, Cache)> = self.issuers.issuers.get(self.index);
        let here = here.ok_or_else(|| TokenError::UnknownIssuer(self.name.to_string()))?;
        self.issuers
            .verify_id_token(here, &self.client_id, &token.0, nonce, now)
    }

    fn unavailable(&self, reason: impl Into<String>) -> SignInError {
        SignInError::Unavailable {
            issuer: Arc::clone(&self.name),
            reason: reason.into(),
        }
    }

    fn url(&self) -> Option<&Url> {
        let here = self.issuers.issuers.get(self.index);
        here.map(|(issuer, _)| &issuer.url)
    }

    fn token_endpoint(&self) -> Result<String, SignInError> {
        self.endpoint("token_endpoint", self.discovery.token_endpoint.as_ref())
    }

    fn endpoint(&self, key: &'static str, found: Option<&String>) -> Result<String, SignInError> {
        let (Some(found), Some(issuer)) = (found, self.url()) else {
            return Err(SignInError::Unsupported {
                issuer: Arc::clone(&self.name),
                endpoint: key,
            });
        };
        let url = endpoint(issuer, key, found).map_err(|reason| self.unavailable(reason))?;
        Ok(url.text)
    }

    /// Posts a form, and reads the answer or the error (RFC 6749, section 5.2). The answer is never
    /// quoted: it may hold tokens.
    fn post<T: DeserializeOwned>(
        &self,
        url: &str,
        form: &[(&str, &str)],
    ) -> Result<T, SignInError> {
        let posted = self.issuers.fetch.post_form(url, form);
        let Posted { status, body } =
            posted.map_err(|error| self.unavailable(error.to_string()))?;
        if status == 200 {
            let malformed = "its answer is not the JSON that was expected";
            return serde_json::from_slice(&body).map_err(|_| self.unavailable(malformed));
        }
        match serde_json::from_slice::<Refusal>(&body) {
            Ok(Refusal { error }) if (400..500).contains(&status) => Err(SignInError::Refused {
                issuer: Arc::clone(&self.name),
                error: shown(&error),
            }),
            _ => Err(self.unavailable(format!("answered {status}, expected 200"))),
        }
    }

    fn id_token(&self, tokens: Tokens) -> Result<IdToken, SignInError> {
        let token = tokens.id_token.map(IdToken);
        // Asking again would not help: the code has been used.
        token.ok_or_else(|| SignInError::Refused {
            issuer: Arc::clone(&self.name),
            error: "it gives no ID token".to_owned(),
        })
    }

    /// Everything of it that people are shown is checked first.
    fn device(&self, begun: Begun) -> Result<Device, SignInError> {
        let wrong = |what: &str| self.unavailable(format!("its {what} is not one"));
        let issuer = self.url().ok_or_else(|| wrong("configuration"))?;
        let address = |key: &'static str, text: String| {
            if text.len() > ADDRESS_BYTES_MAX {
                return Err(wrong(key));
            }
            let url = endpoint(issuer, key, &text).map_err(|reason| self.unavailable(reason))?;
            Ok(url.text)
        };
        let complete = begun
            .verification_uri_complete
            .map(|text| address("verification_uri_complete", text))
            .transpose()?;
        let code = begun.user_code;
        if !(1..=USER_CODE_BYTES_MAX).contains(&code.len())
            || !code.bytes().all(|byte| matches!(byte, b' '..=b'~'))
        {
            return Err(wrong("user_code"));
        }
        if !(1..=SECRET_BYTES_MAX).contains(&begun.device_code.len()) {
            return Err(wrong("device_code"));
        }
        let interval = begun.interval.map_or(INTERVAL, Duration::from_secs);
        Ok(Device {
            verification_uri: address("verification_uri", begun.verification_uri)?,
            verification_uri_complete: complete,
            user_code: code,
            expires_in: Duration::from_secs(begun.expires_in).min(EXPIRES_MAX),
            interval: interval.clamp(Duration::from_secs(1), INTERVAL_MAX),
            device_code: begun.device_code,
        })
    }
}

impl Device {
    fn slow(&mut self, by: Duration) {
        self.interval = self.interval.saturating_add(by).min(INTERVAL_MAX);
    }
}

/// RFC 8628, section 3.2.
#[derive(Deserialize)]
struct Begun {
    device_code: String,
    user_code: String,
    verification_uri: String,
    verification_uri_complete: Option<String>,
    expires_in: u64,
    interval: Option<u64>,
}

/// RFC 6749, section 5.1; OpenID Connect Core 1.0, section 3.1.3.3.
#[derive(Deserialize)]
struct Tokens {
    id_token: Option<String>,
}

/// RFC 6749, section 5.2. The description is for developers, and left out.
#[derive(Deserialize)]
struct Refusal {
    error: String,
}
