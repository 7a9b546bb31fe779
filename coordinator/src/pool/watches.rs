//! Watches what the ledger has to know: pods of pools, nodes, and Jobs where they are what is held back.
//!
//! In: list and watch of the API server. Out: [`Observation`]s in order, a list as one of them, each with when it came. Owner: one
//! task for each resource, for one term. Lists are read from the API server's store and not from a cache (kube's default), so
//! none is older than what was seen before.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;

use futures::StreamExt;
use jobmeter_daemon::admin::{SourceBoard, SourceState};
use jobmeter_decide::gating::Gating;
use jobmeter_decide::pool::{Kind, Member, NodeFacts, Observation};
use jobmeter_protocol::pools::POOL_LABEL;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::Api;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::member::{self, of_job, of_node, of_pod};
use super::requirements::Shared;
use super::task::{Inbox, Seen};
use crate::execute::places::Surroundings;
use crate::metrics::Metrics;

/// The API server ends a watch after this many seconds; so long a path that died silently goes unnoticed.
const WATCH_SECONDS: u32 = 90;

/// The runs watch in the same way, for observations of their own.
#[derive(Clone)]
pub(crate) struct Watching<W = Observation> {
    pub(crate) client: Client,
    pub(crate) inbox: Inbox<W>,
    pub(crate) sources: SourceBoard,
    pub(crate) metrics: Metrics,
}

/// How one kind of object becomes an observation.
pub(crate) trait Translate<K> {
    type What;

    /// A list begins.
    fn begin(&mut self);
    fn listed(&mut self, object: &K);
    fn end(&mut self) -> Self::What;
    fn applied(&mut self, object: &K) -> Option<Self::What>;
    fn gone(&mut self, object: &K) -> Option<Self::What>;
}

pub(super) async fn pods(watching: Watching, gating: Gating) -> anyhow::Result<()> {
    let pods = Members::<Pod> { kind: Kind::Pod, read: read_pod, gating, shared: Shared::default(), listed: Vec::new() };
    let labelled = watcher::Config::default().labels(POOL_LABEL);
    watching.run("pool-pods", Api::all(watching.client.clone()), labelled, pods).await
}

/// All of them: the label may stand on the template alone.
pub(super) async fn jobs(watching: Watching, gating: Gating) -> anyhow::Result<()> {
    let jobs = Members::<Job> { kind: Kind::Job, read: read_job, gating, shared: Shared::default(), listed: Vec::new() };
    watching.run("pool-jobs", Api::all(watching.client.clone()), watcher::Config::default(), jobs).await
}

pub(super) async fn nodes(watching: Watching, surroundings: Arc<Surroundings>) -> anyhow::Result<()> {
    let nodes = Nodes { surroundings, news: NodeNews::default() };
    watching.run("pool-nodes", Api::all(watching.client.clone()), watcher::Config::default(), nodes).await
}

impl<W> Watching<W> {
    pub(crate) async fn run<K>(
        &self,
        name: &'static str,
        objects: Api<K>,
        config: watcher::Config,
        mut translate: impl Translate<K, What = W>,
    ) -> anyhow::Result<()>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
    {
        let events = watcher(objects, config.timeout(WATCH_SECONDS)).default_backoff();
        let mut events = std::pin::pin!(events);
        loop {
            let Some(event) = events.next().await else { anyhow::bail!("the watch {name} ended") };
            let at = Instant::now();
            let news = match event {
                Ok(watcher::Event::Init) => {
                    translate.begin();
                    None
                }
                Ok(watcher::Event::InitApply(object)) => {
                    translate.listed(&object);
                    None
                }
                Ok(watcher::Event::InitDone) => {
                    self.sources.set(name, SourceState::Active);
                    Some(translate.end())
                }
                Ok(watcher::Event::Apply(object)) => translate.applied(&object),
                Ok(watcher::Event::Delete(object)) => translate.gone(&object),
                Err(err) => {
                    self.metrics.watch_error(name);
                    tracing::warn!(watch = name, error = &err as &dyn std::error::Error, "watch failed");
                    self.sources.set(name, SourceState::Failed { error: err.to_string() });
                    None
                }
            };
            let Some(what) = news else { continue };
            if self.inbox.send(Seen { at, what }).await.is_err() {
                // Whoever listened is gone, and with it this task.
                return std::future::pending().await;
            }
        }
    }
}

