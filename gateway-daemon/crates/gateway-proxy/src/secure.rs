//! Settling who encrypts a link, within a time, and telling a client that it failed.
use crate::proxy::Shared;
use gateway_core::{Destination, UpstreamTls};
use gateway_protocol::relay::Stream;
use gateway_protocol::{Link, Login, LoginError, Protocol, Secured, StopReason, Wire};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A client that was told that it failed may send this much before it is let go.
const HEARD_MAX: usize = 64 * 1024;

/// What came of it.
pub(crate) enum Settled {
    /// The protocol can serve it.
    Ready(Link),
    /// Nobody can read it.
    Opaque(Link),
    /// It is over, and the client knows.
    Failed { error: String, bytes_down: u64 },
    /// The session was ended meanwhile.
    Stopped(StopReason),
}

/// Lets the protocol settle it. An upstream that takes its time for a handshake gets what one gets
/// that takes its time to accept (`limits.dial`).
pub(crate) async fn settle(
    shared: &Arc<Shared>,
    protocol: &dyn Protocol,
    link: Link,
    destination: &Destination,
) -> Settled {
    let stop = Arc::clone(&link.stop);
    let (limits, encryption) = (&shared.limits, &*shared.ports.encryption);
    let securing = timeout(limits.dial, async {
        let login = find_login(shared, &link, destination).await;
        let link = Link { login, ..link };
        protocol.secure(link, destination, encryption).await
    });
    let secured = tokio::select! {
        biased;
        reason = stop.stopped() => return Settled::Stopped(reason),
        secured = securing => secured,
    };
    match secured {
        Ok(Secured::Ready(link)) => Settled::Ready(link),
        Ok(Secured::Opaque(link)) => Settled::Opaque(link),
        Ok(Secured::Failed {
            client,
            error,
            farewell,
        }) => {
            let told = match client {
                Some(client) => {
                    let telling = tell(client, &farewell, limits.refusal);
                    tokio::select! {
                        biased;
                        _ = stop.stopped() => 0,
                        told = telling => told,
                    }
                }
                None => 0,
            };
            Settled::Failed {
                error: error.to_string(),
                bytes_down: told,
            }
        }
        Err(_) => Settled::Failed {
            error: format!(
                "TLS was not agreed on within {:?} (limits.dial)",
                limits.dial
            ),
            bytes_down: 0,
        },
    }
}

/// The credential that the terms name. Reading it is left to a thread that may wait for a disk.
///
/// In a network namespace of its own a job may stand behind any address: there the upstream has to
/// prove who it is.
async fn find_login(
    shared: &Arc<Shared>,
    link: &Link,
    destination: &Destination,
) -> Option<Result<Arc<Login>, LoginError>> {
    let name = Arc::clone(link.terms.credential.as_ref()?);
    let failed = |words: String| {
        let resource = &link.terms.resource;
        LoginError(format!("the credential of the resource {resource}: {words}").into())
    };
    if destination.abroad && link.terms.upstream != UpstreamTls::VerifyFull {
        let words = "from another network namespace than the host's it is used with \
                     tls.upstream = \"verify-full\" only";
        return Some(Err(failed(words.to_owned())));
    }
    let logins = Arc::clone(&shared.ports.logins);
    let found = tokio::task::spawn_blocking(move || logins.find(&name)).await;
    Some(match found {
        Ok(found) => found.map_err(|error| failed(error.to_string())),
        Err(error) => Err(failed(error.to_string())),
    })
}

/// Says the last words, and reads until the client closes: bytes that nobody reads are answered
/// with a reset, which can overtake the words. Returns how many bytes were said.
async fn tell(mut client: Wire<TcpStream>, farewell: &[u8], patience: Duration) -> u64 {
    let told = timeout(patience, async {
        client.write_all(farewell).await?;
        client.shutdown().await?;
        let mut heard = Vec::new();
        let mut rest = (&mut client).take(HEARD_MAX as u64);
        while rest.read_buf(&mut heard).await? > 0 {
            heard.clear();
        }
        io::Result::Ok(())
    });
    match told.await {
        Ok(Ok(())) => farewell.len() as u64,
        _ => {
            client.abort();
            0
        }
    }
}
