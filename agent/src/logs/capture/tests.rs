//! The thread, turned by hand: real files, no waiting. A restart is a new one on the same spool.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod copies;
mod faults;
mod life;
mod model;
mod room;
mod rotation;
mod whole;

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io::{Read, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use flate2::{Compression, read::MultiGzDecoder, write::GzEncoder};
use jobmeter_daemon::admin::SourceBoard;
use jobmeter_decide::books::{RunStanding, Standing};
use prometheus::Registry;
use tempfile::TempDir;
use tokio::sync::mpsc;

use super::{Capture, Standings, inbox::Inbox, thread::Thread};
use crate::{
    logs::{LogsOptions, Outcome, PieceForm, SealedLog},
    metrics::CaptureMetrics,
};

const POD: &str = "bench_sort-7xk2p_0f5c7b46";
const UID: &str = "0f5c7b46";

/// A node: the kubelet's directory of logs, a spool, and what the books would say.
struct Node {
    dir: TempDir,
    books: Arc<Told>,
    options: LogsOptions,
}

#[derive(Default)]
struct Told(Mutex<HashMap<String, Standing>>);

impl Standings for Told {
    fn standing(&self, pod_uid: &str) -> Standing {
        self.0.lock().unwrap().get(pod_uid).cloned().unwrap_or_default()
    }
}

/// An agent in one of its lives.
struct Life {
    thread: Thread,
    sealed: mpsc::Receiver<SealedLog>,
    handle: Capture,
}

impl Node {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("pods")).unwrap();
        let options = LogsOptions { min_free: 0, ..LogsOptions::new(dir.path().join("spool")) };
        let node = Self { dir, books: Arc::default(), options };
        node.say(true, false);
        node
    }

    fn container(&self) -> PathBuf {
        let path = self.dir.path().join("pods").join(POD).join("main");
        fs::create_dir_all(&path).unwrap();
        path
    }

    fn log(&self) -> PathBuf {
        self.container().join("0.log")
    }

    /// What the books say of the pod.
    fn say(&self, job: bool, ended: bool) {
        let runs = vec![RunStanding { container: "main".into(), attempt: 0, over: ended }];
        let standing = Standing { job: Some(job), heard: true, known: true, ended, over: false, runs };
        self.books.0.lock().unwrap().insert(UID.into(), standing);
    }

    fn agent(&self) -> Life {
        let (sender, sealed) = mpsc::channel(8);
        let inbox = Arc::new(Inbox::new().unwrap());
        let metrics = CaptureMetrics::register(&Registry::new()).unwrap();
        let pod_logs = self.dir.path().join("pods");
        let board = SourceBoard::default();
        let mut thread = Thread::new(pod_logs, self.options.clone(), sender, Arc::clone(&inbox), metrics, board).unwrap();
        thread.rescan();
        thread.mark_what_went_meanwhile();
        let handle = Capture { inbox };
        handle.judge_by(Arc::<Told>::clone(&self.books));
        let mut life = Life { thread, sealed, handle };
        life.turn();
        life
    }

    /// All that the spool holds, files of our own included.
    fn spooled(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        walk(&self.options.spool, &mut found);
        found.sort();
        found
    }

    fn pieces(&self) -> Vec<PathBuf> {
        let is_piece = |path: &PathBuf| super::names::parse(path.file_name().unwrap().to_str().unwrap()).is_some();
        self.spooled().into_iter().filter(is_piece).collect()
    }
}

impl Life {
    /// Takes all that is there to be taken, and looks at everything.
    fn turn(&mut self) {
        self.thread.next_look = Instant::now();
        assert!(self.thread.turn());
    }

    fn sealed(&mut self) -> Option<SealedLog> {
        self.turn();
        self.sealed.try_recv().ok()
    }

    fn answer(&mut self, outcome: Outcome) {
        self.handle.inbox.put(|pending| pending.outcomes.push(outcome));
        self.turn();
    }

    fn stored(&mut self, log: &SealedLog) {
        self.answer(Outcome::Stored { log: log.log.clone(), key: "bench/sort.log".into(), raw_bytes: log.raw_bytes });
    }
}

fn walk(path: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { walk(&path, into) } else { into.push(path) }
    }
}

/// What the shipper would read.
fn content(log: &SealedLog) -> String {
    let mut text = String::new();
    for piece in &log.pieces {
        let file = File::open(&piece.path).unwrap();
        assert_eq!(file.metadata().unwrap().len(), piece.bytes);
        match piece.form {
            PieceForm::Plain => (&file).read_to_string(&mut text).unwrap(),
            PieceForm::Gzip => MultiGzDecoder::new(file).read_to_string(&mut text).unwrap(),
        };
    }
    text
}

fn line(n: usize) -> String {
    format!("2026-11-21T10:00:{:02}.{:09}Z stdout F line {n}\n", n / 1_000, n % 1_000)
}

fn append(path: &Path) -> File {
    OpenOptions::new().create(true).append(true).open(path).unwrap()
}

/// As the kubelet does it: beside, then in its place, then the plain one goes.
fn compress(path: &Path) -> PathBuf {
    let beside = PathBuf::from(format!("{}.tmp", path.display()));
    let compressed = PathBuf::from(format!("{}.gz", path.display()));
    let mut encoder = GzEncoder::new(File::create(&beside).unwrap(), Compression::fast());
    encoder.write_all(&fs::read(path).unwrap()).unwrap();
    encoder.finish().unwrap();
    fs::rename(beside, &compressed).unwrap();
    fs::remove_file(path).unwrap();
    compressed
}

fn rotated(path: &Path, second: usize) -> PathBuf {
    let to = PathBuf::from(format!("{}.20261121-1000{second:02}", path.display()));
    fs::rename(path, &to).unwrap();
    to
}
