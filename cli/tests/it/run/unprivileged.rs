//! Without permission for cgroups every figure says how it was got, and one notice says what would help.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;

use jobmeter_protocol::{Method, Quality};

use super::{PROGRAM, Place, job, told};

const NOBODY: u32 = 65534;

#[test]
fn as_nobody_figures_come_from_wait4_and_sampling_and_say_so() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root can become nobody");
        return;
    }
    let place = Place::new();
    std::fs::set_permissions(place.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    // The build directory may be closed to others.
    let program = place.path().join("jobmeter");
    std::fs::copy(PROGRAM, &program).unwrap();
    let burn = "i=0; while [ $i -lt 400000 ]; do i=$((i+1)); done";
    let file = place.file("f.yaml", &(job("burn", "", burn) + &job("fails", "", "exit 3")));
    let output = std::process::Command::new(&program)
        .uid(NOBODY)
        .gid(NOBODY)
        .args(["run", "--data-dir"])
        .arg(place.data())
        .arg("-f")
        .arg(&file)
        .current_dir(place.path())
        .output()
        .unwrap();
    let said = told(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(said.matches("systemd-run --user --scope").count(), 1, "{said}");

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
