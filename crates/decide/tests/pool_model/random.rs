//! Chance that comes out the same for the same seed.

pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `end`, which is above `start`.
    pub(crate) fn within(&mut self, start: u64, end: u64) -> u64 {
        start + self.next() % (end - start)
    }

    /// So many of a thousand.
    pub(crate) fn permille(&mut self, chance: u32) -> bool {
        self.within(0, 1000) < u64::from(chance)
    }

    pub(crate) fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        if of.is_empty() { None } else { of.get(self.within(0, of.len() as u64) as usize) }
    }
}
