//! What is measured, in a process of its own: one thread for the network, as in the agent, and the shipper's own.

use std::{
    fmt, fs,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use clap::ValueEnum;
use futures::{FutureExt, future::BoxFuture};
use jiff::Timestamp;
use jobmeter_agent::{
    UplinkError,
    logs::{Outcome, Piece, PieceForm, SealedLog, ShipMetrics, ShipOptions, Shipper},
    uplink::{HttpUplink, HttpUplinkOptions, LogUplink, PutError},
};
use jobmeter_logtext::SourceFormat;
use jobmeter_protocol::{
    Compression, LogFormat, LogId,
    logs::{
        CompleteReply, CompleteRequest, MultipartReply, MultipartRequest, Target, TargetsReply, TargetsRequest, TicketReply,
        TicketRequest, UploadPolicy,
    },
};
use nix::sys::resource::UsageWho;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{cpu_seconds, spool::NAME};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    Put,
    Text,
    TextZstd,
    TextGzip,
    Cri,
    Small,
}

impl Mode {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Text => "text",
            Self::TextZstd => "text-zstd",
            Self::TextGzip => "text-gzip",
            Self::Cri => "cri",
            Self::Small => "small",
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Put => "bare client, parts of 8 MiB",
            Self::Text => "ship as text",
            Self::TextZstd => "ship as text, zstd",
            Self::TextGzip => "ship as text, gzip",
            Self::Cri => "ship as CRI lines",
            Self::Small => "ship as text, in logs of 4 MiB",
        }
    }

    const fn policy(self) -> UploadPolicy {
        let (format, compression) = match self {
            Self::Put | Self::Text | Self::Small => (LogFormat::Text, Compression::None),
            Self::TextZstd => (LogFormat::Text, Compression::Zstd),
            Self::TextGzip => (LogFormat::Text, Compression::Gzip),
            Self::Cri => (LogFormat::Cri, Compression::None),
        };
        UploadPolicy { format, compression, whole_bytes: 16 << 20, part_bytes: 8 << 20 }
    }
}

/// Bytes are of the log in its raw form, whatever is sent.
pub(crate) struct Figures {
    pub(crate) bytes: u64,
    pub(crate) seconds: f64,
    pub(crate) cpu_seconds: f64,
    pub(crate) peak_mib: Option<f64>,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} {}", self.bytes, self.seconds, self.cpu_seconds, self.peak_mib.unwrap_or_default())
    }
}

impl Figures {
    pub(crate) fn parse(text: &str) -> Self {
        let figures: Vec<f64> = text.split_whitespace().map(|word| word.parse().unwrap()).collect();
        Self { bytes: figures[0] as u64, seconds: figures[1], cpu_seconds: figures[2], peak_mib: Some(figures[3]) }
    }
}

pub(crate) fn run(mode: Mode, directory: &Path, store: &str) -> Figures {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let options =
        HttpUplinkOptions { url: "http://nobody".into(), token_file: None, ca_file: None, timeout: Duration::from_secs(9) };
    let discarding = Discarding { http: HttpUplink::new(options).unwrap(), store: store.to_owned(), policy: mode.policy() };
    let file = directory.join(NAME);
    let bytes = fs::metadata(&file).unwrap().len();
    let logs = if mode == Mode::Small { small(directory, &file) } else { vec![sealed("large", directory, &file)] };
    let (before, begun) = (cpu_seconds(UsageWho::RUSAGE_SELF), Instant::now());
    match mode {
        Mode::Put => runtime.block_on(put(&discarding, &file)),
        _ => runtime.block_on(ship(discarding, logs)),
    }
    let (seconds, cpu_seconds) = (begun.elapsed().as_secs_f64(), cpu_seconds(UsageWho::RUSAGE_SELF) - before);
    Figures { bytes, seconds, cpu_seconds, peak_mib: Some(peak_mib()) }
}

async fn put(discarding: &Discarding, file: &Path) {
    let mut file = tokio::fs::File::open(file).await.unwrap();
    loop {
        let mut part = Vec::with_capacity(8 << 20);
        tokio::io::AsyncReadExt::read_to_end(&mut tokio::io::AsyncReadExt::take(&mut file, 8 << 20), &mut part).await.unwrap();
        if part.is_empty() {
            return;
        }
        discarding.put(&discarding.target(), None, part.into()).await.unwrap();
    }
}

