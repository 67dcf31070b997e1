//! Waits for the command and hands on the signals that were meant for it.
use crate::exit::Failure;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};

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

/// Signals that are read instead of obeyed.
pub(super) struct Signals {
    descriptor: SignalFd,
    /// Those that were not blocked before. The command gets them back.
    taken: SigSet,
}

impl Signals {
    /// Blocks them. To be called before the command is started, so that none is lost.
    pub(super) fn block() -> Result<Signals, Failure> {
        let mut set: SigSet = FORWARDED.into_iter().collect();
        set.add(Signal::SIGCHLD);
        let before = SigSet::thread_get_mask().map_err(io::Error::from)?;
        set.thread_block().map_err(io::Error::from)?;
        let taken = set
            .iter()
            .filter(|signal| !before.contains(*signal))
            .collect();
        let descriptor =
            SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC).map_err(io::Error::from)?;
        Ok(Signals { descriptor, taken })
    }

    /// What the command has to unblock, since a mask is inherited: numbers with commas between.
    pub(super) fn taken(&self) -> String {
        let numbers: Vec<String> = self
            .taken
            .iter()
            .map(|signal| (signal as i32).to_string())
            .collect();
        numbers.join(",")
    }

    /// The exit code of the command: its own, or 128 and the number of the signal that ended it.
    pub(super) fn wait_for(self, mut child: Child) -> Result<u8, Failure> {
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX));
        loop {
            // Signals of one kind are merged: look at the child whatever came.
            if let Some(status) = child.try_wait()? {
                return Ok(exit_code(status));
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

/// Gives back what [`Signals::taken`] named.
pub(super) fn unblock(taken: &str) -> Result<(), Failure> {
    let signals = taken
        .split(',')
        .filter_map(|number| number.parse::<i32>().ok());
    let set: SigSet = signals
        .filter_map(|number| Signal::try_from(number).ok())
        .collect();
    Ok(set.thread_unblock().map_err(io::Error::from)?)
}

fn exit_code(status: ExitStatus) -> u8 {
    let code = match (status.code(), status.signal()) {
        (Some(code), _) => code,
        (None, signal) => 128 + signal.unwrap_or(0),
    };
    u8::try_from(code).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_env() {
        for (raw, code) in [
            (0, 0),
            (7 << 8, 7),
            (255 << 8, 255),
            (15, 143),
            (9, 137),
            (64, 192),
        ] {
            assert_eq!(exit_code(ExitStatus::from_raw(raw)), code, "{raw}");
        }
    }

    #[test]
    fn what_was_blocked_is_given_back_and_nothing_else() {
        let mut blocked = SigSet::empty();
        blocked.add(Signal::SIGUSR2);
        blocked.thread_block().unwrap();
        let signals = Signals::block().unwrap();
        let taken = signals.taken();
        assert!(taken.split(',').any(|number| number == "15"), "{taken}");
        unblock(&taken).unwrap();
        let mask = SigSet::thread_get_mask().unwrap();
        assert!(mask.contains(Signal::SIGUSR2), "it was blocked before");
        assert!(!mask.contains(Signal::SIGTERM));
        unblock("nonsense,,999,-1").unwrap();
    }
}
