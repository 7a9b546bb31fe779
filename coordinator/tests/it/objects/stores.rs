//! The stores that the contract is held against. Each keeps its objects as files, where a test can read them without it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use jobmeter_coordinator::config::objects::{ObjectsConfig, PlainFields};
use jobmeter_coordinator::objects::Objects;
use jobmeter_daemon::admin::SourceBoard;
use tempfile::TempDir;

use super::doubles::{Fault, S3sFs};
use crate::harness::eventually;

pub(super) const BUCKET: &str = "job-logs";
pub(super) const ACCESS_KEY: &str = "AKTEST";
pub(super) const SECRET_KEY: &str = "never-to-be-shown";

pub(super) struct Bench {
    pub(super) objects: Objects,
    /// Where the files of the objects are, without a prefix.
    pub(super) files: PathBuf,
    /// Targets are URLs of the store.
    pub(super) direct: bool,
    /// Keeps its servers and directories alive.
    _alive: Box<dyn std::any::Any + Send + Sync>,
}

struct Versity {
    process: Child,
    _root: TempDir,
    _secret: TempDir,
}

pub(super) fn directory() -> Bench {
    let root = tempfile::tempdir().unwrap();
    let objects = Objects::new(ObjectsConfig::standalone(root.path()), SourceBoard::default());
    Bench { objects, files: root.path().join("logs"), direct: false, _alive: Box::new(root) }
}

pub(super) async fn s3s_fs() -> Bench {
    let server = S3sFs::start(Fault::default()).await;
    let secret = secret_of(server.address);
    let objects = Objects::new(config(secret.path()), SourceBoard::default());
    Bench { objects, files: server.bucket(), direct: true, _alive: Box::new((server, secret)) }
}

/// `None`: it is not here, and that was said.
pub(super) async fn versitygw() -> Option<Bench> {
    let (bench, _) = start_versitygw(&needed("JOBMETER_VERSITYGW")?, None).await;
    Some(bench)
}

/// Behind a certificate of an authority that nobody knows, whose PEM comes along.
pub(super) async fn versitygw_with_tls() -> Option<(Bench, String)> {
    Some(start_versitygw(&needed("JOBMETER_VERSITYGW")?, Some(certificates())).await)
}

async fn start_versitygw(binary: &Path, certificates: Option<TempDir>) -> (Bench, String) {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join(BUCKET)).unwrap();
    let address = free_address();
    let mut command = Command::new(binary);
    command.args(["--port", &address.to_string()]);
    let mut secret = secret_of(address);
    let mut authority = String::new();
    if let Some(files) = &certificates {
        let at = |name: &str| files.path().join(name);
        command.arg("--cert").arg(at("cert.pem")).arg("--key").arg(at("key.pem"));
        authority = std::fs::read_to_string(at("ca.pem")).unwrap();
        let endpoint = format!("https://{address}");
        let keys = [("accessKeyID", ACCESS_KEY), ("secretAccessKey", SECRET_KEY)];
        secret = self::secret(&[keys[0], keys[1], ("endpoint", &endpoint), ("caBundle", &authority)]);
    }
    let process = command
        .arg("posix")
        .arg(root.path())
        .env("ROOT_ACCESS_KEY", ACCESS_KEY)
        .env("ROOT_SECRET_KEY", SECRET_KEY)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let versity = Versity { process, _root: root, _secret: secret };
    eventually("versitygw listens", async || tokio::net::TcpStream::connect(address).await.ok()).await;
    let files = versity._root.path().join(BUCKET);
    let objects = Objects::new(config(versity._secret.path()), SourceBoard::default());
    (Bench { objects, files, direct: true, _alive: Box::new((versity, certificates)) }, authority)
}

/// An authority, and a certificate of it for this machine.
fn certificates() -> TempDir {
    let files = tempfile::tempdir().unwrap();
    let openssl = |arguments: &str| {
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2";
        let arguments = format!("req -x509 {key} {arguments}");
        let done = Command::new("openssl").args(arguments.split_whitespace()).current_dir(files.path()).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    openssl("-subj /CN=authority -keyout ca.key -out ca.pem");
    openssl(
        "-subj /CN=store -keyout key.pem -out cert.pem -CA ca.pem -CAkey ca.key \
         -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE",
    );
    files
}

impl Drop for Versity {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// A program that is not everywhere: without it a test is skipped, except where everything must be there.
pub(crate) fn needed(variable: &str) -> Option<PathBuf> {
    match std::env::var_os(variable) {
        Some(path) => Some(path.into()),
        None if std::env::var_os("CI").is_some() => panic!("{variable} must name the program in CI"),
        None => {
            eprintln!("skipped: {variable} names no program");
            None
        }
    }
}

/// Free a moment ago.
pub(crate) fn free_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

pub(super) fn config(secret: &Path) -> ObjectsConfig {
    ObjectsConfig {
        directory: "/nonexistent/never-to-be-used".into(),
        secret_dir: Some(secret.to_owned()),
        prefix: String::new(),
        plain: PlainFields { bucket: Some(BUCKET.to_owned()), ..PlainFields::default() },
    }
}

pub(super) fn secret_of(address: SocketAddr) -> TempDir {
    let endpoint = format!("http://{address}");
    secret(&[("accessKeyID", ACCESS_KEY), ("secretAccessKey", SECRET_KEY), ("endpoint", &endpoint)])
}

pub(super) fn secret(fields: &[(&str, &str)]) -> TempDir {
    // Whoever makes an HTTP client needs it, and a second test finds it installed.
    drop(rustls::crypto::ring::default_provider().install_default());
    let directory = tempfile::tempdir().unwrap();
    for (name, value) in fields {
        std::fs::write(directory.path().join(name), value).unwrap();
    }
    directory
}

/// For a test that changes the Secret.
pub(super) fn looking_at_once(config: ObjectsConfig, sources: &SourceBoard) -> Objects {
    Objects::looking_every(config, sources.clone(), Some(Duration::ZERO))
}
