//! What to request next time, from what the pods of one job were seen to use. Requests are per pod, so the largest pod counts.
//!
//! In: records. Out: [`Advice`], data with its reasons; `jobmeter eff` turns it into sentences. Three promises hold for every
//! input: a request for memory is never below the cache-free peak, nor below the watermark unless page cache is shown to
//! dominate it; a limit is never below the watermark; a request for CPU is never below the cores in use on average.

mod cpu;
mod memory;
mod seen;

use jobmeter_protocol::{Method, Record};
use serde::Serialize;

pub use self::cpu::CpuWhy;
pub use self::memory::MemoryWhy;

use self::seen::Seen;

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Advice {
    /// Bytes.
    pub memory: Suggestion<MemoryWhy>,
    /// Millicores.
    pub cpu: Suggestion<CpuWhy>,
    /// Why not to trust it blindly.
    pub cautions: Vec<Caution>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Suggestion<W> {
    pub request: Proposal,
    /// Whoever sets a limit should not set it lower.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_at_least: Option<u64>,
    pub why: W,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Proposal {
    /// Nothing can be said.
    Nothing,
    Keep {
        now: u64,
    },
    Raise {
        from: u64,
        to: u64,
    },
    Lower {
        from: u64,
        to: u64,
    },
    /// There is no request yet.
    Set {
        to: u64,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(tag = "caution", rename_all = "snake_case")]
pub enum Caution {
    /// What a longer run would need was not seen.
    ShortRun { elapsed_seconds: f64 },
    /// A figure that the advice rests on is a lower bound.
    LowerBound { what: What, method: Method },
    /// So many records are partial: what they lack may be more. Nothing is lowered because of them.
    Partial { records: usize },
    /// No pod of it ran to its own end. Nothing is lowered because of that.
    EndedEarly,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    Cpu,
    Memory,
    Rss,
}

/// Below this the start of a process outweighs its work.
const SHORT_SECONDS: f64 = 1.0;

pub fn advise(pods: &[Record]) -> Advice {
    let seen = Seen::of(pods);
    let (memory, cpu) = (memory::advise(&seen), cpu::advise(&seen));
    Advice { cautions: cautions(&seen, &memory), memory, cpu }
}

fn cautions(seen: &Seen, memory: &Suggestion<MemoryWhy>) -> Vec<Caution> {
    let short = seen.elapsed_seconds.filter(|elapsed| *elapsed < SHORT_SECONDS);
    let weak = |method: &Method| matches!(method, Method::Rusage | Method::Sampled);
    let lower_bound = |(what, method)| Caution::LowerBound { what, method };
    let memory_basis = match memory.why {
        MemoryWhy::PageCache { .. } => seen.rss_peak.map(|rss| (What::Rss, rss.method)),
        MemoryWhy::LargestSeen { .. } => seen.memory_peak.or(seen.rss_peak).map(|peak| (What::Memory, peak.method)),
        _ => None,
    };
    let cpu_basis = seen.cpu_method.map(|method| (What::Cpu, method));
    [
        short.map(|elapsed_seconds| Caution::ShortRun { elapsed_seconds }),
        cpu_basis.filter(|(_, method)| weak(method)).map(lower_bound),
        memory_basis.filter(|(_, method)| weak(method)).map(lower_bound),
        (seen.partial > 0).then_some(Caution::Partial { records: seen.partial }),
        seen.ended_early.then_some(Caution::EndedEarly),
    ]
    .into_iter()
    .flatten()
    .collect()
}

impl Proposal {
    /// `wanted` against what is requested now. Less than a fifth apart is near enough to be left alone, unless it is more than
    /// what is requested: `seen` never exceeds what stays requested.
    fn towards(now: Option<u64>, wanted: u64, seen: u64, may_lower: bool) -> Self {
        match now {
            None => Self::Set { to: wanted },
            Some(from) if seen > from => Self::Raise { from, to: wanted },
            Some(from) if may_lower && (wanted as f64) < from as f64 * 0.8 => Self::Lower { from, to: wanted },
            Some(now) => Self::Keep { now },
        }
    }

    /// What will be requested if the advice is followed.
    pub const fn outcome(self) -> Option<u64> {
        match self {
            Self::Nothing => None,
            Self::Keep { now } => Some(now),
            Self::Raise { to, .. } | Self::Lower { to, .. } | Self::Set { to } => Some(to),
        }
    }
}

#[cfg(test)]
mod tests;
