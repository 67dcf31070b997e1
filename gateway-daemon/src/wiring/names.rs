//! The names of destinations: those that the trusted name servers gave.
use gateway_core::{Timestamp, TreeId};
use gateway_dns::NameTable;
use gateway_proxy::Names;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

/// resolv.conf(5) knows three; some resolvers know more.
const RESOLVERS_MAX: usize = 16;

/// What was learned from answers, as the proxy asks for it.
pub(crate) struct LearnedNames(pub(crate) Arc<NameTable>);

impl Names for LearnedNames {
    fn names(&self, tree: TreeId, address: IpAddr, now: Timestamp) -> Vec<Arc<str>> {
        self.0.names(tree, address, now)
    }
}

/// The servers of resolv.conf(5), at the start of the daemon.
pub(crate) fn resolvers() -> Vec<IpAddr> {
    match std::fs::read_to_string(Path::new("/etc/resolv.conf")) {
        Ok(text) => parse_resolvers(&text),
        Err(error) => {
            tracing::warn!(%error, "/etc/resolv.conf: no answers teach names");
            Vec::new()
        }
    }
}

fn parse_resolvers(text: &str) -> Vec<IpAddr> {
    let servers = text.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let server = words
            .next()
            .filter(|key| *key == "nameserver")
            .and_then(|_| words.next())?;
        server.parse().ok()
    });
    servers.take(RESOLVERS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolvers_are_read_as_the_resolver_reads_them() {
        let text = "# nameserver 9.9.9.9\nsearch a b\nnameserver 10.0.0.1\nnameserver\t::1 x\n\
                    nameserver nonsense\n nameserver 10.0.0.2\nnameserver\n";
        let expected: Vec<IpAddr> = ["10.0.0.1", "::1", "10.0.0.2"]
            .iter()
            .map(|a| a.parse().unwrap())
            .collect();
        assert_eq!(parse_resolvers(text), expected);
    }
}
