//! The state of one candidate, from its start until it has lost what it won.

use std::time::Duration;

use super::{Answer, Claim, Lease, Lost, Step, Timing, Waiting};

#[derive(Clone, Debug)]
pub struct Elector {
    timing: Timing,
    /// Of this process alone: a restart has another one.
    identity: String,
    /// Holders of such identities were processes in this one's place: they have ended.
    predecessors: Option<String>,
    /// No epoch up to this one is used again.
    floor: u64,
    observed: Option<Observed>,
    holding: Option<Holding>,
    announced: bool,
    lost: Option<Lost>,
    phase: Phase,
}

#[derive(Clone, Debug)]
struct Observed {
    lease: Lease,
    /// Since when it is known to be like this.
    at: Duration,
}

#[derive(Clone, Debug)]
struct Holding {
    epoch: u64,
    until: Duration,
    resource_version: String,
}

#[derive(Clone, Debug)]
enum Phase {
    Look,
    Create {
        transitions: u64,
    },
    Replace {
        resource_version: String,
        transitions: u64,
        acquires: bool,
    },
    /// A call is under way, sent then.
    Calling {
        sent: Duration,
    },
    Wait {
        until: Duration,
        why: Waiting,
    },
}

impl Elector {
    /// `identity`: of no other process, ever. `floor`: epochs up to this one were used already, as somebody else remembers.
    pub fn new(timing: Timing, identity: String, floor: u64) -> Self {
        let (observed, holding, lost) = (None, None, None);
        Self { timing, identity, predecessors: None, floor, observed, holding, announced: false, lost, phase: Phase::Look }
    }

    /// The Lease of a holder whose identity begins so is taken at once: it was a process of the same container, which is started
    /// again only after it has ended.
    #[must_use]
    pub fn succeeding(mut self, predecessors: Option<String>) -> Self {
        self.predecessors = predecessors;
        self
    }

    /// What to do at `now`, a time of this process's monotonic clock. Read the clock *before* a call is sent.
    pub fn next(&mut self, now: Duration) -> Step {
        self.check_deadline(now);
        if let Some(why) = &self.lost {
            return Step::Lost { why: why.clone() };
        }
        if let Some(holding) = &self.holding
            && !self.announced
        {
            self.announced = true;
            return Step::BecomeLeader { epoch: holding.epoch };
        }
        if let Phase::Wait { until, why } = &self.phase {
            if now < *until {
                return Step::Wait { until: *until, why: why.clone() };
            }
            self.phase = self.after_wait();
        }
        self.call(now)
    }

    /// What came of the call of the last step. Read the clock *after* the answer came. `jitter` from -1 to 1.
    pub fn answered(&mut self, now: Duration, answer: Answer, jitter: f64) {
        let Phase::Calling { sent } = self.phase else { return };
        self.check_deadline(now);
        if self.lost.is_some() {
            return;
        }
        if let Answer::Found(lease) | Answer::Written(lease) = &answer {
            self.observe(lease, now);
        }
        self.phase = match answer {
            Answer::Written(lease) => self.written(lease, sent, now, jitter),
            Answer::Found(lease) if self.holding.is_some() => self.found_while_leading(lease),
            Answer::Found(lease) => self.found(lease, now, jitter),
            Answer::Absent => self.absent(now, jitter),
            Answer::Conflict if self.holding.is_some() => Phase::Look,
            Answer::Conflict => self.pause(now, jitter, Waiting::Outrun),
            Answer::Unknown => self.pause(now, jitter, Waiting::CallFailed),
        };
    }

    /// Until when this process leads by its own clock; `None` while it does not.
    pub fn holds_until(&self) -> Option<Duration> {
        if self.lost.is_some() { None } else { self.holding.as_ref().map(|holding| holding.until) }
    }

    /// Who held the Lease when it was last read; `None`: nobody.
    pub fn holder(&self) -> Option<&str> {
        self.observed.as_ref().map(|observed| observed.lease.holder.as_str()).filter(|holder| !holder.is_empty())
    }

    /// Renews at once instead of at its time, if it leads: before a shutdown, for the time that it takes.
    pub fn hurry(&mut self) {
        if self.holding.is_some() && matches!(self.phase, Phase::Wait { .. }) {
            self.phase = self.after_wait();
        }
    }

    /// Gives the Lease back, so that the next one need not wait for its end. `None`: there is nothing to give back. All work must
    /// have ended before; the elector is over with it. `floor`: who takes it next gets a later epoch than that one.
    pub fn release(&mut self, now: Duration, floor: u64) -> Option<Step> {
        self.check_deadline(now);
        let lost = self.lost.replace(Lost::Released);
        let holding = self.holding.as_ref().filter(|_| lost.is_none())?;
        // A second: what Kubernetes' own controllers write, and the least that a Lease can say.
        let claim = Claim {
            holder: String::new(),
            duration: Duration::from_secs(1),
            transitions: holding.epoch.max(floor),
            acquires: false,
        };
        Some(Step::Replace { resource_version: holding.resource_version.clone(), claim, within: self.timing.call() })
    }

