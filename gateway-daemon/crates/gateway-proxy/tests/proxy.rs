//! The proxy over real sockets on loopback. What stands behind its ports comes from the testkit.
#[path = "proxy/hold.rs"]
mod hold;
#[path = "proxy/life.rs"]
mod life;
#[path = "proxy/path.rs"]
mod path;
#[path = "proxy/questions.rs"]
mod questions;
#[path = "proxy/streams.rs"]
mod streams;
#[path = "proxy/support.rs"]
mod support;
