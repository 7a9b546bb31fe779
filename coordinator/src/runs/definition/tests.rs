//! Definitions as their authors wrote them.

use jiff::SignedDuration;
use jobmeter_protocol::runs::{GaugeSettings, Overlap, Placement};
use proptest::prelude::*;

use super::*;

/// As batch-job-controller documents it, with all of its keys.
const CONFIG: &str = "\
name: pod-job
jobServiceAccount: pod-job-sa
jobImagePullSecrets:
  - name: registry
jobNodeSelector:
  kubernetes.io/os: linux
  tier: 2
runOnUnscheduledNodes: true
cronExpression: '*/15 * * * *'
reportDirectory: /var/www
reportHistory: 30
podPoolSize: 10
runOnStartup: true
startupDelay: 30s
callbackServiceName: batch-job-controller
callbackServicePort: 8090
custom:
  any: thing
latestMetricsLabel: true
leaderElectionResourceLock: configmapsleases
savePodLog: true
healthProbePort: 9152
metrics:
  port: 9153
  prefix: com_example_pod_job
  gauges:
    checks:
      help: How many checks failed.
      labels:
        - check
        - severity
    seconds:
      help: How long it took.
";

const TEMPLATE: &str = "\
apiVersion: v1
kind: Pod
metadata:
  labels:
    app: pod-job
spec:
  containers:
    - name: job
      image: 'registry.example.com/pod-job:1'
      env:
        - name: RUN
          value: '{{ .ExecutionID }} on {{ .NodeName }} in {{ .Namespace }}'
";

const OURS: &str = "\
name: checks
podPoolSize: 3
podTemplate: |
  spec:
    containers: [{name: check, image: 'check:1', args: ['{{ .NodeName }}']}]
";

fn defaults() -> Defaults {
    Defaults { namespace: "checks".to_owned(), report_directory: "/reports".into(), report_directory_wins: false }
}

fn pair(config: &str) -> Read {
    read_pair("ConfigMap jobs/pod-job", config, TEMPLATE, &defaults())
}

/// A pair of the least that is needed, and that.
fn pair_with(more: &str) -> Read {
    pair(&format!("name: a\npodPoolSize: 1\nmetrics: {{prefix: a}}\ncronExpression: '@hourly'\n{more}"))
}

fn ours(text: &str) -> Read {
    read_file("/etc/jobmeter/runs/checks.yaml", text, &defaults())
}

fn only(read: &Read) -> &Definition {
    assert!(read.problems.is_empty(), "{:#?}", read.problems);
    assert_eq!(read.definitions.len(), 1);
    &read.definitions[0]
}

/// The one problem there is.
fn problem(read: &Read) -> &str {
    assert!(read.problems.len() == 1 && read.definitions.is_empty(), "{read:#?}");
    &read.problems[0]
}

#[test]
fn batch_job_controllers_pair_is_read_as_it_is() {
    let read = pair(CONFIG);
    let definition = only(&read);
    let settings = &definition.settings;
    assert_eq!((settings.name.as_str(), settings.namespace.as_str()), ("pod-job", "checks"));
    assert_eq!((settings.pool.as_str(), settings.own_pool_size), ("run.pod-job", Some(10)));
    assert_eq!(settings.service_account, "pod-job-sa");
    assert_eq!(settings.image_pull_secrets, ["registry"]);
    assert_eq!(settings.node_selector["tier"], "2");
    assert_eq!(settings.node_selector["kubernetes.io/os"], "linux");
    assert!(settings.unschedulable_nodes && settings.save_pod_log && settings.compatible && settings.result_required);
    assert_eq!((settings.report_directory.as_str(), settings.history), ("/var/www", 30));
    assert_eq!(settings.callback_service.as_deref(), Some("batch-job-controller"));
    assert_eq!(settings.callback_port, Some(8090));
    assert_eq!((settings.metrics.prefix.as_str(), settings.metrics.latest), ("com_example_pod_job", true));
    let checks = GaugeSettings { help: "How many checks failed.".into(), labels: vec!["check".into(), "severity".into()] };
    assert_eq!(settings.metrics.gauges["checks"], checks);
    assert!(settings.metrics.gauges["seconds"].labels.is_empty());
    assert_eq!(settings.pod_template, TEMPLATE);
    assert_eq!(definition.source, "ConfigMap jobs/pod-job");
    assert_eq!(definition.schedule.as_ref().unwrap().as_str(), "*/15 * * * *");
    assert_eq!(definition.run_on_start, Some(SignedDuration::from_secs(30)));
    // What it does not say.
    assert_eq!((settings.placement, settings.overlap), (Placement::Scheduler, Overlap::Forbid));
    assert_eq!((settings.retries, settings.canary, settings.max_failures, settings.catch_up), (0, 0, None, None));
    assert_eq!(
        (settings.retry_delay, settings.start_deadline),
        (SignedDuration::from_secs(10), Some(SignedDuration::from_mins(15)))
    );
    assert_eq!((settings.node_deadline, settings.run_deadline, definition.suspended), (None, None, false));
}

