//! Where the connection of sshd comes from: a login from a governed tree comes by a socket of this
//! very process, since the gateway is what the tree is connected to.
use procfs::ProcResult;
use procfs::net::TcpNetEntry;
use procfs::process::{FDTarget, Process};
use std::collections::HashSet;
use std::net::SocketAddr;

/// One end of a connection, and the other.
type Ends = (SocketAddr, SocketAddr);

/// Is one of its connections with this process?
pub(super) fn is_ours(sshd: &Process) -> ProcResult<bool> {
    let own = ends(&Process::myself()?)?;
    let theirs = ends(sshd)?;
    Ok(theirs
        .iter()
        .any(|(local, remote)| own.contains(&(*remote, *local))))
}

/// The ends of a process's TCP connections, its own first.
fn ends(process: &Process) -> ProcResult<HashSet<Ends>> {
    let mut sockets = HashSet::new();
    for descriptor in process.fd()? {
        // One that was closed meanwhile is none.
        if let Ok(descriptor) = descriptor
            && let FDTarget::Socket(inode) = descriptor.target
        {
            sockets.insert(inode);
        }
    }
    let mut entries = process.tcp()?;
    entries.extend(process.tcp6().unwrap_or_default());
    let own = entries
        .iter()
        .filter(|entry| sockets.contains(&entry.inode));
    Ok(own.map(canonical).collect())
}

/// A socket of IPv6 shows its peers of IPv4 in a form of their own.
fn canonical(entry: &TcpNetEntry) -> Ends {
    let plain = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    (plain(entry.local_address), plain(entry.remote_address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn a_connection_with_ourselves_is_found_from_both_families() {
        for (listen, connect) in [("127.0.0.1:0", "127.0.0.1"), ("[::]:0", "127.0.0.1")] {
            let listener = TcpListener::bind(listen).unwrap();
            let port = listener.local_addr().unwrap().port();
            let client = TcpStream::connect((connect, port)).unwrap();
            let (server, _) = listener.accept().unwrap();
            let found = ends(&Process::myself().unwrap()).unwrap();
            let pair = (client.local_addr().unwrap(), client.peer_addr().unwrap());
            assert!(found.contains(&pair), "{pair:?}");
            assert!(found.contains(&(pair.1, pair.0)), "{pair:?}");
            drop(server);
        }
    }

    #[test]
    fn connections_of_others_are_not_ours() {
        let init = Process::new(1).and_then(|init| ends(&init));
        if let Ok(theirs) = init {
            let own = ends(&Process::myself().unwrap()).unwrap();
            assert!(
                theirs
                    .iter()
                    .all(|(local, remote)| !own.contains(&(*remote, *local)))
            );
        }
    }
}
