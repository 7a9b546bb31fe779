//! Two replicas over one PostgreSQL: one leads, the other is Ready and of use, and either may fail.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jobmeter_tests::coordinator::{self, Leadership};
use jobmeter_tests::installation::{agent_pod, install_with};
use jobmeter_tests::pools::{self, Observer};
use jobmeter_tests::processes::send;
use jobmeter_tests::wait::eventually;
use jobmeter_tests::{Cluster, Installation, ObjectStore, Postgres, or_skip};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::{SOON, each_completed_once, gated_job};

const PODS: usize = 60;
const SIZE: usize = 5;
const LONG: Duration = Duration::from_secs(300);

/// Two replicas, until it is dropped: then one again, as all other tests expect it.
struct TwoReplicas<'a> {
    cluster: &'a Cluster,
    postgres: Postgres,
}

impl<'a> TwoReplicas<'a> {
    fn install(cluster: &'a Cluster) -> Result<Self> {
        let postgres = Postgres::start()?;
        postgres.tell(cluster)?;
        // A directory would not be shared between the two.
        ObjectStore::ensure(cluster)?;
        let two = Self { cluster, postgres };
        install_with(cluster, "two-replicas")?;
        eventually("both replicas to be Ready", Duration::from_secs(120), || {
            let pods = coordinator::pods(cluster)?;
            Ok((pods.len() == 2 && pods.iter().all(coordinator::is_ready)).then_some(()))
        })?;
        Ok(two)
    }

    /// The one replica that does not lead, once it is there and Ready.
    fn follower(&self, leader: &Leadership) -> Result<Value> {
        eventually("a follower to be Ready", SOON, || {
            Ok(coordinator::followers(self.cluster, leader)?.into_iter().find(coordinator::is_ready))
        })
    }
}

impl Drop for TwoReplicas<'_> {
    fn drop(&mut self) {
        let leftover = ["delete", "poddisruptionbudget", "-n", "jobmeter", "jobmeter-coordinator", "--ignore-not-found"];
        if let Err(error) = self.cluster.kubectl(leftover).and_then(|_| install_with(self.cluster, "rig")) {
            eprintln!("failed to go back to one replica: {error:#}");
        }
    }
}

#[test]
fn two_replicas_never_exceed_the_pool_while_leaders_are_killed_and_stopped() -> Result<()> {
    let Some(cluster) = or_skip() else { return Ok(()) };
    Installation::ensure(&cluster)?;
    let two = TwoReplicas::install(&cluster)?;
    let namespace = cluster.namespace("failover")?;
    let name = namespace.name.as_str();
    pools::set(&cluster, &json!({name: {"size": SIZE}}))?;

    let first = coordinator::await_leader(&cluster, None)?;
    let follower = two.follower(&first)?;
    a_follower_is_of_use(&cluster, &follower, name)?;

    let observer = Observer::start()?;
    let jobs: Vec<_> = (0..6).map(|job| gated_job(name, &format!("job-{job}"), name, PODS / 6, 1.0)).collect();
    for job in &jobs {
        cluster.apply(job)?;
    }
    let let_go = |more: usize| -> Result<()> {
        let goal = observer.pool(name)?.released.len() + more;
        observer.until(name, &format!("{goal} pods to be let go"), LONG, |seen| seen.released.len() >= goal).map(drop)
    };
    let_go(8)?;
    send(coordinator::process_of(&cluster, &first.pod)?.pid, Signal::SIGKILL)?;
    let second = coordinator::await_leader(&cluster, Some(&first))?;
    println!("killed {}: {} leads", first.pod, second.pod);
    let_go(6)?;

    // Stopped in the middle of whatever it does; when it goes on, another has led for a while.
    let stopped = coordinator::process_of(&cluster, &second.pod)?.pid;
    send(stopped, Signal::SIGSTOP)?;
    let third = coordinator::await_leader(&cluster, Some(&second));
    let before = observer.pool(name)?.released.len();
    let went_on = observer.until(name, "the new leader to let pods go", LONG, |seen| seen.released.len() > before + 3);
    send(stopped, Signal::SIGCONT)?;
    let third = third?;
    went_on?;
    ensure!(third.holder != second.holder, "the stopped process still leads: {third:?}");
    println!("stopped {}: {} leads", second.pod, third.pod);
    eventually("the process that was stopped to end by itself", SOON, || {
        Ok((coordinator::process_of(&cluster, &second.pod)?.pid != stopped).then_some(()))
    })?;

    let seen = observer.all_succeeded(name, PODS, SIZE, LONG)?;
    each_completed_once(&cluster, name, &jobs)?;
    cluster.closed_records(name, PODS, LONG)?;
    let leader = coordinator::await_leader(&cluster, None)?;
    two.follower(&leader)?;
    let kept = two.postgres.ask(&format!("SELECT count(*) FROM pods WHERE namespace = '{name}'"))?;
    ensure!(kept == [PODS.to_string()], "PostgreSQL has {kept:?} records of {name}");
    println!(
        "{PODS} pods, {} changes of leader: at most {} of {SIZE} at once",
        leader.transitions - first.transitions,
        seen.most
    );
    Ok(())
}

/// Reads of its own, and what only a leader may do by way of the leader.
fn a_follower_is_of_use(cluster: &Cluster, follower: &Value, pool: &str) -> Result<()> {
    let name = coordinator::name_of(follower)?;
    let records = coordinator::api_of(cluster, name, "/v1/records?limit=10")?;
    ensure!(serde_json::from_str::<Value>(&records)?["items"].is_array(), "{records}");
    let pools = coordinator::api_of(cluster, name, "/v1/pools")?;
    ensure!(pools.contains(pool), "the follower does not ask its leader for pools: {pools}");
    let answer = report(cluster, follower)?;
    ensure!(answer.starts_with("HTTP/1.1 200"), "an agent's report to the follower: {answer}");
    Ok(())
}

/// A report as the agent of node-a would send it, with a token of its pod.
fn report(cluster: &Cluster, to: &Value) -> Result<String> {
    let agent = agent_pod(cluster, "node-a")?;
    let token = cluster.kubectl([
        "create",
        "token",
        "jobmeter-agent",
        "-n",
        "jobmeter-agent",
        "--audience=jobmeter-coordinator",
        "--bound-object-kind=Pod",
        &format!("--bound-object-name={agent}"),
    ])?;
    let ip = to["status"]["podIP"].as_str().context("the follower's address")?;
    let body = json!({"version": 1, "node": "node-a", "reports": []}).to_string();
    let mut stream = TcpStream::connect((ip, 8080)).with_context(|| format!("failed to reach the follower at {ip}"))?;
    stream.set_read_timeout(Some(SOON))?;
    write!(
        stream,
        "POST /v1/reports HTTP/1.1\r\nHost: {ip}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        token.trim(),
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
