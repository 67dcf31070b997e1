//! `gateway revoke`: denies a principal everything from now on, and ends what lives.
use super::ask;
use crate::command::Revoke;
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::terminal::screen::{print, print_json};
use gateway_control::Client;

/// Revokes, or takes a revocation back.
pub(crate) fn revoke(config: &Config, revoke: &Revoke) -> Result<Exit, Failure> {
    let client = Client::new(&config.control_socket);
    let asked = client.revoke(&revoke.principal, revoke.stop, revoke.undo);
    let view = ask(async { asked.await.map_err(Failure::from) })?;
    if revoke.json {
        print_json(&view)?;
        return Ok(Exit::Done);
    }
    let principal = &view.principal;
    if view.revoked {
        print(&format!(
            "{principal} is revoked: trees {}, sessions ended {}, questions denied {}, \
             processes stopped {}",
            view.trees, view.sessions, view.questions, view.processes
        ))?;
    } else {
        print(&format!("{principal} is not revoked any more"))?;
    }
    Ok(Exit::Done)
}
