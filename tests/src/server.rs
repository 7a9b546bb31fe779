//! A server on this machine that ends with the test, however that ends. Inputs: a command. Outputs: its pid, its log.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

use crate::processes::send;

/// When the test's process is gone, whatever became of it, nobody holds the other end of the pipe.
const SCRIPT: &str = r#""$@" >"$LOG" 2>&1 </dev/null & echo $!; read -r _; kill -"$END" $!; wait"#;

#[derive(Debug)]
pub struct Server {
    shell: Child,
    pid: i32,
}

impl Server {
    /// `command` is the program with its arguments; `end` is the signal that ends it.
    pub fn start<S: AsRef<std::ffi::OsStr>>(command: &[S], log: &Path, end: Signal) -> Result<Self> {
        Self::start_with(Command::new("sh"), command, log, end)
    }

    /// As [`Self::start`], with what `sh` (the environment, say) was told before.
    pub fn start_with<S: AsRef<std::ffi::OsStr>>(mut sh: Command, command: &[S], log: &Path, end: Signal) -> Result<Self> {
        let program = command.first().map(|program| program.as_ref().to_string_lossy().into_owned()).unwrap_or_default();
        let mut shell = sh
            .args(["-c", SCRIPT, "sh"])
            .args(command)
            .env("LOG", log)
            .env("END", end.as_str().trim_start_matches("SIG"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("failed to start {program}"))?;
        let mut pid = String::new();
        BufReader::new(shell.stdout.take().context("the shell's stdout")?).read_line(&mut pid)?;
        let pid = pid.trim().parse().with_context(|| format!("{program} has no pid"))?;
        Ok(Self { shell, pid })
    }

    pub fn signal(&self, signal: Signal) -> Result<()> {
        send(self.pid, signal)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        self.shell.wait().ok();
    }
}
