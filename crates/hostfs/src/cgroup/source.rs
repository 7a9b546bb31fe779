//! Which file of which hierarchy tells what, and how what they say becomes one [`Reading`].

use jiff::Timestamp;
use jobmeter_protocol::{CpuCounters, IoCounters, MemoryCounters, PressureCounters, Reading};

use super::parse::{self, Throttling};
use crate::error::Malformed;

/// One accounting file of a cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    CpuacctUsage,
    CpuacctUser,
    CpuacctSystem,
    CpuStatV1,
    MaxUsage,
    OomControl,
    BlkioBytes,
    CpuStat,
    MemoryPeak,
    SwapPeak,
    MemoryEvents,
    IoStat,
    /// The same file on both versions; v1 has it since 6.12 or so, v2 since 6.1.
    PidsPeak,
    CpuPressure,
    MemoryPressure,
    IoPressure,
}

/// A reading in the making.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Draft {
    usage_ns: Option<u64>,
    user_ns: Option<u64>,
    system_ns: Option<u64>,
    throttling: Throttling,
    peak: Option<u64>,
    swap_peak: Option<u64>,
    oom_kills: Option<u64>,
    pids_peak: Option<u64>,
    io: Option<IoCounters>,
    pressure: PressureCounters,
    any: bool,
}

impl Source {
    /// What v1's `cpuacct`, `cpu`, `memory`, `pids` and `blkio` have; in the order of how soon it must be read.
    pub(super) const CPUACCT: [Self; 3] = [Self::CpuacctUsage, Self::CpuacctUser, Self::CpuacctSystem];
    pub(super) const MEMORY_V1: [Self; 2] = [Self::MaxUsage, Self::OomControl];
    pub(super) const UNIFIED: [Self; 6] =
        [Self::CpuStat, Self::MemoryPeak, Self::MemoryEvents, Self::SwapPeak, Self::PidsPeak, Self::IoStat];
    pub(super) const PRESSURE: [Self; 3] = [Self::CpuPressure, Self::MemoryPressure, Self::IoPressure];

    pub const fn file_name(self) -> &'static str {
        match self {
            Self::CpuacctUsage => "cpuacct.usage",
            Self::CpuacctUser => "cpuacct.usage_user",
            Self::CpuacctSystem => "cpuacct.usage_sys",
            Self::CpuStatV1 | Self::CpuStat => "cpu.stat",
            Self::MaxUsage => "memory.max_usage_in_bytes",
            Self::OomControl => "memory.oom_control",
            Self::BlkioBytes => "blkio.throttle.io_service_bytes_recursive",
            Self::MemoryPeak => "memory.peak",
            Self::SwapPeak => "memory.swap.peak",
            Self::MemoryEvents => "memory.events",
            Self::IoStat => "io.stat",
            Self::PidsPeak => "pids.peak",
            Self::CpuPressure => "cpu.pressure",
            Self::MemoryPressure => "memory.pressure",
            Self::IoPressure => "io.pressure",
        }
    }
}

impl Draft {
    pub(super) fn absorb(&mut self, source: Source, bytes: &[u8]) -> Result<(), Malformed> {
        // Set before parsing: a malformed file is still a sign that the cgroup is there.
        self.any = true;
        match source {
            Source::CpuacctUsage => self.usage_ns = Some(parse::number(bytes)?),
            Source::CpuacctUser => self.user_ns = Some(parse::number(bytes)?),
            Source::CpuacctSystem => self.system_ns = Some(parse::number(bytes)?),
            Source::CpuStatV1 => self.throttling = parse::cpu_stat_v1(bytes)?,
            Source::CpuStat => self.absorb_cpu(parse::cpu_stat_v2(bytes)?),
            Source::MaxUsage | Source::MemoryPeak => self.peak = Some(parse::number(bytes)?),
            Source::SwapPeak => self.swap_peak = Some(parse::number(bytes)?),
            Source::OomControl | Source::MemoryEvents => self.oom_kills = parse::oom_kills(bytes)?,
            Source::PidsPeak => self.pids_peak = Some(parse::number(bytes)?),
            Source::IoStat => self.io = Some(parse::io_stat(bytes)?),
            Source::BlkioBytes => self.io = Some(parse::blkio_bytes(bytes)?),
            Source::CpuPressure => self.pressure.cpu_some_us = Some(parse::pressure_some(bytes)?),
            Source::MemoryPressure => self.pressure.memory_some_us = Some(parse::pressure_some(bytes)?),
            Source::IoPressure => self.pressure.io_some_us = Some(parse::pressure_some(bytes)?),
        }
        Ok(())
    }

    fn absorb_cpu(&mut self, cpu: CpuCounters) {
        (self.usage_ns, self.user_ns, self.system_ns) = (Some(cpu.usage_ns), cpu.user_ns, cpu.system_ns);
        let CpuCounters { periods, throttled_periods, throttled_ns, .. } = cpu;
        self.throttling = Throttling { periods, throttled_periods, throttled_ns };
    }

    /// `None`: not one file was there, so neither is the cgroup.
    pub(super) fn finish(self, at: Timestamp) -> Option<Reading> {
        let Throttling { periods, throttled_periods, throttled_ns } = self.throttling;
        let (user_ns, system_ns) = (self.user_ns, self.system_ns);
        let cpu =
            self.usage_ns.map(|usage_ns| CpuCounters { usage_ns, user_ns, system_ns, throttled_ns, throttled_periods, periods });
        let memory = MemoryCounters { peak_bytes: self.peak, swap_peak_bytes: self.swap_peak, oom_kills: self.oom_kills };
        self.any.then_some(Reading {
            at,
            cpu,
            memory: (memory != MemoryCounters::default()).then_some(memory),
            pids_peak: self.pids_peak,
            io: self.io,
            pressure: (self.pressure != PressureCounters::default()).then_some(self.pressure),
        })
    }
}
