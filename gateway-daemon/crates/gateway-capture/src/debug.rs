//! What the programs for debugging say ([`Object::Debug`](crate::Object::Debug)), in this log.
use crate::error::CaptureError;
use aya::Ebpf;
use aya_log::EbpfLogger;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::os::fd::AsFd;
use std::time::Duration;

/// The ring that aya-log writes to. Pinned like the others: after a restart it is still the one
/// that the attached programs know.
pub(crate) const MAP: &str = "AYA_LOGS";

/// The reader of that ring. One thread owns it.
pub struct DebugLog(EbpfLogger<ToTracing>);

impl std::fmt::Debug for DebugLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DebugLog").finish_non_exhaustive()
    }
}

impl DebugLog {
    pub(crate) fn take(ebpf: &mut Ebpf) -> Result<DebugLog, CaptureError> {
        let logger = EbpfLogger::init_with_logger(ebpf, ToTracing);
        let logger = logger.map_err(|error| CaptureError::new("open the map AYA_LOGS", &error))?;
        Ok(DebugLog(logger))
    }

    /// Passes on what was said, and waits for more, for this long at most. What finds the ring
    /// full is lost, without a word.
    pub fn pass_on(&mut self, at_most: Duration) {
        let timeout = PollTimeout::try_from(at_most).unwrap_or(PollTimeout::MAX);
        let _ = poll(
            &mut [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)],
            timeout,
        );
        self.0.flush();
    }
}

/// aya-log speaks to the crate `log`, the daemon to `tracing`.
struct ToTracing;

impl log::Log for ToTracing {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        tracing::info!(target: "kernel", "{}", record.args());
    }

    fn flush(&self) {}
}
