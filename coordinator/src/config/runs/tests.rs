use std::path::Path;

use super::*;

fn pod() -> RunsSurroundings {
    let own = Surroundings { namespace: Some("jobmeter".into()), ..Default::default() };
    RunsSurroundings { own, ..Default::default() }
}

fn resolved(text: &str, listen: &str, surroundings: RunsSurroundings) -> (Option<RunsConfig>, String) {
    let written: RunsWritten = jobmeter_daemon::config::parse(text, Path::new("coordinator.yaml")).unwrap();
    let mut problems = Problems::default();
    let config = written.resolve(listen.parse().unwrap(), Path::new("/var/lib/jobmeter"), surroundings, &mut problems);
    (config, problems.finish().map_or_else(|invalid| invalid.to_string(), |()| String::new()))
}

fn good(text: &str, surroundings: RunsSurroundings) -> RunsConfig {
    let (config, problems) = resolved(text, "0.0.0.0:8080", surroundings);
    assert_eq!(problems, "");
    config.unwrap()
}

#[test]
fn without_a_source_there_are_no_runs() {
    let (config, problems) = resolved("", "0.0.0.0:8080", pod());
    assert!(config.is_none() && problems.is_empty(), "{problems}");
    assert!(resolved("directory: ''\nnamespace: a\n", "0.0.0.0:8080", pod()).0.is_none());
    let mut surroundings = pod();
    // Many pods have such variables for reasons of their own.
    (surroundings.namespace, surroundings.report_directory) = (Some("x".into()), Some("/y".into()));
    assert!(resolved("", "0.0.0.0:8080", surroundings).0.is_none());
}

#[test]
fn what_is_not_written_follows_from_the_pod_and_the_listener() {
    let runs = good("directory: /etc/jobmeter/runs\n", pod());
    assert_eq!(runs.sources.directory.as_deref(), Some(Path::new("/etc/jobmeter/runs")));
    assert_eq!(runs.defaults.namespace, "jobmeter");
    assert_eq!(runs.defaults.report_directory, Path::new("/var/lib/jobmeter/reports"));
    let service = Some(("jobmeter".to_owned(), "jobmeter-coordinator".to_owned()));
    assert_eq!(runs.callbacks, CallbacksConfig { service, ..CallbacksConfig::default() });
    assert_eq!(runs.ports, CompatiblePorts::default());
    assert_eq!(good("directory: /a\n", RunsSurroundings::default()).callbacks, CallbacksConfig::default());
}

#[test]
fn every_key_can_be_written() {
    let text = "\
directory: /runs
configMaps: [checks, other/disks]
namespace: jobs
reportDirectory: /reports
callbacks: {address: callbacks.example.com, service: lb/front, port: 80, token: optional, maxResultBytes: 2Mi, maxFileBytes: 1Gi,
            maxRunBytes: 8Gi, maxNodeFiles: 5}
ports: {files: '127.0.0.1:81', metrics: '0.0.0.0:82', health: '0.0.0.0:83'}
";
    let runs = good(text, pod());
    let names = [("jobmeter", "checks"), ("other", "disks")].map(|(namespace, name)| (namespace.to_owned(), name.to_owned()));
    assert_eq!(runs.sources.config_maps, names);
    assert_eq!((runs.defaults.namespace.as_str(), runs.defaults.report_directory_wins), ("jobs", false));
    let expected = CallbacksConfig {
        address: Some("callbacks.example.com".into()),
        service: Some(("lb".into(), "front".into())),
        port: 80,
        token_required: false,
        max_result_bytes: 2 << 20,
        max_file_bytes: 1 << 30,
        max_run_bytes: 8 << 30,
        max_node_files: 5,
    };
    assert_eq!(runs.callbacks, expected);
    assert_eq!(runs.ports.files.unwrap().to_string(), "127.0.0.1:81");
}

#[test]
fn batch_job_controllers_environment_names_the_config_map_and_opens_its_ports() {
    let environment = RunsSurroundings {
        namespace: Some("jobs".into()),
        config_map: Some("pod-job".into()),
        report_directory: Some("/var/www".into()),
        ..pod()
    };
    let runs = good("", environment.clone());
    assert_eq!(runs.sources.config_maps, [("jobs".to_owned(), "pod-job".to_owned())]);
    assert_eq!(runs.defaults.namespace, "jobs");
    assert_eq!((runs.defaults.report_directory.as_path(), runs.defaults.report_directory_wins), (Path::new("/var/www"), true));
    assert_eq!(runs.ports.health.unwrap().to_string(), "0.0.0.0:9152");
    assert_eq!(runs.ports.metrics.unwrap().to_string(), "0.0.0.0:9153");
    // Ours listens there.
    assert_eq!(runs.ports.files, None);
    let elsewhere = resolved("", "0.0.0.0:9000", environment).0.unwrap();
    assert_eq!((elsewhere.ports.files.unwrap().port(), elsewhere.callbacks.port), (8080, 9000));
    let written = good("namespace: ours\n", RunsSurroundings { config_map: Some("a".into()), ..pod() });
    assert_eq!((written.defaults.namespace.as_str(), written.sources.config_maps[0].0.as_str()), ("ours", "jobmeter"));
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let text = "\
directory: /runs
configMaps: [a/b/c]
namespace: My Jobs
reportDirectory: reports
callbacks: {address: 'http://x:1', service: '/x', port: 0, maxResultBytes: 0, maxFileBytes: 0, maxRunBytes: 0, maxNodeFiles: 0}
ports: {files: '0.0.0.0:8080', metrics: '0.0.0.0:82', health: '0.0.0.0:82'}
";
    let (_, problems) = resolved(text, "0.0.0.0:8080", pod());
    for key in [
        "configMaps: `a/b/c` is neither",
        "namespace: is no name",
        "reportDirectory: is no absolute path",
        "callbacks.address: is neither an IP",
        "callbacks.service: `/x` is neither",
        "callbacks.port: is 0",
        "callbacks.maxResultBytes: is 0",
        "callbacks.maxFileBytes: is 0",
        "callbacks.maxRunBytes: is 0",
        "callbacks.maxNodeFiles: is 0",
        "ports.files: has the port of `listen`, 8080",
        "ports.health: has the port of `runs.ports.metrics`, 82",
    ] {
        assert!(problems.contains(&format!("runs.{key}")), "{key} in {problems}");
    }
    let (_, problems) = resolved("configMaps: [a]\n", "0.0.0.0:8080", RunsSurroundings::default());
    assert!(problems.contains("write `namespace/a`"), "{problems}");
}
