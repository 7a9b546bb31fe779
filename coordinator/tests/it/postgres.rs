//! A real PostgreSQL for the tests: its own data directory, a port of its own, and gone with the process that started it.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use nix::unistd::Uid;

/// Ends, and takes the data along, when nobody holds the other end of the pipe any more: also when a test panics or is killed.
const SCRIPT: &str = r#""$@" >>"$ROOT/log" 2>&1 </dev/null &
read -r answer; kill -QUIT "$(head -n 1 "$ROOT/data/postmaster.pid")"; wait
[ "$answer" = keep ] || rm -rf "$ROOT""#;

pub(crate) struct Server {
    bin: PathBuf,
    root: PathBuf,
    port: u16,
    databases: AtomicUsize,
    settings: Vec<String>,
    running: Mutex<Option<Child>>,
}

impl Server {
    /// `None`: there is no PostgreSQL on this machine.
    pub(crate) fn of_all_tests() -> Option<&'static Self> {
        static SERVER: OnceLock<Option<Server>> = OnceLock::new();
        SERVER.get_or_init(Self::start).as_ref()
    }

    /// One that a test may kill.
    pub(crate) fn start() -> Option<Self> {
        Self::with(|_| Vec::new())
    }

    /// With settings of its own; files for it go into the directory.
    pub(crate) fn with(settings: impl FnOnce(&Path) -> Vec<String>) -> Option<Self> {
        let Some(bin) = programs() else {
            let why =
                "no PostgreSQL: put its `initdb` and `postgres` on the PATH, or name their directory in JOBMETER_POSTGRES_BIN";
            assert!(std::env::var("CI").as_deref() != Ok("true"), "{why}");
            println!("SKIPPED: {why}");
            return None;
        };
        let root = tempfile::Builder::new().prefix("jobmeter-postgres-").tempdir().unwrap().keep();
        std::fs::set_permissions(&root, std::fs::Permissions::from_mode(0o777)).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let settings = settings(&root);
        let server = Self { bin, root, port, databases: AtomicUsize::new(0), settings, running: Mutex::new(None) };
        let mut initdb = server.command("initdb");
        initdb.arg("-D").arg(server.root.join("data")).args(["-U", "jobmeter", "--auth=trust", "-E", "UTF8", "--no-sync"]);
        let made = initdb.output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        server.run();
        Some(server)
    }

    /// The URL of a new, empty database.
    pub(crate) fn database(&self) -> String {
        let name = format!("test{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        self.url(&name)
    }

    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://jobmeter:never-shown@127.0.0.1:{}/{database}", self.port)
    }

    pub(crate) fn sql(&self, database: &str, sql: &str) {
        let (url, sql) = (self.url(database), sql.to_owned());
        let run = move || postgres::Client::connect(&url, postgres::NoTls).unwrap().batch_execute(&sql).unwrap();
        std::thread::spawn(run).join().unwrap();
    }

    /// As by a crash of its machine: no connection is closed in good order.
    pub(crate) fn stop(&self) {
        if let Some(mut shell) = self.running.lock().unwrap().take() {
            shell.stdin.take().unwrap().write_all(b"keep\n").unwrap();
            shell.wait().unwrap();
        }
    }

    pub(crate) fn run(&self) {
        let mut running = self.running.lock().unwrap();
        let server = self.command("postgres");
        let mut shell = Command::new("sh");
        shell.args(["-c", SCRIPT, "sh"]).arg(server.get_program()).args(server.get_args());
        shell.arg("-D").arg(self.root.join("data")).args(["-p", &self.port.to_string()]);
        for setting in ["listen_addresses=127.0.0.1", "fsync=off", "max_connections=200"] {
            shell.args(["-c", setting]);
        }
        for setting in &self.settings {
            shell.args(["-c", setting]);
        }
        shell.arg("-c").arg(format!("unix_socket_directories={}", self.root.display()));
        *running = Some(shell.env("ROOT", &self.root).current_dir("/").stdin(Stdio::piped()).spawn().unwrap());
        let deadline = Instant::now() + Duration::from_secs(60);
        while !self.answers() {
            let log = || std::fs::read_to_string(self.root.join("log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "PostgreSQL does not answer: {}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn answers(&self) -> bool {
        let url = self.url("postgres");
        TcpStream::connect(("127.0.0.1", self.port)).is_ok()
            && std::thread::spawn(move || postgres::Client::connect(&url, postgres::NoTls).is_ok()).join().unwrap()
    }

    /// Neither program runs as root.
    fn command(&self, program: &str) -> Command {
        let program = self.bin.join(program);
        if !Uid::effective().is_root() {
            return Command::new(program);
        }
        let mut command = Command::new("runuser");
        command.args(["-u", "nobody", "--"]).arg(program);
        command.current_dir("/");
        command
    }
}

/// Not that of all tests, which is never dropped: its shell sees the end of the process.
impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut shell) = self.running.get_mut().unwrap().take() {
            drop(shell.stdin.take());
            shell.wait().unwrap();
        }
    }
}

fn programs() -> Option<PathBuf> {
    let named = std::env::var_os("JOBMETER_POSTGRES_BIN").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut debian: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|versions| versions.map(|version| version.unwrap().path().join("bin")).collect())
        .unwrap_or_default();
    debian.sort();
    let has_both = |directory: &Path| ["initdb", "postgres"].iter().all(|program| directory.join(program).is_file());
    named.into_iter().chain(std::env::split_paths(&path)).chain(debian.into_iter().rev()).find(|directory| has_both(directory))
}