    /// Once it has passed it is passed for good, also if an answer comes that would have been in time.
    fn check_deadline(&mut self, now: Duration) {
        if self.lost.is_none() && self.holding.as_ref().is_some_and(|holding| now >= holding.until) {
            self.lost = Some(Lost::NotRenewed { within: self.timing.renew_deadline });
        }
    }

    fn call(&mut self, now: Duration) -> Step {
        let left = self.holding.as_ref().map_or(Duration::MAX, |holding| holding.until.saturating_sub(now));
        let within = self.timing.call().min(left);
        let claim = |transitions, acquires| Claim {
            holder: self.identity.clone(),
            duration: self.timing.lease_duration,
            transitions,
            acquires,
        };
        let step = match &self.phase {
            Phase::Create { transitions } => Step::Create { claim: claim(*transitions, true), within },
            Phase::Replace { resource_version, transitions, acquires } => {
                Step::Replace { resource_version: resource_version.clone(), claim: claim(*transitions, *acquires), within }
            }
            Phase::Look | Phase::Calling { .. } | Phase::Wait { .. } => Step::Get { within },
        };
        self.phase = Phase::Calling { sent: now };
        step
    }

    fn observe(&mut self, lease: &Lease, now: Duration) {
        let known = self.observed.as_ref().is_some_and(|observed| observed.lease.resource_version == lease.resource_version);
        if !known {
            self.observed = Some(Observed { lease: lease.clone(), at: now });
        }
    }

    fn after_wait(&self) -> Phase {
        match (&self.holding, &self.phase) {
            (Some(holding), Phase::Wait { why: Waiting::Leading, .. }) => {
                Phase::Replace { resource_version: holding.resource_version.clone(), transitions: holding.epoch, acquires: false }
            }
            _ => Phase::Look,
        }
    }

    fn pause(&self, now: Duration, jitter: f64, why: Waiting) -> Phase {
        let until = now.saturating_add(self.timing.pause(jitter));
        let until = self.holding.as_ref().map_or(until, |holding| until.min(holding.until));
        Phase::Wait { until, why }
    }

    fn written(&mut self, lease: Lease, sent: Duration, now: Duration, jitter: f64) -> Phase {
        let until = sent.saturating_add(self.timing.renew_deadline);
        if now >= until {
            // We have it, and slept over it: what is there now must be read again.
            return Phase::Look;
        }
        self.holding = Some(Holding { epoch: lease.transitions, until, resource_version: lease.resource_version });
        self.pause(now, jitter, Waiting::Leading)
    }

    fn found_while_leading(&mut self, lease: Lease) -> Phase {
        let Some(holding) = &mut self.holding else { return Phase::Look };
        if lease.holder != self.identity {
            let taken = if lease.holder.is_empty() { Lost::TakenAway } else { Lost::TakenBy { holder: lease.holder } };
            self.lost = Some(taken);
            return Phase::Look;
        }
        if lease.transitions != holding.epoch {
            self.lost = Some(Lost::OtherEpoch { ours: holding.epoch, found: lease.transitions });
            return Phase::Look;
        }
        holding.resource_version.clone_from(&lease.resource_version);
        Phase::Replace { resource_version: lease.resource_version, transitions: lease.transitions, acquires: false }
    }

    fn found(&mut self, lease: Lease, now: Duration, jitter: f64) -> Phase {
        let ours = lease.holder == self.identity;
        let succeeds = self.predecessors.as_ref().is_some_and(|prefix| lease.holder.starts_with(prefix.as_str()));
        let free = ours || lease.holder.is_empty() || succeeds;
        match self.expiry() {
            Some(expiry) if !free && now < expiry => {
                let Phase::Wait { until, why } = self.pause(now, jitter, Waiting::HeldBy { holder: lease.holder }) else {
                    return Phase::Look;
                };
                Phase::Wait { until: until.min(expiry), why }
            }
            // Our own, of a write whose answer was lost: then it is ours already, and its epoch is used by nobody.
            _ if ours => {
                Phase::Replace { resource_version: lease.resource_version, transitions: lease.transitions, acquires: false }
            }
            _ => {
                let transitions = lease.transitions.max(self.floor) + 1;
                Phase::Replace { resource_version: lease.resource_version, transitions, acquires: true }
            }
        }
    }

    fn absent(&mut self, now: Duration, jitter: f64) -> Phase {
        if let Some(holding) = &self.holding {
            // Somebody deleted it. Until others see it again they wait for what they saw last.
            return Phase::Create { transitions: holding.epoch };
        }
        let known = self.observed.as_ref().map(|observed| &observed.lease);
        let transitions = known.map_or(0, |lease| lease.transitions).max(self.floor) + 1;
        let foreign = known.map(|lease| lease.holder.clone()).filter(|holder| !holder.is_empty() && *holder != self.identity);
        match (foreign, self.expiry()) {
            (Some(holder), Some(expiry)) if now < expiry => self.pause(now, jitter, Waiting::HolderMayNotKnow { holder }),
            _ => Phase::Create { transitions },
        }
    }

    /// When the Lease as it was last read is over, by our clock.
    fn expiry(&self) -> Option<Duration> {
        self.observed.as_ref().map(|observed| observed.at.saturating_add(observed.lease.duration))
    }
}
