//! Which key a log gets: [`jobmeter_decide::logs::key`] decides, with what the pod and the configuration say.
//!
//! Pure, so that the ledger may ask within a transaction.

use jiff::Timestamp;
use jobmeter_decide::logs::key::{Facts, Template, render};
use jobmeter_protocol::{Compression, ContainerKind};

use crate::config::logs::LogsConfig;
use crate::objects::Objects;
use crate::store::logs::{LogNames, NamedRun};

/// The names of one coordinator's logs.
#[derive(Clone, Debug)]
pub struct Names {
    template: Template,
    benchmark_label: String,
    compression: Compression,
    objects: Objects,
}

impl Names {
    pub fn of(config: &LogsConfig, objects: Objects) -> Self {
        let (template, benchmark_label) = (config.key.clone(), config.benchmark_label.clone());
        Self { template, benchmark_label, compression: config.compression, objects }
    }
}

impl LogNames for Names {
    fn keys(&self, run: &NamedRun<'_>) -> Vec<String> {
        let (identity, times, log) = (&run.record.identity, &run.record.time, run.log);
        let facts = Facts {
            namespace: &log.namespace,
            benchmark: run.labels.get(&self.benchmark_label).map(String::as_str),
            cluster: &identity.cluster,
            job: &identity.job.name,
            pod: &log.pod,
            pod_uid: &log.pod_uid,
            container: &log.container,
            // What nobody told the kind of was told by its node alone, which sees main containers as any others.
            kind: run.kind.unwrap_or(ContainerKind::Main),
            main_containers: run.mains,
            attempt: log.attempt,
            node: identity.node.as_deref(),
            date: times.created.or(times.started).or(times.recorded).unwrap_or(Timestamp::UNIX_EPOCH),
            compression: self.compression,
        };
        let taken = render(&self.template, &facts, true);
        let unique = format!("{}/{}/{}/{taken}", log.pod_uid, log.container, log.attempt);
        vec![render(&self.template, &facts, false), taken, unique]
    }

    fn location(&self, key: &str) -> String {
        self.objects.location(key)
    }
}
