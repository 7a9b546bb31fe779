//! A process made of the parts of this crate, for the tests that need a real one: exit codes, signals, a drained server.
//!
//! Prints `ready` and then, if it serves, its address on stdout.

use std::future::pending;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::routing::get;
use clap::{Parser, ValueEnum};
use jobmeter_daemon::config::{self, HumanDuration};
use jobmeter_daemon::exit::{self, Code};
use jobmeter_daemon::http::{self, ServeOptions};
use jobmeter_daemon::logging::{self, LogFormat};
use jobmeter_daemon::supervise::Supervisor;
use nix::sys::resource::{Resource, setrlimit};
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tracing::info;

#[derive(Parser)]
struct Args {
    #[arg(long, value_enum, default_value_t = Behaviour::Steady)]
    behave: Behaviour,
    #[arg(long, default_value = "60s")]
    grace: HumanDuration,
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
    #[arg(long, default_value = "info")]
    log: String,
    #[arg(long)]
    config: Option<PathBuf>,
    /// No more open files than this, once it runs.
    #[arg(long)]
    files: Option<u64>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Behaviour {
    Steady,
    /// A task fails at once.
    Fail,
    /// A task panics at once.
    Panic,
    /// A task does not heed the token.
    Stuck,
    /// A blocking call never returns.
    StuckInCall,
    /// `/slow` answers half a second after it was asked.
    Serve,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {}

fn main() -> ExitCode {
    match exit::parse_args() {
        Ok(args) => exit::run(&mut Builder::new_multi_thread(), run(args)),
        Err(code) => code.into(),
    }
}

async fn run(args: Args) -> anyhow::Result<Code> {
    logging::init(args.log_format, &args.log)?;
    if let Some(path) = &args.config {
        let Config {} = config::load(path)?;
    }
    let mut supervisor = Supervisor::new(args.grace.get());
    let token = supervisor.token();
    let ready = match args.behave {
        Behaviour::Serve => {
            let listener = TcpListener::bind("127.0.0.1:0").await.context("failed to bind")?;
            let ready = format!("ready {}", listener.local_addr()?);
            supervisor.spawn("http", http::serve(listener, slow_router(), ServeOptions::default(), token));
            ready
        }
        behaviour => {
            supervisor.spawn("subject", async move {
                match behaviour {
                    Behaviour::Fail => return Err(std::io::Error::other("disk full")).context("failed to append to the journal"),
                    #[allow(clippy::panic)]
                    Behaviour::Panic => panic!("on purpose"),
                    Behaviour::Stuck => pending().await,
                    Behaviour::StuckInCall => tokio::task::spawn_blocking(|| std::thread::sleep(Duration::MAX)).await?,
                    Behaviour::Steady | Behaviour::Serve => token.cancelled().await,
                }
                Ok(())
            });
            "ready".to_owned()
        }
    };
    if let Some(files) = args.files {
        setrlimit(Resource::RLIMIT_NOFILE, files, files)?;
    }
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{ready}")?;
    stdout.flush()?;
    Ok(supervisor.run().await)
}

fn slow_router() -> Router {
    let slow = || async {
        info!("slow request began");
        tokio::time::sleep(Duration::from_millis(500)).await;
        "finished"
    };
    Router::new().route("/slow", get(slow))
}
