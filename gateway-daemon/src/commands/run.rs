//! `gateway run`: a command as the root of a governed tree, governed before its first instruction.
//!
//! Two processes. The one that was called stays outside and waits: it forwards signals and ends
//! with the command's exit code. The other one, started from the same binary, asks the daemon to
//! govern *it*, by the credentials of its own connection, and only then becomes the command. If
//! anything fails on the way, the command is not executed.
mod harden;
mod wait;

use super::ask;
use crate::command::Run;
use crate::config::Config;
use crate::exit::Failure;
use gateway_control::Client;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// The gateway failed, in the words of env(1).
pub(crate) const FAILED: u8 = 125;
/// The command was found and cannot be executed.
const NOT_EXECUTABLE: u8 = 126;
/// The command was not found.
const NOT_FOUND: u8 = 127;
/// No issuer's tokens are longer.
const TOKEN_BYTES_MAX: u64 = 16 * 1024;
/// Says which process waits, so that the other one notices when it is gone before it asked to be
/// told; and behind a blank which signals that one blocked.
const WAITING: &str = "GATEWAY_RUN_WAITING";

/// The exit code of the command, or of what kept it from running.
pub(crate) fn run(config: &Config, run: &Run) -> u8 {
    let ended = if run.in_place {
        become_command(config, run)
    } else {
        start(config, run)
    };
    ended.unwrap_or_else(|failure| {
        eprintln!("gateway: run: {failure}");
        FAILED
    })
}

fn start(config: &Config, run: &Run) -> Result<u8, Failure> {
    let signals = wait::Signals::block()?;
    let mut command = Command::new("/proc/self/exe");
    command.arg0("gateway");
    if let Some(file) = &config.file {
        command.arg("--config").arg(file);
    }
    command.args(["run", "--in-place"]);
    if let Some(policy) = &run.policy {
        command.arg("--policy").arg(policy);
    }
    if let Some(file) = &run.token_file {
        command.arg("--token-file").arg(file);
    }
    command.arg("--").arg(&run.program).args(&run.arguments);
    command.env(
        WAITING,
        format!("{} {}", std::process::id(), signals.taken()),
    );
    let child = command.spawn()?;
    harden::let_go_of_sockets()?;
    signals.wait_for(child)
}

fn become_command(config: &Config, run: &Run) -> Result<u8, Failure> {
    if let Ok(waiting) = std::env::var(WAITING) {
        let (waiting, taken) = waiting.split_once(' ').unwrap_or((&waiting, ""));
        wait::unblock(taken)?;
        // Killing `gateway run` outright must not leave a command that nobody waits for.
        set_pdeathsig(Signal::SIGKILL).map_err(std::io::Error::from)?;
        if waiting != nix::unistd::getppid().as_raw().to_string() {
            return Err(Failure::no("the process that waits is gone"));
        }
    }
    let client = Client::new(&config.control_socket);
    let token = run.token_file.as_deref().map(read_token).transpose()?;
    let (policy, token) = (run.policy.as_deref(), token.as_deref());
    let view = ask(async { client.run(policy, token).await.map_err(Failure::from) })?;
    harden::apply(&view.harden)?;
    let mut command = Command::new(&run.program);
    command.args(&run.arguments).env_remove(WAITING);
    let error = command.exec();
    eprintln!(
        "gateway: run: {}: {error}",
        Path::new(&run.program).display()
    );
    Ok(if error.kind() == ErrorKind::NotFound {
        NOT_FOUND
    } else {
        NOT_EXECUTABLE
    })
}

/// The token in a file, which the caller has to be able to read.
fn read_token(file: &Path) -> Result<String, Failure> {
    let failed = |reason: String| Failure::no(format!("--token-file {}: {reason}", file.display()));
    let mut text = String::new();
    let read = File::open(file)
        .and_then(|opened| opened.take(TOKEN_BYTES_MAX + 1).read_to_string(&mut text));
    match read {
        Err(error) => Err(failed(error.to_string())),
        Ok(bytes) if bytes as u64 > TOKEN_BYTES_MAX => Err(failed(format!(
            "expected a token, at most {TOKEN_BYTES_MAX} bytes"
        ))),
        Ok(_) if text.trim().is_empty() => Err(failed("expected a token; it is empty".to_owned())),
        Ok(_) => Ok(text.trim().to_owned()),
    }
}
