//! One container: finding the process to follow, seeing its end, and the readings around it.

use std::{io, path::Path, time::Duration};

use jiff::Timestamp;
use jobmeter_hostfs::{
    ReadError,
    cgroup::{ContainerPlace, Events, Held, Layout, TreeKind, Version},
    pidfd,
};
use nix::{
    errno::Errno,
    sys::epoll::{EpollEvent, EpollFlags},
};

use super::{
    KernelEvent, SeenBy,
    pod::{Container, Followed, Key, Life},
    thread::{Due, Thread, Wake},
};

/// Between the end of a process and the first look whether it has settled.
const SETTLE: Duration = Duration::from_millis(1);
/// v2 tells that a cgroup has emptied while its last process is still dying; its pidfd follows within this.
const LAST_BREATH: Duration = Duration::from_millis(20);
/// Attempts to find an init where there is another process: containers that share the host's or the pod's PID namespace have none.
const FUTILE_TRIES: u32 = 8;
/// Attempts while nobody is there: ten minutes.
const FUTILE_TRIES_WHEN_EMPTY: u32 = 600;
/// Processes that are looked at in search of an init; in a container that is found late it may be one of thousands.
const MOST_CANDIDATES: usize = 64;

impl Thread {
    pub(super) fn container_key(&self, pod_uid: &str, container_id: &str) -> Option<Key> {
        let keys = &self.pods.get(pod_uid)?.containers;
        keys.iter().copied().find(|key| self.containers.get(key).is_some_and(|known| known.container_id == container_id))
    }

    pub(super) fn container_appeared(&mut self, pod_uid: &str, place: ContainerPlace) {
        if self.container_key(pod_uid, &place.container_id).is_some() {
            return;
        }
        let key = self.new_key();
        let Some(pod) = self.pods.get_mut(pod_uid) else { return };
        let order = pod.next_order;
        pod.next_order += 1;
        pod.containers.push(key);
        let (held, problems) = Held::open(&self.layout, &place.path);
        let container = Container {
            pod_uid: pod_uid.to_owned(),
            container_id: place.container_id.clone(),
            order,
            path: place.path,
            held,
            life: Life::Running,
            followed: None,
            events: None,
            candidate: None,
            caught_by: None,
            tries: 0,
            oom_kills: 0,
            late: self.attaching,
        };
        self.containers.insert(key, container);
        let (pod_uid, container_id) = (pod_uid.to_owned(), place.container_id);
        self.outbox.push(KernelEvent::ContainerAppeared {
            pod_uid,
            container_id,
            order,
            at: Timestamp::now(),
            late: self.attaching,
        });
        self.problems(problems);
        self.follow_process(key, Timestamp::now());
    }

    /// Finds the process whose end is the container's: its init, or else any one, whose end makes us look again.
    pub(super) fn follow_process(&mut self, key: Key, at: Timestamp) {
        let Some(container) = self.containers.get_mut(&key) else { return };
        if container.is_over() || container.followed.as_ref().is_some_and(|followed| followed.init) {
            return;
        }
        container.tries += 1;
        let tries = container.tries;
        let mut problems = container.held.open_missing(&self.layout, &container.path);
        if container.events.is_none() {
            match readable_events(&self.layout, &container.path) {
                Ok(Some(events)) => {
                    let interest = EpollEvent::new(EpollFlags::EPOLLPRI | EpollFlags::EPOLLET, key * 2 + 1);
                    match self.epoll.add(&events, interest) {
                        Ok(()) => container.events = Some(events),
                        Err(errno) => problems.push(epoll_problem(errno)),
                    }
                }
                Ok(None) => {}
                Err(problem) => problems.push(problem),
            }
        }
        let mut pids = Vec::new();
        problems.extend(self.reader.pids(&container.path, &mut pids).err());
        let kubelet = self.pods.get(&container.pod_uid).is_some_and(|pod| pod.place.kind == TreeKind::Kubelet);
        self.pids_visible |= kubelet && !pids.is_empty();
        self.problems(problems);
        let settled = match self.pick(&pids) {
            Some(followed) => {
                // Our own executor's containers have no PID namespace, and so no init.
                let settled = followed.init || !kubelet || tries > FUTILE_TRIES;
                self.attach(key, followed);
                settled
            }
            None => self.ended_unseen(key, at) || tries > FUTILE_TRIES_WHEN_EMPTY,
        };
        if !settled {
            // 1, 2, 4 … ms: a runtime puts its process there within a few.
            let delay = Duration::from_millis(1 << (tries - 1).min(10));
            self.after(delay, Due::Follow(key));
        }
    }

