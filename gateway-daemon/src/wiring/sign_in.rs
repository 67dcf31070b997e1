//! Signs people in on the page of the control port: the authorization code flow at one issuer.
use super::people::People;
use crate::terminal::moment;
use gateway_control::{Attempt, AuthenticationError, Identity, PortError, SignIn};
use gateway_identity::{Authorization, Issuers, SignInError, TokenError};
use std::sync::Arc;

/// Signs in at an issuer that has a client.
pub(crate) struct SignInWith {
    issuers: Arc<Issuers>,
    /// Its name; without one the only issuer that has a client.
    issuer: Option<String>,
    /// `/callback` of the port, as browsers reach it and as the issuer knows it.
    redirect_uri: String,
    people: Arc<People>,
}

impl SignInWith {
    pub(crate) fn new(
        issuers: Arc<Issuers>,
        issuer: Option<String>,
        redirect_uri: String,
        people: Arc<People>,
    ) -> SignInWith {
        SignInWith {
            issuers,
            issuer,
            redirect_uri,
            people,
        }
    }
}

impl SignIn for SignInWith {
    fn begin(&self, attempt: &Attempt) -> Result<String, PortError> {
        let client = self.issuers.sign_in(self.issuer.as_deref());
        let address = client.and_then(|client| {
            client.authorization_url(&Authorization {
                redirect_uri: &self.redirect_uri,
                state: &attempt.state,
                nonce: &attempt.nonce,
                challenge: &attempt.challenge,
            })
        });
        address.map_err(|error| PortError(error.to_string()))
    }

    fn finish(
        &self,
        code: &str,
        verifier: &str,
        nonce: &str,
    ) -> Result<Identity, AuthenticationError> {
        let client = self.issuers.sign_in(self.issuer.as_deref());
        let client = client.map_err(|error| failure(&error))?;
        let token = client.exchange(code, verifier, &self.redirect_uri);
        let token = token.map_err(|error| failure(&error))?;
        let verified = client.verify(&token, Some(nonce), moment::now());
        let verified = verified.map_err(|error| failure(&SignInError::Token(error)))?;
        let principal = self.people.enrich(&verified.principal);
        if self.people.is_barred(&principal) {
            let reason = format!("{} is offboarded or revoked", principal.id);
            return Err(AuthenticationError::Refused(reason));
        }
        Ok(Identity {
            role: self.people.role_of_principal(&principal),
            principal,
        })
    }
}

fn failure(error: &SignInError) -> AuthenticationError {
    let text = error.to_string();
    match error {
        SignInError::Unavailable { .. } | SignInError::Token(TokenError::NoKeys { .. }) => {
            AuthenticationError::Unavailable(text)
        }
        _ => AuthenticationError::Refused(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Roles;
    use gateway_identity::{Directory, Fetch, FetchError, IssuerConfig, Posted, Revocations};

    /// An issuer that knows no code.
    struct Refusing;

    impl Fetch for Refusing {
        fn get(&self, _: &str) -> Result<Vec<u8>, FetchError> {
            Ok(serde_json::json!({
                "issuer": "https://issuer.test", "jwks_uri": "https://issuer.test/keys",
                "authorization_endpoint": "https://issuer.test/authorize",
                "token_endpoint": "https://issuer.test/token",
            })
            .to_string()
            .into_bytes())
        }

        fn post_form(&self, _: &str, form: &[(&str, &str)]) -> Result<Posted, FetchError> {
            assert!(form.contains(&("code", "c")) && form.contains(&("code_verifier", "v")));
            Ok(Posted {
                status: 400,
                body: b"{\"error\":\"invalid_grant\"}".to_vec(),
            })
        }
    }

    #[test]
    fn a_browser_is_sent_away_and_a_bad_code_is_refused() {
        let state = tempfile::tempdir().unwrap();
        let people = Arc::new(People {
            directory: Directory::open(None, None).unwrap(),
            revocations: Revocations::open(state.path()).unwrap(),
            roles: Roles::default(),
        });
        let config = IssuerConfig {
            name: "acme".into(),
            url: "https://issuer.test".into(),
            audience: "gateway".into(),
            principal: "user:{email}".into(),
            groups: "groups".into(),
            environment: None,
            client_id: Some("console".into()),
            unverified_email: false,
        };
        let issuers = Arc::new(Issuers::new(vec![config], Box::new(Refusing)).unwrap());
        let redirect = "https://gateway.test/callback".to_owned();
        let named = |name: Option<&str>| {
            let (issuers, people) = (Arc::clone(&issuers), Arc::clone(&people));
            SignInWith::new(issuers, name.map(str::to_owned), redirect.clone(), people)
        };
        let attempt = Attempt {
            state: "s".into(),
            nonce: "n".into(),
            challenge: "c".into(),
        };
        let address = named(Some("acme")).begin(&attempt).unwrap();
        assert!(
            address.starts_with("https://issuer.test/authorize?"),
            "{address}"
        );
        assert!(address.contains("client_id=console"), "{address}");
        assert!(named(Some("other")).begin(&attempt).is_err());
        let refused = named(None).finish("c", "v", "n");
        assert!(
            matches!(&refused, Err(AuthenticationError::Refused(why)) if why.contains("invalid_grant")),
            "{refused:?}"
        );
    }
}
