//! Why logs are not here: a bounded memory for the coordinator's questions.

use std::collections::{BTreeMap, VecDeque};

use jobmeter_protocol::LogId;

const REMEMBERED: usize = 4_096;

#[derive(Debug, Default)]
pub(super) struct Lost {
    why: BTreeMap<LogId, String>,
    oldest_first: VecDeque<LogId>,
}

impl Lost {
    /// Whether it was not known before.
    pub(super) fn add(&mut self, log: LogId, why: String) -> bool {
        let new = self.why.insert(log.clone(), why).is_none();
        if new {
            self.oldest_first.push_back(log);
        }
        if self.oldest_first.len() > REMEMBERED
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.why.remove(&oldest);
        }
        new
    }

    pub(super) fn why(&self, log: &LogId) -> Option<&str> {
        self.why.get(log).map(String::as_str)
    }
}
