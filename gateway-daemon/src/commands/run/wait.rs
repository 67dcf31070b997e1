//! Waits for the command and hands on the signals that were meant for it.
use crate::exit::Failure;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::io;
use std::process::Child;

/// What people and job runners send. Stops and continues reach the command by themselves, since
/// it shares the process group; so does what a terminal sends.
const FORWARDED: [Signal; 8] = [
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGHUP,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGALRM,
    Signal::SIGWINCH,
];

/// Signals that are read instead of obeyed. The command's own mask is not touched: it is cleared
/// when a process is started.
pub(super) struct Signals {
    descriptor: SignalFd,
}

impl Signals {
    /// Blocks them. To be called before the command is started, so that none is lost.
    pub(super) fn block() -> Result<Signals, Failure> {
        let mut set: SigSet = FORWARDED.into_iter().collect();
        set.add(Signal::SIGCHLD);
        set.thread_block().map_err(io::Error::from)?;
        let descriptor =
            SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC).map_err(io::Error::from)?;
        Ok(Signals { descriptor })
    }

    /// The exit code of the command: its own, or 128 and the number of the signal that ended it.
    pub(super) fn wait_for(self, child: Child) -> Result<u8, Failure> {
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX));
        loop {
            // Signals of one kind are merged: look at the child whatever came.
            match waitpid(pid, Some(WaitPidFlag::WNOHANG)).map_err(io::Error::from)? {
                WaitStatus::Exited(_, code) => return Ok(code as u8),
                WaitStatus::Signaled(_, signal, _) => return Ok(128 + signal as i32 as u8),
                _ => {}
            }
            let information = match self.descriptor.read_signal() {
                Ok(Some(information)) => information,
                Ok(None) | Err(nix::Error::EINTR) => continue,
                Err(error) => return Err(io::Error::from(error).into()),
            };
            // Codes above zero are the kernel's: a terminal has told the command as well.
            let from_a_process = information.ssi_code <= 0;
            let signal = i32::try_from(information.ssi_signo).ok();
            let signal = signal.and_then(|number| Signal::try_from(number).ok());
            if let Some(signal) = signal.filter(|signal| FORWARDED.contains(signal))
                && from_a_process
            {
                let _ = kill(pid, signal);
            }
        }
    }
}
