//! When a body is sent again, and when not.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use crate::server::{Answer, OK, Server};
use crate::{ended, sidecar};

const BUSY: Answer = Answer::Say("503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 9\r\n\r\nno leader");

#[test]
fn a_file_is_sent_again_until_the_server_takes_it_and_no_sooner_than_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    fs::write(&path, "content").unwrap();
    let too_many = Answer::Say("429 Too Many Requests\r\ncontent-length: 0\r\n\r\n");
    let server = Server::start(vec![BUSY, Answer::HangUpAfter(3), too_many, OK]);
    let began = Instant::now();
    let output = sidecar(server.address).args(["report", "file"]).arg(&path).output().unwrap();
    assert_eq!(ended(output), (0, String::new()));
    assert!(began.elapsed() >= Duration::from_secs(1), "Retry-After: 1 was not obeyed");
    let requests = server.all();
    assert_eq!((requests.len(), &requests[3].body[..]), (4, &b"content"[..]));
}

#[test]
fn a_server_that_comes_back_meanwhile_gets_what_was_on_stdin() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let mut child = sidecar(address).args(["report", "result"]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"{}").unwrap();
    // It is refused at least once in that time; were it not, the test would prove less and still pass.
    thread::sleep(Duration::from_millis(400));
    let server = Server::on(TcpListener::bind(address).unwrap(), vec![OK]);
    assert_eq!(ended(child.wait_with_output().unwrap()), (0, String::new()));
    assert_eq!(server.next().body, b"{}");
}

#[test]
fn a_server_that_stays_away_is_exit_code_69_when_the_time_is_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let began = Instant::now();
    let mut command = sidecar(address);
    let (code, said) =
        ended(command.args(["report", "event", "--reason=A", "--message=b", "--retry-for=700ms"]).output().unwrap());
    assert!(
        code == 69 && said.contains(&format!("http://{address}/report/node-a/202611211930/…/event cannot be reached")),
        "{said}"
    );
    assert!(began.elapsed() < Duration::from_secs(5));
    let server = Server::start(vec![BUSY]);
    let mut command = sidecar(server.address);
    let (code, said) =
        ended(command.args(["report", "event", "--reason=A", "--message=b", "--retry-for=500ms"]).output().unwrap());
    assert!(code == 69 && said.contains("cannot take it now: 503 Service Unavailable: no leader"), "{code}: {said}");
}

#[test]
fn a_stream_whose_bytes_are_gone_is_not_sent_again() {
    let server = Server::start(vec![Answer::HangUpAfter(3 << 20), OK]);
    let mut child = sidecar(server.address).args(["report", "file", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // It may end before it has read all of it.
    thread::spawn(move || stdin.write_all(&vec![b'x'; 16 << 20]).ok());
    let (code, said) = ended(child.wait_with_output().unwrap());
    assert!(code == 69 && said.contains("cannot be reached"), "{code}: {said}");
    let first = server.next();
    assert_eq!((first.header("transfer-encoding"), first.header("content-length")), (Some("chunked"), None));
}

#[test]
fn a_long_stream_is_sent_again_while_the_server_has_taken_nothing_of_it() {
    let busy = Answer::SayAtOnce("503 Service Unavailable\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
    let server = Server::start(vec![busy, OK]);
    let mut child = sidecar(server.address).args(["report", "file", "-", "--name=dump"]).stdin(Stdio::piped()).spawn().unwrap();
    let sent: Vec<u8> = (0..5_000_000_u32).map(|n| (n % 251) as u8).collect();
    let mut stdin = child.stdin.take().unwrap();
    let copy = sent.clone();
    thread::spawn(move || stdin.write_all(&copy).unwrap());
    assert_eq!(ended(child.wait_with_output().unwrap()), (0, String::new()));
    assert!(server.all()[1].body == sent, "other bytes arrived");
}
