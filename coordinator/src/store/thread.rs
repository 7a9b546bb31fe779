//! The threads of the store. The writer commits in groups: all that waits is one transaction, and one `fsync`.

use std::any::Any;
use std::time::Instant;

use jiff::Timestamp;
use jobmeter_protocol::runs::RunChange;
use tokio::sync::{mpsc, oneshot};

use super::change::{self, Assembly, PodChange};
use super::discarded::Discarded;
use super::engine::{EngineError, StoreEngine};
use super::fenced::Fence;
use super::lock::Lock;
use super::logs::apply as logs;
use super::{Applied, Change, Committed, OnCommit, Retention};

/// Changes of one transaction. A larger one makes the first of them wait for the last without making the disk faster.
const GROUP: usize = 1024;

pub(super) enum Write {
    Apply {
        changes: Vec<Change>,
        now: Timestamp,
        reply: oneshot::Sender<Result<Vec<Applied>, EngineError>>,
    },
    Prune {
        retention: Retention,
        now: Timestamp,
        reply: oneshot::Sender<Result<u64, EngineError>>,
    },
    PruneLogs {
        before: Timestamp,
        objects: bool,
        reply: oneshot::Sender<Result<u64, EngineError>>,
    },
    Archived {
        seq: i64,
        reply: oneshot::Sender<Result<(), EngineError>>,
    },
    Runs {
        changes: Vec<RunChange>,
        reply: oneshot::Sender<Result<(), EngineError>>,
    },
    RunSecret {
        candidate: Vec<u8>,
        reply: oneshot::Sender<Result<Vec<u8>, EngineError>>,
    },
    /// The last command: whatever waits behind it is not done.
    Close {
        reply: oneshot::Sender<Result<(), EngineError>>,
    },
}

/// One query and where its answer goes.
pub(super) struct Read(Query);

type Query = Box<dyn FnOnce(&mut dyn StoreEngine) + Send>;

impl Read {
    pub(super) fn new<T: Send + 'static>(
        query: impl FnOnce(&mut dyn StoreEngine) -> Result<T, EngineError> + Send + 'static,
        reply: oneshot::Sender<Result<T, EngineError>>,
    ) -> Self {
        Self(Box::new(move |engine| {
            // Whoever hung up does not want to know any more: a query that waited in the queue is not run for nobody.
            if !reply.is_closed() {
                drop(reply.send(query(engine)));
            }
        }))
    }
}

/// What the writer works with.
pub(super) struct Pen {
    pub(super) engine: Box<dyn StoreEngine>,
    /// Of a file; a database is fenced.
    pub(super) lock: Option<Lock>,
}

/// Ends when every [`super::Store`] is dropped, or when another coordinator leads; holds the lock until then.
pub(super) fn spawn_writer(
    pen: Pen,
    assembly: Assembly,
    on_commit: OnCommit,
    fence: Fence,
    commands: mpsc::Receiver<Write>,
) -> std::io::Result<()> {
    let Pen { engine, lock } = pen;
    let writer = Writer { engine, assembly, on_commit, discarded: Discarded::default(), fence, _lock: lock };
    spawn("store-writer", move || writer.run(commands))
}

pub(super) fn spawn_reader(
    name: &str,
    mut engine: Box<dyn StoreEngine>,
    mut queries: mpsc::Receiver<Read>,
) -> std::io::Result<()> {
    spawn(name, move || {
        while let Some(Read(query)) = queries.blocking_recv() {
            query(engine.as_mut());
        }
    })
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        // A panic must not leave the store half alive: the channel closes, callers are told, readiness goes.
        if let Err(panic) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)) {
            tracing::error!(panic = panic_text(&*panic), "store thread died");
        }
    })?;
    drop(thread);
    Ok(())
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("?")
}

struct Writer {
    engine: Box<dyn StoreEngine>,
    assembly: Assembly,
    on_commit: OnCommit,
    discarded: Discarded,
    fence: Fence,
    _lock: Option<Lock>,
}

type Batch = (Vec<Change>, Timestamp, oneshot::Sender<Result<Vec<Applied>, EngineError>>);

