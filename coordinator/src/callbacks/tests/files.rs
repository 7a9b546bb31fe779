//! Files: their names, their size, and what is left of one that breaks off.

use super::*;

#[tokio::test]
async fn a_name_that_leads_elsewhere_is_refused_and_nothing_is_written_anywhere() {
    let world = world(|_, _| {}).await;
    for name in
        ["/../../x", "..%2F..%2Fx", "x/../../202611211931/node-1.json", "%2Fetc%2Fx", ".x", "a%5Cb", "a%00b", "a%0Ab", "a..b"]
    {
        let posted = world.post("node-1", 0, &format!("file?name={name}")).body("x");
        assert_eq!(status(posted).await, 400, "{name}");
    }
    let named = |value: &str| world.post("node-1", 0, "file").header("content-disposition", value.to_owned()).body("x");
    assert_eq!(status(named("attachment; filename=\"..\"")).await, 400);
    assert_eq!(status(named("attachment; filename=\"x\\\\y\"")).await, 400);
    assert_eq!(world.files(), Vec::<String>::new());
    // As Go does: the last part of a client's path.
    assert_eq!(status(named("attachment; filename=\"../../up\"")).await, 200);
    assert_eq!(world.files(), ["node-1-up"]);
}

#[tokio::test]
async fn files_of_every_form_are_kept_also_empty_ones_and_with_unicode_names() {
    let world = world(|_, _| {}).await;
    assert_eq!(status(world.post("node-1", 0, "file?name=empty")).await, 200);
    assert_eq!(status(world.post("node-1", 0, "file?name=gr%C3%B6%C3%9Fe+%E2%9C%93.txt").body("ü")).await, 200);
    let disposition = "attachment; filename*=UTF-8''%E2%9C%93.txt";
    assert_eq!(status(world.post("node-1", 0, "file").header("content-disposition", disposition).body("d")).await, 200);
    assert_eq!(world.files(), ["node-1-empty", "node-1-größe ✓.txt", "node-1-✓.txt"]);
    assert_eq!((world.read("node-1-empty"), world.read("node-1-größe ✓.txt")), (vec![], "ü".into()));
    assert_eq!(status(world.post("a-b", 0, "file").header("content-type", "text/plain").body("t")).await, 200);
    let unnamed = world.files().into_iter().find(|name| name.starts_with("a-b-")).unwrap();
    assert!(unnamed.ends_with(".txt"), "{unnamed}");
    let told: Vec<_> = world.told.lock().unwrap().iter().map(|(_, what)| what.clone()).collect();
    assert_eq!(told, [0, 2, 1, 1].map(|bytes| Posted::File { bytes }));
}

fn form(parts: &[(&str, &str)]) -> (&'static str, String) {
    let mut body: String =
        parts.iter().map(|(head, text)| format!("--XX\r\nContent-Disposition: form-data; {head}\r\n\r\n{text}\r\n")).collect();
    body += "--XX--\r\n";
    ("multipart/form-data; boundary=XX", body)
}

#[tokio::test]
async fn each_part_of_a_form_is_a_file_and_what_is_none_is_passed_over() {
    let world = world(|_, _| {}).await;
    let post = |parts: &[(&str, &str)]| {
        let (content_type, body) = form(parts);
        world.post("node-1", 0, "file").header("content-type", content_type).body(body)
    };
    let parts = [
        ("name=\"f\"; filename=\"/tmp/one.txt\"", "1"),
        ("name=\"note\"", "no file"),
        ("name=\"f\"; filename=\"two\"", ""),
        ("name=\"f\"; filename=\"größe.bin\"", "333"),
    ];
    assert_eq!(status(post(&parts)).await, 200);
    assert_eq!(world.files(), ["node-1-größe.bin", "node-1-one.txt", "node-1-two"]);
    assert_eq!((world.read("node-1-one.txt"), world.read("node-1-größe.bin")), (b"1".to_vec(), b"333".to_vec()));
    assert_eq!(error(post(&[("name=\"note\"", "x")])).await, (400, "the form has no file".to_owned()));
    assert_eq!(status(post(&[("name=\"f\"; filename=\".x\"", "x")])).await, 400);
    let broken =
        world.post("node-1", 0, "file").header("content-type", "multipart/form-data; boundary=XX").body("--XX\r\nnonsense");
    assert_eq!(status(broken).await, 400);
    assert_eq!(status(world.post("node-1", 0, "file").header("content-type", "multipart/form-data").body("x")).await, 400);
    assert_eq!(world.files().len(), 3);
}

