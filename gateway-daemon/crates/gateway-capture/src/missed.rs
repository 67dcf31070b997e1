//! Runs of the tag programs that the kernel skipped.
//!
//! A tracing program does not run when it interrupts itself on the same CPU; the kernel counts
//! that per program (`recursion_misses`). For a program that writes tags, each is a process that
//! may have none, as after a failed insert.
use crate::error::CaptureError;
use crate::load::Capture;
use crate::object::Object;
use crate::pins::Pins;
use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::{ProgramFd, loaded_programs};
use gateway_common::config::{Config, unsure_since};
use nix::time::{ClockId, clock_gettime};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::Ordering;

/// The programs that write tags. A skipped exit only leaves a stale tag, and a removed cgroup its name:
/// the sweep takes both away.
const TAGGING: [&str; 3] = ["tag_new_task", "report_exec", "judge_new_cgroup"];

/// The programs in force, made by this daemon or by an earlier one.
pub(crate) struct TagPrograms {
    programs: Vec<ProgramFd>,
    /// What was counted when we looked last, and when that was, in nanoseconds since boot.
    seen: u64,
    looked_at: u64,
}

impl TagPrograms {
    pub(crate) fn open(pins: &Pins, object: Object) -> Result<TagPrograms, CaptureError> {
        let fail = |error: &(dyn std::error::Error + 'static)| {
            CaptureError::new("look at the attached programs", error)
        };
        let mut programs = Vec::new();
        for name in TAGGING {
            let link = PinnedLink::from_pin(pins.links(object).join(name)).map_err(|e| fail(&e))?;
            let id = FdLink::from(link)
                .info()
                .map_err(|e| fail(&e))?
                .program_id();
            for program in loaded_programs() {
                let program = program.map_err(|e| fail(&e))?;
                if program.id() == id {
                    programs.push(program.fd().map_err(|e| fail(&e))?);
                    break;
                }
            }
        }
        let mut all = TagPrograms {
            programs,
            seen: 0,
            looked_at: now_ns()?,
        };
        all.seen = all.count()?;
        Ok(all)
    }

    fn count(&self) -> Result<u64, CaptureError> {
        let mut sum = 0;
        for program in &self.programs {
            let path = format!("/proc/self/fdinfo/{}", program.as_fd().as_raw_fd());
            let text = std::fs::read_to_string(&path)
                .map_err(|error| CaptureError::new(format!("read {path}"), &error))?;
            sum += recursion_misses(&text).unwrap_or(0);
        }
        Ok(sum)
    }
}

fn recursion_misses(fdinfo: &str) -> Option<u64> {
    let line = fdinfo
        .lines()
        .find_map(|line| line.strip_prefix("recursion_misses:"))?;
    line.trim().parse().ok()
}

pub(crate) fn now_ns() -> Result<u64, CaptureError> {
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME)
        .map_err(|error| CaptureError::new("read a clock", &error))?;
    Ok(now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64)
}

impl Capture {
    /// Says that the daemon is alive, looks whether tags may be missing, and repairs it. To be
    /// called about once a second. Says how many tags were written.
    ///
    /// # Errors
    /// A map cannot be read or written; to be tried again. Until it succeeds, untagged processes
    /// that are younger than the failure may not connect.
    pub fn watch(&self) -> Result<usize, CaptureError> {
        match self.has_failed()? {
            true => self.repair(),
            false => Ok(0),
        }
    }

    /// The same whether tags are missing or not, after an event [`Kind::Rescan`](crate::Kind::Rescan):
    /// there may be cgroups that the kernel half could not judge.
    ///
    /// # Errors
    /// As [`Capture::watch`].
    pub fn rescan(&self) -> Result<usize, CaptureError> {
        self.has_failed()?;
        self.repair()
    }

    fn has_failed(&self) -> Result<bool, CaptureError> {
        self.write().beat(now_ns()?)?;
        let mut programs = crate::load::lock(&self.tag_programs);
        let (missed, looked_at) = (programs.count()?, now_ns()?);
        if missed != programs.seen {
            self.misses.fetch_add(1, Ordering::AcqRel);
            let mut maps = self.write();
            let config = maps.configuration()?;
            if config.missed_at == 0 {
                maps.configure(Config {
                    missed_at: programs.looked_at,
                    ..config
                })?;
            }
            programs.seen = missed;
        }
        programs.looked_at = looked_at;
        drop(programs);
        let maps = self.read();
        Ok(unsure_since(&maps.configuration()?, &maps.failures()?).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_read_from_the_descriptor() {
        let text = "pos:\t0\nprog_type:\t26\nrun_cnt:\t0\nrecursion_misses:\t17\n";
        assert_eq!(recursion_misses(text), Some(17));
        assert_eq!(recursion_misses("pos:\t0\n"), None);
    }
}
