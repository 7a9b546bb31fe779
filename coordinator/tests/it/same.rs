//! The same records in both databases: the same questions get the same answers, page by page.

use jiff::Timestamp;
use jobmeter_coordinator::store::{Change, Store};
use jobmeter_decide::example::{at, owner};
use jobmeter_decide::job_view::{JobCondition, JobObject};
use jobmeter_protocol::runs::{NodeRunState, RunChange, RunQuery, RunState};
use jobmeter_protocol::{PodPhase, RecordQuery, SortBy, Stage};

use crate::engines::Bed;
use crate::harness::{api, evidence, pod, uid};
use crate::runs_store;

const QUERIES: usize = 40;
const SORTS: [SortBy; 7] =
    [SortBy::Finished, SortBy::Started, SortBy::Elapsed, SortBy::Cpu, SortBy::Memory, SortBy::Rss, SortBy::Name];
const NAMES: [&str; 6] = ["sort", "Sort", "sört", "merge", "merge-2", "scan"];
const NAMESPACES: [&str; 4] = ["bench", "ci", "Bench", "b-ench"];

/// Each is told change by change, as agents do: that takes a while.
const RECORDS: usize = 2_000;

/// Numbers that are the same in every run (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % end as u64).unwrap()
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    fn maybe<T>(&mut self, one_in: usize, value: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (self.below(one_in) == 0).then(|| value(self))
    }

    /// What is told of one pod; many of them tie, and no sum of their figures is rounded.
    fn changes(&mut self, n: usize) -> Vec<Change> {
        let job = format!("{}-{}", self.of(&NAMES), self.below(40));
        let mut pod = pod(n, &job);
        pod.namespace = self.of(&NAMESPACES).into();
        pod.created = Some(at(self.below(500) as f64));
        pod.labels.insert("size".into(), self.of(&["s", "m", "l"]).into());
        if self.below(3) == 0 {
            pod.labels.insert("example.com/team".into(), self.of(&["ü", "a.b", ""]).into());
        }
        let mut evidence = evidence(25 * self.below(400));
        evidence.pod_uid = uid(n);
        let start = self.below(900) as f64 / 2.0;
        for container in &mut evidence.containers {
            container.started = Some(at(start));
            container.ended = container.ended.map(|_| at(start + self.below(40) as f64 / 4.0));
        }
        match self.below(4) {
            0 => {
                pod.phase = PodPhase::Running;
                evidence.stage = Stage::Running;
                evidence.containers[0].ended = None;
                (pod.containers[0].finished, pod.containers[0].exit) = (None, None);
            }
            1 => pod.phase = PodPhase::Failed,
            _ => {}
        }
        let top = owner("batch/v1", "CronJob", self.of(&["nightly", "hourly"]));
        let direct = owner("batch/v1", "Job", &job);
        let chain = if self.below(5) == 0 { vec![direct.clone(), top.clone()] } else { vec![direct.clone()] };
        let mut changes = vec![api(pod.clone(), &chain)];
        if self.below(6) != 0 {
            changes.push(Change::Evidence(Box::new(evidence)));
        }
        if self.below(20) == 0 {
            let condition = self.of(&[JobCondition::Active, JobCondition::Complete, JobCondition::Failed]);
            changes.push(Change::Job(Box::new(JobObject {
                namespace: pod.namespace.clone(),
                owner: direct,
                parent: (chain.len() > 1).then_some(top),
                condition,
                created: Some(at(self.below(300) as f64)),
                finished: (condition != JobCondition::Active).then(|| at(600.0)),
            })));
        }
        if self.below(50) == 0 {
            changes.push(Change::Vanished { uid: uid(n) });
        }
        changes
    }

    fn run_id(&mut self) -> String {
        let (minute, again) = (self.below(30), self.below(3));
        format!("2026112119{minute:02}{}", if again == 0 { String::new() } else { format!("{again:02}") })
    }

    /// Of runs that are there, that come later, and that are gone.
    fn run_change(&mut self) -> RunChange {
        const STATES: [NodeRunState; 4] =
            [NodeRunState::Waiting, NodeRunState::Running, NodeRunState::Succeeded, NodeRunState::Failed];
        let (id, definition) = (self.run_id(), self.of(&["checks", "Checks", "chöcks"]));
        let node = self.of(&["node-a", "Node-b", "node-2", "nöde", "node_c"]);
        match self.below(12) {
            0 | 1 => runs_store::begun(&id, definition),
            2 => {
                let state = self.of(&[RunState::Succeeded, RunState::Failed, RunState::Cancelled]);
                RunChange::Run { run: Box::new(runs_store::run(&id, definition, state)), settings: None }
            }
            3 if self.below(4) == 0 => RunChange::Forget { run: id },
            4..6 => runs_store::of_result(&id, runs_store::result(node, self.below(1000) as f64 / 8.0)),
            _ => runs_store::of_node(&id, runs_store::node(node, self.of(&STATES))),
        }
    }

    fn run_query(&mut self) -> RunQuery {
        RunQuery {
            definition: self.maybe(3, |random| random.of(&["checks", "Checks", "chöcks"]).to_owned()),
            state: self.maybe(4, |random| random.of(&[RunState::Running, RunState::Failed])),
            limit: self.maybe(2, |random| random.of(&[1, 7, 1000])),
            after: self.maybe(3, Self::run_id),
        }
    }

    fn query(&mut self, states: &[&str]) -> RecordQuery {
        let selectors = [
            "size=s",
            "size!=s",
            "size in (s,m)",
            "size notin (l)",
            "example.com/team",
            "!example.com/team",
            "example.com/team=a.b,size=l",
        ];
        RecordQuery {
            namespace: self.maybe(3, |random| random.of(&NAMESPACES).to_owned()),
            job: self.maybe(4, |random| match random.below(3) {
                0 => "nightly".to_owned(),
                _ => format!("{}-{}", random.of(&NAMES), random.below(40)),
            }),
            pod: self.maybe(20, |random| uid(random.below(2_000))),
            selector: self.maybe(3, |random| random.of(&selectors).to_owned()),
            state: self.maybe(4, |random| random.of(states).to_owned()),
            since: self.maybe(4, |random| at(random.below(450) as f64)),
            until: self.maybe(4, |random| at(random.below(450) as f64)),
            sort_by: Some(self.of(&SORTS)),
            limit: Some(self.of(&[1, 13, 100, 1000])),
            after: None,
        }
    }
}

