//! Members that have ended or are gone, so that an old event does not bring them back. Bounded: the oldest are forgotten, long
//! after the last event of theirs can be on its way.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

/// At 500 ends a second, more than a minute.
const MOST: usize = 32_768;

#[derive(Clone, Debug, Default)]
pub(super) struct Graves {
    uids: BTreeSet<Arc<str>>,
    order: VecDeque<Arc<str>>,
}

impl Graves {
    pub(super) fn bury(&mut self, uid: Arc<str>) {
        if !self.uids.insert(uid.clone()) {
            return;
        }
        self.order.push_back(uid);
        if self.order.len() > MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.uids.remove(&oldest);
        }
    }

    pub(super) fn hold(&self, uid: &str) -> bool {
        self.uids.contains(uid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_graves_are_levelled() {
        let mut graves = Graves::default();
        for uid in 0..=MOST {
            graves.bury(uid.to_string().into());
            graves.bury(uid.to_string().into());
        }
        assert!(!graves.hold("0") && graves.hold("1") && graves.hold(&MOST.to_string()));
        assert_eq!(graves.uids.len(), graves.order.len());
    }
}
