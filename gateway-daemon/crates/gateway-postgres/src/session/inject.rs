//! Logging in upstream in the client's place, with what the client never has.
//!
//! The client is asked for nothing and hears AuthenticationOk when the upstream has said it. What
//! goes upstream is made here and nowhere else, and no part of it is in an error or a record.
use crate::codec::authentication::{Mechanisms, Request};
use crate::codec::{frame, push_text};
use gateway_protocol::{Login, Proof};
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use std::sync::Arc;
use zeroize::Zeroizing;

/// PostgreSQL's own default is 4,096. Each costs a hash on the thread that serves other sessions.
const ITERATIONS_MAX: u32 = 100_000;
/// With fewer, whoever stands in the upstream's place could try passwords faster.
const ITERATIONS_MIN: u32 = 4096;

/// Whose credential it is that a session logs in with.
#[derive(Clone, Debug)]
pub struct Injected {
    /// What proves it.
    pub login: Arc<Login>,
    /// The name of the resource.
    pub resource: Arc<str>,
    /// The name of the credential.
    pub credential: Arc<str>,
}

/// A login with a stored credential.
pub(super) struct Injection {
    pub(super) resource: Arc<str>,
    login: Arc<Login>,
    user: Vec<u8>,
    exchange: Exchange,
}

/// How far a SASL exchange is.
enum Exchange {
    None,
    Asked(Box<ScramSha256>),
    Proven(Box<ScramSha256>),
    /// The upstream has proven that it knows the password too.
    Done,
}

/// Why it cannot be logged in. Says nothing of the credential.
pub(super) type Reason = &'static str;

impl std::fmt::Debug for Injection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Injection").finish_non_exhaustive()
    }
}

impl Injection {
    /// As this user.
    pub(super) fn new(injected: &Injected, user: &[u8]) -> Injection {
        Injection {
            resource: Arc::clone(&injected.resource),
            login: Arc::clone(&injected.login),
            user: user.to_vec(),
            exchange: Exchange::None,
        }
    }

    /// What the upstream is answered; `None`: nothing. `verified`: it is no other, and nobody
    /// listens on the way. Where it is not, only a proof is given that is of little use to others.
    pub(super) fn answer(
        &mut self,
        request: Request<'_>,
        verified: bool,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, Reason> {
        let exchange = std::mem::replace(&mut self.exchange, Exchange::None);
        let message = match (request, exchange) {
            (Request::Ok, Exchange::None | Exchange::Done) => return Ok(None),
            (Request::Ok, _) => {
                return Err("the upstream did not prove that it knows the password");
            }
            (Request::Cleartext | Request::Md5(_), Exchange::None) if !verified => {
                return Err("the upstream is not verified, and wants another proof than SCRAM");
            }
            (Request::Cleartext, Exchange::None) => password_message(self.password()?),
            (Request::Md5(salt), Exchange::None) => {
                let hash = md5_hash(&self.user, self.password()?, salt);
                password_message(hash.as_bytes())
            }
            (Request::Sasl(mechanisms), Exchange::None) => self.begin(mechanisms)?,
            (Request::SaslContinue(said), Exchange::Asked(scram)) => {
                let least = if verified { 1 } else { ITERATIONS_MIN };
                self.prove(scram, said, least)?
            }
            (Request::SaslFinal(said), Exchange::Proven(mut scram)) => {
                let finished = scram.finish(said);
                finished.map_err(|_| "the upstream did not prove that it knows the password")?;
                self.exchange = Exchange::Done;
                return Ok(None);
            }
            (Request::Ticket | Request::Other, _) => {
                return Err("the upstream wants another kind of proof");
            }
            _ => return Err("the upstream asks for a proof out of turn"),
        };
        Ok(Some(message))
    }

    fn password(&self) -> Result<&[u8], Reason> {
        match &self.login.proof {
            Proof::Password(password) => Ok(password),
            Proof::Certificate { .. } => {
                Err("the upstream wants a password, and the credential is a certificate")
            }
        }
    }

    /// A verified upstream is no other, so the exchange is not bound to its certificate as well.
    fn begin(&mut self, mechanisms: Mechanisms<'_>) -> Result<Zeroizing<Vec<u8>>, Reason> {
        let offered = mechanisms
            .iter()
            .any(|name| name == SCRAM_SHA_256.as_bytes());
        if !offered {
            return Err("the upstream does not offer SCRAM-SHA-256");
        }
        let scram = ScramSha256::new(self.password()?, ChannelBinding::unsupported());
        let message = frame(b'p', |body| {
            push_text(body, SCRAM_SHA_256.as_bytes());
            let said = scram.message();
            let length = u32::try_from(said.len()).unwrap_or(u32::MAX);
            body.extend_from_slice(&length.to_be_bytes());
            body.extend_from_slice(said);
        });
        self.exchange = Exchange::Asked(Box::new(scram));
        Ok(Zeroizing::new(message))
    }

    fn prove(
        &mut self,
        mut scram: Box<ScramSha256>,
        said: &[u8],
        least: u32,
    ) -> Result<Zeroizing<Vec<u8>>, Reason> {
        match iterations(said) {
            Some(count) if (least..=ITERATIONS_MAX).contains(&count) => {}
            _ => return Err("the upstream wants too many hashes of the password, or too few"),
        }
        scram
            .update(said)
            .map_err(|_| "the upstream breaks the rules of SCRAM")?;
        let message = frame(b'p', |body| body.extend_from_slice(scram.message()));
        self.exchange = Exchange::Proven(scram);
        Ok(Zeroizing::new(message))
    }
}

fn password_message(proof: &[u8]) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(frame(b'p', |body| push_text(body, proof)))
}

