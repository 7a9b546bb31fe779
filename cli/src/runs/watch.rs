//! Follows a run to its end: a bar on a terminal, else a line for each change, on stderr. The last line, on stdout, says how it ended.

mod news;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use jobmeter_protocol::runs::{RunDetail, RunState};
use tokio::time::{Instant, MissedTickBehavior, interval};

use self::news::News;
use super::detail::counts;
use super::list::done;
use super::took;
use crate::exit::FAILED;
use crate::output::printable;
use crate::source::{RunId, Source, SourceError};

const EVERY: Duration = Duration::from_secs(1);
/// A coordinator that restarts, or hands over to another, is back by then.
const PATIENCE: Duration = Duration::from_secs(120);

pub(super) async fn until_over(source: &Source, run: &RunId) -> anyhow::Result<ExitCode> {
    let mut screen = Screen::new();
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut heard = Instant::now();
    let last = loop {
        ticks.tick().await;
        match source.run(run).await {
            Ok(detail) => {
                heard = Instant::now();
                screen.show(&detail);
                if detail.run.state.is_over() {
                    break detail;
                }
            }
            Err(error) if error.may_pass() && heard.elapsed() < PATIENCE => screen.trouble(error),
            Err(error) => {
                screen.finish();
                return Err(error.into());
            }
        }
    };
    screen.finish();
    writeln!(io::stdout(), "{}", ending(&last))?;
    Ok(if last.run.state == RunState::Succeeded { ExitCode::SUCCESS } else { FAILED.into() })
}

fn ending(detail: &RunDetail) -> String {
    let run = &detail.run;
    let why = run.why.as_deref().map(|why| format!(": {}", printable(why))).unwrap_or_default();
    let took = took(Some(run.created), run.finished);
    let (id, definition) = (printable(&run.id), printable(&run.definition));
    format!("run {id} of {definition} {} after {took}{why} (nodes: {})", run.state.as_str(), counts(&run.nodes))
}

struct Screen {
    bar: Option<ProgressBar>,
    news: News,
    troubled: bool,
}

impl Screen {
    fn new() -> Self {
        Self { bar: io::stderr().is_terminal().then(bar), news: News::default(), troubled: false }
    }

    fn show(&mut self, detail: &RunDetail) {
        self.troubled = false;
        let nodes = &detail.run.nodes;
        for line in self.news.of(detail, self.bar.is_some()) {
            self.line(&line);
        }
        if let Some(bar) = &self.bar {
            bar.set_length(u64::from(nodes.total));
            bar.set_position(u64::from(done(nodes)));
            bar.set_message(news::message(&detail.run));
        }
    }

    /// Said once, until there is an answer again.
    fn trouble(&mut self, error: SourceError) {
        if !std::mem::replace(&mut self.troubled, true) {
            self.line(&format!("no news: {:#}; asking again", anyhow::Error::from(error)));
        }
    }

    fn line(&self, text: &str) {
        let text = printable(text);
        match &self.bar {
            Some(bar) => bar.println(&*text),
            None => eprintln!("jobmeter: {text}"),
        }
    }

    fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("[{elapsed_precise}] {bar:24} {pos}/{len} nodes  {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}