#[tokio::test]
async fn both_databases_answer_every_question_alike() {
    let Some(bed) = Bed::postgres() else { return };
    let other = Bed::sqlite();
    let stores: [Store; 2] = [bed.open(), other.open()];
    let mut random = Random(0x6a6f_626d_6574_6572);
    for chunk in (0..RECORDS).collect::<Vec<_>>().chunks(250) {
        let changes: Vec<Change> = chunk.iter().flat_map(|n| random.changes(*n)).collect();
        let now: Timestamp = at(1000.0 + chunk[0] as f64);
        let [first, second] = &stores;
        let (first, second) = tokio::join!(first.apply(changes.clone(), now), second.apply(changes, now));
        assert!(first.unwrap() == second.unwrap(), "after record {}", chunk[0]);
    }
    let [first, second] = &stores;
    let (mut records, mut jobs) = (0, 0);
    for _ in 0..QUERIES {
        let mut query = random.query(&["Completed", "Error,Running", "NeverRan,Lost"]);
        for _ in 0..4 {
            let (a, b) = (first.records(&query).await.unwrap(), second.records(&query).await.unwrap());
            assert!(a.items == b.items && a.next == b.next, "{query:?}: {:?}, {:?}", a.next, b.next);
            records += a.items.len();
            query.after = a.next;
            if query.after.is_none() {
                break;
            }
        }
        let mut query = random.query(&["Completed", "Failed,Running", "Pending"]);
        query.limit = Some(random.of(&[7, 60]));
        for _ in 0..4 {
            let (a, b) = (first.jobs(&query).await.unwrap(), second.jobs(&query).await.unwrap());
            assert!(a.items == b.items && a.next == b.next, "{query:?}: {:?}, {:?}", a.next, b.next);
            jobs += a.items.len();
            if let Some(job) = a.items.first() {
                let (namespace, name) = (&job.namespace, &job.owner.name);
                assert!(
                    first.job(namespace, name).await.unwrap() == second.job(namespace, name).await.unwrap(),
                    "{namespace}/{name}"
                );
            }
            query.after = a.next;
            if query.after.is_none() {
                break;
            }
        }
    }
    assert!(records > 3_000 && jobs > 300, "{records} records and {jobs} jobs were compared");
    assert_eq!(first.open_pods().await.unwrap().len(), second.open_pods().await.unwrap().len());
    let sorted = |mut uids: Vec<String>| {
        uids.sort();
        uids
    };
    for namespace in [None, Some("ci".to_owned())] {
        assert_eq!(
            sorted(first.present_pods(namespace.clone()).await.unwrap()),
            sorted(second.present_pods(namespace.clone()).await.unwrap())
        );
        assert_eq!(
            sorted(first.present_jobs(namespace.clone()).await.unwrap()),
            sorted(second.present_jobs(namespace).await.unwrap())
        );
    }
    let (a, b) = (first.totals().await.unwrap(), second.totals().await.unwrap());
    assert_eq!((a.open, a.complete, a.partial), (b.open, b.complete, b.partial));
    runs_are_alike(first, second, &mut random).await;
}

async fn runs_are_alike(first: &Store, second: &Store, random: &mut Random) {
    let mut compared = 0;
    for batch in 0..60 {
        let changes: Vec<RunChange> = (0..1 + random.below(150)).map(|_| random.run_change()).collect();
        first.apply_runs(changes.clone()).await.unwrap();
        second.apply_runs(changes).await.unwrap();
        let (a, b) = (first.stored_runs().await.unwrap(), second.stored_runs().await.unwrap());
        assert!(a == b, "after batch {batch}");
        let mut query = random.run_query();
        for _ in 0..4 {
            let (a, b) = (first.runs(&query).await.unwrap(), second.runs(&query).await.unwrap());
            assert!(a.items == b.items && a.next == b.next, "{query:?}: {:?}, {:?}", a.next, b.next);
            compared += a.items.len();
            query.after = a.next;
            if query.after.is_none() {
                break;
            }
        }
        let id = random.run_id();
        assert!(first.run(&id).await.unwrap() == second.run(&id).await.unwrap(), "{id}");
        assert!(first.run_results(&id).await.unwrap() == second.run_results(&id).await.unwrap(), "{id}");
    }
    assert!(compared > 500, "{compared} runs were compared");
}
