//! Telling a client, in its own words, that its `connect` was refused. No upstream was dialled.
use crate::limits::ProxyLimits;
use gateway_core::{Destination, Refusal};
use gateway_protocol::{Opening, Protocol, Recognition, Stop};
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

/// A client that is refused may send this much before it is reset.
const HEARD_MAX: usize = 64 * 1024;

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) protocol: Option<&'static str>,
    pub(crate) bytes_up: u64,
    pub(crate) bytes_down: u64,
}

/// A client that is being refused.
struct Refused<'a> {
    client: TcpStream,
    heard: Vec<u8>,
    destination: &'a Destination,
    protocols: &'a [Arc<dyn Protocol>],
    told: Told,
}

/// Waits for the client's first bytes, words the refusal in the protocol that they speak, and
/// closes so that the words arrive. A client that no protocol understands is reset.
///
/// A client may have to be answered before it listens: Postgres asks for TLS first. So the
/// protocol is asked again with all the client said whenever it says more, and when its answer
/// has become longer, the rest is sent.
pub(crate) async fn refuse(
    client: TcpStream,
    refusal: &Refusal,
    destination: &Destination,
    protocols: &[Arc<dyn Protocol>],
    limits: &ProxyLimits,
    stop: &Stop,
) -> Told {
    let told = Told::default();
    let mut refused = Refused {
        client,
        heard: Vec::new(),
        destination,
        protocols,
        told,
    };
    let deadline = Instant::now() + limits.refusal;
    let spoken = tokio::select! {
        biased;
        _ = stop.stopped() => None,
        spoken = timeout_at(deadline, refused.converse(refusal)) => Some(spoken),
    };
    match spoken {
        // Time is over, or the client has nothing more to say: the last words stand.
        Some(Err(_) | Ok(Ok(()))) if refused.told.bytes_down > 0 => {
            let leave = refused.leave();
            let deadline = Instant::now() + limits.refusal;
            tokio::select! {
                biased;
                _ = stop.stopped() => {}
                _ = timeout_at(deadline, leave) => {}
            }
        }
        _ => {
            let _ = refused.client.set_zero_linger();
        }
    }
    refused.told
}

impl Refused<'_> {
    /// Listens and answers until the client has ended. An error: it is to be reset.
    async fn converse(&mut self, refusal: &Refusal) -> io::Result<()> {
        let mut said: Vec<u8> = Vec::new();
        loop {
            if !self.hear().await? {
                return Ok(());
            }
            let opening = Opening {
                destination: self.destination,
                client: &self.heard,
                upstream: &[],
            };
            let Some(protocol) = recognise(self.protocols, opening)? else {
                continue;
            };
            self.told.protocol = Some(protocol.name());
            let words = protocol.refuse(opening, refusal);
            // Words that take back what was said are no answer to this client any more.
            let more = words.strip_prefix(said.as_slice()).unwrap_or_default();
            if !more.is_empty() {
                self.client.write_all(more).await?;
                self.told.bytes_down += more.len() as u64;
                said = words;
            }
        }
    }

    /// Reads more of the client. False at its end.
    async fn hear(&mut self) -> io::Result<bool> {
        let room = HEARD_MAX.saturating_sub(self.heard.len());
        if room == 0 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let read = (&mut self.client)
            .take(room as u64)
            .read_buf(&mut self.heard)
            .await?;
        self.told.bytes_up += read as u64;
        Ok(read > 0)
    }

    /// Says that nothing more comes, and reads until the client closes: bytes that nobody reads
    /// are answered with a reset, which can overtake the words.
    async fn leave(&mut self) -> io::Result<()> {
        self.client.shutdown().await?;
        while self.hear().await? {}
        Ok(())
    }
}

/// The protocol that recognises the opening; `None` when more is needed; an error when it is none.
fn recognise<'a>(
    protocols: &'a [Arc<dyn Protocol>],
    opening: Opening<'_>,
) -> io::Result<Option<&'a Arc<dyn Protocol>>> {
    let mut more = false;
    for protocol in protocols {
        match protocol.recognise(opening) {
            Recognition::Yes => return Ok(Some(protocol)),
            Recognition::NeedMore => more = true,
            Recognition::No => {}
        }
    }
    if more {
        Ok(None)
    } else {
        Err(io::ErrorKind::Unsupported.into())
    }
}
