//! Agents over HTTP: reports good and bad, heartbeats, and the chase that they answer.

use jobmeter_coordinator::LocalEvent;
use jobmeter_coordinator::api::error::ErrorBody;
use jobmeter_decide::example;
use jobmeter_protocol::{HeartbeatReply, Quality, Reason, ReportReply, Stage, Verdict};
use serde_json::{Value, json};

use crate::harness::{NODE, Running, TOKEN, batch, eventually, evidence, heartbeat, pod, uid};

async fn verdicts(coordinator: &Running, body: String) -> Vec<Verdict> {
    let response = coordinator.post("/v1/reports", TOKEN, body).await;
    assert_eq!(response.status(), 200);
    response.json::<ReportReply>().await.unwrap().verdicts
}

async fn beat(coordinator: &Running, unknown: Vec<String>) -> HeartbeatReply {
    let body = serde_json::to_string(&heartbeat(NODE, unknown)).unwrap();
    let response = coordinator.post(&format!("/v1/nodes/{NODE}/heartbeat"), TOKEN, body).await;
    assert_eq!(response.status(), 200);
    response.json().await.unwrap()
}

#[tokio::test]
async fn a_bad_report_costs_only_itself() {
    let coordinator = Running::local().await;
    let good = |n: usize| serde_json::to_value(evidence(n)).unwrap();
    let mut absurd = good(3);
    absurd["segments"][0]["reading"]["cpu"]["usage_ns"] = json!(u64::MAX);
    let mut garbled = good(4);
    garbled["stage"] = json!("finished");
    let body = json!({"version": 1, "node": NODE, "reports": [good(1), absurd, garbled, "what?", good(2), good(1)]});
    let verdicts = verdicts(&coordinator, body.to_string()).await;
    let why = |index: usize| match &verdicts[index] {
        Verdict::Rejected { why } => why.as_str(),
        other => panic!("{other:?}"),
    };
    assert_eq!((&verdicts[0], &verdicts[4], &verdicts[5]), (&Verdict::Accepted, &Verdict::Accepted, &Verdict::Duplicate));
    assert!(why(1).contains("a counter says 18446744073709551615"), "{}", why(1));
    assert!(why(2).contains("unknown variant `finished`"), "{}", why(2));
    assert!(why(3).contains("the report is garbled"), "{}", why(3));
    for n in [1, 2] {
        assert!(coordinator.handle.record(&uid(n)).await.unwrap().is_some());
    }
    assert_eq!(coordinator.handle.record(&uid(3)).await.unwrap(), None);
}

#[tokio::test]
async fn a_node_cannot_close_the_record_of_a_pod_of_another_node() {
    let coordinator = Running::local().await;
    coordinator.ready().await;
    ended(&coordinator, 1, true).await;
    eventually("the pod", async || coordinator.handle.record(&uid(1)).await.unwrap()).await;
    let mut forged = evidence(1);
    forged.node = "node-b".into();
    let body = json!({"version": 1, "node": "node-b", "reports": [forged]});
    let verdicts = verdicts(&coordinator, body.to_string()).await;
    let [Verdict::Rejected { why }] = verdicts.as_slice() else { panic!("{verdicts:?}") };
    assert_eq!(why, "the pod is on node \"node-a\", not on \"node-b\"");
    let record = coordinator.handle.record(&uid(1)).await.unwrap().unwrap();
    assert_eq!((record.quality, record.usage.cpu_seconds), (Quality::Provisional, None));
}

#[tokio::test]
async fn a_batch_that_cannot_be_read_is_refused_with_the_place() {
    let coordinator = Running::local().await;
    let refused = async |body: String| {
        let response = coordinator.post("/v1/reports", TOKEN, body).await;
        (response.status().as_u16(), response.json::<ErrorBody>().await.unwrap())
    };
    let (code, error) = refused("{\"version\": 1,\n \"node\": nobody}".into()).await;
    assert_eq!((code, error.subject.as_deref()), (400, Some("line 2 column 11")), "{error:?}");
    let (code, error) = refused(json!({"version": 2, "node": NODE, "reports": []}).to_string()).await;
    assert_eq!((code, error.subject.as_deref()), (400, Some("version")));
    assert!(error.hint.unwrap().contains("same release"));
    let (code, _) = refused(json!({"version": 1, "node": "../etc", "reports": []}).to_string()).await;
    assert_eq!(code, 400);
}

#[tokio::test]
async fn an_oversized_batch_is_refused_whether_it_announces_its_size_or_not() {
    let coordinator = Running::local().await;
    let body = " ".repeat(jobmeter_protocol::wire::MAX_BATCH_BYTES + 1);
    assert_eq!(coordinator.post("/v1/reports", TOKEN, body.clone()).await.status(), 413);
    let chunks = futures::stream::iter(
        body.into_bytes().chunks(1 << 16).map(<[u8]>::to_vec).map(Ok::<_, std::io::Error>).collect::<Vec<_>>(),
    );
    let response = coordinator.post("/v1/reports", TOKEN, reqwest::Body::wrap_stream(chunks)).await;
    assert_eq!(response.status(), 413);
    assert!(response.json::<ErrorBody>().await.unwrap().hint.unwrap().contains("in parts"));
}

