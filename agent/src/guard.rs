//! A small parent that starts the agent again when it is killed.
//!
//! A kubelet that restarts a container takes a second, and longer each time; jobs live and are deleted in less. The parent is
//! this program before it has read anything or started a thread: it waits, and that is all. It restarts what was ended by a
//! signal (SIGKILL of the OOM killer, a crash); a code that the agent exits with is passed on, for the kubelet to deal with.
//!
//! In: signals. Out: the exit code of the process.

use std::{
    env,
    error::Error,
    io,
    process::{Child, Command, ExitCode},
    time::{Duration, Instant},
};

use jobmeter_daemon::exit::Code;
use nix::{
    sys::{
        prctl,
        signal::{SigSet, Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{Pid, getppid},
};

/// Holds the process ID of the guard, which the child checks for its own.
const GUARDED_BY: &str = "JOBMETER_GUARDED_BY";
/// As often within [`WINDOW`] as this, it is the kubelet's turn, which waits longer and tells people.
const MOST_RESTARTS: usize = 5;
const WINDOW: Duration = Duration::from_secs(10);
const PASSED_ON: [Signal; 3] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP];

/// What this process is.
pub(crate) enum Role {
    /// Go on.
    Agent,
    /// It was the guard, and is done.
    Guard(ExitCode),
}

/// Call it first of all. Returns in the child; in the parent only when all is over. Without a guard (`off`, or where this
/// program cannot be started again) the agent runs as it is.
pub(crate) fn take_role(off: bool) -> Role {
    if let Some(guard) = env::var(GUARDED_BY).ok().and_then(|text| text.parse().ok()) {
        return match be_guarded(Pid::from_raw(guard)) {
            Ok(()) => Role::Agent,
            Err(why) => Role::Guard(failed("the agent is not what its guard started", &why)),
        };
    }
    if off {
        return Role::Agent;
    }
    match guard() {
        Ok(code) => Role::Guard(code),
        Err(why) => Role::Guard(failed("failed to guard the agent", &why)),
    }
}

/// The child ends with its parent, and takes signals again.
fn be_guarded(guard: Pid) -> io::Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    if getppid() != guard {
        return Err(io::Error::other(format!("process {guard} is gone")));
    }
    Ok(waited_for().thread_unblock()?)
}

fn guard() -> io::Result<ExitCode> {
    let signals = waited_for();
    signals.thread_block()?;
    let mut restarts: Vec<Instant> = Vec::new();
    let mut child = start()?;
    let mut stopping = false;
    loop {
        let signal = signals.wait()?;
        if PASSED_ON.contains(&signal) {
            stopping = true;
            // One that has just ended is reported by SIGCHLD.
            kill(pid_of(&child), signal).or_else(|errno| if errno == nix::errno::Errno::ESRCH { Ok(()) } else { Err(errno) })?;
            continue;
        }
        let Some(ended) = ended(&child)? else { continue };
        let killed_by = match ended {
            Ended::Code(code) => return Ok(ExitCode::from(u8::try_from(code).unwrap_or(Code::TaskDied as u8))),
            Ended::Signal(signal) => signal,
        };
        let now = Instant::now();
        restarts.retain(|at| now.duration_since(*at) < WINDOW);
        if stopping || restarts.len() >= MOST_RESTARTS {
            eprintln!("jobmeter-agent: ended by {killed_by}, and not started again ({} restarts within 10 s)", restarts.len());
            return Ok(Code::TaskDied.into());
        }
        restarts.push(now);
        eprintln!("jobmeter-agent: ended by {killed_by}; started again");
        child = start()?;
    }
}

enum Ended {
    Code(i32),
    Signal(Signal),
}

fn start() -> io::Result<Child> {
    Command::new(env::current_exe()?).args(env::args_os().skip(1)).env(GUARDED_BY, std::process::id().to_string()).spawn()
}

fn ended(child: &Child) -> io::Result<Option<Ended>> {
    match waitpid(pid_of(child), Some(WaitPidFlag::WNOHANG))? {
        WaitStatus::Exited(_, code) => Ok(Some(Ended::Code(code))),
        WaitStatus::Signaled(_, signal, _) => Ok(Some(Ended::Signal(signal))),
        _ => Ok(None),
    }
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX))
}

fn waited_for() -> SigSet {
    PASSED_ON.into_iter().chain([Signal::SIGCHLD]).collect()
}

fn failed(what: &str, why: &dyn Error) -> ExitCode {
    eprintln!("jobmeter-agent: {what}: {why}");
    Code::TaskDied.into()
}