impl Writer {
    fn run(mut self, mut commands: mpsc::Receiver<Write>) {
        while let Some(first) = commands.blocking_recv() {
            let mut group: Vec<Batch> = Vec::new();
            let mut size = 0;
            let mut closing = None;
            let mut next = Some(first);
            while let Some(command) = next.take() {
                match command {
                    Write::Apply { changes, now, reply } => {
                        size += changes.len();
                        group.push((changes, now, reply));
                    }
                    Write::Prune { retention, now, reply } => {
                        drop(reply.send(self.within(|engine| engine.prune(retention, now))));
                    }
                    Write::PruneLogs { before, objects, reply } => {
                        drop(reply.send(self.within(|engine| engine.prune_logs(before, objects))));
                    }
                    Write::Archived { seq, reply } => {
                        drop(reply.send(self.within(|engine| engine.archived(seq))));
                    }
                    Write::Runs { changes, reply } => {
                        drop(reply.send(self.within(|engine| engine.apply_runs(&changes))));
                    }
                    Write::RunSecret { candidate, reply } => {
                        drop(reply.send(self.within(|engine| engine.run_secret(&candidate))));
                    }
                    Write::Close { reply } => closing = Some(reply),
                }
                if size < GROUP && closing.is_none() && !self.fence.is_up() {
                    next = commands.try_recv().ok();
                }
            }
            self.commit(group);
            if self.fence.is_up() {
                return;
            }
            if let Some(reply) = closing {
                let settled = self.engine.settle();
                // The lock and the file are free before the answer is given.
                drop(self);
                drop(reply.send(settled));
                return;
            }
        }
    }

    /// Each batch is answered on its own: when the group as a whole fails, each is tried alone, so that one batch that the
    /// engine cannot take does not fail its neighbours.
    fn commit(&mut self, group: Vec<Batch>) {
        let (batches, replies): (Vec<_>, Vec<_>) = group.into_iter().map(|(changes, now, reply)| ((changes, now), reply)).unzip();
        if batches.is_empty() {
            return;
        }
        let begun = Instant::now();
        let results = match self.once_more(|writer| writer.transaction(&batches)) {
            Ok(applied) => applied.into_iter().map(Ok).collect(),
            Err(err) if batches.len() == 1 => vec![Err(err)],
            // Nobody could do better on the same database, and each would wait for it anew.
            Err(EngineError::Fenced { epoch, found }) => {
                batches.iter().map(|_| Err(EngineError::Fenced { epoch, found })).collect()
            }
            Err(_) => batches
                .iter()
                .map(|batch| self.transaction(std::slice::from_ref(batch)).map(|applied| applied.into_iter().flatten().collect()))
                .collect::<Vec<_>>(),
        };
        let took = begun.elapsed();
        for (result, reply) in results.into_iter().zip(replies) {
            (self.on_commit)(Committed { applied: result.as_deref().unwrap_or_default(), failed: result.is_err(), took });
            drop(reply.send(result));
        }
    }

    fn transaction(&mut self, batches: &[(Vec<Change>, Timestamp)]) -> Result<Vec<Vec<Applied>>, EngineError> {
        self.engine.begin().map_err(|err| self.fence.note(err))?;
        let done = batches
            .iter()
            .map(|(changes, now)| changes.iter().map(|change| self.apply(change.clone(), *now)).collect::<Result<Vec<_>, _>>())
            .collect::<Result<Vec<_>, _>>();
        self.end(done)
    }

    /// One write of the upkeep.
    fn within<T>(&mut self, mut write: impl FnMut(&mut dyn StoreEngine) -> Result<T, EngineError>) -> Result<T, EngineError> {
        self.once_more(|writer| {
            writer.engine.begin().map_err(|err| writer.fence.note(err))?;
            let done = write(writer.engine.as_mut());
            writer.end(done)
        })
    }

    fn end<T>(&mut self, done: Result<T, EngineError>) -> Result<T, EngineError> {
        let done = done.and_then(|done| self.engine.commit().map(|()| done));
        if done.is_err()
            && let Err(err) = self.engine.rollback()
        {
            tracing::warn!(error = &err as &dyn std::error::Error, "failed to roll back");
        }
        done
    }

