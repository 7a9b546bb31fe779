//! CPU: cores in use on average over the run, and what a limit took away.

use serde::Serialize;

use super::seen::Seen;
use super::{Proposal, Suggestion};

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum CpuWhy {
    NotMeasured,
    /// Too short for an average that means something.
    TooShort {
        elapsed_seconds: f64,
    },
    /// The limit held it back: how much it would have used is not known.
    Throttled {
        throttled_seconds: f64,
        share: f64,
        cores: Option<f64>,
    },
    /// On average over the run; bursts within it are not seen.
    AverageUse {
        cores: f64,
    },
}

const MARGIN: f64 = 1.1;
/// A limit that took away this share of the run is worth a word.
const THROTTLED_OF_NOTE: f64 = 0.05;
/// After throttling: how much more than the limit is worth a try.
const UNTHROTTLED: f64 = 1.5;
/// Millicores.
const STEP: u64 = 50;

pub(super) fn advise(seen: &Seen) -> Suggestion<CpuWhy> {
    let request = seen.resources.cpu_request_millicores;
    let keep = request.map_or(Proposal::Nothing, |now| Proposal::Keep { now });
    let used = seen.cores.map(millicores);
    let wanted = seen.cores.map(|cores| round_up(cores * MARGIN));
    let towards = |wanted, used| Proposal::towards(request, wanted, used, seen.is_whole());

    if let Some(throttled) = seen.throttled.filter(|throttled| throttled.share >= THROTTLED_OF_NOTE) {
        let limit = seen.resources.cpu_limit_millicores.map(|limit| round_up(limit as f64 / 1000.0 * UNTHROTTLED));
        // What it used under the limit says nothing of what it needs: nothing is lowered.
        let request = wanted.zip(used).map_or(keep, |(wanted, used)| Proposal::towards(request, wanted, used, false));
        let why = CpuWhy::Throttled { throttled_seconds: throttled.seconds, share: throttled.share, cores: seen.cores };
        return Suggestion { request, limit_at_least: limit.max(wanted), why };
    }
    match (seen.cores, wanted, used, seen.elapsed_seconds) {
        (Some(cores), Some(wanted), Some(used), _) => {
            Suggestion { request: towards(wanted, used), limit_at_least: None, why: CpuWhy::AverageUse { cores } }
        }
        (_, _, _, Some(elapsed_seconds)) if seen.cpu_method.is_some() && elapsed_seconds < super::SHORT_SECONDS => {
            Suggestion { request: keep, limit_at_least: None, why: CpuWhy::TooShort { elapsed_seconds } }
        }
        _ => Suggestion { request: Proposal::Nothing, limit_at_least: None, why: CpuWhy::NotMeasured },
    }
}

fn millicores(cores: f64) -> u64 {
    // A product such as 0.5 × 1.1 comes out a hair above 0.55: that hair is no reason for another step.
    (cores * 1000.0 - 1e-6).ceil() as u64
}

fn round_up(cores: f64) -> u64 {
    let wanted = millicores(cores).max(STEP);
    let step = if wanted <= 2_000 { STEP } else { 250 };
    wanted.checked_next_multiple_of(step).unwrap_or(wanted)
}
