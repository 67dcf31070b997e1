//! Where an operation goes, as a policy sees it, and which rules count there.
use crate::catalogue::Found;
use crate::host_name::HostName;
use crate::policy::Policy;
use crate::rule_set::RuleSet;
use gateway_core::{Claim, Destination, inside};
use std::iter;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// What a client hears that means a server which nothing allows, on an address that has other names.
const DOUBTED: &str = "names that lead there do not count: the client asks for another server, or \
                       in a way that cannot be read";

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
/// destination has by one of them has to allow what is done, and what restricts any counts. The
/// same holds for the IPv4 addresses that are inside of its address.
#[derive(Clone, Debug)]
pub(crate) struct Spot<'d> {
    /// Its address.
    pub(crate) ip: IpAddr,
    /// The name of the resource that it is called by, or `address:port`.
    pub(crate) name: Arc<str>,
    /// `address:port`, unless a resource has it.
    address: Option<Arc<str>>,
    first: View<'d>,
    others: Vec<View<'d>>,
    /// Where the IPv4 addresses are that are inside of its own.
    inside: Vec<Spot<'d>>,
    /// Some of the names that lead there are not what the client says that it means.
    is_doubted: bool,
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

impl<'d> View<'d> {
    const fn whole(resource: Option<u16>, host: Option<&'d str>) -> View<'d> {
        View {
            resource,
            host,
            is_whole: true,
        }
    }
}

impl<'d> Spot<'d> {
    /// The view that it is called by.
    pub(crate) fn first(&self) -> &View<'d> {
        &self.first
    }

    /// This one, then the others, then those of what is inside; each with what it is a view of.
    pub(crate) fn views(&self) -> impl Iterator<Item = (&Spot<'d>, &View<'d>)> {
        iter::once(self)
            .chain(&self.inside)
            .flat_map(|spot| spot.own_views().map(move |view| (spot, view)))
    }

    fn own_views(&self) -> impl Iterator<Item = &View<'d>> {
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
        let last = destination.believed().next().map(|host| &**host);
        let (first, mut others) = match &found {
            Found::Address(index) | Found::Translated(index) => {
                let own = self.catalogue.name_of(*index, destination);
                (
                    View::whole(Some(*index), own.map(|host| &**host).or(last)),
                    Vec::new(),
                )
            }
            Found::Names(names) => one_of_each(names),
            Found::Nowhere => (View::whole(None, last), Vec::new()),
        };
        if !matches!(found, Found::Address(_) | Found::Translated(_)) {
            others.extend(self.not_meant(destination));
        }
        let address = match found {
            Found::Address(_) => None,
            _ => Some(unnamed(destination)),
        };
        let within = inside::inside(destination.ip);
        let mut spot = Spot {
            ip: destination.ip,
            name: self.called(&first, destination),
            address,
            first,
            others,
            inside: within
                .map(|v4| self.spot_inside(v4, destination.port))
                .collect(),
            is_doubted: destination.believed().count() < destination.hosts.len(),
        };
        if self.rules.asks_host {
            self.add_names(&mut spot, destination);
        }
        spot
    }

    /// The place of an address that is inside of another one. What no resource has there need not
    /// be allowed: the address around it is.
    fn spot_inside(&self, v4: Ipv4Addr, port: u16) -> Spot<'static> {
        let destination = Destination::from_address((v4, port).into());
        let resource = self.catalogue.by_address(destination.ip, port);
        let first = View {
            is_whole: resource.is_some(),
            ..View::whole(resource, None)
        };
        Spot {
            ip: destination.ip,
            name: self.called(&first, &destination),
            address: resource.is_none().then(|| unnamed(&destination)),
            first,
            others: Vec::new(),
            inside: Vec::new(),
            is_doubted: false,
        }
    }

    /// The name of the resource that this view has, or `address:port`.
    fn called(&self, view: &View<'_>, destination: &Destination) -> Arc<str> {
        let resource = view.resource.and_then(|index| self.catalogue.get(index));
        match resource {
            Some(resource) => Arc::clone(&resource.name),
            None => unnamed(destination),
        }
    }

    /// By the names that the client says it does not mean. They allow nothing.
    fn not_meant<'d>(&self, destination: &'d Destination) -> impl Iterator<Item = View<'d>> {
        let names = match destination.claim {
            Claim::Nothing => Vec::new(),
            _ => self
                .catalogue
                .by_names(destination.hosts.iter(), destination.port),
        };
        let view = |(resource, host)| View {
            is_whole: false,
            ..View::whole(Some(resource), Some(host))
        };
        names.into_iter().map(view)
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
                .own_views()
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
        let whole = spot.views().filter(|(_, view)| view.is_whole);
        let resources = whole.filter_map(|(_, view)| self.catalogue.get(view.resource?));
        let mut names: Vec<Arc<str>> = Vec::new();
        for resource in resources {
            if !names.contains(&resource.name) {
                names.push(Arc::clone(&resource.name));
            }
        }
        match names.len() {
            0 | 1 => Vec::new(),
            _ => names,
        }
    }

    /// What a client hears whom only some of these allow something.
    pub(crate) fn contested(&self, spot: &Spot<'_>) -> Option<Arc<str>> {
        let rivals = self.rivals(spot).join(", ");
        if rivals.is_empty() {
            return spot.is_doubted.then(|| DOUBTED.into());
        }
        let name = spot.address.as_ref().unwrap_or(&spot.name);
        Some(format!("{name} belongs to {rivals}, each of which has to allow it").into())
    }
}

/// A view for each resource, by the name that was asked for last.
fn one_of_each<'d>(names: &[(u16, &'d str)]) -> (View<'d>, Vec<View<'d>>) {
    let mut views: Vec<View<'d>> = Vec::new();
    for (resource, host) in names {
        if views.iter().all(|known| known.resource != Some(*resource)) {
            views.push(View::whole(Some(*resource), Some(*host)));
        }
    }
    let mut views = views.into_iter();
    let first = views.next().unwrap_or(View::whole(None, None));
    (first, views.collect())
}

/// The name of a destination that no resource names: `address:port`, also where a host name is
/// known. One that denies an address must not be evaded by a name.
pub(crate) fn unnamed(destination: &Destination) -> Arc<str> {
    let address = Destination::from_address(destination.address());
    address.to_string().into()
}
