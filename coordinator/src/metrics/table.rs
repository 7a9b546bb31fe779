//! Every metric of the coordinator: the source of the code's names and of README's table.

pub use jobmeter_daemon::metric::{Kind, Metric};

const fn metric(name: &'static str, kind: Kind, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind, labels, help }
}

use Kind::{Counter, Gauge, Histogram};

pub const METRICS: &[Metric] = &[
    metric(
        "jobmeter_jobs_total",
        Counter,
        &["outcome"],
        "Jobs that ended, by outcome (completed, failed): batch/v1 Jobs and pods of their own.",
    ),
    metric(
        "jobmeter_records_total",
        Counter,
        &["namespace", "reason"],
        "Records that were closed, by namespace and by how the pod ended.",
    ),
    metric(
        "jobmeter_cpu_seconds_total",
        Counter,
        &["namespace", "owner_kind"],
        "CPU time of all closed records, by namespace and by the kind of the top owner, in seconds.",
    ),
    metric(
        "jobmeter_records_missing_total",
        Counter,
        &["why"],
        "Records that had to be closed without all of their figures, by what was missing.",
    ),
    metric(
        "jobmeter_records_amended_total",
        Counter,
        &[],
        "Closed records that were replaced because their evidence came after all.",
    ),
    metric("jobmeter_records_outstanding", Gauge, &[], "Job pods that have ended and whose record is not closed yet."),
    metric(
        "jobmeter_record_latency_seconds",
        Histogram,
        &[],
        "From the exit of a container to the durable evidence of it, in seconds.",
    ),
    metric("jobmeter_pods", Gauge, &[], "Job pods that the cluster has now, ended ones included until they are deleted."),
    metric("jobmeter_pods_running", Gauge, &[], "Job pods that run now, as the agents tell."),
    metric("jobmeter_nodes", Gauge, &["state"], "Nodes whose agent was ever heard, by whether it still is (alive, silent)."),
    metric(
        "jobmeter_series_dropped_total",
        Counter,
        &[],
        "Increments that went to the label value \"(other)\" because maxSeries was reached.",
    ),
    metric(
        "jobmeter_coordinator_reports_total",
        Counter,
        &["verdict"],
        "Reports of agents, by verdict (accepted, duplicate, rejected).",
    ),
    metric(
        "jobmeter_coordinator_late_total",
        Counter,
        &[],
        "News of a pod that came after its record was closed for good and changed nothing.",
    ),
    metric(
        "jobmeter_coordinator_report_duration_seconds",
        Histogram,
        &[],
        "From a batch of reports to its durable answer, in seconds.",
    ),
    metric("jobmeter_coordinator_requests_refused_total", Counter, &["code"], "Requests that were refused, by HTTP status code."),
    metric("jobmeter_coordinator_store_errors_total", Counter, &[], "Operations of the record store that failed."),
    metric(
        "jobmeter_coordinator_store_duration_seconds",
        Histogram,
        &["operation"],
        "Duration of operations of the record store (commit, query, prune), in seconds.",
    ),
    metric("jobmeter_coordinator_store_queue", Gauge, &[], "Writes that wait for the record store."),
    metric(
        "jobmeter_coordinator_store_records",
        Gauge,
        &["quality"],
        "Records in the store, by quality (provisional, complete, partial).",
    ),
    metric("jobmeter_coordinator_store_bytes", Gauge, &[], "Size of the database and its log, in bytes."),
    metric("jobmeter_coordinator_store_pruned_total", Counter, &[], "Records that were deleted by age or by number."),
    metric(
        "jobmeter_coordinator_world_store_errors_total",
        Counter,
        &[],
        "Attempts to store what the cluster said that failed and were repeated.",
    ),
    metric(
        "jobmeter_coordinator_watch_errors_total",
        Counter,
        &["resource"],
        "Errors of the watches of the API server, by resource.",
    ),
    metric(
        "jobmeter_coordinator_owner_lookups_total",
        Counter,
        &["result"],
        "Chains of owners that were followed, by how they ended (top, forbidden, not_found, too_deep, failed).",
    ),
    metric(
        "jobmeter_logs_total",
        Counter,
        &["state"],
        "Logs that reached their end, by state (complete, truncated, lost, expired).",
    ),
    metric("jobmeter_logs_bytes_total", Counter, &[], "Bytes of the logs that were stored, before compression."),
    metric(
        "jobmeter_logs_objects_total",
        Counter,
        &[],
        "Objects that were stored for logs: the logs and the times of their lines.",
    ),
    metric(
        "jobmeter_logs_expected",
        Gauge,
        &[],
        "Logs that are not stored yet, those of running containers that an agent has asked for included.",
    ),
    metric("jobmeter_logs_lost_total", Counter, &["why"], "Logs that were given up and have a notice in their place, by reason."),
    metric(
        "jobmeter_logs_stored_bytes",
        Gauge,
        &[],
        "Size of all objects of logs in the directory; 0 where they are in a store.",
    ),
    metric("jobmeter_log_lag_seconds", Histogram, &[], "From the end of a container to its log in the object store, in seconds."),
    metric(
        "jobmeter_coordinator_log_calls_total",
        Counter,
        &["call", "answer"],
        "Calls of agents about logs, by call (ticket, multipart, targets, put, complete) and answer.",
    ),
    metric("jobmeter_coordinator_log_proxied_bytes_total", Counter, &[], "Bytes of logs that passed through the coordinator."),
    metric(
        "jobmeter_coordinator_object_store_failures_total",
        Counter,
        &["action"],
        "Calls of the object store for logs that failed, by action.",
    ),
    metric("jobmeter_coordinator_watchers", Gauge, &[], "Clients that watch records now."),
    metric(
        "jobmeter_coordinator_watchers_dropped_total",
        Counter,
        &[],
        "Clients that were dropped because they could not keep up.",
    ),
    metric("jobmeter_archive_records_total", Counter, &[], "Closed records that were archived in the object store."),
    metric("jobmeter_archive_failures_total", Counter, &[], "Attempts to archive records that failed and are repeated."),
    metric("jobmeter_pushgateway_pushes_total", Counter, &[], "Jobs whose final figures were pushed to the Pushgateway."),
    metric(
        "jobmeter_pushgateway_failures_total",
        Counter,
        &["why"],
        "Jobs whose final figures were not pushed, by reason (queue, refused, unreachable).",
    ),
    metric("jobmeter_pool_size", Gauge, &["pool"], "Places of a pool now."),
    metric(
        "jobmeter_pool_used",
        Gauge,
        &["pool"],
        "Places of a pool that are taken: by pods that run, that are being started, or that are on the way.",
    ),
    metric(
        "jobmeter_pool_over",
        Gauge,
        &["pool"],
        "Places of a pool that are taken beyond its size: it was made smaller, or pods came without asking.",
    ),
    metric("jobmeter_pool_queued", Gauge, &["pool"], "Pods (or Jobs) that wait for a place in a pool."),
    metric("jobmeter_pool_waiting", Gauge, &["pool", "reason"], "Pods (or Jobs) that wait for a place in a pool, by reason."),
    metric("jobmeter_pool_releases_total", Counter, &["pool"], "Pods (or Jobs) that were let go, by pool."),
    metric(
        "jobmeter_pool_release_seconds",
        Histogram,
        &[],
        "From what made place for a pod (the end of another, or its own creation), as it was observed, to the answer of its release, in seconds.",
    ),
    metric(
        "jobmeter_pool_wait_seconds",
        Histogram,
        &["pool"],
        "From the creation of a pod (or Job) to its release, by pool, in seconds.",
    ),
    metric(
        "jobmeter_pool_writes_total",
        Counter,
        &["write", "outcome"],
        "Calls of the API server for pools (reserve, release, look), by outcome (done, refused, gone, unknown).",
    ),
    metric(
        "jobmeter_pool_file_errors_total",
        Counter,
        &[],
        "Versions of the pools file that could not be used; the pools stayed as they were.",
    ),
    metric("jobmeter_runs", Gauge, &["definition", "state"], "Node runs that are kept, by definition and state."),
    metric(
        "jobmeter_run_nodes",
        Gauge,
        &["definition", "state"],
        "Nodes of the newest run of a definition, by the state of each.",
    ),
    metric(
        "jobmeter_run_next_schedule_timestamp_seconds",
        Gauge,
        &["definition"],
        "When the schedule of a definition begins its next run, in seconds since the epoch; absent where there is no schedule.",
    ),
    metric(
        "jobmeter_run_last_success_timestamp_seconds",
        Gauge,
        &["definition"],
        "When the last run of a definition ended that succeeded and is kept, in seconds since the epoch.",
    ),
    metric(
        "jobmeter_run_results_dropped_total",
        Counter,
        &["why"],
        "Values and labels in results of runs that became no series, by reason (undeclared_gauge, undeclared_label, name, limit).",
    ),
    metric(
        "jobmeter_run_reports_total",
        Counter,
        &["kind", "outcome"],
        "What pods of node runs posted, by kind (result, file, event) and outcome (accepted, not_allowed, invalid, too_large, too_many, failed).",
    ),
    metric(
        "jobmeter_run_report_bytes_total",
        Counter,
        &["kind"],
        "Bytes that pods of node runs posted and that were taken in, by kind (result, file, event).",
    ),
    metric("jobmeter_leader", Gauge, &[], "1 where this coordinator leads, 0 where it follows."),
    metric("jobmeter_leader_transitions_total", Counter, &[], "Changes of the leader that this coordinator saw."),
    metric(
        "jobmeter_leader_renew_failures_total",
        Counter,
        &[],
        "Attempts of this coordinator to renew the Lease that failed or went unanswered.",
    ),
    metric(
        "jobmeter_leader_last_renew_timestamp_seconds",
        Gauge,
        &[],
        "When this coordinator last took or renewed the Lease, in seconds since the epoch; 0: never.",
    ),
    metric(
        "jobmeter_webhook_reviews_total",
        Counter,
        &["kind", "answer"],
        "Admission reviews, by kind (pod, job, other) and answer (gated, suspended, stripped, unchanged, refused, malformed, unavailable).",
    ),
    metric(
        "jobmeter_webhook_certificate_expiry_timestamp_seconds",
        Gauge,
        &[],
        "When the certificate ends that the webhook serves, in seconds since the epoch; absent while it serves none.",
    ),
    metric(
        "jobmeter_coordinator_process_cpu_seconds_total",
        Counter,
        &[],
        "User and system CPU time of this process, in seconds.",
    ),
    metric("jobmeter_coordinator_process_resident_memory_bytes", Gauge, &[], "Resident memory of this process, in bytes."),
    metric("jobmeter_coordinator_process_open_fds", Gauge, &[], "Open file descriptors of this process."),
    metric(
        "jobmeter_coordinator_process_start_time_seconds",
        Gauge,
        &[],
        "When this process started, in seconds since the epoch.",
    ),
];

const UNKNOWN: Metric = metric("jobmeter_unknown", Gauge, &[], "A metric that the table does not have.");

/// The tests see to it that every name the code asks for is there.
pub(crate) fn find(name: &str) -> &'static Metric {
    METRICS.iter().find(|metric| metric.name == name).unwrap_or(&UNKNOWN)
}
