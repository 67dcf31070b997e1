//! No TLS for anybody.
use gateway_core::{Destination, LinkTerms};
use gateway_protocol::{Accepted, Alpn, BoxFuture, Encryption, Login, SecureError, Side, Wire};
use tokio::net::TcpStream;

/// Refuses whoever asks for TLS.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoEncryption;

impl Encryption for NoEncryption {
    fn accept<'a>(
        &'a self,
        _: TcpStream,
        _: Vec<u8>,
        _: &'a Destination,
        _: Alpn,
    ) -> BoxFuture<'a, Result<Accepted, SecureError>> {
        Box::pin(async { Err(SecureError::new(Side::Client, "no TLS in this test")) })
    }

    fn connect<'a>(
        &'a self,
        _: TcpStream,
        _: &'a Destination,
        _: &'a LinkTerms,
        _: Option<&'a str>,
        _: Option<&'a Login>,
        _: Alpn,
    ) -> BoxFuture<'a, Result<Wire<TcpStream>, SecureError>> {
        Box::pin(async { Err(SecureError::new(Side::Upstream, "no TLS in this test")) })
    }
}
