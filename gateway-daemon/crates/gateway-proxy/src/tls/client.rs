//! TLS with a client, in the place of its destination.
use super::authority::{Authority, LEAF_VALID};
use super::{Provider, VERSIONS};
use gateway_core::Destination;
use gateway_protocol::encryption::{Accepted, Alpn, SecureError};
use gateway_protocol::{Side, Tls, Wire};
use rcgen::SanType;
use rustc_hash::FxHashMap;
use rustls::server::{Acceptor, NoServerSessionStorage};
use rustls::{AlertDescription, ServerConfig};
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::SystemTime;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::LazyConfigAcceptor;

/// So many places have their certificate at hand.
const LEAVES_MAX: usize = 1024;

/// For whom a certificate stands: what the client asked for (SNI), and where it went.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Place {
    name: Option<Arc<str>>,
    address: IpAddr,
    alpn: &'static [u8],
}

struct Leaf {
    issued: SystemTime,
    config: Arc<ServerConfig>,
}

/// Certificates for clients, each made when it is first needed.
pub(super) struct Leaves {
    authority: Authority,
    provider: Provider,
    known: Mutex<FxHashMap<Place, Leaf>>,
}

impl std::fmt::Debug for Leaves {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Leaves").finish_non_exhaustive()
    }
}

impl Leaves {
    pub(super) fn new(authority: Authority, provider: Provider) -> Leaves {
        Leaves {
            authority,
            provider,
            known: Mutex::default(),
        }
    }

    fn find(&self, place: &Place) -> Result<Arc<ServerConfig>, String> {
        let now = SystemTime::now();
        let is_fresh = |leaf: &Leaf| {
            let age = now.duration_since(leaf.issued);
            age.is_ok_and(|age| age < LEAF_VALID / 2)
        };
        let lock = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(leaf) = lock().get(place).filter(|leaf| is_fresh(leaf)) {
            return Ok(Arc::clone(&leaf.config));
        }
        // Signed without the lock: two at once for one place do no harm.
        let config = Arc::new(self.make(place, now)?);
        let mut known = lock();
        if known.len() >= LEAVES_MAX {
            // A job that asks for ever other names costs some others the time to make theirs again.
            if let Some(other) = known.keys().next().cloned() {
                known.remove(&other);
            }
        }
        let leaf = Leaf {
            issued: now,
            config: Arc::clone(&config),
        };
        known.insert(place.clone(), leaf);
        Ok(config)
    }

    fn make(&self, place: &Place, now: SystemTime) -> Result<ServerConfig, String> {
        let mut names = vec![SanType::IpAddress(place.address)];
        if let Some(name) = &place.name {
            let name = (**name).try_into();
            names.push(SanType::DnsName(
                name.map_err(|_| "a name that no certificate can be for")?,
            ));
        }
        let issued = self.authority.issue(names, now);
        let (chain, key) = issued.map_err(|error| error.to_string())?;
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(VERSIONS)
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
            .map_err(|error| error.to_string())?;
        config.alpn_protocols = vec![place.alpn.to_vec()];
        // A client is one hop over loopback away: to resume saves it little, and costs memory.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(config)
    }
}

pub(super) async fn accept(
    leaves: &Leaves,
    client: TcpStream,
    said: Vec<u8>,
    destination: &Destination,
    alpn: Alpn,
) -> Result<Accepted, SecureError> {
    let start = LazyConfigAcceptor::new(Acceptor::default(), Prefixed { said, client }).await;
    let start = start.map_err(|error| failed(&error))?;
    let hello = start.client_hello();
    if alpn.needed && hello.alpn().is_none() {
        return Err(error("it does not say by ALPN what it speaks"));
    }
    let name: Option<Arc<str>> = hello.server_name().map(Arc::from);
    let place = Place {
        name: name.clone(),
        address: destination.ip,
        alpn: alpn.name,
    };
    let config = leaves.find(&place).map_err(|words| error(&words))?;
    let stream = start
        .into_stream(config)
        .await
        .map_err(|error| failed(&error))?;
    let (Prefixed { said, client }, connection) = stream.into_inner();
    if !said.is_empty() {
        return Err(error("it says more than a handshake before it is answered"));
    }
    let client = Wire::Tls(Box::new(Tls::new(client, connection.into())));
    Ok(Accepted { client, name })
}

fn error(words: &str) -> SecureError {
    SecureError::new(Side::Client, words)
}

fn failed(failure: &io::Error) -> SecureError {
    use AlertDescription::{BadCertificate, CertificateUnknown, UnknownCA};
    match super::upstream::cause(failure) {
        Some(rustls::Error::AlertReceived(UnknownCA | BadCertificate | CertificateUnknown)) => {
            error(
                "it does not believe the gateway's certificate (`gateway trust export` shows what \
                 it would have to believe)",
            )
        }
        Some(cause) => error(&cause.to_string()),
        None => error(&failure.to_string()),
    }
}

/// A client of which something was read already.
struct Prefixed {
    said: Vec<u8>,
    client: TcpStream,
}

impl AsyncRead for Prefixed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.said.is_empty() {
            return Pin::new(&mut self.client).poll_read(context, buffer);
        }
        let count = self.said.len().min(buffer.remaining());
        buffer.put_slice(self.said.get(..count).unwrap_or_default());
        self.said.drain(..count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Prefixed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.client).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.client).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.client).poll_shutdown(context)
    }
}
