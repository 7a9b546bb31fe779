//! What std cannot do about children: fork without exec, make siblings, await a pidfd, `wait4(2)`.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use jobmeter_protocol::ExitStatus;
use nix::libc;
use tokio::io::unix::AsyncFd;

/// What `wait4(2)` says of a process and of its waited-for descendants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Waited {
    pub(super) exit: ExitStatus,
    pub(super) user: Duration,
    pub(super) system: Duration,
    pub(super) max_rss_bytes: u64,
}

impl Waited {
    pub(super) const UNKNOWN: Self =
        Self { exit: ExitStatus { code: None, signal: None }, user: Duration::ZERO, system: Duration::ZERO, max_rss_bytes: 0 };
}

impl Waited {
    /// Where `ru_maxrss` is no more than what the process was born with, it says nothing of what was executed. Without
    /// cgroups it stays: then it is the only word on memory there is, and labelled as that of `wait4`.
    pub(super) fn without_inheritance(self, rss_floor_bytes: u64) -> Self {
        /// The kernel counts resident pages per CPU and sums them roughly: 0.5 MiB apart were seen on 6.18.
        const SLACK: u64 = 1024 * 1024;
        let own = self.max_rss_bytes > rss_floor_bytes + SLACK;
        Self { max_rss_bytes: if own { self.max_rss_bytes } else { 0 }, ..self }
    }
}

/// `None` in the child, which must end by [`leave`].
pub(super) fn fork() -> io::Result<Option<i32>> {
    // SAFETY: the caller has one thread, or (in tests) relies on the C library to leave its locks usable in the child.
    born(libc::c_long::from(unsafe { libc::fork() }))
}

/// A child of our parent. `None` in the child, which must end by exec or by [`leave`].
pub(super) fn clone_sibling() -> io::Result<Option<i32>> {
    let flags = libc::c_long::from(libc::CLONE_PARENT | libc::SIGCHLD);
    let none: libc::c_long = 0;
    // SAFETY: no memory is shared and no pointer passed: it is a fork in all but whose child it is. The caller has one thread.
    born(unsafe { libc::syscall(libc::SYS_clone, flags, none, none, none, none) })
}

fn born(result: libc::c_long) -> io::Result<Option<i32>> {
    match result {
        0 => Ok(None),
        -1 => Err(io::Error::last_os_error()),
        pid => i32::try_from(pid).map(Some).map_err(io::Error::other),
    }
}

/// Ends a forked process without running what its parent has planned for its own end.
pub(super) fn leave(code: i32) -> ! {
    // SAFETY: `_exit` has no conditions.
    unsafe { libc::_exit(code) }
}

/// Reaps a child that has ended; `None`: it runs. Nobody else may wait for children of this process.
pub(super) fn reap(pid: i32) -> io::Result<Option<Waited>> {
    let mut status: libc::c_int = 0;
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    let reaped = loop {
        // SAFETY: both pointers are to locals that outlive the call.
        let reaped = unsafe { libc::wait4(pid, &raw mut status, libc::WNOHANG, usage.as_mut_ptr()) };
        if reaped != -1 {
            break reaped;
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    };
    if reaped == 0 {
        return Ok(None);
    }
    // SAFETY: zeroed is a valid rusage, and the kernel has filled it in.
    let usage = unsafe { usage.assume_init() };
    let signal = libc::WIFSIGNALED(status).then(|| libc::WTERMSIG(status));
    let code = libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status));
    Ok(Some(Waited {
        exit: ExitStatus { code, signal },
        user: duration(usage.ru_utime),
        system: duration(usage.ru_stime),
        // Kept in KiB.
        max_rss_bytes: u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024,
    }))
}

/// A pidfd that can be awaited: readable once the process has ended.
pub(super) fn watch(pidfd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the descriptor is owned by the `AsyncFd`, never given out, and closed only after it was taken off the reactor.
    unsafe { AsyncFd::register(pidfd) }.map_err(Into::into)
}

fn duration(time: libc::timeval) -> Duration {
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_usec).unwrap_or(0) * 1000)
}
