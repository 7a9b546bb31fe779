//! `jobmeter runs` against a coordinator that says what a test tells it.

pub(crate) mod books;

use std::collections::BTreeMap;
use std::process::Output;

use jiff::{SignedDuration, Timestamp};
use jobmeter_protocol::runs::{
    DefinitionStatus, GaugeValue, NodeResult, NodeRun, NodeRunState, Run, RunCounts, RunDetail, RunState, StartRun, Trigger,
};

use self::books::{Answer, OperatorSecret, Posted, RunBooks};
use crate::ask::jobmeter;
use crate::fake::{Books, Fake};
use crate::proxy;

const OLD: &str = "202611201930";
const NEW: &str = "202611211930";

fn ago(minutes: i64) -> Timestamp {
    Timestamp::now() - SignedDuration::from_secs(60 * minutes)
}

fn node(name: &str, state: NodeRunState, seconds: Option<f64>) -> NodeRun {
    let started = ago(200);
    let ran = seconds.is_some();
    NodeRun {
        node: name.into(),
        state,
        why: None,
        attempt: 0,
        pod: if ran { format!("disk-check-{name}") } else { String::new() },
        pod_uid: None,
        created: ran.then_some(started),
        admitted: ran.then_some(started),
        started: ran.then_some(started),
        finished: seconds.map(|seconds| started + SignedDuration::from_secs_f64(seconds)),
        exit_code: (ran && state == NodeRunState::Succeeded).then_some(0),
        reason: None,
        reported: (state == NodeRunState::Succeeded).then_some(started),
        files: 0,
        file_bytes: 0,
        events: 0,
        retry_at: None,
    }
}

fn detail(id: &str, state: RunState, nodes: Vec<NodeRun>) -> RunDetail {
    let created = ago(205);
    let run = Run {
        id: id.into(),
        definition: "disk-check".into(),
        namespace: "bench".into(),
        trigger: Trigger::Schedule { due: "2026-11-21T19:30:00Z".parse().unwrap() },
        state,
        why: None,
        created,
        finished: state.is_over().then(|| created + SignedDuration::from_secs(312)),
        pool: "run.disk-check".into(),
        stopping: false,
        nodes: RunCounts::of(&nodes),
    };
    RunDetail { run, nodes }
}

fn value(value: f64, labels: &[(&str, &str)]) -> GaugeValue {
    GaugeValue { value, labels: labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect() }
}

fn result(node: &str, read: Vec<GaugeValue>) -> NodeResult {
    NodeResult { node: node.into(), attempt: 0, received: ago(199), gauges: BTreeMap::from([("read".to_owned(), read)]) }
}

fn old() -> RunDetail {
    let nodes = vec![
        node("node-a", NodeRunState::Succeeded, Some(10.0)),
        node("node-b", NodeRunState::Succeeded, Some(10.0)),
        node("node-d", NodeRunState::Succeeded, Some(10.0)),
        node("node-z", NodeRunState::Succeeded, Some(10.0)),
    ];
    detail(OLD, RunState::Succeeded, nodes)
}

fn new() -> RunDetail {
    let a = NodeRun { files: 3, file_bytes: 1_258_291, ..node("node-a", NodeRunState::Succeeded, Some(11.9)) };
    let b = NodeRun {
        why: Some("its container ended with 137 (OOMKilled)".into()),
        attempt: 1,
        exit_code: Some(137),
        reason: Some("OOMKilled".into()),
        ..node("node-b", NodeRunState::Failed, Some(2.0))
    };
    let c = NodeRun { why: Some("it is cordoned".into()), ..node("node-c", NodeRunState::Skipped, None) };
    let mut detail = detail(NEW, RunState::Failed, vec![a, b, c, node("node-d", NodeRunState::Succeeded, Some(10.0))]);
    detail.run.why = Some("1 of 4 nodes failed".into());
    detail
}

fn books() -> RunBooks {
    let answers = |detail: RunDetail| vec![Answer::Run(Box::new(detail))];
    let fast = || vec![value(512.0, &[("device", "sda")]), value(80.0, &[("device", "sdb")])];
    let slow = vec![value(384.0, &[("device", "sda")]), value(80.0, &[("device", "sdb")]), value(7.5, &[("device", "sdc")])];
    RunBooks {
        runs: BTreeMap::from([(OLD.to_owned(), answers(old())), (NEW.to_owned(), answers(new()))]),
        results: BTreeMap::from([
            (OLD.to_owned(), vec![result("node-a", fast()), result("node-d", fast())]),
            (NEW.to_owned(), vec![result("node-a", slow), result("node-d", fast())]),
        ]),
        operator: "let-me",
        ..RunBooks::default()
    }
}

