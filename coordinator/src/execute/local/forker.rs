//! A small process that makes our children, forked before this one grew.
//!
//! A child's `ru_maxrss` begins with the memory of whoever forked it: forked from here, `true` would be said to have used as
//! much as Jobmeter does. It also makes a fork cheap. The forker starts each child beside itself (`CLONE_PARENT`): it is our
//! child, for us to wait for. Both ends are one program at one moment, so what they say to each other is nobody's protocol.
//!
//! ```text
//! spawner thread ──order, descriptors──▶ forker ──clone──▶ child: join cgroups, exec
//!                ◀──pid, or what failed──                     (reaped by us)
//! ```

mod image;
mod server;
mod wire;

use std::fs::File;
use std::io;
use std::os::unix::net::UnixStream;

use jobmeter_jobfile::Invocation;
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use super::child;
use wire::{Order, Reply};

pub struct Forker {
    socket: UnixStream,
    pid: Pid,
}

/// What a child is started with.
pub(super) struct Birth<'a> {
    pub(super) invocation: &'a Invocation,
    /// For output and error; `None`: all three streams are inherited, and so is the process group.
    pub(super) log: Option<&'a File>,
    /// `0` is written to each by the child, in this order, before anything else.
    pub(super) join: &'a [File],
}

/// It executes its command.
pub(super) struct Born {
    pub(super) pid: i32,
    /// Its `ru_maxrss` will not be below this, however little the command uses.
    pub(super) rss_floor_bytes: u64,
}

#[derive(Debug)]
pub(super) enum NotBorn {
    /// The child could not do it.
    Child(io::Error),
    /// There is no forker any more.
    Forker(io::Error),
}

impl Forker {
    /// Call it before the first thread is started and before much memory is used.
    pub fn fork() -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        let pid = match child::fork()? {
            Some(pid) => Pid::from_raw(pid),
            None => {
                drop(ours);
                child::leave(server::serve(theirs));
            }
        };
        Ok(Self { socket: ours, pid })
    }

    pub(super) fn spawn(&self, birth: &Birth<'_>) -> Result<Born, NotBorn> {
        let mut order = Order {
            argv: birth.invocation.argv.clone(),
            env: birth.invocation.env.clone(),
            working_dir: birth.invocation.working_dir.clone(),
            log: birth.log.is_some(),
        };
        let reply = self.order(&order, birth)?;
        let Some(script) = reply.script else { return reply.outcome() };
        // As `execvp(3)` does it.
        order.argv.splice(..1, ["/bin/sh".to_owned(), script]);
        self.order(&order, birth)?.outcome()
    }

    fn order(&self, order: &Order, birth: &Birth<'_>) -> Result<Reply, NotBorn> {
        let descriptors = birth.log.into_iter().chain(birth.join);
        wire::send(&self.socket, order, descriptors).map_err(NotBorn::Forker)?;
        let reply: Reply = wire::receive(&self.socket).map_err(NotBorn::Forker)?;
        if reply.errno.is_some() && reply.pid > 0 {
            // It was born all the same, and is ours to bury.
            waitpid(Pid::from_raw(reply.pid), None).map_err(|errno| NotBorn::Forker(errno.into()))?;
        }
        Ok(reply)
    }
}

impl Reply {
    fn outcome(self) -> Result<Born, NotBorn> {
        match self.errno {
            None => Ok(Born { pid: self.pid, rss_floor_bytes: self.rss_kib * 1024 }),
            Some(errno) => Err(NotBorn::Child(io::Error::from_raw_os_error(errno))),
        }
    }
}

impl Drop for Forker {
    fn drop(&mut self) {
        // It ends when it hears nothing more. What cannot be waited for has ended already.
        self.socket.shutdown(std::net::Shutdown::Both).unwrap_or_default();
        waitpid(self.pid, None).map(drop).unwrap_or_default();
    }
}
