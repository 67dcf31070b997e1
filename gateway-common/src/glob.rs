//! Cgroup paths against the globs of all policies, in one pass over the path.
//!
//! The daemon compiles all globs into one deterministic automaton; the kernel half walks it when a
//! cgroup is made. A path is taken without its leading slash; the root is the empty path.

/// How many states the automaton may have.
pub const STATES: usize = 1024;
/// How many classes of bytes it may tell apart.
pub const CLASSES: usize = 128;
/// The longest path that the kernel half judges by itself, in bytes.
pub const PATH_MAX: usize = 1024;
/// The answer of [`Table::slot`] for a path that no policy names.
pub const NO_SLOT: u32 = u32::MAX;
/// The slot of a cgroup of which the kernel half cannot say which policy names it, until the daemon has.
pub const UNJUDGED: u32 = u32::MAX - 1;

/// The automaton. State 0 is dead, state 1 is the start.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// The class of each byte.
    pub class: [u8; 256],
    /// `next[state * CLASSES + class]`.
    pub next: [u16; STATES * CLASSES],
    /// One more than the policy slot of a path that ends in this state; 0 for none, so that a
    /// table that was never written, which is all zero, governs nothing.
    pub accept: [u32; STATES],
}

/// The state before the first byte.
pub const START: u16 = 1;

impl Table {
    /// The state after one more byte.
    #[must_use]
    #[inline(always)]
    pub const fn step(&self, state: u16, byte: u8) -> u16 {
        let class = self.class[byte as usize] as usize & (CLASSES - 1);
        self.next[(state as usize & (STATES - 1)) * CLASSES + class]
    }

    /// The policy slot of a path that ended in this state, or [`NO_SLOT`].
    #[must_use]
    #[inline(always)]
    pub const fn slot(&self, state: u16) -> u32 {
        self.accept[state as usize & (STATES - 1)].wrapping_sub(1)
    }

    /// Judges a whole path, without its leading slash.
    #[must_use]
    pub fn judge(&self, path: &[u8]) -> u32 {
        let mut state = START;
        for &byte in path {
            state = self.step(state, byte);
        }
        self.slot(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_was_never_written_governs_nothing() {
        let table = Table {
            class: [0; 256],
            next: [0; STATES * CLASSES],
            accept: [0; STATES],
        };
        assert_eq!(table.judge(b""), NO_SLOT);
        assert_eq!(table.judge(b"system.slice/anything.service"), NO_SLOT);
    }
}
