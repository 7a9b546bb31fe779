//! Every form that was ever written stays readable, and is written the same way again.
//!
//! A file in `golden/` is never edited: a new form gets a new file beside the old one.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use jobmeter_protocol::logs::{
    CompleteReply, CompleteRequest, MultipartReply, MultipartRequest, TargetsReply, TargetsRequest, TicketReply, TicketRequest,
};
use jobmeter_protocol::runs::{
    DefinitionMemory, DefinitionStatus, NodeResult, PodTask, Run, RunDetail, RunQuery, RunSettings, StartRun,
};
use jobmeter_protocol::{
    ApiPod, Heartbeat, HeartbeatReply, LogEntry, LogManifest, Page, PoolDetail, PoolSlot, PoolStatus, Record, ReportBatch,
    ReportReply,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

fn same<T: DeserializeOwned + Serialize>(text: &str) {
    let golden: serde_json::Value = serde_json::from_str(text).unwrap();
    let read: T = serde_json::from_value(golden.clone()).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), golden);
}

#[test]
fn reports_keep_their_form() {
    same::<ReportBatch>(include_str!("golden/report_batch.json"));
    same::<ReportReply>(include_str!("golden/report_reply.json"));
}

#[test]
fn heartbeats_keep_their_form() {
    same::<Heartbeat>(include_str!("golden/heartbeat.json"));
    same::<HeartbeatReply>(include_str!("golden/heartbeat_reply.json"));
}

#[test]
fn what_the_api_said_keeps_its_form() {
    same::<ApiPod>(include_str!("golden/api_pod.json"));
}

#[test]
fn records_keep_their_form() {
    same::<Record>(include_str!("golden/record_complete.json"));
    same::<Record>(include_str!("golden/record_provisional.json"));
    same::<Record>(include_str!("golden/record_partial.json"));
}

#[test]
fn calls_about_logs_keep_their_form() {
    same::<Vec<TicketRequest>>(include_str!("golden/log_ticket_requests.json"));
    same::<Vec<TicketReply>>(include_str!("golden/log_ticket_replies.json"));
    same::<MultipartRequest>(include_str!("golden/log_multipart_request.json"));
    same::<MultipartReply>(include_str!("golden/log_multipart_reply.json"));
    same::<Vec<TargetsRequest>>(include_str!("golden/log_targets_requests.json"));
    same::<TargetsReply>(include_str!("golden/log_targets_reply.json"));
    same::<Vec<CompleteRequest>>(include_str!("golden/log_complete_requests.json"));
    same::<Vec<CompleteReply>>(include_str!("golden/log_complete_replies.json"));
}

#[test]
fn what_is_told_of_logs_keeps_its_form() {
    same::<Page<LogEntry>>(include_str!("golden/log_entries.json"));
    same::<LogManifest>(include_str!("golden/log_manifest.json"));
    same::<Record>(include_str!("golden/record_logs.json"));
    same::<Heartbeat>(include_str!("golden/heartbeat_logs.json"));
    same::<HeartbeatReply>(include_str!("golden/heartbeat_reply_logs.json"));
}

#[test]
fn places_of_a_pool_keep_the_form_in_which_they_stand_on_pods() {
    same::<Vec<PoolSlot>>(include_str!("golden/pool_slots.json"));
}

#[test]
fn what_is_told_of_pools_keeps_its_form() {
    same::<Vec<PoolStatus>>(include_str!("golden/pool_statuses.json"));
    same::<PoolDetail>(include_str!("golden/pool_detail.json"));
}

#[test]
fn what_is_told_of_runs_keeps_its_form() {
    same::<Page<Run>>(include_str!("golden/run_page.json"));
    same::<RunDetail>(include_str!("golden/run_detail.json"));
    same::<Vec<NodeResult>>(include_str!("golden/run_results.json"));
    same::<Vec<DefinitionStatus>>(include_str!("golden/run_definitions.json"));
    same::<Vec<StartRun>>(include_str!("golden/run_starts.json"));
    same::<RunQuery>(include_str!("golden/run_query.json"));
}

#[test]
fn what_is_stored_of_runs_keeps_its_form() {
    same::<Vec<RunSettings>>(include_str!("golden/run_settings.json"));
    same::<Vec<DefinitionMemory>>(include_str!("golden/run_memories.json"));
    same::<PodTask>(include_str!("golden/run_pod_task.json"));
}

#[test]
fn a_newer_agent_that_says_more_is_still_understood() {
    let mut batch: serde_json::Value = serde_json::from_str(include_str!("golden/report_batch.json")).unwrap();
    batch["reports"][0]["a_field_of_next_year"] = serde_json::json!({"x": 1});
    assert!(serde_json::from_value::<ReportBatch>(batch).is_ok());
}
