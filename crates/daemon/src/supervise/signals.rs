//! The signals that ask a process to stop. Input: SIGTERM and SIGINT; output: their names, one by one.

use std::future::pending;
use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

pub(super) enum Signals {
    Os {
        terminate: Signal,
        interrupt: Signal,
    },
    Ignored,
    #[cfg(test)]
    Scripted(tokio::sync::mpsc::Receiver<&'static str>),
}

impl Signals {
    pub(super) fn from_os() -> io::Result<Self> {
        Ok(Self::Os { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Pending for ever once there can be no more. Cancel-safe.
    pub(super) async fn next(&mut self) -> &'static str {
        let received = match self {
            Self::Os { terminate, interrupt } => tokio::select! {
                received = terminate.recv() => received.map(|()| "SIGTERM"),
                received = interrupt.recv() => received.map(|()| "SIGINT"),
            },
            Self::Ignored => None,
            #[cfg(test)]
            Self::Scripted(script) => script.recv().await,
        };
        match received {
            Some(name) => name,
            None => pending().await,
        }
    }
}
