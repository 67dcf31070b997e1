//! What each command does, one file each.
pub(crate) mod approvals;
pub(crate) mod credentials;
pub(crate) mod doctor;
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
pub(crate) mod upgrade;

use crate::config::Config;
use crate::exit::Failure;
use gateway_control::{Client, ClientError};
use std::future::Future;
use std::time::Duration;

/// How long the daemon may take to say whether the caller is governed.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(3);

/// Runs one question to the daemon to its end.
pub(crate) fn ask<T>(question: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(question)
}

/// For commands that work without the daemon: while it lives, a process inside a governed tree may
/// not do this.
pub(crate) fn refuse_governed(config: &Config) -> Result<(), Failure> {
    let client = Client::new(&config.control_socket);
    let asked = ask(async {
        // A daemon that is dead or hangs says nothing, and the command has to work all the same.
        Ok(tokio::time::timeout(ANSWER_TIME_MAX, client.status()).await)
    })?;
    match asked {
        Ok(Err(error @ ClientError::NotPermitted(_))) => Err(error.into()),
        _ => Ok(()),
    }
}