#[tokio::test]
async fn what_surrounds_the_files_of_a_form_is_not_kept_in_memory_without_end() {
    let world = world(|_, _| {}).await;
    let chunks = |head: &'static str| {
        let junk = futures::stream::repeat(Bytes::from_static(&[b'x'; 65536])).take(1024);
        let body = futures::stream::once(async move { Bytes::from_static(head.as_bytes()) }).chain(junk);
        Body::wrap_stream(body.map(Ok::<_, std::io::Error>))
    };
    for head in [
        "",
        "--XX\r\nContent-Disposition: form-data; name=\"f\"; filename=\"",
        "--XX\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\n",
    ] {
        let posted =
            world.post("node-1", 0, "file").header("content-type", "multipart/form-data; boundary=XX").body(chunks(head));
        // It may be refused while the client still writes.
        if let Ok(response) = posted.send().await {
            assert_eq!(response.status(), 413, "{head}");
        }
    }
    assert_eq!((world.files(), world.told.lock().unwrap().len()), (vec![], 0));
}

#[tokio::test]
async fn a_repeated_file_overwrites_and_no_file_takes_the_name_of_anothers_or_of_a_result() {
    let world = world(|_, _| {}).await;
    for text in ["one", "two"] {
        assert_eq!(status(world.post("a", 0, "file?name=x").body(text)).await, 200);
    }
    assert_eq!(world.read("a-x"), b"two");
    for name in ["b-x", "b.json", "container-main.log", "attempt-0.json"] {
        let (status, text) = error(world.post("a", 0, &format!("file?name={name}")).body("x")).await;
        assert_eq!(status, 409, "{text}");
    }
    assert_eq!(world.files(), ["a-x"]);
}

#[tokio::test]
async fn a_file_or_a_run_that_is_too_large_is_refused_and_leaves_nothing() {
    let world = world(|config, _| (config.max_file_bytes, config.max_run_bytes, config.max_node_files) = (100, 250, 3)).await;
    let post = |name: &str, length: usize| world.post("node-1", 0, &format!("file?name={name}")).body(vec![b'x'; length]);
    let chunked = |name: &str, length: usize| {
        let chunks = (0..length).map(|_| Ok::<_, std::io::Error>(Bytes::from_static(b"x"))).collect::<Vec<_>>();
        world.post("a", 0, &format!("file?name={name}")).body(Body::wrap_stream(futures::stream::iter(chunks)))
    };
    let (code, said) = error(post("big", 101)).await;
    assert_eq!((code, said.as_str()), (413, "file node-1-big is larger than 100 bytes, which is the most"));
    assert_eq!(status(chunked("big", 101)).await, 413);
    assert_eq!(world.files(), Vec::<String>::new());
    assert_eq!(status(post("1", 100)).await, 200);
    assert_eq!(status(chunked("2", 100)).await, 200);
    let (code, said) = error(post("3", 51)).await;
    assert!(code == 413 && said.contains("250 bytes together"), "{said}");
    assert_eq!(status(chunked("3", 51)).await, 413);
    assert_eq!(status(post("3", 50)).await, 200);
    assert_eq!(status(post("4", 0)).await, 200);
    let (code, said) = error(post("5", 0)).await;
    assert_eq!((code, said.as_str()), (413, "node node-1 has posted 3 files in run 202611211930; more are not taken"));
    assert_eq!(world.files(), ["a-2", "node-1-1", "node-1-3", "node-1-4"]);
}

#[tokio::test]
async fn uploads_under_way_count_against_the_quota_until_they_are_over() {
    let world = world(|config, _| (config.max_run_bytes, config.max_node_files) = (100, 10)).await;
    let begun = begin_upload(&world, "slow", 60).await;
    assert_eq!(status(world.post("node-1", 0, "file?name=x").body(vec![b'x'; 50])).await, 413);
    assert_eq!(status(world.post("node-1", 0, "file?name=y").body(vec![b'x'; 40])).await, 200);
    drop(begun);
    eventually("the broken upload leaves nothing", || world.files() == ["node-1-y"]).await;
    assert_eq!(status(world.post("node-1", 0, "file?name=x").body(vec![b'x'; 50])).await, 200);
}

