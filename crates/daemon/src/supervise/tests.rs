use std::future::pending;

use anyhow::{Context, anyhow};
use tokio::sync::{mpsc, oneshot};

use super::*;

const GRACE: Duration = Duration::from_secs(30);

fn with_scripted_signals() -> (Supervisor, mpsc::Sender<&'static str>) {
    let (send, script) = mpsc::channel(4);
    (Supervisor::listening(GRACE, Ok(Signals::Scripted(script))), send)
}

async fn until(token: CancellationToken) -> anyhow::Result<()> {
    token.cancelled().await;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_task_that_returns_early_stops_the_process_and_the_others_are_drained() {
    let mut supervisor = Supervisor::without_signals(GRACE);
    let (drained, was_drained) = oneshot::channel();
    let token = supervisor.token();
    supervisor.spawn("steady", async move {
        token.cancelled().await;
        drained.send(()).map_err(|()| anyhow!("nobody listens"))
    });
    supervisor.spawn("short", async { Ok(()) });
    assert_eq!(supervisor.run().await, Code::TaskDied);
    was_drained.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_task_that_fails_or_panics_stops_the_process() {
    let mut supervisor = Supervisor::without_signals(GRACE);
    supervisor.spawn("failing", async { Err(anyhow!("disk full")).context("failed to append") });
    assert_eq!(supervisor.run().await, Code::TaskDied);

    let mut supervisor = Supervisor::without_signals(GRACE);
    supervisor.spawn("panicking", async { panic!("index out of bounds") });
    assert_eq!(supervisor.run().await, Code::TaskDied);
}

#[tokio::test(start_paused = true)]
async fn a_signal_and_a_cancelled_token_both_stop_cleanly() {
    let (mut supervisor, signals) = with_scripted_signals();
    supervisor.spawn("steady", until(supervisor.token()));
    signals.send("SIGTERM").await.unwrap();
    assert_eq!(supervisor.run().await, Code::Done);

    let mut supervisor = Supervisor::without_signals(GRACE);
    let token = supervisor.token();
    supervisor.spawn("steady", until(supervisor.token()));
    supervisor.spawn_finite("stopper", async move {
        token.cancel();
        Ok(())
    });
    assert_eq!(supervisor.run().await, Code::Done);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_ignores_the_token_overruns_the_grace_and_no_more() {
    let mut supervisor = Supervisor::without_signals(GRACE);
    supervisor.spawn("stuck", pending());
    supervisor.token().cancel();
    let begun = Instant::now();
    assert_eq!(supervisor.run().await, Code::GraceOverrun);
    assert_eq!(begun.elapsed().as_secs(), GRACE.as_secs());
}

#[tokio::test(start_paused = true)]
async fn a_second_signal_aborts_without_waiting_for_the_grace() {
    let (mut supervisor, signals) = with_scripted_signals();
    supervisor.spawn("stuck", pending());
    signals.send("SIGTERM").await.unwrap();
    signals.send("SIGINT").await.unwrap();
    let begun = Instant::now();
    assert_eq!(supervisor.run().await, Code::GraceOverrun);
    assert!(begun.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn one_signal_during_a_drain_that_another_cause_began_does_not_cut_it_short() {
    let (mut supervisor, signals) = with_scripted_signals();
    let token = supervisor.token();
    supervisor.spawn("slow", async move {
        token.cancelled().await;
        signals.send("SIGTERM").await?;
        tokio::time::sleep(GRACE / 2).await;
        Ok(())
    });
    supervisor.token().cancel();
    assert_eq!(supervisor.run().await, Code::Done);
}

#[tokio::test(start_paused = true)]
async fn a_failure_while_draining_does_not_look_like_a_clean_stop() {
    let mut supervisor = Supervisor::without_signals(GRACE);
    let token = supervisor.token();
    supervisor.spawn("journal", async move {
        token.cancelled().await;
        Err(anyhow!("failed to sync"))
    });
    supervisor.token().cancel();
    assert_eq!(supervisor.run().await, Code::TaskDied);
}

#[tokio::test(start_paused = true)]
async fn a_death_remains_the_cause_when_its_drain_overruns() {
    let mut supervisor = Supervisor::without_signals(GRACE);
    supervisor.spawn("stuck", pending());
    supervisor.spawn("short", async { Ok(()) });
    assert_eq!(supervisor.run().await, Code::TaskDied);
}

#[tokio::test(start_paused = true)]
async fn a_finite_task_may_end_but_not_fail() {
    let mut supervisor = Supervisor::without_signals(GRACE);
    let (token, spawner) = (supervisor.token(), supervisor.spawner());
    supervisor.spawn("steady", until(supervisor.token()));
    supervisor.spawn_finite("first", async move {
        spawner.spawn_finite("second", async move { Err(anyhow!("no such file")) }).await?;
        Ok(())
    });
    assert_eq!(supervisor.run().await, Code::TaskDied);
    assert!(token.is_cancelled());
}

#[tokio::test(start_paused = true)]
async fn a_task_started_later_is_owned_as_well_and_none_starts_after_the_stop() {
    let mut supervisor = Supervisor::without_signals(GRACE);
    let spawner = supervisor.spawner();
    supervisor.spawn("steady", until(supervisor.token()));
    spawner.spawn("later", async { Ok(()) }).await.unwrap();
    assert_eq!(supervisor.run().await, Code::TaskDied);
    assert_eq!(spawner.spawn("too late", async { Ok(()) }).await, Err(Stopping));
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_dropped_before_it_ran_cancels_its_token() {
    let token = Supervisor::without_signals(GRACE).token();
    assert!(token.is_cancelled());
}

#[tokio::test(start_paused = true)]
async fn before_it_runs_a_process_may_wait_for_long_and_still_stops_for_a_signal_or_a_death() {
    let mut supervisor = Supervisor::without_signals(GRACE);
    supervisor.spawn("steady", until(supervisor.token()));
    assert_eq!(supervisor.until(async { 7 }).await, Some(7));
    supervisor.spawn("short", async { Ok(()) });
    assert_eq!(supervisor.until(pending::<()>()).await, None);
    assert_eq!(supervisor.until(async { 7 }).await, None);
    assert_eq!(supervisor.run().await, Code::TaskDied);

    let (mut supervisor, signals) = with_scripted_signals();
    supervisor.spawn("stuck", pending());
    signals.send("SIGTERM").await.unwrap();
    assert_eq!(supervisor.until(pending::<()>()).await, None);
    signals.send("SIGTERM").await.unwrap();
    let begun = Instant::now();
    assert_eq!(supervisor.run().await, Code::GraceOverrun);
    assert!(begun.elapsed() < Duration::from_secs(1), "the second signal is the second one");
}
