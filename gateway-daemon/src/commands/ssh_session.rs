//! `gateway ssh-session`: what pam_exec calls when somebody has logged in by SSH, as root and as a
//! child of sshd's process for that connection. It passes on what sshd told PAM.
//!
//! The environment is PAM's, with what sshd and pam_exec put there; PAM modules that let users have
//! a say in it (`pam_env` with `user_readenv=1`) must come later. What is there twice is refused.
use super::ask;
use crate::command::SshSession as Asked;
use crate::exit::{Exit, Failure};
use gateway_control::{Client, SshSession};
use std::ffi::{OsStr, OsString};
use std::os::unix::net::UnixDatagram;
use std::path::Path;

/// Where syslog listens, and `LOG_AUTHPRIV | LOG_WARNING` of RFC 3164.
const SYSLOG: &str = "/dev/log";
const PRIORITY: u8 = 10 * 8 + 4;

/// Passes a login on; refuses it when that fails. pam_exec hides what is written to stderr, so
/// whoever looks for the reason finds it in the system's log too.
pub(crate) fn ssh_session(named: Option<&Path>, asked: &Asked) -> Result<Exit, Failure> {
    let ended = pass_on(named, asked);
    match ended {
        Err(failure) if failure.exit == Exit::Unreachable && asked.allow_when_down => {
            let text = format!("the login passes without the gateway: {failure}");
            log(&text);
            eprintln!("gateway: ssh-session: {text}");
            Ok(Exit::Done)
        }
        Err(failure) => {
            log(&format!("the login is refused: {failure}"));
            Err(failure)
        }
        Ok(exit) => Ok(exit),
    }
}

fn pass_on(named: Option<&Path>, asked: &Asked) -> Result<Exit, Failure> {
    let environment = Environment(std::env::vars_os().collect());
    match environment.required("PAM_TYPE")?.as_str() {
        "open_session" => {}
        "close_session" => return Ok(Exit::Done),
        other => {
            let expected = "expected open_session or close_session (a `session` line)";
            return Err(usage(format!("PAM_TYPE={other:?}: {expected}")));
        }
    }
    let login = SshSession {
        user: environment.required("PAM_USER")?,
        auth_info: environment.required("SSH_AUTH_INFO_0")?,
        host: environment.find("PAM_RHOST")?,
        policy: asked.policy.clone(),
    };
    let config = crate::load(named)?;
    let client = Client::new(&config.control_socket);
    ask(async { client.ssh_session(&login).await.map_err(Failure::from) })?;
    Ok(Exit::Done)
}

fn usage(reason: String) -> Failure {
    Failure::usage(format!("ssh-session: {reason}"))
}

/// The environment as the kernel passed it, in which a name may stand twice.
struct Environment(Vec<(OsString, OsString)>);

impl Environment {
    /// The one value of a name.
    fn find(&self, name: &str) -> Result<Option<String>, Failure> {
        let mut values = self.0.iter().filter(|(key, _)| key == OsStr::new(name));
        let Some((_, value)) = values.next() else {
            return Ok(None);
        };
        if values.next().is_some() {
            return Err(usage(format!(
                "{name} is set twice: somebody else has a say"
            )));
        }
        match value.to_str() {
            Some(text) => Ok(Some(text.to_owned())),
            None => Err(usage(format!("{name}: expected text in UTF-8"))),
        }
    }

    fn required(&self, name: &str) -> Result<String, Failure> {
        self.find(name)?.ok_or_else(|| {
            let who = "expected pam_exec of sshd to set it (OpenSSH 7.6 or later)";
            usage(format!("{name} is not set: {who}"))
        })
    }
}

/// Where nobody listens nothing is said.
fn log(text: &str) {
    let line: String = text.escape_debug().take(1024).collect();
    let line = format!(
        "<{PRIORITY}>gateway[{}]: ssh-session: {line}",
        std::process::id()
    );
    let sent = UnixDatagram::unbound().and_then(|socket| {
        socket.set_nonblocking(true)?;
        socket.send_to(line.as_bytes(), SYSLOG)
    });
    // The refusal does not wait for its report.
    drop(sent);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStringExt;

    fn environment(pairs: &[(&str, &[u8])]) -> Environment {
        let pairs = pairs.iter();
        let pairs = pairs.map(|(name, value)| (name.into(), OsString::from_vec(value.to_vec())));
        Environment(pairs.collect())
    }

    #[test]
    fn a_name_counts_when_it_stands_once_and_is_text() {
        let given = environment(&[
            ("PAM_USER", b"alice"),
            ("TWICE", b"a"),
            ("TWICE", b"a"),
            ("BYTES", b"\xff"),
        ]);
        assert_eq!(given.find("PAM_USER").unwrap().as_deref(), Some("alice"));
        assert_eq!(given.find("PAM_RHOST").unwrap(), None);
        for (name, expected) in [
            ("TWICE", "twice"),
            ("BYTES", "UTF-8"),
            ("PAM_TYPE", "not set"),
        ] {
            let failure = given.required(name).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage);
            assert!(failure.message.contains(expected), "{failure}");
        }
    }
}
