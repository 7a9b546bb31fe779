//! Commands against a coordinator: what is asked, in how many pages, and what comes out.

use std::process::{Command, Output};

use jobmeter_protocol::JobState;

use crate::example;
use crate::fake::{Books, Fake};

pub(crate) fn jobmeter(arguments: &[&str]) -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("jobmeter"));
    command.args(arguments).env_clear().current_dir(std::env::temp_dir());
    command
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

fn many(count: usize) -> Vec<jobmeter_protocol::Record> {
    (0..count).map(|index| example::record("sort", &format!("sort-{index:04}"), index as f64, 1.0)).collect()
}

#[test]
fn acct_pages_through_everything() {
    let fake = Fake::start(Books { records: many(25), page: 10, ..Books::default() });
    let text = stdout(&ask(&fake, &["acct", "--pods", "-o", "name"]));
    let expected: Vec<String> = (0..25).map(|index| format!("pod/sort-{index:04}")).collect();
    assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    let pages: Vec<Option<String>> = fake.asked().iter().map(|asked| asked.get("after").cloned()).collect();
    assert_eq!(pages, [None, Some("10".into()), Some("20".into())]);
}

#[test]
fn a_limit_asks_for_no_more_than_it_needs() {
    let fake = Fake::start(Books { records: many(25), page: 10, ..Books::default() });
    let text = stdout(&ask(&fake, &["acct", "--pods", "--limit", "12", "-o", "name"]));
    assert_eq!(text.lines().count(), 12);
    let limits: Vec<String> = fake.asked().iter().map(|asked| asked["limit"].clone()).collect();
    assert_eq!(limits, ["12", "2"]);
}

#[test]
fn every_condition_reaches_the_coordinator_in_its_own_words() {
    let fake = Fake::start(Books { records: many(1), ..Books::default() });
    let arguments = [
        "acct",
        "--pods",
        "-n",
        "bench",
        "-l",
        "team=storage",
        "--state",
        "cd,oom",
        "--since",
        "2026-11-20T16:00:00Z",
        "--until",
        "2026-11-20T18:00:00Z",
        "--sort-by",
        "memory",
        "sort",
    ];
    stdout(&ask(&fake, &arguments));
    let asked = fake.asked().remove(0);
    let expected = [
        ("job", "sort"),
        ("limit", "1000"),
        ("namespace", "bench"),
        ("selector", "team=storage"),
        ("since", "2026-11-20T16:00:00Z"),
        ("sort_by", "memory"),
        ("state", "Completed,OOMKilled"),
        ("until", "2026-11-20T18:00:00Z"),
    ];
    assert_eq!(asked.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect::<Vec<_>>(), expected);
}

#[test]
fn a_column_that_needs_pods_fetches_the_pods_of_each_job_and_only_then() {
    let sort = vec![example::short(), example::partial()];
    let jobs = vec![example::job("sort", JobState::Failed, &sort)];
    let fake = Fake::start(Books { records: sort, jobs, ..Books::default() });
    stdout(&ask(&fake, &["acct"]));
    assert_eq!(fake.asked().len(), 1);
    let text = stdout(&ask(&fake, &["acct", "-P", "--format", "JobName,ExitCode,NodeList,Pods", "sort"]));
    assert_eq!(text, "JobName|ExitCode|NodeList|Pods\nsort|3:0|node-a|1/2\n");
    assert_eq!(fake.asked().len(), 3);
}

#[test]
fn a_job_that_is_not_there_ends_with_1_and_says_where_it_was_looked_for() {
    let fake = Fake::start(Books::default());
    for arguments in [["acct", "nosuch"], ["eff", "nosuch"]] {
        let output = ask(&fake, &arguments);
        assert_eq!(output.status.code(), Some(1));
        let text = stderr(&output);
        assert!(text.contains("\"nosuch\"") && text.contains("in any namespace") && text.contains(&fake.url()), "{text}");
    }
    let output = ask(&fake, &["acct"]);
    assert_eq!((output.status.code(), stderr(&output).contains("no jobs found in any namespace")), (Some(0), true));
}

