//! At size, against the real API server, on nodes that do not exist.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use jobmeter_protocol::runs::RunState;
use jobmeter_tests::kwok::{self, FakeNodes};
use jobmeter_tests::pools::Observer;
use jobmeter_tests::processes::{HighWater, cpu_ns, of};
use jobmeter_tests::runs::{self, Definitions};
use jobmeter_tests::{Installation, coordinator, or_skip};
use serde_json::json;

use super::{SOON, jobmeter};

const NAME: &str = "five-hundred";
const NODES: usize = 500;
const SIZE: usize = 50;
const DEADLINE: Duration = Duration::from_secs(600);

#[test]
fn a_run_over_five_hundred_nodes_keeps_its_pool_of_fifty() -> Result<()> {
    let Some(cluster) = or_skip() else { return Ok(()) };
    Installation::ensure(&cluster)?;
    let begun = Instant::now();
    let _nodes = FakeNodes::start(&cluster, NODES)?;
    println!("{NODES} fake nodes are Ready after {:.1?}", begun.elapsed());
    let observer = Observer::start()?;
    let mut definition = runs::definition(NAME, SIZE as u32, "true", &json!({"resultRequired": false}));
    definition["jobNodeSelector"] = json!({"type": "kwok"});
    definition["podTemplate"]["spec"]["tolerations"] = kwok::tolerations();
    let _definitions = Definitions::set(&cluster, &[definition])?;

    let memory = HighWater::begin(coordinator::PROGRAM)?;
    let processes = of(coordinator::PROGRAM)?;
    let cpu = || processes.iter().map(cpu_ns).sum::<Result<u64>>();
    let (cpu_before, started) = (cpu()?, Instant::now());
    let before = runs::list(&cluster, NAME)?;
    let before: Vec<_> = before.iter().map(|run| run.id.as_str()).collect();
    jobmeter(&["runs", "start", NAME])?;
    let id = runs::next(&cluster, NAME, &before, SOON)?.id;
    let seen = observer.all_succeeded(&runs::pool_of(NAME), NODES, SIZE, DEADLINE)?;
    let run = runs::over(&cluster, &id, SOON)?;
    let (took, spent) = (started.elapsed(), cpu()? - cpu_before);
    ensure!(
        run.run.state == RunState::Succeeded && run.nodes.len() == NODES && run.run.nodes.succeeded as usize == NODES,
        "{:#?}",
        run.run
    );
    ensure!(seen.most_on.len() == NODES && seen.most_on.values().all(|most| *most == 1), "not one on each node");
    println!(
        "a run over {NODES} nodes in {took:.1?}: at most {} of {SIZE} at once, one on each node; the coordinator used {:.1} s of CPU \
         and {:.1} MiB at most",
        seen.most,
        spent as f64 / 1e9,
        memory.end()? as f64 / f64::from(1 << 20)
    );
    Ok(())
}
