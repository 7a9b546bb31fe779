//! How a cluster holds back what waits for its pool: by scheduling gates on pods, or, before those, by suspended Jobs.
//!
//! In: what the configuration says and the API server's version. Out: the way, and a sentence why. Owner: the coordinator, once
//! at its start.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Scheduling gates are there without a feature gate of Kubernetes from this minor version of 1 on.
const GATES_SINCE: u32 = 27;

/// As it is configured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Wanted {
    /// By the API server's version.
    #[default]
    Auto,
    SchedulingGates,
    Suspend,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Gating {
    /// Pods are the members of a pool, and a gate holds them.
    SchedulingGates,
    /// Jobs are the members, and `spec.suspend` holds them.
    Suspend,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    pub gating: Gating,
    pub why: String,
}

/// What is configured needs no version.
pub fn configured(wanted: Wanted) -> Option<Choice> {
    let gating = match wanted {
        Wanted::Auto => return None,
        Wanted::SchedulingGates => Gating::SchedulingGates,
        Wanted::Suspend => Gating::Suspend,
    };
    Some(Choice { gating, why: format!("{gating}, as configured") })
}

/// `major` and `minor` as `/version` has them: vendors write `27+`.
pub fn by_version(major: &str, minor: &str) -> Choice {
    let (Some(major_number), Some(minor_number)) = (leading_number(major), leading_number(minor)) else {
        return Choice {
            gating: Gating::SchedulingGates,
            why: format!(
                "{}: the API server's version `{major}.{minor}` cannot be read and is taken for a current one",
                Gating::SchedulingGates
            ),
        };
    };
    let version = format!("{major_number}.{minor_number}");
    if (major_number, minor_number) >= (1, GATES_SINCE) {
        let gating = Gating::SchedulingGates;
        return Choice { gating, why: format!("{gating}: the API server is Kubernetes {version}") };
    }
    let gating = Gating::Suspend;
    Choice {
        gating,
        why: format!("{gating}: Kubernetes {version} has no scheduling gates (1.{GATES_SINCE} has), so only Jobs can be held"),
    }
}

fn leading_number(text: &str) -> Option<u32> {
    let text = text.trim().trim_start_matches('v');
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.get(..end)?.parse().ok()
}

impl fmt::Display for Gating {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SchedulingGates => "schedulingGates",
            Self::Suspend => "suspend",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gates_are_used_from_the_first_version_that_has_them_by_default() {
        // 1.26 has them as an alpha feature that is off.
        for (minor, gating) in [
            ("19", Gating::Suspend),
            ("26", Gating::Suspend),
            ("26+", Gating::Suspend),
            ("27", Gating::SchedulingGates),
            ("27+", Gating::SchedulingGates),
            ("36", Gating::SchedulingGates),
            ("100", Gating::SchedulingGates),
        ] {
            assert_eq!(by_version("1", minor).gating, gating, "1.{minor}");
        }
        assert_eq!(by_version("2", "0").gating, Gating::SchedulingGates);
        assert_eq!(by_version("v1", "28-eks-1234").gating, Gating::SchedulingGates);
    }

    #[test]
    fn a_version_that_cannot_be_read_is_taken_for_a_current_one_and_that_is_said() {
        for (major, minor) in [("", ""), ("1", ""), ("1", "x"), ("one", "27"), ("1", "99999999999")] {
            let choice = by_version(major, minor);
            assert_eq!(choice.gating, Gating::SchedulingGates, "{major}.{minor}");
            assert!(choice.why.contains("cannot be read"), "{}", choice.why);
        }
    }

    #[test]
    fn what_is_configured_wins_and_an_old_cluster_is_told_what_it_lacks() {
        assert_eq!(configured(Wanted::Auto), None);
        assert_eq!(configured(Wanted::Suspend).map(|choice| choice.gating), Some(Gating::Suspend));
        assert!(by_version("1", "25").why.contains("Kubernetes 1.25 has no scheduling gates"));
    }
}
