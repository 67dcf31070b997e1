//! TLS on both sides of a link: certificates of an own authority for clients, and what is believed
//! of upstreams.
pub mod authority;
mod client;
mod upstream;

pub use authority::{Authority, AuthorityError};

use client::Leaves;
use gateway_core::{Destination, LinkTerms};
use gateway_protocol::encryption::{Accepted, Alpn, Encryption, SecureError};
use gateway_protocol::{BoxFuture, Login, Wire};
use rustls::crypto::CryptoProvider;
use std::sync::Arc;
use tokio::net::TcpStream;
use upstream::Trust;

/// TLS by rustls, with aws-lc-rs.
#[derive(Debug)]
pub struct Rustls {
    leaves: Leaves,
    trust: Trust,
}

impl Rustls {
    /// Clients get certificates of this authority.
    #[must_use]
    pub fn new(authority: Authority) -> Rustls {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        Rustls {
            leaves: Leaves::new(authority, Arc::clone(&provider)),
            trust: Trust::new(provider),
        }
    }
}

impl Encryption for Rustls {
    fn accept<'a>(
        &'a self,
        client: TcpStream,
        said: Vec<u8>,
        destination: &'a Destination,
        alpn: Alpn,
    ) -> BoxFuture<'a, Result<Accepted, SecureError>> {
        Box::pin(client::accept(
            &self.leaves,
            client,
            said,
            destination,
            alpn,
        ))
    }

    fn connect<'a>(
        &'a self,
        upstream: TcpStream,
        destination: &'a Destination,
        terms: &'a LinkTerms,
        claimed: Option<&'a str>,
        login: Option<&'a Login>,
        alpn: Alpn,
    ) -> BoxFuture<'a, Result<Wire<TcpStream>, SecureError>> {
        let trust = &self.trust;
        Box::pin(upstream::connect(
            trust,
            upstream,
            destination,
            terms,
            claimed,
            login,
            alpn,
        ))
    }
}

/// The versions that are spoken, on both sides: TLS 1.2 and 1.3.
const VERSIONS: &[&rustls::SupportedProtocolVersion] = rustls::ALL_VERSIONS;

type Provider = Arc<CryptoProvider>;
