//! Prints pseudo-random lines that a test can foretell, as fast as it can: see `jobmeter_tests::babble`.
//!
//! `babble SEED` prints a little to stdout and to stderr; `babble SEED BYTES` so many bytes to stdout.

use std::io::{self, BufWriter, Write};

use anyhow::Context;
use jobmeter_tests::babble::{Babble, print_both};

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let seed = arguments.next().context("babble wants a seed")?;
    let Some(bytes) = arguments.next() else {
        return Ok(print_both(&seed)?);
    };
    let mut out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    let mut babble = Babble::stdout(&seed, bytes.parse()?);
    while let Some(line) = babble.line() {
        out.write_all(line)?;
    }
    Ok(out.flush()?)
}