async fn ship(uplink: Discarding, logs: Vec<SealedLog>) {
    let metrics = ShipMetrics::register(&prometheus::Registry::new()).unwrap();
    let shipper = Shipper { uplink: Arc::new(uplink), node: "node-a".into(), metrics, options: ShipOptions::default() };
    let ((sealed, waiting), (outcomes, mut results)) = (mpsc::channel(1), mpsc::channel(1));
    let count = logs.len();
    let give = async move {
        for log in logs {
            sealed.send(log).await.unwrap();
        }
    };
    let take = async {
        for _ in 0..count {
            assert!(matches!(results.recv().await, Some(Outcome::Stored { .. })));
        }
    };
    let (ran, (), ()) = tokio::join!(shipper.run(waiting, outcomes, CancellationToken::new()), give, take);
    ran.unwrap();
}

fn sealed(pod: &str, directory: &Path, file: &Path) -> SealedLog {
    let bytes = fs::metadata(file).unwrap().len();
    SealedLog {
        log: LogId { namespace: "bench".into(), pod: pod.into(), pod_uid: pod.into(), container: "main".into(), attempt: 0 },
        directory: directory.to_owned(),
        pieces: vec![Piece { path: file.to_owned(), form: PieceForm::Plain, bytes }],
        source: SourceFormat::Cri,
        raw_bytes: bytes,
        missing: Vec::new(),
        sealed_at: Timestamp::now(),
        job: Some(true),
    }
}

/// The same bytes in many logs, cut anywhere.
fn small(directory: &Path, file: &Path) -> Vec<SealedLog> {
    use std::io::Read;
    let mut file = fs::File::open(file).unwrap();
    let (mut logs, mut buffer) = (Vec::new(), vec![0; 1 << 20]);
    loop {
        let pod = format!("small-{}", logs.len());
        let directory = directory.join(&pod);
        fs::create_dir(&directory).unwrap();
        let path = directory.join(NAME);
        let mut piece = fs::File::create(&path).unwrap();
        let mut total = 0;
        // Little by little: the peak that is measured is to be the shipper's.
        while total < 4 << 20 {
            match file.read(&mut buffer).unwrap() {
                0 => break,
                read => std::io::Write::write_all(&mut piece, &buffer[..read]).unwrap(),
            }
            total += buffer.len();
        }
        if piece.metadata().unwrap().len() == 0 {
            return logs;
        }
        logs.push(sealed(&pod, &directory, &path));
    }
}

fn peak_mib() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
}

/// The coordinator is a function call, the store is HTTP.
struct Discarding {
    http: HttpUplink,
    store: String,
    policy: UploadPolicy,
}

impl Discarding {
    fn target(&self) -> Target {
        Target { url: format!("{}/key?signature=x", self.store), headers: Vec::new(), expires: Timestamp::MAX }
    }
}

impl LogUplink for Discarding {
    fn ticket(&self, request: TicketRequest) -> BoxFuture<'_, Result<TicketReply, UplinkError>> {
        let reply = TicketReply::Ticket { key: request.log.pod, policy: self.policy, ca_pem: None };
        async move { Ok(reply) }.boxed()
    }

    fn multipart(&self, _: MultipartRequest) -> BoxFuture<'_, Result<MultipartReply, UplinkError>> {
        async { Ok(MultipartReply { multipart: "upload".into() }) }.boxed()
    }

    fn targets(&self, request: TargetsRequest) -> BoxFuture<'_, Result<TargetsReply, UplinkError>> {
        let targets = request.pieces.iter().map(|_| self.target()).collect();
        async { Ok(TargetsReply { targets }) }.boxed()
    }

    fn put<'a>(&'a self, target: &'a Target, ca_pem: Option<&'a str>, body: Bytes) -> BoxFuture<'a, Result<String, PutError>> {
        self.http.put(target, ca_pem, body)
    }

    fn complete(&self, _: CompleteRequest) -> BoxFuture<'_, Result<CompleteReply, UplinkError>> {
        async { Ok(CompleteReply::Done) }.boxed()
    }
}
