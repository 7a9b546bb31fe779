//! Queries: pages that neither skip nor repeat, conditions that mean the same in the database and in memory, jobs.

use jobmeter_coordinator::store::{Change, RecordFilter, Store};
use jobmeter_decide::example::{self, at, owner};
use jobmeter_decide::job_view::{JobCondition, JobObject};
use jobmeter_protocol::{ExitStatus, JobState, PodPhase, Record, RecordQuery, SortBy, Stage};

use crate::engines::{Bed, on_each_engine};
use crate::harness::{api, apply, evidence, pod, uid};

on_each_engine!(
    pages_neither_skip_nor_repeat_in_any_order,
    the_largest_come_first_and_names_by_the_alphabet,
    conditions_mean_the_same_in_the_database_and_in_memory,
    a_bad_selector_is_refused_with_its_place,
    jobs_are_seen_with_all_of_their_pods_and_filtered_by_their_state,
    a_job_is_shown_with_its_records_and_the_newest_of_a_name_wins,
    one_run_of_a_cron_job_is_found_by_its_name_and_counted_to_the_cron_job,
    the_condition_of_a_job_never_goes_back,
);

const SORTS: [SortBy; 7] =
    [SortBy::Finished, SortBy::Started, SortBy::Elapsed, SortBy::Cpu, SortBy::Memory, SortBy::Rss, SortBy::Name];

/// 30 pods of three jobs, in every state; many of them tie.
async fn filled(bed: &Bed) -> Store {
    let store = bed.open();
    let mut changes = Vec::new();
    for n in 0..30 {
        let job = ["sort", "merge", "scan"][n % 3];
        let mut pod = pod(n, job);
        pod.namespace = ["bench", "ci"][n % 2].into();
        pod.labels.insert("size".into(), ["s", "m", "l"][n / 10].into());
        let mut evidence = evidence(n % 7);
        evidence.pod_uid = uid(n);
        match n % 5 {
            // Runs: no end, no final reading.
            0 => {
                pod.phase = PodPhase::Running;
                evidence.stage = Stage::Running;
                evidence.containers[0].ended = None;
                (pod.containers[0].finished, pod.containers[0].exit) = (None, None);
            }
            1 => {
                pod.phase = PodPhase::Failed;
                pod.containers[0].exit = Some(ExitStatus { code: Some(3), signal: None });
            }
            _ => {}
        }
        let start = 10.0 * (n % 4) as f64;
        for container in &mut evidence.containers {
            container.started = Some(at(start));
            container.ended = container.ended.map(|_| at(start + 1.0 + (n % 3) as f64));
        }
        let owners = [owner("batch/v1", "Job", job), owner("batch/v1", "CronJob", "nightly")];
        changes.push(api(pod, if job == "scan" { &owners } else { &owners[..1] }));
        if n % 6 != 0 {
            changes.push(Change::Evidence(Box::new(evidence)));
        }
    }
    apply(&store, changes).await;
    store
}

async fn all(store: &Store, query: RecordQuery) -> Vec<Record> {
    let mut records = Vec::new();
    let mut query = query;
    loop {
        let page = store.records(&query).await.unwrap();
        assert!(page.items.len() <= query.limit.unwrap_or(200) as usize);
        records.extend(page.items);
        match page.next {
            Some(next) => query.after = Some(next),
            None => return records,
        }
    }
}

fn uids(records: &[Record]) -> Vec<&str> {
    records.iter().map(|record| record.identity.pod_uid.as_str()).collect()
}

async fn pages_neither_skip_nor_repeat_in_any_order(bed: &Bed) {
    let store = filled(bed).await;
    for sort in SORTS {
        let whole = all(&store, RecordQuery { sort_by: Some(sort), ..Default::default() }).await;
        assert_eq!(whole.len(), 30);
        for limit in [1, 7, 29, 30] {
            let paged = all(&store, RecordQuery { sort_by: Some(sort), limit: Some(limit), ..Default::default() }).await;
            assert_eq!(uids(&paged), uids(&whole), "{sort:?} by {limit}");
        }
    }
}

