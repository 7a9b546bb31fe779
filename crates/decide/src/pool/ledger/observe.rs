//! What is seen: lists, events and nodes. Answers to steps are in [`super::apply`].

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::Ledger;
use super::entry::{Standing, start_of};
use crate::pool::{Kind, Member, NodeFacts, Observation, Size};

/// Between looks at a member that no watch sees.
const LOOK_PERIOD: SignedDuration = SignedDuration::from_secs(10);

impl Ledger {
    pub(super) fn take_in(&mut self, observation: Observation, now: Timestamp) {
        match observation {
            Observation::Pools(settings) => {
                self.books.configure(settings, now);
                self.awaited.pools = false;
                self.select_nodes();
            }
            Observation::Listed { kind, members } => self.listed(kind, members, now),
            Observation::Applied(member) => self.seen(&member, now),
            Observation::Gone { uid, proven: true } => self.bury(&uid, now),
            Observation::Gone { uid, proven: false } => self.unwatched(&uid, now),
            Observation::NodesListed(nodes) => {
                self.nodes_listed(nodes);
                self.books.forget_starts(now);
            }
            Observation::Node(node) => {
                if self.node_applied(node) {
                    self.select_nodes();
                }
            }
            Observation::NodeGone { name } => {
                self.node_gone(&name);
                self.select_nodes();
                self.books.forget_starts(now);
            }
            Observation::Answered { uid, what, answer } => self.answered(&uid, what, answer, now),
            Observation::Found { uid, member } => self.found(&uid, member, now),
            Observation::Unseen { uid } => self.unseen(&uid, now),
        }
    }

    fn listed(&mut self, kind: Kind, members: Vec<Member>, now: Timestamp) {
        let listed: BTreeSet<Arc<str>> = members.iter().map(|member| member.uid.clone()).collect();
        for member in members {
            self.seen(&member, now);
            // Only a list says that a label is back; an event may be an old one.
            if self.books.members.get(&member.uid).is_some_and(|entry| entry.unwatched) {
                self.books.edit(&member.uid, |entry| entry.unwatched = false);
            }
        }
        let missing = |(uid, entry): &(&Arc<str>, &super::entry::Entry)| entry.kind == kind && !listed.contains(*uid);
        for uid in self.books.members.iter().filter(missing).map(|(uid, _)| uid.clone()).collect::<Vec<_>>() {
            self.unwatched(&uid, now);
        }
        self.awaited.kinds.remove(&kind);
    }

    /// By a list or an event.
    fn seen(&mut self, member: &Member, now: Timestamp) {
        if self.graves.hold(&member.uid) {
            return;
        }
        if member.ended {
            return self.end(member, now);
        }
        if !self.books.members.contains_key(&member.uid) {
            let mut entry = self.books.shared(member);
            entry.in_flight = self.flights.contains(&member.uid);
            self.books.insert(member.uid.clone(), entry);
            return self.books.bind(&member.uid, member, now);
        }
        self.learn(member, now);
        if self.books.members.get(&member.uid).is_some_and(|entry| entry.unwatched && !entry.shown) {
            self.books.edit(&member.uid, |entry| entry.shown = true);
        }
    }

    /// What an object says, whether by an event or by an answer.
    pub(super) fn learn(&mut self, member: &Member, now: Timestamp) {
        let fresh = self.books.shared(member);
        let was_queued = self.books.members.get(&member.uid).is_some_and(|entry| entry.standing == Standing::Queued);
        self.books.edit(&member.uid, |entry| {
            entry.learn(member);
            if !was_queued {
                return;
            }
            entry.requirements = fresh.requirements.clone();
            // A slot that it had and gave back may still be on it; any other is news.
            let news = fresh.slot.is_some() && fresh.slot != entry.slot;
            if entry.standing == Standing::Queued && news {
                entry.standing = Standing::Inherited;
                entry.slot = fresh.slot.clone();
            }
            entry.home = if news || fresh.slot.is_none() { fresh.home.clone() } else { member.pool.clone() };
        });
        self.books.bind(&member.uid, member, now);
    }

