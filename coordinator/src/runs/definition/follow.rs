//! Reads the definitions again whenever a file or a ConfigMap changes. In: a directory, looked at every two seconds; a watch of each
//! ConfigMap. Out: readings, and a line at `/status`. Owner: one task for a term.
//!
//! What is wrong changes nothing but itself: definitions that were good before stay as they were until they are good again, or gone.

use std::path::PathBuf;
use std::time::Duration;

use futures::stream::{SelectAll, StreamExt};
use jobmeter_daemon::admin::SourceBoard;
use kube::Client;
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior};

use super::directory::Directory;
use super::{Defaults, Read, Sources};
use config_map::News;
use held::Held;

mod config_map;
mod held;

/// How often the directory is looked at.
const LOOK: Duration = Duration::from_secs(2);
/// On the board of sources.
const SOURCE: &str = "runs";

pub struct Following {
    pub client: Client,
    pub sources: Sources,
    pub defaults: Defaults,
    pub board: SourceBoard,
}

impl Following {
    /// Sends the first reading as soon as each source was looked at, and then each new one. Ends only when nobody listens any more, or
    /// with an error.
    pub async fn run(self, readings: mpsc::Sender<Read>) -> anyhow::Result<()> {
        let mut held = Held::new(self.defaults);
        let mut directory = self.sources.directory.map(|path| Looking::new(path, &mut held));
        let mut watches = SelectAll::new();
        for (namespace, name) in self.sources.config_maps {
            let source = held.add(format!("ConfigMap {namespace}/{name}"));
            let news = config_map::watch(self.client.clone(), &namespace, &name);
            watches.push(news.map(move |news| (source, Some(news))).chain(ended(source)).boxed());
        }
        loop {
            if let Some(read) = held.reading(&self.board)
                && readings.send(read).await.is_err()
            {
                return Ok(());
            }
            // Each is cancel-safe: ticks and watches keep what they have.
            tokio::select! {
                () = readings.closed() => return Ok(()),
                () = look(&mut directory, &mut held) => {}
                Some((source, news)) = watches.next(), if !watches.is_empty() => match news {
                    Some(News::Texts(texts)) => held.texts(source, &texts),
                    Some(News::Missing) => held.missing(source),
                    Some(News::Trouble { why, refused }) => held.trouble(source, why, refused),
                    None => anyhow::bail!("the watch of {} ended", held.name(source)),
                },
            }
        }
    }
}

/// The directory, and when to look at it.
struct Looking {
    directory: Directory,
    source: usize,
    ticks: Interval,
}

impl Looking {
    fn new(path: PathBuf, held: &mut Held) -> Self {
        let mut ticks = tokio::time::interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let source = held.add(path.to_string_lossy().into_owned());
        Self { directory: Directory::new(path), source, ticks }
    }
}

async fn look(looking: &mut Option<Looking>, held: &mut Held) {
    let Some(looking) = looking else { return std::future::pending().await };
    looking.ticks.tick().await;
    match looking.directory.look() {
        None => {}
        Some(Ok(texts)) => held.texts(looking.source, &texts),
        Some(Err(why)) => held.trouble(looking.source, why, true),
    }
}

/// A watch never ends; if it does, it is to be noticed.
fn ended(source: usize) -> impl futures::Stream<Item = (usize, Option<News>)> {
    futures::stream::iter([(source, None)])
}

#[cfg(test)]
mod tests;
