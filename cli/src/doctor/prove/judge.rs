//! Whether a reported figure agrees with the truth: pure.

use jobmeter_protocol::{Figure, Method};
use serde::Serialize;

/// One figure and what it should be.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Check {
    pub(super) workload: &'static str,
    pub(super) figure: &'static str,
    pub(super) unit: Unit,
    pub(super) truth: f64,
    /// How the truth was obtained.
    pub(super) truth_from: &'static str,
    /// `None`: nothing was reported.
    pub(super) reported: Option<Figure<f64>>,
    pub(super) tolerance: Tolerance,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Unit {
    Seconds,
    Bytes,
    Count,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) enum Tolerance {
    /// This far on either side: a share of the truth, or so much, whichever is more.
    Around { ratio: f64, absolute: f64 },
    /// Not below the truth, and not more than so much above it.
    FromTruth { above: f64 },
    /// A lower bound: anything up to the truth, which may be exceeded by so much.
    UpToTruth { above: f64 },
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Judged {
    #[serde(flatten)]
    pub(super) check: Check,
    pub(super) verdict: Verdict,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    Holds,
    /// It claims to be the kernel's count and is wrong.
    Broken,
    /// Off, and its method says that it may be.
    Off,
    NotReported,
}

pub(super) fn judge(check: Check) -> Judged {
    let verdict = match check.reported {
        None => Verdict::NotReported,
        Some(reported) if check.allows(reported.value) => Verdict::Holds,
        Some(Figure { method: Method::Kernel | Method::Derived, .. }) => Verdict::Broken,
        Some(_) => Verdict::Off,
    };
    Judged { check, verdict }
}

impl Check {
    fn allows(&self, value: f64) -> bool {
        let difference = value - self.truth;
        match self.tolerance {
            Tolerance::Around { ratio, absolute } => difference.abs() <= (self.truth * ratio).max(absolute),
            Tolerance::FromTruth { above } => (0.0..=above).contains(&difference),
            Tolerance::UpToTruth { above } => difference <= above,
        }
    }
}

impl Judged {
    pub(super) fn holds(&self) -> bool {
        self.verdict != Verdict::Broken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(reported: Option<Figure<f64>>, tolerance: Tolerance) -> Verdict {
        let check =
            Check { workload: "burn", figure: "cpu", unit: Unit::Seconds, truth: 10.0, truth_from: "wait4", reported, tolerance };
        judge(check).verdict
    }

    #[test]
    fn only_a_figure_that_claims_to_be_the_kernels_can_break_the_proof() {
        let around = Tolerance::Around { ratio: 0.005, absolute: 0.001 };
        assert_eq!(check(Some(Figure::kernel(10.04)), around), Verdict::Holds);
        assert_eq!(check(Some(Figure::kernel(10.06)), around), Verdict::Broken);
        assert_eq!(check(Some(Figure::new(9.0, Method::Derived)), around), Verdict::Broken);
        assert_eq!(check(Some(Figure::new(9.0, Method::Rusage)), around), Verdict::Off);
        assert_eq!(check(Some(Figure::new(9.0, Method::Sampled)), around), Verdict::Off);
        assert_eq!(check(None, around), Verdict::NotReported);
        assert_eq!(check(Some(Figure::kernel(f64::NAN)), around), Verdict::Broken);
    }

    #[test]
    fn a_watermark_may_not_be_below_what_was_touched_and_a_lower_bound_not_above_the_truth() {
        let watermark = Tolerance::FromTruth { above: 2.0 };
        assert_eq!(check(Some(Figure::kernel(9.999)), watermark), Verdict::Broken);
        assert_eq!(check(Some(Figure::kernel(12.0)), watermark), Verdict::Holds);
        let lower_bound = Tolerance::UpToTruth { above: 0.5 };
        assert_eq!(check(Some(Figure::new(1.0, Method::Sampled)), lower_bound), Verdict::Holds);
        assert_eq!(check(Some(Figure::new(10.6, Method::Sampled)), lower_bound), Verdict::Off);
    }
}
