//! A real PostgreSQL for the coordinator: on this machine, where pods reach it, and only with a password.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use nix::unistd::{User, chown};
use serde_json::json;

use crate::Cluster;
use crate::cluster::run;
use crate::server::Server;
use crate::wait::eventually;

/// Holds the URL, under the key `url`.
pub const SECRET: &str = "jobmeter-postgres";
const NAME: &str = "jobmeter";
/// With signs that a URL must escape.
const PASSWORD: &str = "rig@pass:word/1";
const PASSWORD_IN_URL: &str = "rig%40pass%3Aword%2F1";
/// It refuses to run as root.
const USER: &str = "nobody";

#[derive(Debug)]
pub struct Postgres {
    bin: PathBuf,
    host: String,
    port: u16,
    folder: PathBuf,
    server: Option<Server>,
}

impl Postgres {
    /// A new, empty database; returns when it answers.
    pub fn start() -> Result<Self> {
        let variable = |name: &str| std::env::var(name).with_context(|| format!("{name} is not set: tests/rig env"));
        let folder = Path::new(&variable("JOBMETER_RIG_DIR")?).join("postgres");
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir(&folder)?;
        let user = User::from_name(USER)?.context("this machine has no user nobody")?;
        chown(&folder, Some(user.uid), Some(user.gid))?;
        let host = variable("JOBMETER_RIG_HOST_ADDRESS")?;
        let port = TcpListener::bind((host.as_str(), 0))?.local_addr()?.port();
        let bin = PathBuf::from(variable("JOBMETER_POSTGRES_BIN")?);
        let mut postgres = Self { bin, host, port, folder, server: None };
        postgres.make_database()?;
        postgres.resume()?;
        postgres.query("postgres", &format!("CREATE DATABASE {NAME}"))?;
        Ok(postgres)
    }

    pub fn url(&self) -> String {
        format!("postgres://{NAME}:{PASSWORD_IN_URL}@{}:{}/{NAME}", self.host, self.port)
    }

    /// Gives the coordinators the Secret that leads here.
    pub fn tell(&self, cluster: &Cluster) -> Result<()> {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET, "namespace": "jobmeter"},
            "stringData": {"url": self.url()},
        });
        cluster.kubectl_with(&secret.to_string(), ["apply", "-f", "-"]).map(drop)
    }

    /// Rows of an answer in Jobmeter's database, columns separated by `|`.
    pub fn ask(&self, sql: &str) -> Result<Vec<String>> {
        Ok(self.query(NAME, sql)?.lines().map(str::to_owned).collect())
    }

    /// As when its machine fails: whoever calls is refused.
    pub fn stop(&mut self) {
        self.server = None;
    }

    /// Starts it, or starts it again with what it had.
    pub fn resume(&mut self) -> Result<()> {
        if self.server.is_none() {
            let mut command = as_nobody(&self.bin.join("postgres"), &["-D", "data", "-p", &self.port.to_string()]);
            for setting in
                [format!("listen_addresses={}", self.host), "unix_socket_directories=".to_owned(), "fsync=off".to_owned()]
            {
                command.extend(["-c".to_owned(), setting]);
            }
            let mut shell = Command::new("sh");
            shell.current_dir(&self.folder);
            // At once, and without waiting for clients to leave.
            self.server = Some(Server::start_with(shell, &command, &self.folder.join("log"), Signal::SIGINT)?);
        }
        let answers = || Ok(self.query("postgres", "SELECT 1").ok().map(drop));
        let waited = eventually("PostgreSQL to answer", Duration::from_secs(30), answers);
        waited.with_context(|| fs::read_to_string(self.folder.join("log")).unwrap_or_default())
    }

    fn make_database(&self) -> Result<()> {
        fs::write(self.folder.join("password"), PASSWORD)?;
        let command = as_nobody(
            &self.bin.join("initdb"),
            &["-D", "data", "-U", NAME, "--auth=scram-sha-256", "--pwfile=password", "-E", "UTF8", "--locale=C", "--no-sync"],
        );
        let mut initdb = Command::new("sh");
        initdb.current_dir(&self.folder).args(["-c", r#"exec "$@""#, "sh"]).args(command);
        run(initdb, "")?;
        let access = self.folder.join("data/pg_hba.conf");
        fs::write(&access, "host all all 0.0.0.0/0 scram-sha-256\n")
            .with_context(|| format!("failed to write {}", access.display()))
    }

    fn query(&self, database: &str, sql: &str) -> Result<String> {
        let mut psql = Command::new(self.bin.join("psql"));
        psql.env("PGPASSWORD", PASSWORD).args([
            "-XqAt",
            "-h",
            &self.host,
            "-p",
            &self.port.to_string(),
            "-U",
            NAME,
            "-d",
            database,
        ]);
        psql.args(["-c", sql]);
        run(psql, "")
    }
}

fn as_nobody(program: &Path, arguments: &[&str]) -> Vec<String> {
    let user = ["setpriv", "--reuid", USER, "--regid", "nogroup", "--clear-groups"].map(str::to_owned);
    let program = [program.display().to_string()];
    user.into_iter().chain(program).chain(arguments.iter().map(|&argument| argument.to_owned())).collect()
}
