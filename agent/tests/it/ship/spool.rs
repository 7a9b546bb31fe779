//! Sealed logs on a disk, and a shipper at work on them.

use std::{fmt::Write as _, fs, sync::Arc, time::Duration};

use jiff::Timestamp;
use jobmeter_agent::{
    logs::{Outcome, Piece, PieceForm, SealedLog, ShipMetrics, ShipOptions, Shipper},
    uplink::LogUplink,
};
use jobmeter_logtext::SourceFormat;
use jobmeter_protocol::LogId;
use prometheus::Registry;
use tempfile::TempDir;
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;

pub(crate) struct Spool(TempDir);

/// What a container wrote and how the runtime noted it.
pub(crate) fn lines(count: usize) -> (String, String) {
    let (mut text, mut cri) = (String::new(), String::new());
    let mut noise = 1_u64;
    for n in 0..count {
        noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let line = format!("line {n} says {noise:x}");
        let stream = if n % 7 == 0 { "stderr" } else { "stdout" };
        let time = Timestamp::from_nanosecond(1_790_000_000_000_000_000 + i128::from(n as u64 * 1_000_003 + noise % 900_000));
        writeln!(text, "{line}").unwrap();
        writeln!(cri, "{:.9} {stream} F {line}", time.unwrap()).unwrap();
    }
    (text, cri)
}

impl Spool {
    pub(crate) fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    /// `pieces`: each a file of its own.
    pub(crate) fn seal(&self, pod: &str, pieces: &[&[u8]]) -> SealedLog {
        let directory = self.0.path().join(format!("ns_{pod}_uid-{pod}/main/0"));
        fs::create_dir_all(&directory).unwrap();
        let pieces: Vec<Piece> = (0..)
            .zip(pieces)
            .map(|(n, content): (u32, _)| {
                let path = directory.join(format!("{n}-1-{n}.log"));
                fs::write(&path, content).unwrap();
                Piece { path, form: PieceForm::Plain, bytes: content.len() as u64 }
            })
            .collect();
        SealedLog {
            log: LogId {
                namespace: "ns".into(),
                pod: pod.into(),
                pod_uid: format!("uid-{pod}"),
                container: "main".into(),
                attempt: 0,
            },
            directory,
            raw_bytes: pieces.iter().map(|piece| piece.bytes).sum(),
            pieces,
            source: SourceFormat::Cri,
            missing: Vec::new(),
            sealed_at: Timestamp::now(),
            job: Some(true),
        }
    }
}

/// Quick, with the lanes of small logs ending at 64 KiB.
pub(crate) fn options() -> ShipOptions {
    let mut options = ShipOptions {
        waits: (Duration::from_millis(5), Duration::from_millis(100)),
        piece_waits: (Duration::from_millis(1), 4),
        piece_patience: Duration::from_millis(50),
        ..ShipOptions::default()
    };
    (options.limits.small_bytes, options.limits.small_total) = (64 * 1024, 128 * 1024);
    options
}

pub(crate) struct Shipping {
    pub(crate) registry: Registry,
    sealed: Option<mpsc::Sender<SealedLog>>,
    outcomes: mpsc::Receiver<Outcome>,
    stop: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

pub(crate) fn shipper(uplink: Arc<dyn LogUplink>, options: ShipOptions) -> (Shipper, Registry) {
    let registry = Registry::new();
    let metrics = ShipMetrics::register(&registry).unwrap();
    (Shipper { uplink, node: "node-a".into(), metrics, options }, registry)
}

impl Shipping {
    pub(crate) fn start(uplink: impl LogUplink, options: ShipOptions) -> Self {
        let (shipper, registry) = shipper(Arc::new(uplink), options);
        let (sealed, logs) = mpsc::channel(4);
        let (results, outcomes) = mpsc::channel(4);
        let stop = CancellationToken::new();
        let task = tokio::spawn(shipper.run(logs, results, stop.clone()));
        Self { registry, sealed: Some(sealed), outcomes, stop, task }
    }

    pub(crate) async fn give(&self, log: SealedLog) {
        self.sealed.as_ref().unwrap().send(log).await.unwrap();
    }

    pub(crate) async fn outcome(&mut self) -> Outcome {
        tokio::time::timeout(Duration::from_secs(60), self.outcomes.recv()).await.expect("an outcome").unwrap()
    }

    /// All that were given, and not one more.
    pub(crate) async fn outcomes(mut self, count: usize) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        for _ in 0..count {
            outcomes.push(self.outcome().await);
        }
        drop(self.sealed.take());
        self.task.await.unwrap().unwrap();
        assert_eq!(self.outcomes.recv().await, None, "exactly one outcome for each");
        outcomes
    }

    pub(crate) async fn ship(self, log: SealedLog) -> Outcome {
        self.give(log).await;
        self.outcomes(1).await.remove(0)
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }

    pub(crate) fn counted(&self, name: &str, labels: &[&str]) -> f64 {
        counted(&self.registry, name, labels)
    }
}

pub(crate) fn counted(registry: &Registry, name: &str, labels: &[&str]) -> f64 {
    let families = registry.gather();
    let family = families.iter().find(|family| family.name() == name);
    let metrics = family.map(|family| family.get_metric()).unwrap_or_default();
    let labelled = |metric: &&prometheus::proto::Metric| {
        labels.iter().all(|label| metric.get_label().iter().any(|pair| pair.value() == *label))
    };
    metrics.iter().filter(labelled).map(|metric| metric.get_counter().get_value() + metric.get_gauge().get_value()).sum()
}
