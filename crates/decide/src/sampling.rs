//! When to look at a live pod, and at what: often while it is young, seldom later, and not at all while it sleeps.
//!
//! Inputs: the pod's [`Schedule`], its CPU counter, what looking has cost, the time. Output: a [`Plan`]. Owner: the agent's
//! sampler. Totals do not come from here; samples only serve what the kernel keeps no counter of: memory without page
//! cache, and which process used what. A process that does not run can neither allocate nor exit, so a pod whose CPU
//! counter stands still has nothing new to show, and looking at the counter alone is cheap.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// The first interval of a new pod; it grows to `steady` with the pod's age.
    pub first: Duration,
    pub steady: Duration,
    /// Scans of its processes, first and later.
    pub first_scan: Duration,
    pub steady_scan: Duration,
    /// All counters, for the journal.
    pub reading: Duration,
    /// Between two scans lies at least this many times what a scan costs.
    pub scan_duty: u32,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(50),
            steady: Duration::from_secs(1),
            first_scan: Duration::from_millis(100),
            steady_scan: Duration::from_secs(30),
            reading: Duration::from_secs(30),
            scan_duty: 500,
        }
    }
}

/// Of one pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    born: Timestamp,
    next: Timestamp,
    next_scan: Timestamp,
    next_reading: Timestamp,
    /// The CPU counter at the last look, and at the last scan.
    looked_at: Option<u64>,
    scanned_at: Option<u64>,
    read_at: Option<u64>,
    /// The longest that a look is ever put off: what lies further ahead was planned before the clock was set back.
    longest: SignedDuration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    Look(Look),
    Skip(Skip),
}

/// What to look at besides the CPU counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    pub memory: bool,
    pub processes: bool,
    pub reading: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skip {
    NotDue,
    /// It used no CPU since the last look.
    Asleep,
}

impl Schedule {
    /// `born`: when the pod was first seen.
    pub fn new(born: Timestamp, now: Timestamp, pace: &Pace) -> Self {
        Self {
            born,
            next: now,
            next_scan: now,
            next_reading: after(now, pace.reading),
            looked_at: None,
            scanned_at: None,
            read_at: None,
            longest: SignedDuration::try_from(pace.steady.max(pace.first)).unwrap_or(SignedDuration::MAX),
        }
    }

    /// How long to wait for the next look; zero: it is due.
    pub fn wait(&self, now: Timestamp) -> Duration {
        if self.was_set_back(now) {
            Duration::ZERO
        } else {
            Duration::try_from(now.duration_until(self.next)).unwrap_or_default()
        }
    }

    fn was_set_back(&self, now: Timestamp) -> bool {
        now.duration_until(self.next) > self.longest
    }

    /// `cpu_ns`: the pod's counter now; `None` where there is none to read, which means to look.
    pub fn plan(&self, cpu_ns: Option<u64>, now: Timestamp) -> Plan {
        let set_back = self.was_set_back(now);
        if now < self.next && !set_back {
            return Plan::Skip(Skip::NotDue);
        }
        let moved = |before: Option<u64>| cpu_ns.is_none() || cpu_ns != before;
        let look = Look {
            memory: moved(self.looked_at),
            processes: (set_back || now >= self.next_scan) && moved(self.scanned_at),
            reading: (set_back || now >= self.next_reading) && moved(self.read_at),
        };
        if look.memory || look.processes || look.reading { Plan::Look(look) } else { Plan::Skip(Skip::Asleep) }
    }

    /// After a plan was carried out; `scan_cost` is what the scan of the processes took.
    pub fn done(&mut self, plan: Plan, cpu_ns: Option<u64>, scan_cost: Duration, now: Timestamp, pace: &Pace) {
        if self.was_set_back(now) {
            self.born = self.born.min(now);
            self.next_scan = self.next_scan.min(now);
            self.next_reading = self.next_reading.min(now);
        }
        let age = Duration::try_from(now.duration_since(self.born)).unwrap_or_default();
        self.next = aligned(after(now, grown(age / 2, pace.first, pace.steady)), now, pace, age);
        let Plan::Look(look) = plan else { return };
        self.looked_at = cpu_ns;
        if look.processes {
            let interval = grown(age / 2, pace.first_scan, pace.steady_scan);
            self.next_scan = after(now, interval.max(scan_cost.saturating_mul(pace.scan_duty)));
            self.scanned_at = cpu_ns;
        }
        if look.reading {
            self.next_reading = after(now, pace.reading);
            self.read_at = cpu_ns;
        }
    }
}

fn grown(with_age: Duration, first: Duration, steady: Duration) -> Duration {
    with_age.max(first).min(steady.max(first))
}

/// All grown-up pods are looked at in one go: one wake-up for a hundred pods.
fn aligned(next: Timestamp, now: Timestamp, pace: &Pace, age: Duration) -> Timestamp {
    if age / 2 < pace.steady || pace.steady.is_zero() {
        return next;
    }
    let period = i128::try_from(pace.steady.as_nanos()).unwrap_or(i128::MAX);
    let slot = now.as_nanosecond().div_euclid(period).saturating_add(1).saturating_mul(period);
    Timestamp::from_nanosecond(slot).unwrap_or(next)
}

