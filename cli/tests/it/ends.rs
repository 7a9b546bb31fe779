//! How the process ends without a coordinator: exit codes, messages, pipes, names.

use std::io::Read;
use std::os::unix::fs::symlink;
use std::process::{Command, Output, Stdio};

use crate::ask::jobmeter;
use crate::example;
use crate::fake::{Books, Fake};

fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let directory = tempfile::tempdir().unwrap();
    told(&jobmeter(arguments).current_dir(directory.path()).output().unwrap())
}

fn told(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn mistakes_on_the_command_line_end_with_64_and_name_the_flag() {
    for (arguments, names) in [
        (vec!["acct", "--nosuch"], "--nosuch"),
        (vec!["acct", "--format", "Stat"], "no field is named \"Stat\" (did you mean State, LogState?)"),
        (vec!["acct", "--since", "someday"], "--since: \"someday\" is no moment"),
        (vec!["acct", "--state", "oom"], "\"oom\" is a state of pods"),
        (vec!["acct", "--since", "1h", "--until", "2h"], "--since is later than --until"),
        (vec!["acct", "a/b/c"], "\"a/b/c\" is neither NAME nor job/NAME nor pod/NAME"),
        (vec!["acct", "pod/a", "b"], "name only pods, or only jobs"),
        (vec!["acct", "--server", "x", "--data-dir", "y"], "cannot be used with"),
        (vec!["acct", "--server", "localhost:1"], "should be like http://host:8080"),
        (vec!["acct", "--coordinator", "A/B"], "is not NAMESPACE/SERVICE:PORT"),
        (vec!["acct", "-l", "team in"], "--selector: "),
        (vec!["acct", "--limit", "0"], "--limit <COUNT>"),
        (vec!["acct", "-n", ""], "--namespace <NAME>"),
        (vec!["run"], "jobmeter run -f FILE) or a command (jobmeter run -- CMD)"),
        (vec!["run", "--report", "no/such/dir/r.json", "--", "touch", "ran"], "--report: failed to create no/such/dir/r.json"),
        (vec!["top", "--interval", "1ms"], "--interval: \"1ms\""),
        (vec!["eff"], "JOB|POD"),
        (vec!["logs"], "JOB|POD"),
        (vec!["logs", "x", "--previous", "--attempt", "1"], "cannot be used with"),
        (vec!["logs", "x", "--since", "someday"], "--since: \"someday\" is no moment"),
        (vec!["logs", "x", "-o", "json"], "--list"),
        (vec!["nosuch"], "nosuch"),
    ] {
        let (code, stdout, stderr) = run(&arguments);
        assert_eq!(code, Some(64), "{arguments:?}: {stderr}");
        assert!(stderr.contains(names) && stdout.is_empty(), "{arguments:?}: {stderr}");
    }
}

#[test]
fn with_nothing_to_ask_the_three_ways_are_named() {
    let (code, _, stderr) = run(&["acct"]);
    assert_eq!(code, Some(64));
    assert!(["--server", "--data-dir", "--kubeconfig"].iter().all(|way| stderr.contains(way)), "{stderr}");
}

#[test]
fn a_directory_without_records_says_what_makes_one() {
    let (code, _, stderr) = run(&["acct", "--data-dir", "nowhere"]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("there is no directory nowhere: `jobmeter run`"), "{stderr}");
    let (_, _, stderr) = run(&["eff", "x", "--data-dir", "."]);
    assert!(stderr.contains(". holds no records (jobmeter.db is missing)"), "{stderr}");
}

#[test]
fn a_broken_kubeconfig_is_named_as_the_cause() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config");
    std::fs::write(&path, "clusters: 7\n").unwrap();
    let (code, _, stderr) = run(&["acct", "--kubeconfig", path.to_str().unwrap()]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("jobmeter/jobmeter-coordinator:http of the cluster") && stderr.contains("kubeconfig"), "{stderr}");
}

