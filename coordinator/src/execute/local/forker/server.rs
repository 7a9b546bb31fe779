//! The forker's side: one thread, one order at a time, until the other end closes.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use jobmeter_hostfs::process::FORKER_COMM;
use nix::libc;
use nix::sys::prctl::{set_name, set_pdeathsig};
use nix::sys::signal::{SigSet, Signal};

use super::child;
use super::image::{Image, Refusal, WORD, Word};
use super::wire::{Order, Reply, receive_with_descriptors, send};

/// Its exit code.
pub(super) fn serve(socket: UnixStream) -> i32 {
    // Keys of the terminal are for the jobs; a child gets an empty mask.
    let served = SigSet::all().thread_block().map_err(io::Error::from).and_then(|()| take_orders(&socket));
    i32::from(served.is_err())
}

fn take_orders(socket: &UnixStream) -> io::Result<()> {
    // Its children bear the name until they execute their commands: by it a sampler leaves them out.
    set_name(&CString::new(FORKER_COMM)?)?;
    let parent = nix::unistd::getppid();
    // Also where the parent is killed and somebody else still holds its end of the socket.
    set_pdeathsig(Signal::SIGKILL)?;
    if nix::unistd::getppid() != parent {
        return Ok(());
    }
    let null = OwnedFd::from(File::open("/dev/null")?);
    while let Some((order, descriptors)) = receive_with_descriptors::<Order>(socket)? {
        let reply = follow(&order, descriptors, &null).unwrap_or_else(|error| Reply {
            pid: 0,
            rss_kib: 0,
            errno: Some(errno(&error)),
            script: None,
        });
        send(socket, &reply, std::iter::empty())?;
    }
    Ok(())
}

fn follow(order: &Order, descriptors: Vec<OwnedFd>, null: &OwnedFd) -> io::Result<Reply> {
    let (log, cgroups) = match descriptors.split_first() {
        Some((log, cgroups)) if order.log => (Some(log), cgroups),
        _ => (None, &descriptors[..]),
    };
    let streams = log.map(|log| (null, log));
    let image = Image::new(order)?;
    let Child { pid, rss_kib, refusal } = bear(&image, cgroups, streams)?;
    let script = refusal.filter(|refusal| refusal.errno == libc::ENOEXEC).and_then(|refusal| image.candidate(refusal.candidate));
    Ok(Reply { pid, rss_kib, errno: refusal.map(|refusal| refusal.errno), script: script.map(str::to_owned) })
}

struct Child {
    pid: i32,
    /// Before exec.
    rss_kib: u64,
    /// Why it is about to end.
    refusal: Option<Refusal>,
}

fn bear(image: &Image, cgroups: &[OwnedFd], streams: Option<(&OwnedFd, &OwnedFd)>) -> io::Result<Child> {
    let (mut heard, mut tell) = io::pipe()?;
    let Some(pid) = child::clone_sibling()? else {
        let Refusal { errno, candidate } = image.enter(cgroups, streams, tell.as_raw_fd());
        let word = Word { errno, candidate: i32::try_from(candidate).unwrap_or(0), ..Word::default() };
        // Nobody to tell means nobody to know.
        tell.write_all(&word.bytes()).unwrap_or_default();
        child::leave(127);
    };
    drop(tell);
    let mut child = Child { pid, rss_kib: 0, refusal: None };
    let mut word = [0; WORD];
    // Exec, or its end, closes the child's end of the pipe.
    while heard.read_exact(&mut word).is_ok() {
        let Word { rss_kib, errno, candidate } = Word::from_bytes(word);
        match errno {
            0 => child.rss_kib = u64::try_from(rss_kib).unwrap_or(0),
            _ => child.refusal = Some(Refusal { errno, candidate: usize::try_from(candidate).unwrap_or(0) }),
        }
    }
    Ok(child)
}

fn errno(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EINVAL)
}
