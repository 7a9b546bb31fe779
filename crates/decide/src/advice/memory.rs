//! Memory: the watermark is exact, but page cache may fill it; the cache-free peak is what the job cannot do without.

use serde::Serialize;

use super::seen::Seen;
use super::{Proposal, Suggestion};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum MemoryWhy {
    NotMeasured,
    /// Killed for lack of memory: how much it needs is not known, only that it is more.
    OomKilled {
        kills: u64,
        peak_bytes: Option<u64>,
    },
    /// The watermark came to the limit without a kill: the kernel had to reclaim, and the next run may not be so lucky.
    AtTheLimit {
        peak_bytes: u64,
        limit_bytes: u64,
    },
    /// Most of the watermark is page cache, which the kernel gives back under pressure.
    PageCache {
        peak_bytes: u64,
        rss_bytes: u64,
    },
    /// The watermark, with a margin on top.
    Watermark {
        peak_bytes: u64,
    },
    /// There is no watermark here: the largest seen, with a wider margin on top.
    LargestSeen {
        bytes: u64,
    },
}

/// On top of an exact watermark: another run is never quite the same.
const MARGIN: f64 = 1.15;
/// On top of a lower bound.
const WIDE_MARGIN: f64 = 1.3;
/// After a kill.
const KILLED_MARGIN: f64 = 1.5;
/// Closer to the limit than this, the kernel has been reclaiming.
const AT_LIMIT: f64 = 0.97;
/// Below this, sampling has not looked often enough to tell page cache from a burst.
const ENOUGH_SAMPLING_SECONDS: f64 = 10.0;
/// Page cache below this is not worth a word.
const CACHE_OF_NOTE: u64 = 64 * MIB;
const MIB: u64 = 1024 * 1024;

pub(super) fn advise(seen: &Seen) -> Suggestion<MemoryWhy> {
    let request = seen.resources.memory_request_bytes;
    let limit = seen.resources.memory_limit_bytes;
    let rss = seen.rss_peak.map(|rss| rss.value);
    let towards = |wanted: u64, seen_bytes| Proposal::towards(request, wanted, seen_bytes, seen.is_whole());

    if seen.oom_kills > 0 {
        let peak = seen.memory_peak.map(|peak| peak.value).max(rss);
        let wanted = peak.max(limit).max(request).map(|bytes| with_margin(bytes, KILLED_MARGIN));
        let raise = |to| request.map_or(Proposal::Set { to }, |from| Proposal::Raise { from, to });
        let why = MemoryWhy::OomKilled { kills: seen.oom_kills, peak_bytes: peak };
        return Suggestion { request: wanted.map_or(Proposal::Nothing, raise), limit_at_least: wanted, why };
    }
    let Some(peak) = seen.memory_peak.filter(|peak| peak.method <= jobmeter_protocol::Method::Derived) else {
        let Some(bytes) = seen.memory_peak.map(|peak| peak.value).max(rss) else {
            return Suggestion { request: Proposal::Nothing, limit_at_least: None, why: MemoryWhy::NotMeasured };
        };
        let wanted = with_margin(bytes, WIDE_MARGIN);
        return Suggestion {
            request: towards(wanted, bytes),
            limit_at_least: Some(wanted),
            why: MemoryWhy::LargestSeen { bytes },
        };
    };
    // A process may have mapped pages of files that others were charged for: then it is larger than the watermark.
    let peak_bytes = peak.value.max(rss.unwrap_or(0));
    let at_limit = limit.filter(|limit| peak_bytes as f64 >= *limit as f64 * AT_LIMIT);

    if let Some(rss_bytes) = rss.filter(|rss| is_page_cache(peak_bytes, *rss, seen.elapsed_seconds)) {
        // At the limit the cache merely filled what there was; a larger limit would be filled as well.
        let limit_at_least = at_limit.map_or_else(|| with_margin(peak_bytes, MARGIN), |limit| limit.max(peak_bytes));
        let why = MemoryWhy::PageCache { peak_bytes, rss_bytes };
        return Suggestion {
            request: towards(with_margin(rss_bytes, WIDE_MARGIN), rss_bytes),
            limit_at_least: Some(limit_at_least),
            why,
        };
    }
    let wanted = with_margin(peak_bytes, if at_limit.is_some() { WIDE_MARGIN } else { MARGIN });
    let why = match at_limit {
        Some(limit_bytes) => MemoryWhy::AtTheLimit { peak_bytes, limit_bytes },
        None => MemoryWhy::Watermark { peak_bytes: peak.value },
    };
    Suggestion { request: towards(wanted, peak_bytes), limit_at_least: Some(wanted), why }
}

fn is_page_cache(peak: u64, rss: u64, elapsed_seconds: Option<f64>) -> bool {
    elapsed_seconds.is_some_and(|elapsed| elapsed >= ENOUGH_SAMPLING_SECONDS)
        && peak.saturating_sub(rss) >= CACHE_OF_NOTE
        && rss < peak / 2
}

/// Rounded up to a number that one would write in a manifest. Below 16 MiB a container hardly starts.
fn with_margin(bytes: u64, margin: f64) -> u64 {
    let wanted = ((bytes as f64 * margin).ceil() as u64).max(bytes).max(16 * MIB);
    let step = match wanted {
        0..=0x7FF_FFFF => 4 * MIB,
        0x800_0000..=0x3FFF_FFFF => 16 * MIB,
        0x4000_0000..=0x3_FFFF_FFFF => 128 * MIB,
        _ => 1024 * MIB,
    };
    wanted.checked_next_multiple_of(step).unwrap_or(wanted)
}