fn fake(runs: RunBooks) -> Fake {
    Fake::start(Books { runs, ..Books::default() })
}

fn ask(fake: &Fake, arguments: &[&str]) -> Output {
    jobmeter(arguments).args(["--server", &fake.url()]).env("JOBMETER_TOKEN", "let-me").output().unwrap()
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}: {}", output.status, stderr(output));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn posted(fake: &Fake) -> Vec<Posted> {
    fake.books.runs.posted.lock().unwrap().clone()
}

#[test]
fn runs_are_listed_newest_first_with_or_without_the_word() {
    let fake = fake(books());
    let text = stdout(&ask(&fake, &["runs"]));
    insta::assert_snapshot!("runs_list", text);
    assert_eq!(stdout(&ask(&fake, &["runs", "list"])), text);
    let failed: Vec<Run> = serde_json::from_str(&stdout(&ask(&fake, &["runs", "--state", "failed", "-o", "json"]))).unwrap();
    assert_eq!(failed.iter().map(|run| run.id.as_str()).collect::<Vec<_>>(), [NEW]);
    let text = stdout(&ask(&fake, &["runs", "list", "--limit", "1"]));
    assert!(text.contains(NEW) && !text.contains(OLD) && text.ends_with("… and older ones (--limit shows more)\n"), "{text}");
    let text = stdout(&ask(&fake, &["runs", "-n", "elsewhere"]));
    assert_eq!(text, "there are no such runs: `jobmeter runs definitions` shows what may become one\n");
    assert!(stdout(&ask(&fake, &["runs", "--definition", "nosuch"])).starts_with("there are no such runs"));
}

#[test]
fn definitions_say_when_they_are_due_and_why_one_was_skipped() {
    let definition = |value: serde_json::Value| -> DefinitionStatus { serde_json::from_value(value).unwrap() };
    let due = Timestamp::now() + SignedDuration::from_secs(3 * 3600 + 630);
    let disk = serde_json::json!({
        "name": "disk-check", "source": "jobmeter/checks", "namespace": "bench", "pool": "run.disk-check", "suspended": false,
        "schedule": "30 19 * * *", "next": due, "last_run": NEW,
        "skipped": { "at": ago(200), "why": "run 202611211930 still runs" },
    });
    let net = serde_json::json!({
        "name": "net-check", "source": "net.yaml", "namespace": "bench", "pool": "gpu", "suspended": true,
    });
    let fake = fake(RunBooks { definitions: vec![definition(disk), definition(net)], ..RunBooks::default() });
    insta::assert_snapshot!("runs_definitions", stdout(&ask(&fake, &["runs", "definitions"])));
}

#[test]
fn a_run_is_shown_by_its_id_or_by_the_name_of_its_definition() {
    let fake = fake(books());
    let text = stdout(&ask(&fake, &["runs", "show", NEW]));
    // When it began is never the same.
    let began = |line: &&str| line.starts_with("Began:");
    assert!(text.lines().find(began).unwrap().ends_with("Z, 3h25m ago"), "{text}");
    insta::assert_snapshot!("runs_show", text.lines().filter(|line| !began(line)).collect::<Vec<_>>().join("\n"));
    let newest: RunDetail = serde_json::from_str(&stdout(&ask(&fake, &["runs", "show", "disk-check", "-o", "json"]))).unwrap();
    assert_eq!(newest.run.id, NEW);
    assert!(stdout(&ask(&fake, &["runs", "show", OLD, "-o", "yaml"])).contains(OLD));
}

#[test]
fn what_is_no_run_is_said_and_nothing_strange_becomes_part_of_an_address() {
    let fake = fake(books());
    for (run, says) in [
        ("nosuch", "\"nosuch\" has no run in"),
        ("../pools", "\"../pools\" has no run in"),
        ("209901010000", "it answered 404 Not Found: 209901010000: there is no run of this ID"),
    ] {
        let output = ask(&fake, &["runs", "show", run]);
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains(says), "{}", stderr(&output));
    }
}

