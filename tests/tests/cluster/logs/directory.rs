//! Without a store: every byte passes through the coordinator into its own directory. First of the tests here, since the
//! coordinator goes back to its directory only when it is started anew.

use anyhow::Result;
use jobmeter_tests::{Installation, ObjectStore, or_skip};

use super::large::arrives_whole;

#[test]
fn a_two_gibibyte_log_through_the_coordinator_arrives_whole() -> Result<()> {
    let Some(cluster) = or_skip() else { return Ok(()) };
    Installation::ensure(&cluster)?;
    let directory = ObjectStore::forget(&cluster)?;
    arrives_whole(&cluster, "large-proxied", &directory)
}
