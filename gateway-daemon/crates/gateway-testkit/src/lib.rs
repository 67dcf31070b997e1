//! Stand-ins for the gateway's ports, and the tools that tests of sessions and of the proxy need.
//! A dev-dependency only: it panics where a test should fail.
//!
//! - [`judge`], [`recorder`], [`approver`], [`capture`]: what stands behind the ports.
//! - [`driver`]: runs a session without sockets, over any chunking of [`chunks`].
//! - [`sockets`], [`upstream`]: real sockets on loopback, and a server that plays a script.
pub mod approver;
pub mod capture;
pub mod chunks;
pub mod driver;
pub mod encryption;
pub mod judge;
pub mod masker;
pub mod masks;
pub mod recorder;
pub mod samples;
pub mod sockets;
pub mod upstream;

pub use approver::FakeApprover;
pub use capture::{FixedAttribution, FixedCapture, ManualClock};
pub use driver::SessionDriver;
pub use encryption::NoEncryption;
pub use judge::FakeJudge;
pub use masker::PlainMasker;
pub use masks::FakeMasks;
pub use recorder::{MemoryRecorder, OperationRow};
pub use upstream::{Step, Upstream};
