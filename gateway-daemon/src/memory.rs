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

/// Keeps the memory of all threads in few places, one for each core. glibc has eight for each, and
/// what one thread has freed in its own is of no use to the others: after some ten thousand
/// sessions the daemon held three times what it used. To be called before there are threads.
#[cfg(target_env = "gnu")]
#[allow(unsafe_code)]
pub(crate) fn share() {
    let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let places = i32::try_from(cores.max(2)).unwrap_or(i32::MAX);
    // SAFETY: takes two numbers; it can only refuse, and then nothing has changed (mallopt(3)).
    unsafe {
        nix::libc::mallopt(nix::libc::M_ARENA_MAX, places);
    }
}

/// Other libraries have other ways.
#[cfg(not(target_env = "gnu"))]
pub(crate) const fn share() {}

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
