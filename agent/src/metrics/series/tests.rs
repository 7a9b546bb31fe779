//! The cap, the expiry, and that table and output are the same.

use jiff::SignedDuration;
use jobmeter_decide::{
    books::{Books, Limits, Observation, Options, Pace, Tree},
    example,
    metered::Scope,
};
use prometheus::{Encoder, Registry, TextEncoder};

use super::*;
use crate::{
    logs::ShipMetrics,
    metrics::{CaptureMetrics, METRICS, OwnMetrics},
};

fn options() -> Options {
    Options {
        node: "node-a".into(),
        boot_id: "boot".into(),
        scope: Scope::default(),
        local_cgroups: false,
        pace: Pace::default(),
        limits: Limits::default(),
    }
}

fn series(cap: usize) -> (JobSeries, Arc<Mutex<Books>>, IntCounter) {
    let books = Arc::new(Mutex::new(Books::new(options(), Timestamp::now())));
    let dropped = IntCounter::new("dropped", "dropped").unwrap();
    let options = SeriesOptions { cap, expiry: Duration::from_secs(300) };
    (JobSeries::new(options, Arc::clone(&books), dropped.clone()).unwrap(), books, dropped)
}

fn run_job(books: &Mutex<Books>) {
    let now = Timestamp::now();
    let mut books = books.lock().unwrap();
    books.observe(example::POD_UID, Observation::Api(Box::new(example::api_pod())), now);
    let segment = example::segment_id();
    books.observe(example::POD_UID, Observation::Appeared { segment, at: example::at(1.0), tree: Tree::Local }, now);
    let reading = |cpu| Some(Box::new(example::reading(1.2, cpu, 3_560_000)));
    let ended = Observation::ContainerEnded {
        container_id: "aa".into(),
        at: example::at(1.2),
        container: reading(40_000_000),
        pod: reading(66_700_000),
        late: false,
    };
    books.observe(example::POD_UID, ended, now);
}

fn text(registry: &Registry) -> String {
    let mut text = Vec::new();
    TextEncoder::new().encode(&registry.gather(), &mut text).unwrap();
    String::from_utf8(text).unwrap()
}

#[test]
fn a_job_pod_is_shown_under_its_job_with_its_method() {
    let (series, books, _) = series(10);
    run_job(&books);
    let registry = Registry::new();
    registry.register(Box::new(series)).unwrap();
    let text = text(&registry);
    let pod = "job=\"sort\",method=\"kernel\",namespace=\"bench\",pod=\"sort-7xk2p\"";
    assert!(text.contains(&format!("jobmeter_pod_cpu_seconds_total{{{pod}}} 0.0667\n")), "{text}");
    assert!(text.contains("jobmeter_container_cpu_seconds_total{container=\"main\","), "{text}");
    assert!(text.contains(&format!("jobmeter_pod_memory_peak_bytes{{{pod}}} 3560000\n")), "{text}");
}

#[test]
fn a_pod_that_ended_stays_for_a_while_and_then_goes() {
    let (series, _, dropped) = series(10);
    let now = Timestamp::now();
    series.ended(Some(&example::api_pod()), &example::evidence(), now);
    assert_eq!(series.shown(now).len(), 1);
    assert_eq!(series.shown(now + SignedDuration::from_secs(301)).len(), 0);
    assert_eq!(dropped.get(), 0);
}

#[test]
fn beyond_the_cap_the_oldest_go_and_are_counted() {
    let (series, _, dropped) = series(5);
    let now = Timestamp::now();
    for n in 0..4 {
        let evidence = PodEvidence { pod_uid: format!("pod-{n}"), ..example::evidence() };
        series.ended(None, &evidence, now);
    }
    let shown: Vec<_> = series.shown(now).into_iter().map(|group| group.pod_uid).collect();
    assert_eq!(shown, ["pod-3", "pod-2"]);
    assert_eq!(dropped.get(), 4, "two pods with one container each");
}

#[test]
fn what_is_registered_is_what_the_table_says() {
    let registry = Registry::new();
    let own = OwnMetrics::register(&registry).unwrap();
    // Families with labels exist from their first use.
    own.kernel_events.with_label_values(&["pod_gone"]).inc();
    own.readings.with_label_values(&["pod", "pidfd"]).inc();
    own.uplink_failures.with_label_values(&["reports", "busy"]).inc();
    let capture = CaptureMetrics::register(&registry).unwrap();
    capture.logs.with_label_values(&["open"]).set(1);
    let ship = ShipMetrics::register(&registry).unwrap();
    ship.show_all();
    let (series, _, _) = series(10);
    let mut evidence = example::evidence();
    evidence.sampled.process_hwm_bytes = Some(1);
    series.ended(Some(&example::api_pod()), &evidence, Timestamp::now());
    registry.register(Box::new(series)).unwrap();
    let families = registry.gather();
    let found: BTreeSet<&str> = families.iter().map(|family| family.name()).collect();
    let expected: BTreeSet<&str> = METRICS.iter().map(|metric| metric.name).collect();
    assert_eq!(found, expected);
    for family in &families {
        let metric = METRICS.iter().find(|metric| metric.name == family.name()).unwrap();
        assert_eq!(format!("{:?}", family.get_field_type()).to_lowercase(), metric.kind.as_str(), "{}", metric.name);
        let mut labels: Vec<&str> = family.get_metric()[0].get_label().iter().map(|label| label.name()).collect();
        let mut expected = metric.labels.to_vec();
        labels.sort_unstable();
        expected.sort_unstable();
        assert_eq!(labels, expected, "{}", metric.name);
        assert!(!metric.name.starts_with("jobmeter_agent_") || !labels.contains(&"pod"), "own health names no pod");
    }
}
