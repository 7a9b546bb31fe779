//! Orders and replies on a socket pair: a length with the descriptors, then JSON.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A log file and one file for each cgroup hierarchy; Linux has 14 controllers.
const MAX_DESCRIPTORS: usize = 16;

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) argv: Vec<String>,
    pub(super) env: Vec<(String, String)>,
    pub(super) working_dir: Option<String>,
    /// The first descriptor is the log file.
    pub(super) log: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Reply {
    /// 0: nothing was born.
    pub(super) pid: i32,
    /// What the child's `ru_maxrss` begins with.
    pub(super) rss_kib: u64,
    pub(super) errno: Option<i32>,
    /// What was found and has neither a format that the kernel knows nor a `#!`.
    pub(super) script: Option<String>,
}

pub(super) fn send<'f>(
    mut socket: &UnixStream,
    message: &impl Serialize,
    descriptors: impl Iterator<Item = &'f File>,
) -> io::Result<()> {
    let body = serde_json::to_vec(message)?;
    let length = u64::try_from(body.len()).map_err(io::Error::other)?.to_ne_bytes();
    let descriptors: Vec<RawFd> = descriptors.map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&descriptors)];
    let control = if descriptors.is_empty() { &[] } else { &rights[..] };
    // Eight bytes go at once or not at all: the buffer is empty, orders and replies take turns.
    sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(&length)], control, MsgFlags::MSG_NOSIGNAL, None)?;
    socket.write_all(&body)
}

pub(super) fn receive<M: DeserializeOwned>(socket: &UnixStream) -> io::Result<M> {
    match receive_with_descriptors(socket)? {
        Some((message, _)) => Ok(message),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// `None`: the other end is closed.
pub(super) fn receive_with_descriptors<M: DeserializeOwned>(mut socket: &UnixStream) -> io::Result<Option<(M, Vec<OwnedFd>)>> {
    let mut length = [0; 8];
    let mut space = nix::cmsg_space!([RawFd; MAX_DESCRIPTORS]);
    let mut descriptors = Vec::new();
    let got = {
        let mut buffers = [IoSliceMut::new(&mut length)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_WAITALL;
        let message = recvmsg::<()>(socket.as_raw_fd(), &mut buffers, Some(&mut space), flags)?;
        for control in message.cmsgs()? {
            if let ControlMessageOwned::ScmRights(received) = control {
                descriptors.extend(received.into_iter().map(owned));
            }
        }
        message.bytes
    };
    if got == 0 {
        return Ok(None);
    }
    let length = usize::try_from(u64::from_ne_bytes(length)).map_err(io::Error::other)?;
    let mut body = vec![0; length];
    socket.read_exact(&mut body)?;
    Ok(Some((serde_json::from_slice(&body)?, descriptors)))
}

#[allow(unsafe_code)]
fn owned(descriptor: RawFd) -> OwnedFd {
    // SAFETY: the kernel has just made it for this message; nobody else knows its number.
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}
