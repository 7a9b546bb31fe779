//! Parsers of the kernel's cgroup files: bytes in, counters out. Unknown keys are skipped, known ones must be numbers.

use jobmeter_protocol::{CpuCounters, IoCounters};

use crate::error::Malformed;

/// Throttling by the CPU controller, as v1 keeps it in a file of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Throttling {
    pub periods: Option<u64>,
    pub throttled_periods: Option<u64>,
    pub throttled_ns: Option<u64>,
}

/// A file that holds one number.
pub fn number(bytes: &[u8]) -> Result<u64, Malformed> {
    let digits = bytes.trim_ascii();
    digits_to_u64(digits).ok_or_else(|| Malformed::new(format!("expected a number, found {}", excerpt(digits))))
}

/// v2 `cpu.stat`. Without the controller it has the three usages only.
pub fn cpu_stat_v2(bytes: &[u8]) -> Result<CpuCounters, Malformed> {
    let mut usage = None;
    let mut counters = CpuCounters::default();
    for line in lines(bytes) {
        match line.key {
            b"usage_usec" => usage = Some(line.micros()?),
            b"user_usec" => counters.user_ns = Some(line.micros()?),
            b"system_usec" => counters.system_ns = Some(line.micros()?),
            b"nr_periods" => counters.periods = Some(line.number()?),
            b"nr_throttled" => counters.throttled_periods = Some(line.number()?),
            b"throttled_usec" => counters.throttled_ns = Some(line.micros()?),
            _ => {}
        }
    }
    counters.usage_ns = usage.ok_or_else(|| Malformed::new("no usage_usec"))?;
    Ok(counters)
}

/// v1 `cpu.stat`: nanoseconds here.
pub fn cpu_stat_v1(bytes: &[u8]) -> Result<Throttling, Malformed> {
    let mut throttling = Throttling::default();
    for line in lines(bytes) {
        match line.key {
            b"nr_periods" => throttling.periods = Some(line.number()?),
            b"nr_throttled" => throttling.throttled_periods = Some(line.number()?),
            b"throttled_time" => throttling.throttled_ns = Some(line.number()?),
            _ => {}
        }
    }
    Ok(throttling)
}

/// `oom_kill` of v2 `memory.events` (the cgroup and all below it) and of v1 `memory.oom_control` (the cgroup alone).
/// `None` before Linux 4.13.
pub fn oom_kills(bytes: &[u8]) -> Result<Option<u64>, Malformed> {
    lines(bytes).find(|line| line.key == b"oom_kill").map(|line| line.number()).transpose()
}

/// v2 `memory.stat`: `anon` + `shmem`.
pub fn anon_shmem_v2(bytes: &[u8]) -> Result<u64, Malformed> {
    anon_shmem(bytes, b"anon", b"shmem")
}

/// v1 `memory.stat`: the hierarchical `total_rss` (anonymous memory; shmem counts as cache there) + `total_shmem`.
pub fn anon_shmem_v1(bytes: &[u8]) -> Result<u64, Malformed> {
    anon_shmem(bytes, b"total_rss", b"total_shmem")
}

fn anon_shmem(bytes: &[u8], anon_key: &[u8], shmem_key: &[u8]) -> Result<u64, Malformed> {
    let (mut anon, mut shmem) = (None, 0);
    for line in lines(bytes) {
        if line.key == anon_key {
            anon = Some(line.number()?);
        } else if line.key == shmem_key {
            shmem = line.number()?;
        }
    }
    let anon: u64 = anon.ok_or_else(|| Malformed::new(format!("no {}", String::from_utf8_lossy(anon_key))))?;
    Ok(anon.saturating_add(shmem))
}

/// v2 `io.stat`: the sum over all devices.
pub fn io_stat(bytes: &[u8]) -> Result<IoCounters, Malformed> {
    let mut sum = IoCounters::default();
    for line in lines(bytes) {
        for field in line.rest.split(u8::is_ascii_whitespace) {
            if let Some(value) = field.strip_prefix(b"rbytes=") {
                sum.read_bytes = sum.read_bytes.saturating_add(number(value)?);
            } else if let Some(value) = field.strip_prefix(b"wbytes=") {
                sum.written_bytes = sum.written_bytes.saturating_add(number(value)?);
            }
        }
    }
    Ok(sum)
}

/// v1 `blkio.throttle.io_service_bytes_recursive`: `8:0 Read 4096` for each device, then a `Total`.
pub fn blkio_bytes(bytes: &[u8]) -> Result<IoCounters, Malformed> {
    let mut sum = IoCounters::default();
    for line in lines(bytes) {
        let mut words = line.rest.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        let into = match words.next() {
            Some(b"Read") => &mut sum.read_bytes,
            Some(b"Write") => &mut sum.written_bytes,
            _ => continue,
        };
        *into = into.saturating_add(number(words.next().unwrap_or_default())?);
    }
    Ok(sum)
}

/// `*.pressure`: the `total` of its `some` line, in microseconds.
pub fn pressure_some(bytes: &[u8]) -> Result<u64, Malformed> {
    let line = lines(bytes).find(|line| line.key == b"some").ok_or_else(|| Malformed::new("no line for `some`"))?;
    let total = line.rest.split(u8::is_ascii_whitespace).find_map(|field| field.strip_prefix(b"total="));
    number(total.ok_or_else(|| Malformed::new("no total for `some`"))?)
}

/// v2 `cgroup.events`: whether a process is in the cgroup or below it.
pub fn populated(bytes: &[u8]) -> Result<bool, Malformed> {
    let line = lines(bytes).find(|line| line.key == b"populated").ok_or_else(|| Malformed::new("no populated"))?;
    Ok(line.number()? != 0)
}

/// `cgroup.procs`, added to `into`. 0 stands for a process of a PID namespace that cannot be seen from here; it is skipped.
pub fn pids(bytes: &[u8], into: &mut Vec<i32>) -> Result<(), Malformed> {
    for line in lines(bytes) {
        let pid = digits_to_u64(line.key).and_then(|pid| i32::try_from(pid).ok());
        match pid.ok_or_else(|| Malformed::new(format!("expected a pid, found {}", excerpt(line.key))))? {
            0 => {}
            pid => into.push(pid),
        }
    }
    Ok(())
}

struct Line<'a> {
    key: &'a [u8],
    rest: &'a [u8],
}

impl Line<'_> {
    fn number(&self) -> Result<u64, Malformed> {
        digits_to_u64(self.rest.trim_ascii()).ok_or_else(|| {
            let (key, rest) = (String::from_utf8_lossy(self.key), excerpt(self.rest));
            Malformed::new(format!("expected a number for {key}, found {rest}"))
        })
    }

    fn micros(&self) -> Result<u64, Malformed> {
        Ok(self.number()?.saturating_mul(1000))
    }
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = Line<'_>> {
    bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(|line| {
        let end = line.iter().position(|byte| *byte == b' ').unwrap_or(line.len());
        let (key, rest) = line.split_at(end);
        Line { key, rest }
    })
}

fn digits_to_u64(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |sum, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    })
}

fn excerpt(bytes: &[u8]) -> String {
    let end = bytes.len().min(40);
    format!("{:?}", String::from_utf8_lossy(&bytes[..end]))
}

#[cfg(test)]
mod tests;
