//! What is posted, where, and what a refusal looks like.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use crate::server::{Answer, OK, Server};
use crate::{TOKEN, ended, sidecar};

const RESULT: &str = r#"{"disk":[{"value":1.5,"labels":{"device":"sda"}}]}"#;

#[test]
fn a_result_is_posted_from_a_file_and_from_stdin() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("result.json");
    fs::write(&path, RESULT).unwrap();
    let server = Server::start(vec![OK, OK, OK]);
    let by_file = sidecar(server.address).args(["report", "result"]).arg(&path).output().unwrap();
    assert_eq!(ended(by_file), (0, String::new()));
    for arguments in [&["report", "result"][..], &["report", "result", "-"]] {
        let mut child = sidecar(server.address).args(arguments).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(RESULT.as_bytes()).unwrap();
        assert_eq!(ended(child.wait_with_output().unwrap()), (0, String::new()));
    }
    for request in server.all() {
        assert_eq!(request.target, format!("/report/node-a/202611211930/{TOKEN}/result"));
        assert_eq!(request.header("content-type"), Some("application/json"));
        assert_eq!(request.header("content-length"), Some(RESULT.len().to_string().as_str()));
        assert_eq!(request.body, RESULT.as_bytes());
    }
}

#[test]
fn each_file_is_posted_under_its_own_name_whatever_bytes_that_has() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["a.log", "100% full & more.txt", "Größe.txt"];
    for name in names {
        fs::write(folder.path().join(name), name).unwrap();
    }
    let server = Server::start(vec![OK, OK, OK]);
    let mut command = sidecar(server.address);
    command.args(["report", "file"]).args(names.map(|name| folder.path().join(name)));
    assert_eq!(ended(command.output().unwrap()), (0, String::new()));
    let requests = server.all();
    let target = |name: &str| format!("/report/node-a/202611211930/{TOKEN}/file?name={name}");
    let targets: Vec<_> = requests.iter().map(|request| request.target.clone()).collect();
    assert_eq!(targets, [target("a%2Elog"), target("100%25%20full%20%26%20more%2Etxt"), target("Gr%C3%B6%C3%9Fe%2Etxt")]);
    for (request, name) in requests.iter().zip(names) {
        assert_eq!(request.body, name.as_bytes());
        assert_eq!(request.header("content-type"), Some("application/octet-stream"));
    }
}

#[test]
fn a_file_may_be_empty_and_be_given_another_name_and_type() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("empty");
    fs::write(&path, "").unwrap();
    let server = Server::start(vec![OK]);
    let mut command = sidecar(server.address);
    command.args(["report", "file", "--name=other", "--content-type", "text/plain; charset=utf-8"]).arg(&path);
    assert_eq!(ended(command.output().unwrap()), (0, String::new()));
    let request = server.next();
    assert!(request.target.ends_with("/file?name=other"));
    assert_eq!(
        (request.header("content-length"), request.header("content-type")),
        (Some("0"), Some("text/plain; charset=utf-8"))
    );
}

#[test]
fn an_event_arrives_word_by_word_with_its_arguments_apart() {
    let server = Server::start(vec![OK, OK]);
    let long = [
        "report",
        "event",
        "--warning",
        "--action",
        "Check",
        "--reason",
        "DiskFull",
        "--message",
        "%s: 100% full",
        "sda1",
        "x\"y",
    ];
    assert_eq!(ended(sidecar(server.address).args(long).output().unwrap()), (0, String::new()));
    let short = ["report", "event", "--reason=Done", "--message=disk 100% full"];
    assert_eq!(ended(sidecar(server.address).args(short).output().unwrap()), (0, String::new()));
    let bodies: Vec<_> = server.all().into_iter().map(|request| String::from_utf8(request.body).unwrap()).collect();
    assert_eq!(
        bodies,
        [
            r#"{"warning":true,"action":"Check","reason":"DiskFull","message":"%s: 100% full","args":["sda1","x\"y"]}"#,
            r#"{"warning":false,"reason":"Done","message":"disk 100% full","args":[]}"#,
        ]
    );
}

#[test]
fn another_url_may_be_given() {
    let server = Server::start(vec![OK]);
    let url = format!("http://{}/elsewhere?secret=1", server.address);
    let mut command = sidecar("127.0.0.1:9");
    let output = command.args(["report", "file", "--url", &url, "/dev/null/none"]).output().unwrap();
    assert_eq!(ended(output).0, 1, "there is no such file");
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a"), "a").unwrap();
    let output = sidecar("127.0.0.1:9").args(["report", "file", "--url", &url]).arg(folder.path().join("a")).output().unwrap();
    assert_eq!(ended(output), (0, String::new()));
    assert_eq!(server.next().target, "/elsewhere?secret=1&name=a");
}

#[test]
fn a_refusal_is_not_tried_again_and_its_sentence_is_passed_on() {
    let sentence = "400 Bad Request\r\ncontent-length: 24\r\n\r\nresults must not be empt";
    let server = Server::start(vec![Answer::Say(sentence), Answer::Say("406 Not Acceptable\r\ncontent-length: 0\r\n\r\n"), OK]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    fs::write(&path, "{}").unwrap();
    let output = sidecar(server.address).args(["report", "result"]).arg(&path).output().unwrap();
    let url = format!("http://{}/report/node-a/202611211930/…/result", server.address);
    let said = format!("jobmeter-sidecar: {url} refused it: 400 Bad Request: results must not be empt\n");
    assert_eq!(ended(output), (1, said));
    // Of two files the second is posted though the first was refused.
    let output = sidecar(server.address).args(["report", "file"]).args([&path, &path]).output().unwrap();
    let (code, said) = ended(output);
    assert!(code == 1 && said.contains("/…/file refused it: 406 Not Acceptable\n"), "{code}: {said}");
    assert_eq!(server.all().len(), 3);
}

#[test]
fn of_the_coordinators_own_answer_the_words_are_shown_and_not_its_form() {
    let answer = "403 Forbidden\r\ncontent-length: 55\r\n\r\n{\"error\":\"not that token\",\"subject\":\"a\",\"hint\":\"try b\"}";
    let server = Server::start(vec![Answer::Say(answer)]);
    let (code, said) = ended(sidecar(server.address).args(["report", "event", "--reason=A", "--message=b"]).output().unwrap());
    assert!(code == 1 && said.ends_with("refused it: 403 Forbidden: not that token; try b\n"), "{code}: {said}");
}

#[test]
fn a_redirect_is_not_followed_with_a_secret() {
    let server =
        Server::start(vec![Answer::Say("307 Temporary Redirect\r\nlocation: http://127.0.0.1:9/\r\ncontent-length: 0\r\n\r\n")]);
    let (code, said) = ended(sidecar(server.address).args(["report", "event", "--reason=A", "--message=b"]).output().unwrap());
    assert!(code == 1 && said.contains("refused it: 307"), "{code}: {said}");
}
