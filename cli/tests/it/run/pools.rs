//! `--pools` of `jobmeter run` and `jobmeter standalone`: named pools on one machine.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jobmeter_protocol::{PoolDetail, PoolStatus};

use super::service::{Service, submit};
use super::{Place, told};

/// A job of pods that each take a directory which only one can have at a time.
fn exclusive(pool: &str, lock: &str) -> String {
    format!(
        "apiVersion: batch/v1\nkind: Job\nmetadata: {{name: one-by-one}}\nspec:\n  completions: 4\n  parallelism: 4\n  backoffLimit: 0\n  \
         template:\n    metadata: {{labels: {{jobmeter.io/pool: {pool}}}}}\n    spec:\n      restartPolicy: Never\n      containers:\n      \
         - name: main\n        image: debian\n        command: [sh, -c, 'mkdir {lock} && sleep 0.2 && rmdir {lock}']\n"
    )
}

#[test]
fn a_pool_of_one_place_runs_one_pod_at_a_time_though_the_machine_has_room() {
    let place = Place::new();
    let pools = place.file("pools.yaml", "pools:\n  narrow: {size: 1}\n");
    let file = place.file("f.yaml", &exclusive("narrow", &place.path().join("lock").display().to_string()));
    let arguments = ["-f", file.to_str().unwrap(), "--pool", "4", "--pools", pools.to_str().unwrap()];
    let output = place.run(&arguments);
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    assert_eq!(place.records().len(), 4);
}

