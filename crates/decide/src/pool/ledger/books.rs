//! All members and pools. Every change of a member goes through [`Books::edit`], which keeps the tallies and the queues right.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::entry::{Entry, start_of};
use super::queue::Pool;
use crate::pool::{Kind, Member, PoolSettings, Requirements};

#[derive(Clone, Debug, Default)]
pub(super) struct Books {
    pub(super) members: BTreeMap<Arc<str>, Entry>,
    pub(super) pools: BTreeMap<Arc<str>, Pool>,
    /// Members by the node they are bound to.
    pub(super) bound: BTreeMap<Arc<str>, BTreeSet<Arc<str>>>,
    /// Pools for which something may have become possible.
    pub(super) changed: BTreeSet<Arc<str>>,
    looks: BTreeSet<(Timestamp, Arc<str>)>,
    rests: BTreeSet<(Timestamp, Arc<str>)>,
    known: Known,
    /// Starts in pools that were taken away, until nobody could count them any more, should the pool come back.
    retired: BTreeMap<Arc<str>, Pool>,
    /// The pools were told once. Before that every start is kept.
    configured: bool,
}

/// Equal things are kept once.
#[derive(Clone, Debug, Default)]
struct Known {
    words: BTreeSet<Arc<str>>,
    requirements: BTreeSet<Arc<Requirements>>,
    /// How many there may be before those that nobody needs are let go.
    most: usize,
}

impl Books {
    pub(super) fn insert(&mut self, uid: Arc<str>, entry: Entry) {
        self.index(&uid, &entry);
        self.members.insert(uid, entry);
    }

    /// Does nothing for one that is not known.
    pub(super) fn edit(&mut self, uid: &Arc<str>, change: impl FnOnce(&mut Entry)) {
        let Some(mut entry) = self.members.remove(uid) else { return };
        self.unindex(uid, &entry);
        change(&mut entry);
        self.insert(uid.clone(), entry);
    }

    pub(super) fn remove(&mut self, uid: &Arc<str>) -> Option<Entry> {
        let entry = self.members.remove(uid)?;
        self.unindex(uid, &entry);
        Some(entry)
    }

    /// Once bound, it stays so.
    pub(super) fn bind(&mut self, uid: &Arc<str>, member: &Member, now: Timestamp) {
        let Some(node) = &member.node else { return };
        if self.members.get(uid).is_none_or(|entry| entry.node.is_some()) {
            return;
        }
        let (node, at) = (self.known.word(node), start_of(member, now));
        self.edit(uid, |entry| {
            entry.node = Some(node.clone());
            entry.started = Some(at);
        });
        if member.kind == Kind::Pod
            && let Some(home) = self.members.get(uid).map(|entry| entry.home.clone())
        {
            self.started(&home, &node, at, now);
        }
    }

    pub(super) fn started(&mut self, home: &Arc<str>, node: &Arc<str>, at: Timestamp, now: Timestamp) {
        if let Some(retired) = self.retired.get_mut(home) {
            retired.started(node, at, now);
        }
        // What has ended is no member, and makes no pool that nobody configured.
        let pool = match self.configured {
            false => self.pools.entry(home.clone()).or_default(),
            true => match self.pools.get_mut(home) {
                Some(pool) if pool.limits().start_rate.is_some() => pool,
                _ => return,
            },
        };
        pool.started(node, at, now);
        self.changed.insert(home.clone());
    }

    /// Of nodes that are gone nobody else would.
    pub(super) fn forget_starts(&mut self, now: Timestamp) {
        self.pools.values_mut().filter(|pool| pool.settings.is_some()).for_each(|pool| pool.forget_starts(now));
    }

    pub(super) fn next_look(&self, now: Timestamp) -> Option<Arc<str>> {
        self.looks.first().filter(|(at, _)| *at <= now).map(|(_, uid)| uid.clone())
    }

    pub(super) fn next_rested(&self, now: Timestamp) -> Option<Arc<str>> {
        self.rests.first().filter(|(at, _)| *at <= now).map(|(_, uid)| uid.clone())
    }

    pub(super) fn next_due(&self) -> Option<Timestamp> {
        [self.looks.first(), self.rests.first()].into_iter().flatten().map(|(at, _)| *at).min()
    }

