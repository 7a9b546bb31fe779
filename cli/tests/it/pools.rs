//! `jobmeter pools` and `jobmeter pool` against a coordinator that says what a test tells it.

use std::process::Output;

use jiff::{SignedDuration, Timestamp};
use jobmeter_protocol::{PoolDetail, PoolMember, PoolStatus, PoolWait};

use crate::ask::jobmeter;
use crate::fake::{Books, Fake};
use crate::proxy;

fn ago(seconds: i64) -> Timestamp {
    Timestamp::now() - SignedDuration::from_secs(seconds)
}

fn status(name: &str) -> PoolStatus {
    PoolStatus {
        name: name.into(),
        size: 2,
        configured_size: "2".into(),
        per_node: None,
        start_rate: None,
        order: "fifo".into(),
        nodes: 3,
        used: 0,
        over: 0,
        queued: 0,
        oldest: None,
        waiting: [].into(),
    }
}

fn member(namespace: &str, name: &str, node: Option<&str>) -> PoolMember {
    PoolMember {
        kind: "Pod".into(),
        namespace: namespace.into(),
        name: name.into(),
        uid: format!("uid-of-{name}"),
        state: if node.is_some() { "bound" } else { "released" }.into(),
        slots: 1,
        node: node.map(str::to_owned),
        since: Some(ago(200 * 60)),
        why: None,
    }
}

fn wait(namespace: &str, name: &str, position: u32) -> PoolWait {
    PoolWait {
        kind: "Pod".into(),
        namespace: namespace.into(),
        name: name.into(),
        uid: format!("uid-of-{name}"),
        priority: 0,
        slots: 1,
        created: ago(130 * 60),
        position,
        reason: "pool_full".into(),
        why: "2 of 2 places are in use".into(),
    }
}

/// Two in it, three that wait.
fn gpu() -> PoolDetail {
    let pool = PoolStatus {
        configured_size: "50%".into(),
        per_node: Some(1),
        start_rate: Some("5/1m".into()),
        used: 2,
        queued: 3,
        oldest: Some(ago(130 * 60)),
        waiting: [("nodes_full".to_owned(), 1), ("pool_full".to_owned(), 2)].into(),
        ..status("gpu")
    };
    PoolDetail {
        pool,
        members: vec![member("bench", "sort-1", Some("node-a")), member("prod", "train-1", None)],
        waiting: vec![wait("bench", "sort-2", 1), wait("bench", "sort-3", 2), wait("prod", "train-2", 3)],
    }
}

fn fake(pools: Vec<PoolDetail>) -> Fake {
    Fake::start(Books { pools, ..Books::default() })
}

