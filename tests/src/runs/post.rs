//! Calls from inside of the cluster's network, where Services have addresses, as a pod makes them.

use std::process::Command;

use anyhow::{Context, Result};

use crate::cluster::run;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posted {
    pub status: u16,
    pub body: String,
}

/// With `body` it is a POST, else a GET.
pub fn post(url: &str, body: Option<&str>) -> Result<Posted> {
    let inside = std::env::var("JOBMETER_RIG_IN_NETNS").context("JOBMETER_RIG_IN_NETNS is not set: tests/rig env")?;
    let mut words = inside.split_whitespace();
    let mut command = Command::new(words.next().context("JOBMETER_RIG_IN_NETNS is empty")?);
    command.args(words).args(["curl", "--silent", "--show-error", "--max-time", "30", "--write-out", "\n%{http_code}"]);
    if body.is_some() {
        command.args(["--data-binary", "@-"]);
    }
    command.arg(url);
    let answer = run(command, body.unwrap_or_default())?;
    let (body, status) = answer.rsplit_once('\n').with_context(|| format!("curl said {answer}"))?;
    Ok(Posted { status: status.parse()?, body: body.to_owned() })
}