#[test]
fn help_and_lists_go_to_stdout_and_end_with_0() {
    for (arguments, holds) in [
        (vec!["--help"], "Where the answer comes from, first match:"),
        (vec!["acct", "--help"], "Exit codes:"),
        (vec!["acct", "--format", "help"], "MaxRSS"),
        (vec!["completion", "bash"], "complete -F"),
        (vec!["--version"], env!("CARGO_PKG_VERSION")),
    ] {
        let (code, stdout, stderr) = run(&arguments);
        assert_eq!((code, stderr.as_str()), (Some(0), ""), "{arguments:?}");
        assert!(stdout.contains(holds), "{arguments:?}: {stdout}");
    }
}

#[test]
fn as_kubectl_jobmeter_it_speaks_as_a_plugin_and_asks_the_cluster() {
    let directory = tempfile::tempdir().unwrap();
    let plugin = directory.path().join("kubectl-jobmeter");
    symlink(assert_cmd::cargo::cargo_bin!("jobmeter"), &plugin).unwrap();
    std::fs::create_dir(directory.path().join("jobmeter-data")).unwrap();
    let call = |arguments: &[&str]| {
        told(&Command::new(&plugin).args(arguments).env_clear().current_dir(directory.path()).output().unwrap())
    };
    assert!(call(&["acct", "--help"]).1.contains("Usage: kubectl jobmeter acct"));
    let (code, _, stderr) = call(&["acct"]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("of the cluster (as a kubectl plugin)"), "{stderr}");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let records = (0..5_000).map(|index| example::record("sort", &format!("sort-{index}"), 0.0, 1.0)).collect();
    let fake = Fake::start(Books { records, ..Books::default() });
    let mut child = jobmeter(&["acct", "--pods", "-o", "json", "--server", &fake.url()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 2];
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut first).unwrap();
    drop(stdout);
    let output = child.wait_with_output().unwrap();
    assert_eq!(told(&output), (Some(0), String::new(), String::new()));
}

#[test]
fn doctor_tells_of_this_machine_as_text_and_as_json() {
    let (code, stdout, _) = run(&["doctor"]);
    assert_eq!(code, Some(0));
    assert!(stdout.contains("kernel ") && stdout.contains("doctor --prove"), "{stdout}");
    let (_, stdout, _) = run(&["doctor", "-o", "json"]);
    let status: jobmeter_protocol::NodeStatus = serde_json::from_str(&stdout).unwrap();
    assert_eq!(status.boot_id.len(), 36);
}

#[test]
fn what_runs_now_is_not_looked_for_in_a_directory_of_records() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("jobmeter-data");
    let call = |arguments: &[&str]| told(&jobmeter(arguments).current_dir(directory.path()).output().unwrap());
    let (code, _, stderr) = call(&["run", "--quiet", "--", "true"]);
    assert_eq!(code, Some(0), "{stderr}");

    let (code, stdout, _) = call(&["acct", "--pods", "-P", "--format", "State,ExitCode"]);
    assert_eq!((code, stdout.as_str()), (Some(0), "State|ExitCode\nCompleted|0:0\n"));
    let (code, _, stderr) = call(&["top"]);
    assert_eq!(code, Some(1));
    assert!(
        stderr.contains("what runs now is known only to a coordinator that is running") && stderr.contains("--server"),
        "{stderr}"
    );

    // The address of a process that has ended.
    std::fs::write(data.join("address"), "http://127.0.0.1:9").unwrap();
    let (code, _, stderr) = call(&["top"]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("`jobmeter standalone` that announced itself in jobmeter-data"), "{stderr}");
}

#[test]
fn a_proof_holds_for_every_figure_that_claims_to_be_the_kernels() {
    let (code, stdout, stderr) = run(&["doctor", "--prove", "-o", "json"]);
    let proof: serde_json::Value = serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}{stderr}"));
    assert_eq!((code, &proof["holds"]), (Some(0), &serde_json::json!(true)), "{stdout}");
    let figures = proof["figures"].as_array().unwrap();
    assert_eq!(figures.len(), 9);
    let records = figures.iter().find(|figure| figure["figure"] == "records").unwrap();
    assert_eq!(records["reported"]["value"], 200.0);
    // With or without cgroups: wait4's sum is the truth of CPU time and must have been found.
    assert!(figures.iter().filter(|figure| figure["figure"] == "cpu").all(|figure| figure["verdict"] == "holds"), "{stdout}");
}
