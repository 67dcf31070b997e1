//! Where an operation goes, as a policy sees it, and which rules count there.
use crate::catalogue::Found;
use crate::host_name::HostName;
use crate::policy::Policy;
use crate::rule_set::RuleSet;
use gateway_core::Destination;
use std::iter;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Where an operation goes, as the policy names it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place<'a> {
    /// The number of a resource that has the address, or that is named in a case.
    Named(u16),
    /// The number of a resource that has a name which leads to this `address:port`.
    Called(u16, &'a str),
    /// `address:port`
    Unnamed(&'a str),
}

impl Place<'_> {
    /// The number of its resource.
    pub(crate) fn resource(&self) -> Option<u16> {
        match self {
            Place::Named(index) | Place::Called(index, _) => Some(*index),
            Place::Unnamed(_) => None,
        }
    }
}

/// Where a destination is, by all of its names. Whoever owns a domain lets its names point anywhere,
/// and a tree asks for what it likes. So a name takes nothing away: each resource that the
/// destination has by one of them has to allow what is done, and what restricts any counts.
#[derive(Clone, Debug)]
pub(crate) struct Spot<'d> {
    /// The name of the resource that it is called by, or `address:port`.
    pub(crate) name: Arc<str>,
    /// `address:port`, unless a resource has it.
    address: Option<Arc<str>>,
    first: View<'d>,
    others: Vec<View<'d>>,
}

/// A destination, by one of its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct View<'d> {
    resource: Option<u16>,
    /// The name; `None` when none is known.
    pub(crate) host: Option<&'d str>,
    /// What nothing allows here is denied. Else only what restricts it here counts: its resource
    /// has had its say by another name.
    pub(crate) is_whole: bool,
}

impl Spot<'_> {
    /// The view that it is called by.
    pub(crate) fn first(&self) -> &View<'_> {
        &self.first
    }

    /// This one, and then the others.
    pub(crate) fn views(&self) -> impl Iterator<Item = &View<'_>> {
        iter::once(&self.first).chain(&self.others)
    }

    pub(crate) fn place(&self, view: &View<'_>) -> Place<'_> {
        match (view.resource, &self.address) {
            (Some(index), None) => Place::Named(index),
            (Some(index), Some(address)) => Place::Called(index, address),
            (None, _) => Place::Unnamed(&self.name),
        }
    }
}

/// What is known of where an operation goes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct To<'a> {
    pub(crate) ip: Option<IpAddr>,
    pub(crate) port: Option<u16>,
    /// Empty: no name leads there. `None`: nobody has said.
    pub(crate) host: Option<&'a str>,
}

/// What a case says of where it goes, beside the name of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    Address(SocketAddr),
    Host(Box<str>, u16),
    Nothing,
}

impl Written {
    /// `10.0.0.7:5432`, `orders.db.internal:5432`; anything else is the name of something.
    pub(crate) fn read(text: &str) -> Written {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Written::Address(Destination::from_address(address).address());
        }
        let parts = text.rsplit_once(':');
        let read = parts.and_then(|(host, port)| {
            let port = port.parse::<u16>().ok().filter(|port| *port > 0)?;
            match HostName::parse(host).ok()? {
                HostName::Exact(host) => Some(Written::Host(host, port)),
                HostName::Pattern(_) => None,
            }
        });
        read.unwrap_or(Written::Nothing)
    }

    pub(crate) fn to(&self) -> To<'_> {
        match self {
            Written::Address(address) => To {
                ip: Some(address.ip()),
                port: Some(address.port()),
                host: Some(""),
            },
            Written::Host(host, port) => To {
                ip: None,
                port: Some(*port),
                host: Some(host),
            },
            Written::Nothing => To::default(),
        }
    }
}

/// The rules that count at a place. Those that restrict an address count by whatever name it is
/// reached; those that only allow it are about destinations that no resource has.
pub(crate) struct Reach {
    /// Those of the resource, or of the address that no resource has.
    pub(crate) here: RuleSet,
    /// These, and those that restrict what goes to the address.
    pub(crate) all: RuleSet,
}