#[test]
fn results_are_a_line_for_each_value() {
    let fake = fake(books());
    insta::assert_snapshot!("runs_results", stdout(&ask(&fake, &["runs", "results", "disk-check"])));
    let json: Vec<NodeResult> = serde_json::from_str(&stdout(&ask(&fake, &["runs", "results", NEW, "-o", "json"]))).unwrap();
    assert_eq!(json[0].gauges["read"][2], value(7.5, &[("device", "sdc")]));
}

#[test]
fn a_diff_shows_what_differs_and_not_what_took_a_little_longer() {
    let fake = fake(books());
    insta::assert_snapshot!("runs_diff", stdout(&ask(&fake, &["runs", "diff", OLD, "disk-check"])));
    let json: serde_json::Value = serde_json::from_str(&stdout(&ask(&fake, &["runs", "diff", OLD, NEW, "-o", "json"]))).unwrap();
    assert_eq!((&json["only_in_a"], &json["only_in_b"]), (&serde_json::json!(["node-z"]), &serde_json::json!(["node-c"])));
    let speed = serde_json::json!({
        "node": "node-a", "what": { "kind": "gauge", "name": "read", "labels": { "device": "sda" } },
        "a": 512.0, "b": 384.0, "change_ratio": -0.25,
    });
    assert_eq!(json["changes"][0], speed);
    let same = stdout(&ask(&fake, &["runs", "diff", NEW, NEW]));
    assert_eq!(same, format!("A is run {NEW}, B is run {NEW}. They have 4 nodes in common; 0 of them differ.\n"));
}

/// Runs, has trouble, goes on, ends.
fn story(end: RunState) -> RunBooks {
    let with = |state, nodes: [NodeRunState; 2]| {
        let seconds = |state: NodeRunState| (state != NodeRunState::Waiting).then_some(1.0);
        let [a, b] = nodes;
        Answer::Run(Box::new(detail(NEW, state, vec![node("node-a", a, seconds(a)), node("node-b", b, seconds(b))])))
    };
    let last = if end == RunState::Succeeded { NodeRunState::Succeeded } else { NodeRunState::Failed };
    let answers = vec![
        with(RunState::Running, [NodeRunState::Running, NodeRunState::Waiting]),
        with(RunState::Running, [NodeRunState::Running, NodeRunState::Waiting]),
        Answer::Refused(503),
        with(end, [NodeRunState::Succeeded, last]),
    ];
    RunBooks { runs: BTreeMap::from([(NEW.to_owned(), answers)]), operator: "let-me", ..RunBooks::default() }
}

#[test]
fn watching_tells_each_change_once_outlasts_trouble_and_ends_as_the_run_does() {
    let output = ask(&fake(story(RunState::Succeeded)), &["runs", "watch", "disk-check"]);
    assert_eq!(stdout(&output), "run 202611211930 of disk-check succeeded after 5m12s (nodes: 2: 2 succeeded)\n");
    let told = stderr(&output);
    let told: Vec<&str> = told.lines().collect();
    assert_eq!(told.len(), 3, "{told:?}");
    assert_eq!(told[0], "jobmeter: run 202611211930: running, 2: 1 running, 1 waiting");
    assert!(told[1].starts_with("jobmeter: no news: ") && told[1].contains("503"), "{told:?}");
    assert_eq!(told[2], "jobmeter: run 202611211930: succeeded, 2: 2 succeeded");

    let output = ask(&fake(story(RunState::Failed)), &["runs", "watch", NEW]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("jobmeter: node-b failed\n"), "{}", stderr(&output));
    let output = ask(&fake(story(RunState::Failed)), &["runs", "watch", "209901010000"]);
    assert_eq!(output.status.code(), Some(1), "a run that is not there is not waited for");
}

