//! The last line of `jobmeter run -f`: where the logs are, for people. In: the records. Out: a sentence.

use futures::StreamExt;
use jobmeter_coordinator::CoordinatorHandle;
use jobmeter_protocol::{LogEntry, LogQuery, LogState, Record};

use super::DataDir;

/// Pods whose logs are looked up. More than that are all the same to a reader of one line.
const PODS: usize = 100;

pub(super) async fn whereabouts(coordinator: &CoordinatorHandle, data_dir: &DataDir, records: &[Record]) -> String {
    let of_pod = |record: &Record| {
        let query = LogQuery { pod: Some(record.identity.pod_uid.clone()), ..LogQuery::default() };
        async move { coordinator.logs(&query).await.map(|page| page.items) }
    };
    let looked_up: Vec<_> = futures::stream::iter(records.iter().take(PODS)).then(of_pod).collect().await;
    let entries: Vec<LogEntry> = looked_up.into_iter().flatten().flatten().collect();
    let late = entries.iter().filter(|entry| entry.state == LogState::Expected).count();
    let lost = entries.iter().filter(|entry| matches!(entry.state, LogState::Lost { .. })).count();
    let place = match entries.iter().find(|entry| entry.location.contains("://")) {
        Some(entry) => entry.location.strip_suffix(&entry.key).unwrap_or(&entry.location).to_owned(),
        None => format!("{}/", data_dir.logs().display()),
    };
    sentence(&place, records.first().map(|record| record.identity.job.name.as_str()), late, lost)
}

fn sentence(place: &str, job: Option<&str>, late: usize, lost: usize) -> String {
    let mut text = format!("{place}<namespace>/<job>/<pod>.log");
    if let Some(job) = job {
        text.push_str(&format!("; jobmeter logs {job}"));
    }
    if lost > 0 {
        text.push_str(&format!("; {lost} lost: jobmeter logs --list says why"));
    }
    if late > 0 {
        text.push_str(&format!("; {late} not stored yet: the next run with this data directory stores them"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_says_where_logs_are_and_what_is_not_there() {
        assert_eq!(sentence("d/logs/", Some("pi"), 0, 0), "d/logs/<namespace>/<job>/<pod>.log; jobmeter logs pi");
        let all = sentence("s3://b/", None, 2, 1);
        assert!(all.contains("1 lost: jobmeter logs --list") && all.contains("2 not stored yet"), "{all}");
    }
}
