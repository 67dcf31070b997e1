//! Connections by where they come from, so that one address cannot use up everybody's.
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Who shares a budget: one IPv4 address, or an IPv6 network of 64 bits, which one host can have
/// for itself alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Origin {
    V4(u32),
    V6(u64),
}

impl Origin {
    fn of(address: IpAddr) -> Origin {
        match address.to_canonical() {
            IpAddr::V4(address) => Origin::V4(address.to_bits()),
            IpAddr::V6(address) => {
                Origin::V6(u64::try_from(address.to_bits() >> 64).unwrap_or(u64::MAX))
            }
        }
    }
}

/// How many connections there are from where. It holds no more than there are connections.
#[derive(Debug)]
pub(super) struct Addresses {
    places_max: usize,
    counts: Mutex<HashMap<Origin, usize>>,
}

/// A connection's place. It is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    addresses: Arc<Addresses>,
    origin: Origin,
}

impl Addresses {
    pub(super) fn new(places_max: usize) -> Addresses {
        Addresses {
            places_max,
            counts: Mutex::default(),
        }
    }

    /// A place for a connection from here, if one is left.
    pub(super) fn enter(this: &Arc<Addresses>, address: IpAddr) -> Option<Place> {
        let origin = Origin::of(address);
        let mut counts = this.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = counts.get(&origin).copied().unwrap_or(0);
        if taken >= this.places_max {
            return None;
        }
        counts.insert(origin, taken + 1);
        drop(counts);
        Some(Place {
            addresses: Arc::clone(this),
            origin,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let counts = self.addresses.counts.lock();
        let mut counts = counts.unwrap_or_else(PoisonError::into_inner);
        match counts.get_mut(&self.origin) {
            Some(taken) if *taken > 1 => *taken -= 1,
            _ => {
                counts.remove(&self.origin);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_origin_has_its_own_places_and_gives_them_back() {
        let addresses = Arc::new(Addresses::new(2));
        let enter = |address: &str| Addresses::enter(&addresses, address.parse().unwrap());
        let one = enter("192.0.2.1").unwrap();
        let _two = enter("::ffff:192.0.2.1").unwrap();
        assert!(enter("192.0.2.1").is_none());
        assert!(enter("192.0.2.2").is_some());
        drop(one);
        let _again = enter("192.0.2.1").unwrap();
        assert!(enter("192.0.2.1").is_none());
    }

    #[test]
    fn a_network_of_64_bits_is_one_origin() {
        let addresses = Arc::new(Addresses::new(1));
        let enter = |address: &str| Addresses::enter(&addresses, address.parse().unwrap());
        let place = enter("2001:db8::1").unwrap();
        assert!(enter("2001:db8::ffff:2").is_none());
        assert!(enter("2001:db8:0:1::1").is_some());
        drop(place);
        assert!(addresses.counts.lock().unwrap().is_empty());
    }
}
