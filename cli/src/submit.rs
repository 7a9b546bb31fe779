//! `jobmeter submit`: hands Job manifests to a running `jobmeter standalone`. In: files. Out: the names of the jobs.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use jobmeter_protocol::{Job, JobState, Page, SubmitReply, SubmittedJob};
use reqwest::{Client, Response, StatusCode, Url};
use tokio::time::interval;

use crate::exit::Usage;
use crate::run::{DataDir, display_name, read_text};
use crate::standalone::DEFAULT_ADDRESS;

const POLL: Duration = Duration::from_millis(500);

/// Submit Job manifests to a running `jobmeter standalone`
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  jobmeter submit -f examples/quickstart.yaml
  jobmeter submit -f nightly.yaml --wait && jobmeter acct

Exit code: 0 submitted (with --wait: all completed); 1 refused, no answer, or with --wait a job that failed; 64 a mistake on the \
command line or in a file.")]
pub struct SubmitArgs {
    /// Job manifests (batch/v1, several documents allowed); `-` reads standard input
    #[arg(short = 'f', long = "filename", value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,

    /// Its address [default: what the data directory says, else http://127.0.0.1:9470]
    #[arg(long, value_name = "URL", env = "JOBMETER_SERVER")]
    pub server: Option<Url>,

    /// File with its token [env: JOBMETER_TOKEN holds the token itself] [default: the data directory's]
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,

    /// The data directory of that `jobmeter standalone`
    #[arg(long, value_name = "DIR", env = "JOBMETER_DATA_DIR", default_value = crate::source::LOCAL_DATA_DIR)]
    pub data_dir: PathBuf,

    /// Wait until the jobs have ended
    #[arg(long)]
    pub wait: bool,
}

struct Standalone {
    client: Client,
    base: Url,
    token: String,
}

pub async fn run(args: SubmitArgs) -> anyhow::Result<ExitCode> {
    let standalone = Standalone::of(&args)?;
    let mut submitted = Vec::new();
    let texts: Vec<(String, String)> =
        args.files.iter().map(|file| Ok((display_name(file), read_text(file)?))).collect::<anyhow::Result<_>>()?;
    for (name, text) in &texts {
        // Mistakes are told by the name of the file, and before anything is sent.
        jobmeter_jobfile::read(name, text).map_err(|error| Usage(error.to_string()))?;
    }
    for (name, text) in texts {
        let reply = standalone.submit(text).await.with_context(|| name.clone())?;
        for notice in &reply.notices {
            eprintln!("jobmeter: {name}: {notice}");
        }
        for job in &reply.jobs {
            writeln!(std::io::stdout().lock(), "job/{} submitted", job.name)?;
        }
        submitted.extend(reply.jobs);
    }
    if !args.wait {
        return Ok(ExitCode::SUCCESS);
    }
    let mut failed = false;
    for job in &submitted {
        let state = standalone.wait(job).await?;
        writeln!(std::io::stdout().lock(), "job/{} {state:?}", job.name)?;
        failed |= state != JobState::Completed;
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

impl Standalone {
    fn of(args: &SubmitArgs) -> anyhow::Result<Self> {
        let data_dir = DataDir::at(&args.data_dir);
        let base = match &args.server {
            Some(url) => url.clone(),
            None => announced(&data_dir)?,
        };
        let token = match (&args.token_file, std::env::var("JOBMETER_TOKEN")) {
            (None, Ok(token)) => token,
            (file, _) => {
                let path = file.clone().unwrap_or_else(|| data_dir.token());
                std::fs::read_to_string(&path).map_err(|error| {
                    let path = path.display();
                    Usage(format!("failed to read the token {path}: {error}; name it with --token-file or the data directory with --data-dir"))
                })?
            }
        };
        Ok(Self { client: Client::new(), base, token: token.trim().to_owned() })
    }

    async fn submit(&self, text: String) -> anyhow::Result<SubmitReply> {
        let url = self.base.join("/v1/jobs")?;
        let request = self.client.post(url).bearer_auth(&self.token).header("content-type", "application/yaml").body(text);
        let answer = self.answer(request.send().await).await?;
        Ok(answer.json().await?)
    }

    async fn wait(&self, submitted: &SubmittedJob) -> anyhow::Result<JobState> {
        let mut url = self.base.join("/v1/jobs")?;
        url.query_pairs_mut().append_pair("namespace", &submitted.namespace).append_pair("job", &submitted.name);
        let mut look = interval(POLL);
        loop {
            look.tick().await;
            let request = self.client.get(url.clone()).bearer_auth(&self.token);
            let page: Page<Job> = self.answer(request.send().await).await?.json().await?;
            let state = page.items.iter().find(|job| job.owner.uid == submitted.uid).map(|job| job.state);
            match state {
                Some(JobState::Pending | JobState::Running) | None => {}
                Some(state) => return Ok(state),
            }
        }
    }

    async fn answer(&self, sent: Result<Response, reqwest::Error>) -> anyhow::Result<Response> {
        let response = sent.with_context(|| format!("no answer from {}; is `jobmeter standalone` running?", self.base))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let said = crate::source::sentence(&response.bytes().await?);
        match status {
            StatusCode::BAD_REQUEST => Err(Usage(said).into()),
            _ => anyhow::bail!("{} refused ({status}): {said}", self.base),
        }
    }
}

/// The address that a standalone process has left in its data directory.
fn announced(data_dir: &DataDir) -> anyhow::Result<Url> {
    let path = data_dir.address();
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => format!("http://{DEFAULT_ADDRESS}"),
        Err(error) => return Err(error).with_context(|| format!("failed to read {}", path.display())),
    };
    text.trim().parse().with_context(|| format!("{} does not hold an address", path.display()))
}
