//! The kernel's clock, which counts from the boot, and the wall clock.
use gateway_core::Timestamp;
use nix::time::{ClockId, clock_gettime};

/// Nanoseconds since boot, suspended time included: the clock of the kernel half.
pub(crate) fn since_boot() -> u64 {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(0, |time| {
        let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
        let nanos = u64::try_from(time.tv_nsec()).unwrap_or(0);
        seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
    })
}

/// The wall clock's time of a moment after boot.
pub(crate) fn at(since_boot_ns: u64) -> Timestamp {
    let now = crate::terminal::moment::now();
    Timestamp(
        now.0
            .saturating_sub(since_boot().saturating_sub(since_boot_ns)),
    )
}
