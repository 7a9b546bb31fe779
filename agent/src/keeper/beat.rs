//! Heartbeats: what this node can measure, what runs on it, and what the coordinator asks for in return.

use std::{error::Error, time::Duration};

use futures::FutureExt;
use jiff::Timestamp;
use jobmeter_daemon::admin::SourceState;
use jobmeter_decide::books::Observation;
use jobmeter_protocol::{Heartbeat, HeartbeatReply, LostLog, NodeStatus, VERSION};
use tokio::time::Instant;

use super::{Keeper, State, work::Done};
use crate::uplink::UplinkError;

/// On the board.
const SOURCE: &str = "coordinator";

/// An answer that the coordinator waits for goes out after this, together with others.
const SOON: Duration = Duration::from_secs(1);

impl State {
    pub(super) fn hurry(&mut self) {
        self.next_heartbeat = self.next_heartbeat.min(Instant::now() + SOON);
    }
}

impl Keeper {
    pub(super) fn beat(&self, state: &mut State) {
        state.heartbeat_under_way = true;
        state.next_heartbeat = Instant::now() + self.pace.heartbeat;
        let unknown: Vec<String> = std::mem::take(&mut state.unknown).into_iter().collect();
        let logs_unknown = std::mem::take(&mut state.logs_unknown);
        let beat = Heartbeat {
            version: VERSION,
            status: NodeStatus { last_heartbeat: Timestamp::now(), ..self.status.clone() },
            live: self.books().live(),
            unknown: unknown.clone(),
            logs_unknown: logs_unknown.clone(),
        };
        let uplink = self.uplink.clone();
        let node = self.status.node.clone();
        state
            .work
            .push(async move { Done::Beaten { unknown, logs_unknown, outcome: uplink.heartbeat(&node, beat).await } }.boxed());
    }

    pub(super) async fn take_beat(
        &self,
        state: &mut State,
        unknown: Vec<String>,
        logs_unknown: Vec<LostLog>,
        outcome: Result<HeartbeatReply, UplinkError>,
    ) -> anyhow::Result<()> {
        state.heartbeat_under_way = false;
        let reply = match outcome {
            Ok(reply) => reply,
            Err(err) => {
                self.metrics.uplink_failures.with_label_values(&["heartbeat", err.cause()]).inc();
                if !std::mem::replace(&mut state.heartbeats_fail, true) {
                    tracing::warn!(error = &err as &dyn Error, "heartbeat failed");
                    self.sources.set(SOURCE, SourceState::Failed { error: err.to_string() });
                }
                state.unknown.extend(unknown);
                state.logs_unknown = logs_unknown;
                return Ok(());
            }
        };
        if std::mem::replace(&mut state.heartbeats_fail, false) {
            tracing::info!("coordinator hears heartbeats again");
        }
        self.sources.set(SOURCE, SourceState::Active);
        for pod_uid in reply.meter {
            self.observe(state, &pod_uid, Observation::Meter).await?;
        }
        for pod_uid in reply.wanted {
            self.observe(state, &pod_uid, Observation::Wanted).await?;
        }
        if let Some(logs) = &self.logs {
            state.logs_unknown = reply.logs_wanted.iter().filter_map(|log| logs.lost(log)).collect();
        }
        Ok(())
    }
}
