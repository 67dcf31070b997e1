//! TLS with an upstream, and what is believed of it.
use super::{Provider, VERSIONS};
use gateway_core::{Destination, LinkTerms, UpstreamTls};
use gateway_protocol::encryption::{Alpn, SecureError};
use gateway_protocol::{Login, Proof, Side, Tls, Wire};
use rustc_hash::FxHashMap;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// How long the system's authorities are believed without a look whether they have changed.
const SYSTEM_MAX: Duration = Duration::from_secs(600);
/// So many ways of believing are at hand.
const KNOWN_MAX: usize = 256;
/// No file of authorities is longer: that of a whole distribution has a quarter of a megabyte.
const FILE_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// What is believed of an upstream.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Belief {
    mode: UpstreamTls,
    authorities: Option<Arc<str>>,
    alpn: &'static [u8],
}

/// From what a configuration was made.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    System(Instant),
    /// Device, inode, length, when it was changed, and when anything of it was.
    File([u64; 3], [i64; 4]),
    Nothing,
}

impl Source {
    fn of_file(metadata: &Metadata) -> Source {
        Source::File(
            [metadata.dev(), metadata.ino(), metadata.len()],
            [
                metadata.mtime(),
                metadata.mtime_nsec(),
                metadata.ctime(),
                metadata.ctime_nsec(),
            ],
        )
    }
}

/// How to believe so, with and without a certificate of the gateway's own.
#[derive(Clone)]
struct Known {
    source: Source,
    verifier: Arc<dyn ServerCertVerifier>,
    anonymous: Arc<ClientConfig>,
}

/// Whom the gateway believes. A file of authorities that changed is read again.
pub(super) struct Trust {
    provider: Provider,
    known: Mutex<FxHashMap<Belief, Known>>,
}

impl std::fmt::Debug for Trust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trust").finish_non_exhaustive()
    }
}

impl Trust {
    pub(super) fn new(provider: Provider) -> Trust {
        Trust {
            provider,
            known: Mutex::default(),
        }
    }

    /// What is at hand, when it is not out of date.
    fn find(&self, belief: &Belief) -> Option<Known> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let found = known.get(belief)?;
        let is_fresh = match (found.source, &belief.authorities) {
            (Source::System(since), _) => since.elapsed() < SYSTEM_MAX,
            (source @ Source::File(..), Some(path)) => {
                fs::metadata(&**path).is_ok_and(|now| Source::of_file(&now) == source)
            }
            (source, _) => source == Source::Nothing,
        };
        is_fresh.then(|| found.clone())
    }

    fn keep(&self, belief: Belief, made: &Known) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(belief, made.clone());
    }

    async fn known(&self, belief: Belief) -> Result<Known, String> {
        if let Some(known) = self.find(&belief) {
            return Ok(known);
        }
        let (provider, wanted) = (Arc::clone(&self.provider), belief.clone());
        // The system's authorities are a hundred files and more.
        let made = tokio::task::spawn_blocking(move || make(&provider, &wanted)).await;
        let made = made.map_err(|error| error.to_string())??;
        self.keep(belief, &made);
        Ok(made)
    }

    async fn config(
        &self,
        belief: Belief,
        login: Option<&Login>,
    ) -> Result<Arc<ClientConfig>, String> {
        let alpn = belief.alpn;
        let known = self.known(belief).await?;
        match login.map(|login| &login.proof) {
            Some(Proof::Certificate { chain, key }) => {
                let config = config(&self.provider, known.verifier, alpn, Some((chain, key)))?;
                Ok(Arc::new(config))
            }
            Some(Proof::Password(_)) | None => Ok(known.anonymous),
        }
    }
}

fn make(provider: &Provider, belief: &Belief) -> Result<Known, String> {
    let (strict, source) = match belief.mode {
        UpstreamTls::Require => (None, Source::Nothing),
        _ => {
            let (roots, source) = roots(belief)?;
            let strict = strict(provider, roots).map_err(|error| error.to_string())?;
            (Some(strict), source)
        }
    };
    let verifier: Arc<dyn ServerCertVerifier> = match (belief.mode, strict) {
        (UpstreamTls::Require | UpstreamTls::VerifyCa, chain) => Arc::new(AnyName {
            chain,
            provider: Arc::clone(provider),
        }),
        (_, Some(strict)) => strict,
        // Only `require` asks for no authority.
        (mode, None) => return Err(format!("no authorities for {mode}")),
    };
    let anonymous = Arc::new(config(provider, Arc::clone(&verifier), belief.alpn, None)?);
    Ok(Known {
        source,
        verifier,
        anonymous,
    })
}

