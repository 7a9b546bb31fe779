//! `jobmeter doctor --prove`: workloads whose cost is known, run by the machinery of `jobmeter run`, reported against truth.
//!
//! In: this machine. Out: a table, and exit code 1 if a figure that claims to be the kernel's is out of its tolerance. The
//! truth never passes through a cgroup: CPU time is what `wait4(2)` told this process of the children it reaped
//! (`RUSAGE_CHILDREN`), memory is what the workload read of itself.

mod bench;
mod judge;
mod plan;
mod table;

use std::io::{self, Write};
use std::process::ExitCode;

use jobmeter_coordinator::execute::local::Forker;
use serde::Serialize;

use self::bench::{Bench, Scratch};
use self::judge::Judged;
use self::plan::Trial;
use super::DoctorForm;
use crate::exit::FAILED;

/// `-o json`.
#[derive(Debug, Serialize)]
struct Proof {
    /// How the jobs' processes were contained: `cgroup v1 …`, or why there are no cgroups.
    setting: String,
    figures: Vec<Judged>,
    /// Every figure of the kernel's is within its tolerance.
    holds: bool,
}

pub async fn run(form: DoctorForm, forker: Forker) -> anyhow::Result<ExitCode> {
    crate::run::log_to_stderr("warn")?;
    let scratch = Scratch::create()?;
    let (mut bench, keeper) = Bench::set_up(&scratch, forker).await?;
    let setting = bench.setting();
    let trials = plan::trials(scratch.path())?;
    let work = async {
        // Both are dropped when the other is done; an interrupted proof leaves neither processes nor cgroups.
        tokio::select! {
            figures = try_all(&mut bench, &trials) => return figures,
            interrupt = tokio::signal::ctrl_c() => interrupt?,
        }
        bench.abandon().await;
        anyhow::bail!("interrupted: nothing is proven")
    };
    let figures = keeper.until(work).await?;
    let holds = figures.iter().all(Judged::holds);
    let proof = Proof { setting, figures, holds };
    match form {
        DoctorForm::Text => table::write(&proof, &mut io::stdout())?,
        DoctorForm::Json => writeln!(io::stdout(), "{}", serde_json::to_string_pretty(&proof)?)?,
    }
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

async fn try_all(bench: &mut Bench, trials: &[Trial]) -> anyhow::Result<Vec<Judged>> {
    let mut figures = Vec::new();
    for trial in trials {
        writeln!(io::stderr(), "running {} …", trial.what)?;
        let outcome = bench.run(trial).await?;
        figures.extend(plan::checks(trial, &outcome).into_iter().map(judge::judge));
    }
    Ok(figures)
}
