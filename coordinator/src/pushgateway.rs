//! The final figures of each job for a Pushgateway: for those whose dashboards know nothing of records.
//!
//! ```text
//! closed records ─▶ watch: jobs that may be finished ─▶ (store: is it, and what are its figures) ─▶ push ─▶ Pushgateway
//! ```
//! Inputs: what is written to the store. Outputs: one `PUT` for each job when all of its records are closed, which replaces
//! what was pushed of a job of that name before. Best effort, in the background: it holds up nothing, whatever is lost is
//! counted, and jobs that finish while the coordinator is down are not pushed.

use std::sync::Arc;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use jobmeter_daemon::supervise::Supervisor;
use prometheus::{IntCounter, IntCounterVec, Opts, Registry};
use tokio::sync::{broadcast, mpsc};
use tokio_util::sync::CancellationToken;

use crate::config::export::PushgatewayConfig;
use crate::metrics::table;
use crate::store::{AppliedPod, Store};
use page::Page;
use watch::Watch;

mod page;
mod watch;

/// Jobs whose figures wait for the gateway.
const QUEUE: usize = 256;
const ATTEMPTS: usize = 5;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

#[derive(Clone, Debug)]
pub struct PushMetrics {
    pushes: IntCounter,
    failures: IntCounterVec,
}

#[derive(Debug, thiserror::Error)]
enum PushError {
    #[error("the Pushgateway refuses {job}: {status} {why}")]
    Refused { job: String, status: u16, why: String },
    #[error("failed to push {job}")]
    Failed {
        job: String,
        #[source]
        source: reqwest::Error,
    },
}

/// Sends pages, one after the other.
struct Push {
    http: reqwest::Client,
    url: String,
    metrics: PushMetrics,
}

impl PushMetrics {
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let (pushes, failures) =
            (table::find("jobmeter_pushgateway_pushes_total"), table::find("jobmeter_pushgateway_failures_total"));
        let metrics = Self {
            pushes: IntCounter::new(pushes.name, pushes.help)?,
            failures: IntCounterVec::new(Opts::new(failures.name, failures.help), failures.labels)?,
        };
        registry.register(Box::new(metrics.pushes.clone()))?;
        registry.register(Box::new(metrics.failures.clone()))?;
        for why in ["queue", "refused", "unreachable"] {
            metrics.failures.with_label_values(&[why]);
        }
        Ok(metrics)
    }

    fn failed(&self, why: &str, jobs: u64) {
        self.failures.with_label_values(&[why]).inc_by(jobs);
    }
}

/// Two tasks: one watches, one pushes. `benchmark_label` is the label of a pod that names its benchmark.
pub fn start(
    config: &PushgatewayConfig,
    benchmark_label: &str,
    store: Store,
    changes: broadcast::Receiver<Arc<AppliedPod>>,
    metrics: PushMetrics,
    supervisor: &mut Supervisor,
) -> Result<(), reqwest::Error> {
    let (pages, waiting) = mpsc::channel(QUEUE);
    let http = reqwest::Client::builder().timeout(config.timeout).build()?;
    let watch = Watch::new(store, benchmark_label.to_owned(), pages, metrics.clone());
    let push = Push { http, url: config.url.clone(), metrics };
    supervisor.spawn("pushgateway-watch", watch.run(changes, supervisor.token()));
    supervisor.spawn("pushgateway", push.run(waiting, supervisor.token()));
    Ok(())
}

impl Push {
    async fn run(self, mut pages: mpsc::Receiver<Page>, token: CancellationToken) -> anyhow::Result<()> {
        let pauses = ExponentialBuilder::default()
            .with_min_delay(FIRST_PAUSE)
            .with_max_delay(LONGEST_PAUSE)
            .with_max_times(ATTEMPTS - 1)
            .with_jitter();
        loop {
            // Cancel-safe per docs of `recv`; at a shutdown what waits is lost, as it is said above.
            let page = tokio::select! {
                () = token.cancelled() => return Ok(()),
                page = pages.recv() => page,
            };
            let Some(page) = page else {
                token.cancelled().await;
                return Ok(());
            };
            let attempts = (|| self.put(&page)).retry(pauses).when(|err| matches!(err, PushError::Failed { .. }));
            let pushed = tokio::select! {
                () = token.cancelled() => return Ok(()),
                pushed = attempts => pushed,
            };
            match pushed {
                Ok(()) => self.metrics.pushes.inc(),
                Err(err) => {
                    self.metrics.failed(if matches!(err, PushError::Refused { .. }) { "refused" } else { "unreachable" }, 1);
                    tracing::warn!(error = &err as &dyn std::error::Error, "the figures of a job were not pushed");
                }
            }
        }
    }

    /// `Failed` may be better later.
    async fn put(&self, page: &Page) -> Result<(), PushError> {
        let failed = |source: reqwest::Error| PushError::Failed { job: page.job.clone(), source: source.without_url() };
        let request = self.http.put(format!("{}{}", self.url, page.path)).header("content-type", prometheus::TEXT_FORMAT);
        let answer = request.body(page.text.clone()).send().await.map_err(failed)?;
        match answer.error_for_status_ref() {
            Ok(_) => Ok(()),
            Err(err) if answer.status().is_server_error() || answer.status().as_u16() == 429 => Err(failed(err)),
            Err(_) => {
                let status = answer.status().as_u16();
                let why: String = answer.text().await.unwrap_or_default().chars().take(200).collect();
                Err(PushError::Refused { job: page.job.clone(), status, why: why.trim().to_owned() })
            }
        }
    }
}
