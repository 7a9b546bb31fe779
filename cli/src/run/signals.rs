//! Signals that reach `jobmeter run` and `standalone`. In: the process's signals. Out: one number at a time.

use std::io;

use nix::libc;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that ask the whole run to stop.
pub(crate) struct Stops {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Stops {
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Its number. Cancel-safe.
    pub(crate) async fn next(&mut self) -> i32 {
        // Cancel-safe per docs of `recv`; a signal stream never ends.
        tokio::select! {
            _ = self.interrupt.recv() => libc::SIGINT,
            _ = self.terminate.recv() => libc::SIGTERM,
            _ = self.hangup.recv() => libc::SIGHUP,
        }
    }
}

/// The signals that a command in our place is to get.
pub(crate) struct Passed {
    stops: Stops,
    quit: Signal,
    user1: Signal,
    user2: Signal,
}

impl Passed {
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {
            stops: Stops::listen()?,
            quit: signal(SignalKind::quit())?,
            user1: signal(SignalKind::user_defined1())?,
            user2: signal(SignalKind::user_defined2())?,
        })
    }

    /// The next one that the command did not get by itself. Cancel-safe.
    pub(crate) async fn next(&mut self) -> i32 {
        loop {
            // Cancel-safe, as above.
            let signal = tokio::select! {
                signal = self.stops.next() => signal,
                _ = self.quit.recv() => libc::SIGQUIT,
                _ = self.user1.recv() => libc::SIGUSR1,
                _ = self.user2.recv() => libc::SIGUSR2,
            };
            if !from_terminal(signal) {
                return signal;
            }
        }
    }
}

/// A key of the terminal reaches the whole foreground group, the command included. Nothing but the siginfo could tell a
/// `kill -INT` from it, so while we are in the foreground these two are taken to be keys, as `time(1)` does it.
fn from_terminal(signal: i32) -> bool {
    let foreground = || {
        let terminal = std::fs::File::open("/dev/tty").ok()?;
        Some(nix::unistd::tcgetpgrp(&terminal).ok()? == nix::unistd::getpgrp())
    };
    matches!(signal, libc::SIGINT | libc::SIGQUIT) && foreground().unwrap_or(false)
}
