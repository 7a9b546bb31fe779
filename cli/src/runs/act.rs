//! Starting, cancelling, repeating.

use std::process::ExitCode;

use jobmeter_protocol::runs::{Run, StartRun};

use super::args::{Form, OneArgs, RetryArgs, StartArgs};
use super::{find, print, watch};
use crate::exit::Usage;
use crate::output::printable;
use crate::source::{RunId, Source};

pub(super) async fn start(args: StartArgs) -> anyhow::Result<ExitCode> {
    if args.nodes.iter().any(String::is_empty) {
        return Err(Usage("--nodes: an empty name; write node-a,node-b".to_owned()).into());
    }
    let source = Source::open(&args.source).await?;
    let run = source.start_run(&StartRun { definition: args.name, nodes: args.nodes }).await?;
    began(&source, run, args.watch, args.output).await
}

pub(super) async fn retry(args: RetryArgs) -> anyhow::Result<ExitCode> {
    let source = Source::open(&args.source).await?;
    let run = source.retry_run(&find(&source, &args.run).await?).await?;
    began(&source, run, args.watch, args.output).await
}

pub(super) async fn cancel(args: OneArgs) -> anyhow::Result<ExitCode> {
    let source = Source::open(&args.source).await?;
    let run = source.cancel_run(&find(&source, &args.run).await?).await?;
    let said = format!("run {} of {} is being cancelled", printable(&run.id), printable(&run.definition));
    print(args.output, &run, || vec![said])
}

async fn began(source: &Source, run: Run, watch: bool, form: Form) -> anyhow::Result<ExitCode> {
    let nodes = run.nodes.total;
    let nodes = format!("{nodes} node{}", if nodes == 1 { "" } else { "s" });
    let said = format!("run {} of {} began on {nodes}", printable(&run.id), printable(&run.definition));
    print(form, &run, || vec![said])?;
    match RunId::parse(&run.id) {
        Some(id) if watch => watch::until_over(source, &id).await,
        _ => Ok(ExitCode::SUCCESS),
    }
}
