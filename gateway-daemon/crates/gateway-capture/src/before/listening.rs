//! Was a connection accepted? The kernel does not say. An accepted socket has the port of its
//! listener, which an outbound one gets only where its owner binds both to it on purpose.
use super::socket::Inet;
use crate::listen::netns_cookie;
use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};

/// What is read of one table: a million listeners' worth.
const BYTES_MAX: u64 = 160 << 20;

/// What listens, by network namespace, read when it is first asked for.
#[derive(Default)]
pub(crate) struct Listening {
    by_namespace: HashMap<PathBuf, HashSet<SocketAddr>>,
    /// The cookie of the daemon's namespace.
    own_cookie: Option<u64>,
}

impl Listening {
    /// Is the local end of this connection, which this process holds, one that somebody listens on?
    pub(crate) fn accepts(&mut self, socket: &Inet, pid: u32) -> bool {
        let (Some(local), Some(proc)) = (socket.local, self.namespace_of(socket, pid)) else {
            return false;
        };
        let Ok(namespace) = fs::read_link(proc.join("ns/net")) else {
            return false;
        };
        let listeners = self
            .by_namespace
            .entry(namespace)
            .or_insert_with(|| read_tables(&proc.join("net")));
        let any: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
        listeners.contains(&local)
            || any
                .iter()
                .any(|ip| listeners.contains(&SocketAddr::new(*ip, local.port())))
    }

    /// The process whose tables are those of the socket's namespace: it may have been made in
    /// another one than where its holder is, as systemd makes those of its services.
    fn namespace_of(&mut self, socket: &Inet, pid: u32) -> Option<PathBuf> {
        let own = Path::new("/proc/self");
        if self.own_cookie.is_none() {
            let here = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).ok()?;
            self.own_cookie = netns_cookie(&here).ok();
        }
        if self.own_cookie? == socket.netns {
            return Some(own.to_owned());
        }
        let theirs = PathBuf::from(format!("/proc/{pid}"));
        let namespace = |proc: &Path| fs::read_link(proc.join("ns/net")).ok();
        (namespace(&theirs)? != namespace(own)?).then_some(theirs)
    }
}

fn read_tables(net: &Path) -> HashSet<SocketAddr> {
    let tables = ["tcp", "tcp6"].into_iter();
    let files = tables.filter_map(|table| File::open(net.join(table)).ok());
    files
        .flat_map(|file| listeners_in(BufReader::new(file.take(BYTES_MAX))))
        .collect()
}

/// The listeners stand at the beginning of a table (net/ipv4/tcp_ipv4.c: tcp_seq_start): the
/// connections behind them, of which there may be very many, are not read.
fn listeners_in(table: impl BufRead) -> impl Iterator<Item = SocketAddr> {
    let rows = table.lines().map_while(Result::ok).skip(1);
    rows.map_while(|row| listener(&row))
}

fn listener(row: &str) -> Option<SocketAddr> {
    let mut words = row.split_ascii_whitespace().skip(1);
    let (local, _, state) = (words.next()?, words.next()?, words.next()?);
    let (ip, port) = local.split_once(':')?;
    (state == "0A").then_some(())?;
    let port = u16::from_str_radix(port, 16).ok()?;
    // Each word as this machine reads the bytes of the network.
    let word = |at: usize| {
        Some(
            u32::from_str_radix(ip.get(at..at + 8)?, 16)
                .ok()?
                .to_ne_bytes(),
        )
    };
    let ip = match ip.len() {
        8 => Ipv4Addr::from(word(0)?).into(),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?];
            let octets: [u8; 16] = words.as_flattened().try_into().ok()?;
            IpAddr::from(octets).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::super::socket::{Kind, examine};
    use super::*;
    use std::net::{TcpListener, TcpStream};

    const TABLE: &str = "  sl  local_address rem_address   st tx_queue rx_queue\n   \
        0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 5\n   \
        1: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 6\n   \
        2: 0100007F:0016 0100007F:A000 01 00000000:00000000 00:00000000 00000000 0 0 7\n   \
        3: 0100007F:0017 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 8\n";

    #[test]
    fn a_table_is_read_as_far_as_its_listeners_go() {
        let found: Vec<SocketAddr> = listeners_in(TABLE.as_bytes()).collect();
        let expected = ["127.0.0.1:8080", "0.0.0.0:22"].map(|text| text.parse().unwrap());
        assert_eq!(found, expected);
        let v6 = "0: 00000000000000000000000001000000:1F90 0:0 0A";
        assert_eq!(listener(v6), Some("[::1]:8080".parse().unwrap()));
        for odd in [
            "",
            "0:",
            "0: 1 2 0A",
            "0: 0100:1F90 0:0 0A",
            "0: é0100007:1F90 0:0 0A",
        ] {
            assert_eq!(listener(odd), None, "{odd}");
        }
    }

    #[test]
    fn the_accepting_end_is_told_from_the_other() {
        for listener in ["127.0.0.1:0", "[::]:0"] {
            let listener = TcpListener::bind(listener).unwrap();
            let port = listener.local_addr().unwrap().port();
            let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
            let (accepted, _) = listener.accept().unwrap();
            let of = |stream: TcpStream| match examine(&stream.into()).unwrap() {
                Kind::Inet(inet) => Listening::default().accepts(&inet, std::process::id()),
                other => panic!("{other:?}"),
            };
            assert!(of(accepted.try_clone().unwrap()));
            assert!(!of(stream));
            drop(listener);
            assert!(!of(accepted), "nobody listens any more");
        }
    }
}
