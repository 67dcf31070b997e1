//! `gateway kill`: ends live sessions now.
use super::ask;
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::terminal::screen::{print, print_json};
use gateway_control::{Client, Target};

/// Ends the sessions of the target.
pub(crate) fn kill(config: &Config, target: Target, json: bool) -> Result<Exit, Failure> {
    let client = Client::new(&config.control_socket);
    let view = ask(async { client.kill(target).await.map_err(Failure::from) })?;
    if json {
        print_json(&view)?;
    } else {
        let what = if view.killed == 1 {
            "session"
        } else {
            "sessions"
        };
        print(&format!("{} {what} ended", view.killed))?;
    }
    Ok(Exit::Done)
}