/// The attribute `i` of the server's first message (RFC 5802, section 5.1).
fn iterations(said: &[u8]) -> Option<u32> {
    let attributes = said.split(|byte| *byte == b',');
    let mut values = attributes.filter_map(|attribute| attribute.strip_prefix(b"i="));
    std::str::from_utf8(values.next()?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::authentication::request;

    fn injection(proof: Proof) -> Injection {
        let login = Arc::new(Login { user: None, proof });
        let injected = Injected {
            login,
            resource: "orders".into(),
            credential: "c".into(),
        };
        Injection::new(&injected, b"svc")
    }

    fn password() -> Injection {
        injection(Proof::Password(Zeroizing::new(b"canary-7f3a".to_vec())))
    }

    #[test]
    fn a_password_goes_only_where_nobody_else_can_read_it() {
        let message = password().answer(Request::Cleartext, true).unwrap();
        assert_eq!(&**message.unwrap(), b"p\0\0\0\x10canary-7f3a\0");
        assert!(password().answer(Request::Cleartext, false).is_err());
        assert!(
            password()
                .answer(Request::Md5([1, 2, 3, 4]), false)
                .is_err()
        );
        let hash = password().answer(Request::Md5([1, 2, 3, 4]), true);
        let expected = md5_hash(b"svc", b"canary-7f3a", [1, 2, 3, 4]);
        assert!(
            hash.unwrap()
                .unwrap()
                .ends_with(format!("{expected}\0").as_bytes())
        );
    }

    #[test]
    fn an_upstream_has_to_keep_to_the_exchange() {
        let sasl = [
            &[0, 0, 0, 10],
            &b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"[..],
        ]
        .concat();
        let mut begun = password();
        let first = begun
            .answer(request(&sasl).unwrap(), true)
            .unwrap()
            .unwrap();
        assert!(first.starts_with(b"p") && first.windows(4).any(|part| part == b"n,,n"));
        // It would take anybody's word for it.
        assert!(begun.answer(Request::Ok, true).is_err());
        for said in [
            &b"r=x,s=AAAA,i=4096"[..],
            b"r=x,s=AAAA,i=2000000000",
            b"r=x,s=AAAA",
            b"e=other-error",
            b"",
        ] {
            let mut injection = password();
            injection.answer(request(&sasl).unwrap(), true).unwrap();
            assert!(injection.answer(Request::SaslContinue(said), true).is_err());
        }
        let mut injection = password();
        assert!(
            injection
                .answer(Request::SaslContinue(b"r=x"), true)
                .is_err()
        );
        assert!(injection.answer(Request::SaslFinal(b"v=x"), true).is_err());
        for request in [Request::Ticket, Request::Other] {
            assert!(password().answer(request, true).is_err());
        }
        let only_bound = [&[0, 0, 0, 10], &b"SCRAM-SHA-256-PLUS\0\0"[..]].concat();
        assert!(
            password()
                .answer(request(&only_bound).unwrap(), true)
                .is_err()
        );
    }

    #[test]
    fn a_certificate_is_no_password() {
        let certificate = || {
            injection(Proof::Certificate {
                chain: Vec::new(),
                key: Zeroizing::new(Vec::new()),
            })
        };
        assert!(certificate().answer(Request::Cleartext, true).is_err());
        assert!(certificate().answer(Request::Md5([0; 4]), true).is_err());
        assert!(certificate().answer(Request::Ok, true).unwrap().is_none());
    }
}
