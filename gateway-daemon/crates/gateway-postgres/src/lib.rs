//! The PostgreSQL protocol: messages, their order, and what each statement does.
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

pub mod interpret;