async fn the_largest_come_first_and_names_by_the_alphabet(bed: &Bed) {
    let store = filled(bed).await;
    let sorted = async |sort| all(&store, RecordQuery { sort_by: Some(sort), ..Default::default() }).await;
    let cpu: Vec<_> = sorted(SortBy::Cpu).await.iter().map(|r| r.usage.cpu_seconds.map_or(-1.0, |f| f.value)).collect();
    assert!(cpu.is_sorted_by(|a, b| a >= b), "{cpu:?}");
    let names: Vec<_> =
        sorted(SortBy::Name).await.iter().map(|r| format!("{}/{}", r.identity.namespace, r.identity.pod)).collect();
    assert!(names.is_sorted(), "{names:?}");
    let ends: Vec<_> = sorted(SortBy::Finished).await.iter().map(|r| r.time.finished).collect();
    let running = ends.iter().take_while(|end| end.is_none()).count();
    assert!(
        running > 0 && ends[running..].iter().all(Option::is_some) && ends[running..].is_sorted_by(|a, b| a >= b),
        "{ends:?}"
    );
}

async fn conditions_mean_the_same_in_the_database_and_in_memory(bed: &Bed) {
    let store = filled(bed).await;
    let everything = all(&store, RecordQuery::default()).await;
    let text = |text: &str| Some(text.to_owned());
    let queries = [
        (RecordQuery { namespace: text("ci"), ..Default::default() }, true),
        (RecordQuery { job: text("sort"), ..Default::default() }, true),
        // By the top of the chain, and by an owner below it.
        (RecordQuery { job: text("nightly"), ..Default::default() }, true),
        (RecordQuery { job: text("scan"), ..Default::default() }, true),
        (RecordQuery { pod: text("merge-4"), ..Default::default() }, true),
        (RecordQuery { pod: Some(uid(4)), ..Default::default() }, true),
        (RecordQuery { selector: text("size in (s,m),team=storage"), ..Default::default() }, true),
        (RecordQuery { selector: text("!size"), ..Default::default() }, false),
        (RecordQuery { state: text("error"), ..Default::default() }, true),
        (RecordQuery { state: text("running,Completed"), ..Default::default() }, true),
        (RecordQuery { since: Some(at(30.0)), ..Default::default() }, true),
        (RecordQuery { until: Some(at(9.0)), ..Default::default() }, true),
        (RecordQuery { namespace: text("bench"), job: text("sort"), state: text("Completed"), ..Default::default() }, true),
    ];
    for (query, some) in queries {
        let filter = RecordFilter::of(&query).unwrap();
        let found = all(&store, query.clone()).await;
        // The records keep all labels here, so they stand for those of the pod.
        let mut expected: Vec<_> = everything.iter().filter(|r| filter.matches(r, &r.identity.labels)).cloned().collect();
        expected.sort_by_key(|r| uids(&everything).iter().position(|uid| *uid == r.identity.pod_uid));
        assert_eq!(uids(&found), uids(&expected), "{query:?}");
        assert!(found.len() < 30 && found.is_empty() != some, "{} by {query:?}", found.len());
    }
}

async fn a_bad_selector_is_refused_with_its_place(bed: &Bed) {
    let error = bed.open().records(&RecordQuery { selector: Some("a=b,,".into()), ..Default::default() }).await.unwrap_err();
    assert_eq!(error.to_string(), "label selector \"a=b,,\", at character 5: expected a label key");
}

fn job(name: &str, condition: JobCondition) -> Change {
    Change::Job(Box::new(JobObject {
        namespace: "bench".into(),
        owner: owner("batch/v1", "Job", name),
        parent: None,
        condition,
        created: Some(at(0.0)),
        finished: (condition != JobCondition::Active).then(|| at(50.0)),
    }))
}