/// `shown`: the certificates and the key that the upstream may ask for, in PEM form.
fn config(
    provider: &Provider,
    verifier: Arc<dyn ServerCertVerifier>,
    alpn: &[u8],
    shown: Option<(&[u8], &[u8])>,
) -> Result<ClientConfig, String> {
    let builder = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(VERSIONS)
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match shown {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => {
            // What is wrong with a secret is not said in the words of a parser that has read it.
            let broken = "the certificate or the key of the credential cannot be used";
            let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
            let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| broken)?;
            let shown = builder.with_client_auth_cert(chain.map_err(|_| broken)?, key);
            shown.map_err(|_| broken)?
        }
    };
    config.alpn_protocols = vec![alpn.to_vec()];
    // PostgreSQL resumes nothing.
    config.resumption = Resumption::disabled();
    Ok(config)
}

fn strict(
    provider: &Provider,
    roots: RootCertStore,
) -> Result<Arc<WebPkiServerVerifier>, rustls::client::VerifierBuilderError> {
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider)).build()
}

fn roots(belief: &Belief) -> Result<(RootCertStore, Source), String> {
    let mut roots = RootCertStore::empty();
    let source = match &belief.authorities {
        None => {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
            Source::System(Instant::now())
        }
        Some(path) => {
            let wrong = |words: &str| format!("the authorities in {path}: {words}");
            let metadata = fs::metadata(&**path).map_err(|error| wrong(&error.to_string()))?;
            if !metadata.is_file() || metadata.len() > FILE_BYTES_MAX {
                return Err(wrong("not a file, or longer than 8 MiB"));
            }
            let text = fs::read(&**path).map_err(|error| wrong(&error.to_string()))?;
            for certificate in CertificateDer::pem_slice_iter(&text) {
                let certificate = certificate.map_err(|_| wrong("not in PEM form"))?;
                let added = roots.add(certificate);
                added.map_err(|error| wrong(&error.to_string()))?;
            }
            Source::of_file(&metadata)
        }
    };
    if roots.is_empty() {
        let place = belief.authorities.as_deref().unwrap_or("the system");
        return Err(format!("{place} has no authority that could be believed"));
    }
    Ok((roots, source))
}

pub(super) async fn connect(
    trust: &Trust,
    upstream: TcpStream,
    destination: &Destination,
    terms: &LinkTerms,
    claimed: Option<&str>,
    login: Option<&Login>,
    alpn: Alpn,
) -> Result<Wire<TcpStream>, SecureError> {
    let name = name_of(destination, terms, claimed)?;
    let belief = Belief {
        mode: terms.upstream,
        authorities: terms.authorities.clone(),
        alpn: alpn.name,
    };
    let config = trust.config(belief, login).await;
    let config = config.map_err(|words| error(&words))?;
    let connected = TlsConnector::from(config)
        .connect(name.clone(), upstream)
        .await;
    let stream = connected.map_err(|failure| failed(&failure, &name))?;
    let (upstream, connection) = stream.into_inner();
    Ok(Wire::Tls(Box::new(Tls::new(upstream, connection.into()))))
}

/// The name that the upstream's certificate has to be for: the one by which the policy names it
/// (`tls.name` of the resource, or the name in `hosts` that led there). What a client claims, and
/// another name by which its tree came to the address, count last, and neither where the policy
/// itself asks for proof nor where a credential is at stake: whoever can redirect the gateway's
/// dial has a certificate for some name of his own, which a job can ask for and have point anywhere.
fn name_of(
    destination: &Destination,
    terms: &LinkTerms,
    claimed: Option<&str>,
) -> Result<ServerName<'static>, SecureError> {
    let may_claim = terms.credential.is_none() && terms.upstream != UpstreamTls::VerifyFull;
    let led_to = || destination.host().map(|host| &**host);
    let told = claimed.or_else(led_to).filter(|_| may_claim);
    match terms.name.as_deref().or(told) {
        Some(name) => ServerName::try_from(name.to_owned())
            .map_err(|_| error("its name is one that no certificate can be for")),
        None => Ok(ServerName::from(destination.ip)),
    }
}

