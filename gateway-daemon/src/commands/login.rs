//! `gateway login`: says who is at work in this login session. The daemon asks the issuer, or
//! verifies what a SAML identity provider signed; here the person is only told where to go.
use super::ask;
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::terminal::escape;
use crate::terminal::screen::print;
use gateway_control::Client;
use gateway_control::view::{ErrorView, LoginBegunView, LoginView};
use serde::Deserialize;
use std::fs::File;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::path::Path;

/// No SAML response that the daemon takes is longer, in bytes.
const RESPONSE_BYTES_MAX: u64 = gateway_identity::RESPONSE_BYTES_MAX as u64;

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

/// Signs the caller's tree in with what a SAML identity provider answered.
pub(crate) fn login_saml(config: &Config, file: &Path, json: bool) -> Result<Exit, Failure> {
    let response = read_response(file)?;
    let client = Client::new(&config.control_socket);
    let view = ask(async { client.login_saml(&response).await.map_err(Failure::from) })?;
    if json {
        let text = serde_json::to_string(&view).map_err(io::Error::other)?;
        print(&escape::json(&text))?;
    } else {
        print(&signed_in(&view))?;
    }
    Ok(Exit::Done)
}

/// Read by the caller, who has to be allowed to.
fn read_response(file: &Path) -> Result<String, Failure> {
    let failed = |reason: String| Failure::no(format!("--saml {}: {reason}", file.display()));
    let mut bytes = Vec::new();
    let read = if file == Path::new("-") {
        let stdin = io::stdin().lock();
        stdin.take(RESPONSE_BYTES_MAX + 1).read_to_end(&mut bytes)
    } else {
        File::open(file)
            .and_then(|opened| opened.take(RESPONSE_BYTES_MAX + 1).read_to_end(&mut bytes))
    };
    match read {
        Err(error) => Err(failed(error.to_string())),
        Ok(count) if count as u64 > RESPONSE_BYTES_MAX => Err(failed(format!(
            "expected a SAML response, at most {RESPONSE_BYTES_MAX} bytes"
        ))),
        Ok(_) => String::from_utf8(bytes).map_err(|_| {
            failed("expected a SAML response: XML in UTF-8, or base64 of it".to_owned())
        }),
    }
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
        Line::SignedIn(view) => Some(signed_in(view)),
        Line::Failed(_) => None,
    }
}

fn signed_in(view: &LoginView) -> String {
    let groups: Vec<&str> = view.principal.groups.iter().map(|group| &**group).collect();
    let groups = match groups.is_empty() {
        true => String::new(),
        false => format!(", in {}", groups.join(", ")),
    };
    let text = format!("{} is {}{groups}", view.tree, view.principal.id);
    escape::line(&text).into_owned()
}
