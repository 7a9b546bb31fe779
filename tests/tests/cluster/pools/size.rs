//! At size, against the real API server, on nodes that do not exist.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use jobmeter_tests::kwok::{self, FakeNodes};
use jobmeter_tests::pools::{self, Observer};
use jobmeter_tests::processes::{HighWater, cpu_ns, of};
use jobmeter_tests::wait::eventually;
use jobmeter_tests::{Installation, coordinator, or_skip};
use serde_json::{Value, json};

use super::gated_job;

const NODES: usize = 500;
const SIZE: usize = 50;
const PODS: usize = 2_000;
const JOBS: usize = 20;
const LONG: Duration = Duration::from_secs(600);

#[test]
fn two_thousand_pods_over_five_hundred_nodes_never_exceed_their_pools() -> Result<()> {
    let Some(cluster) = or_skip() else { return Ok(()) };
    Installation::ensure(&cluster)?;
    let namespace = cluster.namespace("size")?;
    let name = namespace.name.as_str();
    let begun = Instant::now();
    let _nodes = FakeNodes::start(&cluster, NODES)?;
    println!("{NODES} fake nodes are Ready after {:.1?}", begun.elapsed());

    // The same size twice: once as a share of the nodes.
    let (share, places) = (format!("{name}-a"), format!("{name}-b"));
    let pool =
        |size: Value| json!({"size": size, "perNode": 1, "nodeSelector": {"type": "kwok"}, "tolerations": kwok::tolerations()});
    pools::set(&cluster, &json!({&share: pool(json!("10%")), &places: pool(json!(SIZE))}))?;
    eventually("the coordinator to know every node", Duration::from_secs(60), || {
        let pools = pools::list(&cluster)?;
        let sizes: Vec<_> = pools.iter().map(|pool| (&pool.name, pool.size, pool.nodes)).collect();
        ensure!(sizes.iter().all(|(_, size, _)| *size as usize == SIZE), "sizes and nodes: {sizes:?}");
        Ok(Some(()))
    })?;

    let observer = Observer::start()?;
    let memory = HighWater::begin(coordinator::PROGRAM)?;
    let processes = of(coordinator::PROGRAM)?;
    let cpu = || processes.iter().map(cpu_ns).sum::<Result<u64>>();
    let (cpu_before, started) = (cpu()?, Instant::now());
    for number in 0..JOBS {
        let pool = if number % 2 == 0 { &share } else { &places };
        let mut job = gated_job(name, &format!("job-{number}"), pool, PODS / JOBS, 0.0);
        let spec = &mut job["spec"]["template"]["spec"];
        spec["affinity"] = json!({});
        kwok::place(spec);
        cluster.apply(&job)?;
    }
    let mut most = 0;
    for pool in [&share, &places] {
        let seen = observer.all_succeeded(pool, PODS / 2, SIZE, LONG)?;
        ensure!(seen.most_on.values().all(|most| *most == 1), "more than one on a node: {:?}", seen.most_on);
        most = most.max(seen.most);
    }
    let (took, spent) = (started.elapsed(), cpu()? - cpu_before);
    println!(
        "{PODS} pods over {NODES} nodes in {took:.1?}: at most {most} of {SIZE} at once, one on each node; the coordinator used \
         {:.1} s of CPU and {:.1} MiB at most",
        spent as f64 / 1e9,
        memory.end()? as f64 / f64::from(1 << 20)
    );
    Ok(())
}
