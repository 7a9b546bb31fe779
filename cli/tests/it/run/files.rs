//! `jobmeter run -f`: several jobs, their logs, the table, the exit code.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Instant;

use jobmeter_protocol::{Method, Quality, Reason};
use nix::sys::signal::Signal;

use super::{Place, Running, figures, has_cgroups, job, told};

const QUICKSTART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/quickstart.yaml");
const FAILURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/failures.yaml");

#[test]
fn the_quickstart_runs_and_ends_with_a_table() {
    let place = Place::new();
    let output = place.run(&["-f", QUICKSTART]);
    let said = told(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let table = String::from_utf8(output.stdout).unwrap();
    for pod in ["blink", "memory-burst", "cpu-burn", "with-init", "sweep-0", "sweep-5"] {
        assert!(table.contains(pod), "{pod} is not in\n{table}");
    }
    assert!(said.contains("5 of 5 jobs completed"), "{said}");
    assert!(said.contains("/data/logs/"), "{said}");
    assert_eq!(said.matches("is not used on one machine: commands").count(), 1, "image is told of once: {said}");

    let records = place.records();
    assert_eq!(records.len(), 10);
    assert!(records.iter().all(|record| matches!(record.quality, Quality::Complete { .. })), "{records:#?}");
    if has_cgroups() {
        let burst = records.iter().find(|record| record.identity.job.name == "memory-burst").unwrap();
        let (_, peak) = figures(burst, Method::Kernel);
        assert!((200 << 20..230 << 20).contains(&peak), "{peak}");
    }
}

#[test]
fn jobs_that_go_wrong_are_told_apart() {
    let place = Place::new();
    let output = place.run(&["-f", FAILURES]);
    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    let reasons = |job: &str| -> Vec<_> {
        let records = place.records().into_iter().filter(|record| record.identity.job.name == job);
        records.map(|record| (record.outcome.reason, record.outcome.exit.and_then(|exit| exit.code))).collect()
    };
    assert_eq!(reasons("always-fails"), [(Reason::Error, Some(3)); 2], "once, and once more");
    assert_eq!(reasons("too-slow"), [(Reason::Deadline, None)]);
    if has_cgroups() {
        assert_eq!(reasons("too-hungry"), [(Reason::OOMKilled, None)]);
    }
}

#[test]
fn a_log_holds_every_byte_of_output_and_error() {
    let place = Place::new();
    let script = "i=0; while [ $i -lt 2000 ]; do echo line $i; echo error $i >&2; i=$((i+1)); done; printf '\\000\\377'";
    let file = place.file("f.yaml", &job("talks", "", script));
    assert!(place.run(&["-q", "-f", file.to_str().unwrap()]).status.success());
    let mut expected: Vec<u8> = (0..2000).flat_map(|i| format!("line {i}\nerror {i}\n").into_bytes()).collect();
    expected.extend([0, 0xff]);
    let logs = place.logs();
    assert_eq!(logs.len(), 1);
    assert!(logs[0].0.starts_with("default/talks/talks-") && logs[0].0.ends_with(".log"), "{}", logs[0].0);
    assert!(logs[0].1 == expected);
}

#[test]
fn a_thousand_jobs_of_a_millisecond_leave_a_thousand_exact_records() {
    let place = Place::new();
    let text: String =
        (0..1000).map(|i| job(&format!("tiny-{i}"), "", "exit 0").replace("[sh, -c, \"exit 0\"]", "['true']")).collect();
    let file = place.file("many.yaml", &text);
    let begun = Instant::now();
    let output = place.run(&["-f", file.to_str().unwrap()]);
    eprintln!("1,000 jobs in {:?}", begun.elapsed());
    assert!(output.status.success(), "{}", told(&output));
    let records = place.records();
    assert_eq!(records.len(), 1000);
    assert!(records.iter().all(|record| matches!(record.quality, Quality::Complete { .. })));
    if has_cgroups() {
        for record in &records {
            let (cpu, peak) = figures(record, Method::Kernel);
            assert!(cpu > 0.0 && cpu < 1.0 && peak > 0, "{record:#?}");
        }
    }
}

#[test]
fn a_second_run_in_the_same_directory_keeps_the_history() {
    let place = Place::new();
    let file = place.file("f.yaml", &job("again", "", "exit 0"));
    for runs in 1..=2 {
        let output = place.run(&["-f", file.to_str().unwrap()]);
        assert!(output.status.success(), "{}", told(&output));
        assert_eq!(place.records().len(), runs);
        let table = String::from_utf8(output.stdout).unwrap();
        assert_eq!(table.matches("again-").count(), 1, "only this run's pods: {table}");
    }
}

#[test]
fn a_pod_that_never_ran_has_its_record_at_once() {
    let place = Place::new();
    let file = place.file("f.yaml", &job("never", "activeDeadlineSeconds: 0", "exit 0"));
    let begun = Instant::now();
    let output = place.run(&["-q", "-f", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(begun.elapsed().as_secs() < 8, "nobody is waited for");
    let records = place.records();
    assert!(matches!(records[0].quality, Quality::Complete { .. }), "{records:#?}");
    assert_eq!(records[0].outcome.reason, Reason::Deadline);
}

#[test]
fn limits_are_enforced_where_there_are_cgroups() {
    if !has_cgroups() {
        return;
    }
    let place = Place::new();
    let limits = "resources: {limits: {memory: 32Mi, cpu: 200m}}";
    let dd =
        job("oom", "", "dd if=/dev/zero of=/dev/null bs=200M count=1").replace("name: main,", &format!("name: main, {limits},"));
    let file = place.file("f.yaml", &dd);
    assert_eq!(place.run(&["-q", "-f", file.to_str().unwrap()]).status.code(), Some(1));
    let records = place.records();
    let [record] = &records[..] else { panic!("{records:#?}") };
    assert_eq!(record.outcome.reason, Reason::OOMKilled, "{record:#?}");
    let (_, peak) = figures(record, Method::Kernel);
    assert!(peak.abs_diff(32 << 20) < 1 << 20, "{peak}");
    assert_eq!(record.resources.cpu_limit_millicores, Some(200));
}

#[test]
fn mistakes_in_a_file_are_told_with_their_place_and_nothing_is_run() {
    let place = Place::new();
    let file = place.file("bad.yaml", &job("good", "", "exit 0").replace("backoffLimit: 0", "backofLimit: 0"));
    let output = place.run(&["-f", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(64));
    let said = told(&output);
    assert!(said.contains("bad.yaml:7:3: spec.backofLimit: unknown field; did you mean `backoffLimit`?"), "{said}");
    assert!(!place.data().exists());
}

#[test]
fn an_interrupt_ends_the_jobs_and_still_writes_their_records() {
    let place = Place::new();
    let text = job("obeys", "", "exec sleep 1000") + &job("waits", "", "exec sleep 1000");
    let file = place.file("f.yaml", &text);
    let mut command = place.jobmeter("run");
    command.args(["--pool", "1", "-f", file.to_str().unwrap()]).stderr(Stdio::piped()).stdout(Stdio::null());
    let mut child = Running::start(&mut command);
    place.await_output(0);
    child.signal(Signal::SIGINT);
    let said: Vec<_> = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap).collect();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{said:#?}");
    assert!(said.iter().any(|line| line.contains("waits failed: Interrupted")), "{said:#?}");
    let records = place.records();
    assert_eq!(records.len(), 1, "the other never had a pod");
    assert_eq!(records[0].outcome.exit.unwrap().signal, Some(15), "{records:#?}");
}

#[test]
fn a_suspended_job_is_told_of_and_does_not_hold_up_the_run() {
    let place = Place::new();
    let file = place.file("f.yaml", &(job("held", "suspend: true", "exit 0") + &job("runs", "", "exit 0")));
    let output = place.run(&["-f", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(told(&output).contains("held is suspended"), "{}", told(&output));
}
