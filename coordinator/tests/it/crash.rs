//! `kill -9` at a random moment: what was acknowledged is there afterwards, and the file opens without a word.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use jobmeter_coordinator::store::Store;

use crate::harness::{apply, open, uid, whole};

const DIRECTORY: &str = "JOBMETER_TEST_CRASH_DIRECTORY";
/// Pods that the child acknowledges before it is killed, in one run after the other.
const KILLED_AFTER: [usize; 3] = [1, 7, 40];

/// The child: writes pods and says which are durable, until it is killed.
#[tokio::test]
#[ignore = "is started by the test below"]
async fn child() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let store = open(directory.as_ref());
    for n in 0.. {
        apply(&store, whole(n, "sort")).await;
        let mut out = std::io::stdout();
        writeln!(out, "\nacknowledged {n}").unwrap();
        out.flush().unwrap();
    }
}

#[tokio::test]
async fn every_acknowledged_record_survives_kill_9() {
    let files = tempfile::tempdir().unwrap();
    for killed_after in KILLED_AFTER {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crash::child", "--ignored", "--nocapture"])
            .env(DIRECTORY, files.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let acknowledged = lines.filter_map(|line| line.strip_prefix("acknowledged ")?.parse::<usize>().ok());
        let last = acknowledged.take(killed_after).last().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();

        let store = Store::open_read_only(&files.path().join("jobmeter.db")).unwrap();
        for n in 0..=last {
            let record = store.record(&uid(n)).await.unwrap().unwrap_or_else(|| panic!("record {n} of {last} is lost"));
            assert_eq!(record.usage.cpu_seconds.unwrap().value, n as f64 / 100.0);
        }
    }
}
