//! What a client says that begins with TLS, before anything is encrypted.
use gateway_core::Claim;
use rustls::server::Acceptor;

/// The first byte of a TLS connection: a record with a handshake in it (RFC 8446, 5.1).
const HANDSHAKE: u8 = 22;
/// The first bytes of all records, from ChangeCipherSpec to Heartbeat.
const RECORDS: std::ops::RangeInclusive<u8> = 20..=24;
/// The second byte of all records: SSL 3.0 and what came after it.
const MAJOR: u8 = 3;
/// The extensions that hide the name of a server: Encrypted Client Hello (RFC 9849, 5), and the
/// encrypted name that was tried before.
const HIDING: [u16; 2] = [0xfe0d, 0xffce];

/// A ClientHello (RFC 8446, 4.1.2), as far as it says what is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientHello {
    /// The protocols that the client would speak inside (ALPN, RFC 7301).
    pub alpn: Vec<Vec<u8>>,
    /// The name of the server that it wants (SNI, RFC 6066, 3), in lower case.
    pub server: Option<String>,
    /// The name can be another one, which only the server can read.
    pub is_hidden: bool,
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

/// Reads which server is wanted from the first bytes of a client.
#[must_use]
pub fn claim(bytes: &[u8]) -> Claim {
    let is_record = match bytes {
        [] => false,
        [kind] => RECORDS.contains(kind),
        [kind, major, ..] => RECORDS.contains(kind) && *major == MAJOR,
    };
    match read(bytes) {
        _ if !is_record => Claim::Nothing,
        Hello::Tls(hello) if !hello.is_hidden => match hello.server {
            Some(name) => Claim::Server(name.into()),
            None => Claim::Nothing,
        },
        Hello::Tls(_) | Hello::NeedMore | Hello::No => Claim::Unreadable,
    }
}

/// Reads a ClientHello, in one record or in several.
#[must_use]
pub fn read(all: &[u8]) -> Hello {
    let mut bytes = all;
    if bytes.is_empty() {
        return Hello::NeedMore;
    }
    if !begins(bytes) {
        return Hello::No;
    }
    // A record is not looked at before it is whole: one that comes byte by byte is parsed once.
    let whole = bytes
        .get(3..5)
        .map(|length| bytes.len() >= 5 + number(length));
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
                let hello = accepted.client_hello();
                let alpn = hello.alpn().into_iter().flatten();
                return Hello::Tls(ClientHello {
                    alpn: alpn.map(<[u8]>::to_vec).collect(),
                    server: hello.server_name().map(str::to_ascii_lowercase),
                    is_hidden: hides(all).unwrap_or(true),
                });
            }
            Ok(None) => {}
            Err(_) => return Hello::No,
        }
    }
    Hello::NeedMore
}

/// Has it an extension that hides the name? `None`: it cannot be read.
fn hides(records: &[u8]) -> Option<bool> {
    let message = handshake(records)?;
    // The version and the random number; then three lists, whose length stands in front of each.
    let mut rest = message.get(34..)?;
    for width in [1, 2, 1] {
        skip(&mut rest, width)?;
    }
    if rest.is_empty() {
        return Some(false);
    }
    let mut extensions = skip(&mut rest, 2)?;
    while !extensions.is_empty() {
        let (kind, behind) = extensions.split_first_chunk::<2>()?;
        if HIDING.contains(&u16::from_be_bytes(*kind)) {
            return Some(true);
        }
        extensions = behind;
        skip(&mut extensions, 2)?;
    }
    Some(false)
}

/// The first handshake message, without its head, from the records that it is in (RFC 8446, 4, 5.1).
fn handshake(mut records: &[u8]) -> Option<Vec<u8>> {
    let mut message = Vec::new();
    loop {
        if let Some((head, body)) = message.split_first_chunk::<4>() {
            let length = number(head.get(1..)?);
            if body.len() >= length {
                return body.get(..length).map(<[u8]>::to_vec);
            }
        }
        let (kind, behind) = records.split_first()?;
        records = behind.get(2..)?;
        let body = skip(&mut records, 2)?;
        // An empty record is none that a handshake may be in.
        if *kind != HANDSHAKE || body.is_empty() {
            return None;
        }
        message.extend_from_slice(body);
    }
}

