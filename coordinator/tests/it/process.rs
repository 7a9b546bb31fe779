//! The program itself: what it exits with, and what it says.

use std::process::{Command, Output};

fn coordinator(args: &[&str], config: &str) -> Output {
    let files = tempfile::tempdir().unwrap();
    let path = files.path().join("coordinator.yaml");
    std::fs::write(&path, config).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_jobmeter-coordinator"));
    command.env_clear().arg("--config").arg(&path).args(args).output().unwrap()
}

#[test]
fn a_good_configuration_is_good() {
    let output = coordinator(&["--check-config"], "cluster: here\nretention: { maxAge: 7d, maxRecords: 50000 }\n");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[test]
fn an_unknown_key_is_refused_with_its_place() {
    let output = coordinator(&["--check-config"], "cluster: here\nretention:\n  maxage: 7d\n");
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(64), "{error}");
    assert!(error.contains("coordinator.yaml:3:3: "), "{error}");
}

#[test]
fn the_pools_file_is_checked_as_well_where_there_is_one() {
    let files = tempfile::tempdir().unwrap();
    let pools = files.path().join("pools.yaml");
    let check = |more: &str| {
        let output = coordinator(&["--check-config"], &format!("poolsFile: {}\n{more}", pools.display()));
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(check("").0, Some(0), "it may come later");
    std::fs::write(&pools, "pools:\n  gpu:\n    size: many\n").unwrap();
    let (code, error) = check("maxSeries: 0\n");
    assert_eq!(code, Some(64), "{error}");
    assert!(
        error.contains("maxSeries: is 0") && error.contains("pools.yaml: ") && error.contains("line 3: pools.gpu.size: "),
        "{error}"
    );
    std::fs::write(&pools, "pools: {gpu: {size: 8}}\n").unwrap();
    assert_eq!(check("").0, Some(0));
    std::fs::write(&pools, "pools: {gpu: {sise: 8}}\n").unwrap();
    assert!(check("").1.contains("sise"), "{}", check("").1);
}

#[test]
fn the_definitions_of_the_directory_are_checked_as_well() {
    let files = tempfile::tempdir().unwrap();
    let directory = files.path().join("runs");
    let check = |more: &str| {
        let output = coordinator(&["--check-config"], &format!("runs: {{directory: {}}}\n{more}", directory.display()));
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(check("").0, Some(0), "it may come later");
    std::fs::create_dir(&directory).unwrap();
    std::fs::write(directory.join("config.yaml"), "name: checks\npodPoolSize: 2\n").unwrap();
    std::fs::write(directory.join("pod-template.yaml"), "spec: {containers: [{name: a, image: '{{ .NodeName }}'}]}\n").unwrap();
    assert_eq!(check(""), (Some(0), String::new()));
    std::fs::write(directory.join("config.yaml"), "name: checks\nreportHistory: 0\n").unwrap();
    let (code, error) = check("maxSeries: 0\n");
    assert_eq!(code, Some(64), "{error}");
    for expected in
        ["maxSeries: is 0", "runs/config.yaml:2:16: reportHistory: is 0", "runs/config.yaml:1:1: podPoolSize: is missing"]
    {
        assert!(error.contains(expected), "{expected} in {error}");
    }
}

#[test]
fn every_problem_is_named_at_once() {
    let output = coordinator(&["--check-config"], "maxSeries: 0\nauth: { agents: nobody }\n");
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(64), "{error}");
    assert!(error.contains("maxSeries: is 0") && error.contains("auth.agents: \"nobody\" is not of the form"), "{error}");
}
