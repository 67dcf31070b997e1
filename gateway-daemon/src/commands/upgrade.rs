//! `gateway upgrade`: the daemon gives way to the gateway that is installed now, and its sessions go
//! on. The configuration has been read when this runs, so a bad one is said here and not by a daemon
//! that refuses.
use super::refuse_governed;
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::terminal::screen::print;
use gateway_control::socket::listening_pid;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::time::{Duration, Instant};

/// How long another daemon may take to come.
const COME_MAX: Duration = Duration::from_secs(60);
/// How long the daemon may stay after it was told, when it does not give way.
const STAY_MAX: Duration = Duration::from_secs(25);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Tells the daemon, and waits until another one is in its place.
pub(crate) fn upgrade(config: &Config) -> Result<Exit, Failure> {
    if !nix::unistd::geteuid().is_root() {
        return Err(Failure::not_permitted(
            "gateway upgrade has to be started by root",
        ));
    }
    refuse_governed(config)?;
    let socket = &config.control_socket;
    let unreachable = || Failure {
        exit: Exit::Unreachable,
        message: format!("no daemon answers on {}", socket.display()),
    };
    let before = listening_pid(socket).ok_or_else(unreachable)?;
    let pid = i32::try_from(before).map(Pid::from_raw);
    let pid = pid.map_err(|_| unreachable())?;
    kill(pid, Signal::SIGUSR2).map_err(|error| Failure::no(format!("pid {before}: {error}")))?;
    let told = Instant::now();
    while told.elapsed() < COME_MAX {
        match listening_pid(socket) {
            Some(now) if now != before => {
                print(&format!(
                    "pid {now} has taken over from pid {before}, whose sessions go on"
                ))?;
                return Ok(Exit::Done);
            }
            Some(_) if told.elapsed() > STAY_MAX => break,
            _ => std::thread::sleep(LOOK_EVERY),
        }
    }
    Err(Failure::no(format!(
        "the daemon (pid {before}) has not given way; its log says why"
    )))
}
