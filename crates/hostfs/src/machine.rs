//! Facts of the machine that accounting needs: boot, kernel, clock, size.

use jiff::Timestamp;
use nix::unistd::{SysconfVar, sysconf};

use crate::{HostRoot, ReadError, error::Malformed, file};

/// A new one at every boot, even in a virtual machine that is reset.
pub fn boot_id(host: &HostRoot) -> Result<String, ReadError> {
    file::text(&host.proc.join("sys/kernel/random/boot_id"))
}

pub fn kernel_release(host: &HostRoot) -> Result<String, ReadError> {
    file::text(&host.proc.join("sys/kernel/osrelease"))
}

/// Units of `utime`, `stime` and `starttime` for each second: 100 on every Linux there is.
pub fn clock_ticks() -> u64 {
    let ticks = sysconf(SysconfVar::CLK_TCK).ok().flatten();
    ticks.and_then(|ticks| u64::try_from(ticks).ok()).unwrap_or(100)
}

/// CPUs that are online.
pub fn cpu_count(host: &HostRoot) -> Result<u32, ReadError> {
    let path = host.proc.join("stat");
    let text = file::text(&path)?;
    let cpus =
        text.lines().filter(|line| line.strip_prefix("cpu").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit())));
    u32::try_from(cpus.count()).map_err(|_too_many| Malformed::new("too many CPUs").at(path))
}

pub fn memory_total(host: &HostRoot) -> Result<u64, ReadError> {
    let path = host.proc.join("meminfo");
    let text = file::text(&path)?;
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    total.and_then(|kib| kib.checked_mul(1024)).ok_or_else(|| Malformed::new("no MemTotal").at(path))
}

/// When the machine started, to the second; with `start_ticks` it tells when a process started.
pub fn boot_time(host: &HostRoot) -> Result<Timestamp, ReadError> {
    let path = host.proc.join("stat");
    let text = file::text(&path)?;
    let seconds = text.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse::<i64>().ok());
    let time = seconds.and_then(|seconds| Timestamp::from_second(seconds).ok());
    time.ok_or_else(|| Malformed::new("no btime").at(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_can_be_told() {
        let host = HostRoot::local();
        assert_eq!(boot_id(&host).unwrap().len(), 36);
        assert!(kernel_release(&host).unwrap().contains('.'));
        assert_eq!(cpu_count(&host).unwrap() as usize, std::thread::available_parallelism().unwrap().get());
        assert!(memory_total(&host).unwrap() > 64 << 20);
        assert!(boot_time(&host).unwrap() < Timestamp::now());
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = boot_id(&HostRoot::at("/nowhere")).unwrap_err();
        assert_eq!(error.to_string(), "failed to read /nowhere/proc/sys/kernel/random/boot_id");
    }
}
