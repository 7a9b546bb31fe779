//! Results and events, and who may post them.

use super::*;

#[tokio::test]
async fn a_result_is_kept_as_it_came_and_told_and_a_repeat_overwrites_it() {
    let world = world(|_, _| {}).await;
    let response = world.post("node-1", 0, "result").body(RESULT).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.bytes().await.unwrap(), "");
    assert_eq!(world.read("node-1.json"), RESULT.as_bytes());
    assert_eq!(status(world.post("node-1", 0, "result").body(r#"{"free":[{"value":2}]}"#)).await, 200);
    assert_eq!(world.read("node-1.json"), br#"{"free":[{"value":2}]}"#);
    assert_eq!(world.files(), ["node-1.json"]);
    let told = world.told.lock().unwrap().clone();
    let [(0, Posted::Result(first)), (0, Posted::Result(second))] = &told[..] else { panic!("{told:?}") };
    assert_eq!((first.node.as_str(), first.attempt, first.gauges["free"][0].labels["disk"].as_str()), ("node-1", 0, "sda"));
    assert_eq!(second.gauges["free"][0].value, 2.0);
}

#[tokio::test]
async fn a_result_that_is_none_is_refused_and_nothing_is_kept() {
    let world = world(|config, _| config.max_result_bytes = 100).await;
    let post = |body: &str| error(world.post("node-1", 0, "result").body(body.to_owned()));
    assert_eq!(post("null").await, (400, "results must not be empty".to_owned()));
    assert_eq!(post("{}").await, (400, "results must not be empty".to_owned()));
    assert_eq!(post(r#"{"a-b":[]}"#).await, (400, "\"a-b\" is not a valid metric name".to_owned()));
    let (status, text) = post("{").await;
    assert!(status == 400 && text.starts_with("error decoding result: "), "{text}");
    assert_eq!(post(&" ".repeat(101)).await.0, 413);
    let chunked = Body::wrap_stream(futures::stream::iter([Ok::<_, std::io::Error>(Bytes::from(vec![b' '; 101]))]));
    assert_eq!(error(world.post("node-1", 0, "result").body(chunked)).await.0, 413);
    assert_eq!((world.files(), world.told.lock().unwrap().len()), (vec![], 0));
}

#[tokio::test]
async fn a_result_of_an_earlier_attempt_does_not_take_the_place_of_a_later_one() {
    let world = world(|_, _| {}).await;
    world.change(|node| node.attempt = 1).await;
    assert_eq!(status(world.post("node-1", 0, "result").body(RESULT)).await, 200);
    assert_eq!(world.files(), ["node-1.json"], "the later attempt has not reported");
    assert_eq!(status(world.post("node-1", 1, "result").body(r#"{"later":[]}"#)).await, 200);
    assert_eq!(status(world.post("node-1", 0, "result").body(RESULT)).await, 200);
    assert_eq!(world.files(), ["node-1-attempt-0.json", "node-1.json"]);
    assert_eq!((world.read("node-1.json"), world.read("node-1-attempt-0.json")), (br#"{"later":[]}"#.to_vec(), RESULT.into()));
    // It failed all the same, and the third has not reported: that of the second still counts.
    world.change(|node| (node.attempt, node.reported) = (2, None)).await;
    assert_eq!(status(world.post("node-1", 0, "result").body(r#"{"old":[]}"#)).await, 200);
    assert_eq!(world.read("node-1.json"), br#"{"later":[]}"#, "file and store have the same result");
}

#[tokio::test]
async fn a_late_report_after_the_run_ended_is_taken() {
    let world = world(|_, _| {}).await;
    Arc::make_mut(world.snapshot.lock().unwrap().runs.get_mut(RUN).unwrap()).run.state = RunState::Succeeded;
    world.change(|node| node.state = NodeRunState::Failed).await;
    assert_eq!(status(world.post("node-1", 0, "result").body(RESULT)).await, 200);
    assert_eq!(status(world.post("node-1", 0, "file?name=x").body("late")).await, 200);
    assert_eq!(world.files(), ["node-1-x", "node-1.json"]);
}

#[tokio::test]
async fn whoever_is_no_pod_of_a_run_is_refused_before_the_body() {
    let world = world(|_, _| {}).await;
    let post = |path: &str| world.http.post(format!("http://{}/report/{path}", world.address)).body(RESULT);
    let token = TokenKey::new(KEY).token(RUN, "node-1", 0);
    assert_eq!(status(post(&format!("node-1/202611211931/{token}/result"))).await, 404);
    assert_eq!(status(post(&format!("node-9/{RUN}/{token}/result"))).await, 404);
    assert_eq!(status(post(&format!("a/{RUN}/{token}/result"))).await, 403, "another node's token");
    assert_eq!(status(post(&format!("node-1/{RUN}/{token}x/file"))).await, 403);
    assert_eq!(status(world.post("node-1", 1, "event")).await, 403, "an attempt that was not made");
    assert_eq!(status(post(&format!("node-1/{RUN}/result"))).await, 403, "no token");
    assert_eq!(status(world.post("node-1", 0, "else")).await, 404);
    assert_eq!((world.files(), world.told.lock().unwrap().len()), (vec![], 0));

    // Nothing of a body is waited for.
    let mut stranger = TcpStream::connect(world.address).await.unwrap();
    let head = format!("POST /report/node-1/{RUN}/no/file HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n");
    stranger.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    stranger.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 403");
}

#[tokio::test]
async fn users_of_batch_job_controller_get_its_status_codes_and_words() {
    let world = world(|config, settings| (settings.compatible, config.token_required) = (true, false)).await;
    let post = |path: &str| text(world.http.post(format!("http://{}/report/{path}", world.address)).body(RESULT));
    let not_allowed = (406, "node / execution ID not allowed".to_owned());
    assert_eq!(post(&format!("node-9/{RUN}/result")).await, not_allowed);
    assert_eq!(post("node-1/202611211931/result").await, not_allowed);
    assert_eq!(post(&format!("node-1/{RUN}/wrong/result")).await.0, 403);
    assert_eq!(text(world.post("node-1", 0, "result").body("null")).await, (400, "results must not be empty".to_owned()));
    assert_eq!(post(&format!("node-1/{RUN}/result")).await, (200, String::new()), "without a token, where none is required");
    assert_eq!(world.files(), ["node-1.json"]);

    // Forgotten while it was posted.
    let begun = begin_upload(&world, "late", 2).await;
    world.snapshot.lock().unwrap().runs.clear();
    let mut connection = begun;
    connection.write_all(b"x").await.unwrap();
    let mut answer = [0; 12];
    connection.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 406");
}

#[tokio::test]
async fn a_replica_that_does_not_keep_the_runs_asks_to_come_again() {
    let (runs, desk) = RunsView::new();
    let callbacks = Callbacks::new(CallbacksParts {
        config: Some(CallbacksConfig::default()),
        runs,
        auth: Auth::new(&Writers::InProcess, Readers::Open, None).unwrap(),
        metrics: Metrics::register(&Registry::new(), 100).unwrap(),
    });
    let ask = async || {
        let request = axum::http::Request::post(format!("/report/a/{RUN}/x/result")).body(axum::body::Body::empty()).unwrap();
        tower::ServiceExt::oneshot(callbacks.router(), request).await.unwrap()
    };
    let answer = ask().await;
    assert_eq!((answer.status().as_u16(), answer.headers()["retry-after"].to_str().unwrap()), (503, "5"));
    desk.set_key(TokenKey::new(KEY));
    assert_eq!(ask().await.status(), 503);
    desk.publish(RunsSnapshot::default());
    assert_eq!(ask().await.status(), 404);
}

#[tokio::test]
async fn what_a_pod_posted_is_counted_also_if_it_hangs_up_before_the_answer() {
    let world = world(|_, _| {}).await;
    let held = world.events.1.lock().await;
    let token = TokenKey::new(KEY).token(RUN, "node-1", 0);
    let request = axum::http::Request::post(format!("/report/node-1/{RUN}/{token}/event"));
    let request = request.body(axum::body::Body::from(r#"{"reason":"R","message":"m"}"#)).unwrap();
    // As the server drops what it does for a connection that is gone.
    let call = tokio::spawn(tower::ServiceExt::oneshot(world.callbacks.router(), request));
    eventually("it is being written", || world.events.0.lock().unwrap().len() == 1).await;
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    drop(held);
    eventually("it is counted", || *world.told.lock().unwrap() == [(0, Posted::Event)]).await;
}

#[tokio::test]
async fn events_that_hang_at_the_api_server_hold_up_no_result() {
    let world = world(|_, _| {}).await;
    let held = world.events.1.lock().await;
    let posts = (0..EVENTS).map(|_| world.post("node-1", 0, "event").json(&json!({"reason": "R", "message": "m"})).send());
    let posting = tokio::spawn(futures::future::join_all(posts));
    eventually("all of them hang", || world.events.0.lock().unwrap().len() == EVENTS).await;
    assert_eq!(status(world.post("a", 0, "event").json(&json!({"reason": "R", "message": "m"}))).await, 429);
    assert_eq!(status(world.post("a", 0, "result").body(RESULT)).await, 200);
    drop(held);
    assert!(posting.await.unwrap().iter().all(|answer| answer.as_ref().unwrap().status() == 200));
}

#[tokio::test]
async fn an_event_says_100_percent_full_and_is_of_the_nodes_pod() {
    let world = world(|_, _| {}).await;
    let post = |body: Value| world.post("node-1", 0, "event").json(&body);
    assert_eq!(status(post(json!({"warning": true, "reason": "DiskFull", "message": "disk 100% full"}))).await, 200);
    assert_eq!(status(post(json!({"reason": "Used", "message": "%s is %v%% full, %s", "args": ["/", "90"]}))).await, 200);
    let written = world.events.0.lock().unwrap().clone();
    assert_eq!((written[0].warning, written[0].note.as_str()), (true, "disk 100% full"));
    assert_eq!(written[1].note, "/ is 90% full, %s");
    assert_eq!((written[0].namespace.as_str(), written[0].pod.as_str()), ("bench", "scan-job-node-1"));
    assert_eq!(*world.told.lock().unwrap(), [(0, Posted::Event), (0, Posted::Event)]);

    assert_eq!(error(post(json!({"reason": "lower", "message": "m"}))).await.0, 400);
    assert_eq!(status(post(json!({"reason": "R", "message": "x".repeat(70_000)}))).await, 413);
    world.change(|node| node.pod = "gone".to_owned()).await;
    let (code, said) = error(post(json!({"reason": "R", "message": "m"}))).await;
    assert!(code == 404 && said.starts_with("error finding pod: "), "{said}");
    world.change(|node| node.events = 1_000).await;
    assert_eq!(status(post(json!({"reason": "R", "message": "m"}))).await, 429);
}

#[tokio::test]
async fn what_is_posted_is_counted_and_no_token_is_told() {
    let world = world(|_, _| {}).await;
    assert_eq!(status(world.post("node-1", 0, "file?name=x").body("12345")).await, 200);
    assert_eq!(status(world.post("node-1", 0, "file?name=.x").body("12345")).await, 400);
    let refused = world.post("node-1", 7, "result").body(RESULT).send().await.unwrap().text().await.unwrap();
    assert!(!refused.contains(&TokenKey::new(KEY).token(RUN, "node-1", 7)), "{refused}");
    let page = prometheus::TextEncoder::new().encode_to_string(&world.registry.gather()).unwrap();
    for line in [
        "jobmeter_run_reports_total{kind=\"file\",outcome=\"accepted\"} 1",
        "jobmeter_run_reports_total{kind=\"file\",outcome=\"invalid\"} 1",
        "jobmeter_run_reports_total{kind=\"result\",outcome=\"not_allowed\"} 1",
        "jobmeter_run_reports_total{kind=\"event\",outcome=\"failed\"} 0",
        "jobmeter_run_report_bytes_total{kind=\"file\"} 5",
    ] {
        assert!(page.contains(line), "{line} is not in\n{page}");
    }
}
