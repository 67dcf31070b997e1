//! How long the gateway takes itself, told to whoever counts.
use std::fmt;
use std::time::Duration;

/// Is told how long the gateway kept bytes. Called on the way of every operation: it must neither
/// wait nor allocate.
pub trait Meter: Send + Sync + fmt::Debug {
    /// Between the arrival of bytes with operations that were cleared, and the moment when they
    /// could go on. One call for all operations that came at once.
    fn cleared(&self, took: Duration);

    /// The same for bytes of answers that were searched, or in which values were covered.
    fn masked(&self, took: Duration);
}

/// Where nobody counts.
#[derive(Clone, Copy, Debug)]
pub struct Unmetered;

impl Meter for Unmetered {
    fn cleared(&self, _: Duration) {}

    fn masked(&self, _: Duration) {}
}
