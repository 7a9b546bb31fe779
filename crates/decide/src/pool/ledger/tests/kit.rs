//! A ledger with a pool `gpu`, and short words for what happens to it.

use std::time::Duration;

use jobmeter_protocol::PoolDetail;

use super::super::*;
use crate::pool::{Answer, Member, NodeFacts, Order, PoolSettings, PoolSlot, Requirements, Size, Step, Write};

pub(super) struct Rig {
    pub(super) ledger: Ledger,
    pub(super) now: Timestamp,
    pub(super) settings: PoolSettings,
}

pub(super) fn pod(name: &str) -> Member {
    Member {
        uid: name.into(),
        kind: Kind::Pod,
        namespace: "default".into(),
        name: name.into(),
        pool: "gpu".into(),
        priority: 0,
        created: Timestamp::UNIX_EPOCH,
        slots: 1,
        gated: true,
        slot: None,
        node: None,
        scheduled: None,
        unschedulable: None,
        of_run: false,
        ended: false,
        deleting: false,
        requirements: Arc::default(),
    }
}

pub(super) fn ungated(name: &str) -> Member {
    Member { gated: false, ..pod(name) }
}

pub(super) fn on(name: &str, node: &str) -> Member {
    Member { node: Some(node.into()), ..ungated(name) }
}

pub(super) fn node(name: &str) -> NodeFacts {
    let labels = [("kubernetes.io/hostname".to_owned(), name.to_owned())].into();
    NodeFacts { name: name.into(), labels, taints: Vec::new(), ready: true, unschedulable: false }
}

/// Of the leader before.
pub(super) fn old_slot() -> PoolSlot {
    PoolSlot { pool: "gpu".to_owned(), epoch: 1, given: Timestamp::UNIX_EPOCH, nodes: Vec::new() }
}

impl Rig {
    /// Everything is listed.
    pub(super) fn new(settings: impl FnOnce(&mut PoolSettings), members: Vec<Member>) -> Self {
        let mut rig = Self::unlisted(settings);
        rig.see(Observation::Listed { kind: Kind::Pod, members });
        rig.see(Observation::NodesListed(Vec::new()));
        rig
    }

    pub(super) fn unlisted(change: impl FnOnce(&mut PoolSettings)) -> Self {
        let mut settings = PoolSettings {
            name: "gpu".to_owned(),
            size: Size::Places(1),
            per_node: None,
            start_rate: None,
            order: Order::Fifo,
            nodes: Requirements::default(),
        };
        change(&mut settings);
        let now = Timestamp::from_second(1_000).unwrap();
        let mut rig = Self { ledger: Ledger::new(2, &[Kind::Pod]), now, settings };
        rig.configure(|_| {});
        rig
    }

    pub(super) fn configure(&mut self, change: impl FnOnce(&mut PoolSettings)) {
        change(&mut self.settings);
        self.see(Observation::Pools(vec![self.settings.clone()]));
    }

    pub(super) fn see(&mut self, observation: Observation) {
        self.ledger.observe(observation, self.now);
    }

    pub(super) fn apply(&mut self, member: Member) {
        self.see(Observation::Applied(member));
    }

    pub(super) fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }

    pub(super) fn answer(&mut self, uid: &str, what: Write, answer: Answer) {
        self.see(Observation::Answered { uid: uid.into(), what, answer });
    }

    pub(super) fn found(&mut self, uid: &str, member: Option<Member>) {
        self.see(Observation::Found { uid: uid.into(), member });
    }

    /// `reserve a`, `release a`, `look a`.
    pub(super) fn plan(&mut self) -> Vec<String> {
        self.steps().into_iter().map(|(words, _)| words).collect()
    }

    pub(super) fn steps(&mut self) -> Vec<(String, Option<PoolSlot>)> {
        let words = |step| match step {
            Step::Reserve { target, slot } => (format!("reserve {}", target.uid), Some(slot)),
            Step::Release { target, slot } => (format!("release {}", target.uid), Some(slot)),
            Step::Look { target } => (format!("look {}", target.uid), None),
        };
        self.ledger.plan(self.now).into_iter().map(words).collect()
    }

    /// Everything that is planned is done, until nothing is left to do.
    pub(super) fn go(&mut self, members: &[Member]) -> Vec<String> {
        let mut all = Vec::new();
        loop {
            let steps = self.steps();
            if steps.is_empty() {
                return all;
            }
            for (words, slot) in steps {
                let (what, uid) = words.split_once(' ').unwrap();
                let member = members.iter().find(|member| *member.uid == *uid).unwrap().clone();
                let (what, gated) = if what == "reserve" { (Write::Reserve, true) } else { (Write::Release, false) };
                self.answer(uid, what, Answer::Done(Box::new(Member { slot, gated, ..member })));
                all.push(words);
            }
        }
    }

    pub(super) fn detail(&self) -> PoolDetail {
        self.ledger.pool("gpu", 100, self.now).unwrap()
    }

    pub(super) fn used(&self) -> u32 {
        self.detail().pool.used
    }

    /// `a pool_full`.
    pub(super) fn waiting(&self) -> Vec<String> {
        self.detail().waiting.iter().map(|wait| format!("{} {}", wait.name, wait.reason)).collect()
    }

    /// `a reserved`.
    pub(super) fn members(&self) -> Vec<String> {
        self.detail().members.iter().map(|member| format!("{} {}", member.name, member.state)).collect()
    }
}

pub(super) fn unknown() -> Answer {
    Answer::Unknown { why: "timed out".to_owned() }
}

pub(super) fn refused() -> Answer {
    Answer::Refused { why: "forbidden".to_owned() }
}
