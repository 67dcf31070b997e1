//! The control API on a TCP port: certificates, bearer tokens, the directory's SCIM service.
use super::acts::Acts;
use super::identity::Principals;
use super::people::People;
use crate::config::Remote;
use crate::daemon::handover::Predecessor;
use crate::exit::Failure;
use gateway_control::{
    AuthenticationError, Authenticator, Caller, Identity, RemoteCaller, Role, ScimPort,
    ScimRequest, ScimResponse,
};
use gateway_core::{Assurance, Principal};
use gateway_identity::Scim;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;

/// A token is read from a file of this size at most.
const SECRET_BYTES_MAX: u64 = 16 * 1024;
/// A secret that can be guessed is none.
const SECRET_BYTES_MIN: usize = 16;

/// The port, open and not served yet.
pub(crate) struct Port {
    pub(crate) listener: TcpListener,
    pub(crate) tls: Arc<ServerConfig>,
}

/// Opens the port. What keeps it from being served keeps the daemon from starting.
pub(crate) fn open(remote: &Remote) -> Result<Port, Failure> {
    let listener = TcpListener::bind(remote.listen)
        .map_err(|error| Failure::usage(format!("control.listen {}: {error}", remote.listen)))?;
    let wrong = |path: &Path, error: String| Failure::usage(format!("{}: {error}", path.display()));
    let chain = CertificateDer::pem_file_iter(&remote.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| wrong(&remote.certificate, error.to_string()))?;
    if chain.is_empty() {
        let expected = "expected a certificate chain in PEM".to_owned();
        return Err(wrong(&remote.certificate, expected));
    }
    let key = PrivateKeyDer::from_pem_file(&remote.key)
        .map_err(|error| wrong(&remote.key, error.to_string()))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::no(error.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| wrong(&remote.key, error.to_string()))?;
    Ok(Port {
        listener,
        tls: Arc::new(tls),
    })
}

/// Takes the tokens of the configured issuers.
pub(crate) struct Bearers {
    pub(crate) principals: Arc<Principals>,
    pub(crate) people: Arc<People>,
}

impl Authenticator for Bearers {
    fn authenticate(&self, bearer: &str) -> Result<Identity, AuthenticationError> {
        let verified = self.principals.tokens().verify(bearer);
        let verified = verified.map_err(AuthenticationError::Refused)?;
        if let Some(tree) = self.principals.tokens().owner(&verified) {
            // A job that shows its own token here would act as somebody outside of every tree.
            let reason = format!("the token is that of tree {tree}");
            return Err(AuthenticationError::Refused(reason));
        }
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

/// The directory, as the identity provider writes it.
pub(crate) struct Provisioning {
    scim: Arc<Scim>,
    /// Of the provider's token: comparing hashes tells nothing about how much of it was right.
    token: [u8; 32],
    acts: Acts,
    /// The daemon before this one, which does not see what changes.
    predecessor: Option<Arc<Predecessor>>,
}

impl Provisioning {
    /// Reads the provider's token.
    pub(crate) fn new(
        scim: Arc<Scim>,
        token_file: &Path,
        acts: Acts,
        predecessor: Option<Arc<Predecessor>>,
    ) -> Result<Self, Failure> {
        let wrong = |error: String| {
            Failure::usage(format!(
                "control.scim_token_file {}: {error}",
                token_file.display()
            ))
        };
        let size = std::fs::metadata(token_file).map_err(|error| wrong(error.to_string()))?;
        if size.len() > SECRET_BYTES_MAX {
            return Err(wrong("expected a token, at most 16 KiB".to_owned()));
        }
        let text = std::fs::read_to_string(token_file).map_err(|error| wrong(error.to_string()))?;
        let token = text.trim();
        if token.len() < SECRET_BYTES_MIN {
            return Err(wrong("expected a token of at least 16 bytes".to_owned()));
        }
        Ok(Provisioning {
            scim,
            token: Sha256::digest(token).into(),
            acts,
            predecessor,
        })
    }
}

impl ScimPort for Provisioning {
    fn admits(&self, bearer: &str) -> bool {
        let given: [u8; 32] = Sha256::digest(bearer).into();
        given == self.token
    }

    fn handle(&self, request: ScimRequest) -> ScimResponse {
        let changes = request.method != "GET";
        if changes {
            let provider = Caller::Remote(Arc::new(RemoteCaller {
                principal: Principal {
                    id: "scim".into(),
                    assurance: Assurance::Verified,
                    groups: Vec::new(),
                },
                role: Role::None,
                address: request.address,
            }));
            let act = format!("scim {}", request.method);
            let target = Some(request.path.as_str());
            if let Err(error) = self.acts.record(&act, "scim", &provider, target, None) {
                // What somebody is offboarded by must not wait for room in the journal.
                tracing::error!(%error, "a change of the directory could not be recorded");
            }
        }
        let answer = self.scim.handle(gateway_identity::ScimRequest {
            method: &request.method,
            path: &request.path,
            query: &request.query,
            body: &request.body,
        });
        if changes {
            tracing::info!(
                method = %request.method,
                status = answer.status,
                from = %request.address,
                "the directory was changed"
            );
            if let Some(earlier) = &self.predecessor {
                earlier.end("the directory has changed");
            }
        }
        ScimResponse {
            status: answer.status,
            body: answer.body,
            location: answer.location,
        }
    }
}
