//! `gateway uninstall`: the one command that detaches the programs. It asks nothing, works with
//! the daemon alive, hung or dead, and can be repeated.
use super::refuse_governed;
use crate::config::Config;
use crate::daemon::state::{State, Taken, take};
use crate::exit::{Exit, Failure};
use crate::terminal::screen::print;
use crate::wiring::cgroups;
use gateway_capture::CaptureError;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long the daemon may take beyond its drain time.
const END_TIME_MORE: Duration = Duration::from_secs(5);
/// How long a killed process may take to be gone.
const KILL_TIME_MAX: Duration = Duration::from_secs(10);
/// How often its lock is tried.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Removes what the gateway put into the kernel. The journal stays.
pub(crate) fn uninstall(config: &Config) -> Result<Exit, Failure> {
    if !nix::unistd::geteuid().is_root() {
        return Err(Failure::not_permitted(
            "gateway uninstall has to be started by root",
        ));
    }
    // Nobody frees themselves while the daemon lives.
    refuse_governed(config)?;
    // Held to the end, so that no daemon starts in between.
    let lock = stop_daemon(config)?;
    let detached = gateway_capture::uninstall(&config.bpffs_dir).map_err(|error| match error {
        CaptureError::NotPermitted { .. } => Failure::not_permitted(error.to_string()),
        error => Failure::no(error.to_string()),
    })?;
    let left = remove_cgroups(config);
    let socket = &config.control_socket;
    if gateway_control::socket::listening_pid(socket).is_none() {
        remove_stale_socket(config)?;
    }
    drop(lock);
    for place in &left {
        eprintln!("gateway: {} could not be removed", place.display());
    }
    print(if detached {
        "detached: nothing is governed any more; the journal is kept"
    } else {
        "nothing was attached; the journal is kept"
    })?;
    Ok(if left.is_empty() {
        Exit::Done
    } else {
        Exit::No
    })
}

/// Ends the daemon that holds the state directory. `None`: there is no state directory.
fn stop_daemon(config: &Config) -> Result<Option<Taken>, Failure> {
    if !config.state_dir.is_dir() {
        return Ok(None);
    }
    let drain = config.limits.drain + END_TIME_MORE;
    for (signal, patience) in [(Signal::SIGTERM, drain), (Signal::SIGKILL, KILL_TIME_MAX)] {
        let deadline = Instant::now() + patience;
        let mut told = None;
        loop {
            let pid = match take(&config.state_dir)? {
                held @ Taken::Held(_) => return Ok(Some(held)),
                Taken::By(pid) => pid,
            };
            // The lock proves that who wrote its pid lives; 0 is a daemon that has not written yet.
            if pid != 0 && told != Some(pid) {
                told = Some(pid);
                let pid = i32::try_from(pid).map(Pid::from_raw);
                if let Ok(pid) = pid {
                    let _ = kill(pid, signal);
                }
            }
            if Instant::now() >= deadline {
                break;
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }
    Err(Failure::no("the daemon does not end, not even when killed"))
}

fn remove_cgroups(config: &Config) -> Vec<PathBuf> {
    let remembered = State::runs(&config.state_dir);
    let base = remembered.or_else(|| {
        let root = gateway_capture::cgroup::Root::open(config.cgroup_root.as_deref()).ok()?;
        Some((root.directory.join("gateway"), false))
    });
    base.map_or_else(Vec::new, |(base, keep)| cgroups::uninstall(&base, keep))
}

fn remove_stale_socket(config: &Config) -> Result<(), Failure> {
    use std::os::unix::fs::FileTypeExt;
    let path = &config.control_socket;
    let is_socket =
        std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    if is_socket {
        std::fs::remove_file(path)?;
    }
    Ok(())
}
