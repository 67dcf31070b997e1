//! IPv4 addresses that are written inside of IPv6 ones: where such an address leads is a matter of
//! translators and tunnels, which a policy about IPv4 networks must not be evaded by.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The prefix of all translators (RFC 6052, 2.1).
const NAT64: (u128, u32) = (0x0064_ff9b << 96, 96);
/// Those of a site's own translators (RFC 8215).
const NAT64_LOCAL: (u128, u32) = (0x0064_ff9b_0001 << 80, 48);
/// RFC 3056, 2.
const SIX_TO_FOUR: (u128, u32) = (0x2002 << 112, 16);
/// RFC 4380, 2.6.
const TEREDO: (u128, u32) = (0x2001_0000 << 96, 32);
/// RFC 4291, 2.5.5.1.
const COMPATIBLE: (u128, u32) = (0, 96);
/// The upper half of an interface's identifier (RFC 5214, 6.1), but for its universal bit.
const ISATAP: u32 = 0x5efe;
const UNIVERSAL: u32 = 0x0200_0000;

/// The address to which a translator with the well-known prefix leads: `64:ff9b::10.0.0.7` is
/// 10.0.0.7 (RFC 6052, 2.1).
#[must_use]
pub fn translated(ip: IpAddr) -> Option<Ipv4Addr> {
    let bits = v6(ip)?;
    is_in(bits, NAT64).then(|| last(bits))
}

/// The IPv4 addresses that an address holds, or may: what it leads to, or by way of what. Networks
/// that have a prefix of their own for that cannot be known.
pub fn inside(ip: IpAddr) -> impl Iterator<Item = Ipv4Addr> {
    let bits = v6(ip).unwrap_or_default();
    let at = |start: u32| Ipv4Addr::from_bits((bits >> (96 - start)) as u32);
    let one = |is: bool, address: Ipv4Addr| is.then_some(address);
    let local = is_in(bits, NAT64_LOCAL);
    let teredo = is_in(bits, TEREDO);
    let found = [
        one(is_in(bits, NAT64) || is_in(bits, COMPATIBLE), last(bits)),
        one(is_in(bits, SIX_TO_FOUR), at(16)),
        // The server, and the client as its network address translator is seen.
        one(teredo, at(32)),
        one(teredo, Ipv4Addr::from_bits(!last(bits).to_bits())),
        one((bits >> 32) as u32 & !UNIVERSAL == ISATAP, last(bits)),
        // Which of the lengths a site has chosen is not written in the address (RFC 6052, 2.2).
        one(local, around_the_middle(bits, 48)),
        one(local, around_the_middle(bits, 56)),
        one(local, around_the_middle(bits, 64)),
        one(local, last(bits)),
    ];
    // 0.0.0.0/8 is no host: `::`, `::1` and empty places.
    let found = found.into_iter().flatten();
    found.filter(|address| address.octets()[0] != 0)
}

fn v6(ip: IpAddr) -> Option<u128> {
    match ip.to_canonical() {
        IpAddr::V6(v6) => Some(Ipv6Addr::to_bits(v6)),
        IpAddr::V4(_) => None,
    }
}

const fn is_in(bits: u128, (prefix, length): (u128, u32)) -> bool {
    (bits ^ prefix) >> (128 - length) == 0
}

const fn last(bits: u128) -> Ipv4Addr {
    Ipv4Addr::from_bits(bits as u32)
}

/// What begins at this bit, without the eight in the middle, which are zero (RFC 6052, 2.2).
const fn around_the_middle(bits: u128, start: u32) -> Ipv4Addr {
    let before = (bits >> 64) as u64 & (u64::MAX >> start.saturating_sub(1) >> 1);
    let behind = bits as u64 & (u64::MAX >> 8);
    // 64 bits less `start` of the address stand before the middle, and the rest behind it.
    let rest = start.saturating_sub(32);
    Ipv4Addr::from_bits(((before << rest) | (behind >> (56 - rest))) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Vec<String> {
        let found = inside(text.parse().unwrap());
        found.map(|address| address.to_string()).collect()
    }

    #[test]
    fn what_is_inside_is_found() {
        for (text, expected) in [
            ("64:ff9b::10.0.0.7", &["10.0.0.7"][..]),
            ("2002:a00:7::1", &["10.0.0.7"]),
            ("2002:a00:7:1234:5678:9abc:def0:1", &["10.0.0.7"]),
            (
                "2001:0:4136:e378:8000:63bf:3fff:fdd2",
                &["65.54.227.120", "192.0.2.45"],
            ),
            ("::10.0.0.7", &["10.0.0.7"]),
            ("fd00::5efe:10.0.0.7", &["10.0.0.7"]),
            ("fe80::200:5efe:10.0.0.7", &["10.0.0.7"]),
            // The places of RFC 6052, 2.4, under the prefix of a site.
            ("64:ff9b:1:a00:0:700::", &["10.0.0.7"]),
            ("64:ff9b:1:aa0a:0:7::", &["170.10.0.0", "10.0.0.7"]),
            ("64:ff9b:1:0:a:0:700::", &["10.0.0.7", "7.0.0.0"]),
            ("64:ff9b:1::10.0.0.7", &["10.0.0.7"]),
        ] {
            assert_eq!(all(text), expected, "{text}");
        }
    }

    #[test]
    fn nothing_is_inside_of_others() {
        for text in [
            "::",
            "::1",
            "fd00::7",
            "2001:db8::a00:7",
            "10.0.0.7",
            "::ffff:10.0.0.7",
        ] {
            assert_eq!(all(text), [""; 0], "{text}");
        }
    }

    #[test]
    fn only_translators_of_all_lead_to_it() {
        let to = |text: &str| translated(text.parse().unwrap());
        assert_eq!(to("64:ff9b::10.0.0.7"), Some(Ipv4Addr::new(10, 0, 0, 7)));
        for text in [
            "64:ff9b:1::10.0.0.7",
            "2002:a00:7::1",
            "::10.0.0.7",
            "10.0.0.7",
        ] {
            assert_eq!(to(text), None, "{text}");
        }
    }
}
