//! The memory of one turn, shared by all sessions of a thread: a session that waits owns none.
//!
//! Thread-local, and no state: what is in it never outlives a turn, and a turn sees only what it
//! read itself. It is taken out while in use, so a session that panics loses it and nobody else
//! sees what it left behind.
use super::turn::Outputs;
use std::cell::Cell;

/// How much is read at once. On loopback, bulk transfer does not become faster above this.
pub(super) const INPUT_BYTES: usize = 128 * 1024;

/// Input and output of one turn.
#[derive(Debug)]
pub(super) struct Scratch {
    pub(super) input: Box<[u8]>,
    pub(super) outputs: Outputs,
}

thread_local! {
    static SCRATCH: Cell<Option<Box<Scratch>>> = const { Cell::new(None) };
}

/// Lends the thread's scratch memory.
pub(super) fn lend<R>(borrower: impl FnOnce(&mut Scratch) -> R) -> R {
    let idle = SCRATCH.try_with(Cell::take).ok().flatten();
    let mut scratch = idle.unwrap_or_else(|| {
        let input = vec![0; INPUT_BYTES].into_boxed_slice();
        Box::new(Scratch {
            input,
            outputs: Outputs::default(),
        })
    });
    let result = borrower(&mut scratch);
    let _ = SCRATCH.try_with(|cell| cell.set(Some(scratch)));
    result
}
