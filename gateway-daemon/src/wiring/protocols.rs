//! The protocols of this version.
use super::columns::ColumnsFile;
use crate::config::Limits;
use gateway_postgres::Postgres;
use gateway_protocol::Protocol;
use std::sync::Arc;

/// What is not understood: bytes, times, directions.
pub(crate) const OPAQUE: &str = "opaque";

/// All protocols of a daemon, in the order in which they are asked whether a connection is theirs.
pub(crate) fn all(limits: &Limits, columns: &Arc<ColumnsFile>) -> Vec<Arc<dyn Protocol>> {
    let keeper = Arc::clone(columns) as _;
    let postgres = Postgres::remembering(postgres_limits(limits), columns.databases(), keeper);
    vec![Arc::new(postgres)]
}

/// All protocols, for taking statements apart.
fn readers() -> Vec<Arc<dyn Protocol>> {
    vec![Arc::new(Postgres::new(postgres_limits(&Limits::default())))]
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
        .chain([OPAQUE])
        .collect()
}
