//! What a client says that begins with TLS, before anything is encrypted.
use rustls::server::Acceptor;

/// The first byte of a TLS connection: a record with a handshake in it (RFC 8446, 5.1).
const HANDSHAKE: u8 = 22;

/// A ClientHello (RFC 8446, 4.1.2), as far as it says what is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientHello {
    /// The protocols that the client would speak inside (ALPN, RFC 7301).
    pub alpn: Vec<Vec<u8>>,
}

/// What the first bytes of a client are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hello {
    /// TLS, and this is wanted.
    Tls(ClientHello),
    /// Perhaps TLS: more is needed.
    NeedMore,
    /// Something else, or broken.
    No,
}

/// Does this begin with TLS? `true` as soon as the first byte is there.
#[must_use]
pub fn begins(bytes: &[u8]) -> bool {
    bytes.first() == Some(&HANDSHAKE)
}

/// Reads a ClientHello, in one record or in several.
#[must_use]
pub fn read(mut bytes: &[u8]) -> Hello {
    if bytes.is_empty() {
        return Hello::NeedMore;
    }
    if !begins(bytes) {
        return Hello::No;
    }
    // A record is not looked at before it is whole: one that comes byte by byte is parsed once.
    let whole = bytes.get(3..5).map(|length| {
        let length = length
            .iter()
            .fold(0, |all, byte| all << 8 | usize::from(*byte));
        bytes.len() >= 5 + length
    });
    if whole != Some(true) {
        return Hello::NeedMore;
    }
    let mut acceptor = Acceptor::default();
    while !bytes.is_empty() {
        if !matches!(acceptor.read_tls(&mut bytes), Ok(1..)) {
            return Hello::No;
        }
        match acceptor.accept() {
            Ok(Some(accepted)) => {
                let alpn = accepted.client_hello().alpn();
                let alpn = alpn.into_iter().flatten().map(<[u8]>::to_vec).collect();
                return Hello::Tls(ClientHello { alpn });
            }
            Ok(None) => {}
            Err(_) => return Hello::No,
        }
    }
    Hello::NeedMore
}
