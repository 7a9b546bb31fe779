//! `jobmeter run` was killed: what its jobs had started lives on in their cgroups, until the next start on that directory.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use jobmeter_protocol::{Method, Reason};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Place, Running, has_cgroups};

/// What is left of a run that was killed.
struct Left {
    place: Place,
    grandchild: i32,
    /// Below the mount point.
    pod: PathBuf,
}

impl Left {
    fn by_a_killed_run() -> Self {
        let place = Place::new();
        let script = "sh -c 'i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; echo $$; exec sleep 1000' & wait";
        let mut child = Running::start(
            place.jobmeter("run").args(["-q", "--", "sh", "-c", script]).stdout(Stdio::piped()).stderr(Stdio::null()),
        );
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let grandchild: i32 = line.trim().parse().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let cgroups = std::fs::read_to_string(format!("/proc/{grandchild}/cgroup")).unwrap();
        let own = cgroups.lines().find_map(|line| line.rsplit(':').next().filter(|path| path.contains("/pod"))).unwrap();
        let pod = Path::new(own.trim_start_matches('/')).parent().unwrap().to_owned();
        Self { place, grandchild, pod }
    }

    /// A zombie has no arguments, and waits only for whoever adopted it.
    fn runs(&self) -> bool {
        std::fs::read(format!("/proc/{}/cmdline", self.grandchild)).is_ok_and(|line| !line.is_empty())
    }

    fn cgroups(&self) -> usize {
        let mounts = std::fs::read_dir("/sys/fs/cgroup").unwrap().map(|entry| entry.unwrap().path());
        mounts.chain([PathBuf::from("/sys/fs/cgroup")]).filter(|mount| mount.join(&self.pod).exists()).count()
    }

    fn start_again(&self) {
        assert!(self.place.run(&["-q", "--", "true"]).status.success());
    }
}

impl Drop for Left {
    fn drop(&mut self) {
        if self.runs() {
            kill(Pid::from_raw(self.grandchild), Signal::SIGKILL).unwrap_or_default();
        }
    }
}

#[test]
fn a_start_clears_what_a_killed_run_left_in_its_own_data_directory_and_in_no_other() {
    if !has_cgroups() {
        return;
    }
    let (own, other) = (Left::by_a_killed_run(), Left::by_a_killed_run());
    assert!(own.runs() && other.runs() && own.cgroups() > 0 && other.cgroups() > 0);

    own.start_again();
    assert_eq!((own.runs(), own.cgroups()), (false, 0));
    assert!(other.runs() && other.cgroups() > 0, "that was another's");
    let records = own.place.records();
    let lost = records.iter().find(|record| record.outcome.reason != Reason::Completed).unwrap();
    let cpu = lost.usage.cpu_seconds.unwrap();
    assert!(cpu.method == Method::Kernel && cpu.value > 0.02, "the last reading holds the loop: {lost:#?}");

    other.start_again();
    assert_eq!((other.runs(), other.cgroups()), (false, 0));
    let root = own.pod.parent().unwrap();
    assert!(!Path::new("/sys/fs/cgroup/memory").join(root).exists(), "nothing remains after a clean stop");
}
