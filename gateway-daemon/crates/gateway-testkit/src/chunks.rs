//! Ways to cut a stream of bytes. A session must not be able to tell them apart.
use std::ops::Range;

/// A small, seeded generator (splitmix64): tests repeat exactly what failed.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Starts from a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    /// The next number.
    pub const fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which must not be 0.
    pub const fn below(&mut self, bound: usize) -> usize {
        (self.roll() % bound as u64) as usize
    }
}

/// Cuts `length` bytes into chunks of at most `size`.
#[must_use]
pub fn by_size(length: usize, size: usize) -> Vec<Range<usize>> {
    (0..length)
        .step_by(size)
        .map(|start| start..(start + size).min(length))
        .collect()
}

/// Cuts `length` bytes once, at each place in turn.
pub fn in_two(length: usize) -> impl Iterator<Item = Vec<Range<usize>>> {
    (1..length).map(move |at| vec![0..at, at..length])
}

/// Cuts `length` bytes into random chunks, many of them short.
#[must_use]
pub fn at_random(length: usize, seed: u64) -> Vec<Range<usize>> {
    let mut dice = Dice::new(seed);
    let mut chunks = Vec::new();
    let mut start = 0;
    while start < length {
        let longest = 1 << dice.below(12);
        let end = (start + 1 + dice.below(longest)).min(length);
        chunks.push(start..end);
        start = end;
    }
    chunks
}

/// A selection that finds most mistakes at bearable cost: whole, byte by byte, small sizes, and
/// `random` random ones; for short streams also every single cut.
pub fn selection(length: usize, random: u64) -> Vec<Vec<Range<usize>>> {
    let mut all: Vec<_> = [length.max(1), 1, 2, 3, 5, 7, 4096]
        .into_iter()
        .map(|size| by_size(length, size))
        .collect();
    all.extend((0..random).map(|seed| at_random(length, seed)));
    if length <= 512 {
        all.extend(in_two(length));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_chunking_covers_the_stream_in_order() {
        for length in [0, 1, 2, 300, 5000] {
            for chunks in selection(length, 5) {
                let mut at = 0;
                for chunk in chunks {
                    assert_eq!(chunk.start, at);
                    assert!(chunk.end > chunk.start);
                    at = chunk.end;
                }
                assert_eq!(at, length);
            }
        }
    }
}
