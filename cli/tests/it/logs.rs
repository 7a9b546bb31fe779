//! `jobmeter logs` against a coordinator that says what a test tells it: what is shown, where, and how it ends.

use std::io::Read;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use jobmeter_protocol::{
    Compression, ContainerKind, ContainerRecord, JobState, LogContent, LogEntry, LogFormat, LogId, LogState, Missing, Record,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::ask::jobmeter;
use crate::example;
use crate::fake::{Books, Fake, Text};

fn content(bytes: u64, lines: u64) -> LogContent {
    LogContent {
        format: LogFormat::Text,
        compression: Compression::None,
        bytes,
        lines,
        sha256: "00".repeat(32),
        first: Some(example::at(0.0)),
        last: Some(example::at(1.0)),
        malformed_lines: 0,
        times: Some("AAAA".into()),
        missing: Vec::new(),
    }
}

fn entry(pod: &str, container: &str, attempt: u32, state: LogState) -> LogEntry {
    let key = format!("bench/sort/{pod}-{container}.log");
    LogEntry {
        log: LogId {
            namespace: "bench".into(),
            pod: pod.into(),
            pod_uid: format!("uid-of-{pod}"),
            container: container.into(),
            attempt,
        },
        node: Some("node-a".into()),
        content: matches!(state, LogState::Complete | LogState::Truncated { .. }).then(|| content(2048, 12)),
        state,
        kind: Some(ContainerKind::Main),
        location: format!("s3://logs/{key}"),
        key,
        object_bytes: 2048,
        stored: Some(example::at(2.0)),
    }
}

/// The job `sort` with these pods, each with a container `main` and what the coordinator has of its log.
fn sort(pods: &[(&str, LogState, &[Text])]) -> Books {
    let records: Vec<Record> =
        pods.iter().enumerate().map(|(at, (pod, ..))| example::record("sort", pod, at as f64, 1.0)).collect();
    let logs = pods.iter().map(|(pod, state, _)| entry(pod, "main", 0, state.clone())).collect();
    let texts = pods.iter().map(|(pod, _, texts)| (format!("{pod}/main/0"), texts.to_vec())).collect();
    let jobs = vec![example::job("sort", JobState::Completed, &records)];
    Books { records, jobs, logs, texts, ..Books::default() }
}

fn command(fake: &Fake, arguments: &[&str]) -> Command {
    let mut command = jobmeter(&["logs"]);
    command.args(arguments).args(["--server", &fake.url()]);
    command
}

/// Code, stdout, stderr.
fn told(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn logs(books: Books, arguments: &[&str]) -> (Option<i32>, String, String) {
    told(&command(&Fake::start(books), arguments).output().unwrap())
}

const ONE: &[Text] = &[Text::Here(&["one\n", "half a li"], Some("complete"))];
const TWO: &[Text] = &[Text::Here(&["two\n"], None)];

#[test]
fn one_log_is_its_bytes_and_nothing_else() {
    for subject in ["sort", "job/sort", "sort-a", "pod/sort-a", "uid-of-sort-a"] {
        let (code, stdout, stderr) = logs(sort(&[("sort-a", LogState::Complete, ONE)]), &[subject]);
        assert_eq!((code, stdout.as_str(), stderr.as_str()), (Some(0), "one\nhalf a li", ""), "{subject}");
    }
}

#[test]
fn several_logs_follow_one_another_under_their_names() {
    let books = sort(&[("sort-a", LogState::Complete, ONE), ("sort-b", LogState::Complete, TWO)]);
    let (code, stdout, stderr) = logs(books, &["sort"]);
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(stdout, "==> sort-a/main <==\none\nhalf a li\n\n==> sort-b/main <==\ntwo\n");
}

#[test]
fn several_logs_that_are_followed_are_merged_in_whole_lines() {
    let books = sort(&[("sort-a", LogState::Complete, ONE), ("sort-b", LogState::Complete, TWO)]);
    let (code, stdout, stderr) = logs(books, &["sort", "-f"]);
    assert_eq!(code, Some(0), "{stderr}");
    let mut lines: Vec<&str> = stdout.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["[sort-a/main] half a li", "[sort-a/main] one", "[sort-b/main] two"]);
}

#[test]
fn what_is_asked_for_reaches_the_coordinator_in_its_own_words() {
    let fake = Fake::start(sort(&[("sort-a", LogState::Complete, ONE)]));
    let output = command(&fake, &["sort-a", "-n", "bench", "-c", "main", "--timestamps", "--since", "2026-11-20T17:00:00Z"]);
    assert_eq!(told(&{ output }.output().unwrap()).0, Some(0));
    let asked = fake.asked();
    let asked = asked.iter().find(|asked| asked.contains_key("log")).unwrap();
    let words: Vec<(&str, &str)> = asked.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let expected = [
        ("attempt", "0"),
        ("container", "main"),
        ("log", "sort-a/main/0"),
        ("since", "2026-11-20T17:00:00Z"),
        ("timestamps", "true"),
        ("uid", "uid-of-sort-a"),
    ];
    assert_eq!(words, expected);
}

#[test]
fn restarts_and_init_containers_are_shown_on_demand() {
    let books = || {
        let mut books = sort(&[("sort-a", LogState::Complete, ONE)]);
        let main = books.records[0].containers[0].clone();
        let init = ContainerRecord { name: "fetch".into(), kind: Some(ContainerKind::Init), ..main.clone() };
        books.records[0].containers = vec![init, main.clone(), ContainerRecord { attempt: 1, ..main }];
        for (container, attempt, text) in [("fetch", 0, "fetched\n"), ("main", 1, "again\n")] {
            books.logs.push(entry("sort-a", container, attempt, LogState::Complete));
            let text = vec![Text::Here(Box::leak(Box::new([text])), None)];
            books.texts.insert(format!("sort-a/{container}/{attempt}"), text);
        }
        books.logs[1].kind = Some(ContainerKind::Init);
        books
    };
    for (arguments, shows) in [
        (vec!["sort-a"], "again\n"),
        (vec!["sort-a", "--previous"], "one\nhalf a li"),
        (vec!["sort-a", "--attempt", "0", "-c", "main"], "one\nhalf a li"),
        (vec!["sort-a", "-c", "fetch"], "fetched\n"),
        (vec!["sort-a", "--all-containers"], "==> sort-a/fetch <==\nfetched\n\n==> sort-a/main <==\nagain\n"),
    ] {
        let (code, stdout, stderr) = logs(books(), &arguments);
        assert_eq!((code, stdout.as_str()), (Some(0), shows), "{arguments:?}: {stderr}");
    }
    let (code, stdout, stderr) = logs(books(), &["sort-a", "-c", "nosuch"]);
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert!(stderr.contains("there is no container \"nosuch\"; there is fetch, main"), "{stderr}");
}

#[test]
fn a_log_that_is_on_its_way_is_waited_for_and_that_is_said_once() {
    let late = [Text::Refused(409, "the node has it"), Text::Refused(409, "the node has it"), ONE[0].clone()];
    let (code, stdout, stderr) = logs(sort(&[("sort-a", LogState::Expected, &late)]), &["sort"]);
    assert_eq!((code, stdout.as_str()), (Some(0), "one\nhalf a li"), "{stderr}");
    assert_eq!(stderr, "jobmeter: sort-a/main: the log is on its way: the node has it; waiting up to 1m\n");
}

#[test]
fn a_log_that_does_not_come_is_given_up() {
    let never = [Text::Refused(409, "the node has it")];
    let (code, stdout, stderr) = logs(sort(&[("sort-a", LogState::Expected, &never)]), &["sort", "--wait", "300ms"]);
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert!(stderr.contains("still not here after 300ms: the node has it; `jobmeter logs sort-a --list`"), "{stderr}");
}

#[test]
fn many_logs_that_do_not_come_are_not_waited_for_one_after_the_other() {
    let never = [Text::Refused(409, "the node has it")];
    let names: Vec<String> = (0..20).map(|n| format!("sort-{n}")).collect();
    let pods: Vec<_> = names.iter().map(|name| (name.as_str(), LogState::Expected, never.as_slice())).collect();
    let begun = std::time::Instant::now();
    let (code, _, stderr) = logs(sort(&pods), &["sort", "--wait", "1s"]);
    assert_eq!((code, stderr.matches("still not here").count()), (Some(1), 20), "{stderr}");
    assert!(begun.elapsed() < std::time::Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[test]
fn lost_and_expired_logs_say_so_and_do_not_keep_the_others_back() {
    let lost = LogState::Lost { why: "the node was removed before its log was stored".into() };
    let books = sort(&[("sort-a", lost, &[]), ("sort-b", LogState::Expired, &[]), ("sort-c", LogState::Complete, TWO)]);
    let (code, stdout, stderr) = logs(books, &["sort"]);
    assert_eq!((code, stdout.as_str()), (Some(1), "==> sort-c/main <==\ntwo\n"));
    let expected = "jobmeter: sort-a/main: the log is lost: the node was removed before its log was stored\n\
                    jobmeter: sort-b/main: the log has expired: it was stored, and deleted by age or for room\n";
    assert_eq!(stderr, expected);
}

#[test]
fn what_a_truncated_log_lacks_is_said_after_it() {
    let mut books = sort(&[("sort-a", LogState::Truncated { why: "a hole".into() }, ONE)]);
    let hole = Missing { why: "the spool was full".into(), raw_bytes: Some(4096) };
    books.logs[0].content.as_mut().unwrap().missing = vec![hole];
    let (code, stdout, stderr) = logs(books, &["sort"]);
    assert_eq!((code, stdout.as_str()), (Some(0), "one\nhalf a li"));
    assert_eq!(stderr, "jobmeter: sort-a/main: not complete: the spool was full (4.0Ki)\n");
}

#[test]
fn a_log_that_breaks_off_is_an_error_after_what_came() {
    let (code, stdout, stderr) = logs(sort(&[("sort-a", LogState::Complete, &[Text::CutAfter("one\n")])]), &["sort"]);
    assert_eq!((code, stdout.as_str()), (Some(1), "one\n"));
    assert!(stderr.contains("sort-a/main: the log broke off on its way"), "{stderr}");
}

#[test]
fn names_that_nobody_knows_end_with_1_and_say_where_they_were_looked_for() {
    let (code, _, stderr) = logs(Books::default(), &["nosuch"]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("no job or pod \"nosuch\" in any namespace"), "{stderr}");
    let records = vec![example::record("sort", "sort-x", 0.0, 1.0)];
    let (code, _, stderr) = logs(Books { records, ..Books::default() }, &["sort-x"]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("sort-x/main: there is no log: no log sort-x/main/0"), "{stderr}");
}

#[test]
fn the_list_says_where_each_log_is() {
    let lost = LogState::Lost { why: "gone".into() };
    let books = || sort(&[("sort-a", LogState::Complete, ONE), ("sort-b", lost.clone(), &[])]);
    insta::assert_snapshot!("logs_list", logs(books(), &["sort", "--list"]).1);
    insta::assert_snapshot!("logs_list_all", logs(books(), &["--list"]).1);
    let json: Vec<LogEntry> = serde_json::from_str(&logs(books(), &["--list", "-o", "json"]).1).unwrap();
    assert_eq!(json.iter().map(|entry| entry.state.as_str()).collect::<Vec<_>>(), ["complete", "lost"]);
}

#[test]
fn a_reader_that_goes_away_is_no_error_and_a_signal_ends_a_log_that_is_followed() {
    let fake = Fake::start(sort(&[("sort-a", LogState::Complete, &[Text::Large(64)])]));
    let mut child = command(&fake, &["sort"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 10]).unwrap();
    drop(stdout);
    assert_eq!(told(&child.wait_with_output().unwrap()), (Some(0), String::new(), String::new()));

    let fake = Fake::start(sort(&[("sort-a", LogState::Expected, &[Text::SilentAfter("one\n")])]));
    let mut child = command(&fake, &["-f", "sort"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = [0; 4];
    child.stdout.as_mut().unwrap().read_exact(&mut line).unwrap();
    assert_eq!(&line, b"one\n", "what is written is shown at once");
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(told(&output), (None, String::new(), String::new()), "as `tail -f` ends");
}

#[test]
fn a_large_log_is_never_in_memory() {
    const MIB: usize = 512;
    let fake = Fake::start(sort(&[("sort-a", LogState::Complete, &[Text::Large(MIB)])]));
    let mut child = command(&fake, &["sort"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let (mut block, mut read, mut peak) = (vec![0; 1 << 20], 0, 0);
    let began = Instant::now();
    loop {
        let length = stdout.read(&mut block).unwrap();
        read += length;
        if length == 0 || began.elapsed() > Duration::from_secs(60) {
            break;
        }
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let high = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        peak = peak.max(high.unwrap_or(0));
    }
    assert!(child.wait().unwrap().success());
    assert_eq!(read, MIB << 20);
    assert!(peak > 0 && peak < 64 * 1024, "{peak} KiB");
}
