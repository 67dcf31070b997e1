//! Covers sensitive values ([`Cover`]), and finds them within any text.
//!
//! What a value becomes is a function of the value and of a [`Key`] alone, so equal values stay
//! equal where a mask says `hash`, over connections and restarts, and nobody without the key can
//! try values out. Values and texts are bytes from the wire: nothing here takes more than linear
//! time over them, and nothing keeps them.
//!
//! The detectors are functions of our own and no regular expressions: half of them have check
//! digits, which no expression can say, and each is held to linear time on texts that were made to
//! be slow. They find values as people and programs write them. Whoever wants to take a value past
//! them can spell it backwards; what must not get out is named by its field.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

mod cover;
mod detect;
mod find;
pub mod key;
mod spelling;

#[cfg(test)]
mod tests;

pub use cover::{Cover, REDACTED};
pub use key::{Key, KeyError};
