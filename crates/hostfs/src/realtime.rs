//! Real-time priority for the calling thread: the one thing here for which no safe wrapper exists.

use std::io;

use nix::libc;

/// The kernel's own `struct sched_param`; libraries add fields to theirs.
#[repr(C)]
struct SchedParam {
    priority: libc::c_int,
}

/// Puts the calling thread under `SCHED_FIFO`. Needs `CAP_SYS_NICE` (or an rlimit) and, on v1, a real-time budget of its cgroup.
/// Threads started from this one begin at normal priority.
pub fn raise(priority: u8) -> io::Result<()> {
    let param = SchedParam { priority: libc::c_int::from(priority.clamp(1, 99)) };
    set(libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK, &param)
}

/// By system call, because musl's `sched_setscheduler` answers ENOSYS: POSIX means processes by it, Linux threads.
#[allow(unsafe_code)]
fn set(policy: libc::c_int, param: &SchedParam) -> io::Result<()> {
    // SAFETY: pid 0 is the calling thread, and `param` points to a valid sched_param for the length of the call.
    let outcome = unsafe { libc::syscall(libc::SYS_sched_setscheduler, 0, policy, std::ptr::from_ref(param)) };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
