//! From a trigger to a run: overlap, the choice of nodes, and the run with its nodes and the names of their pods.

use jiff::Timestamp;
use jobmeter_protocol::runs::{
    DefinitionMemory, NodeRun, NodeRunState, Overlap, Run, RunCounts, RunSettings, RunState, SkippedTrigger, Trigger,
};

use super::ending::Stop;
use super::kept::{Kept, Scope};
use super::naming::{PodNames, run_id};
use super::nodes::Usable;
use super::{Command, Refusal, Runs};

/// Which nodes a run is for.
pub(super) enum Wanted {
    All,
    /// Each must be there.
    Named(Vec<String>),
    /// Those of them that are there.
    Again(Vec<String>),
}

impl Runs {
    /// The run's ID.
    pub(super) fn obey(&mut self, command: Command, now: Timestamp) -> Result<String, Refusal> {
        match command {
            Command::Start(start) if start.nodes.is_empty() => self.begin(&start.definition, Trigger::Manual, Wanted::All, now),
            Command::Start(start) => self.begin(&start.definition, Trigger::Manual, Wanted::Named(start.nodes), now),
            Command::Cancel { run } => {
                let kept = self.book.get(&run).ok_or_else(|| Refusal::NoSuchRun { run: run.clone() })?;
                let state = kept.run.state;
                if state.is_over() {
                    return Err(Refusal::Over { run, state: state.as_str() });
                }
                self.stop(&run, Stop::Cancel, "it was cancelled", now);
                Ok(run)
            }
            Command::Retry { run } => {
                let kept = self.book.get(&run).ok_or_else(|| Refusal::NoSuchRun { run: run.clone() })?;
                if kept.is_active() {
                    return Err(Refusal::NotOver { run });
                }
                let unsuccessful = |node: &&NodeRun| matches!(node.state, NodeRunState::Failed | NodeRunState::Cancelled);
                let nodes: Vec<_> = kept.nodes().values().filter(unsuccessful).map(|node| node.node.clone()).collect();
                if nodes.is_empty() {
                    return Err(Refusal::NothingToRetry { run });
                }
                let definition = kept.run.definition.clone();
                self.begin(&definition, Trigger::Retry { of: run }, Wanted::Again(nodes), now)
            }
        }
    }

    /// Nobody waits for an answer; why there is no run is remembered.
    pub(super) fn pull(&mut self, definition: &str, trigger: Trigger, wanted: Wanted, now: Timestamp) {
        if let Err(refusal) = self.begin(definition, trigger, wanted, now) {
            self.remember(definition, |memory| memory.skipped = Some(SkippedTrigger { at: now, why: refusal.to_string() }));
        }
    }

    pub(super) fn remember(&mut self, definition: &str, change: impl FnOnce(&mut DefinitionMemory)) {
        let new = || DefinitionMemory { definition: definition.to_owned(), ..DefinitionMemory::default() };
        let memory = self.memories.entry(definition.to_owned()).or_insert_with(new);
        let before = memory.clone();
        change(memory);
        if *memory != before {
            self.memories_changed.insert(definition.to_owned());
        }
    }

