//! A server that does as it is told, one connection after the other, and remembers what it got.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

/// What it does with a request.
pub(crate) enum Answer {
    /// Reads the body, and sends this after the version.
    Say(&'static str),
    /// The same, without reading a body that it was asked about first.
    SayAtOnce(&'static str),
    /// Reads so much of the body and hangs up.
    HangUpAfter(usize),
    /// Reads and forgets the body, then waits for a word before it says 200.
    Hold(Receiver<()>),
}

pub(crate) const OK: Answer = Answer::Say("200 OK\r\ncontent-length: 0\r\n\r\n");

#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) target: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Of the body, where it was forgotten.
    pub(crate) length: u64,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(have, _)| have == name).map(|(_, value)| value.as_str())
    }
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    requests: Receiver<Request>,
}

impl Server {
    pub(crate) fn start(answers: Vec<Answer>) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap(), answers)
    }

    /// Takes a connection for each answer, and no further one.
    pub(crate) fn on(listener: TcpListener, answers: Vec<Answer>) -> Self {
        let address = listener.local_addr().unwrap();
        let (got, requests) = channel();
        thread::spawn(move || {
            for answer in answers {
                let (stream, _) = listener.accept().unwrap();
                serve(stream, answer, &got);
            }
        });
        Self { address, requests }
    }

    pub(crate) fn next(&self) -> Request {
        self.requests.recv().expect("another request")
    }

    /// Once it has given all its answers.
    pub(crate) fn all(self) -> Vec<Request> {
        self.requests.iter().collect()
    }
}

fn serve(stream: TcpStream, answer: Answer, got: &Sender<Request>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut writer = stream;
    let mut line = || {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    };
    let first = line();
    let target = first.strip_prefix("POST ").and_then(|rest| rest.strip_suffix(" HTTP/1.1")).expect(&first).to_owned();
    let headers = std::iter::from_fn(|| Some(line()).filter(|line| !line.is_empty()))
        .map(|line| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned())).unwrap())
        .collect();
    let mut request = Request { target, headers, body: Vec::new(), length: 0 };
    if request.header("expect").is_some() && !matches!(answer, Answer::SayAtOnce(_)) {
        writer.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap();
    }
    let mut say = |text: &str| writer.write_all(format!("HTTP/1.1 {text}").as_bytes()).unwrap();
    match answer {
        Answer::Say(text) => {
            read_body(&mut reader, &mut request);
            got.send(request).ok();
            say(text);
        }
        Answer::SayAtOnce(text) => {
            got.send(request).ok();
            say(text);
        }
        Answer::HangUpAfter(bytes) => {
            request.body = vec![0; bytes];
            reader.read_exact(&mut request.body).unwrap();
            got.send(request).ok();
        }
        Answer::Hold(word) => {
            request.length = forget_body(&mut reader, &request);
            got.send(request).ok();
            word.recv().unwrap();
            say("200 OK\r\ncontent-length: 0\r\n\r\n");
        }
    }
}

fn forget_body(reader: &mut impl Read, request: &Request) -> u64 {
    let length: u64 = request.header("content-length").unwrap().parse().unwrap();
    std::io::copy(&mut reader.take(length), &mut std::io::sink()).unwrap()
}

fn read_body(reader: &mut impl BufRead, request: &mut Request) {
    if let Some(length) = request.header("content-length") {
        let length: u64 = length.parse().unwrap();
        reader.take(length).read_to_end(&mut request.body).unwrap();
        return;
    }
    assert_eq!(request.header("transfer-encoding"), Some("chunked"));
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let length = u64::from_str_radix(line.trim_end(), 16).unwrap();
        reader.take(length).read_to_end(&mut request.body).unwrap();
        reader.read_line(&mut line).unwrap();
        if length == 0 {
            return;
        }
    }
}
