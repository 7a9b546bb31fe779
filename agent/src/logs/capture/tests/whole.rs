//! The real thread, woken by the kernel.

use super::*;
use crate::logs::capture::CaptureEnds;

fn start(node: &Node) -> (Capture, CaptureEnds) {
    let metrics = CaptureMetrics::register(&Registry::new()).unwrap();
    let pods = node.dir.path().join("pods");
    // Nothing here is to be found by looking around.
    let options = LogsOptions { rescan: Duration::from_secs(3_600), ..node.options.clone() };
    let (capture, ends) = Capture::start(pods, options, metrics, SourceBoard::default()).unwrap();
    capture.judge_by(Arc::<Told>::clone(&node.books));
    (capture, ends)
}

#[tokio::test]
async fn a_pod_that_comes_and_goes_is_sealed_without_a_look_around() {
    let node = Node::new();
    let (capture, mut ends) = start(&node);
    let path = node.log();
    fs::write(&path, line(1)).unwrap();
    // Whatever the thread does next, it has seen the file when it has answered.
    while node.pieces_now() == 0 {
        tokio::task::yield_now().await;
    }
    fs::remove_dir_all(path.parent().unwrap().parent().unwrap()).unwrap();
    let sealed = ends.sealed.recv().await.unwrap();
    assert_eq!(content(&sealed), line(1));
    let waits = tokio::spawn({
        let capture = capture.clone();
        async move { capture.stored(UID).await }
    });
    let stop = tokio_util::sync::CancellationToken::new();
    let serving = tokio::spawn(capture.serve(ends.serving, stop.clone()));
    let stored = Outcome::Stored { log: sealed.log.clone(), key: "k".into(), raw_bytes: sealed.raw_bytes };
    ends.outcomes.send(stored).await.unwrap();
    tokio::time::timeout(Duration::from_secs(10), waits).await.unwrap().unwrap();
    stop.cancel();
    serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn two_hundred_directories_that_come_and_go_at_once_leave_nothing_half_done() {
    let node = Node::new();
    let (capture, mut ends) = start(&node);
    for n in 0..200 {
        let pod = node.dir.path().join("pods").join(format!("bench_blink-{n}_uid-{n}"));
        fs::create_dir_all(pod.join("main")).unwrap();
        fs::write(pod.join("main/0.log"), line(n)).unwrap();
        fs::remove_dir_all(pod).unwrap();
    }
    capture.wake();
    // Whatever was caught is whole: it is sealed because its directory is gone.
    let mut caught = 0;
    let until = Instant::now() + Duration::from_secs(10);
    while let Ok(Some(sealed)) = tokio::time::timeout(Duration::from_millis(1_500), ends.sealed.recv()).await {
        let n: usize = sealed.log.pod.strip_prefix("blink-").unwrap().parse().unwrap();
        assert!([line(n), String::new()].contains(&content(&sealed)), "{sealed:?}");
        let log = sealed.log;
        capture.inbox.put(|pending| pending.outcomes.push(Outcome::Stored { log, key: "k".into(), raw_bytes: sealed.raw_bytes }));
        caught += 1;
        assert!(Instant::now() < until, "{caught} so far");
    }
    for n in 0..200 {
        capture.stored(&format!("uid-{n}")).await;
    }
    assert_eq!(node.spooled(), Vec::<PathBuf>::new());
}

impl Node {
    /// While the thread works.
    fn pieces_now(&self) -> usize {
        let dir = self.options.spool.join(POD).join("main/0");
        let names = fs::read_dir(dir).into_iter().flatten().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        names.filter(|name| super::super::names::parse(name).is_some()).count()
    }
}