#[test]
fn a_key_of_the_pair_that_has_no_effect_is_told_and_changes_nothing() {
    let read = pair(CONFIG);
    let told: Vec<_> = ["leaderElectionResourceLock", "healthProbePort", "custom", "metrics.port"]
        .into_iter()
        .filter(|key| read.warnings.iter().any(|line| line.contains(&format!(": {key}: has no effect"))))
        .collect();
    assert_eq!((told.len(), read.warnings.len()), (4, 4), "{:#?}", read.warnings);
    let read = pair_with("notAKey: 1\n");
    only(&read);
    assert_eq!(
        read.warnings,
        ["ConfigMap jobs/pod-job, config.yaml:5:1: notAKey: is no key; batch-job-controller does not look at it either"]
    );
}

#[test]
fn both_spellings_of_the_pull_secrets_are_read_with_and_without_mapping() {
    let secrets = |text: &str| only(&pair_with(text)).settings.image_pull_secrets.clone();
    assert_eq!(secrets("imagePullSecrets: [{name: a}, {name: b}]\n"), ["a", "b"]);
    assert_eq!(secrets("jobImagePullSecrets: [a, {name: b.c}]\n"), ["a", "b.c"]);
    assert_eq!(secrets("imagePullSecrets: [b]\njobImagePullSecrets: [a, b]\n"), ["b", "a"]);
    assert!(problem(&pair_with("imagePullSecrets: [{nam: a}]\n")).contains("imagePullSecrets: has an entry with other keys"));
    assert!(problem(&pair_with("imagePullSecrets: [../a]\n")).contains("`../a` is no name of an object"));
}

#[test]
fn the_startup_delay_is_read_as_documented_and_as_nanoseconds() {
    let delay = |text: &str| only(&pair_with(&format!("runOnStartup: true\n{text}"))).run_on_start.unwrap();
    assert_eq!(delay("startupDelay: 10s\n"), SignedDuration::from_secs(10));
    assert_eq!(delay("startupDelay: 1m30s\n"), SignedDuration::from_secs(90));
    assert_eq!(delay("startupDelay: 5000000000\n"), SignedDuration::from_secs(5));
    assert_eq!(delay(""), SignedDuration::from_secs(10));
    assert_eq!(only(&pair_with("startupDelay: 20s\n")).run_on_start, None);
    assert!(problem(&pair_with("startupDelay: soon\n")).contains("startupDelay: `soon` is no duration"));
    assert!(problem(&pair_with("startupDelay: -1\n")).contains("no number of nanoseconds"));
    let read = pair_with("startupDelay: 10\n");
    assert!(read.warnings[0].ends_with("startupDelay: is 10 nanoseconds; for seconds write `10s`"), "{:?}", read.warnings);
}

#[test]
fn a_pool_size_that_is_omitted_or_0_is_a_clear_problem() {
    let read = pair("name: a\ncronExpression: '@hourly'\n");
    assert!(problem(&read).starts_with("ConfigMap jobs/pod-job, config.yaml:1:1: podPoolSize: is missing: "), "{read:?}");
    let read = pair("name: a\npodPoolSize: 0\n");
    assert!(
        problem(&read).starts_with("ConfigMap jobs/pod-job, config.yaml:2:14: podPoolSize: is 0: batch-job-controller"),
        "{read:?}"
    );
    assert!(problem(&pair("name: a\npodPoolSize: -3\n")).contains("podPoolSize: `-3` is no whole number"));
    let read = pair("name: a\npool: gpu\n");
    assert_eq!((only(&read).settings.pool.as_str(), only(&read).settings.own_pool_size), ("gpu", None));
    let read = pair("name: a\npool: gpu\npodPoolSize: 3\n");
    assert_eq!(only(&read).settings.own_pool_size, None);
    assert!(read.warnings[0].contains("podPoolSize: has no effect: `pool` names a pool"));
    assert!(problem(&pair("name: a\npool: run.b\n")).contains("begins like the pool of a single definition"));
}