async fn jobs_are_seen_with_all_of_their_pods_and_filtered_by_their_state(bed: &Bed) {
    let store = filled(bed).await;
    let waiting = job("waiting", JobCondition::Active);
    apply(&store, vec![job("sort", JobCondition::Complete), job("merge", JobCondition::Active), waiting]).await;
    let jobs = async |query: RecordQuery| store.jobs(&query).await.unwrap().items;
    let names = |jobs: &[jobmeter_protocol::Job]| jobs.iter().map(|job| job.owner.name.clone()).collect::<Vec<_>>();

    let by_name = RecordQuery { sort_by: Some(SortBy::Name), ..Default::default() };
    let everything = jobs(by_name.clone()).await;
    // "scan" is run by "nightly", which is what people call the job.
    let mut found = names(&everything);
    found.sort();
    assert_eq!(found, ["merge", "nightly", "sort", "waiting"]);
    let state = |name: &str| everything.iter().find(|job| job.owner.name == name).unwrap().state;
    assert_eq!(
        [state("merge"), state("nightly"), state("sort"), state("waiting")],
        [JobState::Running, JobState::Running, JobState::Completed, JobState::Pending,]
    );

    let of_state = RecordQuery { state: Some("pending,completed".into()), ..by_name.clone() };
    let mut found = names(&jobs(of_state.clone()).await);
    found.sort();
    assert_eq!(found, ["sort", "waiting"]);
    // Page by page, although the state is known only after the view is made.
    let first = store.jobs(&RecordQuery { limit: Some(1), ..of_state.clone() }).await.unwrap();
    let second = store.jobs(&RecordQuery { limit: Some(1), after: first.next.clone(), ..of_state }).await.unwrap();
    assert_eq!((first.items.len(), second.items.len(), second.next), (1, 1, None));
    assert_ne!(first.items, second.items);

    for sort in SORTS {
        let mut paged = Vec::new();
        let mut after = None;
        loop {
            let page =
                store.jobs(&RecordQuery { sort_by: Some(sort), limit: Some(1), after, ..Default::default() }).await.unwrap();
            paged.extend(page.items);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(paged, jobs(RecordQuery { sort_by: Some(sort), ..Default::default() }).await, "{sort:?}");
    }
    assert_eq!(names(&jobs(RecordQuery { pod: Some("merge-4".into()), ..Default::default() }).await), ["merge"]);
}

async fn a_job_is_shown_with_its_records_and_the_newest_of_a_name_wins(bed: &Bed) {
    let store = bed.open();
    let mut earlier = pod(1, "sort");
    earlier.created = Some(at(-1000.0));
    let mut owner_before = example::owner("batch/v1", "Job", "sort");
    owner_before.uid = "an-earlier-one".into();
    earlier.owner = Some(owner_before.clone());
    let changes = vec![api(earlier, &[owner_before]), api(pod(2, "sort"), &[owner("batch/v1", "Job", "sort")])];
    apply(&store, changes).await;
    let detail = store.job("bench", "sort").await.unwrap().unwrap();
    assert_eq!(detail.job.owner.uid, "uid-of-sort");
    assert_eq!(uids(&detail.records), [uid(2)]);
    assert_eq!(store.job("bench", "nothing").await.unwrap(), None);
}

async fn one_run_of_a_cron_job_is_found_by_its_name_and_counted_to_the_cron_job(bed: &Bed) {
    let store = bed.open();
    let cron = owner("batch/v1", "CronJob", "nightly");
    let run = |name: &str, condition| {
        let owner = owner("batch/v1", "Job", name);
        let (created, finished) = (Some(at(0.0)), Some(at(9.0)));
        Change::Job(Box::new(JobObject {
            namespace: "bench".into(),
            owner,
            parent: Some(cron.clone()),
            condition,
            created,
            finished,
        }))
    };
    let mut changes = vec![run("nightly-1", JobCondition::Failed), run("nightly-2", JobCondition::Complete)];
    for n in 1..=3 {
        let job = ["nightly-1", "nightly-2", "nightly-2"][n - 1];
        let chain = [owner("batch/v1", "Job", job), owner("batch/v1", "Stage", "between"), cron.clone()];
        changes.push(api(pod(n, job), &chain));
    }
    apply(&store, changes).await;
    let jobs = store.jobs(&RecordQuery::default()).await.unwrap().items;
    assert_eq!(
        jobs.iter().map(|job| job.owner.name.as_str()).collect::<Vec<_>>(),
        ["nightly"],
        "its runs are no jobs of their own"
    );
    for (name, state, pods) in [
        ("nightly", JobState::Completed, 3),
        ("nightly-1", JobState::Failed, 1),
        ("nightly-2", JobState::Completed, 2),
        // Known from the chains alone.
        ("between", JobState::Completed, 3),
    ] {
        let detail = store.job("bench", name).await.unwrap().unwrap();
        assert_eq!((detail.job.owner.name.as_str(), detail.job.state, detail.records.len()), (name, state, pods));
        assert_eq!(detail.job.pods.completed, pods as u64, "{name}");
    }
}

async fn the_condition_of_a_job_never_goes_back(bed: &Bed) {
    let store = bed.open();
    apply(&store, vec![job("sort", JobCondition::Failed), job("sort", JobCondition::Active), job("sort", JobCondition::Failed)])
        .await;
    let jobs = store.jobs(&RecordQuery::default()).await.unwrap().items;
    assert_eq!((jobs.len(), jobs[0].state), (1, JobState::Failed));
    apply(&store, vec![Change::JobGone { uid: "uid-of-sort".into() }]).await;
    assert_eq!(store.jobs(&RecordQuery::default()).await.unwrap().items[0].state, JobState::Failed);
}
