//! The coordinator ends at the worst moments: in the middle of letting pods go.

use std::time::Duration;

use anyhow::{Result, ensure};
use jobmeter_tests::pools::{self, Observer};
use jobmeter_tests::processes::kill_dash_nine;
use jobmeter_tests::{Installation, coordinator, or_skip};
use serde_json::json;

use super::{each_completed_once, gated_job};

const JOBS: usize = 10;
const PODS: usize = 100;
const SIZE: usize = 7;
/// After so many more pods were let go it is killed: at the first of a handful, within one, between two.
const KILLS: [usize; 6] = [1, 9, 3, 17, 5, 12];
const LONG: Duration = Duration::from_secs(300);

#[test]
fn a_hundred_gated_pods_never_exceed_the_pool_while_the_coordinator_is_killed() -> Result<()> {
    let Some(cluster) = or_skip() else { return Ok(()) };
    Installation::ensure(&cluster)?;
    let namespace = cluster.namespace("seven")?;
    let name = namespace.name.as_str();
    pools::set(&cluster, &json!({name: {"size": SIZE}}))?;
    let observer = Observer::start()?;
    let jobs: Vec<_> =
        (0..JOBS).map(|job| gated_job(name, &format!("job-{job}"), name, PODS / JOBS, 0.2 + job as f64 / 10.0)).collect();
    for job in &jobs {
        cluster.apply(job)?;
    }
    let mut killed = 0;
    for more in KILLS {
        let goal = observer.pool(name)?.released.len() + more;
        observer.until(name, &format!("{goal} pods to be let go"), LONG, |seen| seen.released.len() >= goal)?;
        killed += kill_dash_nine(coordinator::PROGRAM)?;
    }
    let seen = observer.all_succeeded(name, PODS, SIZE, LONG)?;
    ensure!(killed >= KILLS.len() - 1, "the coordinator was there to be killed only {killed} times");
    each_completed_once(&cluster, name, &jobs)?;
    coordinator::rolled_out(&cluster)?;
    cluster.closed_records(name, PODS, LONG)?;
    println!("{PODS} pods, killed {killed} times: at most {} of {SIZE} at once", seen.most);
    Ok(())
}

#[test]
fn pods_that_wait_while_no_coordinator_runs_are_let_go_when_one_is_back() -> Result<()> {
    let Some(cluster) = or_skip() else { return Ok(()) };
    Installation::ensure(&cluster)?;
    let namespace = cluster.namespace("nobody")?;
    let name = namespace.name.as_str();
    pools::set(&cluster, &json!({name: {"size": 2}}))?;
    let observer = Observer::start()?;
    cluster.apply(&gated_job(name, "first", name, 4, 4.0))?;
    observer.until(name, "two pods to be let go", LONG, |seen| seen.released.len() >= 2)?;
    let scale = |replicas: &str| {
        cluster
            .kubectl(["scale", "-n", "jobmeter", "deployment/jobmeter-coordinator", &format!("--replicas={replicas}")])
            .map(drop)
    };
    scale("0")?;
    // Whatever happens below, no other test is to find nobody there.
    let ended = observer.until(name, "the two to end", LONG, |seen| seen.ended() >= 2);
    let let_go = observer.pool(name)?.released.len();
    scale("1")?;
    ended?;
    coordinator::rolled_out(&cluster)?;
    ensure!(let_go == 2, "{let_go} pods were let go, and nobody was there to do it");
    observer.all_succeeded(name, 4, 2, LONG)?;
    cluster.closed_records(name, 4, LONG).map(drop)
}
