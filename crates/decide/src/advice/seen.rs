//! The part of the records that advice rests on.

use jobmeter_protocol::{Figure, Method, Quality, Reason, Record, Resources};

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Seen {
    /// Of the longest pod.
    pub elapsed_seconds: Option<f64>,
    /// Of the busiest pod that ran long enough to judge, on average over its run.
    pub cores: Option<f64>,
    /// The weakest behind the CPU figures.
    pub cpu_method: Option<Method>,
    /// Greatest share of a pod's run that it was throttled, with the seconds.
    pub throttled: Option<Throttled>,
    pub memory_peak: Option<Figure<u64>>,
    pub rss_peak: Option<Figure<u64>>,
    pub oom_kills: u64,
    /// Of the pod with the greatest watermark; pods of one job rarely differ.
    pub resources: Resources,
    pub partial: usize,
    pub ended_early: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Throttled {
    pub seconds: f64,
    pub share: f64,
}

impl Seen {
    pub(super) fn of(pods: &[Record]) -> Self {
        let usages = || pods.iter().map(|pod| &pod.usage);
        Self {
            elapsed_seconds: pods.iter().filter_map(elapsed).reduce(f64::max),
            cores: pods.iter().filter_map(cores).reduce(f64::max),
            cpu_method: usages().filter_map(|usage| Some(usage.cpu_seconds?.method)).max(),
            throttled: pods.iter().filter_map(throttled).reduce(|one, other| if other.share > one.share { other } else { one }),
            memory_peak: usages().filter_map(|usage| usage.memory_peak_bytes).max_by_key(|peak| peak.value),
            rss_peak: usages().filter_map(|usage| usage.rss_peak_bytes).max_by_key(|peak| peak.value),
            oom_kills: usages().filter_map(|usage| usage.oom_kills).map(|kills| kills.value).fold(0, u64::saturating_add),
            resources: pods.iter().max_by_key(|pod| watermark(pod)).map(|pod| pod.resources).unwrap_or_default(),
            partial: pods.iter().filter(|pod| matches!(pod.quality, Quality::Partial { .. })).count(),
            ended_early: !pods.is_empty() && !pods.iter().any(|pod| pod.outcome.reason == Reason::Completed),
        }
    }

    /// A run that was cut short, or seen in part, may need more than it showed.
    pub(super) fn is_whole(&self) -> bool {
        self.partial == 0 && !self.ended_early
    }
}

fn elapsed(pod: &Record) -> Option<f64> {
    pod.time.elapsed_seconds.map(|elapsed| elapsed.value).filter(|seconds| seconds.is_finite() && *seconds > 0.0)
}

fn cores(pod: &Record) -> Option<f64> {
    let elapsed = elapsed(pod).filter(|seconds| *seconds >= super::SHORT_SECONDS)?;
    let used = pod.usage.cpu_seconds?.value;
    (used.is_finite() && used >= 0.0).then_some(used / elapsed)
}

fn watermark(pod: &Record) -> Option<u64> {
    pod.usage.memory_peak_bytes.map(|peak| peak.value)
}

fn throttled(pod: &Record) -> Option<Throttled> {
    let seconds = pod.usage.throttled_seconds?.value;
    let share = seconds / elapsed(pod)?;
    share.is_finite().then_some(Throttled { seconds, share })
}
