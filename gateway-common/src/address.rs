//! Which addresses need special treatment. All addresses are 16 bytes; IPv4 is IPv4-mapped.

/// An address as the kernel half keeps it: IPv6, or IPv4 as `::ffff:a.b.c.d`.
pub type Ip = [u8; 16];

/// The IPv4-mapped form of an address given as the kernel's `__be32` (network byte order in
/// memory).
#[must_use]
#[inline(always)]
pub const fn mapped(be32: u32) -> Ip {
    let b = be32.to_ne_bytes();
    [
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, b[0], b[1], b[2], b[3],
    ]
}

/// An address given as the kernel's four `__be32` words.
#[must_use]
#[inline(always)]
pub const fn from_words(words: [u32; 4]) -> Ip {
    let a = words[0].to_ne_bytes();
    let b = words[1].to_ne_bytes();
    let c = words[2].to_ne_bytes();
    let d = words[3].to_ne_bytes();
    [
        a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3], c[0], c[1], c[2], c[3], d[0], d[1], d[2],
        d[3],
    ]
}

/// The two halves of an address, as numbers. Judged so, an address is two registers of the kernel's
/// machine; judged byte by byte it is sixteen, most of them on a stack of 512 bytes.
#[inline(always)]
const fn halves(ip: &Ip) -> (u64, u64) {
    let all = u128::from_be_bytes(*ip);
    ((all >> 64) as u64, all as u64)
}

/// The IPv4 address in the low half of an IPv4-mapped one, in host byte order.
#[inline(always)]
const fn v4_of(high: u64, low: u64) -> Option<u32> {
    if high == 0 && low >> 32 == 0xffff {
        Some(low as u32)
    } else {
        None
    }
}

/// Are they the same address?
#[must_use]
#[inline(always)]
pub const fn same(one: &Ip, other: &Ip) -> bool {
    let (one, other) = (halves(one), halves(other));
    one.0 == other.0 && one.1 == other.1
}

/// Is it `::ffff:a.b.c.d`?
#[must_use]
#[inline(always)]
pub const fn is_mapped(ip: &Ip) -> bool {
    let (high, low) = halves(ip);
    v4_of(high, low).is_some()
}

/// Does a connect to it stay on this host's loopback, as far as the address tells: 127/8, ::1, and
/// the unspecified addresses, which Linux takes for loopback.
#[must_use]
#[inline(always)]
pub const fn is_loopback(ip: &Ip) -> bool {
    let (high, low) = halves(ip);
    match v4_of(high, low) {
        Some(v4) => v4 >> 24 == 127 || v4 == 0,
        None => high == 0 && low <= 1,
    }
}

/// Is it unspecified (`0.0.0.0`, `::`)?
#[must_use]
#[inline(always)]
pub const fn is_unspecified(ip: &Ip) -> bool {
    let (high, low) = halves(ip);
    high == 0 && (low == 0 || low == 0xffff_0000_0000)
}

/// Is it IPv6 link-local (`fe80::/10`), which means another host on each link?
#[must_use]
#[inline(always)]
pub const fn is_link_local_v6(ip: &Ip) -> bool {
    halves(ip).0 >> 54 == 0xfe80 >> 6
}

/// Does it mean several hosts: multicast (`224.0.0.0/4`, `ff00::/8`) or everybody on a link
/// (`255.255.255.255`)?
#[must_use]
#[inline(always)]
pub const fn is_of_many(ip: &Ip) -> bool {
    let (high, low) = halves(ip);
    match v4_of(high, low) {
        Some(v4) => v4 >> 28 == 0xe || v4 == u32::MAX,
        None => high >> 56 == 0xff,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv6Addr;

    fn ip(text: &str) -> Ip {
        match text.parse::<core::net::IpAddr>().unwrap() {
            core::net::IpAddr::V4(v4) => mapped(u32::from_ne_bytes(v4.octets())),
            core::net::IpAddr::V6(v6) => v6.octets(),
        }
    }

    #[test]
    fn loopback_is_what_linux_takes_for_it() {
        for text in [
            "127.0.0.1",
            "127.255.0.9",
            "0.0.0.0",
            "::",
            "::1",
            "::ffff:127.0.0.1",
        ] {
            assert!(is_loopback(&ip(text)), "{text}");
        }
        for text in [
            "10.0.0.7",
            "128.0.0.1",
            "::2",
            "0.0.0.1",
            "fe80::1",
            "::127.0.0.1",
        ] {
            assert!(!is_loopback(&ip(text)), "{text}");
        }
    }

    #[test]
    fn unspecified_is_not_one() {
        assert!(is_unspecified(&ip("0.0.0.0")));
        assert!(is_unspecified(&ip("::")));
        assert!(!is_unspecified(&ip("::1")));
        assert!(!is_unspecified(&ip("127.0.0.1")));
    }

    #[test]
    fn many_are_not_one() {
        for text in [
            "224.0.0.1",
            "239.255.255.250",
            "255.255.255.255",
            "ff02::fb",
        ] {
            assert!(is_of_many(&ip(text)), "{text}");
        }
        for text in ["223.0.0.1", "240.0.0.1", "10.0.0.255", "fe80::1", "::"] {
            assert!(!is_of_many(&ip(text)), "{text}");
        }
    }

    #[test]
    fn link_local_is_a_tenth_of_a_network() {
        assert!(is_link_local_v6(&ip("fe80::1")));
        assert!(is_link_local_v6(&ip("febf::1")));
        assert!(!is_link_local_v6(&ip("fec0::1")));
    }

    #[test]
    fn words_are_in_network_order() {
        let address: Ipv6Addr = "2001:db8::1".parse().unwrap();
        let o = address.octets();
        let word = |i: usize| u32::from_ne_bytes([o[i], o[i + 1], o[i + 2], o[i + 3]]);
        assert_eq!(from_words([word(0), word(4), word(8), word(12)]), o);
    }
}
