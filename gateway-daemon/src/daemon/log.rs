//! What the daemon says: to stderr, by tracing, never a statement and never a value.
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// `GATEWAY_LOG` filters, as in `info` or `gateway_proxy=debug`.
pub(super) fn init() {
    let filter = EnvFilter::try_from_env("GATEWAY_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(true);
    // Set already only in a test that runs two daemons in one process.
    let _ = subscriber.try_init();
}
