//! What this process itself costs.

use std::fs;

use nix::{
    sys::{
        resource::{Resource, UsageWho, getrlimit, getrusage},
        time::TimeValLike,
    },
    unistd::{SysconfVar, sysconf},
};

use crate::{HostRoot, ReadError, error::Malformed, file, machine};

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SelfUsage {
    pub cpu_seconds: f64,
    pub resident_bytes: u64,
    pub virtual_bytes: u64,
    pub threads: u64,
    pub open_descriptors: u64,
    pub max_descriptors: Option<u64>,
    /// Seconds since the epoch.
    pub started_seconds: f64,
}

pub fn read(host: &HostRoot) -> Result<SelfUsage, ReadError> {
    let process = host.proc.join("self");
    let path = process.join("stat");
    let line = file::text(&path)?;
    // The name may hold spaces and parentheses: fields are counted from behind it, the state being the third of `stat`.
    let fields: Vec<&str> = line.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let field = |number: usize| {
        let value = fields.get(number - 3).and_then(|value| value.parse::<u64>().ok());
        value.ok_or_else(|| Malformed::new(format!("field {number} is not a number")).at(&path))
    };
    let page = sysconf(SysconfVar::PAGE_SIZE).ok().flatten().and_then(|page| u64::try_from(page).ok()).unwrap_or(4096);
    let descriptors = process.join("fd");
    let open = fs::read_dir(&descriptors).map_err(|source| ReadError::Io { path: descriptors, source })?.count();
    let ticks = machine::clock_ticks().max(1);
    let usage =
        getrusage(UsageWho::RUSAGE_SELF).map_err(|errno| ReadError::Io { path: process.clone(), source: errno.into() })?;
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    let started = machine::boot_time(host)?.as_second() as f64 + field(22)? as f64 / ticks as f64;
    Ok(SelfUsage {
        cpu_seconds: micros as f64 / 1e6,
        resident_bytes: field(24)?.saturating_mul(page),
        virtual_bytes: field(23)?,
        threads: field(20)?,
        // The listing itself holds one open.
        open_descriptors: u64::try_from(open).unwrap_or(u64::MAX).saturating_sub(1),
        max_descriptors: getrlimit(Resource::RLIMIT_NOFILE).ok().map(|(soft, _hard)| soft),
        started_seconds: started,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_costs_something() {
        let usage = read(&HostRoot::local()).unwrap();
        assert!(usage.cpu_seconds > 0.0 && usage.resident_bytes > 1 << 20 && usage.virtual_bytes > usage.resident_bytes);
        assert!(usage.threads >= 1 && usage.open_descriptors >= 3);
        let age = jiff::Timestamp::now().as_second() as f64 - usage.started_seconds;
        assert!((-2.0..3600.0).contains(&age), "{age}");
    }
}
