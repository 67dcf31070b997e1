//! `gateway daemon`: the order in which the parts come up, and in which they go.
pub(crate) mod handover;
mod life;
mod log;
mod notify;
mod parts;
mod signals;
pub(crate) mod state;
mod threads;
mod watch;

use crate::config::Config;
use crate::exit::{Exit, Failure};

/// The stack of a thread that talks to the kernel half, whose table of globs is a quarter of a
/// megabyte and is held by value. Pages that are not used cost nothing.
const STACK_BYTES: usize = 16 << 20;

/// Runs until it is told to end.
pub(crate) fn run(config: &Config) -> Result<Exit, Failure> {
    log::init();
    if !nix::unistd::geteuid().is_root() {
        return Err(Failure::not_permitted(
            "gateway daemon has to be started by root",
        ));
    }
    let origin = origin()?;
    crate::memory::close()?;
    crate::memory::share();
    // No other thread yet, and tasks that are spawned are few: the sessions have threads of their
    // own in the proxy.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .thread_stack_size(STACK_BYTES)
        .build()?;
    let outcome = runtime.block_on(life::live(config, origin));
    // Followers of the log may still wait on their threads; nothing of theirs needs keeping.
    runtime.shutdown_timeout(std::time::Duration::from_millis(200));
    outcome
}

/// What there is from a daemon before this one.
fn origin() -> Result<parts::Origin, Failure> {
    Ok(match handover::Inheritance::receive()? {
        Some(handed) => parts::Origin {
            listeners: handed.listeners,
            handed: Some((handed.state, handed.held)),
        },
        None => parts::Origin {
            listeners: notify::kept(),
            handed: None,
        },
    })
}
