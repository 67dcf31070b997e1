//! A test that cannot run here says so by name; it never passes in silence.
use std::fs::OpenOptions;
use std::io::Write;

/// Where `cargo xtask test` collects the skipped tests. Without it, a test that cannot run fails.
pub const SKIPS: &str = "GATEWAY_SKIPS";

/// Notes that this test cannot run on this host.
///
/// # Panics
/// Nobody collects the notes: then a skipped test would look like a passed one.
pub fn skip(reason: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test").to_owned();
    let noted = std::env::var_os(SKIPS).is_some_and(|path| {
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .and_then(|mut file| writeln!(file, "{test}: {reason}"))
            .is_ok()
    });
    assert!(noted, "{test} cannot run here: {reason}");
}
