//! Whether logs can be linked here: tried for real, on the directories that are used.

use std::{fs, io, path::Path};

use jobmeter_protocol::{Capability, CapabilityState};

/// For `doctor` and `/status`.
pub fn probe(pod_logs: &Path, spool: &Path) -> Capability {
    let (state, detail) = match try_link(pod_logs, spool) {
        Ok(()) => (CapabilityState::Active, "hard links".to_owned()),
        Err(why) => (CapabilityState::Unsupported, format!("copies: {why}")),
    };
    Capability { name: "log_capture".to_owned(), state, detail }
}

fn try_link(pod_logs: &Path, spool: &Path) -> Result<(), String> {
    let said = |what: &str, path: &Path| {
        let what = format!("{what} {}", path.display());
        move |error: io::Error| format!("{what}: {error}")
    };
    if !pod_logs.is_dir() {
        return Err(format!("{} is not there (yet)", pod_logs.display()));
    }
    fs::create_dir_all(spool).map_err(said("failed to create", spool))?;
    let name = format!(".jobmeter-probe-{}", std::process::id());
    let (from, to) = (pod_logs.join(&name), spool.join(&name));
    fs::write(&from, "").map_err(said("failed to write to", pod_logs))?;
    let linked = fs::hard_link(&from, &to);
    for path in [&from, &to] {
        super::run::absent_is_fine(fs::remove_file(path)).map_err(said("failed to remove", path))?;
    }
    linked.map_err(|error| {
        let (spool, logs) = (spool.display(), pod_logs.display());
        format!("link(2) from {logs} to {spool}: {error}; mount the directory that holds both once")
    })
}