#[tokio::test]
async fn who_waits_for_its_turn_holds_no_copy_of_the_whole_run() {
    let world = world(|_, _| {}).await;
    let before = Arc::downgrade(&world.snapshot.lock().unwrap().runs[RUN]);
    let _begun = begin_upload(&world, "slow", 60).await;
    world.change(|node| node.why = Some("changed".to_owned())).await;
    eventually("the run as it was is gone", || before.upgrade().is_none()).await;
}

#[tokio::test]
async fn a_broken_connection_leaves_no_file() {
    let world = world(|_, _| {}).await;
    drop(begin_upload(&world, "half", 1000).await);
    eventually("the temporary file is gone", || world.files().is_empty()).await;
    assert_eq!(world.told.lock().unwrap().len(), 0);
    assert_eq!(status(world.post("node-1", 0, "file?name=half").body("whole")).await, 200);
    assert_eq!((world.files(), world.read("node-1-half")), (vec!["node-1-half".to_owned()], b"whole".to_vec()));
}

#[tokio::test]
async fn nothing_is_written_through_a_link_that_somebody_put_into_the_volume() {
    let world = world(|_, _| {}).await;
    let elsewhere = tempfile::tempdir().unwrap();
    fs::create_dir_all(world.volume.path().join("reports")).unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), world.directory()).unwrap();
    assert_eq!(status(world.post("node-1", 0, "file?name=x").body("x")).await, 500);
    assert_eq!(status(world.post("node-1", 0, "result").body(RESULT)).await, 500);
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn beyond_so_many_uploads_a_pod_waits_and_then_is_asked_to_come_again() {
    let world = world(|_, _| {}).await;
    let all = world.callbacks.0.uploads.clone().acquire_many_owned(64).await.unwrap();
    let answer = world.post("node-1", 0, "file?name=x").body("x").send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers()["retry-after"].to_str().unwrap()), (429, "5"));
    drop(all);
    assert_eq!(status(world.post("node-1", 0, "file?name=x").body("x")).await, 200);
}

#[tokio::test]
async fn a_big_upload_takes_a_constant_amount_of_memory() {
    // The high-water mark is of a process, and other tests run in this one.
    let mut child = tokio::process::Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "callbacks::tests::files::a_big_upload_in_a_process_of_its_own", "--ignored", "--nocapture"]);
    let output = child.output().await.unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("1 passed"), "{told}\n{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
#[ignore = "run by `a_big_upload_takes_a_constant_amount_of_memory`"]
async fn a_big_upload_in_a_process_of_its_own() {
    const CHUNK: Bytes = Bytes::from_static(&[b'x'; 65536]);
    const GIB: usize = 16_384;
    let high_water_kib = || {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    let world = world(|_, _| {}).await;
    assert_eq!(status(world.post("node-1", 0, "file?name=warm").body("x")).await, 200);
    let before = high_water_kib();
    let chunks = |count| futures::stream::repeat(CHUNK).take(count);
    let body = Body::wrap_stream(chunks(GIB).map(Ok::<_, std::io::Error>));
    assert_eq!(status(world.post("node-1", 0, "file?name=big").body(body)).await, 200);
    let head = futures::stream::once(async {
        Bytes::from_static(b"--XX\r\nContent-Disposition: form-data; name=\"f\"; filename=\"form\"\r\n\r\n")
    });
    let body = head.chain(chunks(GIB / 4)).chain(futures::stream::once(async { Bytes::from_static(b"\r\n--XX--\r\n") }));
    let posted = world.post("node-1", 0, "file").header("content-type", "multipart/form-data; boundary=XX");
    assert_eq!(status(posted.body(Body::wrap_stream(body.map(Ok::<_, std::io::Error>)))).await, 200);
    let grown = high_water_kib() - before;
    for (name, count) in [("node-1-big", GIB), ("node-1-form", GIB / 4)] {
        assert_eq!(fs::metadata(world.directory().join(name)).unwrap().len(), (CHUNK.len() * count) as u64);
    }
    assert!(grown < 32 << 10, "1 GiB took {grown} KiB of memory");
}
