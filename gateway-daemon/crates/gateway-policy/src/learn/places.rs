//! Destinations as resources: the catalogue's names where it had some, made ones elsewhere.
use super::{Evidence, Kind};
use gateway_core::Verb;
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// The longest name that is taken over, in characters. A number may come behind it.
const NAME_MAX: usize = 180;

/// One `[[resource]]`: all of its ports were seen at all of its hosts.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) name: String,
    pub(super) protocol: Option<String>,
    pub(super) hosts: Vec<IpAddr>,
    pub(super) ports: Vec<u16>,
}

/// Every destination that was seen, in one resource.
#[derive(Debug)]
pub(super) struct Places {
    pub(super) resources: Vec<Place>,
    by_destination: FxHashMap<(IpAddr, u16), usize>,
}

impl Places {
    /// The number of the resource that operations of a kind go to.
    pub(super) fn of(&self, kind: &Kind) -> Option<usize> {
        self.by_destination.get(&(kind.ip, kind.port)).copied()
    }
}

/// A name, and whether it was made here. Names of both kinds never mean the same.
type Name = (bool, String);

/// What is known about one destination.
#[derive(Default)]
struct Known {
    names: BTreeMap<Name, u64>,
    protocols: BTreeSet<String>,
}

pub(super) fn places(kinds: &[(&Kind, &Evidence)]) -> Places {
    let mut destinations: BTreeMap<(IpAddr, u16), Known> = BTreeMap::new();
    for (kind, evidence) in kinds {
        let known = destinations.entry((kind.ip, kind.port)).or_default();
        *known.names.entry(name(kind)).or_default() += evidence.operations;
        // A connection is opened before it is known what is spoken.
        let opening = |(verb, _): &(Verb, _)| *verb == Verb::Connect;
        if !kind.protocol.is_empty() || !kind.facts.iter().all(opening) {
            known.protocols.insert(kind.protocol.to_string());
        }
    }
    // Which ports each address has, by name and protocol; then addresses with the same ports.
    let mut ports: BTreeMap<(Name, Option<String>), BTreeMap<IpAddr, Vec<u16>>> = BTreeMap::new();
    for ((ip, port), known) in destinations {
        let protocol = only(&known.protocols);
        let Some(name) = best(known.names) else {
            continue;
        };
        let addresses = ports.entry((name, protocol)).or_default();
        addresses.entry(ip).or_default().push(port);
    }
    let mut places = Places {
        resources: Vec::new(),
        by_destination: FxHashMap::default(),
    };
    let mut taken = FxHashSet::default();
    for ((name, protocol), addresses) in ports {
        let mut groups: BTreeMap<Vec<u16>, Vec<IpAddr>> = BTreeMap::new();
        for (ip, ports) in addresses {
            groups.entry(ports).or_default().push(ip);
        }
        for (ports, hosts) in groups {
            let number = places.resources.len();
            for ip in &hosts {
                let destinations = ports.iter().map(|port| ((*ip, *port), number));
                places.by_destination.extend(destinations);
            }
            places.resources.push(Place {
                name: unique(&name.1, &mut taken),
                protocol: protocol.clone(),
                hosts,
                ports,
            });
        }
    }
    places
}

/// The catalogue's name, else one of host and port. A text that a resource cannot be called by is
/// none, whoever wrote the record.
fn name(kind: &Kind) -> Name {
    if is_name(&kind.resource) {
        return (false, kind.resource.to_string());
    }
    let host = kind.host.as_deref().filter(|host| is_host(host));
    let host = host.map_or_else(|| kind.ip.to_string(), str::to_ascii_lowercase);
    (true, format!("{host}-{}", kind.port))
}

fn is_name(text: &str) -> bool {
    let looks_like_address = text
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let plain = |c: char| c != '*' && !c.is_control();
    !looks_like_address
        && !text.is_empty()
        && text.trim() == text
        && text.chars().count() <= NAME_MAX
        && text.chars().all(plain)
}

fn is_host(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    !text.is_empty() && text.len() <= NAME_MAX - 6 && text.bytes().all(letter)
}

/// The catalogue's before a made one, then the one of most operations.
fn best(names: BTreeMap<Name, u64>) -> Option<Name> {
    let best = names
        .into_iter()
        .min_by_key(|((made, name), count)| (*made, u64::MAX - count, name.clone()));
    best.map(|(name, _)| name)
}

/// The one protocol that was spoken, in a form that a resource can ask for.
fn only(protocols: &BTreeSet<String>) -> Option<String> {
    let letters = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let protocol = protocols.first().filter(|_| protocols.len() == 1)?;
    let sound = !protocol.is_empty() && protocol.len() <= 32 && protocol.bytes().all(letters);
    sound.then(|| protocol.clone())
}

/// The name, with a number behind it when it is taken.
pub(super) fn unique(name: &str, taken: &mut FxHashSet<String>) -> String {
    let numbered = (2u32..).map(|number| format!("{name}-{number}"));
    let mut names = std::iter::once(name.to_owned()).chain(numbered);
    let free = names.find(|name| !taken.contains(name)).unwrap_or_default();
    taken.insert(free.clone());
    free
}
