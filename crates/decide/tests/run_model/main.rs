//! Node runs in a cluster where everything goes wrong: coordinators crash before, between and after what they store and do, their
//! writes arrive late, answers get lost, watches have gaps and tell old news again, lists are stale, strangers delete pods, nodes go
//! and come, people start, cancel and retry. After every plan it is asked of the cluster and of the store, not of the runs, that no
//! attempt is begun again once its pod was known, that nothing is made for a node that is over, that what is stored is what is
//! known, and in the end that every run is over.
//!
//! The same cases in every run; `PROPTEST_RNG_SEED=N` chooses others. A failure prints its `Scenario`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests may end in a panic")]

mod cluster;
mod judge;
#[path = "../pool_model/random.rs"]
mod random;
mod world;

use jobmeter_protocol::runs::{Overlap, Placement};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use world::{Scenario, World};

const CASES: u32 = 24;

fn scenario() -> impl Strategy<Value = Scenario> {
    let size = (any::<u64>(), 1_u32..14, 1_u32..6, 0_u32..4);
    let rules = (prop_oneof![Just(0), 1_u32..4], proptest::option::of(1_u32..5), any::<bool>(), any::<bool>(), any::<bool>());
    let overlap = prop_oneof![Just(Overlap::Forbid), Just(Overlap::Replace), Just(Overlap::Allow)];
    let placement = prop_oneof![Just(Placement::Scheduler), Just(Placement::NodeName)];
    (size, rules, overlap, placement, 0_u32..100, 0_u32..100, 1_u32..4).prop_map(
        |((seed, nodes, pool, retries), rules, overlap, placement, trouble, crashes, history)| {
            let (canary, max_failures, new_nodes, result_required, deadlines) = rules;
            Scenario {
                seed,
                nodes,
                pool,
                retries,
                canary,
                max_failures,
                new_nodes,
                result_required,
                deadlines,
                overlap,
                placement,
                trouble,
                crashes,
                history,
            }
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
    fn whatever_goes_wrong_no_attempt_runs_twice_and_every_run_ends_and_is_stored_as_it_was(scenario in scenario()) {
        World::new(scenario).run();
    }
}
