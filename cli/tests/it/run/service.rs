//! `jobmeter standalone` and `jobmeter submit`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;

use super::{Place, Running, job, told};

pub(super) struct Service {
    child: Running,
    address: String,
}

impl Service {
    fn start(place: &Place) -> Self {
        Self::with(place, &["--pool", "2"])
    }

    pub(super) fn with(place: &Place, args: &[&str]) -> Self {
        let mut command = place.jobmeter("standalone");
        command.args(["--listen", "127.0.0.1:0"]).args(args).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = Running::start(&mut command);
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("http://").unwrap().to_owned();
        Self { child, address }
    }

    /// Status and body.
    pub(super) fn ask(&self, method: &str, path: &str, token: Option<&str>, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let token = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
        let length = body.len();
        let head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{token}Content-Length: {length}\r\n\r\n");
        stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
    }

    pub(super) fn stop(mut self) -> Option<i32> {
        self.child.signal(Signal::SIGTERM);
        self.child.wait().unwrap().code()
    }
}

pub(super) fn submit(place: &Place, args: &[&str]) -> std::process::Output {
    let mut command: Command = place.jobmeter("submit");
    command.args(args).output().unwrap()
}

#[test]
fn what_is_submitted_runs_and_is_waited_for() {
    let place = Place::new();
    let service = Service::start(&place);
    let file = place.file("f.yaml", &(job("one", "", "exit 0") + &job("two", "", "exit 3")));
    let output = submit(&place, &["-f", file.to_str().unwrap(), "--wait"]);
    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said, "job/one submitted\njob/two submitted\njob/one Completed\njob/two Failed\n");

    let (status, metrics) = service.ask("GET", "/metrics", None, "");
    assert_eq!(status, 200);
    assert!(metrics.contains("jobmeter_coordinator_") && metrics.contains("jobmeter_agent_"), "{metrics}");
    let (status, records) = service.ask("GET", "/v1/records", None, "");
    assert_eq!((status, records.matches("\"pod_uid\"").count()), (200, 2), "{records}");
    assert_eq!(service.stop(), Some(0));
    assert_eq!(place.records().len(), 2);
    assert!(!place.data().join("address").exists());
}

#[test]
fn running_commands_here_takes_the_token() {
    let place = Place::new();
    let service = Service::start(&place);
    let mode = std::fs::metadata(place.data().join("token")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let touched = place.path().join("touched");
    let yaml = job("evil", "", &format!("touch {}", touched.display()));
    assert_eq!(service.ask("POST", "/v1/jobs", None, &yaml).0, 401);
    assert_eq!(service.ask("POST", "/v1/jobs", Some("wrong"), &yaml).0, 401);
    let token = std::fs::read_to_string(place.data().join("token")).unwrap();
    let (status, said) = service.ask("POST", "/v1/jobs", Some(&token), "kind: Pod\napiVersion: v1\n");
    assert_eq!(status, 400, "{said}");
    assert!(said.contains("one machine runs Job documents only"), "{said}");
    assert_eq!(service.stop(), Some(0));
    assert!(!touched.exists());
}

#[test]
fn stopping_ends_what_runs_and_keeps_its_record() {
    let place = Place::new();
    let service = Service::start(&place);
    let file = place.file("f.yaml", &job("long", "", "exec sleep 1000"));
    assert!(submit(&place, &["-f", file.to_str().unwrap()]).status.success());
    let again = submit(&place, &["-f", file.to_str().unwrap()]);
    assert!(told(&again).contains("is running already"), "{}", told(&again));
    place.await_output(0);
    assert_eq!(service.stop(), Some(0));
    let records = place.records();
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].outcome.exit.unwrap().signal, Some(15), "{records:#?}");
}

#[test]
fn an_address_that_others_can_reach_is_refused() {
    let place = Place::new();
    let output = place.jobmeter("standalone").args(["--listen", "0.0.0.0:0"]).output().unwrap();
    assert_eq!(output.status.code(), Some(64));
    assert!(told(&output).contains("--allow-remote"), "{}", told(&output));
}

#[test]
fn refused_submissions_are_counted_and_all_are_told_in_json() {
    let place = Place::new();
    let service = Service::start(&place);
    let token = std::fs::read_to_string(place.data().join("token")).unwrap();
    assert_eq!(service.ask("POST", "/v1/jobs", Some("wrong"), "").0, 401);
    assert_eq!(service.ask("POST", "/v1/jobs", Some(&token), "kind: Pod\n").0, 400);
    let twice = job("twice", "", "exit 0") + &job("twice", "", "exit 0");
    assert_eq!(service.ask("POST", "/v1/jobs", Some(&token), &twice).0, 409);
    // Announced and not sent: nobody waits for it.
    let mut stream = TcpStream::connect(&service.address).unwrap();
    let head = format!("POST /v1/jobs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: 99999999\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = BufReader::new(stream);
    let mut status = String::new();
    answer.read_line(&mut status).unwrap();
    assert!(status.contains(" 413 "), "{status}");
    let body = answer.lines().map(Result::unwrap).find(|line| line.starts_with('{')).unwrap();
    assert!(body.contains("\"error\":\"the body is larger than "), "{body}");

    let (_, metrics) = service.ask("GET", "/metrics", None, "");
    for code in [400, 401, 409, 413] {
        let line = format!("jobmeter_coordinator_requests_refused_total{{code=\"{code}\"}} 1");
        assert!(metrics.contains(&line), "{line} is not in {metrics}");
    }
    assert_eq!(service.stop(), Some(0));
}

#[test]
fn a_job_that_runs_shows_figures_within_seconds() {
    let place = Place::new();
    let service = Service::start(&place);
    let file = place.file("f.yaml", &job("long", "", "i=0; while :; do i=$((i+1)); done"));
    assert!(submit(&place, &["-f", file.to_str().unwrap()]).status.success());
    let until = std::time::Instant::now() + std::time::Duration::from_secs(8);
    let (mut live, mut stored) = (false, false);
    while !(live && stored) && std::time::Instant::now() < until {
        let has = |text: &str, key: &str| {
            let values: Vec<serde_json::Value> = serde_json::from_str(text).unwrap_or_default();
            values.iter().any(|value| !value.pointer(key).unwrap_or(&serde_json::Value::Null).is_null())
        };
        live = has(&service.ask("GET", "/v1/live", None, "").1, "/cpu_cores");
        let acct = place.jobmeter("acct").args(["--pods", "-o", "json"]).output().unwrap();
        stored = has(&String::from_utf8_lossy(&acct.stdout), "/usage/memory_peak_bytes");
    }
    assert!(live && stored, "live: {live}, stored: {stored}");
    assert_eq!(service.stop(), Some(0));
}
