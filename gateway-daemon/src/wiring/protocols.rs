//! The protocols of this version.
use gateway_protocol::Protocol;
use std::sync::Arc;

/// What is not understood: bytes, times, directions.
pub(crate) const OPAQUE: &str = "opaque";

/// All protocols, in the order in which they are asked whether a connection is theirs.
pub(crate) fn all(limits: &crate::config::Limits) -> Vec<Arc<dyn Protocol>> {
    vec![Arc::new(gateway_postgres::Postgres::new(
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
        },
    ))]
}

/// The protocol of a name, for taking statements apart.
pub(crate) fn by_name(name: &str) -> Option<Arc<dyn Protocol>> {
    all(&crate::config::Limits::default())
        .into_iter()
        .find(|protocol| protocol.name() == name)
}

/// The names that a policy can ask for.
pub(crate) fn names() -> Vec<&'static str> {
    let protocols = all(&crate::config::Limits::default());
    protocols
        .iter()
        .map(|protocol| protocol.name())
        .chain([OPAQUE])
        .collect()
}
