//! Some electors, one API server, and all that may go wrong between them: requests and answers late or lost, processes stopped,
//! killed and started again, clocks that start anywhere and run up to a sixth too slow or a fifth too fast.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const HORIZON: u64 = 400_000;

/// What becomes of one call, in milliseconds; `None`: lost on that way.
#[derive(Clone, Copy, Debug)]
struct Fate {
    there: Option<u64>,
    back: Option<u64>,
    jitter: f64,
}

#[derive(Clone, Copy, Debug)]
enum Mishap {
    /// SIGSTOP, and SIGCONT after so long.
    Stopped(u64),
    Killed,
    GivesBack,
}

enum Event {
    Run,
    /// A request reaches the server. It knows nothing of the process any more.
    Arrive {
        call: u64,
        step: Step,
        back: Option<u64>,
    },
    Answer {
        call: u64,
        answer: Answer,
    },
    Mishap(Mishap),
}

struct Process {
    elector: Elector,
    /// Grows with every start; what was meant for an earlier life is dropped.
    life: u64,
    call: Option<u64>,
    asleep_until: u64,
    offset: u64,
    /// Per mille.
    rate: u64,
}

struct World {
    now: u64,
    lease: Option<Lease>,
    version: u64,
    processes: Vec<Process>,
    /// By time, then in the order that they were planned in: process, life, what.
    events: BTreeMap<(u64, u64), (usize, u64, Event)>,
    planned: u64,
    fates: Vec<Fate>,
    fate: usize,
    /// When, who, which epoch.
    terms: Vec<(u64, usize, u64)>,
}

impl Process {
    fn clock(&self, now: u64) -> Duration {
        Duration::from_micros(self.offset + now * self.rate)
    }

    /// The first millisecond at which its clock shows that.
    fn when(&self, clock: Duration) -> u64 {
        let micros = u64::try_from(clock.as_nanos().div_ceil(1_000)).unwrap() - self.offset;
        micros.div_ceil(self.rate)
    }

    fn holds(&self, now: u64) -> bool {
        self.elector.holds_until().is_some_and(|until| self.clock(now) < until)
    }
}

impl World {
    fn new(clocks: &[(u64, u64)], fates: Vec<Fate>) -> Self {
        let process = |(n, (offset, rate)): (usize, &(u64, u64))| Process {
            elector: Elector::new(Timing::default(), format!("{n}-0"), 0),
            life: 0,
            call: None,
            asleep_until: 0,
            offset: *offset,
            rate: *rate,
        };
        let processes: Vec<_> = clocks.iter().enumerate().map(process).collect();
        let (events, terms) = (BTreeMap::new(), Vec::new());
        let mut world = Self { now: 0, lease: None, version: 0, processes, events, planned: 0, fates, fate: 0, terms };
        for n in 0..world.processes.len() {
            world.plan(0, n, Event::Run);
        }
        world
    }

    fn plan(&mut self, at: u64, n: usize, event: Event) {
        self.planned += 1;
        self.events.insert((at.max(self.now), self.planned), (n, self.processes[n].life, event));
    }

    fn until(&mut self, horizon: u64) {
        while let Some((&(at, _), _)) = self.events.first_key_value()
            && at <= horizon
        {
            let (_, (n, life, event)) = self.events.pop_first().unwrap();
            self.now = at;
            self.happen(n, life, event);
            let leaders: Vec<usize> = (0..self.processes.len()).filter(|&n| self.processes[n].holds(at)).collect();
            assert!(leaders.len() <= 1, "at {at} ms all of {leaders:?} lead");
        }
        self.now = horizon;
    }

    fn happen(&mut self, n: usize, life: u64, event: Event) {
        if let Event::Arrive { call, step, back } = event {
            let answer = self.serve(step);
            if let Some(back) = back {
                self.planned += 1;
                self.events.insert((self.now + back, self.planned), (n, life, Event::Answer { call, answer }));
            }
            return;
        }
        if life != self.processes[n].life {
            return;
        }
        match event {
            Event::Mishap(Mishap::Stopped(for_ms)) => self.processes[n].asleep_until = self.now + for_ms,
            Event::Mishap(Mishap::Killed) => self.restart(n),
            _ if self.now < self.processes[n].asleep_until => self.plan(self.processes[n].asleep_until, n, event),
            Event::Mishap(Mishap::GivesBack) => {
                let clock = self.processes[n].clock(self.now);
                if let Some(step) = self.processes[n].elector.release(clock, 0) {
                    self.send(n, step);
                }
                self.restart(n);
            }
            Event::Answer { call, answer } if self.processes[n].call == Some(call) => {
                let (jitter, clock) = (self.fates[self.fate].jitter, self.processes[n].clock(self.now));
                self.processes[n].call = None;
                self.processes[n].elector.answered(clock, answer, jitter);
                self.run(n);
            }
            Event::Run if self.processes[n].call.is_none() => self.run(n),
            Event::Answer { .. } | Event::Run | Event::Arrive { .. } => {}
        }
    }

    fn restart(&mut self, n: usize) {
        let process = &mut self.processes[n];
        process.life += 1;
        process.call = None;
        process.asleep_until = 0;
        process.elector = Elector::new(Timing::default(), format!("{n}-{}", process.life), 0);
        self.plan(self.now + 1_000, n, Event::Run);
    }

