//! Without permission for cgroups every figure says how it was got, and one notice says what would help.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Output;

use jobmeter_hostfs::HostRoot;
use jobmeter_hostfs::cgroup::{Layout, Version};
use jobmeter_protocol::{Method, Quality};

use super::{PROGRAM, Place, job, told};

const NOBODY: u32 = 65534;

/// `None`: only root can become nobody.
fn run_as_nobody(place: &Place, args: &[&str]) -> Option<Output> {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root can become nobody");
        return None;
    }
    std::fs::set_permissions(place.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    // The build directory may be closed to others.
    let program = place.path().join("jobmeter");
    if !program.exists() {
        std::fs::copy(PROGRAM, &program).unwrap();
    }
    let mut command = std::process::Command::new(&program);
    command.uid(NOBODY).gid(NOBODY).args(["run", "--data-dir"]).arg(place.data()).args(args).current_dir(place.path());
    Some(command.output().unwrap())
}

#[test]
fn as_nobody_figures_come_from_wait4_and_sampling_and_say_so() {
    let place = Place::new();
    let burn = "i=0; while [ $i -lt 400000 ]; do i=$((i+1)); done";
    let file = place.file("f.yaml", &(job("burn", "", burn) + &job("fails", "", "exit 3")));
    let Some(output) = run_as_nobody(&place, &["-f", file.to_str().unwrap()]) else { return };
    let said = told(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(said.matches("no cgroups of our own").count(), 1, "{said}");
    // It helps where a part of the v2 tree can be delegated, and nowhere else.
    let is_v2 = Layout::discover(&HostRoot::local()).unwrap().version() == Version::V2;
    assert_eq!(said.matches("systemd-run --user --scope").count(), usize::from(is_v2), "{said}");

    let records = place.records();
    assert_eq!(records.len(), 2);
    for record in &records {
        assert!(matches!(record.quality, Quality::Complete { .. }), "{record:#?}");
        assert_eq!(record.usage.cpu_seconds.unwrap().method, Method::Rusage);
        let peak = record.usage.rss_peak_bytes.unwrap();
        assert!(matches!(peak.method, Method::Rusage | Method::Sampled) && peak.value > 100_000, "{peak:?}");
        assert_ne!(record.usage.memory_peak_bytes.map(|peak| peak.method), Some(Method::Kernel));
    }
    let burn = records.iter().find(|record| record.identity.job.name == "burn").unwrap();
    assert!(burn.usage.cpu_seconds.unwrap().value > 0.05, "{burn:#?}");
}

#[test]
fn a_limit_that_nothing_enforces_is_told_once() {
    let place = Place::new();
    let limited = |name| job(name, "", "exit 0").replace("{name: main,", "{name: main, resources: {limits: {memory: 8Mi}},");
    let file = place.file("f.yaml", &(limited("one") + &limited("two")));
    let Some(output) = run_as_nobody(&place, &["-f", file.to_str().unwrap()]) else { return };
    assert_eq!(told(&output).matches("are not enforced here").count(), 1, "{}", told(&output));
}

#[test]
fn what_sleeps_for_50_ms_has_run_for_50_ms_also_without_cgroups() {
    let place = Place::new();
    for _ in 0..5 {
        if run_as_nobody(&place, &["-q", "--", "sleep", "0.05"]).is_none() {
            return;
        }
    }
    for record in place.records() {
        let elapsed = record.time.elapsed_seconds.unwrap();
        assert!(elapsed.value >= 0.05, "{elapsed:?}");
    }
}
