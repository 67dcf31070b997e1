//! The protocols of this version.
use super::columns::ColumnsFile;
use crate::config::Limits;
use crate::terminal::moment;
use gateway_dns::{Dns, NameTable};
use gateway_postgres::Postgres;
use gateway_protocol::Protocol;
use std::net::IpAddr;
use std::sync::Arc;

/// What is not understood: bytes, times, directions.
pub(crate) const OPAQUE: &str = "opaque";

/// DNS, which learns names from the answers of these servers.
pub(crate) fn dns(limits: &Limits, servers: &[IpAddr], names: Arc<NameTable>) -> Dns {
    let limits = gateway_dns::Limits {
        name_bytes: limits.dns_name_bytes,
        labels: limits.dns_labels,
        rate: limits.dns_rate,
        zone_names: limits.dns_zone_names,
        names: limits.dns_names,
        pending: limits.dns_pending,
    };
    Dns::new(limits, servers.iter().copied(), names, moment::now)
}

/// All protocols of a daemon, in the order in which they are asked whether a connection is theirs.
/// DNS comes first: it goes by the port, and must not be taken for anything else.
pub(crate) fn all(limits: &Limits, dns: Dns, columns: &Arc<ColumnsFile>) -> Vec<Arc<dyn Protocol>> {
    let keeper = Arc::clone(columns) as _;
    let postgres = Postgres::remembering(postgres_limits(limits), columns.databases(), keeper);
    vec![Arc::new(dns), Arc::new(postgres)]
}

/// All protocols, for taking statements apart.
fn readers() -> Vec<Arc<dyn Protocol>> {
    let limits = Limits::default();
    let dns = dns(&limits, &[], Arc::default());
    let postgres = Postgres::new(postgres_limits(&limits));
    vec![Arc::new(dns), Arc::new(postgres)]
}

fn postgres_limits(limits: &Limits) -> gateway_postgres::Limits {
    gateway_postgres::Limits {
        statement_bytes: limits.statement_bytes,
        bind_bytes: limits.bind_bytes,
        control_bytes: limits.control_bytes,
        pipeline: limits.pipeline,
        prepared_statements: limits.prepared_statements,
        held_bytes: limits.held_bytes,
        portals: limits.portals,
        parameter_bytes: limits.parameter_bytes,
        parameters_bytes: limits.parameters_bytes,
        cancel_keys: limits.sessions,
        masked_row_bytes: limits.masked_row_bytes,
        classifications: limits.classifications,
    }
}

/// The protocol of a name, for taking statements apart.
pub(crate) fn by_name(name: &str) -> Option<Arc<dyn Protocol>> {
    readers()
        .into_iter()
        .find(|protocol| protocol.name() == name)
}

/// The names that a policy can ask for.
pub(crate) fn names() -> Vec<&'static str> {
    readers()
        .iter()
        .map(|protocol| protocol.name())
        .chain([OPAQUE, gateway_core::DATAGRAMS])
        .collect()
}
