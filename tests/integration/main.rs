//! The product against real servers, real clients and this kernel. Needs root, and the release
//! binary; `cargo xtask test` builds it first.
mod answers;
mod approval_page;
mod approvals;
mod attacks;
mod bad_hosts;
mod before;
mod boundaries;
mod capture;
mod ci_variables;
mod commands;
mod crash;
mod credentials;
mod datagrams;
mod debug_log;
mod dns;
mod doctor;
mod harden;
mod harness;
mod hostile_wire;
mod identity;
mod inbound;
mod lineage;
mod login;
mod masks;
mod names;
mod namespaces;
mod policy_reload;
mod postgres_clients;
mod postgres_credentials;
mod postgres_drivers;
mod postgres_psql;
mod postgres_tls;
mod provider;
mod remote_api;
mod saml_login;
mod side_by_side;
mod ssh_login;
mod storm;
mod translated;
mod uninstall;
mod upgrade;
mod when_down;

use serde_json::Value;

/// The statements of operations, in their order.
fn statements(log: &[Value]) -> Vec<&str> {
    log.iter()
        .filter_map(|operation| operation["statement"].as_str())
        .collect()
}

/// The first operation with this statement.
fn operation<'a>(log: &'a [Value], statement: &str) -> &'a Value {
    log.iter()
        .find(|operation| operation["statement"] == statement)
        .unwrap_or_else(|| panic!("{statement:?} is not in the log: {:?}", statements(log)))
}
