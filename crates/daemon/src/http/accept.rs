//! Takes connections from a listener, at most as many at once as there are slots, and tells errors that pass (out of file
//! descriptors, an aborted handshake) from those that do not (the listener itself is broken).

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::warn;

const SHORTEST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

pub(super) struct Accept<'a> {
    listener: &'a TcpListener,
    slots: Arc<Semaphore>,
    pause: Duration,
}

#[derive(Debug, thiserror::Error)]
#[error("failed to accept connections")]
pub(super) struct AcceptError(#[source] io::Error);

#[derive(Debug, PartialEq, Eq)]
enum Fault {
    /// Of the connection that was about to be accepted: go on at once.
    Connection,
    /// Of the machine or the process, such as no free descriptor: go on after a pause.
    Passing,
    /// Of the listener: it will never accept again.
    Listener,
}

impl<'a> Accept<'a> {
    pub(super) fn new(listener: &'a TcpListener, slots: Arc<Semaphore>) -> Self {
        Self { listener, slots, pause: SHORTEST_PAUSE }
    }

    /// Cancel-safe.
    pub(super) async fn next(&mut self) -> Result<(TcpStream, SocketAddr, OwnedSemaphorePermit), AcceptError> {
        let slot = Arc::clone(&self.slots).acquire_owned().await.map_err(|error| AcceptError(io::Error::other(error)))?;
        loop {
            let error = match self.listener.accept().await {
                Ok((stream, peer)) => {
                    self.pause = SHORTEST_PAUSE;
                    return Ok((stream, peer, slot));
                }
                Err(error) => error,
            };
            match fault(&error) {
                Fault::Connection => {}
                Fault::Passing => {
                    warn!(error = &error as &dyn Error, pause = ?self.pause, "failed to accept a connection, trying again");
                    let pause = self.pause;
                    self.pause = (pause * 2).min(LONGEST_PAUSE);
                    tokio::time::sleep(pause).await;
                }
                Fault::Listener => return Err(AcceptError(error)),
            }
        }
    }
}

fn fault(error: &io::Error) -> Fault {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ECONNABORTED | Errno::ECONNRESET | Errno::ECONNREFUSED | Errno::EINTR | Errno::EPROTO) => Fault::Connection,
        Some(Errno::EBADF | Errno::EINVAL | Errno::ENOTSOCK | Errno::EFAULT) => Fault::Listener,
        _ => Fault::Passing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn running_out_of_descriptors_passes_but_a_broken_listener_does_not() {
        let of = |errno: Errno| fault(&io::Error::from(errno));
        assert_eq!(of(Errno::EMFILE), Fault::Passing);
        assert_eq!(of(Errno::ENFILE), Fault::Passing);
        assert_eq!(of(Errno::ENOBUFS), Fault::Passing);
        assert_eq!(of(Errno::ECONNABORTED), Fault::Connection);
        assert_eq!(of(Errno::EINVAL), Fault::Listener);
    }
}