impl Policy {
    /// The place of a destination.
    pub(crate) fn spot<'d>(&self, destination: &'d Destination) -> Spot<'d> {
        let found = self.catalogue.find(destination);
        let resource = found.resource();
        let last = destination.host().map(|host| &**host);
        let view = |resource, host| View {
            resource,
            host,
            is_whole: true,
        };
        let (first, others) = match &found {
            Found::Address(index) => {
                let own = self.catalogue.name_of(*index, destination);
                (view(resource, own.map(|host| &**host).or(last)), Vec::new())
            }
            Found::Names(names) => one_of_each(names, view),
            Found::Nowhere => (view(None, last), Vec::new()),
        };
        let address = match found {
            Found::Address(_) => None,
            _ => Some(unnamed(destination)),
        };
        let named = resource.and_then(|index| self.catalogue.get(index));
        let name = named.map(|resource| Arc::clone(&resource.name));
        let mut spot = Spot {
            name: name
                .or_else(|| address.clone())
                .unwrap_or_else(|| unnamed(destination)),
            address,
            first,
            others,
        };
        if self.rules.asks_host {
            self.add_names(&mut spot, destination);
        }
        spot
    }

    /// Conditions are asked about each name: one that denies by a name must not be evaded by a
    /// later one.
    fn add_names<'d>(&self, spot: &mut Spot<'d>, destination: &'d Destination) {
        for host in &destination.hosts {
            let own = match (spot.first.resource, &spot.address) {
                (Some(_), Some(_)) => self.catalogue.by_name(host, destination.port),
                _ => None,
            };
            let view = View {
                resource: own.or(spot.first.resource),
                host: Some(host),
                is_whole: false,
            };
            let is_known = spot
                .views()
                .any(|known| (known.resource, known.host) == (view.resource, view.host));
            if !is_known {
                spot.others.push(view);
            }
        }
    }

    /// The name of its resource, or `address:port`.
    pub(crate) fn name_at<'p>(&'p self, place: Place<'p>) -> &'p str {
        match place {
            Place::Unnamed(name) => name,
            Place::Named(index) | Place::Called(index, _) => {
                let resource = self.catalogue.get(index);
                resource.map_or("", |resource| &resource.name)
            }
        }
    }

    /// The rules that count at a place.
    pub(crate) fn reach(&self, place: Place<'_>) -> Reach {
        let (here, address) = match place {
            Place::Named(index) => (self.rules.at(index), RuleSet::EMPTY),
            Place::Unnamed(name) => (self.rules.reaching(name), RuleSet::EMPTY),
            Place::Called(index, address) => {
                let address = self.rules.reaching(address);
                (self.rules.at(index), address.and(&self.rules.restricting()))
            }
        };
        Reach {
            here,
            all: here.or(&address),
        }
    }

    /// The resources that each have to allow what is done, when they are several.
    pub(crate) fn rivals(&self, spot: &Spot<'_>) -> Vec<Arc<str>> {
        let whole = spot.views().filter(|view| view.is_whole);
        let resources = whole.filter_map(|view| self.catalogue.get(view.resource?));
        let names: Vec<Arc<str>> = resources.map(|of| Arc::clone(&of.name)).collect();
        match names.len() {
            0 | 1 => Vec::new(),
            _ => names,
        }
    }

    /// What a client hears whom only some of these allow something.
    pub(crate) fn contested(&self, spot: &Spot<'_>) -> Option<Arc<str>> {
        let rivals = self.rivals(spot).join(", ");
        let address = spot.address.as_ref().filter(|_| !rivals.is_empty())?;
        Some(format!("{address} has names of {rivals}, each of which has to allow it").into())
    }
}

/// A view for each resource, by the name that was asked for last.
fn one_of_each<'d>(
    names: &[(u16, &'d str)],
    view: impl Fn(Option<u16>, Option<&'d str>) -> View<'d>,
) -> (View<'d>, Vec<View<'d>>) {
    let mut views: Vec<View<'d>> = Vec::new();
    for (resource, host) in names {
        if views.iter().all(|known| known.resource != Some(*resource)) {
            views.push(view(Some(*resource), Some(*host)));
        }
    }
    let mut views = views.into_iter();
    let first = views.next().unwrap_or_else(|| view(None, None));
    (first, views.collect())
}

/// The name of a destination that no resource names: `address:port`, also where a host name is
/// known. One that denies an address must not be evaded by a name.
pub(crate) fn unnamed(destination: &Destination) -> Arc<str> {
    let address = Destination::from_address(destination.address());
    address.to_string().into()
}
