//! A real S3 server for the cluster: versitygw on this machine, where pods reach it, with a folder as its bucket. It serves all
//! tests of a process and ends with it; tests take it away and bring it back.

use std::ffi::OsStr;
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::processes::kill_dash_nine;
use crate::server::Server;
use crate::wait::eventually;
use crate::{Cluster, coordinator};

const BUCKET: &str = "logs";
const SECRET: &str = "jobmeter-object-store";
const ACCESS_KEY: &str = "rig";
const SECRET_KEY: &str = "rig-secret-key";

#[derive(Debug)]
pub struct ObjectStore {
    root: PathBuf,
    address: SocketAddr,
    server: Mutex<Option<Server>>,
}

impl ObjectStore {
    /// Starts the server, and gives the coordinator the Secret that leads there.
    pub fn ensure(cluster: &Cluster) -> Result<&'static Self> {
        static STORE: OnceLock<Result<ObjectStore, String>> = OnceLock::new();
        let store = STORE
            .get_or_init(|| Self::new().map_err(|error| format!("{error:#}")))
            .as_ref()
            .map_err(|error| anyhow::Error::msg(error.clone()))?;
        store.resume()?;
        store.start()?;
        store.tell(cluster)?;
        Ok(store)
    }

    /// Takes the Secret away, so that logs go to the coordinator's own directory: the folder of it, seen from outside.
    pub fn forget(cluster: &Cluster) -> Result<PathBuf> {
        if cluster.kubectl(["delete", "secret", SECRET, "-n", "jobmeter", "--ignore-not-found"])?.contains("deleted") {
            coordinator::poke(cluster)?;
            let mounted = volumes(cluster)?.join("kubernetes.io~secret/object-store/bucket");
            eventually("the Secret to go from the coordinator's pod", Duration::from_secs(90), || {
                Ok((!mounted.exists()).then_some(()))
            })?;
            // A store that disappears is a fault; only a start chooses the directory.
            kill_dash_nine(coordinator::PROGRAM)?;
        }
        eventually("the coordinator to use its directory", Duration::from_secs(180), || {
            Ok(source(cluster)?.contains("the directory /").then_some(()))
        })?;
        Ok(volumes(cluster)?.join("kubernetes.io~empty-dir/data/logs"))
    }

    fn new() -> Result<Self> {
        let folder = std::env::var("JOBMETER_RIG_DIR").context("JOBMETER_RIG_DIR")?;
        let root = Path::new(&folder).join("object-store");
        if root.exists() {
            fs::remove_dir_all(&root)?;
        }
        fs::create_dir_all(root.join(BUCKET))?;
        let host = std::env::var("JOBMETER_RIG_HOST_ADDRESS").context("JOBMETER_RIG_HOST_ADDRESS")?;
        let address = TcpListener::bind((host.as_str(), 0))?.local_addr()?;
        Ok(Self { root, address, server: Mutex::default() })
    }

    /// Each object is a file in it, under its key.
    pub fn bucket(&self) -> PathBuf {
        self.root.join(BUCKET)
    }

    pub fn start(&self) -> Result<()> {
        let mut server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        if server.is_some() {
            return Ok(());
        }
        let program = std::env::var("JOBMETER_VERSITYGW").context("JOBMETER_VERSITYGW names the S3 server: tests/rig env")?;
        let address = self.address.to_string();
        let command: [&OsStr; 6] =
            [program.as_ref(), "--quiet".as_ref(), "--port".as_ref(), address.as_ref(), "posix".as_ref(), self.root.as_ref()];
        let mut shell = Command::new("sh");
        shell.env("ROOT_ACCESS_KEY", ACCESS_KEY).env("ROOT_SECRET_KEY", SECRET_KEY);
        *server = Some(Server::start_with(shell, &command, &self.root.with_extension("log"), Signal::SIGKILL)?);
        eventually("the S3 server to listen", Duration::from_secs(20), || Ok(TcpStream::connect(self.address).ok().map(drop)))
    }

    /// As when its machine fails: whoever calls is refused.
    pub fn stop(&self) -> Result<()> {
        drop(self.server.lock().unwrap_or_else(PoisonError::into_inner).take());
        Ok(())
    }

    /// As when its disk hangs: calls are taken, and not answered until [`Self::resume`].
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    pub fn resume(&self) -> Result<()> {
        self.signal(Signal::SIGCONT)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        match &*self.server.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(server) => server.signal(signal),
            None => Ok(()),
        }
    }

    /// Connections on which something waits to be read: with a paused server, calls in mid-air.
    pub fn unanswered(&self) -> Result<usize> {
        let SocketAddr::V4(address) = self.address else { return Ok(0) };
        let local = format!("{:08X}:{:04X}", u32::from_le_bytes(address.ip().octets()), address.port());
        let table = fs::read_to_string("/proc/net/tcp")?;
        let waits = |line: &&str| {
            let words: Vec<_> = line.split_whitespace().collect();
            let unread = words.get(4).and_then(|queues| queues.split_once(':')).map(|(_, unread)| unread);
            words.get(1) == Some(&local.as_str()) && words.get(3) == Some(&"01") && unread != Some("00000000")
        };
        Ok(table.lines().filter(waits).count())
    }

    fn tell(&self, cluster: &Cluster) -> Result<()> {
        let endpoint = format!("http://{}", self.address);
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET, "namespace": "jobmeter"},
            "stringData": {
                "accessKeyID": ACCESS_KEY, "secretAccessKey": SECRET_KEY, "bucket": BUCKET, "endpoint": endpoint, "pathStyle": "true",
            },
        });
        let said = cluster.kubectl_with(&secret.to_string(), ["apply", "-f", "-"])?;
        if !said.contains("unchanged") {
            coordinator::poke(cluster)?;
        }
        eventually("the coordinator to find the S3 server", Duration::from_secs(120), || {
            Ok(source(cluster)?.contains(&endpoint).then_some(()))
        })
    }
}

/// What is mounted into the coordinator's pod, as its node (node-a) has it.
fn volumes(cluster: &Cluster) -> Result<PathBuf> {
    let pods = coordinator::pods(cluster)?;
    let uid = pods[0]["metadata"]["uid"].as_str().context("the coordinator's UID")?;
    let lib = std::env::var("JOBMETER_RIG_LIB_A").context("JOBMETER_RIG_LIB_A")?;
    Ok(Path::new(&lib).join(format!("kubelet/pods/{uid}/volumes")))
}

/// What the coordinator's `/status` says of its object store.
fn source(cluster: &Cluster) -> Result<String> {
    let status: Value = serde_json::from_str(&cluster.api("/status")?)?;
    Ok(status["sources"]["object-store"].to_string())
}
