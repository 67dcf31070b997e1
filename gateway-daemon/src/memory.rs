//! What is in this process's memory stays there, and what it does not need goes back.
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::io;

/// Forbids core dumps, and debuggers and looks into /proc/PID/mem by whoever has no
/// CAP_SYS_PTRACE, root in a container among them: there are credentials, statements and bind
/// values in memory.
///
/// The limit alone would not do: a core pattern that is a pipe ignores it. The mark
/// (PR_SET_DUMPABLE) alone could be set anew by a change of user ids. execve(2) takes the mark
/// away; the limit would be inherited, but the daemon executes nothing. The hard limit stays:
/// whoever may raise the soft one of another process may read its memory too.
pub(crate) fn close() -> io::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_CORE)?;
    setrlimit(Resource::RLIMIT_CORE, 0, hard)?;
    prctl::set_dumpable(false)?;
    Ok(())
}

/// Gives back to the kernel what was needed to start and is free now: to load the programs, the
/// kernel's own types (BTF) are read whole, and glibc keeps the memory for later.
#[cfg(target_env = "gnu")]
#[allow(unsafe_code)]
pub(crate) fn give_back() {
    // SAFETY: takes no pointer, and may be called at any time (malloc_trim(3)).
    unsafe {
        nix::libc::malloc_trim(0);
    }
}

/// Other libraries give back by themselves.
#[cfg(not(target_env = "gnu"))]
pub(crate) const fn give_back() {}
