//! Follows a pod's owners to the top, and reports each chain to the world. Owner: one task with a few look-ups at a time.

use std::sync::Arc;

use futures::StreamExt;
use jobmeter_protocol::OwnerRef;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use super::parents::{Parent, ParentError, Parents};
use crate::metrics::Metrics;

/// Deeper than any controller builds; also ends a circle.
const MAX_DEPTH: usize = 8;
/// Look-ups at a time: a burst of pods of a new kind must not become a burst on the API server.
const CONCURRENT: usize = 8;
/// Chains that wait for a look-up. What does not fit is asked for again at the next tick.
pub(crate) const LOOKUPS: usize = 1024;

/// Whose chain is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lookup {
    pub(crate) pod_uid: String,
    pub(crate) namespace: String,
    pub(crate) owner: OwnerRef,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Resolved {
    pub(crate) pod_uid: String,
    /// `None`: it could not be asked; try again later.
    pub(crate) owners: Option<Vec<OwnerRef>>,
}

pub(crate) async fn run(
    parents: Arc<Parents>,
    lookups: mpsc::Receiver<Lookup>,
    resolved: mpsc::Sender<Resolved>,
    metrics: Metrics,
    token: CancellationToken,
) -> anyhow::Result<()> {
    let chains = ReceiverStream::new(lookups).map(|lookup| resolve(&parents, lookup, &metrics)).buffer_unordered(CONCURRENT);
    let mut chains = std::pin::pin!(chains);
    loop {
        // Cancel-safe: at shutdown, what was looked up is not needed any more.
        tokio::select! {
            () = token.cancelled() => return Ok(()),
            chain = chains.next() => {
                let Some(chain) = chain else { break };
                if resolved.send(chain).await.is_err() {
                    break;
                }
            }
        }
    }
    // The world is gone: the process is about to stop.
    token.cancelled().await;
    Ok(())
}

async fn resolve(parents: &Parents, lookup: Lookup, metrics: &Metrics) -> Resolved {
    let owners = match chain(parents, &lookup.namespace, lookup.owner).await {
        Ok((owners, end)) => {
            metrics.owner_lookup(end.as_str());
            Some(owners)
        }
        Err(err) => {
            metrics.owner_lookup("failed");
            tracing::warn!(error = &err as &dyn std::error::Error, "failed to look up an owner");
            None
        }
    };
    Resolved { pod_uid: lookup.pod_uid, owners }
}

/// Why a chain ends where it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Top,
    Forbidden,
    NotFound,
    TooDeep,
}

impl End {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Top => "top",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::TooDeep => "too_deep",
        }
    }
}

/// From `first` to the top, or to where it may be seen.
pub(crate) async fn chain(parents: &Parents, namespace: &str, first: OwnerRef) -> Result<(Vec<OwnerRef>, End), ParentError> {
    let mut chain = vec![first];
    while let Some(last) = chain.last() {
        if chain.len() >= MAX_DEPTH {
            return Ok((chain, End::TooDeep));
        }
        let end = match parents.of(namespace, last).await? {
            Parent::Owner(owner) if chain.iter().any(|known| known.uid == owner.uid) => End::TooDeep,
            Parent::Owner(owner) => {
                chain.push(owner);
                continue;
            }
            Parent::Top => End::Top,
            Parent::Forbidden => End::Forbidden,
            Parent::NotFound => End::NotFound,
        };
        return Ok((chain, end));
    }
    Ok((chain, End::Top))
}