struct Members<K> {
    kind: Kind,
    read: fn(&K, Gating, &mut Shared) -> Option<Member>,
    gating: Gating,
    shared: Shared,
    listed: Vec<Member>,
}

fn read_pod(pod: &Pod, gating: Gating, shared: &mut Shared) -> Option<Member> {
    let counted = gating == Gating::SchedulingGates || !member::controlled_by_job(&pod.metadata);
    counted.then(|| of_pod(pod, shared)).flatten()
}

fn read_job(job: &Job, _: Gating, shared: &mut Shared) -> Option<Member> {
    (!member::rests(job)).then(|| of_job(job, shared)).flatten()
}

impl<K: Resource<DynamicType = ()>> Members<K> {
    fn member(&mut self, object: &K) -> Option<Member> {
        (self.read)(object, self.gating, &mut self.shared).filter(|member| !member.pool.is_empty())
    }
}

impl<K: Resource<DynamicType = ()>> Translate<K> for Members<K> {
    type What = Observation;

    fn begin(&mut self) {
        self.listed = Vec::new();
    }

    fn listed(&mut self, object: &K) {
        let member = self.member(object);
        self.listed.extend(member);
    }

    fn end(&mut self) -> Observation {
        Observation::Listed { kind: self.kind, members: std::mem::take(&mut self.listed) }
    }

    fn applied(&mut self, object: &K) -> Option<Observation> {
        self.member(object).map(Observation::Applied)
    }

    /// Also said of an object that lost its label and lives on, be it on its way out or not: proof is only that it has ended.
    fn gone(&mut self, object: &K) -> Option<Observation> {
        let uid: Arc<str> = object.meta().uid.as_deref()?.into();
        let proven = self.member(object).is_some_and(|member| member.ended);
        Some(Observation::Gone { uid, proven })
    }
}

struct Nodes {
    surroundings: Arc<Surroundings>,
    news: NodeNews,
}

impl Translate<Node> for Nodes {
    type What = Observation;

    fn begin(&mut self) {
        self.news.begin();
    }

    fn listed(&mut self, node: &Node) {
        self.news.listed(node);
    }

    fn end(&mut self) -> Observation {
        let nodes = self.news.end();
        self.surroundings.nodes_listed(&nodes);
        Observation::NodesListed(nodes)
    }

    fn applied(&mut self, node: &Node) -> Option<Observation> {
        let facts = self.news.applied(node)?;
        self.surroundings.node(&facts);
        Some(Observation::Node(facts))
    }

    fn gone(&mut self, node: &Node) -> Option<Observation> {
        let name = self.news.gone(node)?;
        self.surroundings.node_gone(&name);
        Some(Observation::NodeGone { name })
    }
}

/// A node tells of itself every few minutes, and mostly nothing new.
#[derive(Default)]
pub(crate) struct NodeNews {
    known: HashMap<Arc<str>, NodeFacts>,
    listed: Vec<NodeFacts>,
}

impl NodeNews {
    pub(crate) fn begin(&mut self) {
        self.listed = Vec::new();
    }

    pub(crate) fn listed(&mut self, node: &Node) {
        self.listed.extend(of_node(node));
    }

    pub(crate) fn end(&mut self) -> Vec<NodeFacts> {
        let nodes = std::mem::take(&mut self.listed);
        self.known = nodes.iter().map(|node| (node.name.clone(), node.clone())).collect();
        nodes
    }

    /// `None`: it was known.
    pub(crate) fn applied(&mut self, node: &Node) -> Option<NodeFacts> {
        let facts = of_node(node)?;
        let before = self.known.insert(facts.name.clone(), facts.clone());
        (before.as_ref() != Some(&facts)).then_some(facts)
    }

    pub(crate) fn gone(&mut self, node: &Node) -> Option<Arc<str>> {
        let name: Arc<str> = node.metadata.name.as_deref()?.into();
        self.known.remove(&name);
        Some(name)
    }
}
