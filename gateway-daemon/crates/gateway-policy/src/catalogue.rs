//! The resources of a policy: which destination has which name.
use crate::network::Network;
use gateway_core::{Destination, LinkTerms};
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// A named set of destinations.
#[derive(Clone, Debug)]
pub(crate) struct Resource {
    pub(crate) name: Arc<str>,
    /// What must be spoken there.
    pub(crate) protocol: Option<Arc<str>>,
    /// What a client hears that speaks something else.
    pub(crate) wrong_protocol: Option<Arc<str>>,
    /// How the way to it is to be; `None`: nothing is said about it.
    pub(crate) terms: Option<Arc<LinkTerms>>,
}

/// Ports, sorted; `None` is all of them.
pub(crate) type Ports = Option<Box<[u16]>>;

/// Finds the resource of a destination: the longest network that has it, an address being the
/// longest there is. No two resources have the same network and a common port.
#[derive(Clone, Debug, Default)]
pub(crate) struct Catalogue {
    resources: Box<[Resource]>,
    hosts: FxHashMap<Network, Vec<(Ports, u16)>>,
    /// The lengths that occur, longest first.
    lengths_v4: Vec<u8>,
    lengths_v6: Vec<u8>,
}

impl Catalogue {
    pub(crate) fn new(
        resources: Vec<Resource>,
        hosts: impl IntoIterator<Item = (Network, Ports, u16)>,
    ) -> Catalogue {
        let mut catalogue = Catalogue {
            resources: resources.into(),
            ..Catalogue::default()
        };
        for (network, ports, resource) in hosts {
            let lengths = match network.is_ipv4() {
                true => &mut catalogue.lengths_v4,
                false => &mut catalogue.lengths_v6,
            };
            if !lengths.contains(&network.prefix()) {
                lengths.push(network.prefix());
            }
            catalogue
                .hosts
                .entry(network)
                .or_default()
                .push((ports, resource));
        }
        catalogue.lengths_v4.sort_unstable_by(|a, b| b.cmp(a));
        catalogue.lengths_v6.sort_unstable_by(|a, b| b.cmp(a));
        catalogue
    }

    pub(crate) fn resources(&self) -> &[Resource] {
        &self.resources
    }

    pub(crate) fn get(&self, index: u16) -> Option<&Resource> {
        self.resources.get(usize::from(index))
    }

    /// The resource that a destination belongs to.
    pub(crate) fn find(&self, destination: &Destination) -> Option<u16> {
        let address = destination.ip.to_canonical();
        let lengths = if address.is_ipv4() {
            &self.lengths_v4
        } else {
            &self.lengths_v6
        };
        lengths.iter().find_map(|length| {
            let entries = self.hosts.get(&Network::of(address, *length))?;
            let open = |ports: &Ports| match ports {
                None => true,
                Some(ports) => ports.binary_search(&destination.port).is_ok(),
            };
            entries
                .iter()
                .find(|(ports, _)| open(ports))
                .map(|(_, resource)| *resource)
        })
    }

    /// The resource of a catalogue name.
    pub(crate) fn named(&self, name: &str) -> Option<u16> {
        let index = self
            .resources
            .iter()
            .position(|resource| *resource.name == *name)?;
        u16::try_from(index).ok()
    }
}
