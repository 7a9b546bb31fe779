//! One definition as people write it: batch-job-controller's keys and ours. In: a document. Out: a [`Definition`], or problems.

use std::sync::Arc;

use jiff::SignedDuration;
use jobmeter_decide::runs::{Definition, Schedule};
use jobmeter_protocol::runs::{OWN_POOL_PREFIX, Overlap, Placement, RunSettings};

use super::section::{Report, Section, Unknown};
use super::template::{self, Fields};
use super::values::{
    at_least_one, boolean, dns_label, duration, duration_or_nanoseconds, labels, limit, number, port, references,
};
use super::yaml::{Node, Value};
use super::{Defaults, mapping, metrics, values};
use crate::config::pools;

/// Around the document.
pub(super) struct Around<'a> {
    /// For people.
    pub(super) source: &'a str,
    /// Of batch-job-controller's pair: the template's own file, and what is in it.
    pub(super) pod_template: Option<(&'a str, &'a str)>,
    pub(super) defaults: &'a Defaults,
}

const HISTORY: u32 = 10;
/// batch-job-controller's.
const STARTUP_DELAY: SignedDuration = SignedDuration::from_secs(10);
const RETRY_DELAY: SignedDuration = SignedDuration::from_secs(10);
const START_DEADLINE: SignedDuration = SignedDuration::from_mins(15);

/// Read in good faith: here something else decides.
const WITHOUT_EFFECT: [(&str, &str); 3] = [
    ("leaderElectionResourceLock", "coordinators choose their leader by a Lease"),
    ("healthProbePort", "`runs.ports.health` of the coordinator's configuration says it"),
    ("custom", "nothing of Jobmeter reads it"),
];

/// `None`: something is wrong with it, and told.
pub(super) fn read(document: Node, around: &Around<'_>, report: &mut Report) -> Option<Definition> {
    let problems = report.problems.len();
    let unknown = if around.pod_template.is_some() { Unknown::Warning } else { Unknown::Problem };
    let mut section = Section::new(document, "", unknown, report);
    let definition = Form { section: &mut section, around, unknown, report }.definition();
    section.finish(report);
    (report.problems.len() == problems).then_some(definition)
}

struct Form<'a> {
    section: &'a mut Section,
    around: &'a Around<'a>,
    unknown: Unknown,
    report: &'a mut Report,
}

