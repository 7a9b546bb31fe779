//! What people and the pools see of the definitions.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jobmeter_protocol::runs::DefinitionStatus;

use super::{Definition, Runs};

impl Runs {
    pub(super) fn status(&self, name: &str, definition: &Definition, now: Timestamp) -> DefinitionStatus {
        let memory = self.memories.get(name);
        let seen_to = memory.and_then(|memory| memory.seen_to).map_or(now, |seen_to| seen_to.max(now));
        let schedule = definition.schedule.as_ref();
        DefinitionStatus {
            name: name.to_owned(),
            source: definition.source.clone(),
            namespace: definition.settings.namespace.clone(),
            pool: definition.settings.pool.clone(),
            schedule: schedule.map(|schedule| schedule.as_str().to_owned()),
            next: schedule.filter(|_| !definition.suspended).and_then(|schedule| self.next_due(name, schedule, seen_to)),
            suspended: definition.suspended,
            last_run: self.book.of_definition(name).next_back().map(|kept| kept.run.id.clone()),
            compatible: definition.settings.compatible,
            report_directory: definition.settings.report_directory.clone(),
            callback_port: definition.settings.callback_port,
            skipped: memory.and_then(|memory| memory.skipped.clone()),
        }
    }

    /// `@every` counts from the last time that was due, not from now.
    fn next_due(&self, name: &str, schedule: &super::Schedule, now: Timestamp) -> Option<Timestamp> {
        let seen_to = self.memories.get(name).and_then(|memory| memory.seen_to).unwrap_or(now);
        schedule.after(schedule.latest(seen_to, now).unwrap_or(seen_to))
    }

    pub(super) fn pools_of_runs(&self) -> BTreeMap<String, u32> {
        let runs = self.book.active_runs().map(|kept| &kept.settings);
        let definitions = self.definitions.values().map(|definition| &definition.settings);
        let sized = |settings: &jobmeter_protocol::runs::RunSettings| Some((settings.pool.clone(), settings.own_pool_size?));
        runs.chain(definitions).filter_map(|settings| sized(settings)).collect()
    }
}