    /// It has ended, by its own words: its start counts, its place is free.
    pub(super) fn end(&mut self, member: &Member, now: Timestamp) {
        let (uid, fresh) = (&member.uid, self.books.shared(member));
        if self.books.members.contains_key(uid) {
            self.books.bind(uid, member, now);
        } else if let Some(node) = member.node.as_ref().filter(|_| member.kind == Kind::Pod) {
            let node = self.books.share_word(node);
            self.books.started(&fresh.home, &node, start_of(member, now), now);
        }
        self.bury(uid, now);
    }

    /// It has ended or is gone.
    pub(super) fn bury(&mut self, uid: &Arc<str>, now: Timestamp) {
        self.graves.bury(uid.clone());
        let Some(entry) = self.books.remove(uid) else { return };
        // It may have been bound and have ended unseen.
        if entry.has_node_limits() && !matches!(entry.standing, Standing::Queued | Standing::Reserved) {
            for node in entry.held() {
                self.books.started(&entry.home, &node.as_str().into(), now, now);
            }
        }
    }

    /// The watch does not show it any more: gone, or without its label. Who has no place needs no proof.
    fn unwatched(&mut self, uid: &Arc<str>, now: Timestamp) {
        let Some(entry) = self.books.members.get(uid) else { return };
        if entry.standing == Standing::Queued {
            self.books.remove(uid);
            return;
        }
        self.books.edit(uid, |entry| {
            entry.unwatched = true;
            entry.shown = false;
            entry.look = Some(now);
        });
    }

    /// It was looked at, and it is still there. Who waits is let go with its label, unless that may be back.
    pub(super) fn look_again(&mut self, uid: &Arc<str>, now: Timestamp) {
        let Some(entry) = self.books.members.get(uid).filter(|entry| entry.unwatched) else { return };
        if entry.standing == Standing::Queued && !entry.shown {
            self.books.remove(uid);
            return;
        }
        self.books.edit(uid, |entry| entry.look = now.checked_add(LOOK_PERIOD).ok());
    }

    fn nodes_listed(&mut self, nodes: Vec<NodeFacts>) {
        let names: BTreeSet<Arc<str>> = nodes.iter().map(|node| node.name.clone()).collect();
        // Only those that were known: a member may be bound to a node that is newer than this list.
        let known = self.cluster.nodes.keys();
        for name in known.filter(|name| !names.contains(*name)).cloned().collect::<Vec<_>>() {
            self.node_gone(&name);
        }
        for node in nodes {
            self.node_applied(node);
        }
        self.awaited.nodes = false;
        self.select_nodes();
    }

    /// Members that were bound to a node of that name run on, if they were not gone.
    fn node_applied(&mut self, node: NodeFacts) -> bool {
        let name = node.name.clone();
        if !self.cluster.apply(node) {
            return false;
        }
        self.mark_lost(&name, false);
        true
    }

    fn node_gone(&mut self, name: &str) {
        self.cluster.remove(name);
        self.mark_lost(name, true);
    }

    fn mark_lost(&mut self, node: &str, lost: bool) {
        let bound = self.books.bound.get(node).cloned().unwrap_or_default();
        for uid in bound {
            if self.books.members.get(&uid).is_some_and(|entry| entry.lost != lost) {
                self.books.edit(&uid, |entry| entry.lost = lost);
            }
        }
    }

    /// Which nodes count for which pool.
    fn select_nodes(&mut self) {
        for (name, pool) in &mut self.books.pools {
            let Some(settings) = &pool.settings else { continue };
            let fitting = self.cluster.nodes.values().filter(|node| settings.nodes.fits(node).is_ok());
            pool.nodes = fitting.map(|node| node.name.clone()).collect();
            for lane in pool.lanes.values_mut() {
                lane.survey = None;
            }
            if pool.limits().any() || matches!(settings.size, Size::Percent(_)) {
                self.books.changed.insert(name.clone());
            }
        }
    }
}