#[test]
fn a_history_that_is_omitted_keeps_ten_runs_and_0_is_a_problem() {
    assert_eq!(only(&pair_with("")).settings.history, 10);
    assert_eq!(only(&pair_with("reportHistory: 1\n")).settings.history, 1);
    let read = pair_with("reportHistory: 0\n");
    assert!(problem(&read).contains("reportHistory: is 0, which keeps not even the current run; 1 is the least"));
}

#[test]
fn metrics_that_could_not_be_scraped_are_problems() {
    let told = |metrics: &str| {
        let read = pair(&format!("name: a\npodPoolSize: 1\nmetrics: {metrics}\n"));
        problem(&read).to_owned()
    };
    for suffix in ["processing", "duration", "pods", "current_execution_id"] {
        let told = told(&format!("{{prefix: a, gauges: {{{suffix}: {{}}}}}}"));
        assert!(told.contains(&format!("metrics.gauges.{suffix}: is the name of a metric that every run has")), "{told}");
    }
    for (metrics, why) in [
        ("{prefix: 9a}", "metrics.prefix: `9a` begins no metric's name"),
        ("{prefix: 'a-b'}", "metrics.prefix: `a-b` begins no metric's name"),
        ("{gauges: {'a-b': {}}}", "metrics.gauges.a-b: ends no metric's name"),
        ("{gauges: {a: {labels: [x, node]}}}", "metrics.gauges.a.labels: `node` is on every gauge already"),
        ("{gauges: {a: {labels: [executionID]}}}", "`executionID` is on every gauge already"),
        ("{gauges: {a: {labels: ['a:b']}}}", "`a:b` is no label of a metric"),
        ("{gauges: {a: {labels: [b, b]}}}", "`b` is there twice"),
        ("{gauges: [a]}", "metrics.gauges: is no mapping of gauges"),
        ("7", "metrics: is no mapping of keys"),
    ] {
        let told = told(metrics);
        assert!(told.contains(why), "{metrics}: {told}");
    }
    assert_eq!(only(&pair("name: 9-lives\npodPoolSize: 1\n")).settings.metrics.prefix, "_9_lives");
}

#[test]
fn a_name_that_could_not_begin_a_pods_name_is_a_problem() {
    let told = |name: &str| problem(&pair(&format!("name: {name}\npodPoolSize: 1\n"))).to_owned();
    assert!(told("Checks").contains("name: `Checks` is no name"));
    assert!(told("a.b").contains("name: `a.b` is no name"));
    let long = "a".repeat(41);
    assert!(told(&long).contains("has 41 characters; it begins the names of pods and may have 40"));
    assert!(problem(&pair("podPoolSize: 1\n")).contains("name: is missing"));
    only(&pair(&format!("name: {}\npodPoolSize: 1\n", "a".repeat(40))));
}

#[test]
fn a_schedule_that_is_none_is_a_problem_and_stops_no_other_definition() {
    let read = pair("name: a\npodPoolSize: 1\ncronExpression: every tuesday\n");
    assert!(problem(&read).contains("config.yaml:3:17: cronExpression: "), "{read:?}");
    assert!(problem(&read).contains("every tuesday"));
    assert!(only(&pair("name: a\npodPoolSize: 1\ncronExpression: ''\n")).schedule.is_none());
    let several = format!("{OURS}cronExpression: 61 * * * *\n---\n{}", OURS.replace("checks", "disks"));
    let read = ours(&several);
    assert_eq!((read.problems.len(), read.definitions.len()), (1, 1));
    assert_eq!(read.definitions[0].settings.name, "disks");
    assert_eq!(read.definitions[0].source, "/etc/jobmeter/runs/checks.yaml, document 2");
}