fn ask(fake: &Fake, arguments: &[&str]) -> Output {
    jobmeter(arguments).args(["--server", &fake.url()]).output().unwrap()
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn each_pool_is_one_line_with_the_most_frequent_reason_first() {
    let quiet = PoolDetail { pool: status("build"), members: vec![], waiting: vec![] };
    insta::assert_snapshot!(stdout(&ask(&fake(vec![gpu(), quiet]), &["pools"])));
}

#[test]
fn one_pool_shows_who_is_in_it_and_why_the_others_wait() {
    insta::assert_snapshot!(stdout(&ask(&fake(vec![gpu()]), &["pool", "gpu"])));
}

#[test]
fn what_a_limit_or_a_namespace_hides_is_said() {
    let fake = fake(vec![gpu()]);
    let text = stdout(&ask(&fake, &["pool", "gpu", "--waiting", "--limit", "1"]));
    assert!(text.contains("sort-2") && !text.contains("sort-3") && !text.contains("sort-1"), "{text}");
    assert!(text.ends_with("… and 2 more that wait (--limit shows more)\n"), "{text}");
    let text = stdout(&ask(&fake, &["pool", "gpu", "--waiting", "--limit", "1", "-n", "prod"]));
    assert!(text.contains("3  prod       train-2") && !text.contains("sort"), "{text}");
    assert!(text.ends_with("… and 2 more that wait (of other namespaces, or beyond --limit)\n"), "{text}");
    let text = stdout(&ask(&fake, &["pool", "gpu", "--running", "-n", "elsewhere"]));
    assert!(text.contains("nobody of namespace elsewhere is in it") && !text.contains("wait ("), "{text}");
}

#[test]
fn a_pool_that_is_over_its_size_or_paused_says_what_that_means() {
    let pool = PoolStatus { size: 0, configured_size: "0".into(), used: 1, over: 1, ..status("old") };
    let mut job = member("bench", "mpi", None);
    (job.kind, job.slots) = ("Job".into(), 4);
    let text = stdout(&ask(&fake(vec![PoolDetail { pool, members: vec![job], waiting: vec![] }]), &["pool", "old"]));
    assert!(text.contains("0: nobody is admitted"), "{text}");
    assert!(text.contains("1 over the size: nobody is admitted before some have ended"), "{text}");
    assert!(text.contains("job/mpi  released       4"), "{text}");
    assert!(text.contains("nobody waits"), "{text}");
    let pool = PoolStatus { size: 0, configured_size: "not configured".into(), ..status("typo") };
    let text = stdout(&ask(&fake(vec![PoolDetail { pool, members: vec![], waiting: vec![] }]), &["pool", "typo"]));
    assert!(text.contains("Size:      not configured: nobody is admitted"), "{text}");
}

#[test]
fn programs_get_the_coordinators_own_answer() {
    let fake = fake(vec![gpu()]);
    let pools: Vec<PoolStatus> = serde_json::from_str(&stdout(&ask(&fake, &["pools", "-o", "json"]))).unwrap();
    assert_eq!(pools.iter().map(|pool| pool.queued).collect::<Vec<_>>(), [3]);
    let detail: PoolDetail = serde_saphyr::from_str(&stdout(&ask(&fake, &["pool", "gpu", "-o", "yaml"]))).unwrap();
    assert_eq!((detail.members.len(), detail.waiting.len()), (2, 3));
}

#[test]
fn an_empty_answer_says_what_to_do() {
    let fake = fake(vec![]);
    assert_eq!(stdout(&ask(&fake, &["pools"])), "no pools are configured: see docs/pools.md\n");
    assert_eq!(stdout(&ask(&fake, &["pools", "-o", "json"])), "[]\n");
    let output = ask(&fake, &["pool", "gpu"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("gpu: there is no such pool"), "{}", stderr(&output));
}

#[test]
fn what_cannot_be_a_pool_is_never_asked_for() {
    let fake = fake(vec![gpu()]);
    for name in ["../jobs", "a/b", "gpu?limit=1"] {
        let output = ask(&fake, &["pool", name]);
        assert_eq!(output.status.code(), Some(64), "{name}");
    }
    assert!(fake.asked().is_empty());
    assert_eq!(ask(&fake, &["pools", "-w", "-o", "json"]).status.code(), Some(64));
    assert_eq!(ask(&fake, &["pools", "-w", "-d", "1ms"]).status.code(), Some(64));
}

#[test]
fn a_directory_of_records_alone_knows_no_pools() {
    let directory = tempfile::tempdir().unwrap();
    let output = jobmeter(&["pools", "--data-dir", directory.path().to_str().unwrap()]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
}

/// A coordinator that is well, behind an API server with one gated pod of the pool gpu.
fn cluster() -> Books {
    let webhook = |resource: &str, policy: &str| {
        serde_json::json!({
            "name": format!("{resource}.pool.jobmeter.io"), "admissionReviewVersions": ["v1"], "sideEffects": "None",
            "rules": [{ "apiGroups": ["", "batch"], "apiVersions": ["v1"], "resources": [resource], "operations": ["CREATE"] }],
            "objectSelector": { "matchExpressions": [{ "key": "jobmeter.io/pool", "operator": "Exists" }] },
            "clientConfig": { "caBundle": "QQ==", "service": { "name": "jobmeter-coordinator", "namespace": "jobmeter" } },
            "failurePolicy": policy,
        })
    };
    let configuration = serde_json::json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
        "metadata": { "name": "jobmeter-pool" }, "webhooks": [webhook("pods", "Fail"), webhook("jobs", "Ignore")],
    });
    let objects = [(WEBHOOK, configuration), ("/api/v1/pods", pods(&[("sort-2", Some("gpu"), true), ("web", None, false)]))];
    let status = serde_json::json!({ "ready": true, "not_ready": {}, "sources": {
        "pods": { "state": "active" },
        "gating": { "state": "active", "detail": "schedulingGates: the API server is Kubernetes 1.36" },
        "pools": { "state": "active", "detail": "1 of /etc/jobmeter/pools/pools.yaml: gpu (50%)" },
    } });
    Books { pools: vec![gpu()], status, objects: objects.into(), ..Books::default() }
}

const WEBHOOK: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/jobmeter-pool";

/// Pending pods: name, label, gate.
fn pods(pods: &[(&str, Option<&str>, bool)]) -> serde_json::Value {
    let items: Vec<_> = pods
        .iter()
        .map(|(name, pool, gated)| {
            let labels = pool.map(|pool| serde_json::json!({ "jobmeter.io/pool": pool }));
            let gates = gated.then(|| serde_json::json!([{ "name": "jobmeter.io/pool" }]));
            serde_json::json!({
                "metadata": { "name": name, "namespace": "bench", "labels": labels },
                "spec": { "containers": [], "schedulingGates": gates },
            })
        })
        .collect();
    serde_json::json!({ "apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": items })
}

#[test]
fn doctor_finds_a_well_cluster_well() {
    let output = proxy::ask(&Fake::start(cluster()), &["doctor", "--pools"]);
    insta::assert_snapshot!(stdout(&output));
}

#[test]
fn doctor_names_what_keeps_pods_from_being_held_or_let_go() {
    let told = |change: &dyn Fn(&mut Books)| {
        let mut books = cluster();
        change(&mut books);
        let output = proxy::ask(&Fake::start(books), &["doctor", "--pools"]);
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    let gone = told(&|books| drop(books.objects.remove(WEBHOOK)));
    assert!(gone.contains("there is no MutatingWebhookConfiguration jobmeter-pool"), "{gone}");
    let webhook = |books: &mut Books, key: &str, value: serde_json::Value| {
        *books.objects.get_mut(WEBHOOK).unwrap().pointer_mut(&format!("/webhooks/0/{key}")).unwrap() = value;
    };
    let young = told(&|books| webhook(books, "clientConfig/caBundle", "".into()));
    assert!(young.contains("no caBundle yet in pods.pool.jobmeter.io"), "{young}");
    let open = told(&|books| webhook(books, "failurePolicy", "Ignore".into()));
    assert!(open.contains("failurePolicy of pods.pool.jobmeter.io is Ignore"), "{open}");
    let old = serde_json::json!({ "state": "active", "detail": "suspend: Kubernetes 1.25 has no scheduling gates" });
    let old = told(&|books| books.status["sources"]["gating"] = old.clone());
    assert!(old.contains("failurePolicy of jobs.pool.jobmeter.io is Ignore"), "{old}");
    let ignored = told(&|books| {
        webhook(books, "failurePolicy", "Ignore".into());
        webhook(books, "clientConfig/caBundle", "".into());
    });
    assert!(ignored.contains("is Ignore") && !ignored.contains("caBundle"), "{ignored}");
    let lost = [("a", None, true), ("b", Some("cpu"), true), ("c", Some("gpu"), true)];
    let lost = told(&|books| drop(books.objects.insert("/api/v1/pods", pods(&lost))));
    assert!(lost.contains("1 without the label jobmeter.io/pool, which nobody lets go (bench/a)"), "{lost}");
    assert!(lost.contains("1 of pools that are not configured: cpu (bench/b)"), "{lost}");
    let bad =
        serde_json::json!({ "state": "failed", "error": "pools.yaml: line 3: pools.a.size: `120%` is more than all nodes" });
    let bad = told(&|books| books.status["sources"]["pools"] = bad.clone());
    assert!(bad.contains("FAIL  coordinator: pools") && bad.contains("line 3: pools.a.size"), "{bad}");
}

#[test]
fn doctor_says_what_does_not_apply_to_suspended_jobs_and_whether_they_can_be_resumed() {
    const REVIEWS: &str = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    let told = |allowed: Option<bool>| {
        let mut books = cluster();
        let detail = "suspend: Kubernetes 1.25 has no scheduling gates";
        books.status["sources"]["gating"] = serde_json::json!({ "state": "active", "detail": detail });
        // As the component has it: the webhook of Jobs may not be passed, others may, and have no authority yet.
        let webhooks = books.objects.get_mut(WEBHOOK).unwrap().get_mut("webhooks").unwrap();
        webhooks[1]["failurePolicy"] = "Fail".into();
        let mut templates = webhooks[1].clone();
        templates["name"] = "templates.pool.jobmeter.io".into();
        templates["failurePolicy"] = "Ignore".into();
        templates["clientConfig"]["caBundle"] = "".into();
        templates["objectSelector"]["matchExpressions"][0]["operator"] = "DoesNotExist".into();
        webhooks.as_array_mut().unwrap().push(templates);
        books.objects.extend(allowed.map(|allowed| {
            let review = serde_json::json!({
                "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "metadata": {}, "spec": {},
                "status": { "allowed": allowed },
            });
            (REVIEWS, review)
        }));
        let output = proxy::ask(&Fake::start(books), &["doctor", "--pools"]);
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, text) = told(Some(true));
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("perNode and startRate of gpu do not apply: whole Jobs are suspended here"), "{text}");
    assert!(text.contains("no caBundle yet in templates.pool.jobmeter.io, which is passed by"), "{text}");
    let (code, text) = told(Some(false));
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("never resumed. Add manifests/components/suspend"), "{text}");
    let (code, text) = told(None);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("failed to ask whether the coordinator may change Jobs: it is not there"), "{text}");
}
