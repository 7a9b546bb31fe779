//! The memory of one upload: a fixed number of buffers that go round between the encoder and the HTTP client.
//!
//! Whoever has none to fill waits for one to come back: that is the only brake between disk and network.

use std::sync::mpsc::{Receiver, Sender, channel};

use bytes::Bytes;

#[derive(Debug)]
pub(super) struct Buffers {
    back: Receiver<Vec<u8>>,
    give: Sender<Vec<u8>>,
    unmade: usize,
    capacity: usize,
}

impl Buffers {
    /// None is made before it is needed.
    pub(super) fn new(count: usize, capacity: usize) -> Self {
        let (give, back) = channel();
        Self { back, give, unmade: count, capacity }
    }

    /// An empty one. Blocks until there is one.
    pub(super) fn take(&mut self) -> Vec<u8> {
        if let Ok(buffer) = self.back.try_recv() {
            return buffer;
        }
        if self.unmade > 0 {
            self.unmade -= 1;
            return Vec::with_capacity(self.capacity);
        }
        // We hold a sender ourselves, so it cannot be closed.
        self.back.recv().unwrap_or_default()
    }

    /// It comes back when the last clone is dropped.
    pub(super) fn lend(&self, buffer: Vec<u8>) -> Bytes {
        Bytes::from_owner(Lent { buffer, give: self.give.clone() })
    }
}

struct Lent {
    buffer: Vec<u8>,
    give: Sender<Vec<u8>>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        // Nobody waits for it when the upload is over.
        drop(self.give.send(buffer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_with_its_last_clone_and_keeps_its_memory() {
        let mut buffers = Buffers::new(1, 64);
        let mut buffer = buffers.take();
        buffer.extend_from_slice(b"one");
        let address = buffer.as_ptr();
        let lent = buffers.lend(buffer);
        let clone = lent.clone();
        drop(lent);
        let waiting = std::thread::spawn(move || buffers.take());
        assert_eq!(&clone[..], b"one");
        drop(clone);
        let again = waiting.join().unwrap();
        assert_eq!((again.as_ptr(), again.len(), again.capacity()), (address, 0, 64));
    }
}
