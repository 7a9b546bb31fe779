//! A watch of one ConfigMap. In: its name. Out: its texts whenever they change, that it is not there, or why nothing is known of it.

use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::Api;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, Error};

use crate::runs::definition::texts::{self, Texts};

/// The API server ends a watch after this many seconds; so long a path that died silently goes unnoticed.
const WATCH_SECONDS: u32 = 90;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum News {
    Texts(Texts),
    Missing,
    /// It is tried again. `refused`: by the API server, which would say so again.
    Trouble {
        why: String,
        refused: bool,
    },
}

pub(super) fn watch(client: Client, namespace: &str, name: &str) -> impl Stream<Item = News> + Send + use<> {
    let maps: Api<ConfigMap> = Api::namespaced(client, namespace);
    let one = watcher::Config::default().fields(&format!("metadata.name={name}")).timeout(WATCH_SECONDS);
    let name = format!("the ConfigMap {namespace}/{name}");
    let events = watcher(maps, one).default_backoff();
    // While a list is read: what was in it.
    events
        .scan(None, move |listed: &mut Option<Texts>, event| {
            let news = match event {
                Ok(watcher::Event::Init) => {
                    *listed = None;
                    None
                }
                Ok(watcher::Event::InitApply(map)) => {
                    *listed = Some(texts_of(map));
                    None
                }
                Ok(watcher::Event::InitDone) => Some(listed.take().map_or(News::Missing, News::Texts)),
                Ok(watcher::Event::Apply(map)) => Some(News::Texts(texts_of(map))),
                Ok(watcher::Event::Delete(_)) => Some(News::Missing),
                Err(err) => trouble(&name, &err),
            };
            std::future::ready(Some(news))
        })
        .filter_map(std::future::ready)
}

fn texts_of(map: ConfigMap) -> Texts {
    let text = map.data.unwrap_or_default().into_iter().map(|(name, text)| (name, Ok(text)));
    let binary = map.binary_data.unwrap_or_default().into_iter().map(|(name, bytes)| {
        let text = String::from_utf8(bytes.0).map_err(|err| format!("is no text in UTF-8: {err}"));
        (name, text)
    });
    text.chain(binary).filter(|(name, _)| texts::is_ours(name)).collect()
}

/// A watch that ends, or that began too long ago, is begun again, and no trouble.
fn trouble(name: &str, err: &watcher::Error) -> Option<News> {
    let status = match err {
        watcher::Error::InitialListFailed(Error::Api(status)) | watcher::Error::WatchStartFailed(Error::Api(status)) => {
            Some(status)
        }
        watcher::Error::WatchError(_) | watcher::Error::WatchFailed(_) => {
            tracing::debug!(error = err as &dyn std::error::Error, name, "watch failed");
            return None;
        }
        _ => None,
    };
    let why = match status {
        Some(status) if status.is_forbidden() => {
            format!("{name} may not be watched: allow get, list and watch of it in a Role ({})", status.message)
        }
        _ => format!("failed to watch {name}, trying again: {err}"),
    };
    Some(News::Trouble { why, refused: status.is_some() })
}
