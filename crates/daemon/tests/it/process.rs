//! A real process: its exit codes, its signals, what it leaves on stderr.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

struct Process {
    child: Child,
    stderr: BufReader<ChildStderr>,
    ready: String,
}

impl Process {
    /// Returns once the process listens to signals.
    fn start(args: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_supervised-under-test"))
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        Self { child, stderr, ready: ready.trim().to_owned() }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    fn until_logged(&mut self, text: &str) {
        let mut line = String::new();
        while !line.contains(text) {
            line.clear();
            assert_ne!(self.stderr.read_line(&mut line).unwrap(), 0, "ended without logging `{text}`");
        }
    }

    /// Its exit code and the rest of its log.
    fn end(mut self) -> (i32, String) {
        let mut log = String::new();
        self.stderr.read_to_string(&mut log).unwrap();
        let status: ExitStatus = self.child.wait().unwrap();
        assert_eq!(status.signal(), None, "{log}");
        (status.code().unwrap(), log)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Already reaped in the good case; a failed test must not leave a process behind.
        self.child.kill().ok();
    }
}

#[test]
fn either_signal_ends_a_steady_process_with_0() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let process = Process::start(&[]);
        process.signal(signal);
        let (code, log) = process.end();
        assert_eq!(code, 0, "{log}");
        assert!(log.contains(signal.as_str()), "{log}");
    }
}

#[test]
fn a_task_that_fails_ends_the_process_with_70_and_its_name_and_causes() {
    let (code, log) = Process::start(&["--behave", "fail"]).end();
    assert_eq!(code, 70, "{log}");
    for part in ["task failed", "subject", "failed to append to the journal", "disk full"] {
        assert!(log.contains(part), "{part}: {log}");
    }
}

#[test]
fn a_task_that_panics_ends_the_process_with_70_and_leaves_only_json_lines() {
    let (code, log) = Process::start(&["--behave", "panic", "--log-format", "json"]).end();
    assert_eq!(code, 70, "{log}");
    let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let panicked = lines.iter().find(|line| line["message"] == "panicked").unwrap();
    assert_eq!(panicked["what"], "on purpose");
    assert_eq!(panicked["spans"][0]["fields"]["name"], "subject");
}

#[test]
fn a_task_that_does_not_stop_overruns_the_grace_with_75() {
    let process = Process::start(&["--behave", "stuck", "--grace", "100ms"]);
    process.signal(Signal::SIGTERM);
    let (code, log) = process.end();
    assert_eq!(code, 75, "{log}");
    assert!(log.contains("subject"), "{log}");
}

#[test]
fn a_second_signal_aborts_at_once_with_75_even_when_a_call_never_returns() {
    let mut process = Process::start(&["--behave", "stuck-in-call", "--grace", "10m"]);
    let begun = Instant::now();
    process.signal(Signal::SIGTERM);
    process.until_logged("signal received");
    process.signal(Signal::SIGTERM);
    let (code, log) = process.end();
    assert_eq!(code, 75, "{log}");
    assert!(begun.elapsed() < Duration::from_secs(60));
}

#[test]
fn a_request_under_way_is_answered_before_the_process_leaves_with_0() {
    let mut process = Process::start(&["--behave", "serve"]);
    let address = process.ready.strip_prefix("ready ").unwrap();
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    process.until_logged("slow request began");
    process.signal(Signal::SIGTERM);
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("finished"), "{answer}");
    assert_eq!(process.end().0, 0);
}

#[test]
fn a_server_that_ran_out_of_file_descriptors_serves_again_once_it_has_some() {
    let mut process = Process::start(&["--behave", "serve", "--files", "24"]);
    let address = process.ready.strip_prefix("ready ").unwrap().to_owned();
    let crowd: Vec<TcpStream> = (0..30).map(|_| TcpStream::connect(&address).unwrap()).collect();
    process.until_logged("failed to accept a connection, trying again");
    drop(crowd);
    let mut client = TcpStream::connect(&address).unwrap();
    client.write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("finished"), "{answer}");
    process.signal(Signal::SIGTERM);
    assert_eq!(process.end().0, 0);
}

#[test]
fn wrong_arguments_and_wrong_configuration_exit_with_64() {
    assert_eq!(Process::start(&["--nonsense"]).end().0, 64);
    assert_eq!(Process::start(&["--log", "subject=loud"]).end().0, 64);
    assert_eq!(Process::start(&["--grace", "10"]).end().0, 64);
    assert_eq!(Process::start(&["--help"]).end().0, 0);

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("subject.yaml");
    std::fs::write(&path, "# first\nintervall: 10s\n").unwrap();
    let (code, log) = Process::start(&["--config", path.to_str().unwrap()]).end();
    assert_eq!(code, 64, "{log}");
    assert!(log.contains("subject.yaml:2:1: "), "{log}");
}