#[tokio::test]
async fn a_heartbeat_for_another_node_than_it_says_is_refused() {
    let coordinator = Running::local().await;
    let body = serde_json::to_string(&heartbeat("node-b", vec![])).unwrap();
    let response = coordinator.post(&format!("/v1/nodes/{NODE}/heartbeat"), TOKEN, body).await;
    assert_eq!(response.status(), 400);
    assert_eq!(coordinator.handle.nodes(), vec![]);
}

/// A pod whose end the executor told, and of which the agent has said nothing.
async fn ended(coordinator: &Running, n: usize, ran: bool) {
    let mut pod = pod(n, "sort");
    if !ran {
        pod.phase = jobmeter_protocol::PodPhase::Failed;
        let main = &mut pod.containers[0];
        (main.started, main.finished, main.exit, main.container_id) = (None, None, None, None);
    }
    coordinator.tell(LocalEvent::Applied { pod, owners: vec![example::owner("batch/v1", "Job", "sort")] }).await;
}

#[tokio::test]
async fn an_agent_is_asked_for_what_is_missing_and_its_answer_closes_the_record() {
    let coordinator = Running::local().await;
    coordinator.ready().await;
    for (n, ran) in [(1, true), (2, true), (3, false)] {
        ended(&coordinator, n, ran).await;
    }
    let wanted = eventually("three wanted pods", async || {
        Some(beat(&coordinator, vec![]).await.wanted).filter(|wanted| wanted.len() == 3)
    })
    .await;
    assert_eq!(wanted, [uid(1), uid(2), uid(3)]);

    // It has the first, and knows nothing of the others.
    verdicts(&coordinator, serde_json::to_string(&batch(vec![evidence(1)])).unwrap()).await;
    beat(&coordinator, vec![uid(2), uid(3)]).await;
    let closed = async |n| {
        eventually("closed", async || {
            coordinator.handle.record(&uid(n)).await.unwrap().filter(|record| record.quality != Quality::Provisional)
        })
        .await
    };
    assert_eq!(closed(1).await.quality, Quality::Complete { notes: vec![] });
    let Quality::Partial { reason, .. } = closed(2).await.quality else { panic!("a guess was made") };
    assert!(reason.contains("knows nothing of this pod"), "{reason}");
    let never = closed(3).await;
    assert!(matches!(never.quality, Quality::Complete { .. }), "{never:?}");
    assert_eq!(never.usage.cpu_seconds, None);

    // It had it after all.
    verdicts(&coordinator, serde_json::to_string(&batch(vec![evidence(2)])).unwrap()).await;
    assert_eq!(closed(2).await.quality, Quality::Complete { notes: vec![] });
    assert_eq!(beat(&coordinator, vec![]).await.wanted, Vec::<String>::new());
    let metrics = coordinator.get("/metrics").await.text().await.unwrap();
    for line in [
        "jobmeter_records_missing_total{why=\"agent_unknown\"} 1",
        "jobmeter_records_amended_total 1",
        "jobmeter_cpu_seconds_total{namespace=\"bench\",owner_kind=\"Job\"} 0.03",
    ] {
        assert!(metrics.contains(line), "{line} in\n{metrics}");
    }
}

#[tokio::test]
async fn a_pod_of_which_nobody_hears_again_is_closed_after_the_deadline() {
    let coordinator = Running::local_with(|config, _| {
        config.deadlines.agent_alive = std::time::Duration::from_millis(1);
        config.deadlines.agent_silent = std::time::Duration::from_millis(1);
    })
    .await;
    ended(&coordinator, 1, true).await;
    let record = eventually("closed", async || {
        coordinator.handle.record(&uid(1)).await.unwrap().filter(|record| record.quality != Quality::Provisional)
    })
    .await;
    let Quality::Partial { reason, .. } = &record.quality else { panic!("{record:?}") };
    assert_eq!(reason, "no agent was ever heard on node node-a");
    assert_eq!(record.outcome.reason, Reason::Completed);
}

#[tokio::test]
async fn what_runs_is_shown_and_gone_with_its_node() {
    let coordinator = Running::local().await;
    let mut beat = heartbeat(NODE, vec![]);
    let live: Value = json!([{
        "pod_uid": uid(1), "namespace": "bench", "pod": "sort-1", "node": "somewhere-else", "at": example::at(0.0),
        "method": "kernel", "cpu_ns": 5, "processes": 1
    }]);
    beat.live = serde_json::from_value(live).unwrap();
    coordinator.handle.heartbeat(NODE, beat).await.unwrap();
    let live: Vec<jobmeter_protocol::LivePod> = coordinator.get("/v1/live").await.json().await.unwrap();
    // A node speaks for itself only.
    assert_eq!(live.iter().map(|pod| (pod.pod.as_str(), pod.node.as_str())).collect::<Vec<_>>(), [("sort-1", NODE)]);
    let nodes: Vec<jobmeter_protocol::NodeStatus> = coordinator.get("/v1/nodes").await.json().await.unwrap();
    assert_eq!(nodes[0].node, NODE);
}

#[tokio::test]
async fn evidence_of_a_pod_that_the_cluster_never_told_of_is_kept() {
    let coordinator = Running::local().await;
    coordinator.ready().await;
    let mut running = evidence(1);
    running.stage = Stage::Running;
    assert_eq!(verdicts(&coordinator, serde_json::to_string(&batch(vec![running])).unwrap()).await, [Verdict::Accepted]);
    let record = coordinator.handle.record(&uid(1)).await.unwrap().unwrap();
    assert_eq!((record.identity.pod.as_str(), record.identity.job.kind.as_str()), ("sort-7xk2p", "Pod"));
}
