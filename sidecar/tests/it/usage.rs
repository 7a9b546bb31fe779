//! Calls that cannot be meant are refused before anything is sent.

use std::process::Command;

use crate::{ended, sidecar};

#[test]
fn what_cannot_be_meant_is_exit_code_64_and_says_what_is_wrong() {
    for (arguments, word) in [
        (&[][..], "a command is missing"),
        (&["hold"], "no command \"hold\""),
        (&["report"], "a command is missing"),
        (&["report", "log"], "no command \"report log\""),
        (&["report", "result", "a", "b"], "one FILE"),
        (&["report", "result", "--name=a"], "--name"),
        (&["report", "file"], "needs a PATH"),
        (&["report", "file", "-", "-"], "stdin"),
        (&["report", "file", "--name=a", "b", "c"], "--name is of one file, and there are 2"),
        (&["report", "file", "--content-type=a\nb", "c"], "--content-type"),
        (&["report", "file", "--retry-for=soon", "c"], "--retry-for \"soon\""),
        (&["report", "event", "--message=m"], "--reason"),
        (&["report", "event", "--reason=R"], "--message"),
        (&["report", "event", "--reason=R", "--message=m", "--url=https://host/"], "plain http://"),
        (&["report", "event", "--unknown"], "--unknown"),
    ] {
        let (code, said) = ended(sidecar("127.0.0.1:9").args(arguments).output().unwrap());
        assert!(code == 64 && said.contains(word) && said.lines().count() == 1, "{arguments:?} gave {code}: {said}");
    }
}

#[test]
fn outside_of_a_run_the_missing_variable_is_named() {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin("jobmeter-sidecar"));
    let (code, said) = ended(command.env_clear().args(["report", "file", "a"]).output().unwrap());
    assert!(code == 64 && said.contains("CALLBACK_SERVICE_FILE_URL is not set"), "{said}");
}

#[test]
fn help_says_what_there_is_and_nothing_else() {
    for arguments in [&["--help"][..], &["help"], &["report", "-h"], &["report", "event", "--help"]] {
        let output = sidecar("127.0.0.1:9").args(arguments).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success());
        for there in ["report result", "report file", "report event", "--retry-for"] {
            assert!(text.contains(there), "{text}");
        }
        for not_there in ["hold", "monitor", "collect"] {
            assert!(!text.contains(not_there), "{text}");
        }
    }
}
