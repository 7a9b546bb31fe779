//! A descriptor of a process: readable once the process has ended, never the descriptor of another one.

use std::{io, os::fd::OwnedFd};

use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// Fails with `ESRCH` where the process is gone, with `EINVAL` where it is just being reaped, or `pid` is not a process's leader.
pub fn open(pid: i32) -> io::Result<OwnedFd> {
    let pid = Pid::from_raw(pid).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    Ok(pidfd_open(pid, PidfdFlags::NONBLOCK)?)
}
