//! Who encrypts: what is said before the StartupMessage.
//!
//! A client asks for TLS with an SSLRequest and waits for one byte, `S` or `N`, or begins with TLS
//! right away (`sslnegotiation=direct`, PostgreSQL 17). It gets the answer that the upstream gives
//! to the same question, unless the policy says otherwise. The upstream is asked in any case: a
//! client that does not care for TLS is no reason to send its passwords over a network in the
//! clear.
//!
//! Bytes that come in the clear where TLS was agreed on were put there by somebody else
//! (CVE-2021-23214, CVE-2021-23222): they end the link.
//!
//! Source: "SSL Session Encryption" in the chapter on message flow of the PostgreSQL manual.
use crate::codec::response::{Complaint, Severity};
use crate::codec::startup::{self, Packet};
use gateway_core::{ClientTls, Destination, LinkTerms, UpstreamTls};
use gateway_protocol::{
    Accepted, Alpn, Encryption, Link, Login, LoginError, SecureError, Secured, Side, Wire, hello,
};
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The name that ALPN has for it.
pub(crate) const ALPN: &[u8] = b"postgresql";
/// SSLRequest.
const QUESTION: [u8; 8] = {
    let [a, b, c, d] = startup::SSL.to_be_bytes();
    [0, 0, 0, 8, a, b, c, d]
};
/// "Connection failure".
const NO_CONNECTION: &str = "08006";

/// A link on which it is not settled yet. An end is gone while, and when, its handshake fails.
struct Opening<'a> {
    client: Option<Wire<TcpStream>>,
    upstream: Option<Wire<TcpStream>>,
    from_client: Vec<u8>,
    terms: Arc<LinkTerms>,
    login: Option<Result<Arc<Login>, LoginError>>,
    destination: &'a Destination,
    encryption: &'a dyn Encryption,
    /// What the upstream answered to SSLRequest.
    offered: Option<bool>,
    /// The name that the client asked for.
    claimed: Option<Arc<str>>,
}

/// How it goes on.
enum Settled {
    Ready,
    Opaque,
}

pub(crate) async fn secure(
    link: Link,
    destination: &Destination,
    encryption: &dyn Encryption,
) -> Secured {
    let mut opening = Opening {
        client: Some(link.client),
        upstream: Some(link.upstream),
        from_client: link.from_client,
        terms: Arc::clone(&link.terms),
        login: link.login.clone(),
        destination,
        encryption,
        offered: None,
        claimed: None,
    };
    let settled = opening.settle().await;
    let Opening {
        client,
        upstream,
        from_client,
        ..
    } = opening;
    let (client, error) = match (settled, client, upstream) {
        (Ok(settled), Some(client), Some(upstream)) => {
            let link = Link {
                client,
                upstream,
                from_client,
                ..link
            };
            return match settled {
                Settled::Ready => Secured::Ready(link),
                Settled::Opaque => Secured::Opaque(link),
            };
        }
        (Err(error), client, _) => (client, error),
        (Ok(_), client, _) => (client, gone(Side::Upstream)),
    };
    Secured::Failed {
        client,
        farewell: farewell(&error),
        error,
    }
}

/// Why the gateway has nothing to log in with is in the record: it speaks of the host's files.
fn farewell(error: &SecureError) -> Vec<u8> {
    let words = match error {
        SecureError::Tls { .. } => error.to_string(),
        SecureError::Login(_) => "it has nothing to log in with here".to_owned(),
    };
    Complaint {
        severity: Severity::Fatal,
        code: NO_CONNECTION,
        message: &format!("gateway: {words}"),
        detail: None,
        utf8: true,
    }
    .encode()
}