fn error(words: &str) -> SecureError {
    SecureError::new(Side::Upstream, words)
}

/// The reason that rustls gives.
pub(super) fn cause(failure: &io::Error) -> Option<&rustls::Error> {
    failure.get_ref()?.downcast_ref()
}

fn failed(failure: &io::Error, name: &ServerName<'_>) -> SecureError {
    match cause(failure) {
        Some(rustls::Error::InvalidCertificate(reason)) => error(&in_words(reason, name)),
        Some(cause) => error(&cause.to_string()),
        None => error(&failure.to_string()),
    }
}

fn in_words(reason: &CertificateError, name: &ServerName<'_>) -> String {
    let name = name.to_str();
    match reason {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has expired".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet".to_owned()
        }
        CertificateError::UnknownIssuer => {
            "its certificate is of no authority that is believed (tls.ca of the resource)"
                .to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("its certificate is not for {name} (tls.name of the resource)")
        }
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            "its certificate is that of an authority (CA:TRUE), with which no server can stand for \
             itself"
                .to_owned()
        }
        other => format!("its certificate is not believed: {other}"),
    }
}

/// Would whoever believes this authority believe this chain?
pub(super) fn is_believed(
    chain: &[CertificateDer<'static>],
    authority: &CertificateDer<'static>,
    name: &str,
) -> Result<(), String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots
        .add(authority.clone())
        .map_err(|error| error.to_string())?;
    let verifier = strict(&provider, roots).map_err(|error| error.to_string())?;
    let name = ServerName::try_from(name).map_err(|error| error.to_string())?;
    let (leaf, rest) = chain.split_first().ok_or("an empty chain")?;
    let verified = verifier.verify_server_cert(leaf, rest, &name, &[], UnixTime::now());
    verified.map(|_| ()).map_err(|error| error.to_string())
}

/// A certificate for whatever name: of a believed authority (`verify-ca`), or of anybody who has its
/// key (`require`).
#[derive(Debug)]
struct AnyName {
    chain: Option<Arc<WebPkiServerVerifier>>,
    provider: Provider,
}

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        use CertificateError::{NotValidForName, NotValidForNameContext};
        let Some(chain) = &self.chain else {
            return Ok(ServerCertVerified::assertion());
        };
        match chain.verify_server_cert(leaf, rest, name, ocsp, now) {
            // The name is what it looks at last, behind the chain.
            Err(rustls::Error::InvalidCertificate(
                NotValidForName | NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A job can ask a trusted server for a name of its own, and have that point to the address of
    /// a database. Where proof is wanted, it must not be the name that the certificate is for.
    #[test]
    fn a_name_that_a_job_chose_proves_nothing() {
        let mut destination = Destination::from_address(([10, 0, 0, 7], 5432).into());
        destination.hosts = vec!["chosen.example".into()];
        let name = |terms: &LinkTerms, claimed| {
            let name = name_of(&destination, terms, claimed).unwrap();
            name.to_str().into_owned()
        };
        let mut terms = LinkTerms::default();
        assert_eq!(name(&terms, Some("claimed.example")), "claimed.example");
        assert_eq!(name(&terms, None), "chosen.example");
        terms.name = Some("named.internal".into());
        assert_eq!(name(&terms, Some("claimed.example")), "named.internal");
        terms.name = None;
        terms.credential = Some("password".into());
        assert_eq!(name(&terms, Some("claimed.example")), "10.0.0.7");
        assert_eq!(name(&terms, None), "10.0.0.7");
        terms.credential = None;
        terms.upstream = UpstreamTls::VerifyFull;
        assert_eq!(name(&terms, None), "10.0.0.7");
        terms.name = Some("db.internal".into());
        assert_eq!(name(&terms, None), "db.internal");
    }
}