    fn begin(&mut self, name: &str, trigger: Trigger, wanted: Wanted, now: Timestamp) -> Result<String, Refusal> {
        let Some(settings) = self.definitions.get(name).map(|definition| definition.settings.clone()) else {
            let known: Vec<_> = self.definitions.keys().map(String::as_str).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return Err(Refusal::NoSuchDefinition { name: name.to_owned(), known });
        };
        let active = self.book.active_of(name);
        if let (Overlap::Forbid, Some(run)) = (settings.overlap, active.last()) {
            return Err(Refusal::Overlaps { definition: name.to_owned(), run: run.clone() });
        }
        let nodes = self.choose(&settings, &wanted)?;
        let id = run_id(now, |id| self.book.get(id).is_some());
        if settings.overlap == Overlap::Replace {
            for run in active {
                self.stop(&run, Stop::Cancel, &format!("run {id} takes its place"), now);
            }
        }
        let scope = match (&trigger, &wanted) {
            (Trigger::NewNodes, _) => Scope::Fresh,
            (_, Wanted::All) => Scope::All,
            _ => Scope::None,
        };
        let run = Run {
            id: id.clone(),
            definition: name.to_owned(),
            namespace: settings.namespace.clone(),
            trigger,
            state: RunState::Running,
            why: None,
            created: now,
            finished: None,
            pool: settings.pool.clone(),
            stopping: false,
            nodes: RunCounts::default(),
        };
        let mut names = PodNames::default();
        names.expect(name, &id, settings.retries, nodes.iter().filter(|(_, why)| why.is_none()).map(|(node, _)| node.as_str()));
        // Pods of earlier runs stayed to be looked at until now.
        let earlier: Vec<_> = self.book.of_definition(name).map(|kept| kept.run.id.clone()).collect();
        self.look.pods.extend(earlier.iter().flat_map(|run| self.pods.of_run(run)).cloned());
        self.book.put(Kept::new(run, settings, names, scope));
        for (node, why) in nodes {
            self.add(&id, &node, why, now);
        }
        self.look.history.insert(name.to_owned());
        self.look.newcomers = true;
        Ok(id)
    }

    /// A node that is new to the run; with why it is skipped, if it is.
    pub(super) fn add(&mut self, run: &str, node: &str, skipped: Option<String>, now: Timestamp) {
        self.book.change(run, |kept| {
            let settings = kept.settings.clone();
            let mut node = new_node(node);
            match skipped {
                Some(why) => (node.state, node.why) = (NodeRunState::Skipped, Some(why)),
                None => node.pod = kept.names.take(&settings.name, &kept.run.id, settings.retries, &node.node),
            }
            kept.put(node);
        });
        self.follow(run, node, now);
        if let Some(fresh) = self.book.get(run).and_then(|kept| self.fresh.get_mut(&kept.run.definition)) {
            fresh.remove(node);
        }
    }

    /// In the order of names; with why it is skipped, if it is. One at least is not.
    fn choose(&self, settings: &RunSettings, wanted: &Wanted) -> Result<Vec<(String, Option<String>)>, Refusal> {
        let definition = || settings.name.clone();
        let why = |usable: Usable| usable.obstacle().map(|(why, _)| why.to_owned());
        let mut chosen: Vec<_> = match wanted {
            Wanted::All => self.nodes.selected(settings).map(|(node, usable)| (node.to_string(), why(usable))).collect(),
            Wanted::Again(nodes) => {
                let judged = |node: &String| match self.nodes.usable(node, settings) {
                    Some(usable) => (node.clone(), why(usable)),
                    None => (node.clone(), Some(format!("node {node} is gone"))),
                };
                nodes.iter().map(judged).collect()
            }
            Wanted::Named(nodes) => {
                let judged = |node: &String| match self.nodes.usable(node, settings) {
                    Some(usable @ (Usable::Yes | Usable::No { .. })) => Ok((node.clone(), why(usable))),
                    other => {
                        let why = other.and_then(why).unwrap_or_else(|| "the cluster has no such node".to_owned());
                        Err(Refusal::NotItsNode { definition: definition(), node: node.clone(), why })
                    }
                };
                nodes.iter().map(judged).collect::<Result<_, _>>()?
            }
        };
        chosen.sort();
        chosen.dedup();
        if chosen.iter().any(|(_, why)| why.is_none()) {
            return Ok(chosen);
        }
        let why = match chosen.first() {
            None => "no node has the labels that its node selector asks for".to_owned(),
            Some((node, why)) => format!("{}: {node}: {}", chosen.len(), why.as_deref().unwrap_or_default()),
        };
        Err(Refusal::NoNodes { definition: definition(), why })
    }
}

fn new_node(name: &str) -> NodeRun {
    NodeRun {
        node: name.to_owned(),
        state: NodeRunState::Waiting,
        why: None,
        attempt: 0,
        pod: String::new(),
        pod_uid: None,
        created: None,
        admitted: None,
        started: None,
        finished: None,
        exit_code: None,
        reason: None,
        reported: None,
        files: 0,
        file_bytes: 0,
        events: 0,
        retry_at: None,
    }
}
