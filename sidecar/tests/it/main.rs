//! Tests of `jobmeter-sidecar` from the outside: what a server gets from it, what it prints, how it ends.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

mod again;
mod large;
mod report;
mod server;
mod usage;

use std::process::{Command, Output, Stdio};

/// As the coordinator makes them.
const TOKEN: &str = "AAAAbbbbCCCCdddd-_99eeee";

/// With the environment of a run's pod, and with a proxy that nobody is to ask.
fn sidecar(address: impl std::fmt::Display) -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin("jobmeter-sidecar"));
    for (variable, kind) in [("RESULT", "result"), ("FILE", "file"), ("EVENT", "event")] {
        let url = format!("http://{address}/report/node-a/202611211930/{TOKEN}/{kind}");
        command.env(format!("CALLBACK_SERVICE_{variable}_URL"), url);
    }
    command
        .env("HTTP_PROXY", "http://127.0.0.1:9")
        .env("http_proxy", "http://127.0.0.1:9")
        .env("ALL_PROXY", "http://127.0.0.1:9");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Its exit code and what it said. Whatever that was, the token is not in it.
fn ended(output: Output) -> (i32, String) {
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!said.contains(TOKEN) && output.stdout.is_empty(), "{said}");
    (output.status.code().expect("it ended by itself"), said)
}
