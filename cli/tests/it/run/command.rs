//! `jobmeter run -- CMD`: the command must not notice, and neither must whoever called it.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use jobmeter_protocol::{Quality, Reason, Record};
use nix::sys::signal::Signal;

use super::{Place, Running, told};

#[test]
fn the_exit_code_passes_through_also_for_signals_and_for_what_cannot_run() {
    let place = Place::new();
    for (command, code) in [
        (&["true"] as &[&str], 0),
        (&["sh", "-c", "exit 7"], 7),
        (&["sh", "-c", "kill -9 $$"], 137),
        (&["sh", "-c", "kill -TERM $$"], 143),
        (&["no-such-command-anywhere"], 127),
        (&["/etc/passwd"], 126),
    ] {
        let output = place.jobmeter("run").args(["-q", "--"]).args(command).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{command:?}: {}", told(&output));
    }
    assert_eq!(place.records().len(), 6, "each left its record in the same directory");
}

#[test]
fn standard_streams_are_the_commands_own() {
    let place = Place::new();
    let mut child = place
        .jobmeter("run")
        .args(["-q", "--", "sh", "-c", "cat; printf 'err\\377' >&2"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let mut stdin = child.stdin.take().unwrap();
    let input = bytes.clone();
    let writer = std::thread::spawn(move || stdin.write_all(&input).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.stdout == bytes, "{} bytes came back", output.stdout.len());
    assert_eq!(output.stderr, b"err\xff");
    assert!(place.logs().is_empty() && place.live().is_empty(), "there is nothing to keep");
    let log = &place.records()[0].containers[0].log;
    assert!(log.is_none(), "and nothing is waited for: {log:?}");
}

#[test]
fn arguments_are_not_expanded_and_the_environment_is_passed_on() {
    let place = Place::new();
    let output = place
        .jobmeter("run")
        .env("SHOWN", "yes")
        .args(["-q", "--", "sh", "-c", "echo \"$SHOWN $0\"", "$(SHOWN) $$ $"])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "yes $(SHOWN) $$ $\n");
}

#[test]
fn the_report_goes_to_stderr_and_the_record_where_it_was_asked_for() {
    let place = Place::new();
    let output = place.run(&["--", "sh", "-c", "echo out"]);
    assert_eq!(output.stdout, b"out\n");
    let report = String::from_utf8(output.stderr).unwrap();
    assert!(report.contains("CPU") && report.contains("sh-"), "{report}");

    let path = place.path().join("usage.json");
    let output = place.run(&["--report", path.to_str().unwrap(), "--", "true"]);
    assert!(output.status.success() && output.stderr.is_empty(), "{}", told(&output));
    let record: Record = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert_eq!(record.outcome.reason, Reason::Completed);
    assert!(matches!(record.quality, Quality::Complete { .. }), "{record:#?}");

    let output = place.run(&["--report", "json", "--", "true"]);
    let record: Record = serde_json::from_slice(&output.stderr).unwrap();
    assert!(record.identity.pod.starts_with("true-"), "{}", record.identity.pod);
}

/// Starts a command that says when it is ready.
fn ready(place: &Place, script: &str) -> (Running, BufReader<std::process::ChildStdout>) {
    let mut child = Running::start(place.jobmeter("run").args(["-q", "--", "sh", "-c", script]).stdout(Stdio::piped()));
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    (child, stdout)
}

#[test]
fn signals_reach_the_command() {
    let place = Place::new();
    for (signal, name) in [(Signal::SIGTERM, "TERM"), (Signal::SIGINT, "INT"), (Signal::SIGHUP, "HUP"), (Signal::SIGUSR1, "USR1")]
    {
        let script = format!("trap 'echo got {name}; exit 9' {name}; echo ready; while :; do sleep 0.01; done");
        let (mut child, mut stdout) = ready(&place, &script);
        child.signal(signal);
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        assert_eq!(line, format!("got {name}\n"));
        assert_eq!(child.wait().unwrap().code(), Some(9));
    }
}

#[test]
fn a_command_dies_with_a_jobmeter_that_is_killed_and_the_store_stays_readable() {
    let place = Place::new();
    assert!(place.run(&["-q", "--", "true"]).status.success());
    let (mut child, mut stdout) = ready(&place, "echo ready; exec sleep 1000");
    child.kill().unwrap();
    child.wait().unwrap();
    // The pipe closes when the command has ended, too.
    let mut rest = String::new();
    stdout.read_line(&mut rest).unwrap();
    assert_eq!(rest, "");
    let before = place.records();
    assert!(!before.is_empty());
    assert!(place.run(&["-q", "--", "true"]).status.success(), "the directory can be used again");
    let after = place.records();
    assert!(after.len() > before.len());
    // What ran when it was killed is closed, and says that its end was not seen.
    let lost = after.iter().filter(|record| record.outcome.reason != Reason::Completed).count();
    assert_eq!(lost, 1, "{after:#?}");
}

#[test]
fn a_second_process_on_the_same_data_directory_is_told_whose_lock_it_is() {
    let place = Place::new();
    let (mut child, _stdout) = ready(&place, "echo ready; exec sleep 1000");
    let second = place.run(&["--", "true"]);
    assert!(!second.status.success());
    let said = told(&second);
    assert!(said.contains("jobmeter.db.lock is locked"), "{said}");
    child.signal(Signal::SIGTERM);
    assert_eq!(child.wait().unwrap().code(), Some(143));
}

#[test]
fn what_could_not_be_executed_has_no_memory_of_ours_and_gets_no_advice() {
    let place = Place::new();
    for command in ["no-such-command-anywhere", "/etc/passwd"] {
        let output = place.run(&["--", command]);
        let said = told(&output);
        assert!(said.contains("no advice: it could not be executed") && !said.contains("request "), "{said}");
    }
    for record in place.records() {
        assert_eq!(record.usage.rss_peak_bytes, None, "{record:#?}");
        assert!(record.processes.is_empty(), "{record:#?}");
    }
}

#[test]
fn no_process_of_ours_is_counted_as_the_commands() {
    let place = Place::new();
    for _ in 0..20 {
        assert!(place.run(&["-q", "--", "true"]).status.success());
    }
    for record in place.records() {
        let commands: Vec<_> = record.processes.iter().map(|process| process.command.as_str()).collect();
        assert!(!commands.iter().any(|command| command.contains("jobmeter")), "{commands:?}");
        assert!(record.usage.rss_peak_bytes.is_none_or(|rss| rss.value < 4 << 20), "{:?}", record.usage);
    }
}
