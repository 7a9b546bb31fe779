//! Logs of local jobs, from the first byte to the store: nothing else is left behind, also not after a kill.

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use jobmeter_protocol::LogState;
use nix::sys::signal::Signal;

use super::{Place, Running, job, told};

/// What a tool that is not ours says of the bytes.
fn sha256(bytes: &[u8]) -> String {
    use std::io::Write;
    let mut child = Command::new("sha256sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()[..64].to_owned()
}

#[test]
fn a_finished_run_has_all_its_logs_in_the_store_and_nothing_else() {
    let place = Place::new();
    let text: String = (0..20).map(|i| job(&format!("burst-{i}"), "", &format!("printf 'one\\ntwo {i}'"))).collect();
    let file = place.file("f.yaml", &text);
    let output = place.run(&["-f", file.to_str().unwrap()]);
    assert!(output.status.success(), "{}", told(&output));
    assert!(told(&output).contains("/data/logs/<namespace>/<job>/<pod>.log; jobmeter logs burst-"), "{}", told(&output));
    let mut texts: Vec<String> = place.logs().into_iter().map(|(_, log)| String::from_utf8(log).unwrap()).collect();
    let mut expected: Vec<String> = (0..20).map(|i| format!("one\ntwo {i}")).collect();
    texts.sort();
    expected.sort();
    assert_eq!(texts, expected);
    assert!(place.live().is_empty(), "{:?}", place.live());
    for record in place.records() {
        let log = record.containers[0].log.clone().unwrap();
        let bytes = std::fs::read(&log.location).unwrap();
        assert_eq!((log.state, log.bytes, log.sha256.unwrap()), (LogState::Complete, bytes.len() as u64, sha256(&bytes)));
        let shown = place.jobmeter("logs").arg(&record.identity.pod).output().unwrap();
        assert!(shown.status.success() && shown.stdout == bytes, "{}", told(&shown));
    }
    let mode = std::fs::metadata(place.data()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700, "what jobs print is for their owner");
}

#[test]
fn what_a_killed_run_printed_is_stored_by_the_next_one() {
    let place = Place::new();
    let file = place.file("f.yaml", &job("killed", "", "echo before; exec sleep 1000"));
    let mut command = place.jobmeter("run");
    let child = Running::start(command.args(["-q", "-f", file.to_str().unwrap()]).stdout(Stdio::null()).stderr(Stdio::null()));
    place.await_output(7);
    child.signal(Signal::SIGKILL);
    drop(child);
    assert_eq!(place.logs().len(), 0);

    let next = place.file("g.yaml", &job("next", "", "echo after"));
    let output = place.run(&["-f", next.to_str().unwrap()]);
    assert!(output.status.success(), "{}", told(&output));
    let logs = place.logs();
    assert!(
        logs.iter().any(|(name, log)| name.starts_with("default/killed/") && log == b"before\n"),
        "{logs:?} {}",
        told(&output)
    );
    assert!(logs.iter().any(|(name, log)| name.starts_with("default/next/") && log == b"after\n"), "{logs:?}");
    assert!(place.live().is_empty(), "{:?}", place.live());
}

#[test]
fn a_log_is_followed_while_it_grows_and_to_its_end() {
    let place = Place::new();
    let go_on = place.path().join("go-on");
    let script = format!("echo first; while [ ! -e {} ]; do sleep 0.01; done; printf last", go_on.display());
    let file = place.file("f.yaml", &job("grows", "", &script));
    let mut command = place.jobmeter("run");
    let mut run = Running::start(command.args(["-q", "-f", file.to_str().unwrap()]).stdout(Stdio::null()));
    place.await_output(6);
    let now = place.jobmeter("logs").arg("grows").output().unwrap();
    assert_eq!(now.stdout, b"first\n", "{}", told(&now));
    let follow = place.jobmeter("logs").args(["-f", "grows"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::fs::write(&go_on, "").unwrap();
    let followed = follow.wait_with_output().unwrap();
    assert_eq!((followed.status.code(), followed.stdout.as_slice()), (Some(0), &b"first\nlast"[..]), "{}", told(&followed));
    assert!(run.wait().unwrap().success());
}
