//! What each command does, one file each.
pub(crate) mod approvals;
pub(crate) mod kill;
pub(crate) mod lineage;
pub(crate) mod login;
pub(crate) mod policy;
pub(crate) mod records;
pub(crate) mod revoke;
pub(crate) mod run;
pub(crate) mod ssh_session;
pub(crate) mod status;
pub(crate) mod trees;
pub(crate) mod trust;
pub(crate) mod uninstall;

use crate::exit::Failure;
use std::future::Future;

/// Runs one question to the daemon to its end.
pub(crate) fn ask<T>(question: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(question)
}
