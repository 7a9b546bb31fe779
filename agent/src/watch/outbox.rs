//! Hands events over without ever blocking: what the channel cannot take waits here, and readings of one pod become one.
//!
//! What waits is bounded by what has happened: one event for each pod and container that came or went, one reading for each
//! pod, a fixed number of problems.

use std::collections::{HashMap, VecDeque};

use tokio::sync::mpsc::{self, error::TrySendError};

use super::KernelEvent;

const MOST_PROBLEMS: usize = 64;

#[derive(Debug)]
pub(super) struct Outbox {
    channel: mpsc::Sender<KernelEvent>,
    waiting: VecDeque<KernelEvent>,
    /// How many events have left `waiting`: turns a position for life into one of now.
    gone: usize,
    /// Where the waiting reading of a pod is, counted from the first event ever.
    readings: HashMap<String, usize>,
    problems: usize,
    closed: bool,
}

impl Outbox {
    pub(super) fn new(channel: mpsc::Sender<KernelEvent>) -> Self {
        Self { channel, waiting: VecDeque::new(), gone: 0, readings: HashMap::new(), problems: 0, closed: false }
    }

    pub(super) fn push(&mut self, event: KernelEvent) {
        self.flush();
        if self.waiting.is_empty() {
            match self.channel.try_send(event) {
                Ok(()) => {}
                Err(TrySendError::Full(event)) => self.wait(event),
                Err(TrySendError::Closed(_)) => self.closed = true,
            }
        } else {
            self.wait(event);
        }
    }

    /// Hands over what the channel takes now.
    pub(super) fn flush(&mut self) {
        while let Some(event) = self.waiting.pop_front() {
            match self.channel.try_send(event) {
                Ok(()) => self.left(),
                Err(TrySendError::Full(event)) => return self.waiting.push_front(event),
                Err(TrySendError::Closed(_)) => {
                    self.closed = true;
                    return self.waiting.clear();
                }
            }
        }
        self.readings.clear();
        self.problems = 0;
    }

    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Nobody listens any more.
    pub(super) fn is_closed(&self) -> bool {
        self.closed || self.channel.is_closed()
    }

    /// At the end of the thread, where blocking harms nobody.
    pub(super) fn drain(&mut self) {
        for event in self.waiting.drain(..) {
            if self.channel.blocking_send(event).is_err() {
                return;
            }
        }
    }

    fn left(&mut self) {
        self.gone += 1;
    }

    fn wait(&mut self, event: KernelEvent) {
        match &event {
            KernelEvent::PodRead { pod_uid, .. } => {
                let known = self.readings.get(pod_uid).and_then(|position| position.checked_sub(self.gone));
                if let Some(waiting) = known.and_then(|position| self.waiting.get_mut(position)) {
                    *waiting = event;
                    return;
                }
                self.readings.insert(pod_uid.clone(), self.gone + self.waiting.len());
            }
            KernelEvent::Overflowed { .. } if matches!(self.waiting.back(), Some(KernelEvent::Overflowed { .. })) => return,
            KernelEvent::Problem { .. } if self.problems >= MOST_PROBLEMS => return,
            KernelEvent::Problem { .. } => self.problems += 1,
            _ => {}
        }
        self.waiting.push_back(event);
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use jobmeter_protocol::Reading;

    use super::*;

    fn read(pod_uid: &str, pids_peak: u64) -> KernelEvent {
        let at = Timestamp::UNIX_EPOCH;
        let reading = Reading { at, cpu: None, memory: None, pids_peak: Some(pids_peak), io: None, pressure: None };
        KernelEvent::PodRead { pod_uid: pod_uid.to_owned(), reading }
    }

    #[test]
    fn a_full_channel_coalesces_the_readings_of_a_pod_and_keeps_the_order_of_the_rest() {
        let (sender, mut receiver) = mpsc::channel(1);
        let mut outbox = Outbox::new(sender);
        let overflow = || KernelEvent::Overflowed { at: Timestamp::UNIX_EPOCH };
        outbox.push(overflow());
        for peak in 0..1000 {
            outbox.push(read("a", peak));
            outbox.push(read("b", peak));
        }
        assert!(outbox.is_waiting());
        let mut seen = Vec::new();
        while let Ok(event) = receiver.try_recv() {
            seen.push(event);
            // A later reading of a pod whose earlier one is on its way already comes behind the others.
            if seen.len() == 2 {
                outbox.push(read("a", 1000));
            }
            outbox.flush();
        }
        assert_eq!(seen, [overflow(), read("a", 999), read("b", 999), read("a", 1000)]);
        assert!(!outbox.is_waiting());
    }

    #[test]
    fn a_receiver_that_is_gone_is_noticed() {
        let (sender, receiver) = mpsc::channel(1);
        let mut outbox = Outbox::new(sender);
        drop(receiver);
        outbox.push(read("a", 1));
        assert!(outbox.is_closed() && !outbox.is_waiting());
    }

    #[test]
    fn problems_that_nobody_hears_do_not_pile_up() {
        let (sender, _receiver) = mpsc::channel(1);
        let mut outbox = Outbox::new(sender);
        for _ in 0..10_000 {
            outbox.push(KernelEvent::Problem { path: "x".into(), why: "y".to_owned() });
        }
        assert_eq!(outbox.waiting.len(), MOST_PROBLEMS);
    }
}
