//! The resources of a policy: which destination has which name.
use crate::glob::Glob;
use crate::host_name::HostName;
use crate::network::{Host, Network};
use gateway_core::{Destination, LinkTerms, inside};
use rustc_hash::FxHashMap;
use std::cmp::Reverse;
use std::net::IpAddr;
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

/// Which ports of something belong to which resource.
type Claims = Vec<(Ports, u16)>;

/// Patterns over names that have the same number of literal characters.
#[derive(Clone, Debug)]
struct Patterns {
    length: usize,
    patterns: Vec<(Glob, Ports, u16)>,
}

/// Where a destination is, as a policy sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found<'d> {
    /// A resource has its address, or a network that has it.
    Address(u16),
    /// It is a translator's, and a resource has the IPv4 address that this leads to.
    Translated(u16),
    /// Resources have names that lead there: each of these names with its resource, the one that was
    /// asked for last first. Never empty.
    Names(Vec<(u16, &'d str)>),
    /// No resource has it.
    Nowhere,
}

impl Found<'_> {
    /// The resource that the destination is called by.
    pub(crate) fn resource(&self) -> Option<u16> {
        match self {
            Found::Address(resource) | Found::Translated(resource) => Some(*resource),
            Found::Names(names) => names.first().map(|(resource, _)| *resource),
            Found::Nowhere => None,
        }
    }
}

/// Finds the resource of a destination: the longest network that has it, an address being the
/// longest there is; then the same for the IPv4 address that a translator's leads to; then by the
/// names that lead to it. A name finds the resource that has it, else
/// the one whose pattern has most literal characters. No two resources have the same network, name,
/// or pattern of the same right, and a common port.
#[derive(Clone, Debug, Default)]
pub(crate) struct Catalogue {
    resources: Box<[Resource]>,
    networks: FxHashMap<Network, Claims>,
    /// The lengths that occur, longest first.
    lengths_v4: Vec<u8>,
    lengths_v6: Vec<u8>,
    names: FxHashMap<Box<str>, Claims>,
    /// Those with most literal characters first.
    patterns: Vec<Patterns>,
}

impl Catalogue {
    pub(crate) fn new(
        resources: Vec<Resource>,
        hosts: impl IntoIterator<Item = (Host, Ports, u16)>,
    ) -> Catalogue {
        let mut catalogue = Catalogue {
            resources: resources.into(),
            ..Catalogue::default()
        };
        for (host, ports, resource) in hosts {
            match host {
                Host::Network(network) => catalogue.add_network(network, ports, resource),
                Host::Name(name) => catalogue.add_name(name, ports, resource),
            }
        }
        catalogue.lengths_v4.sort_unstable_by(|a, b| b.cmp(a));
        catalogue.lengths_v6.sort_unstable_by(|a, b| b.cmp(a));
        catalogue
            .patterns
            .sort_unstable_by_key(|patterns| Reverse(patterns.length));
        catalogue
    }

    fn add_network(&mut self, network: Network, ports: Ports, resource: u16) {
        let lengths = match network.is_ipv4() {
            true => &mut self.lengths_v4,
            false => &mut self.lengths_v6,
        };
        if !lengths.contains(&network.prefix()) {
            lengths.push(network.prefix());
        }
        let claims = self.networks.entry(network).or_default();
        claims.push((ports, resource));
    }

    fn add_name(&mut self, name: HostName, ports: Ports, resource: u16) {
        let length = name.literal_length();
        let glob = match name {
            HostName::Exact(name) => {
                self.names.entry(name).or_default().push((ports, resource));
                return;
            }
            HostName::Pattern(glob) => glob,
        };
        let same = self.patterns.iter_mut().find(|same| same.length == length);
        match same {
            Some(same) => same.patterns.push((glob, ports, resource)),
            None => self.patterns.push(Patterns {
                length,
                patterns: vec![(glob, ports, resource)],
            }),
        }
    }

    pub(crate) fn resources(&self) -> &[Resource] {
        &self.resources
    }

    /// Does any resource have a name in its hosts?
    pub(crate) fn has_names(&self) -> bool {
        !self.names.is_empty() || !self.patterns.is_empty()
    }

    pub(crate) fn get(&self, index: u16) -> Option<&Resource> {
        self.resources.get(usize::from(index))
    }

    /// Where a destination is. Addresses come first: a name is the word of whoever owns its domain,
    /// and may point into a network of another resource.
    pub(crate) fn find<'d>(&self, destination: &'d Destination) -> Found<'d> {
        if let Some(resource) = self.by_address(destination.ip, destination.port) {
            return Found::Address(resource);
        }
        let translated = inside::translated(destination.ip);
        let translated = translated.and_then(|v4| self.by_address(v4.into(), destination.port));
        if let Some(resource) = translated {
            return Found::Translated(resource);
        }
        let names = self.by_names(destination.believed(), destination.port);
        match names.is_empty() {
            true => Found::Nowhere,
            false => Found::Names(names),
        }
    }

    /// Each of these names that a resource has, with this resource.
    pub(crate) fn by_names<'d>(
        &self,
        names: impl Iterator<Item = &'d Arc<str>>,
        port: u16,
    ) -> Vec<(u16, &'d str)> {
        let by_name = |host: &'d Arc<str>| Some((self.by_name(host, port)?, &**host));
        names.filter_map(by_name).collect()
    }

    /// The resource that has an address, or a network that has it.
    pub(crate) fn by_address(&self, address: IpAddr, port: u16) -> Option<u16> {
        let address = address.to_canonical();
        let lengths = if address.is_ipv4() {
            &self.lengths_v4
        } else {
            &self.lengths_v6
        };
        lengths.iter().find_map(|length| {
            let claims = self.networks.get(&Network::of(address, *length))?;
            claimed(claims, port)
        })
    }

    /// The resource that has this name: in lower case, without the dot at its end.
    pub(crate) fn by_name(&self, name: &str, port: u16) -> Option<u16> {
        let exact = self.names.get(name);
        let exact = exact.and_then(|claims| claimed(claims, port));
        exact.or_else(|| {
            let mut patterns = self.patterns.iter().flat_map(|same| &same.patterns);
            let of =
                |(glob, ports, _): &&(Glob, Ports, u16)| open(ports, port) && glob.matches(name);
            patterns.find(of).map(|(_, _, resource)| *resource)
        })
    }

    /// The name of a destination by which this resource has it, of several the one that was asked
    /// for last.
    pub(crate) fn name_of<'d>(
        &self,
        resource: u16,
        destination: &'d Destination,
    ) -> Option<&'d Arc<str>> {
        let mut hosts = destination.believed();
        hosts.find(|host| self.by_name(host, destination.port) == Some(resource))
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

fn open(ports: &Ports, port: u16) -> bool {
    match ports {
        None => true,
        Some(ports) => ports.binary_search(&port).is_ok(),
    }
}

fn claimed(claims: &Claims, port: u16) -> Option<u16> {
    let mut claims = claims.iter();
    let found = claims.find(|(ports, _)| open(ports, port));
    found.map(|(_, resource)| *resource)
}
