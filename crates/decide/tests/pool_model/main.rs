//! Ten thousand jobs through the pool, in a cluster where everything goes wrong: coordinators crash and are followed by others while
//! their writes are still on the way, answers get lost, watches have gaps, old events come again, nodes vanish, people remove gates
//! and labels, pools grow and shrink. After every event it is asked of the cluster itself, not of the ledger, that no pool has more
//! than its size, no node more than its fill or its rate, and in the end that every job ran once.
//!
//! The same cases in every run; `PROPTEST_RNG_SEED=N` chooses others. A failure prints its `Scenario`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests may end in a panic")]

mod cluster;
mod judge;
mod leader;
mod random;
mod world;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use world::{Scenario, World};

/// With [`JOBS`] each: ten thousand.
const CASES: u32 = 40;
const JOBS: u32 = 250;

fn scenario() -> impl Strategy<Value = Scenario> {
    let limits = (proptest::option::of(1_u32..4), proptest::option::of(1_u32..4), any::<bool>());
    (any::<u64>(), 1_u32..24, 2_u32..30, limits, 0_u32..100, 0_u32..100).prop_map(
        |(seed, size, nodes, (per_node, start_rate, fair), trouble, failovers)| Scenario {
            seed,
            jobs: JOBS,
            size,
            nodes,
            per_node,
            start_rate,
            fair,
            trouble,
            failovers,
        },
    )
}

fn config() -> ProptestConfig {
    let given = ProptestConfig::default();
    let rng_seed = match given.rng_seed {
        RngSeed::Random => RngSeed::Fixed(1),
        chosen @ RngSeed::Fixed(_) => chosen,
    };
    ProptestConfig { cases: CASES, max_shrink_iters: 64, failure_persistence: None, rng_seed, ..given }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn whatever_goes_wrong_no_pool_has_more_than_its_size_and_every_job_runs_once(scenario in scenario()) {
        World::new(scenario).run();
    }
}
