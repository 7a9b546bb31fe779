//! The parent process that starts the agent again.

use std::{
    io::{BufRead, BufReader},
    net::TcpListener,
    os::unix::process::ExitStatusExt,
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

const PATIENCE: Duration = Duration::from_secs(30);

struct Guarded {
    guard: Child,
    lines: mpsc::Receiver<String>,
    _state: tempfile::TempDir,
}

/// Nobody answers at the addresses it is given: it meters, and tries.
fn start() -> Guarded {
    let state = tempfile::tempdir().unwrap();
    let kubeconfig = state.path().join("kubeconfig");
    std::fs::write(
        &kubeconfig,
        r#"{"apiVersion":"v1","kind":"Config","clusters":[{"name":"c","cluster":{"server":"http://127.0.0.1:9"}}],
            "users":[{"name":"u","user":{}}],"contexts":[{"name":"x","context":{"cluster":"c","user":"u"}}],"current-context":"x"}"#,
    )
    .unwrap();
    let config = state.path().join("agent.yaml");
    std::fs::write(&config, format!("host: {{podLogs: {}}}\n", state.path().join("pods").display())).unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut guard = Command::new(env!("CARGO_BIN_EXE_jobmeter-agent"))
        .args(["--node", "here", "--coordinator-url", "http://127.0.0.1:9", "--cgroup-root", "/nobody-has-this"])
        .arg("--listen")
        .arg(free.to_string())
        .arg("--config")
        .arg(&config)
        .arg("--state-dir")
        .arg(state.path())
        .arg("--kubeconfig")
        .arg(&kubeconfig)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (said, lines) = mpsc::channel();
    let stderr = BufReader::new(guard.stderr.take().unwrap());
    std::thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| said.send(line)));
    Guarded { guard, lines, _state: state }
}

impl Guarded {
    fn hears(&self, wanted: &str) {
        loop {
            let line = self.lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("it never said {wanted:?}"));
            if line.contains(wanted) {
                return;
            }
        }
    }

    /// The agent below the guard, by what the kernel says.
    fn agent(&self) -> Pid {
        let guard = self.guard.id();
        let children = std::fs::read_to_string(format!("/proc/{guard}/task/{guard}/children")).unwrap();
        Pid::from_raw(children.split_whitespace().next().unwrap().parse().unwrap())
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.guard.kill().unwrap_or_default();
        self.guard.wait().map(drop).unwrap_or_default();
    }
}

#[test]
fn a_killed_agent_is_there_again_at_once_and_a_signal_to_the_guard_ends_both() {
    let mut guarded = start();
    guarded.hears("can measure");
    let first = guarded.agent();
    kill(first, Signal::SIGKILL).unwrap();
    guarded.hears("started again");
    guarded.hears("can measure");
    let second = guarded.agent();
    assert_ne!(first, second);
    kill(Pid::from_raw(guarded.guard.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    let status = guarded.guard.wait().unwrap();
    assert_eq!((status.code(), status.signal()), (Some(0), None));
    assert_eq!(kill(second, None), Err(nix::errno::Errno::ESRCH), "the agent ended before its guard");
}

#[test]
fn an_agent_that_keeps_being_killed_is_left_to_the_kubelet() {
    let mut guarded = start();
    for _ in 0..5 {
        guarded.hears("can measure");
        kill(guarded.agent(), Signal::SIGKILL).unwrap();
        guarded.hears("started again");
    }
    guarded.hears("can measure");
    kill(guarded.agent(), Signal::SIGKILL).unwrap();
    guarded.hears("not started again");
    assert_eq!(guarded.guard.wait().unwrap().code(), Some(70));
}

#[test]
fn an_exit_code_of_the_agent_is_passed_on() {
    let output = Command::new(env!("CARGO_BIN_EXE_jobmeter-agent"))
        .args(["--node", "here", "--coordinator-url", "nowhere"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(64), "{}", String::from_utf8_lossy(&output.stderr));
}
