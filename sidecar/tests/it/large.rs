//! Files of any size in little memory.

use std::fs::{self, File};
use std::sync::mpsc::channel;

use crate::server::{Answer, Server};
use crate::{ended, sidecar};

const LENGTH: u64 = 100 << 20;
/// Of a debug build, whose program alone has some MiB.
const MOST_KIB: u64 = 16 << 10;

#[test]
fn a_hundred_mebibytes_are_streamed_in_a_few() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large");
    File::create(&path).unwrap().set_len(LENGTH).unwrap();
    let (word, answer) = channel();
    let server = Server::start(vec![Answer::Hold(answer)]);
    let child = sidecar(server.address).args(["report", "file"]).arg(&path).spawn().unwrap();
    let request = server.next();
    assert_eq!((request.header("content-length"), request.length), (Some(LENGTH.to_string().as_str()), LENGTH));
    assert_eq!(request.header("expect"), Some("100-continue"));
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let most: u64 = most.split_whitespace().next().unwrap().parse().unwrap();
    word.send(()).unwrap();
    assert_eq!(ended(child.wait_with_output().unwrap()), (0, String::new()));
    println!("{LENGTH} bytes sent with {most} KiB of memory at most");
    assert!(most < MOST_KIB, "{most} KiB");
}

#[test]
fn a_file_that_the_server_does_not_want_is_not_sent() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large");
    File::create(&path).unwrap().set_len(LENGTH).unwrap();
    let too_large = "413 Payload Too Large\r\nconnection: close\r\ncontent-length: 24\r\n\r\nfiles are 4 GiB at most.";
    let server = Server::start(vec![Answer::SayAtOnce(too_large)]);
    let (code, said) = ended(sidecar(server.address).args(["report", "file"]).arg(&path).output().unwrap());
    assert!(code == 1 && said.contains("413 Payload Too Large: files are 4 GiB at most."), "{code}: {said}");
}
