//! Jobs of one machine in named pools.

use super::*;

fn named(name: &str, size: u32) -> PoolSettings {
    PoolSettings {
        name: name.to_owned(),
        size: Size::Places(size),
        per_node: None,
        start_rate: None,
        order: Order::Fifo,
        nodes: Requirements::default(),
    }
}

fn pooled(pool: &str) -> Plan {
    Plan { pool: Some(pool.to_owned()), ..plan() }
}

#[test]
fn a_job_obeys_its_pool_and_leaves_the_machine_to_others() {
    let mut world = World::new(8, &|_| OK);
    world.observe(Observation::Pools(vec![named("gpu", 1)]));
    world.submit(0, Plan { completions: Some(3), parallelism: 3, ..pooled("gpu") });
    world.submit(1, plan());
    let full = WaitReason::Pool(Pooled::PoolFull { used: 1, size: 1 });
    assert_eq!(world.controller.waiting(world.now), [Waiting { job: JobKey(0), pods: 2, why: full }]);
    world.run();
    assert_eq!(world.job_ends(), [(1, 1, COMPLETE), (3, 0, COMPLETE)]);
}

#[test]
fn a_higher_priority_starts_first_and_fair_share_goes_round_the_namespaces() {
    let mut world = World::new(1, &|_| OK);
    for (job, priority) in [(0, 0), (1, 0), (2, 5)] {
        world.submit(job, Plan { priority, ..plan() });
    }
    world.run();
    assert_eq!(world.job_ends().iter().map(|end| end.1).collect::<Vec<_>>(), [0, 2, 1]);
    let mut world = World::new(8, &|_| OK);
    world.observe(Observation::Pools(vec![PoolSettings { order: Order::FairShare, ..named("gpu", 2) }]));
    for (job, namespace) in [(0, "a"), (1, "a"), (2, "a"), (3, "b")] {
        world.submit(job, Plan { namespace: namespace.to_owned(), ..pooled("gpu") });
    }
    world.run();
    let started = |(_, step): &(_, Step)| if let Step::StartPod { pod, .. } = step { Some(pod.job.0) } else { None };
    // The first two places are taken before b has come.
    assert_eq!(world.log.iter().filter_map(started).collect::<Vec<_>>(), [0, 1, 3, 2]);
}

#[test]
fn the_start_rate_of_a_pool_holds_on_one_machine_and_wakes_by_itself() {
    let mut world = World::new(8, &|_| OK);
    let rate = StartRate { starts: 2, within: 10 * SECOND };
    world.observe(Observation::Pools(vec![PoolSettings { start_rate: Some(rate), ..named("gpu", 8) }]));
    world.submit(0, Plan { completions: Some(5), parallelism: 5, ..pooled("gpu") });
    world.run();
    assert_eq!(world.starts().iter().map(|start| start.0).collect::<Vec<_>>(), [0, 0, 10, 10, 20]);
}

#[test]
fn a_pool_that_vanishes_holds_its_jobs_and_one_that_comes_back_lets_them_go() {
    let mut world = World::new(8, &|_| OK);
    world.observe(Observation::Pools(vec![named("gpu", 0)]));
    world.submit(0, pooled("gpu"));
    let why = |world: &World<'_>| world.controller.waiting(world.now)[0].why.clone();
    assert_eq!(why(&world), WaitReason::Pool(Pooled::Paused));
    world.observe(Observation::Pools(Vec::new()));
    assert_eq!(why(&world), WaitReason::Pool(Pooled::NoSuchPool { pool: "gpu".into() }));
    assert!(!world.controller.has_pool("gpu"));
    world.observe(Observation::Pools(vec![named("gpu", 1)]));
    world.run();
    assert_eq!(world.job_ends(), [(1, 0, COMPLETE)]);
}

struct ByKey;

impl Names for ByKey {
    fn node(&self) -> &str {
        "here"
    }

    fn job(&self, job: JobKey) -> Option<Named> {
        Some(Named { name: format!("job-{}", job.0), uid: String::new() })
    }

    fn pod(&self, pod: PodKey) -> Option<Named> {
        Some(Named { name: format!("job-{}-{}", pod.job.0, pod.serial), uid: String::new() })
    }
}

#[test]
fn people_see_who_is_in_a_pool_and_whether_the_pool_or_the_machine_holds_the_others_back() {
    let mut world = World::new(3, &|_| ENDLESS);
    world.observe(Observation::Pools(vec![named("gpu", 2), named("cpu", 8)]));
    world.submit(0, Plan { completions: Some(9), parallelism: 4, ..pooled("gpu") });
    world.submit(1, Plan { completions: Some(10), parallelism: 10, ..pooled("cpu") });
    world.submit(2, Plan { priority: 5, ..pooled("gpu") });
    let waits = |status: &PoolStatus| status.waiting.iter().map(|(why, pods)| format!("{why} {pods}")).collect::<Vec<_>>();
    let pools = world.controller.pools(world.now);
    let seen: Vec<_> = pools.iter().map(|pool| (pool.name.as_str(), pool.size, pool.used, pool.queued, waits(pool))).collect();
    // cpu has free places; of the job's nine in gpu only four are to run at once.
    let only = |why: &str| vec![why.to_owned()];
    assert_eq!(seen, [("cpu", 8, 1, 9, only("machine_full 9")), ("gpu", 2, 2, 3, only("pool_full 3"))]);
    let full = world.controller.waiting(world.now).into_iter().find(|waiting| waiting.job == JobKey(1)).unwrap();
    assert_eq!(full.why, WaitReason::PoolFull, "the machine's");
    let gpu = world.controller.pool("gpu", 2, &ByKey, world.now).unwrap();
    assert_eq!(gpu.members.iter().map(|member| member.name.as_str()).collect::<Vec<_>>(), ["job-0-0", "job-0-1"]);
    assert_eq!(
        gpu.waiting.iter().map(|wait| (wait.position, wait.name.as_str())).collect::<Vec<_>>(),
        [(1, "job-2"), (2, "job-0")]
    );
    assert_eq!(world.controller.pool("typo", 2, &ByKey, world.now), None);
    // A pool that vanishes is seen for as long as somebody is in it.
    world.observe(Observation::Pools(Vec::new()));
    let gone = &world.controller.pools(world.now)[1];
    assert_eq!((gone.used, gone.over, gone.configured_size.as_str()), (2, 0, "not configured"));
    assert_eq!(waits(gone), ["no_such_pool 3"]);
}

#[test]
fn who_waits_under_fair_share_is_told_in_the_order_of_admission() {
    let mut world = World::new(8, &|_| ENDLESS);
    world.observe(Observation::Pools(vec![PoolSettings { order: Order::FairShare, ..named("gpu", 1) }]));
    for (job, namespace) in [(0, "a"), (1, "a"), (2, "a"), (3, "b"), (4, "b")] {
        world.submit(job, Plan { namespace: namespace.to_owned(), ..pooled("gpu") });
    }
    let waiting = world.controller.pool("gpu", 9, &ByKey, world.now).unwrap().waiting;
    assert_eq!(waiting.iter().map(|wait| wait.name.as_str()).collect::<Vec<_>>(), ["job-3", "job-1", "job-4", "job-2"]);
}