#[test]
fn our_own_keys_are_read_also_in_a_pair() {
    let more = "\
namespace: jobs
pool: gpu
placement: nodeName
suspend: true
overlap: replace
catchUp: 1h
retries: 2
retryDelay: 1m
startDeadline: 5m
nodeDeadline: 10m
runDeadline: 2h
canary: 1
maxFailures: 3
newNodes: true
resultRequired: false
compatible: false
";
    for read in [ours(&format!("{}{more}", OURS.replace("podPoolSize: 3\n", ""))), pair(&format!("name: checks\n{more}"))] {
        let definition = only(&read);
        let settings = &definition.settings;
        assert_eq!((settings.namespace.as_str(), settings.pool.as_str(), settings.own_pool_size), ("jobs", "gpu", None));
        assert_eq!((settings.placement, settings.overlap), (Placement::NodeName, Overlap::Replace));
        assert_eq!((settings.retries, settings.canary, settings.max_failures), (2, 1, Some(3)));
        assert_eq!(
            (settings.catch_up, settings.retry_delay),
            (Some(SignedDuration::from_hours(1)), SignedDuration::from_mins(1))
        );
        assert_eq!(settings.start_deadline, Some(SignedDuration::from_mins(5)));
        assert_eq!(settings.node_deadline, Some(SignedDuration::from_mins(10)));
        assert_eq!(settings.run_deadline, Some(SignedDuration::from_hours(2)));
        assert!(settings.new_nodes && definition.suspended && !settings.result_required && !settings.compatible);
    }
}

#[test]
fn what_a_definition_of_ours_does_not_say_has_its_default() {
    let required = |more: &str| only(&ours(&format!("{OURS}{more}"))).settings.result_required;
    assert!(!required("") && required("metrics: {gauges: {a: {}}}\n"));
    assert!(!required("metrics: {gauges: {a: {}}}\nresultRequired: false\n"));
    let settings = only(&ours(OURS)).settings.clone();
    assert_eq!(
        (settings.compatible, settings.report_directory.as_str(), settings.namespace.as_str()),
        (false, "/reports", "checks")
    );
    for none in ["startDeadline: 0s\n", "startDeadline: null\n"] {
        assert_eq!(only(&ours(&format!("{OURS}{none}"))).settings.start_deadline, None, "{none}");
    }
    let wins = Defaults { report_directory_wins: true, ..defaults() };
    let read = read_file("a.yaml", &format!("{OURS}reportDirectory: /elsewhere\n"), &wins);
    assert_eq!(only(&read).settings.report_directory, "/reports");
    let unknown = Defaults { namespace: String::new(), ..defaults() };
    assert!(problem(&read_file("a.yaml", OURS, &unknown)).contains("namespace: is missing"));
}

