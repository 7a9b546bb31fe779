//! Killed between any two steps, a shipper's successor goes on where it was.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use jobmeter_agent::logs::{Outcome, SealedLog};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    double::Double,
    inside::Inside,
    spool::{Shipping, Spool, counted, lines, options, shipper},
};

/// Ends at the `left`-th time that the other has to wait.
struct Killed<F> {
    future: Pin<Box<F>>,
    left: usize,
}

impl<F: Future> Future for Killed<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if self.left == 0 => Poll::Ready(None),
            Poll::Pending => {
                self.left -= 1;
                Poll::Pending
            }
        }
    }
}

/// Returns whether it came to its end before.
async fn ship_until(double: &Arc<Double>, log: &SealedLog, waits: usize) -> bool {
    let (shipper, _) = shipper(Arc::new(Inside(Arc::clone(double))), options());
    let ((sealed, logs), (results, mut outcomes)) = (mpsc::channel(1), mpsc::channel(1));
    sealed.send(log.clone()).await.unwrap();
    drop(sealed);
    let run = shipper.run(logs, results, CancellationToken::new());
    let ended = Killed { future: Box::pin(run), left: waits }.await;
    let outcome = outcomes.recv().await;
    assert!(ended.is_none() || outcome.is_some(), "it ends with an outcome");
    ended.is_some()
}

async fn whenever_it_is_killed(count: usize) {
    let (text, cri) = lines(count);
    let mut waits = 0;
    loop {
        let (double, spool) = (Double::new(), Spool::new());
        let log = spool.seal("p", &[cri.as_bytes()]);
        let ended = ship_until(&double, &log, waits).await;
        let outcome = Shipping::start(Inside(double.clone()), options()).ship(log.clone()).await;
        assert!(matches!(outcome, Outcome::Stored { .. }), "killed at wait {waits}");
        let state = double.state();
        assert!(state.objects["ns/p.log"] == text.as_bytes(), "killed at wait {waits}: equal bytes");
        assert_eq!(state.objects.len(), 1, "killed at wait {waits}: no second object");
        assert_eq!(state.completed.len(), 1);
        if ended {
            break;
        }
        waits += 1;
    }
    // How many there are depends on how much is ready at once.
    assert!(waits > 4, "{waits} places to be killed at");
}

#[tokio::test]
async fn killed_between_any_two_steps_of_a_small_log_it_is_shipped_whole() {
    whenever_it_is_killed(200).await;
}

#[tokio::test]
async fn killed_between_any_two_steps_of_a_large_log_it_is_shipped_whole() {
    whenever_it_is_killed(4_000).await;
}

#[tokio::test]
async fn killed_again_and_again_it_still_comes_to_its_end() {
    let (text, cri) = lines(20_000);
    let (double, spool) = (Double::new(), Spool::new());
    let log = spool.seal("p", &[cri.as_bytes()]);
    let mut lives = 0;
    // Long enough for some parts, too short for all.
    while !ship_until(&double, &log, 60).await {
        lives += 1;
        assert!(lives < 200, "it does not come any further");
    }
    assert!(double.state().objects["ns/p.log"] == text.as_bytes());
    assert!(lives > 1, "killed {lives} times");
}

#[tokio::test]
async fn after_a_kill_parts_that_the_store_has_are_not_sent_again() {
    let (text, cri) = lines(20_000);
    let parts = text.len().div_ceil(32 * 1024);
    let (double, spool) = (Double::new(), Spool::new());
    let log = spool.seal("p", &[cri.as_bytes()]);
    let mut options = options();
    options.progress_every = std::time::Duration::ZERO;
    let (shipper, _) = shipper(Arc::new(Inside(double.clone())), options.clone());
    let ((sealed, logs), (results, _outcomes)) = (mpsc::channel(1), mpsc::channel(1));
    sealed.send(log.clone()).await.unwrap();
    let run = shipper.run(logs, results, CancellationToken::new());
    let half = async {
        while double.puts() < parts / 2 {
            tokio::time::sleep(std::time::Duration::from_micros(100)).await;
        }
    };
    tokio::select! {
        _ = run => panic!("it was to be killed"),
        () = half => {}
    }
    let shipping = Shipping::start(Inside(double.clone()), options);
    let registry = shipping.registry.clone();
    shipping.ship(log).await;
    assert!(double.state().objects["ns/p.log"] == text.as_bytes());
    let resumed = counted(&registry, "jobmeter_agent_log_parts_resumed_total", &[]) as usize;
    assert!(resumed >= parts / 2 - 2, "{resumed} of {parts}");
    assert!(double.puts() <= parts + 2, "{} puts of {parts} parts", double.puts());
}
