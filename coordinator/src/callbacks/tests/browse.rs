//! Report files as people see them.

use super::*;

#[tokio::test]
async fn reports_are_browsed_as_http_file_server_shows_them_and_nothing_else_is() {
    let world = world(|_, _| {}).await;
    let reports = world.volume.path().join("reports");
    let settings = settings("scan", &reports);
    crate::runs::reports::ReportDirectory::of(&settings, RUN).begin().unwrap();
    for (name, text) in [("a.json", RESULT), ("a-x<y>.html", "<script>"), ("a-run.log", "0123456789"), (".posting-1", "half")] {
        fs::write(world.directory().join(name), text).unwrap();
    }
    fs::write(reports.join("jobmeter.db"), "secret").unwrap();
    fs::create_dir(reports.join("lost+found")).unwrap();
    std::os::unix::fs::symlink(reports.join("jobmeter.db"), world.directory().join("a-link")).unwrap();

    assert!(world.get("/reports/").await.text().await.unwrap().contains("<a href=\"scan/\">scan/</a>"));
    for (path, to) in
        [("/reports", "reports/"), ("/reports/scan", "scan/"), ("/reports/-", "-/"), ("/reports/scan/latest", "latest/")]
    {
        let answer = world.get(path).await;
        assert_eq!((answer.status().as_u16(), answer.headers()["location"].to_str().unwrap()), (301, to), "{path}");
    }
    let names = async |path: &str| {
        let request = world.http.get(format!("http://{}{path}", world.address)).header("accept", "application/json");
        let list: Vec<Value> = request.send().await.unwrap().json().await.unwrap();
        list.iter().map(|entry| entry["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names("/reports/scan/").await, ["latest", RUN]);
    assert_eq!(names("/reports/-/").await, ["latest", RUN], "one report directory");
    assert_eq!(names("/reports/scan/latest/").await, ["a-run.log", "a-x<y>.html", "a.json"]);
    let page = world.get(&format!("/reports/-/{RUN}/")).await.text().await.unwrap();
    assert!(page.contains("<a href=\"a-x%3Cy%3E.html\">a-x&lt;y&gt;.html</a>\n"), "{page}");

    let file = world.get("/reports/scan/latest/a.json").await;
    assert_eq!(file.headers()["content-type"], "application/json");
    assert_eq!(file.text().await.unwrap(), RESULT);
    let file = world.get(&format!("/reports/-/{RUN}/a-x%3Cy%3E.html")).await;
    assert_eq!(
        (&file.headers()["content-type"], &file.headers()["content-security-policy"]),
        (&"text/html; charset=utf-8".parse().unwrap(), &"sandbox".parse().unwrap())
    );
    let ranged = |range: &str| {
        world.http.get(format!("http://{}/reports/scan/{RUN}/a-run.log", world.address)).header("range", range.to_owned()).send()
    };
    let part = ranged("bytes=2-4").await.unwrap();
    assert_eq!((part.status().as_u16(), part.headers()["content-range"].to_str().unwrap()), (206, "bytes 2-4/10"));
    assert_eq!(part.text().await.unwrap(), "234");
    assert_eq!(ranged("bytes=10-").await.unwrap().status(), 416);

    for path in [
        "/reports/other/",
        "/reports/scan/202611211931/",
        "/reports/scan/jobmeter.db",
        "/reports/scan/lost+found/",
        "/reports/scan/latest/.posting-1",
        "/reports/scan/latest/a-link",
        "/reports/scan/latest/a.json/",
        "/reports/scan/..%2F..%2Fetc%2Fpasswd",
        "/reports/-/x%2F..%2F",
        "/reports/scan//latest/",
    ] {
        assert_eq!(world.get(path).await.status(), 404, "{path}");
    }
}

#[tokio::test]
async fn lists_are_read_so_many_at_a_time_as_files_are() {
    let world = world(|_, _| {}).await;
    let all = world.callbacks.0.downloads.clone().acquire_many_owned(64).await.unwrap();
    let answer = world.get("/reports/scan/").await;
    assert_eq!((answer.status().as_u16(), answer.headers()["retry-after"].to_str().unwrap()), (429, "5"));
    drop(all);
    assert_eq!(world.get("/reports/scan/").await.status(), 200);
    assert_eq!(world.callbacks.0.downloads.available_permits(), 64, "a list that was read holds no place");
}

#[tokio::test]
async fn definitions_that_share_a_directory_show_their_own_runs() {
    let world = world(|_, _| {}).await;
    let reports = world.volume.path().join("reports");
    let other = "202611211931";
    for (name, run) in [("scan", RUN), ("burn", other)] {
        let settings = settings(name, &reports);
        crate::runs::reports::ReportDirectory::of(&settings, run).begin().unwrap();
    }
    let burn = stored(other, settings("burn", &reports), &["a"]);
    world.snapshot.lock().unwrap().runs.insert(other.to_owned(), burn);
    world.change(|_| {}).await;
    let page = |path: &'static str| async { world.get(path).await.text().await.unwrap() };
    assert!(!page("/reports/scan/").await.contains(other) && page("/reports/burn/").await.contains(other));
    assert!(page("/reports/-/").await.contains(other) && page("/reports/-/").await.contains(RUN));
    assert_eq!(world.get(&format!("/reports/scan/{other}/")).await.status(), 404);
    // The link is of the other one.
    assert!(page("/reports/scan/").await.contains("latest"));
    for (name, run) in [("scan", RUN), ("burn", other)] {
        fs::write(reports.join(run).join("a.json"), name).unwrap();
        assert_eq!(world.get(&format!("/reports/{name}/latest/a.json")).await.text().await.unwrap(), name, "its own latest");
    }
}

#[tokio::test]
async fn reports_are_read_by_whoever_may_read() {
    let files = tempfile::tempdir().unwrap();
    fs::write(files.path().join("token"), "the-readers-token").unwrap();
    let (runs, desk) = RunsView::new();
    desk.publish(RunsSnapshot::default());
    let callbacks = Callbacks::new(CallbacksParts {
        config: Some(CallbacksConfig::default()),
        runs,
        auth: Auth::new(&Writers::InProcess, Readers::token(files.path().join("token")), None).unwrap(),
        metrics: Metrics::register(&Registry::new(), 100).unwrap(),
    });
    let ask = async |path: &str, token: Option<&str>| {
        let mut request = axum::http::Request::get(path);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request.body(axum::body::Body::empty()).unwrap();
        tower::ServiceExt::oneshot(callbacks.router(), request).await.unwrap().status().as_u16()
    };
    for path in ["/reports/", "/reports/-/"] {
        assert_eq!(ask(path, None).await, 401);
        assert_eq!(ask(path, Some("another")).await, 401);
        assert_eq!(ask(path, Some("the-readers-token")).await, 200);
    }
}
