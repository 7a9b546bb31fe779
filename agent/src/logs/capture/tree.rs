//! The kubelet's log directories: watched, listed, and each file of them linked.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use jobmeter_daemon::admin::SourceState;
use jobmeter_hostfs::podlog::{self, PodIdentity, files};
use jobmeter_protocol::LogId;
use nix::{
    errno::Errno,
    sys::inotify::{AddWatchFlags, InotifyEvent},
};

use super::{
    linking::Captured,
    names::{log_id, pod_directory},
    run::Phase,
    spool::Pod,
    thread::Thread,
};

/// On the board.
const SOURCE: &str = "log_capture";
/// Where inotify cannot tell.
const WITHOUT_WATCHES: Duration = Duration::from_secs(1);

/// A directory with an inotify watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Directory {
    Root,
    /// By the name of the directory.
    Pod(String),
    Container {
        pod: String,
        name: String,
    },
}

impl Thread {
    pub(super) fn follow_events(&mut self) {
        loop {
            match self.inotify.read_events() {
                Ok(events) => events.into_iter().for_each(|event| self.directory_event(&event)),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return,
                Err(errno) => {
                    self.overflowed = true;
                    return self.problem("inotify".into(), &std::io::Error::from(errno));
                }
            }
        }
    }

    fn directory_event(&mut self, event: &InotifyEvent) {
        if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
            self.overflowed = true;
            return;
        }
        if event.mask.contains(AddWatchFlags::IN_IGNORED) {
            if self.directories.remove(&event.wd) == Some(Directory::Root) {
                self.rescan_after(WITHOUT_WATCHES);
            }
            return;
        }
        let Some(directory) = self.directories.get(&event.wd).cloned() else { return };
        let Some(name) = event.name.as_deref().and_then(|name| name.to_str()) else { return };
        if event.mask.intersects(AddWatchFlags::IN_CLOSE_WRITE | AddWatchFlags::IN_DELETE) {
            self.hurry();
        }
        if event.mask.contains(AddWatchFlags::IN_DELETE) {
            return;
        }
        match directory {
            Directory::Root => {
                if let Some(identity) = podlog::parse(name) {
                    self.scan_pod(identity);
                }
            }
            Directory::Pod(pod) => self.scan_container(&pod, name),
            Directory::Container { pod, name: container } => {
                let Some(found) = files::parse(name) else { return };
                let path = self.pod_logs.join(&pod).join(&container).join(name);
                self.capture_file(&pod, &container, found.attempt, &path, found.is_gzip());
            }
        }
    }

    /// Everything, whatever is known of it.
    pub(super) fn rescan(&mut self) {
        self.unwatched = 0;
        let root = self.pod_logs.clone();
        let there = self.watch(Directory::Root, &root);
        let spooled: Vec<PodIdentity> = self.pods.values().map(|pod| pod.identity.clone()).collect();
        match files::pods(&root) {
            Ok(pods) => pods.into_iter().for_each(|pod| self.scan_pod(pod.name)),
            Err(error) => self.problem(root.clone(), &error),
        }
        for identity in spooled {
            self.scan_pod(identity);
        }
        let soon = !there || self.unwatched > 0;
        self.rescan_after(if soon { WITHOUT_WATCHES.min(self.options.rescan) } else { self.options.rescan });
        self.tell(there);
    }

    fn tell(&self, there: bool) {
        self.metrics.unwatched.set(i64::try_from(self.unwatched).unwrap_or(i64::MAX));
        let state = if there && self.unwatched == 0 {
            SourceState::Active
        } else if there {
            let error = format!("{} directories of logs cannot be watched: they are looked at every second", self.unwatched);
            SourceState::Failed { error: format!("{error}; raise fs.inotify.max_user_watches") }
        } else {
            SourceState::Failed { error: format!("{} is not there (yet)", self.pod_logs.display()) }
        };
        match (&state, &self.copies) {
            (SourceState::Active, Some(why)) => self.board.set_with_detail(SOURCE, state, format!("copies: {why}")),
            (SourceState::Active, None) => self.board.set_with_detail(SOURCE, state, "hard links".to_owned()),
            _ => self.board.set(SOURCE, state),
        }
    }

    pub(super) fn scan_by_uid(&mut self, pod_uid: &str) {
        let known = self.pods.values().map(|pod| pod.identity.clone()).find(|identity| identity.pod_uid == pod_uid);
        let found = known.or_else(|| {
            let pods = files::pods(&self.pod_logs).unwrap_or_default();
            pods.into_iter().map(|pod| pod.name).find(|identity| identity.pod_uid == pod_uid)
        });
        found.into_iter().for_each(|identity| self.scan_pod(identity));
    }

    /// Watched before it is listed, so that nothing slips through between.
    pub(super) fn scan_pod(&mut self, identity: PodIdentity) {
        let pod = pod_directory(&identity);
        if self.pods.get(&pod).is_some_and(|pod| pod.left_alone) {
            return;
        }
        let path = self.pod_logs.join(&pod);
        if !self.watch(Directory::Pod(pod.clone()), &path) && !path.is_dir() {
            return;
        }
        self.pods.entry(pod.clone()).or_insert_with(|| Pod::new(identity));
        match files::containers(&path) {
            Ok(containers) => containers.into_iter().for_each(|container| self.scan_container(&pod, &container.name)),
            Err(error) => self.problem(path, &error),
        }
    }

    fn scan_container(&mut self, pod: &str, container: &str) {
        let path = self.pod_logs.join(pod).join(container);
        self.watch(Directory::Container { pod: pod.to_owned(), name: container.to_owned() }, &path);
        match files::list(&path) {
            Ok(found) => {
                for file in found {
                    self.capture_file(pod, container, file.name.attempt, &file.path, file.name.is_gzip());
                }
            }
            Err(error) => self.problem(path, &error),
        }
    }

    /// `false`: it is not there, or it cannot be watched.
    fn watch(&mut self, directory: Directory, path: &Path) -> bool {
        let flags = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_ONLYDIR;
        match self.inotify.add_watch(path, flags) {
            Ok(watch) => {
                self.directories.insert(watch, directory);
                true
            }
            Err(Errno::ENOENT | Errno::ENOTDIR) => false,
            Err(errno) => {
                self.unwatched += 1;
                self.rescan_after(WITHOUT_WATCHES);
                self.problem(path.to_owned(), &std::io::Error::from(errno));
                false
            }
        }
    }

    fn capture_file(&mut self, pod: &str, container: &str, attempt: u32, path: &Path, gzip: bool) {
        let spool = self.options.spool.clone();
        let Some(known) = self.pods.get_mut(pod).filter(|pod| !pod.left_alone) else { return };
        let run = known.run(&spool, container, attempt);
        let captured = match run.capture(path, gzip) {
            // Linked anew, all that is still there: a look before the next rescan would take this file for all.
            Ok(Captured::Grown) => {
                run.phase = Phase::Open;
                return self.scan_container(pod, container);
            }
            other => other,
        };
        match captured {
            Ok(Captured::Linked) => self.metrics.captured.with_label_values(&["link"]).inc(),
            Ok(Captured::Copying(why)) => {
                self.metrics.captured.with_label_values(&["copy"]).inc();
                if self.copies.is_none() {
                    tracing::warn!(path = %path.display(), why, "logs are copied, not linked: what is removed while the agent is down is lost");
                    self.copies = Some(why);
                    self.tell(true);
                }
            }
            Ok(Captured::Gone) => {
                let (log, has_content) = (run.log.clone(), run.has_content() || run.done.is_some());
                if !has_content {
                    self.lose(log, "gone_before_link", format!("{} was gone before it could be linked", path.display()));
                    self.forget(pod, container, attempt);
                }
            }
            Ok(Captured::Known | Captured::Duplicate | Captured::Grown) => {}
            Err(error) => self.problem(path.to_owned(), &error),
        }
    }

    pub(super) fn lose(&mut self, log: LogId, why: &'static str, sentence: String) {
        let mut known = self.inbox.known();
        if known.lost.add(log, sentence) || why == "spool_full" {
            self.metrics.lost.with_label_values(&[why]).inc();
        }
    }

    fn forget(&mut self, pod: &str, container: &str, attempt: u32) {
        let Some(pod) = self.pods.get_mut(pod) else { return };
        pod.runs.remove(&(container.to_owned(), attempt));
        let log = log_id(&pod.identity, container, attempt);
        if let Err(error) = super::spool::remove_empty(&self.options.spool, &log) {
            let path: PathBuf = self.options.spool.join(super::names::run_directory(&log));
            self.problem(path, &error);
        }
    }
}
