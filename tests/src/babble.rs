//! Output that a test can foretell: pseudo-random lines from a seed. Inputs: a seed, sometimes a size. Output: text. The
//! program `babble` prints it in a pod; the test makes it anew and compares.

use std::io::{self, Read, Write};

use anyhow::{Context, Result, ensure};

/// First byte of each line, so that what two streams interleaved can be told apart again.
const STDOUT: u8 = b'o';
const STDERR: u8 = b'e';
/// One line of so many is longer than the piece (16 KiB) in which runtimes write.
const LONG_EVERY: u64 = 64;
const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 .";

/// What a stream of a seed says: lines of some to 4,097 bytes, few of 40,000, to the last byte of its size.
#[derive(Clone, Debug)]
pub struct Babble {
    state: u64,
    mark: u8,
    left: u64,
    line: Vec<u8>,
    given: usize,
}

impl Babble {
    pub fn stdout(seed: &str, bytes: u64) -> Self {
        Self::new(seed, STDOUT, bytes)
    }

    /// The two streams of a small job: each up to 64 KiB, seldom empty.
    pub fn both(seed: &str) -> (Self, Self) {
        let size = |salt: u64| scramble(hash(seed) ^ salt) % (32 << 10) * 2;
        (Self::new(seed, STDOUT, size(1)), Self::new(seed, STDERR, size(2)))
    }

    fn new(seed: &str, mark: u8, bytes: u64) -> Self {
        Self { state: hash(seed) ^ u64::from(mark), mark, left: bytes, line: Vec::new(), given: 0 }
    }

    /// The next line; `None` at the end.
    pub fn line(&mut self) -> Option<&[u8]> {
        self.line.clear();
        if self.left == 0 {
            return None;
        }
        let wish = self.next();
        let wish = if wish.is_multiple_of(LONG_EVERY) { 40_000 } else { 2 + wish / LONG_EVERY % 4_096 };
        // A line has room for its mark and its end: nothing is left over for one of a single byte.
        let length = if wish + 1 < self.left { wish } else { self.left };
        self.left -= length;
        let length = usize::try_from(length).ok()?;
        self.line.push(self.mark);
        while self.line.len() < length {
            let mut bits = self.next();
            for _ in 0..10 {
                self.line.push(LETTERS[(bits & 63) as usize]);
                bits >>= 6;
            }
        }
        self.line.truncate(length.saturating_sub(1));
        self.line.push(b'\n');
        Some(&self.line)
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        scramble(self.state)
    }
}

impl Read for Babble {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.given == self.line.len() {
            self.given = 0;
            if self.line().is_none() {
                return Ok(0);
            }
        }
        let rest = &self.line[self.given..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.given += count;
        Ok(count)
    }
}

/// Prints both streams of a small job, line by line in turn.
pub fn print_both(seed: &str) -> io::Result<()> {
    let (mut out, mut err) = Babble::both(seed);
    let (mut stdout, mut stderr) = (io::stdout().lock(), io::stderr().lock());
    loop {
        let said = out.line().map(|line| stdout.write_all(line)).transpose()?;
        let warned = err.line().map(|line| stderr.write_all(line)).transpose()?;
        if said.or(warned).is_none() {
            return stdout.flush();
        }
    }
}

/// Two pipes have no order between them; each for itself must be there whole, and nothing else.
pub fn compare_both(seed: &str, log: &[u8]) -> Result<()> {
    let (mut out, mut err) = Babble::both(seed);
    for (number, line) in log.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let stream = match line.first() {
            Some(&STDERR) => &mut err,
            _ => &mut out,
        };
        ensure!(stream.line() == Some(line), "line {} of the log of {seed} is not what it printed", number + 1);
    }
    ensure!(out.line().is_none() && err.line().is_none(), "the log of {seed} ends early, after {} bytes", log.len());
    Ok(())
}

/// Byte for byte, however long.
pub fn compare(mut truth: impl Read, mut log: impl Read) -> Result<u64> {
    let (mut expected, mut found) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    let mut same = 0;
    loop {
        let (wanted, had) = (fill(&mut truth, &mut expected)?, fill(&mut log, &mut found)?);
        let equal = expected[..wanted].iter().zip(&found[..had]).take_while(|(left, right)| left == right).count();
        same += equal as u64;
        ensure!(equal == wanted && equal == had, "the log differs from what was printed at byte {same}");
        if wanted == 0 {
            return Ok(same);
        }
    }
}

fn fill(from: &mut impl Read, buffer: &mut [u8]) -> Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match from.read(&mut buffer[filled..]).context("failed to read a log")? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(filled)
}

fn hash(seed: &str) -> u64 {
    seed.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The finaliser of splitmix64.
const fn scramble(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_lost_a_doubled_and_a_changed_line_are_all_found() {
        let seed = "seed";
        let whole = {
            let (mut out, mut err) = Babble::both(seed);
            let mut whole = Vec::new();
            out.read_to_end(&mut whole).unwrap();
            err.read_to_end(&mut whole).unwrap();
            whole
        };
        let lines: Vec<&[u8]> = whole.split_inclusive(|byte| *byte == b'\n').collect();
        assert!(lines.len() > 4);
        compare_both(seed, &whole).unwrap();
        compare_both(seed, &lines[1..].concat()).unwrap_err();
        compare_both(seed, &lines[..lines.len() - 1].concat()).unwrap_err();
        compare_both(seed, &[lines[0], &whole].concat()).unwrap_err();
        compare_both("other", &whole).unwrap_err();
    }

    #[test]
    fn sizes_are_exact_and_streams_end_with_a_newline() {
        for bytes in [0, 1, 2, 4_096, 100_000] {
            let mut text = Vec::new();
            Babble::stdout("x", bytes).read_to_end(&mut text).unwrap();
            assert_eq!(text.len() as u64, bytes);
            assert!(text.last().is_none_or(|byte| *byte == b'\n'));
            assert_eq!(compare(Babble::stdout("x", bytes), text.as_slice()).unwrap(), bytes);
        }
        compare(Babble::stdout("x", 10), Babble::stdout("x", 20)).unwrap_err();
    }
}
