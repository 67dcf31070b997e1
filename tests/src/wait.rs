//! Waiting for the thing itself, never for a time.
use anyhow::{Result, bail};
use std::time::{Duration, Instant};

/// How often is looked.
const STEP: Duration = Duration::from_millis(5);

/// Looks until there is something, for at most `limit`.
///
/// # Errors
/// It did not come in time; `what` says what was waited for.
pub fn until<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Option<T>) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = look() {
            return Ok(found);
        }
        if Instant::now() >= deadline {
            bail!("waited {} s in vain: {what}", limit.as_secs_f32());
        }
        std::thread::sleep(STEP);
    }
}

/// Waits until something is so.
///
/// # Errors
/// It did not become so in time.
pub fn until_true(what: &str, limit: Duration, mut look: impl FnMut() -> bool) -> Result<()> {
    until(what, limit, || look().then_some(()))
}