impl Form<'_> {
    fn definition(&mut self) -> Definition {
        let pair = self.around.pod_template.is_some();
        for (key, why) in WITHOUT_EFFECT {
            if let Some((place, _)) = self.section.take_written(key) {
                self.report.warning(place, key, format_args!("has no effect: {why}"));
            }
        }
        let name = self.name();
        let namespace = self.namespace();
        let (pool, own_pool_size) = self.pool(&name);
        let at = self.section.place;
        let mut metrics = metrics::read(self.section.take("metrics"), at, &name, self.unknown, self.report);
        metrics.latest = self.flag("latestMetricsLabel", false);
        let gauges = !metrics.gauges.is_empty();
        let settings = RunSettings {
            pool,
            own_pool_size,
            placement: self.word("placement", &[("scheduler", Placement::Scheduler), ("nodeName", Placement::NodeName)]),
            node_selector: self.section.read("jobNodeSelector", self.report, labels).unwrap_or_default(),
            unschedulable_nodes: self.flag("runOnUnscheduledNodes", false),
            pod_template: self.pod_template(&namespace),
            service_account: self.section.read("jobServiceAccount", self.report, values::text).unwrap_or_default(),
            image_pull_secrets: self.image_pull_secrets(),
            retries: self.section.read("retries", self.report, number).unwrap_or(0),
            retry_delay: self.section.read("retryDelay", self.report, duration).unwrap_or(RETRY_DELAY),
            start_deadline: self.start_deadline(),
            node_deadline: self.section.read("nodeDeadline", self.report, limit).flatten(),
            run_deadline: self.section.read("runDeadline", self.report, limit).flatten(),
            canary: self.section.read("canary", self.report, number).unwrap_or(0),
            max_failures: self.section.read("maxFailures", self.report, at_least_one),
            new_nodes: self.flag("newNodes", false),
            overlap: self
                .word("overlap", &[("forbid", Overlap::Forbid), ("replace", Overlap::Replace), ("allow", Overlap::Allow)]),
            catch_up: self.section.read("catchUp", self.report, limit).flatten(),
            history: self.history(),
            result_required: self.flag("resultRequired", pair || gauges),
            compatible: self.flag("compatible", pair),
            save_pod_log: self.flag("savePodLog", false),
            report_directory: self.report_directory(),
            metrics,
            callback_service: self.callback_service(),
            callback_port: self.section.read("callbackServicePort", self.report, port).flatten(),
            name,
            namespace,
        };
        let run_on_start = self.flag("runOnStartup", false);
        let delay = self.startup_delay();
        Definition {
            settings: Arc::new(settings),
            source: self.around.source.to_owned(),
            schedule: self.schedule(),
            suspended: self.flag("suspend", false),
            run_on_start: run_on_start.then_some(delay),
        }
    }

    fn problem(&mut self, key: &str, why: impl std::fmt::Display) {
        self.report.problem(self.section.place, key, why);
    }

    fn flag(&mut self, key: &'static str, default: bool) -> bool {
        self.section.read(key, self.report, boolean).unwrap_or(default)
    }

    fn word<T: Copy + Default>(&mut self, key: &'static str, words: &[(&str, T)]) -> T {
        self.section.read(key, self.report, |node| values::word(node, words)).unwrap_or_default()
    }

    fn name(&mut self) -> String {
        let Some(node) = self.section.take("name") else {
            self.problem("name", "is missing");
            return String::new();
        };
        values::name(&node).unwrap_or_else(|why| {
            self.report.problem(node.place, "name", why);
            String::new()
        })
    }

    fn namespace(&mut self) -> String {
        let written = self.section.take("namespace");
        let Some(node) = written else {
            let default = self.around.defaults.namespace.clone();
            if default.is_empty() {
                self.problem("namespace", "is missing, and the coordinator's configuration has no `runs.namespace`");
            }
            return default;
        };
        dns_label(&node).unwrap_or_else(|why| {
            self.report.problem(node.place, "namespace", why);
            String::new()
        })
    }

    /// One of the pools file, or one of its own and that one's size.
    fn pool(&mut self, name: &str) -> (String, Option<u32>) {
        let size = self.section.take_written("podPoolSize");
        if let Some(node) = self.section.take("pool") {
            if let Some((place, _)) = size {
                let why = "has no effect: `pool` names a pool, whose size is written in the pools file";
                match self.unknown {
                    Unknown::Warning => self.report.warning(place, "podPoolSize", why),
                    Unknown::Problem => self.report.problem(place, "podPoolSize", why),
                }
            }
            let pool = values::text(&node).and_then(|pool| pools::label_value(&pool).map(|()| pool)).and_then(|pool| {
                let own = pool.starts_with(OWN_POOL_PREFIX);
                if own { Err(format!("`{pool}` begins like the pool of a single definition")) } else { Ok(pool) }
            });
            let pool = pool.map_err(|why| self.report.problem(node.place, "pool", why)).unwrap_or_default();
            return (pool, None);
        }
        let wait = "batch-job-controller waits for ever then; write how many pods may run at once, or name a `pool`";
        let size = match size.filter(|(_, node)| !matches!(node.value, Value::Null)) {
            None => {
                self.problem("podPoolSize", format_args!("is missing: {wait}"));
                None
            }
            Some((_, node)) => match number(&node) {
                Ok(0) => {
                    self.report.problem(node.place, "podPoolSize", format_args!("is 0: {wait}"));
                    None
                }
                Ok(size) => Some(size),
                Err(why) => {
                    self.report.problem(node.place, "podPoolSize", why);
                    None
                }
            },
        };
        (format!("{OWN_POOL_PREFIX}{name}"), size)
    }

    fn history(&mut self) -> u32 {
        let history = self.section.read("reportHistory", self.report, |node| match number(node)? {
            0 => Err("is 0, which keeps not even the current run; 1 is the least".to_owned()),
            history => Ok(history),
        });
        history.unwrap_or(HISTORY)
    }

    /// Null is none, absent is not.
    fn start_deadline(&mut self) -> Option<SignedDuration> {
        match self.section.take_written("startDeadline") {
            None => Some(START_DEADLINE),
            Some((_, Node { value: Value::Null, .. })) => None,
            Some((_, node)) => limit(&node).map_err(|why| self.report.problem(node.place, "startDeadline", why)).ok().flatten(),
        }
    }

    fn startup_delay(&mut self) -> SignedDuration {
        let Some(node) = self.section.take("startupDelay") else { return STARTUP_DELAY };
        match duration_or_nanoseconds(&node) {
            Ok(delay) => {
                let nanoseconds = delay.as_nanos();
                if matches!(node.value, Value::Number(_)) && (1..1_000_000).contains(&nanoseconds) {
                    let why = format!("is {nanoseconds} nanoseconds; for seconds write `{nanoseconds}s`");
                    self.report.warning(node.place, "startupDelay", why);
                }
                delay
            }
            Err(why) => {
                self.report.problem(node.place, "startupDelay", why);
                STARTUP_DELAY
            }
        }
    }

    fn schedule(&mut self) -> Option<Schedule> {
        self.section.read("cronExpression", self.report, |node| {
            let text = values::text(node)?;
            if text.trim().is_empty() {
                return Ok(None);
            }
            Schedule::parse(&text).map(Some).map_err(|why| why.to_string())
        })?
    }

    /// The one that is documented, and the one that batch-job-controller reads.
    fn image_pull_secrets(&mut self) -> Vec<String> {
        let mut secrets = self.section.read("imagePullSecrets", self.report, references).unwrap_or_default();
        for secret in self.section.read("jobImagePullSecrets", self.report, references).unwrap_or_default() {
            if !secrets.contains(&secret) {
                secrets.push(secret);
            }
        }
        secrets
    }

    fn report_directory(&mut self) -> String {
        let written = self.section.read("reportDirectory", self.report, |node| match values::text(node)? {
            text if text.is_empty() || text.starts_with('/') => Ok(text),
            text => Err(format!("`{text}` is no absolute path")),
        });
        let defaults = self.around.defaults;
        let wins = defaults.report_directory_wins;
        written
            .filter(|directory| !directory.is_empty() && !wins)
            .unwrap_or_else(|| defaults.report_directory.to_string_lossy().into_owned())
    }

    fn callback_service(&mut self) -> Option<String> {
        let name = self.section.read("callbackServiceName", self.report, |node| match values::text(node)? {
            empty if empty.is_empty() => Ok(None),
            _ => dns_label(node).map(Some),
        });
        name.flatten()
    }

    fn pod_template(&mut self, namespace: &str) -> String {
        let written = self.section.take("podTemplate");
        let at = written.as_ref().map_or(self.section.place, |node| node.place);
        let (file, text) = match (self.around.pod_template, written) {
            (Some((file, text)), None) => (Some(file), text.to_owned()),
            (Some((file, _)), Some(_)) => {
                self.report.problem(at, "podTemplate", format_args!("is written here and in {file}: only one can hold"));
                return String::new();
            }
            (None, Some(node)) => match node.value {
                Value::Text(text) => (None, text),
                Value::Map(_) => (None, mapping::text(&node)),
                _ => {
                    self.report.problem(at, "podTemplate", "is neither a text nor a mapping");
                    return String::new();
                }
            },
            (None, None) => {
                self.problem("podTemplate", "is missing: write the pod's manifest, as a text or as a mapping");
                return String::new();
            }
        };
        // Once for all: what is wrong with it is not to be found out by the first run.
        let fields = Fields { namespace, execution_id: "202601010000", node_name: "node-1" };
        if let Err(wrong) = template::render(&text, fields) {
            match file {
                Some(file) => self.report.problems.push(format!("{file}: {wrong}")),
                None => self.report.problem(at, "podTemplate", wrong),
            }
        }
        text
    }
}