    /// Everything is counted anew, by new rules.
    pub(super) fn configure(&mut self, settings: Vec<PoolSettings>, now: Timestamp) {
        let mut before = std::mem::take(&mut self.pools);
        for settings in settings {
            let name = self.known.word(&settings.name.as_str().into());
            self.pools.insert(name, Pool { settings: Some(settings), ..Pool::default() });
        }
        for (uid, entry) in &self.members {
            let pool = self.pools.entry(entry.home.clone()).or_default();
            pool.add(uid, entry);
        }
        for (name, pool) in &mut self.pools {
            let members = self.members.values().filter(|member| member.home == *name);
            recount_starts(pool, before.remove(name).unwrap_or_default(), !self.configured, members, now);
            if pool.settings.is_some()
                && let Some(retired) = self.retired.remove(name)
            {
                // A start that is counted twice, because its member is still there, only makes the next one wait.
                recount_starts(pool, retired, true, std::iter::empty(), now);
            }
        }
        let rated = before.into_iter().filter(|(_, pool)| pool.limits().start_rate.is_some());
        self.retired
            .extend(rated.map(|(name, Pool { settings, loads, .. })| (name, Pool { settings, loads, ..Pool::default() })));
        self.retired.retain(|_, pool| {
            let rate = pool.limits().start_rate;
            pool.loads.retain(|_, load| {
                load.forget_before(now, rate);
                !load.is_empty()
            });
            !pool.loads.is_empty()
        });
        self.configured = true;
        self.changed = self.pools.keys().cloned().collect();
    }

    /// The member with what is equal to others' shared with them.
    pub(super) fn shared(&mut self, member: &Member) -> Entry {
        let mut entry = Entry::new(member);
        entry.namespace = self.known.word(&entry.namespace);
        entry.requirements = self.known.requirements(&entry.requirements);
        let home = entry.slot.as_ref().map(|slot| Arc::from(slot.pool.as_str()));
        let home = home.filter(|home: &Arc<str>| self.pools.get(home).is_some_and(|pool| pool.settings.is_some()));
        entry.home = self.known.word(&home.unwrap_or_else(|| member.pool.clone()));
        entry
    }

    pub(super) fn share_word(&mut self, word: &Arc<str>) -> Arc<str> {
        self.known.word(word)
    }

    fn index(&mut self, uid: &Arc<str>, entry: &Entry) {
        self.pools.entry(entry.home.clone()).or_default().add(uid, entry);
        self.changed.insert(entry.home.clone());
        if let Some(node) = &entry.node {
            self.bound.entry(node.clone()).or_default().insert(uid.clone());
        }
        if let Some(look) = entry.look.filter(|_| !entry.in_flight) {
            self.looks.insert((look, uid.clone()));
        }
        if let Some(retry) = entry.retry.as_ref().filter(|retry| retry.resting) {
            self.rests.insert((retry.until, uid.clone()));
        }
    }

    fn unindex(&mut self, uid: &Arc<str>, entry: &Entry) {
        if let Some(pool) = self.pools.get_mut(&entry.home) {
            pool.subtract(uid, entry);
            if pool.is_idle() {
                self.pools.remove(&entry.home);
            }
        }
        self.changed.insert(entry.home.clone());
        if let Some(node) = &entry.node
            && let Some(bound) = self.bound.get_mut(node)
        {
            bound.remove(uid);
            if bound.is_empty() {
                self.bound.remove(node);
            }
        }
        if let Some(look) = entry.look {
            self.looks.remove(&(look, uid.clone()));
        }
        if let Some(retry) = &entry.retry {
            self.rests.remove(&(retry.until, uid.clone()));
        }
    }
}

/// Starts that were counted as far back as they go, and before that those of members that are still there.
fn recount_starts<'a>(pool: &mut Pool, before: Pool, complete: bool, members: impl Iterator<Item = &'a Entry>, now: Timestamp) {
    if pool.limits().start_rate.is_none() {
        return;
    }
    let since = match before.limits().start_rate {
        _ if complete => Timestamp::MIN,
        Some(old) => now.checked_sub(old.within).unwrap_or(Timestamp::MIN),
        None => Timestamp::MAX,
    };
    let counted = before.loads.into_iter().flat_map(|(node, load)| load.starts.into_iter().map(move |at| (node.clone(), at)));
    let members = members.filter(|member| member.has_node_limits());
    let remembered = members.filter_map(|member| Some((member.node.clone()?, member.started?)));
    for (node, at) in counted.filter(|(_, at)| *at > since).chain(remembered.filter(|(_, at)| *at <= since)) {
        pool.loads.entry(node).or_default().started(at);
    }
    pool.forget_starts(now);
}

impl Known {
    fn word(&mut self, word: &Arc<str>) -> Arc<str> {
        if let Some(known) = self.words.get(word) {
            return known.clone();
        }
        self.tidy();
        self.words.insert(word.clone());
        word.clone()
    }

    fn requirements(&mut self, requirements: &Arc<Requirements>) -> Arc<Requirements> {
        if let Some(known) = self.requirements.get(requirements) {
            return known.clone();
        }
        self.tidy();
        self.requirements.insert(requirements.clone());
        requirements.clone()
    }

    fn tidy(&mut self) {
        if self.words.len() + self.requirements.len() >= self.most {
            self.words.retain(|word| Arc::strong_count(word) > 1);
            self.requirements.retain(|requirements| Arc::strong_count(requirements) > 1);
            self.most = (2 * (self.words.len() + self.requirements.len())).max(1024);
        }
    }
}
