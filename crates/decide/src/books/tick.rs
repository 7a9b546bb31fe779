//! What time alone asks for.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{
    Books, Entry, Forgotten, Idle, Step,
    pod::{Job, Pod},
    settle_idle,
};

impl Books {
    /// About once a second.
    pub fn tick(&mut self, now: Timestamp) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut closed = Vec::new();
        let pace = self.options.pace;
        self.started = self.started.min(now);
        let api_heard = self.synced && passed(self.started, pace.api_lag, now);
        for (uid, entry) in &mut self.pods {
            let Entry::Tracked(pod) = entry else { continue };
            pod.mind_the_clock(now);
            if pod.rebooted && !pod.is_in_kernel() && !pod.has_ended() && passed(self.started, pace.reboot, now) {
                let change = pod.finish();
                pod.note(change, &self.options, now);
            }
            if api_heard && is_orphan(pod, pace.api_lag, now) {
                pod.job = Job::Yes;
            }
            if pod.has_ended() && pod.job == Job::Unknown && pod.final_since.is_some_and(|since| passed(since, UNCLAIMED, now)) {
                closed.push((uid.clone(), Forgotten::Unclaimed));
                continue;
            }
            steps.extend(pod.react(&self.options, now));
            if pod.unjournaled && pod.has_evidence() && pod.journaled.is_none_or(|at| is_due(at, pace.journal, now)) {
                steps.push(pod.journal(now));
            }
            if pod.job == Job::Yes
                && pod.unreported
                && pod.has_evidence()
                && is_due(pod.reported.unwrap_or(pod.first_known), pace.report, now)
            {
                pod.revision += 1;
                pod.journaled_revision = pod.revision;
                steps.push(pod.report(now));
            }
        }
        self.forget_what_never_came(now);
        closed.extend(self.over_the_limit());
        for (uid, why) in closed {
            if let Some(Entry::Tracked(pod)) = self.pods.remove(&uid) {
                steps.extend(self.close(&pod, why));
            }
        }
        settle_idle(steps, Idle::NothingDue)
    }

    /// Pods of the API that have ended and of which this node's kernel never said a word: they ran before this agent came.
    fn forget_what_never_came(&mut self, now: Timestamp) {
        self.pods.retain(|_, entry| {
            let Entry::Tracked(pod) = entry else { return true };
            let over = pod.api_gone.is_some() || pod.api.as_ref().is_none_or(|api| api.phase.is_terminal());
            pod.has_evidence() || !over || !passed(pod.first_known, NEVER_CAME, now)
        });
    }

    /// Nobody's evidence goes first, then the oldest. What still runs is in the kernel and is never given up.
    fn over_the_limit(&self) -> Vec<(String, Forgotten)> {
        let mut ended: Vec<&Pod> = self
            .pods
            .values()
            .filter_map(|entry| match entry {
                Entry::Tracked(pod) if pod.has_ended() => Some(&**pod),
                _ => None,
            })
            .collect();
        let excess = ended.len().saturating_sub(self.options.limits.unacknowledged);
        if excess == 0 {
            return Vec::new();
        }
        ended.sort_by_key(|pod| (pod.job == Job::Yes, pod.final_since));
        ended.into_iter().take(excess).map(|pod| (pod.uid.clone(), Forgotten::NoRoom)).collect()
    }
}

/// How long evidence of a pod that nobody knows is kept for a coordinator that may ask.
const UNCLAIMED: Duration = Duration::from_secs(3_600);
const NEVER_CAME: Duration = Duration::from_secs(60);

/// It ended, and the API does not know it: report it under the name of its log directory, and let the coordinator, which
/// watched the whole cluster, say what it was.
fn is_orphan(pod: &Pod, api_lag: Duration, now: Timestamp) -> bool {
    pod.job == Job::Unknown
        && pod.api.is_none()
        && pod.has_evidence()
        && pod.final_since.is_some_and(|since| passed(since, api_lag, now))
}

/// What is only done again comes early rather than late: after the clock was set back it is due.
fn is_due(since: Timestamp, interval: Duration, now: Timestamp) -> bool {
    now < since || passed(since, interval, now)
}

pub(super) fn passed(since: Timestamp, patience: Duration, now: Timestamp) -> bool {
    now.duration_since(since) >= SignedDuration::try_from(patience).unwrap_or(SignedDuration::MAX)
}
