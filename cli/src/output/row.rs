//! What one line of the answer is about: a pod, or a job with its pods where a column needs them.

use std::collections::BTreeSet;
use std::iter::Sum;

use jiff::Timestamp;
use jobmeter_protocol::{Figure, Job, Method, Quality, Reason, Record, Usage};

#[derive(Clone, Debug, PartialEq)]
pub enum Row {
    Pod(Box<Record>),
    Job {
        job: Box<Job>,
        /// Its records; empty unless a column asked for them ([`super::Field::needs_pods`]).
        pods: Vec<Record>,
    },
}

/// Some records as one whole.
#[derive(Clone, Copy, Debug)]
pub struct Pods<'a>(pub &'a [Record]);

impl Row {
    pub fn records(&self) -> &[Record] {
        match self {
            Self::Pod(record) => std::slice::from_ref(record),
            Self::Job { pods, .. } => pods,
        }
    }

    pub fn pods(&self) -> Pods<'_> {
        Pods(self.records())
    }

    pub fn cpu(&self) -> Option<Figure<f64>> {
        match self {
            Self::Pod(record) => record.usage.cpu_seconds,
            Self::Job { job, .. } => job.cpu_seconds,
        }
    }

    pub fn memory_peak(&self) -> Option<Figure<u64>> {
        match self {
            Self::Pod(record) => record.usage.memory_peak_bytes,
            Self::Job { job, .. } => job.memory_peak_bytes,
        }
    }

    pub fn rss_peak(&self) -> Option<Figure<u64>> {
        match self {
            Self::Pod(record) => record.usage.rss_peak_bytes,
            Self::Job { job, .. } => job.rss_peak_bytes,
        }
    }

    pub fn started(&self) -> Option<Timestamp> {
        match self {
            Self::Pod(record) => record.time.started,
            Self::Job { job, .. } => job.started,
        }
    }

    pub fn finished(&self) -> Option<Timestamp> {
        match self {
            Self::Pod(record) => record.time.finished,
            Self::Job { job, .. } => job.finished,
        }
    }

    /// Time on the wall; until now for what still runs. A job's has no single method behind it.
    pub fn elapsed(&self, now: Timestamp) -> (Option<f64>, Option<Method>) {
        if let Self::Pod(record) = self
            && let Some(figure) = record.time.elapsed_seconds
        {
            return (Some(figure.value), Some(figure.method));
        }
        let elapsed = self.started().map(|started| self.finished().unwrap_or(now).duration_since(started).as_secs_f64());
        (elapsed.filter(|seconds| *seconds >= 0.0), None)
    }

    /// Whether part of the truth could not be seen.
    pub fn is_partial(&self) -> bool {
        match self {
            Self::Pod(record) => matches!(record.quality, Quality::Partial { .. }),
            Self::Job { job, .. } => job.partial_records > 0,
        }
    }
}

impl<'a> Pods<'a> {
    /// Sum over the pods that have the figure; the weakest method among them.
    pub fn sum<T: Copy + Sum<T>>(&self, pick: impl Fn(&Usage) -> Option<Figure<T>>) -> Option<Figure<T>> {
        sum_of(self.0.iter().filter_map(|record| pick(&record.usage)))
    }

    /// Sum over the pods, if every one that ran has the figure: part of a split is no split.
    pub fn whole_sum<T: Copy + Sum<T>>(&self, pick: impl Fn(&Usage) -> Option<Figure<T>>) -> Option<Figure<T>> {
        let ran = |record: &&Record| record.time.started.is_some() || record.usage.cpu_seconds.is_some();
        let lacks = self.0.iter().filter(ran).any(|record| pick(&record.usage).is_none());
        if lacks { None } else { self.sum(pick) }
    }

    /// Greatest over the pods.
    pub fn largest(&self, pick: impl Fn(&Usage) -> Option<Figure<u64>>) -> Option<Figure<u64>> {
        self.0.iter().filter_map(|record| pick(&record.usage)).max_by_key(|figure| figure.value)
    }

    pub fn overhead(&self) -> Option<Figure<f64>> {
        sum_of(self.0.iter().filter_map(|record| record.overhead_cpu_seconds))
    }

    /// Time that the pods ran, added up.
    pub fn pod_seconds(&self) -> Option<f64> {
        self.0
            .iter()
            .filter_map(|record| record.time.elapsed_seconds)
            .map(|elapsed| elapsed.value)
            .reduce(|one, other| one + other)
    }

    /// Core-seconds that were reserved: elapsed × requested cores, over the pods that have both.
    pub fn reserved_core_seconds(&self) -> Option<f64> {
        let reserved = |record: &Record| {
            let cores = record.resources.cpu_request_millicores.filter(|cores| *cores > 0)? as f64 / 1000.0;
            Some(record.time.elapsed_seconds?.value * cores)
        };
        self.0.iter().filter_map(reserved).reduce(|total, one| total + one).filter(|total| *total > 0.0)
    }

    /// The nodes they ran on, each once.
    pub fn nodes(&self) -> BTreeSet<&'a str> {
        self.0.iter().filter_map(|record| record.identity.node.as_deref()).collect()
    }

    /// The one whose end is the end of all: the first that failed, else the last.
    pub fn deciding(&self) -> Option<&'a Record> {
        let failed = |record: &&Record| !matches!(record.outcome.reason, Reason::Completed | Reason::Running);
        self.0.iter().find(failed).or(self.0.last())
    }
}

fn sum_of<T: Copy + Sum<T>>(figures: impl Iterator<Item = Figure<T>>) -> Option<Figure<T>> {
    let figures: Vec<Figure<T>> = figures.collect();
    let method = weakest(figures.iter().map(|figure| figure.method))?;
    Some(Figure::new(figures.iter().map(|figure| figure.value).sum(), method))
}

/// The least exact one.
pub(super) fn weakest(methods: impl Iterator<Item = Method>) -> Option<Method> {
    methods.max()
}
