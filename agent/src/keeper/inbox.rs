//! Everything the keeper waits for, in one place.

use std::time::Duration;

use futures::{StreamExt, future::OptionFuture, stream::FuturesUnordered};
use tokio::{
    sync::mpsc,
    time::{Instant, Interval, MissedTickBehavior, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    Request,
    work::{Done, Work},
};
use crate::{pods::PodEvent, sampler::Sampled, watch::KernelEvent};

/// Taken in one turn and written to the journal in one go.
const TURN: usize = 256;

/// Channels into the keeper. A source that ends is not asked again; only the watcher's end is a failure.
pub struct Inbox {
    kernel: Option<mpsc::Receiver<KernelEvent>>,
    pods: Option<mpsc::Receiver<PodEvent>>,
    samples: Option<mpsc::Receiver<Sampled>>,
    requests: Option<mpsc::Receiver<Request>>,
    tick: Interval,
}

pub(super) enum Input {
    Kernel(Vec<KernelEvent>),
    WatchEnded,
    Pods(Vec<PodEvent>),
    Samples(Vec<Sampled>),
    Request(Request),
    Done(Done),
    Tick,
    /// A batch is due.
    Flush,
    Heartbeat,
    Stop,
}

impl Inbox {
    pub fn new(
        kernel: Option<mpsc::Receiver<KernelEvent>>,
        pods: mpsc::Receiver<PodEvent>,
        samples: mpsc::Receiver<Sampled>,
        requests: mpsc::Receiver<Request>,
    ) -> Self {
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { kernel, pods: Some(pods), samples: Some(samples), requests: Some(requests), tick }
    }

    /// Cancel-safe in each arm: nothing is taken from a channel that does not win.
    pub(super) async fn next(
        &mut self,
        work: &mut FuturesUnordered<Work>,
        flush: Option<Instant>,
        heartbeat: Option<Instant>,
        stop: &CancellationToken,
    ) -> Input {
        let (mut events, mut pods, mut samples) = (Vec::new(), Vec::new(), Vec::new());
        loop {
            tokio::select! {
                () = stop.cancelled() => return Input::Stop,
                Some(n) = OptionFuture::from(self.kernel.as_mut().map(|kernel| kernel.recv_many(&mut events, TURN))) => {
                    return if n == 0 { Input::WatchEnded } else { Input::Kernel(events) };
                }
                Some(n) = OptionFuture::from(self.pods.as_mut().map(|events| events.recv_many(&mut pods, TURN))) => match n {
                    0 => self.pods = None,
                    _ => return Input::Pods(pods),
                },
                Some(n) = OptionFuture::from(self.samples.as_mut().map(|from| from.recv_many(&mut samples, TURN))) => match n {
                    0 => self.samples = None,
                    _ => return Input::Samples(samples),
                },
                Some(request) = OptionFuture::from(self.requests.as_mut().map(mpsc::Receiver::recv)) => match request {
                    None => self.requests = None,
                    Some(request) => return Input::Request(request),
                },
                Some(done) = work.next(), if !work.is_empty() => return Input::Done(done),
                _ = self.tick.tick() => return Input::Tick,
                Some(()) = OptionFuture::from(flush.map(sleep_until)) => return Input::Flush,
                Some(()) = OptionFuture::from(heartbeat.map(sleep_until)) => return Input::Heartbeat,
            }
        }
    }

    /// What the watcher has handed over already.
    pub(super) fn kernel_now(&mut self) -> Vec<KernelEvent> {
        drained(self.kernel.as_mut())
    }

    pub(super) fn pods_now(&mut self) -> Vec<PodEvent> {
        drained(self.pods.as_mut())
    }
}

fn drained<T>(channel: Option<&mut mpsc::Receiver<T>>) -> Vec<T> {
    let mut events = Vec::new();
    if let Some(channel) = channel {
        while let Ok(event) = channel.try_recv() {
            events.push(event);
        }
    }
    events
}
