//! Hosts in a policy: addresses, networks, and what is a name instead.
use crate::diagnostic::quoted;
use crate::host_name::HostName;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A network, or a single address as the longest network there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Network {
    base: IpAddr,
    prefix: u8,
}

/// An entry of `hosts`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    /// By address.
    Network(Network),
    /// By the names that trusted name servers tell.
    Name(HostName),
}

/// Why a text is not a network.
#[derive(Clone, Debug, PartialEq, Eq)]
enum NetworkFault {
    /// It is meant for a name.
    Name,
    /// It is nothing: what is wrong, and what was expected.
    Wrong(String, String),
}

impl Host {
    /// Reads an entry.
    ///
    /// # Errors
    /// What is wrong, and what was expected.
    pub(crate) fn parse(text: &str) -> Result<Host, (String, String)> {
        match Network::parse(text) {
            Ok(network) => Ok(Host::Network(network)),
            Err(NetworkFault::Name) => HostName::parse(text).map(Host::Name),
            Err(NetworkFault::Wrong(message, expected)) => Err((message, expected)),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Network(network) => network.fmt(f),
            Host::Name(name) => name.fmt(f),
        }
    }
}

impl Network {
    /// The network of this length that an address is in. A length beyond the address is all of it.
    pub(crate) fn of(address: IpAddr, prefix: u8) -> Network {
        let prefix = prefix.min(bits(address));
        let base = match address {
            IpAddr::V4(v4) => {
                let mask = u32::MAX.checked_shl(u32::from(32 - prefix)).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask))
            }
            IpAddr::V6(v6) => {
                let mask = u128::MAX.checked_shl(u32::from(128 - prefix)).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask))
            }
        };
        Network { base, prefix }
    }

    /// The length of its prefix in bits.
    pub(crate) fn prefix(self) -> u8 {
        self.prefix
    }

    pub(crate) fn is_ipv4(self) -> bool {
        self.base.is_ipv4()
    }

    fn parse(text: &str) -> Result<Network, NetworkFault> {
        let wrong = |what: String, expected: String| Err(NetworkFault::Wrong(what, expected));
        let Some((address, length)) = text.split_once('/') else {
            return match text.parse::<IpAddr>() {
                Ok(address) => unmapped(Network {
                    base: address,
                    prefix: bits(address),
                }),
                Err(_) => Err(fault_of_host(text)),
            };
        };
        let Ok(address) = address.parse::<IpAddr>() else {
            return match fault_of_host(address) {
                NetworkFault::Name => wrong(
                    format!(
                        "{} is not a network: it has no address in front of `/`",
                        quoted(text)
                    ),
                    "an address and a length like 10.20.0.0/16".into(),
                ),
                fault => Err(fault),
            };
        };
        let bits = bits(address);
        let digits = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
        let prefix = length
            .parse::<u8>()
            .ok()
            .filter(|prefix| digits && *prefix <= bits);
        let Some(prefix) = prefix else {
            return wrong(
                format!(
                    "{} is not a network: its length is {}",
                    quoted(text),
                    quoted(length)
                ),
                format!("a length from 0 to {bits}"),
            );
        };
        let network = Network::of(address, prefix);
        if network.base != address {
            return wrong(
                format!(
                    "{} has bits set behind its length of {prefix}",
                    quoted(text)
                ),
                format!("{network}, or a single address"),
            );
        }
        unmapped(network)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.prefix == bits(self.base) {
            return self.base.fmt(f);
        }
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

const fn bits(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// Destinations are compared in their IPv4 form, so a mapped network would never match.
fn unmapped(network: Network) -> Result<Network, NetworkFault> {
    let IpAddr::V6(v6) = network.base else {
        return Ok(network);
    };
    match v6.to_ipv4_mapped() {
        Some(v4) if network.prefix >= 96 => Err(NetworkFault::Wrong(
            format!("{} is an IPv4 address in the clothes of IPv6", network),
            Network {
                base: IpAddr::V4(v4),
                prefix: network.prefix - 96,
            }
            .to_string(),
        )),
        _ => Ok(network),
    }
}

fn fault_of_host(text: &str) -> NetworkFault {
    const EXPECTED: &str =
        "an address like 10.0.0.7, a network like 10.20.0.0/16, or a name like db.internal";
    let wrong = |what: &str, expected: &str| {
        NetworkFault::Wrong(format!("{} {what}", quoted(text)), expected.into())
    };
    if text.parse::<SocketAddr>().is_ok() {
        return wrong(
            "has a port in it",
            "the address alone; ports are in `ports`",
        );
    }
    if let Some((name, port)) = text.rsplit_once(':')
        && is_host_name(name)
        && port.bytes().all(|byte| byte.is_ascii_digit())
    {
        return wrong("has a port in it", "the name alone; ports are in `ports`");
    }
    if is_host_name(text) && text.chars().any(char::is_alphabetic) {
        return NetworkFault::Name;
    }
    let digits = |c: char| c.is_ascii_digit() || ".:*".contains(c);
    if text.contains('*') && text.chars().all(digits) && text != "*" {
        return wrong("is a pattern over addresses", "a network like 10.20.0.0/16");
    }
    match text {
        "*" => NetworkFault::Name,
        _ => wrong("is not an address", EXPECTED),
    }
}

/// Is it meant for the name of a host, or a pattern over such? A text of digits and dots alone is a
/// broken address.
pub(crate) fn is_host_name(text: &str) -> bool {
    let letters = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '*');
    !text.is_empty()
        && text.chars().all(letters)
        && text.chars().any(|c| c.is_alphabetic() || c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_networks_are_read() {
        for (text, shown) in [
            ("10.0.0.7", "10.0.0.7"),
            ("10.0.0.7/32", "10.0.0.7"),
            ("10.20.0.0/16", "10.20.0.0/16"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("::/0", "::/0"),
            ("fd00::1", "fd00::1"),
            ("fd00:0:0::/48", "fd00::/48"),
        ] {
            assert_eq!(
                Network::parse(text).map(|network| network.to_string()),
                Ok(shown.into())
            );
        }
    }

    #[test]
    fn what_is_not_a_host_says_why() {
        for (text, message, expected) in [
            (
                "10.0.0.300",
                "\"10.0.0.300\" is not an address",
                "an address like",
            ),
            ("", "\"\" is not an address", "an address like"),
            (
                "10.0.0.7/33",
                "its length is \"33\"",
                "a length from 0 to 32",
            ),
            (
                "10.0.0.0/+8",
                "its length is \"+8\"",
                "a length from 0 to 32",
            ),
            ("10.0.0.0/", "its length is \"\"", "a length from 0 to 32"),
            ("::/129", "its length is \"129\"", "a length from 0 to 128"),
            (
                "10.0.0.7/24",
                "bits set behind its length of 24",
                "10.0.0.0/24, or a single address",
            ),
            ("fd00::1/64", "bits set", "fd00::/64, or a single address"),
            ("10.0.0.7:5432", "has a port in it", "the address alone"),
            ("[::1]:5432", "has a port in it", "the address alone"),
            ("db.internal:5432", "has a port in it", "the name alone"),
            ("10.20.*", "a pattern over addresses", "a network like"),
            ("::ffff:10.0.0.7", "clothes of IPv6", "10.0.0.7"),
            ("::ffff:10.0.0.0/104", "clothes of IPv6", "10.0.0.0/8"),
            (
                "db.internal/24",
                "no address in front of `/`",
                "10.20.0.0/16",
            ),
            ("10.0.0.7 ", "is not an address", "an address like"),
        ] {
            match Network::parse(text) {
                Err(NetworkFault::Wrong(m, e)) => {
                    assert!(m.contains(message), "{text}: {m}");
                    assert!(e.contains(expected), "{text}: {e}");
                }
                other => panic!("{text}: {other:?}"),
            }
        }
        for name in ["orders.db.internal", "localhost", "*.internal", "db-1"] {
            let read = Host::parse(name);
            assert!(matches!(read, Ok(Host::Name(_))), "{name}: {read:?}");
        }
        for name in ["büro.example", "a..b", "*"] {
            assert_eq!(Network::parse(name), Err(NetworkFault::Name), "{name}");
            assert!(Host::parse(name).is_err(), "{name}");
        }
    }

    #[test]
    fn an_address_is_in_its_networks() {
        let address: IpAddr = "10.20.30.40".parse().unwrap();
        assert_eq!(
            Network::of(address, 16),
            Network::parse("10.20.0.0/16").unwrap()
        );
        assert_eq!(
            Network::of(address, 0),
            Network::parse("0.0.0.0/0").unwrap()
        );
        assert_eq!(
            Network::of(address, 32),
            Network::parse("10.20.30.40").unwrap()
        );
        let address: IpAddr = "fd00::1".parse().unwrap();
        assert_eq!(Network::of(address, 0), Network::parse("::/0").unwrap());
        assert_eq!(
            Network::of(address, 200),
            Network::parse("fd00::1").unwrap()
        );
    }
}