#[test]
fn eff_finds_a_job_a_pod_and_the_middle_of_a_chain() {
    let sort = vec![example::short()];
    let jobs = vec![example::job("sort", JobState::Completed, &sort)];
    let mut nightly = example::killed();
    nightly.identity.job.name = "nightly-27".into();
    let fake = Fake::start(Books { records: vec![sort[0].clone(), nightly], jobs, ..Books::default() });
    assert!(stdout(&ask(&fake, &["eff", "sort"])).starts_with("Job:         sort (Job), namespace bench\n"));
    assert!(stdout(&ask(&fake, &["eff", "sort-7xk2p"])).contains("Pod:         sort-7xk2p\n"));
    assert!(stdout(&ask(&fake, &["eff", "nightly-27"])).contains("OOMKilled"));
    let json: serde_json::Value = serde_json::from_str(&stdout(&ask(&fake, &["eff", "job/sort", "-o", "json"]))).unwrap();
    assert_eq!(json["advice"]["memory"]["request"], serde_json::json!({ "do": "lower", "from": 67108864, "to": 16777216 }));
    assert_eq!(json["records"].as_array().unwrap().len(), 1);
    assert!(json["efficiency"]["cpu_of_request_ratio"].as_f64().unwrap() > 2.0);
}

#[test]
fn the_same_name_in_two_namespaces_is_a_question_back() {
    let mut other = example::short();
    other.identity.namespace = "prod".into();
    let jobs =
        vec![example::job("sort", JobState::Completed, &[example::short()]), example::job("sort", JobState::Completed, &[other])];
    let fake = Fake::start(Books { jobs, ..Books::default() });
    let output = ask(&fake, &["eff", "sort"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("\"sort\" is in the namespaces bench, prod: choose one with -n"), "{}", stderr(&output));
}

#[test]
fn top_once_shows_what_runs_and_json_is_an_array() {
    let fake = Fake::start(Books { live: vec![example::live_pod()], ..Books::default() });
    let text = stdout(&ask(&fake, &["top", "-n", "bench"]));
    let line = text.lines().find(|line| line.contains("sort-live")).unwrap();
    let words: Vec<&str> = line.split_whitespace().filter(|word| !word.ends_with('h') && !word.ends_with('d')).collect();
    assert_eq!(words[..3], ["sort", "sort-live", "node-a"]);
    assert!(line.contains("0.50") && line.contains("40.0Mi") && line.contains("16.0Mi~"), "{line}");
    let json: Vec<jobmeter_protocol::LivePod> = serde_json::from_str(&stdout(&ask(&fake, &["top", "-o", "json"]))).unwrap();
    assert_eq!(json, [example::live_pod()]);
}

#[test]
fn a_token_is_sent_and_its_absence_explained() {
    let fake = Fake::start(Books { records: many(1), token: Some("s3cret"), ..Books::default() });
    let output = ask(&fake, &["acct", "--pods"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("--token-file or JOBMETER_TOKEN: no valid token"), "{}", stderr(&output));
    let url = fake.url();
    let output = jobmeter(&["acct", "--pods", "--server", &url]).env("JOBMETER_TOKEN", "s3cret\n").output().unwrap();
    assert!(stdout(&output).contains("sort-0000"));
}

#[test]
fn what_the_coordinator_refuses_is_passed_on_in_its_words() {
    let fake = Fake::start(Books::default());
    let output = ask(&fake, &["acct", "-l", "refused"]);
    assert!(stderr(&output).contains("it answered 400 Bad Request: the selector is not one"), "{}", stderr(&output));
}

#[test]
fn nobody_listening_and_something_else_listening_are_told_apart() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let output = jobmeter(&["acct", "--server", &format!("http://{free}")]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("no answer; is it running"), "{}", stderr(&output));
    let fake = Fake::start(Books::default());
    let output = jobmeter(&["doctor", "--nodes", "--server", &fake.url()]).output().unwrap();
    assert!(stderr(&output).contains("it answered 404"), "{}", stderr(&output));
}
