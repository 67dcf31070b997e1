//! `gateway login`: says who is at work in this login session. The daemon asks the issuer; here
//! the person is only told where to go.
use super::ask;
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::terminal::escape;
use crate::terminal::screen::print;
use gateway_control::Client;
use gateway_control::view::{ErrorView, LoginBegunView, LoginView};
use serde::Deserialize;
use std::io;
use std::ops::ControlFlow;

/// A line of the answer.
#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Begun(LoginBegunView),
    SignedIn(LoginView),
    Failed(ErrorView),
}

/// Signs the caller's tree in.
pub(crate) fn login(config: &Config, issuer: Option<&str>, json: bool) -> Result<Exit, Failure> {
    let client = Client::new(&config.control_socket);
    let mut ended = None;
    let mut show = |line: &[u8]| -> io::Result<()> {
        let read: Line = serde_json::from_slice(line).map_err(io::Error::other)?;
        // Who does not read what is printed is signed in all the same.
        if json {
            print(&escape::json(&String::from_utf8_lossy(line)))?;
        } else if let Some(text) = words(&read) {
            print(&text)?;
        }
        match read {
            Line::Begun(_) => {}
            Line::SignedIn(_) => ended = Some(Ok(Exit::Done)),
            Line::Failed(view) => ended = Some(Err(Failure::no(view.error))),
        }
        Ok(())
    };
    let mut broken = None;
    ask(async {
        let mut each = |line: &[u8]| match show(line) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                broken = Some(error);
                ControlFlow::Break(())
            }
        };
        let asked = client.login(issuer, &mut each);
        asked.await.map_err(Failure::from)
    })?;
    if let Some(error) = broken {
        return Err(error.into());
    }
    ended.unwrap_or_else(|| {
        Err(Failure::no(
            "the daemon did not say whether anybody signed in",
        ))
    })
}

/// A line for people. An error is said at the end.
fn words(line: &Line) -> Option<String> {
    match line {
        Line::Begun(begun) => {
            let address = escape::line(&begun.verification_uri);
            let code = escape::line(&begun.user_code);
            let minutes = begun.expires_in.div_ceil(60);
            let complete = begun.verification_uri_complete.as_deref().map(escape::line);
            let shortcut = complete.map_or(String::new(), |it| format!("\n(or {it})"));
            Some(format!(
                "To sign in, open\n\n    {address}\n\nand enter the code\n\n    {code}\n\
                 {shortcut}\nIt is good for {minutes} min. Waiting …"
            ))
        }
        Line::SignedIn(view) => {
            let groups: Vec<&str> = view.principal.groups.iter().map(|group| &**group).collect();
            let groups = match groups.is_empty() {
                true => String::new(),
                false => format!(", in {}", groups.join(", ")),
            };
            let text = format!("{} is {}{groups}", view.tree, view.principal.id);
            Some(escape::line(&text).into_owned())
        }
        Line::Failed(_) => None,
    }
}
