//! What a CPU remembers of the last cgroup that no policy names: one word, since whoever reads it may
//! come while it is written.

/// Cgroup ids below this are remembered: they are inode numbers, counted up from 1.
const CGROUP_BITS: u32 = 44;
/// Times are told apart as long as they are fewer than this.
const NAMINGS_MAX: u64 = 1 << (u64::BITS - CGROUP_BITS);

/// A cgroup that was free when the daemon had named cgroups so many times; 0: it cannot be remembered.
/// Different ones have different words.
#[must_use]
#[inline(always)]
pub const fn word(cgroup: u64, namings: u64) -> u64 {
    if cgroup >> CGROUP_BITS != 0 || namings >= NAMINGS_MAX {
        return 0;
    }
    namings << CGROUP_BITS | cgroup
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_ones_have_different_words_or_none() {
        let cgroups = [1, 2, (1 << CGROUP_BITS) - 1];
        let namings = [0, 1, 2, NAMINGS_MAX - 1];
        let both = cgroups.map(|cgroup| namings.map(|naming| word(cgroup, naming)));
        for (at, one) in both.as_flattened().iter().enumerate() {
            assert_ne!(*one, 0);
            assert!(!both.as_flattened()[..at].contains(one), "{one:x}");
        }
    }

    #[test]
    fn what_does_not_fit_is_not_remembered() {
        assert_eq!(word(1 << CGROUP_BITS, 1), 0);
        assert_eq!(word(1, NAMINGS_MAX), 0);
        assert_eq!(word(u64::MAX, u64::MAX), 0);
    }
}
