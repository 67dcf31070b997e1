//! What the kernel half counts, per CPU.

/// Packets of governed sockets that the backstop dropped. 0 unless somebody tries to get out.
pub const BACKSTOP_DROPS: u32 = 0;
/// Events that found the ring full.
pub const EVENTS_LOST: u32 = 1;
/// Tags that could not be written; each one killed the forking process.
pub const TAGS_FAILED: u32 = 2;
/// Connections that were refused since no marked listener was there: the daemon is down.
pub const REFUSED_DOWN: u32 = 3;
/// Connections, sockets and datagrams that were refused for what they are.
pub const REFUSED: u32 = 4;
/// Connections that were redirected.
pub const REDIRECTED: u32 = 5;
/// Connections that passed uninspected, since their policy does not enforce.
pub const PASSED: u32 = 6;
/// Cgroups whose path could not be matched in the kernel.
pub const CGROUPS_UNMATCHED: u32 = 7;
/// Packets of strangers that what governed processes listen on did not get.
pub const INBOUND_DROPS: u32 = 8;
/// How many counters there are.
pub const COUNT: u32 = 9;