    fn attach(&mut self, key: Key, followed: Followed) {
        self.release_process(key);
        let Some(container) = self.containers.get_mut(&key) else { return };
        match self.epoll.add(&followed.pidfd, EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, key * 2)) {
            Ok(()) => container.followed = Some(followed),
            Err(errno) => self.problems([epoll_problem(errno)]),
        }
    }

    /// Nobody is there. If somebody has been, it is over.
    fn ended_unseen(&mut self, key: Key, at: Timestamp) -> bool {
        let over = self.has_lived_and_left(key);
        if over {
            self.catch(key, Wake::Events, at);
            self.end(key, SeenBy::CgroupEvents, at);
        }
        over
    }

    pub(super) fn has_lived_and_left(&mut self, key: Key) -> bool {
        let Some(container) = self.containers.get(&key) else { return false };
        let reading = container.held.read(&self.layout, &container.path, Timestamp::now()).reading;
        let lived = reading.is_some_and(|reading| reading.cpu.is_some_and(|cpu| cpu.usage_ns > 0));
        lived && self.emptiness(key) == Some(true)
    }

    /// Lets go of the followed process. Taken out of epoll by hand: a child that is between fork and exec may hold a copy.
    fn release_process(&mut self, key: Key) {
        let followed = self.containers.get_mut(&key).and_then(|container| container.followed.take());
        if let Some(followed) = followed
            && let Err(errno) = self.epoll.delete(&followed.pidfd)
        {
            self.problems([epoll_problem(errno)]);
        }
    }

    fn release_events(&mut self, key: Key) {
        let events = self.containers.get_mut(&key).and_then(|container| container.events.take());
        if let Some(events) = events
            && let Err(errno) = self.epoll.delete(&events)
        {
            self.problems([epoll_problem(errno)]);
        }
    }

    pub(super) fn release(&mut self, key: Key) {
        self.release_process(key);
        self.release_events(key);
    }

    fn pick(&mut self, pids: &[i32]) -> Option<Followed> {
        let mut any = None;
        for pid in pids.iter().copied().take(MOST_CANDIDATES) {
            // Opened before it is looked at, so that both are the same process.
            let pidfd = match pidfd::open(pid) {
                Ok(pidfd) => pidfd,
                Err(error) if is_gone(&error) => continue,
                Err(error) => {
                    self.problem_at("pidfd".into(), error.to_string());
                    return any;
                }
            };
            match self.scanner.innermost_pid(pid) {
                Ok(Some(1)) => return Some(Followed { pidfd, init: true }),
                Ok(_) => any = any.or(Some(Followed { pidfd, init: false })),
                Err(problem) => self.problems([problem]),
            }
        }
        any
    }

    pub(super) fn woken(&mut self, key: Key, wake: Wake, at: Timestamp) {
        match wake {
            Wake::Pidfd => self.process_ended(key, at),
            Wake::Events => self.events_changed(key, at),
        }
    }

    fn process_ended(&mut self, key: Key, at: Timestamp) {
        let Some(container) = self.containers.get(&key) else { return };
        let init = container.followed.as_ref().is_some_and(|followed| followed.init);
        self.release_process(key);
        match self.emptiness(key) {
            Some(true) => self.end(key, SeenBy::Pidfd, at),
            None if init => self.end(key, SeenBy::Pidfd, at),
            _ => {
                if let Some(container) = self.containers.get_mut(&key).filter(|container| !container.is_over()) {
                    (container.candidate, container.caught_by, container.tries) = (None, None, 0);
                }
                self.follow_process(key, at);
            }
        }
    }

    fn events_changed(&mut self, key: Key, at: Timestamp) {
        let Some(container) = self.containers.get_mut(&key).filter(|container| !container.is_over()) else { return };
        // Reading it is also what silences it.
        let populated = match container.events.as_ref().map_or(Ok(None), Events::populated) {
            Ok(populated) => populated,
            Err(problem) => return self.problems([problem]),
        };
        match populated {
            Some(true) => {
                (container.candidate, container.caught_by, container.life) = (None, None, Life::Running);
                self.follow_process(key, at);
            }
            Some(false) if container.followed.is_some() => {
                container.life = Life::Emptied { at };
                self.after(LAST_BREATH, Due::Emptied(key));
            }
            Some(false) if self.layout.version() == Version::V2 => self.end(key, SeenBy::CgroupEvents, at),
            Some(false) => self.follow_process(key, at),
            // The cgroup is gone; its directory's event does the rest.
            None => self.release_events(key),
        }
    }

    pub(super) fn stop_waiting_for_init(&mut self, key: Key) {
        let Some(Life::Emptied { at }) = self.containers.get(&key).map(|container| container.life) else { return };
        match self.emptiness(key) {
            Some(true) => self.end(key, SeenBy::CgroupEvents, at),
            // There was no descriptor to look with, and no event will say it again.
            None if self.layout.version() == Version::V2 => self.after(LAST_BREATH, Due::Emptied(key)),
            Some(false) | None => {
                if let Some(container) = self.containers.get_mut(&key) {
                    container.life = Life::Running;
                }
            }
        }
    }

    /// Whether no process is in the container's cgroup. `None`: it cannot be told, because pids of its namespace are hidden, or
    /// because there is no descriptor left to look with.
    pub(super) fn emptiness(&mut self, key: Key) -> Option<bool> {
        let container = self.containers.get(&key)?;
        if self.layout.version() == Version::V2 {
            let events = Events::open(&self.layout, &container.path);
            let populated = events.and_then(|events| events.as_ref().map_or(Ok(None), Events::populated));
            return match populated {
                Ok(populated) => Some(populated != Some(true)),
                Err(problem) => {
                    self.problems([problem]);
                    None
                }
            };
        }
        let mut pids = Vec::new();
        let listed = self.reader.pids(&container.path, &mut pids);
        let local = self.pods.get(&container.pod_uid).is_some_and(|pod| pod.place.kind == TreeKind::Local);
        let listed = listed.and_then(|()| match pids.is_empty() {
            false => Ok(Some(false)),
            true if local || self.pids_visible => Ok(Some(true)),
            // Without a pid ever seen, an empty list may as well mean another PID namespace.
            true => Ok(self.reader.task_count(&container.path)?.and_then(|tasks| (tasks == 0).then_some(true))),
        });
        listed.unwrap_or_else(|problem| {
            self.problems([problem]);
            None
        })
    }

    /// Notes the end, and that it is to be reported when it has settled.
    pub(super) fn end(&mut self, key: Key, seen_by: SeenBy, at: Timestamp) {
        let Some(container) = self.containers.get_mut(&key) else { return };
        if container.is_over() {
            return;
        }
        let at = if let Life::Emptied { at } = container.life { at } else { at };
        let seen_by = match container.caught_by {
            Some(caught_by) if seen_by == SeenBy::Removal => caught_by,
            _ => seen_by,
        };
        (container.life, container.tries) = (Life::Settling { at, seen_by }, 0);
        self.release(key);
        if seen_by != SeenBy::Removal {
            self.after(SETTLE, Due::Report(key));
        }
    }

    pub(super) fn forget(&mut self, key: Key) {
        let Some(container) = self.containers.remove(&key) else { return };
        if let Some(pod) = self.pods.get_mut(&container.pod_uid) {
            pod.containers.retain(|known| *known != key);
            pod.oom_kills_of_the_gone += container.oom_kills;
        }
    }
}

/// Read before it is polled: an event file that was never read counts as changed.
fn readable_events(layout: &Layout, path: &Path) -> Result<Option<Events>, ReadError> {
    let Some(events) = Events::open(layout, path)? else { return Ok(None) };
    Ok(events.populated()?.map(|_populated| events))
}

/// `ESRCH`, and `EINVAL` in the moment between: reaped, and its number not yet free.
fn is_gone(error: &io::Error) -> bool {
    [Errno::ESRCH, Errno::EINVAL].map(|errno| Some(errno as i32)).contains(&error.raw_os_error())
}

fn epoll_problem(errno: Errno) -> ReadError {
    ReadError::Io { path: "epoll".into(), source: errno.into() }
}