    fn run(&mut self, n: usize) {
        let clock = self.processes[n].clock(self.now);
        match self.processes[n].elector.next(clock) {
            Step::Wait { until, .. } => self.plan(self.processes[n].when(until), n, Event::Run),
            Step::Lost { .. } => self.restart(n),
            Step::BecomeLeader { epoch } => {
                if let Some((_, _, last)) = self.terms.last() {
                    assert!(epoch > *last, "epoch {epoch} after {last}");
                }
                self.terms.push((self.now, n, epoch));
                self.plan(self.now, n, Event::Run);
            }
            call => self.send(n, call),
        }
    }

    fn send(&mut self, n: usize, step: Step) {
        let fate = self.fates[self.fate];
        self.fate = (self.fate + 1) % self.fates.len();
        let (Step::Get { within } | Step::Create { within, .. } | Step::Replace { within, .. }) = step else { return };
        let call = self.planned;
        self.processes[n].call = Some(call);
        if let Some(there) = fate.there {
            self.plan(self.now + there, n, Event::Arrive { call, step, back: fate.back });
        }
        let late = self.processes[n].when(self.processes[n].clock(self.now) + within);
        self.plan(late, n, Event::Answer { call, answer: Answer::Unknown });
    }

    fn serve(&mut self, step: Step) -> Answer {
        match (step, &self.lease) {
            (Step::Get { .. }, Some(lease)) => Answer::Found(lease.clone()),
            (Step::Get { .. } | Step::Replace { .. }, None) => Answer::Absent,
            (Step::Create { claim, .. }, None) => self.write(claim),
            (Step::Replace { resource_version, claim, .. }, Some(lease)) if lease.resource_version == resource_version => {
                self.write(claim)
            }
            _ => Answer::Conflict,
        }
    }

    fn write(&mut self, claim: Claim) -> Answer {
        self.version += 1;
        let lease = Lease {
            resource_version: self.version.to_string(),
            holder: claim.holder,
            duration: claim.duration,
            transitions: claim.transitions,
        };
        self.lease = Some(lease.clone());
        Answer::Written(lease)
    }
}

fn way() -> impl Strategy<Value = Option<u64>> {
    prop_oneof![6 => (0u64..300).prop_map(Some), 2 => (300u64..30_000).prop_map(Some), 1 => Just(None)]
}

fn fate() -> impl Strategy<Value = Fate> {
    (way(), way(), -1.0..1.0f64).prop_map(|(there, back, jitter)| Fate { there, back, jitter })
}

fn mishap() -> impl Strategy<Value = Mishap> {
    prop_oneof![(100u64..60_000).prop_map(Mishap::Stopped), Just(Mishap::Killed), Just(Mishap::GivesBack)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 400 } else { 4_000 }))]

    #[test]
    fn never_two_lead_at_one_moment_and_no_epoch_comes_twice(
        clocks in prop::collection::vec((0u64..1_000_000_000_000, 850u64..=1_200), 2..=3),
        fates in prop::collection::vec(fate(), 1..60),
        mishaps in prop::collection::vec((0..HORIZON, 0usize..3, mishap()), 0..12),
    ) {
        let mut world = World::new(&clocks, fates);
        let mut mishaps = mishaps;
        mishaps.sort_by_key(|(at, ..)| *at);
        for (at, n, mishap) in mishaps {
            world.until(at);
            let n = n % clocks.len();
            world.plan(at, n, Event::Mishap(mishap));
        }
        world.until(HORIZON);
    }

    /// However it came about, once calls are answered again somebody leads; and when that one dies, the next one.
    #[test]
    fn another_takes_over_within_the_leases_duration_and_a_period(
        fates in prop::collection::vec(fate(), 1..40),
        there in 0u64..100, back in 0u64..100, jitter in -1.0..1.0f64, dies_after in 0u64..20_000,
    ) {
        let mut world = World::new(&[(0, 1_000), (77_000_000, 1_000), (5, 1_000)], fates);
        world.until(60_000);
        world.fates = vec![Fate { there: Some(there), back: Some(back), jitter }];
        world.fate = 0;
        // The longest that an earlier call may be under way, a Lease, a period.
        world.until(60_000 + 2 * 30_000 + 15_000 + 5_000);
        let leads = |world: &World| (0..3).find(|&n| world.processes[n].holds(world.now));
        prop_assert!(leads(&world).is_some());
        world.until(world.now + dies_after);
        let leader = leads(&world).unwrap();
        // For good.
        world.processes[leader].asleep_until = u64::MAX;
        let (died, terms) = (world.now, world.terms.len());
        world.until(died + 60_000);
        let (next, who, _) = world.terms[terms];
        // Its last write may have been seen one period and one answer after it; then a look and the taking.
        let bound = 15_000 + 2_400 + 4 * (there + back) + 100;
        prop_assert!(who != leader && next - died <= bound, "took {} ms", next - died);
    }
}

#[test]
fn a_lease_that_is_given_back_has_a_new_holder_within_a_period() {
    let mut world = World::new(&[(0, 1_000), (9, 1_000)], vec![Fate { there: Some(5), back: Some(5), jitter: 1.0 }]);
    world.until(30_000);
    let leader = world.terms[0].1;
    world.plan(world.now, leader, Event::Mishap(Mishap::GivesBack));
    world.until(33_000);
    let (next, _, epoch) = world.terms[1];
    assert!(epoch == 2 && next - 30_000 <= 2_400 + 30, "{} ms", next - 30_000);
}