impl Opening<'_> {
    async fn settle(&mut self) -> Result<Settled, SecureError> {
        if hello::begins(&self.from_client) {
            if self.terms.client == ClientTls::Opaque {
                return Ok(Settled::Opaque);
            }
            self.accept_direct().await?;
        } else if let Settled::Opaque = self.answer_client().await? {
            return Ok(Settled::Opaque);
        }
        self.connect().await?;
        Ok(Settled::Ready)
    }

    /// Answers the client's questions, until it says something else.
    async fn answer_client(&mut self) -> Result<Settled, SecureError> {
        let (mut tls, mut gss) = (false, false);
        loop {
            match self.question().await? {
                Some(startup::SSL) if !tls => {
                    tls = true;
                    self.from_client.drain(..QUESTION.len());
                    if self.is_tls_granted().await? {
                        return self.begin_tls().await;
                    }
                    self.tell_client(b"N").await?;
                }
                Some(startup::GSSENC) if !gss => {
                    gss = true;
                    self.from_client.drain(..QUESTION.len());
                    self.tell_client(b"N").await?;
                }
                // What it is, and whether it is right, is for the session to say.
                _ => return Ok(Settled::Ready),
            }
        }
    }

    /// The code of the question about encryption that the client asks next; `None` when it asks
    /// none.
    async fn question(&mut self) -> Result<Option<u32>, SecureError> {
        loop {
            let said = &self.from_client;
            match startup::packet_size(said) {
                Ok(Some(size)) if size == QUESTION.len() => {
                    if let Some(packet) = said.get(..size) {
                        return Ok(match startup::packet(packet) {
                            Ok(Packet::Ssl) => Some(startup::SSL),
                            Ok(Packet::Gssenc) => Some(startup::GSSENC),
                            _ => None,
                        });
                    }
                }
                Ok(Some(_)) | Err(_) => return Ok(None),
                Ok(None) => {}
            }
            let client = self.client.as_mut().ok_or_else(|| gone(Side::Client))?;
            let heard = client.read_buf(&mut self.from_client).await;
            if heard.map_err(|error| lost(Side::Client, &error))? == 0 {
                return Ok(None);
            }
        }
    }

    async fn is_tls_granted(&mut self) -> Result<bool, SecureError> {
        match self.terms.client {
            ClientTls::AsUpstream => self.is_tls_offered().await,
            ClientTls::Offer => Ok(true),
            ClientTls::Disable => Ok(false),
            // It is the client's own question, which goes through.
            ClientTls::Opaque => self.ask_upstream().await,
        }
    }

    async fn tell_client(&mut self, answer: &[u8]) -> Result<(), SecureError> {
        let client = self.client.as_mut().ok_or_else(|| gone(Side::Client))?;
        let told = client.write_all(answer).await;
        told.map_err(|error| lost(Side::Client, &error))
    }

    /// What follows the yes is the client's handshake, with the gateway or with the upstream.
    async fn begin_tls(&mut self) -> Result<Settled, SecureError> {
        if self.terms.client == ClientTls::Opaque {
            self.tell_client(b"S").await?;
            return Ok(Settled::Opaque);
        }
        self.accept().await?;
        Ok(Settled::Ready)
    }

    async fn accept(&mut self) -> Result<(), SecureError> {
        if !self.from_client.is_empty() {
            let words = "bytes in the clear behind the request for TLS";
            return Err(SecureError::new(Side::Client, words));
        }
        self.tell_client(b"S").await?;
        self.handshake(false).await
    }

    /// A client that did not ask. PostgreSQL wants it to say by ALPN what it speaks.
    async fn accept_direct(&mut self) -> Result<(), SecureError> {
        if !self.is_tls_granted().await? {
            let words = "it begins with TLS, which is not offered here";
            return Err(SecureError::new(Side::Client, words));
        }
        self.handshake(true).await
    }

    async fn handshake(&mut self, needed: bool) -> Result<(), SecureError> {
        let said = std::mem::take(&mut self.from_client);
        let client = take_clear(&mut self.client, Side::Client)?;
        let alpn = Alpn { name: ALPN, needed };
        let accepted = self.encryption.accept(client, said, self.destination, alpn);
        let Accepted { client, name } = accepted.await?;
        self.client = Some(client);
        self.claimed = name;
        Ok(())
    }

    async fn is_tls_offered(&mut self) -> Result<bool, SecureError> {
        match self.terms.upstream {
            UpstreamTls::Disable => Ok(false),
            _ => self.ask_upstream().await,
        }
    }

    /// Asks, once.
    async fn ask_upstream(&mut self) -> Result<bool, SecureError> {
        if let Some(offered) = self.offered {
            return Ok(offered);
        }
        let upstream = self.upstream.as_mut();
        let upstream = upstream.ok_or_else(|| gone(Side::Upstream))?;
        let mut answer = [0];
        let answered = async {
            upstream.write_all(&QUESTION).await?;
            // One byte and no more: what follows belongs to the handshake.
            upstream.read_exact(&mut answer).await
        };
        answered
            .await
            .map_err(|error| lost(Side::Upstream, &error))?;
        self.offered = Some(&answer == b"S");
        match &answer {
            b"S" => Ok(true),
            b"N" => Ok(false),
            b"E" => Err(SecureError::new(
                Side::Upstream,
                "it answers the question whether it offers TLS with an error",
            )),
            _ => Err(SecureError::new(
                Side::Upstream,
                "it answers the question whether it offers TLS with something else",
            )),
        }
    }

    async fn connect(&mut self) -> Result<(), SecureError> {
        let terms = Arc::clone(&self.terms);
        let login = self.login.clone().transpose()?;
        if !self.is_tls_offered().await? {
            if terms.upstream.allows_clear() {
                return Ok(());
            }
            let words = format!(
                "it does not offer any, and the policy demands it (tls.upstream = \"{}\")",
                terms.upstream
            );
            return Err(SecureError::new(Side::Upstream, words));
        }
        let upstream = take_clear(&mut self.upstream, Side::Upstream)?;
        let alpn = Alpn {
            name: ALPN,
            needed: false,
        };
        let claimed = self.claimed.as_deref();
        let connecting = self.encryption.connect(
            upstream,
            self.destination,
            &terms,
            claimed,
            login.as_deref(),
            alpn,
        );
        self.upstream = Some(connecting.await?);
        Ok(())
    }
}

/// Takes an end out for its handshake.
fn take_clear(end: &mut Option<Wire<TcpStream>>, side: Side) -> Result<TcpStream, SecureError> {
    match end.take() {
        Some(Wire::Clear(stream)) => Ok(stream),
        // It speaks TLS already, which nobody asks for twice.
        _ => Err(gone(side)),
    }
}

fn gone(side: Side) -> SecureError {
    SecureError::new(side, "the connection is gone")
}

fn lost(side: Side, error: &io::Error) -> SecureError {
    SecureError::new(side, error.to_string())
}
