//! Where the connection of sshd comes from: a login from a governed tree comes by a socket of this
//! very process, since the gateway is what the tree is connected to.
use procfs::net::TcpNetEntry;
use procfs::process::{FDTarget, Process};
use procfs::{ProcError, ProcResult};
use std::collections::HashSet;
use std::net::SocketAddr;

/// One end of a connection, and the other.
type Ends = (SocketAddr, SocketAddr);

/// Is one of its connections with this process?
pub(super) fn is_ours(sshd: &Process) -> ProcResult<bool> {
    let theirs = ends(sshd)?;
    let own = Process::myself()?;
    // Every socket of the network namespace is listed: few are the other end of one of theirs.
    let other_end = |entry: &TcpNetEntry| {
        let (local, remote) = canonical(entry);
        theirs.contains(&(remote, local))
    };
    let candidates: HashSet<u64> = sockets(&own)?
        .iter()
        .filter(|entry| other_end(entry))
        .map(|entry| entry.inode)
        .collect();
    Ok(!candidates.is_empty() && !candidates.is_disjoint(&open_in(&own)?))
}

/// The ends of a process's TCP connections, its own first.
fn ends(process: &Process) -> ProcResult<HashSet<Ends>> {
    let open = open_in(process)?;
    let all = sockets(process)?;
    let own = all.iter().filter(|entry| open.contains(&entry.inode));
    Ok(own.map(canonical).collect())
}

/// The TCP sockets of a process's network namespace.
fn sockets(process: &Process) -> ProcResult<Vec<TcpNetEntry>> {
    let mut entries = process.tcp()?;
    match process.tcp6() {
        Ok(more) => entries.extend(more),
        // A kernel without IPv6.
        Err(ProcError::NotFound(_)) => {}
        Err(error) => return Err(error),
    }
    Ok(entries)
}

/// The inodes of the sockets that a process has open.
fn open_in(process: &Process) -> ProcResult<HashSet<u64>> {
    let mut open = HashSet::new();
    for descriptor in process.fd()? {
        // One that was closed meanwhile is none.
        if let Ok(descriptor) = descriptor
            && let FDTarget::Socket(inode) = descriptor.target
        {
            open.insert(inode);
        }
    }
    Ok(open)
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
            assert!(is_ours(&Process::myself().unwrap()).unwrap());
            drop(server);
        }
    }

    #[test]
    fn a_process_without_a_connection_with_us_is_not_ours() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let process = Process::new(child.id().cast_signed()).unwrap();
        let found = is_ours(&process);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!found.unwrap());
    }
}
