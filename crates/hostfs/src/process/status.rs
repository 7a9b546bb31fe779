//! Parsers of `/proc/<pid>/stat`, `status`, `schedstat` and `cmdline`: bytes in, the few values that are needed out.

use procfs_core::{FromRead, process::Stat};

use crate::error::Malformed;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessMemory {
    pub hwm_bytes: Option<u64>,
    pub anon_shmem_bytes: Option<u64>,
}

/// The line of `stat`. `procfs-core` trims the line and slices around the parentheses of the name without asking whether they are there.
pub fn stat(bytes: &[u8]) -> Result<Stat, Malformed> {
    let bytes = bytes.trim_ascii();
    if !bytes.is_ascii() {
        // A name may hold any bytes; `?` in their place keeps the offsets true.
        let ascii: Vec<u8> = bytes.iter().map(|byte| if byte.is_ascii() { *byte } else { b'?' }).collect();
        return stat(&ascii);
    }
    let (open, close) = (bytes.iter().position(|byte| *byte == b'('), bytes.iter().rposition(|byte| *byte == b')'));
    let digits_around = [bytes.first(), bytes.last()].iter().all(|byte| byte.is_some_and(u8::is_ascii_digit));
    match (open, close) {
        (Some(open), Some(close)) if digits_around && open >= 2 && open < close && bytes.get(close + 1) == Some(&b' ') => {}
        _ => return Err(Malformed::new("no process name in parentheses")),
    }
    Stat::from_read(bytes).map_err(|error| Malformed::new(error.to_string()))
}

/// `VmHWM`, `RssAnon` and `RssShmem` of `status`; zombies and kernel threads have none of them.
pub fn memory(status: &[u8]) -> Result<ProcessMemory, Malformed> {
    let (mut hwm, mut anon, mut shmem) = (None, None, None);
    for line in status.split(|byte| *byte == b'\n') {
        if let Some(rest) = line.strip_prefix(b"VmHWM:") {
            hwm = Some(kibibytes(rest)?);
        } else if let Some(rest) = line.strip_prefix(b"RssAnon:") {
            anon = Some(kibibytes(rest)?);
        } else if let Some(rest) = line.strip_prefix(b"RssShmem:") {
            shmem = Some(kibibytes(rest)?);
            // The last of the three; most of the file lies behind it.
            break;
        }
    }
    let anon_shmem_bytes = anon.map(|anon: u64| anon.saturating_add(shmem.unwrap_or(0)));
    Ok(ProcessMemory { hwm_bytes: hwm, anon_shmem_bytes })
}

/// The last field of `NSpid` in `status`. `None` before Linux 4.1.
pub fn innermost_pid(status: &[u8]) -> Result<Option<i32>, Malformed> {
    let line = status.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"NSpid:"));
    let Some(line) = line else { return Ok(None) };
    let last = line.rsplit(u8::is_ascii_whitespace).find(|word| !word.is_empty()).unwrap_or_default();
    number(last).and_then(|pid| i32::try_from(pid).ok()).map(Some).ok_or_else(|| Malformed::new("NSpid is not a number"))
}

/// First field of `schedstat`: time on a CPU.
pub fn on_cpu_ns(schedstat: &[u8]) -> Result<u64, Malformed> {
    let first = schedstat.split(u8::is_ascii_whitespace).next().unwrap_or_default();
    number(first).ok_or_else(|| Malformed::new("expected a number"))
}

/// Arguments joined by spaces, cut to `limit` bytes at a character.
pub fn command_line(cmdline: &[u8], limit: usize) -> String {
    let end = cmdline.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    // Cut before decoding: a process may hold megabytes of arguments. A character cut in two is dropped below.
    let head = &cmdline[..end.min(limit.saturating_add(4))];
    let mut line: String =
        String::from_utf8_lossy(head).chars().map(|c| if c == '\0' || c.is_control() { ' ' } else { c }).collect();
    let mut cut = limit.min(line.len());
    while !line.is_char_boundary(cut) {
        cut -= 1;
    }
    line.truncate(cut);
    line
}

fn kibibytes(field: &[u8]) -> Result<u64, Malformed> {
    let value = field.trim_ascii().strip_suffix(b"kB").map(<[u8]>::trim_ascii).and_then(number);
    let bytes = value.and_then(|kib| kib.checked_mul(1024));
    bytes.ok_or_else(|| Malformed::new(format!("expected kilobytes, found {:?}", String::from_utf8_lossy(field))))
}

fn number(digits: &[u8]) -> Option<u64> {
    str::from_utf8(digits).ok()?.parse().ok()
}
