//! The destinations of a policy file, of which no two resources may claim the same.
use crate::catalogue::{Catalogue, Resource};
use crate::diagnostic::quoted;
use crate::document::ResourceTable;
use crate::host_name::HostName;
use crate::network::Host;
use crate::reader::{Located, Reader};
use gateway_core::LinkTerms;
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// Patterns over names in one policy: each is tried for each name of a destination.
const PATTERNS_MAX: usize = 256;

/// A resource, and one of its hosts.
type Claim<'a> = (&'a ResourceTable, &'a Located<Host>);

/// Builds the table of destinations.
pub(crate) fn catalogue(reader: &mut Reader<'_>, tables: &[ResourceTable]) -> Catalogue {
    let mut resources = Vec::new();
    let mut hosts = Vec::new();
    let mut claims = Claims::default();
    for table in tables {
        let Some(name) = &table.name else { continue };
        let index = u16::try_from(resources.len()).unwrap_or(u16::MAX);
        resources.push(resource(table, name.value.as_str().into()));
        for host in &table.hosts {
            claims.add(reader, (table, host));
            let ports = table.ports.clone().map(Vec::into_boxed_slice);
            hosts.push((host.value.clone(), ports, index));
        }
    }
    Catalogue::new(resources, hosts)
}

fn resource(table: &ResourceTable, name: Arc<str>) -> Resource {
    let protocol = table.protocol.as_ref();
    let protocol: Option<Arc<str>> = protocol.map(|text| text.value.as_str().into());
    let wrong_protocol = protocol
        .as_ref()
        .map(|protocol| format!("only {protocol} may be spoken to {name}").into());
    let terms = table.terms.clone().map(|terms| {
        let resource = Arc::clone(&name);
        Arc::new(LinkTerms { resource, ..terms })
    });
    Resource {
        name,
        protocol,
        wrong_protocol,
        terms,
    }
}

/// What was claimed so far.
#[derive(Default)]
struct Claims<'a> {
    /// Addresses, networks and names, in the one form that each has.
    exact: FxHashMap<String, Vec<Claim<'a>>>,
    patterns: Vec<Claim<'a>>,
}

impl<'a> Claims<'a> {
    /// Takes a claim, and says so when another resource has the same.
    fn add(&mut self, reader: &mut Reader<'_>, claim: Claim<'a>) {
        let (_, host) = claim;
        let rivals = match host.value {
            Host::Name(HostName::Pattern(_)) => &mut self.patterns,
            _ => self.exact.entry(host.value.to_string()).or_default(),
        };
        if let Some(rival) = rivals.iter().find(|rival| meet(claim, **rival)) {
            refuse(reader, claim, *rival);
        }
        rivals.push(claim);
        if self.patterns.len() == PATTERNS_MAX + 1 {
            let message = format!("more than {PATTERNS_MAX} patterns over names");
            reader.error(host.span.clone(), message, "names, or fewer patterns");
        }
    }
}

/// Do two resources claim the same destination with the same right?
fn meet((table, host): Claim<'_>, (rival, rival_host): Claim<'_>) -> bool {
    let same = || match (&host.value, &rival_host.value) {
        (Host::Name(name), Host::Name(rival)) => name.ties(rival),
        (host, rival) => host == rival,
    };
    !std::ptr::eq(table, rival) && ports_meet(&table.ports, &rival.ports) && same()
}

fn refuse(reader: &mut Reader<'_>, (_, host): Claim<'_>, (rival, rival_host): Claim<'_>) {
    let name = rival.name.as_ref().map_or("", |name| &name.value);
    let (host, span) = (&host.value, host.span.clone());
    let message = if *host == rival_host.value {
        format!("{host} belongs to the resource {} too", quoted(name))
    } else {
        format!(
            "{host} and {} of the resource {} can match the same name, and have as many \
             characters beside `*`",
            rival_host.value,
            quoted(name)
        )
    };
    let line = reader.line(&rival_host.span);
    let expected = format!("other hosts or ports than on line {line}");
    reader.error(span, message, expected);
}

fn ports_meet(left: &Option<Vec<u16>>, right: &Option<Vec<u16>>) -> bool {
    match (left, right) {
        (Some(left), Some(right)) => left.iter().any(|port| right.binary_search(port).is_ok()),
        _ => true,
    }
}