/// Takes a list with its length in front of it, in so many bytes, and returns the list.
fn skip<'a>(rest: &mut &'a [u8], width: usize) -> Option<&'a [u8]> {
    let length = number(rest.get(..width)?);
    let list = rest.get(width..width + length)?;
    *rest = rest.get(width + length..)?;
    Some(list)
}

/// In network byte order, of three bytes at most.
fn number(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .fold(0, |all, byte| all << 8 | usize::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "Orders.Example";

    /// A list with its length in front of it.
    fn list(width: usize, bytes: &[u8]) -> Vec<u8> {
        let length = bytes.len().to_be_bytes();
        [&length[length.len() - width..], bytes].concat()
    }

    fn extension(kind: u16, bytes: &[u8]) -> Vec<u8> {
        [&kind.to_be_bytes()[..], &list(2, bytes)].concat()
    }

    fn names(hosts: &[&str]) -> Vec<u8> {
        let name = |host: &&str| [&[0][..], &list(2, host.as_bytes())].concat();
        let all: Vec<u8> = hosts.iter().flat_map(name).collect();
        extension(0, &list(2, &all))
    }

    fn message(extensions: &[Vec<u8>]) -> Vec<u8> {
        let body = [
            &[3, 3][..],
            &[7; 32],
            &list(1, &[9; 32]),
            &list(2, &[0x13, 1]),
            &list(1, &[0]),
            &list(2, &extensions.concat()),
        ]
        .concat();
        [&[1][..], &list(3, &body)].concat()
    }

    /// In records of so many bytes each.
    fn records(message: &[u8], size: usize) -> Vec<u8> {
        let record = |part: &[u8]| [&[22, 3, 1][..], &list(2, part)].concat();
        message.chunks(size).flat_map(record).collect()
    }

    fn hello(extensions: &[Vec<u8>]) -> Vec<u8> {
        let groups = extension(10, &list(2, &[0, 29]));
        let schemes = extension(13, &list(2, &[4, 3]));
        records(&message(&[&[groups, schemes], extensions].concat()), 16_384)
    }

    fn server(name: &str) -> Claim {
        Claim::Server(name.into())
    }

    #[test]
    fn the_server_that_is_wanted_is_read() {
        let wanted = hello(&[names(&[HOST])]);
        assert_eq!(claim(&wanted), server("orders.example"));
        assert_eq!(claim(&hello(&[])), Claim::Nothing);
        let message = &wanted[5..];
        for size in [1, 3, 7, 100] {
            assert_eq!(
                claim(&records(message, size)),
                server("orders.example"),
                "{size}"
            );
        }
        // What comes behind it is something else.
        let early = [&wanted[..], &[23, 3, 3, 0, 1, 0]].concat();
        assert_eq!(claim(&early), server("orders.example"));
    }

    #[test]
    fn what_cannot_be_read_is_no_name() {
        let wanted = hello(&[names(&[HOST])]);
        for length in 1..wanted.len() {
            assert_eq!(claim(&wanted[..length]), Claim::Unreadable, "{length}");
        }
        for kind in HIDING {
            let hidden = hello(&[names(&[HOST]), extension(kind, &[0, 1, 2])]);
            assert_eq!(claim(&hidden), Claim::Unreadable, "{kind:#x}");
            let message = &hidden[5..];
            assert_eq!(claim(&records(message, 9)), Claim::Unreadable, "{kind:#x}");
        }
        let twice = hello(&[names(&[HOST]), names(&["evil.example"])]);
        assert_eq!(claim(&twice), Claim::Unreadable);
        let both = hello(&[names(&[HOST, "evil.example"])]);
        assert_ne!(claim(&both), server("orders.example"));
        // A warning, or a change of ciphers, in front of it.
        for kind in [20, 21, 23, 24] {
            let before = [&[kind, 3, 1, 0, 1, 1][..], &wanted].concat();
            assert_eq!(claim(&before), Claim::Unreadable, "{kind}");
        }
    }

    #[test]
    fn what_is_not_tls_claims_nothing() {
        for bytes in [
            &b""[..],
            b"GET / HTTP/1.1\r\n",
            b"\x16\x02",
            b"\x00\x00\x00\x08",
            b"\x80\x2e\x01",
        ] {
            assert_eq!(claim(bytes), Claim::Nothing, "{bytes:?}");
        }
    }
}