fn after(now: Timestamp, wait: Duration) -> Timestamp {
    SignedDuration::try_from(wait).ok().and_then(|wait| now.checked_add(wait).ok()).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(milliseconds: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000).unwrap() + SignedDuration::from_millis(milliseconds)
    }

    /// Runs a schedule for a while; `cpu(at)` is the pod's counter.
    fn run(until: i64, cost: Duration, cpu: impl Fn(i64) -> u64) -> Vec<(i64, Plan)> {
        let pace = Pace::default();
        let mut schedule = Schedule::new(ms(0), ms(0), &pace);
        let mut plans = Vec::new();
        loop {
            let now = schedule.next;
            let at = i64::try_from(now.duration_since(ms(0)).as_millis()).unwrap();
            if at > until {
                return plans;
            }
            let plan = schedule.plan(Some(cpu(at)), now);
            plans.push((at, plan));
            schedule.done(plan, Some(cpu(at)), cost, now, &pace);
        }
    }

    fn scans(plans: &[(i64, Plan)]) -> Vec<i64> {
        plans.iter().filter(|(_, plan)| matches!(plan, Plan::Look(look) if look.processes)).map(|(at, _)| *at).collect()
    }

    #[test]
    fn a_young_pod_is_looked_at_often_and_an_old_one_each_second() {
        let at: Vec<i64> = run(10_000, Duration::ZERO, |at| at.unsigned_abs()).into_iter().map(|(at, _)| at).collect();
        assert_eq!(at[..4], [0, 50, 100, 150]);
        assert_eq!(at[at.len() - 3..], [8_000, 9_000, 10_000]);
        assert!(at.len() < 24, "{at:?}");
    }

    #[test]
    fn a_pod_that_sleeps_costs_one_counter_and_nothing_else() {
        let plans = run(60_000, Duration::ZERO, |_| 7);
        assert!(matches!(plans[0].1, Plan::Look(Look { memory: true, processes: true, reading: false })));
        let reading = |plan: &Plan| matches!(plan, Plan::Look(Look { memory: false, processes: false, reading: true }));
        let awake = plans[1..].iter().filter(|(_, plan)| *plan != Plan::Skip(Skip::Asleep));
        assert!(awake.clone().count() == 1 && awake.clone().all(|(_, plan)| reading(plan)));
    }

    #[test]
    fn processes_are_scanned_less_often_as_the_pod_ages() {
        let scans = scans(&run(300_000, Duration::from_micros(100), |at| at.unsigned_abs()));
        assert_eq!(scans[..3], [0, 100, 225]);
        assert_eq!(scans[scans.len() - 1] - scans[scans.len() - 2], 30_000);
    }

    #[test]
    fn a_pod_with_many_processes_is_scanned_within_its_budget() {
        let scans = scans(&run(120_000, Duration::from_millis(40), |at| at.unsigned_abs()));
        assert!(scans.windows(2).all(|pair| pair[1] - pair[0] >= 20_000), "{scans:?}");
    }

    #[test]
    fn a_clock_that_was_set_back_an_hour_does_not_stop_the_looking() {
        let pace = Pace::default();
        let mut schedule = Schedule::new(ms(0), ms(0), &pace);
        schedule.done(schedule.plan(Some(1), ms(60_000)), Some(1), Duration::ZERO, ms(60_000), &pace);
        assert_eq!(schedule.plan(Some(2), ms(60_500)), Plan::Skip(Skip::NotDue));
        let back = ms(-3_600_000);
        assert_eq!(schedule.wait(back), Duration::ZERO);
        let plan = schedule.plan(Some(2), back);
        assert_eq!(plan, Plan::Look(Look { memory: true, processes: true, reading: true }));
        schedule.done(plan, Some(2), Duration::ZERO, back, &pace);
        assert!(schedule.wait(back) <= pace.steady);
        let later = back + SignedDuration::from_secs(100);
        schedule.done(schedule.plan(Some(3), later), Some(3), Duration::ZERO, later, &pace);
        assert!(schedule.wait(later) > pace.first, "and it is no young pod for an hour");
    }

    proptest! {
        #[test]
        fn time_always_goes_on(age in 0_i64..1 << 40, cost in 0_u64..1 << 40, cpu in prop::option::of(any::<u64>())) {
            let pace = Pace::default();
            let mut schedule = Schedule::new(ms(0), ms(0), &pace);
            let now = ms(age);
            let plan = schedule.plan(cpu, now);
            schedule.done(plan, cpu, Duration::from_nanos(cost), now, &pace);
            prop_assert!(schedule.next > now);
            prop_assert!(schedule.next <= now + SignedDuration::from_secs(1));
        }
    }
}
