//! Looks at live job pods from time to time, for what the kernel keeps no counter of.
//!
//! Inputs: which pods to look at ([`Command`], from the keeper), cgroup files and `/proc`. Outputs: [`Sampled`] for the
//! keeper; when it is behind, samples are dropped and counted, never waited for. When to look is decided by
//! `jobmeter_decide::sampling`. The reads run on a blocking thread, one round for all pods that are due.

mod look;
mod processes;

use std::sync::Arc;

use futures::future::OptionFuture;
use jiff::Timestamp;
use jobmeter_decide::{books::Sample, sampling::Pace};
use jobmeter_hostfs::{
    HostRoot,
    cgroup::{Layout, PodPlace},
};
use tokio::sync::mpsc;

use crate::metrics::OwnMetrics;
use look::Looker;

#[derive(Clone, Debug)]
pub struct SamplerOptions {
    pub pace: Pace,
    /// The most expensive processes that are kept of each pod.
    pub processes: usize,
    /// Show the arguments of processes, not only their names. Arguments may hold secrets.
    pub command_lines: bool,
}

impl Default for SamplerOptions {
    fn default() -> Self {
        Self { pace: Pace::default(), processes: 10, command_lines: false }
    }
}

#[derive(Clone, Debug)]
pub enum Command {
    Start {
        pod_uid: String,
        /// `None`: it has no cgroup, only processes.
        place: Option<PodPlace>,
        /// When the pod was first seen.
        born: Timestamp,
    },
    /// A process of a container that has no cgroup, and all below it.
    Root {
        pod_uid: String,
        container_id: String,
        pid: i32,
    },
    /// That process was waited for: its pid may soon be another's.
    RootEnded {
        pod_uid: String,
        container_id: String,
    },
    Stop {
        pod_uid: String,
    },
}

#[derive(Debug)]
pub struct Sampled {
    pub pod_uid: String,
    pub sample: Box<Sample>,
}

pub struct Sampler {
    looker: Looker,
    commands: mpsc::Receiver<Command>,
    samples: mpsc::Sender<Sampled>,
    metrics: OwnMetrics,
}

impl Sampler {
    pub fn new(
        host: &HostRoot,
        layout: Option<Arc<Layout>>,
        options: SamplerOptions,
        channels: (mpsc::Receiver<Command>, mpsc::Sender<Sampled>),
        metrics: OwnMetrics,
    ) -> Self {
        let (commands, samples) = channels;
        Self { looker: Looker::new(host, layout, options), commands, samples, metrics }
    }

    /// Ends when the keeper drops its end.
    pub async fn run(mut self) -> anyhow::Result<()> {
        loop {
            let due = self.looker.wait(Timestamp::now()).map(tokio::time::sleep);
            tokio::select! {
                // Cancel-safe: a command is taken whole or not at all.
                command = self.commands.recv() => match command {
                    Some(command) => self.looker.command(command, Timestamp::now()),
                    None => return Ok(()),
                },
                // Cancel-safe: the next turn computes the wait anew.
                Some(()) = OptionFuture::from(due) => {
                    let mut looker = self.looker;
                    let started = std::time::Instant::now();
                    let (back, round) = tokio::task::spawn_blocking(move || {
                        let round = looker.round();
                        (looker, round)
                    })
                    .await?;
                    self.looker = back;
                    self.metrics.sample_seconds.observe(started.elapsed().as_secs_f64());
                    self.hand_over(round);
                }
            }
        }
    }

    fn hand_over(&self, round: look::Round) {
        let count = |result, n: usize| {
            self.metrics.samples.with_label_values(&[result]).inc_by(u64::try_from(n).unwrap_or(u64::MAX));
        };
        count("asleep", round.asleep);
        count("failed", round.failed);
        for sampled in round.samples {
            // The next sample carries greater counters and maxima of its own: waiting for a slow keeper would gain nothing.
            let result = if self.samples.try_send(sampled).is_ok() { "taken" } else { "dropped" };
            count(result, 1);
        }
    }
}
