//! What is pushed of a job, and under which grouping key. Input: the job with its records. Output: path and text. Pure.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use jobmeter_protocol::{Job, JobDetail, JobState};
use prometheus::{Gauge, GaugeVec, Opts, Registry, TextEncoder};

/// One `PUT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Page {
    /// For people: namespace and name.
    pub(super) job: String,
    pub(super) path: String,
    pub(super) text: String,
}

/// Whether nothing of it will change any more.
pub(super) fn is_finished(detail: &JobDetail) -> bool {
    let ended = matches!(detail.job.state, JobState::Completed | JobState::Failed | JobState::Deleted);
    let provisional = |quality: &jobmeter_protocol::Quality| matches!(quality, jobmeter_protocol::Quality::Provisional);
    ended && !detail.records.iter().any(|record| provisional(&record.quality))
}

pub(super) fn page(detail: &JobDetail, benchmark: &str) -> Result<Page, prometheus::Error> {
    let job = &detail.job;
    Ok(Page {
        job: format!("{}/{}", job.namespace, job.owner.name),
        path: format!(
            "/metrics{}{}{}",
            segment("job", &job.owner.name),
            segment("benchmark", benchmark),
            segment("cluster", &job.cluster)
        ),
        text: text(job)?,
    })
}

/// What has no figure is left out: 0 would be a lie.
fn text(job: &Job) -> Result<String, prometheus::Error> {
    let registry = Registry::new();
    let gauge = |name: &str, help: &str, value: Option<f64>| -> Result<(), prometheus::Error> {
        let Some(value) = value else { return Ok(()) };
        let gauge = Gauge::new(name, help)?;
        gauge.set(value);
        registry.register(Box::new(gauge))
    };
    gauge(
        "jobmeter_job_cpu_seconds",
        "CPU time of all pods of the job, in seconds.",
        job.cpu_seconds.map(|figure| figure.value),
    )?;
    gauge(
        "jobmeter_job_memory_peak_bytes",
        "Greatest memory of any pod of the job, page cache included, in bytes.",
        job.memory_peak_bytes.map(|figure| figure.value as f64),
    )?;
    let elapsed = job.started.zip(job.finished).map(|(started, finished)| finished.duration_since(started).as_secs_f64());
    gauge("jobmeter_job_elapsed_seconds", "From the start of the first pod to the end of the last, in seconds.", elapsed)?;
    let finished = job.finished.map(|finished| finished.as_nanosecond() as f64 / 1e9);
    gauge("jobmeter_job_completion_timestamp_seconds", "When the last pod ended, in seconds since the epoch.", finished)?;
    let pods = GaugeVec::new(Opts::new("jobmeter_job_pods", "Pods of the job, by outcome (completed, failed)."), &["outcome"])?;
    pods.with_label_values(&["completed"]).set(job.pods.completed as f64);
    pods.with_label_values(&["failed"]).set(job.pods.failed as f64);
    registry.register(Box::new(pods))?;
    TextEncoder::new().encode_to_string(&registry.gather())
}

/// A value that is empty or has anything unusual goes in Base64, as the Pushgateway wants it.
fn segment(name: &str, value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if value.is_empty() {
        format!("/{name}@base64/=")
    } else if value.bytes().all(plain) && !matches!(value, "." | "..") {
        format!("/{name}/{value}")
    } else {
        format!("/{name}@base64/{}", URL_SAFE.encode(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unusual_values_go_in_base64() {
        assert_eq!(segment("job", "train-7.b_c"), "/job/train-7.b_c");
        assert_eq!(segment("cluster", ""), "/cluster@base64/=");
        // `printf a/b | base64`
        assert_eq!(segment("benchmark", "a/b"), "/benchmark@base64/YS9i");
        assert_eq!(segment("job", ".."), "/job@base64/Li4=");
    }
}
