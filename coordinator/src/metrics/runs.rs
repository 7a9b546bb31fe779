//! Figures of runs, by the names that batch-job-controller gives them, and in numbers of our own.
//!
//! In: what is kept of the runs, at scrape; so there are series of exactly the runs that are kept, after a restart too. Out: families
//! whose names definitions choose. Owner: the registry. Nothing is told while the runs are not known here.

mod dropped;
mod overview;
mod reported;
mod scrape;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use prometheus::Registry;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use tokio::sync::watch;

use self::dropped::Dropped;
use self::scrape::Scrape;
use super::table;
use crate::runs::{RunsSnapshot, RunsView};

/// Of one scrape. Prometheus itself takes several times as many, and a job that posts more labels its values by the wrong thing.
const SAMPLES: usize = 100_000;

struct RunFigures {
    /// Not the view itself: whoever keeps the runs ends when nobody can ask any more.
    snapshot: watch::Receiver<Option<Arc<RunsSnapshot>>>,
    dropped: Mutex<Dropped>,
    most: usize,
    /// Of what is always told. Other families come and go with the definitions, and the registry does not ask for theirs.
    described: Desc,
}

/// Once, at the start.
pub fn register(registry: &Registry, view: &RunsView) -> Result<(), prometheus::Error> {
    registry.register(Box::new(RunFigures::new(view, Timestamp::now(), SAMPLES)?))
}

impl RunFigures {
    fn new(view: &RunsView, since: Timestamp, most: usize) -> Result<Self, prometheus::Error> {
        let metric = table::find("jobmeter_run_results_dropped_total");
        let labels = metric.labels.iter().map(|label| (*label).to_owned()).collect();
        let described = Desc::new(metric.name.to_owned(), metric.help.to_owned(), labels, HashMap::new())?;
        Ok(Self { snapshot: view.changes(), dropped: Mutex::new(Dropped::new(since)), most, described })
    }
}

impl Collector for RunFigures {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.described]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let snapshot = self.snapshot.borrow().clone();
        let mut scrape = Scrape::new(self.most);
        let mut dropped = self.dropped.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(snapshot) = snapshot {
            overview::write(&snapshot, &mut scrape);
            reported::write(&snapshot, &mut scrape);
            dropped.look(&snapshot);
        }
        dropped.no_room(scrape.left_out());
        dropped.write(&mut scrape);
        scrape.families()
    }
}
