//! A disk that has no room left costs a record, and says so; it costs no exit code.

use std::path::PathBuf;
use std::process::Command;

use super::{Place, job, told};

/// A file system of its own, with room for a store and little more.
struct TinyDisk(PathBuf);

impl TinyDisk {
    /// `None`: this process may not mount.
    fn mount(at: PathBuf) -> Option<Self> {
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=600k", "none"]).arg(&at).status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self(at));
        }
        eprintln!("skipped: this process may not mount a file system");
        None
    }
}

impl Drop for TinyDisk {
    fn drop(&mut self) {
        // What is still in use is detached when it is not.
        Command::new("umount").arg("-l").arg(&self.0).status().map(drop).unwrap_or_default();
    }
}

#[test]
fn a_record_that_could_not_be_stored_is_told_and_the_exit_code_passes() {
    let place = Place::new();
    std::fs::create_dir(place.data()).unwrap();
    let Some(_disk) = TinyDisk::mount(place.data()) else { return };
    let fill = format!("dd if=/dev/zero of={}/fill bs=1k count=2000 2>/dev/null; exit 5", place.data().display());
    let output = place.run(&["--", "sh", "-c", &fill]);
    let said = told(&output);
    assert_eq!(output.status.code(), Some(5), "{said}");
    assert!(said.contains("jobmeter: the record of this command could not be stored: the disk of the record store"), "{said}");
    assert!(!said.contains("Quality:"), "{said}");
}

#[test]
fn a_finished_job_is_not_shown_as_running_because_its_record_could_not_be_stored() {
    let place = Place::new();
    std::fs::create_dir(place.data()).unwrap();
    let Some(_disk) = TinyDisk::mount(place.data()) else { return };
    let fill = format!("dd if=/dev/zero of={}/fill bs=1k count=2000 2>/dev/null; exit 0", place.data().display());
    let file = place.file("f.yaml", &job("fills", "", &fill));
    let output = place.run(&["-f", file.to_str().unwrap()]);
    let said = told(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("jobmeter: the records of fills-") && said.contains(" could not be stored: the disk of"), "{said}");
    assert!(!String::from_utf8_lossy(&output.stdout).contains("Running"), "{said}");
}
