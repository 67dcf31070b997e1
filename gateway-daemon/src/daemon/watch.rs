//! Sees changes in the policy directory, so that nobody has to tell the daemon.
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::Sender;

/// Editors write a file in several steps: what follows within this time belongs together.
const QUIET: Duration = Duration::from_millis(150);
/// A directory in which something always changes is read all the same.
const PATIENCE_MAX: Duration = Duration::from_secs(2);
/// How often a directory that is not there is looked for.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// Says that something has changed.
pub(super) struct Changed;

/// Watches on a thread of its own, for as long as somebody listens.
pub(super) fn watch(directory: PathBuf, changes: Sender<Changed>) -> std::io::Result<()> {
    std::thread::Builder::new().name("gateway-watch".to_owned()).spawn(move || {
        while !changes.is_closed() {
            match watch_once(&directory, &changes) {
                Ok(()) => {}
                Err(error) => {
                    let directory = directory.display();
                    tracing::debug!(%error, %directory, "the policy directory cannot be watched");
                    std::thread::sleep(LOOK_AGAIN);
                }
            }
        }
    })?;
    Ok(())
}

/// Watches until the directory itself goes or is replaced.
fn watch_once(directory: &Path, changes: &Sender<Changed>) -> nix::Result<()> {
    let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
    let gone =
        AddWatchFlags::IN_DELETE_SELF | AddWatchFlags::IN_MOVE_SELF | AddWatchFlags::IN_IGNORED;
    let mask = AddWatchFlags::IN_CLOSE_WRITE
        | AddWatchFlags::IN_MOVED_TO
        | AddWatchFlags::IN_MOVED_FROM
        | AddWatchFlags::IN_DELETE
        | AddWatchFlags::IN_DELETE_SELF
        | AddWatchFlags::IN_MOVE_SELF
        | AddWatchFlags::IN_ONLYDIR;
    inotify.add_watch(directory, mask)?;
    while !changes.is_closed() {
        if !wait(&inotify, LOOK_AGAIN) {
            continue;
        }
        let first = Instant::now();
        let mut ended = false;
        loop {
            match inotify.read_events() {
                Ok(events) => ended |= events.iter().any(|event| event.mask.intersects(gone)),
                Err(nix::Error::EAGAIN | nix::Error::EINTR) => {}
                Err(error) => return Err(error),
            }
            if first.elapsed() > PATIENCE_MAX || !wait(&inotify, QUIET) {
                break;
            }
        }
        // A change that still waits to be heard says the same.
        let _ = changes.try_send(Changed);
        if ended {
            return Ok(());
        }
    }
    Ok(())
}

fn wait(inotify: &Inotify, time: Duration) -> bool {
    let timeout = PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX);
    matches!(
        poll(
            &mut [PollFd::new(inotify.as_fd(), PollFlags::POLLIN)],
            timeout
        ),
        Ok(1..)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::mpsc::{Receiver, channel};

    fn changed(changes: &mut Receiver<Changed>, within: Duration) -> bool {
        let deadline = Instant::now() + within;
        while Instant::now() < deadline {
            if changes.try_recv().is_ok() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    }

    #[test]
    fn changes_are_told_once_and_a_replaced_directory_is_found_again() {
        let above = tempfile::tempdir().unwrap();
        let directory = above.path().join("policies");
        std::fs::create_dir(&directory).unwrap();
        let (sender, mut changes) = channel(1);
        watch(directory.clone(), sender).unwrap();
        // The watch is in place when a first change is seen.
        let deadline = Instant::now() + Duration::from_secs(10);
        while !changed(&mut changes, Duration::from_millis(300)) {
            assert!(Instant::now() < deadline);
            std::fs::write(directory.join("probe.toml"), "").unwrap();
        }
        for round in 0..20 {
            std::fs::write(directory.join("a.toml"), format!("{round}")).unwrap();
        }
        assert!(changed(&mut changes, Duration::from_secs(10)));
        assert!(
            !changed(&mut changes, QUIET * 3),
            "what comes together is told once"
        );
        std::fs::rename(&directory, above.path().join("old")).unwrap();
        assert!(changed(&mut changes, Duration::from_secs(10)));
        std::fs::create_dir(&directory).unwrap();
        let deadline = Instant::now() + Duration::from_secs(15);
        while !changed(&mut changes, Duration::from_millis(300)) {
            assert!(Instant::now() < deadline, "the new directory is watched");
            std::fs::write(directory.join("b.toml"), "").unwrap();
        }
    }
}
