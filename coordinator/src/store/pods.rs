//! One pod as a row of the table `pods`: documents as JSON, and beside them what queries filter and sort by.

use jobmeter_protocol::{Quality, Stage};

use super::change::{Known, State, StoredPod};
use super::engine::EngineError;
use super::row::{
    integer, json, method, optional_json, optional_text, parsed, real, saturated, text, time, timestamp, unreadable,
};
use super::sql::{self, Database, Value};

/// `REPLACE` would also do, but it deletes the row first and touches every index.
const SAVE: &str = "
INSERT INTO pods (
    uid, namespace, name, job_uid, job_name, owner_keys, node, reason, quality, state, created, started, finished,
    elapsed, cpu, cpu_method, memory, memory_method, rss, rss_method, oom_kills, api_known, scheduled, ran, stage,
    vanished, ended, recorded, changed, labels, resources, owners, api, evidence, record
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (uid) DO UPDATE SET (
    namespace, name, job_uid, job_name, owner_keys, node, reason, quality, state, created, started, finished,
    elapsed, cpu, cpu_method, memory, memory_method, rss, rss_method, oom_kills, api_known, scheduled, ran, stage,
    vanished, ended, recorded, changed, labels, resources, owners, api, evidence, record
) = (
    excluded.namespace, excluded.name, excluded.job_uid, excluded.job_name, excluded.owner_keys, excluded.node,
    excluded.reason, excluded.quality, excluded.state, excluded.created, excluded.started, excluded.finished,
    excluded.elapsed, excluded.cpu, excluded.cpu_method, excluded.memory, excluded.memory_method, excluded.rss,
    excluded.rss_method, excluded.oom_kills, excluded.api_known, excluded.scheduled, excluded.ran, excluded.stage,
    excluded.vanished, excluded.ended, excluded.recorded, excluded.changed, excluded.labels, excluded.resources,
    excluded.owners, excluded.api, excluded.evidence, excluded.record
)";

pub(super) fn load(database: &mut dyn Database, uid: &str) -> Result<Option<StoredPod>, EngineError> {
    const LOAD: &str = "SELECT owners, api, evidence, record, state, vanished, ended, recorded, changed FROM pods WHERE uid = ?";
    sql::first(database, "load a pod", LOAD, &[text(uid)], |row| {
        let state = row.text(4)?;
        Ok(StoredPod {
            uid: uid.to_owned(),
            known: Known {
                owners: row.optional_text(0)?.map(|text| parsed(uid, &text)).transpose()?,
                api: row.optional_text(1)?.map(|text| parsed(uid, &text)).transpose()?,
                evidence: row.optional_text(2)?.map(|text| parsed(uid, &text)).transpose()?,
                vanished: row.optional_integer(5)?.map(timestamp),
                ended: row.optional_integer(6)?.map(timestamp),
            },
            state: State::from_word(&state).ok_or_else(|| unreadable(uid, &format_args!("unknown state {state:?}")))?,
            record: parsed(uid, &row.text(3)?)?,
            recorded: timestamp(row.integer(7)?),
            changed: timestamp(row.integer(8)?),
        })
    })
}

pub(super) fn save(database: &mut dyn Database, pod: &StoredPod) -> Result<(), EngineError> {
    let (uid, known, record) = (pod.uid.as_str(), &pod.known, &pod.record);
    let (identity, times, usage) = (&record.identity, &record.time, &record.usage);
    let chased = known.for_chase(pod.changed);
    let keys: Vec<&str> = identity.owners.iter().flat_map(|owner| [owner.name.as_str(), owner.uid.as_str()]).collect();
    let quality = match record.quality {
        Quality::Provisional => "provisional",
        Quality::Complete { .. } => "complete",
        Quality::Partial { .. } => "partial",
    };
    let no_labels = std::collections::BTreeMap::new();
    let labels = known.api.as_ref().map_or(&no_labels, |pod| &pod.labels);
    let values = [
        text(uid),
        text(&identity.namespace),
        text(&identity.pod),
        text(&identity.job.uid),
        text(&identity.job.name),
        text(format!("\n{}\n", keys.join("\n"))),
        optional_text(identity.node.as_deref()),
        text(record.outcome.reason.as_str()),
        text(quality),
        text(pod.state.as_str()),
        time(times.created),
        time(times.started),
        time(times.finished),
        real(times.elapsed_seconds),
        real(usage.cpu_seconds),
        method(usage.cpu_seconds),
        integer(usage.memory_peak_bytes),
        method(usage.memory_peak_bytes),
        integer(usage.rss_peak_bytes),
        method(usage.rss_peak_bytes),
        Value::Integer(usage.oom_kills.map_or(0, |kills| saturated(kills.value))),
        text(chased.api.as_str()),
        Value::Integer(i64::from(chased.scheduled)),
        Value::Integer(i64::from(chased.ran)),
        optional_text(chased.evidence.map(stage_name)),
        time(known.vanished),
        time(known.ended),
        time(Some(pod.recorded)),
        time(Some(pod.changed)),
        json(uid, labels)?,
        json(uid, &record.resources)?,
        optional_json(uid, known.owners.as_ref())?,
        optional_json(uid, known.api.as_ref())?,
        optional_json(uid, known.evidence.as_ref())?,
        json(uid, record)?,
    ];
    database.execute("save a pod", SAVE, &values)?;
    super::jobs::save_of_pod(database, identity)
}

pub(super) const fn stage_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Running => "running",
        Stage::Ended => "ended",
        Stage::Final => "final",
    }
}