#[test]
fn a_file_of_ours_is_strict_and_everything_that_is_wrong_is_told_at_once_with_its_place() {
    let text = "\
name: checks
podPoolsize: 3
pool: gpu
retryDelay: 10
overlap: never
placement: [scheduler]
maxFailures: 0
newNodes: 'yes'
reportDirectory: reports
podTemplate:
  spec: {containers: []}
metrics: {prefx: a}
nodeselector: {a: b}
---
name: [checks
---
name: disks
podPoolSize: 1
whatever: 1
podTemplate: '{{ .Node }}'
";
    let read = ours(text);
    assert!(read.definitions.is_empty());
    let file = "/etc/jobmeter/runs/checks.yaml";
    for expected in [
        "2:1: podPoolsize: is no key: write `podPoolSize`",
        "4:13: retryDelay: `10` has no unit",
        "5:10: overlap: `never` is none of `forbid`, `replace`, `allow`",
        "6:12: placement: is no text",
        "7:14: maxFailures: is 0; 1 is the least",
        "8:11: newNodes: is neither `true` nor `false`",
        "9:18: reportDirectory: `reports` is no absolute path",
        "11:3: podTemplate: the pod template cannot be used: it has no spec.containers",
        "12:11: metrics.prefx: is no key; there are prefix, port, gauges",
        "13:1: nodeselector: is no key; there are ",
        "19:1: whatever: is no key",
        "20:14: podTemplate: the pod template cannot be used: there is no field .Node",
    ] {
        let expected = format!("{file}:{expected}");
        assert!(read.problems.iter().any(|problem| problem.starts_with(&expected)), "{expected} in {:#?}", read.problems);
    }
    // Broken YAML has its place in the file, not in its document.
    let places = [format!("{file}:15:"), format!("{file}:16:")];
    let broken = |problem: &String| places.iter().any(|place| problem.starts_with(place));
    assert!(read.problems.iter().any(broken), "{:#?}", read.problems);
    assert!(problem(&ours(&format!("{OURS}pool: gpu\n"))).contains("podPoolSize: has no effect"));
}

#[test]
fn of_two_definitions_of_one_name_the_second_is_a_problem() {
    let read = ours(&format!("{OURS}---\n{OURS}"));
    assert_eq!(read.definitions.len(), 1);
    let file = "/etc/jobmeter/runs/checks.yaml";
    assert_eq!(read.problems, [format!("{file}, document 2: name: `checks` is defined in {file}, document 1 already")]);
}

#[test]
fn a_broken_pod_template_is_told_when_it_is_read() {
    let read = read_pair("/etc/runs", "name: a\npodPoolSize: 1\n", "spec: {{ .Nodename }}\n", &defaults());
    assert!(
        problem(&read).starts_with("/etc/runs/pod-template.yaml: the pod template cannot be used: there is no field .Nodename"),
        "{read:?}"
    );
    let read = read_pair("/etc/runs", "name: a\npodPoolSize: 1\npodTemplate: x\n", TEMPLATE, &defaults());
    assert!(problem(&read).contains("podTemplate: is written here and in /etc/runs/pod-template.yaml"));
}

#[test]
fn go_finds_the_pairs_keys_whatever_their_case() {
    assert_eq!(only(&pair("Name: a\npodpoolsize: 4\n")).settings.own_pool_size, Some(4));
}

#[test]
fn a_directory_has_the_pair_and_files_of_ours_and_a_broken_one_leaves_the_others() {
    let files = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &[u8]| std::fs::write(files.path().join(name), text).unwrap();
    let names = || {
        let read = directory::read(files.path(), &defaults());
        let names: Vec<_> = read.definitions.iter().map(|definition| definition.settings.name.clone()).collect();
        (names, read.problems)
    };
    put(CONFIG_FILE, CONFIG.as_bytes());
    put(POD_TEMPLATE_FILE, TEMPLATE.as_bytes());
    put("ours.yaml", format!("{OURS}---\n{}", OURS.replace("checks", "disks")).as_bytes());
    put("notes.txt", b"none of ours");
    assert_eq!(names(), (vec!["pod-job".to_owned(), "checks".to_owned(), "disks".to_owned()], Vec::new()));

    put("broken.yaml", b"name: \xff\n");
    std::fs::remove_file(files.path().join(CONFIG_FILE)).unwrap();
    let (found, problems) = names();
    assert_eq!(found, ["checks", "disks"]);
    assert!(problems.iter().any(|line| line.contains("broken.yaml: is no text in UTF-8")), "{problems:?}");
    assert!(problems.iter().any(|line| line.contains("pod-template.yaml: there is no config.yaml beside it")), "{problems:?}");
    let gone = directory::read(&files.path().join("gone"), &defaults());
    assert!(gone.problems[0].contains("failed to list the directory"), "{gone:?}");
}

proptest! {
    #[test]
    fn no_text_panics_the_readers(
        text in prop_oneof![
            any::<String>(),
            "((name|podPoolSize|metrics|podTemplate|startupDelay|jobNodeSelector|imagePullSecrets): *[-a-z0-9{}\\[\\]&*!|>'\",:. ]{0,12}\n|---\n|  - a\n){0,8}",
            "(\\{\\{(- )?(if|end|else|range|define \"a\"|template \"a\"|printf \"%[sdvqx]\"|\\.NodeName|\\||\\$x := 1| )*\\}\\}|spec:|\n|  ){0,12}",
        ]
    ) {
        for read in [pair(&text), ours(&text), read_pair("x", "name: a\npodPoolSize: 1\n", &text, &defaults())] {
            for definition in read.definitions {
                prop_assert!(values::is_dns_label(&definition.settings.name));
            }
        }
    }
}
