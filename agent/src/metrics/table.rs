//! The names. Own-health metrics never carry the name of a pod or a job.

pub use jobmeter_daemon::metric::{Kind, Metric};

const POD: &[&str] = &["namespace", "pod", "job"];
const POD_METHOD: &[&str] = &["namespace", "pod", "job", "method"];
const CONTAINER_METHOD: &[&str] = &["namespace", "pod", "container", "job", "method"];

macro_rules! metrics {
    ($($ident:ident $kind:ident $name:literal $labels:expr, $help:literal;)*) => {
        $(pub(crate) const $ident: Metric = Metric { name: $name, kind: Kind::$kind, labels: $labels, help: $help };)*
        /// All of them, in the order of the documentation.
        pub const METRICS: &[Metric] = &[$($ident),*];
    };
}

metrics! {
    POD_CPU Counter "jobmeter_pod_cpu_seconds_total" POD_METHOD,
        "CPU time of a job pod, sandbox included.";
    POD_MEMORY_PEAK Gauge "jobmeter_pod_memory_peak_bytes" POD_METHOD,
        "Kernel watermark of a job pod: page cache, kernel memory and tmpfs included.";
    POD_RSS_PEAK Gauge "jobmeter_pod_rss_peak_bytes" POD_METHOD,
        "Greatest memory without page cache that was seen of a job pod: a lower bound.";
    POD_OOM_KILLS Counter "jobmeter_pod_oom_kills_total" POD,
        "Processes of a job pod that the kernel killed for lack of memory.";
    POD_START Gauge "jobmeter_pod_start_time_seconds" POD,
        "When the first container of a job pod started, in Unix time.";
    POD_END Gauge "jobmeter_pod_end_time_seconds" POD,
        "When the last container of a job pod ended, in Unix time.";
    CONTAINER_CPU Counter "jobmeter_container_cpu_seconds_total" CONTAINER_METHOD,
        "CPU time of a container of a job pod, over all its runs that could be read.";
    CONTAINER_MEMORY_PEAK Gauge "jobmeter_container_memory_peak_bytes" CONTAINER_METHOD,
        "Kernel watermark of a container of a job pod, greatest of its runs.";

    KERNEL_EVENTS Counter "jobmeter_agent_kernel_events_total" &["kind"],
        "Events of the kernel watcher.";
    READINGS Counter "jobmeter_agent_readings_total" &["level", "seen_by"],
        "Final readings taken, of pods and containers, by how their end was seen.";
    READINGS_MISSED Counter "jobmeter_agent_readings_missed_total" &["level"],
        "Cgroups of job pods that went before they could be read: containers (their pod's total is whole) and pods.";
    OVERFLOWS Counter "jobmeter_agent_inotify_overflows_total" &[],
        "Overflows of the inotify queue; each was followed by a rescan.";
    PROBLEMS Counter "jobmeter_agent_kernel_problems_total" &[],
        "Kernel files that could not be read or understood.";
    PODS_FOLLOWED Gauge "jobmeter_agent_pods_followed" &[],
        "Pods whose books are kept.";
    UNACKNOWLEDGED Gauge "jobmeter_agent_unacknowledged_pods" &[],
        "Pods with evidence that waits to be sent or acknowledged.";
    PODS_CLOSED Counter "jobmeter_agent_pods_closed_total" &["why"],
        "Pods whose books were closed; no_room is evidence lost.";
    REPORTS Counter "jobmeter_agent_reports_total" &["verdict"],
        "Reports answered by the coordinator.";
    UPLINK_FAILURES Counter "jobmeter_agent_uplink_failures_total" &["call", "cause"],
        "Calls to the coordinator that failed.";
    JOURNAL_BYTES Gauge "jobmeter_agent_journal_bytes" &[],
        "Size of the journal on disk.";
    JOURNAL_SYNC Histogram "jobmeter_agent_journal_sync_seconds" &[],
        "Time to write a batch to the journal and make it durable.";
    JOURNAL_FAILURES Counter "jobmeter_agent_journal_failures_total" &[],
        "Batches that could not be written; they are tried again.";
    JOURNAL_WRITABLE Gauge "jobmeter_agent_journal_writable" &[],
        "1 while the last write to the journal succeeded.";
    JOURNAL_SKIPPED Counter "jobmeter_agent_journal_replay_skipped_total" &[],
        "Torn or corrupt lines found when the journal was read at start.";
    SAMPLE_SECONDS Histogram "jobmeter_agent_sample_duration_seconds" &[],
        "Time of one round of the sampler over the pods that were due.";
    SAMPLES Counter "jobmeter_agent_samples_total" &["result"],
        "Looks at live job pods: taken, asleep (nothing had changed), failed, or dropped because the books were behind.";
    LOG_FILES_CAPTURED Counter "jobmeter_agent_log_files_captured_total" &["how"],
        "Log files taken into the spool: linked, or copied where they cannot be linked.";
    LOG_SPOOL_BYTES Gauge "jobmeter_agent_log_spool_bytes" &[],
        "What the spool for logs holds and nobody else holds any more.";
    LOG_SPOOL_LOGS Gauge "jobmeter_agent_log_spool_logs" &["state"],
        "Logs in the spool: open (may still grow), sealed (wait for the store), done (stored; the kubelet has not removed them yet).";
    LOG_SPOOL_OLDEST Gauge "jobmeter_agent_log_spool_oldest_seconds" &[],
        "Age of the oldest log that is whole and not in the store.";
    LOG_LOST Counter "jobmeter_agent_log_lost_total" &["why"],
        "Logs, or pieces of them, that will never reach the store.";
    LOG_SEALED Counter "jobmeter_agent_log_sealed_total" &[],
        "Logs found whole and handed over for upload; one that grew afterwards counts again.";
    LOG_CAPTURE_PROBLEMS Counter "jobmeter_agent_log_capture_problems_total" &[],
        "Directories and files of logs, or of their spool, that could not be used; each is tried again.";
    LOG_UNWATCHED Gauge "jobmeter_agent_log_unwatched_directories" &[],
        "Directories of logs without an inotify watch: they are looked at every second.";

    SERIES_DROPPED Counter "jobmeter_agent_series_dropped_total" &[],
        "Series groups of job pods that the cap left out.";

    LOG_BYTES Counter "jobmeter_agent_log_uploaded_bytes_total" &["via"],
        "Bytes of logs that were uploaded, straight to the store or through the coordinator.";
    LOG_OBJECTS Counter "jobmeter_agent_log_objects_total" &["outcome"],
        "Logs whose shipping ended: stored and acknowledged, not of a job, rejected for ever, or changed since they were sealed.";
    LOG_FAILURES Counter "jobmeter_agent_log_upload_failures_total" &["step", "cause"],
        "Steps of uploading a log that failed; they are tried again.";
    LOG_LAG Histogram "jobmeter_agent_log_upload_lag_seconds" &[],
        "Time from when a log was known to be complete until the coordinator acknowledged it.";
    LOG_QUEUE Gauge "jobmeter_agent_log_shipping" &["state"],
        "Complete logs of this node that are not acknowledged yet: under_way, waiting, or parked after a failure.";
    LOG_STORE_FAILURES Gauge "jobmeter_agent_log_store_failures" &[],
        "Attempts in a row, of all logs, that did not get through to coordinator or store; 0: it is well.";
    LOG_THROUGH Gauge "jobmeter_agent_log_through_coordinator" &[],
        "1 while this node cannot reach the store itself and its logs go through the coordinator.";
    LOG_RESUMED Counter "jobmeter_agent_log_parts_resumed_total" &[],
        "Parts of logs that were not uploaded again because an earlier attempt had.";
}