#[test]
fn a_pool_that_is_not_in_the_file_and_a_file_that_is_wrong_are_mistakes_of_the_user() {
    let place = Place::new();
    let file = place.file("f.yaml", &exclusive("wide", "/nowhere"));
    let file = file.to_str().unwrap();
    let narrow = place.file("pools.yaml", "pools:\n  narrow: {size: 1}\n");
    let output = place.run(&["-f", file, "--pools", narrow.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(64));
    assert!(told(&output).contains("names pool \"wide\", which is not configured: there are narrow"), "{}", told(&output));
    let wrong = place.file("wrong.yaml", "pools:\n  wide:\n    size: many\n");
    let output = place.run(&["-f", file, "--pools", wrong.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(64));
    assert!(told(&output).contains("line 3: pools.wide.size: `many` is no size"), "{}", told(&output));
    assert!(place.records().is_empty());
}

/// A Job whose pods note when they begin and end, and end once the gate is there.
struct Noted {
    notes: PathBuf,
    gate: PathBuf,
}

impl Noted {
    fn new(place: &Place) -> Self {
        Self { notes: place.path().join("notes"), gate: place.path().join("gate") }
    }

    fn job(&self, name: &str, pool: &str, pods: u32) -> String {
        let (notes, gate) = (self.notes.display(), self.gate.display());
        let note = |what: &str| format!("echo {pool} $(date +%s%N) {what} >> {notes}");
        let script = format!("{}; until [ -e {gate} ]; do sleep 0.02; done; sleep 0.1; {}", note("1"), note("-1"));
        format!(
            "---\napiVersion: batch/v1\nkind: Job\nmetadata: {{name: {name}}}\nspec:\n  completions: {pods}\n  parallelism: {pods}\n  \
             template:\n    metadata: {{labels: {{jobmeter.io/pool: {pool}}}}}\n    spec:\n      restartPolicy: Never\n      \
             containers: [{{name: main, command: [sh, -c, '{script}']}}]\n"
        )
    }

    /// The most that ran at once by their own notes, and how many ran at all.
    fn most(&self, pool: &str) -> (i32, usize) {
        let notes = std::fs::read_to_string(&self.notes).unwrap();
        let note = |line: &str| -> Option<(u64, i32)> {
            let (at, change) = line.strip_prefix(pool)?.trim().split_once(' ')?;
            Some((at.parse().unwrap(), change.parse().unwrap()))
        };
        let mut notes: Vec<_> = notes.lines().filter_map(note).collect();
        notes.sort_by_key(|(at, change)| (*at, -change));
        let mut running = 0;
        let most = notes.iter().map(|(_, change)| {
            running += change;
            running
        });
        (most.max().unwrap(), notes.len() / 2)
    }
}

fn pools(place: &Place) -> Vec<PoolStatus> {
    let output = place.jobmeter("pools").args(["-o", "json"]).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", told(&output)))
}

/// Name, size, used, queued, and for what.
fn brief(pool: &PoolStatus) -> String {
    format!("{} {} {} {} {:?}", pool.name, pool.size, pool.used, pool.queued, pool.waiting)
}

fn eventually(place: &Place, expected: &[&str]) {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let seen: Vec<_> = pools(place).iter().map(brief).collect();
        if seen == expected {
            return;
        }
        assert!(Instant::now() < until, "{seen:#?}");
    }
}

fn standalone(place: &Place, most: &str, pools: &Path) -> Service {
    Service::with(place, &["--pool", most, "--pools", pools.to_str().unwrap()])
}

#[test]
fn jobmeter_pools_of_a_standalone_tells_what_the_jobs_themselves_say() {
    let place = Place::new();
    let file = place.file("pools.yaml", "pools:\n  narrow: {size: 1}\n  wide: {size: 3, order: fairShare}\n");
    let service = standalone(&place, "4", &file);
    let noted = Noted::new(&place);
    let jobs = noted.job("first", "narrow", 3) + &noted.job("second", "wide", 5) + &noted.job("third", "narrow", 1);
    let jobs = place.file("jobs.yaml", &jobs);
    assert!(submit(&place, &["-f", jobs.to_str().unwrap()]).status.success());
    eventually(&place, &[r#"narrow 1 1 3 {"pool_full": 3}"#, r#"wide 3 3 2 {"pool_full": 2}"#]);

    let output = place.jobmeter("pool").args(["narrow", "-o", "json"]).output().unwrap();
    let narrow: PoolDetail = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", told(&output)));
    let [member] = &narrow.members[..] else { panic!("{narrow:#?}") };
    assert!(member.name.starts_with("first-") && member.state == "bound" && member.since.is_some(), "{member:?}");
    let waiting = narrow.waiting.iter().map(|wait| (wait.position, wait.name.as_str(), wait.why.as_str()));
    let why = "the pool is full: 1 of 1 places are taken";
    assert_eq!(waiting.collect::<Vec<_>>(), [(1, "first", why), (2, "first", why), (3, "third", why)]);
    let table = place.jobmeter("pool").arg("narrow").output().unwrap();
    assert!(told(&table).contains("job/third"), "{}", told(&table));
    assert_eq!(place.jobmeter("pool").arg("typo").output().unwrap().status.code(), Some(1));
    let (_, metrics) = service.ask("GET", "/metrics", None, "");
    assert!(metrics.contains(r#"jobmeter_pool_queued{pool="narrow"} 3"#), "{metrics}");

    std::fs::write(&noted.gate, "").unwrap();
    eventually(&place, &["narrow 1 0 0 {}", "wide 3 0 0 {}"]);
    assert_eq!((noted.most("narrow"), noted.most("wide")), ((1, 4), (3, 5)));
    assert_eq!(service.stop(), Some(0));
}

#[test]
fn the_machine_is_said_to_be_full_where_a_pool_is_not() {
    let place = Place::new();
    let file = place.file("pools.yaml", "pools:\n  wide: {size: 9}\n");
    let service = standalone(&place, "1", &file);
    let jobs = place.file("jobs.yaml", &Noted::new(&place).job("first", "wide", 3));
    assert!(submit(&place, &["-f", jobs.to_str().unwrap()]).status.success());
    eventually(&place, &[r#"wide 9 1 2 {"machine_full": 2}"#]);
    assert_eq!(service.stop(), Some(0));
}

#[test]
fn the_pools_file_of_a_standalone_may_change_and_a_wrong_one_changes_nothing() {
    let place = Place::new();
    let file = place.file("pools.yaml", "pools:\n  narrow: {size: 1}\n");
    let service = standalone(&place, "8", &file);
    let noted = Noted::new(&place);
    let jobs = place.file("jobs.yaml", &noted.job("first", "narrow", 4));
    assert!(submit(&place, &["-f", jobs.to_str().unwrap()]).status.success());
    eventually(&place, &[r#"narrow 1 1 3 {"pool_full": 3}"#]);
    place.file("pools.yaml", "pools:\n  narrow: {size: 3}\n  other: {size: 1}\n");
    eventually(&place, &[r#"narrow 3 3 1 {"pool_full": 1}"#, "other 1 0 0 {}"]);

    place.file("pools.yaml", "pools:\n  narrow: {size: many}\n");
    let until = Instant::now() + Duration::from_secs(20);
    while !service.ask("GET", "/status", None, "").1.contains("line 2: pools.narrow.size") {
        assert!(Instant::now() < until, "the wrong file was not noticed");
    }
    let jobs = place.file("jobs.yaml", &noted.job("second", "other", 1));
    let output = submit(&place, &["-f", jobs.to_str().unwrap()]);
    assert!(output.status.success(), "{}", told(&output));
    eventually(&place, &[r#"narrow 3 3 1 {"pool_full": 1}"#, "other 1 1 0 {}"]);

    // Who is in a pool that is gone goes on; who waits for it waits.
    place.file("pools.yaml", "pools:\n  other: {size: 1}\n");
    eventually(&place, &[r#"narrow 0 3 1 {"no_such_pool": 1}"#, "other 1 1 0 {}"]);
    std::fs::write(&noted.gate, "").unwrap();
    eventually(&place, &[r#"narrow 0 0 1 {"no_such_pool": 1}"#, "other 1 0 0 {}"]);
    place.file("pools.yaml", "pools:\n  narrow: {size: 1}\n");
    eventually(&place, &["narrow 1 0 0 {}"]);
    assert_eq!(noted.most("narrow"), (3, 4));
    assert_eq!(service.stop(), Some(0));
}