#[test]
fn a_run_is_started_cancelled_and_repeated_with_the_operators_token() {
    let fake = fake(books());
    let text = stdout(&ask(&fake, &["runs", "start", "disk-check", "--nodes", "node-a,node-b"]));
    assert_eq!(text, format!("run {NEW} of disk-check began on 4 nodes\n"));
    assert_eq!(stdout(&ask(&fake, &["runs", "cancel", "disk-check"])), format!("run {NEW} of disk-check is being cancelled\n"));
    let run: Run = serde_json::from_str(&stdout(&ask(&fake, &["runs", "retry", OLD, "-o", "json"]))).unwrap();
    assert_eq!(run.id, OLD);
    let nodes = vec!["node-a".to_owned(), "node-b".to_owned()];
    let expected = [
        ("/v1/runs".to_owned(), Some(StartRun { definition: "disk-check".into(), nodes })),
        (format!("/v1/runs/{NEW}/cancel"), None),
        (format!("/v1/runs/{OLD}/retry"), None),
    ];
    assert_eq!(posted(&fake), expected.map(|(path, start)| Posted { path, start }));

    let output = ask(&fake, &["runs", "start", "nosuch"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("nosuch: there is no definition of this name (there are: disk-check)"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn starting_and_watching_ends_as_the_run_does() {
    let output = ask(&fake(story(RunState::Failed)), &["runs", "start", "disk-check", "--watch"]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.starts_with("run 202611211930 of disk-check began on 2 nodes\nrun 202611211930 of disk-check failed after"),
        "{text}"
    );
}

#[test]
fn without_the_operators_token_it_is_said_where_that_is() {
    let fake = fake(books());
    let output = jobmeter(&["runs", "start", "disk-check", "--server", &fake.url()]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(said.contains("give the operator's token with --token-file or JOBMETER_TOKEN"), "{said}");
    assert!(said.contains("Secret jobmeter-operator") && said.contains("no valid token was given"), "{said}");
    assert!(posted(&fake).is_empty());
}

#[test]
fn through_the_api_server_the_token_comes_from_its_secret() {
    let with = |secret, operator| fake(RunBooks { secret, operator, ..books() });
    let started = with(OperatorSecret::Token("let-me\n"), "let-me");
    assert_eq!(stdout(&proxy::ask(&started, &["runs", "cancel", NEW])), format!("run {NEW} of disk-check is being cancelled\n"));
    assert_eq!(posted(&started), [Posted { path: format!("/v1/runs/{NEW}/cancel"), start: None }]);
    assert!(stdout(&proxy::ask(&started, &["runs"])).contains(NEW), "the context's namespace narrows nothing");
    for (secret, says) in [
        (OperatorSecret::Forbidden, "ask for `get` on `secrets/jobmeter-operator` in namespace jobmeter"),
        (OperatorSecret::Missing, "there is no Secret jobmeter-operator in namespace jobmeter"),
        (OperatorSecret::Token(""), "has no key `token`"),
        (OperatorSecret::Token("wr0ng"), "it answered 401: no valid token was given"),
    ] {
        let fake = with(secret, "let-me");
        let output = proxy::ask(&fake, &["runs", "start", "disk-check"]);
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains(says), "{}", stderr(&output));
        assert!(!stderr(&output).contains("wr0ng") && posted(&fake).is_empty());
    }
}

#[test]
fn who_may_read_but_not_post_learns_which_right_is_missing() {
    let fake = fake(RunBooks { secret: OperatorSecret::Token("let-me"), ..books() });
    let output = proxy::ask(&fake, &["runs", "cancel", NEW, "--coordinator", "jobmeter/forbidden"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("ask for `create` on `services/proxy`"), "{}", stderr(&output));
}

#[test]
fn on_one_machine_there_are_no_runs_and_none_can_be_started() {
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join(jobmeter_coordinator::config::DATABASE);
    drop(jobmeter_coordinator::Store::open(&database, Default::default(), Box::new(|_| {})).unwrap());
    let here = |arguments: &[&str]| jobmeter(arguments).arg("--data-dir").arg(directory.path()).output().unwrap();
    assert_eq!(stdout(&here(&["runs", "-o", "json"])), "[]\n");
    assert_eq!(stdout(&here(&["runs", "definitions"])), "there are no definitions of node runs\n");
    for arguments in [&["runs", "start", "disk-check"][..], &["runs", "show", NEW]] {
        let output = here(arguments);
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains("node runs are kept by a coordinator in a cluster"), "{}", stderr(&output));
    }
}

#[test]
fn mistakes_of_the_command_line_ask_nobody() {
    let fake = fake(books());
    for arguments in [
        vec!["runs", "start", "disk-check", "--nodes", "a,,b"],
        vec!["runs", "start", "disk-check", "--watch", "-o", "json"],
        vec!["runs", "list", "--limit", "0"],
        vec!["runs", "--state", "nosuch"],
        vec!["runs", "diff", NEW],
    ] {
        assert_eq!(ask(&fake, &arguments).status.code(), Some(64), "{arguments:?}");
    }
    assert!(posted(&fake).is_empty());
}