    /// A write whose connection was lost, whatever became of it, is made again: all of them may be repeated.
    fn once_more<T>(&mut self, mut write: impl FnMut(&mut Self) -> Result<T, EngineError>) -> Result<T, EngineError> {
        match write(self) {
            Err(err) if err.is_lost() => {
                tracing::warn!(error = &err as &dyn std::error::Error, "writing again on a new connection");
                write(self)
            }
            done => done,
        }
    }

    fn apply(&mut self, change: Change, now: Timestamp) -> Result<Applied, EngineError> {
        match change {
            Change::Api { pod, owners } => {
                self.discarded.remove(&pod.uid);
                self.pod(&pod.uid.clone(), PodChange::Api { pod, owners }, now)
            }
            Change::Vanished { uid } => self.pod(&uid, PodChange::Vanished, now),
            Change::Evidence(evidence) => self.pod(&evidence.pod_uid.clone(), PodChange::Evidence(evidence), now),
            Change::Close { uid, ending } => self.pod(&uid, PodChange::Close(ending), now),
            Change::Discard { uid } => {
                self.discarded.insert(&uid);
                Ok(if self.engine.discard_pod(&uid)? { Applied::Discarded } else { Applied::Nothing })
            }
            Change::Job(job) => {
                let saved = self.engine.save_job(&job, &self.assembly.cluster)?;
                let ended = (saved.changed && saved.before != Some(job.condition)).then_some(job.condition);
                let ended = ended.filter(|condition| *condition != jobmeter_decide::job_view::JobCondition::Active);
                Ok(if saved.changed { Applied::Job { ended } } else { Applied::Nothing })
            }
            Change::JobGone { uid } => {
                Ok(if self.engine.mark_job_gone(&uid)? { Applied::Job { ended: None } } else { Applied::Nothing })
            }
            Change::Log { log, .. } if self.discarded.contains(&log.pod_uid) => Ok(Applied::Discarded),
            Change::Log { log, change } => readable(logs::apply(self.engine.as_mut(), &self.assembly, &log, *change, now)),
        }
    }

    fn pod(&mut self, uid: &str, change: PodChange, now: Timestamp) -> Result<Applied, EngineError> {
        if matches!(change, PodChange::Evidence(_)) && self.discarded.contains(uid) {
            return Ok(Applied::Nothing);
        }
        let before = match self.engine.load_pod(uid) {
            Ok(before) => before,
            // One row that cannot be read must not stop the books of all others.
            Err(EngineError::Unreadable { subject, why }) => return Ok(Applied::Unreadable { uid: subject, why }),
            Err(err) => return Err(err),
        };
        if let Some(why) = change::refusal(before.as_ref(), &change) {
            return Ok(Applied::Refused { why });
        }
        match change::apply(uid, before, change, &self.assembly, now) {
            None => Ok(Applied::Nothing),
            Some(mut outcome) => {
                match self.with_logs(&mut outcome, now) {
                    // The books go on without the log; the report would come again for ever.
                    Err(EngineError::Unreadable { subject, why }) => {
                        tracing::error!(pod_uid = uid, subject, why, "what is known of the logs of a pod cannot be read");
                    }
                    done => done?,
                }
                self.engine.save_pod(&outcome.after)?;
                Ok(Applied::Pod(Box::new(outcome.told)))
            }
        }
    }

    fn with_logs(&mut self, outcome: &mut change::Outcome, now: Timestamp) -> Result<(), EngineError> {
        if outcome.told.closed.is_some() {
            logs::expect(self.engine.as_mut(), &self.assembly, &outcome.after, now)?;
        }
        let rows = self.engine.logs_of(&outcome.after.uid)?;
        logs::attach(&mut outcome.after.record, &rows);
        logs::attach(&mut outcome.told.record, &rows);
        Ok(())
    }
}

/// One row that cannot be read must not stop the books of all others.
fn readable(applied: Result<Applied, EngineError>) -> Result<Applied, EngineError> {
    match applied {
        Err(EngineError::Unreadable { subject, why }) => Ok(Applied::Unreadable { uid: subject, why }),
        applied => applied,
    }
}
