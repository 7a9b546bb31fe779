//! What the directories of the watched hierarchy tell: roots, QoS classes, pods and containers that come and go.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::Timestamp;
use jobmeter_hostfs::cgroup::{PodPlace, TreeKind, place, read::subdirectories};
use nix::{
    errno::Errno,
    sys::inotify::{AddWatchFlags, InotifyEvent},
};

use super::{
    KernelEvent,
    pods::inode,
    roots,
    thread::{Due, Thread},
};

/// While a tree is missing.
const LOOK_SOON: Duration = Duration::from_secs(1);
/// Once there is one: another may still be made, by a kubelet that was configured anew.
const LOOK_SELDOM: Duration = Duration::from_secs(60);

/// A directory with an inotify watch; paths are below the mount point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Directory {
    /// Of all pods of a tree.
    Root {
        path: PathBuf,
        kind: TreeKind,
    },
    Qos {
        path: PathBuf,
    },
    Pod {
        pod_uid: String,
    },
}

/// When to look for roots again.
#[derive(Debug, Default)]
pub(super) struct RootSearch {
    /// Of the timer that counts.
    pub(super) round: u64,
    /// How often in a row not all were found.
    fruitless: u32,
}

impl Thread {
    pub(super) fn look_for_roots_regularly(&mut self) {
        self.attaching = self.roots.round == 0;
        let found = self.look_for_roots();
        self.attaching = false;
        let again = if found {
            self.roots.fruitless = 0;
            LOOK_SELDOM
        } else {
            self.roots.fruitless = self.roots.fruitless.saturating_add(1);
            // A minute of looking every second, then ever less often: walking the tree costs milliseconds.
            LOOK_SOON.saturating_mul(1 << self.roots.fruitless.saturating_sub(60).min(6)).min(LOOK_SELDOM)
        };
        self.look_for_roots_after(again);
    }

    fn look_for_roots_after(&mut self, delay: Duration) {
        self.roots.round += 1;
        self.after(delay, Due::Roots(self.roots.round));
    }

    /// Whether each kind of tree that is wanted is there.
    pub(super) fn look_for_roots(&mut self) -> bool {
        let mut found: Vec<(PathBuf, TreeKind)> = Vec::new();
        if let Some(kubelet) = &self.trees.kubelet {
            match roots::find(self.layout.watched(), kubelet) {
                Ok(paths) => found.extend(paths.into_iter().map(|path| (path, TreeKind::Kubelet))),
                Err(problem) => self.problems([problem]),
            }
        }
        found.extend(self.trees.local.clone().map(|path| (path, TreeKind::Local)));
        let wanted = usize::from(self.trees.kubelet.is_some()) + usize::from(self.trees.local.is_some());
        let mut there = HashSet::new();
        for (path, kind) in found {
            let known = self.directories.values().any(|known| matches!(known, Directory::Root { path: of, .. } if *of == path));
            if known || self.watch_level(Directory::Root { path: path.clone(), kind }, &path, kind) {
                there.insert(kind);
            }
        }
        there.len() == wanted
    }

    /// Watches a directory that has pods in it (or QoS classes), then takes stock of it. `false`: it is not there.
    fn watch_level(&mut self, directory: Directory, path: &Path, kind: TreeKind) -> bool {
        let full = self.layout.watched().join(path);
        // Watched before it is listed, so that nothing slips through between.
        let flags = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_DELETE | AddWatchFlags::IN_ONLYDIR;
        match self.inotify.add_watch(&full, flags) {
            Ok(watch) => self.directories.insert(watch, directory),
            Err(Errno::ENOENT) => return false,
            Err(errno) => {
                self.unwatchable(full, errno);
                return false;
            }
        };
        self.take_stock(path, kind);
        true
    }

    /// Finds pods that have come, and lets go of those that have gone, without an event.
    fn take_stock(&mut self, path: &Path, kind: TreeKind) {
        let mut there = match subdirectories(&self.layout.watched().join(path)) {
            Ok(there) => there,
            Err(problem) => return self.problems([problem]),
        };
        there.sort_unstable_by_key(|(inode, _)| *inode);
        for (_, name) in there {
            self.appeared(path, kind, &name);
        }
    }

    fn appeared(&mut self, parent: &Path, kind: TreeKind, name: &str) {
        let path = parent.join(name);
        if kind == TreeKind::Kubelet && place::is_qos(name) {
            let known = self.directories.values().any(|known| matches!(known, Directory::Qos { path: of } if *of == path));
            if !known {
                self.watch_level(Directory::Qos { path: path.clone() }, &path, kind);
            }
        } else if let Some(pod_uid) = place::pod_uid(name) {
            self.pod_appeared(PodPlace { pod_uid, kind, path });
        }
    }

    /// Takes all directory events that are there; they are handled one by one.
    pub(super) fn fetch_news(&mut self, at: Timestamp) {
        loop {
            match self.inotify.read_events() {
                Ok(events) => self.news.extend(events.into_iter().map(|event| (event, at))),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return,
                Err(errno) => return self.problem_at("inotify".into(), std::io::Error::from(errno).to_string()),
            }
        }
    }

    /// Handles all directory events that are there.
    pub(super) fn catch_up_with_news(&mut self) {
        self.fetch_news(Timestamp::now());
        while let Some((event, at)) = self.news.pop_front() {
            self.directory_event(&event, at);
        }
        if std::mem::take(&mut self.overflowed) {
            self.rescan();
        }
    }

    pub(super) fn directory_event(&mut self, event: &InotifyEvent, at: Timestamp) {
        if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
            self.overflowed = true;
            return;
        }
        if event.mask.contains(AddWatchFlags::IN_IGNORED) {
            if let Some(Directory::Root { .. }) = self.directories.remove(&event.wd) {
                self.look_for_roots_after(Duration::ZERO);
            }
            return;
        }
        let Some(directory) = self.directories.get(&event.wd).cloned() else { return };
        let Some(name) = event.name.as_deref().and_then(|name| name.to_str()) else { return };
        let came = event.mask.contains(AddWatchFlags::IN_CREATE);
        match directory {
            Directory::Root { path, kind } if came => self.appeared(&path, kind, name),
            Directory::Qos { path } if came => self.appeared(&path, TreeKind::Kubelet, name),
            Directory::Root { path, .. } | Directory::Qos { path } => self.disappeared(&path.join(name), at),
            Directory::Pod { pod_uid } if came => {
                let place = self.pods.get(&pod_uid).and_then(|pod| pod.place.container(name));
                if let Some(place) = place {
                    self.container_appeared(&pod_uid, place);
                }
            }
            Directory::Pod { pod_uid } => {
                let place = self.pods.get(&pod_uid).and_then(|pod| pod.place.container(name));
                if let Some(key) = place.and_then(|place| self.container_key(&pod_uid, &place.container_id)) {
                    self.container_gone(key, at);
                    self.pod_after_removal(&pod_uid);
                }
            }
        }
    }

    /// A pod's directory, if it was one, and if it has not been made again and seen already.
    fn disappeared(&mut self, path: &Path, at: Timestamp) {
        let pod_uid = path.file_name().and_then(|name| name.to_str()).and_then(place::pod_uid);
        let Some(known) = pod_uid.as_ref().and_then(|pod_uid| self.pods.get(pod_uid)) else { return };
        let is_back = inode(&self.layout.watched().join(path)) == Some(known.segment.cgroup_inode);
        if known.place.path == path && !is_back {
            pod_uid.into_iter().for_each(|pod_uid| self.pod_gone(&pod_uid, at));
        }
    }

    /// After lost events: compares all that is known with all that is there.
    pub(super) fn rescan(&mut self) {
        let at = Timestamp::now();
        let gone = |path: &Path, of: u64| inode(&self.layout.watched().join(path)) != Some(of);
        let pods: Vec<String> = self
            .pods
            .iter()
            .filter(|(_, pod)| gone(&pod.place.path, pod.segment.cgroup_inode))
            .map(|(pod_uid, _)| pod_uid.clone())
            .collect();
        pods.iter().for_each(|pod_uid| self.pod_gone(pod_uid, at));
        let mounted = self.layout.watched().to_owned();
        let containers: Vec<u64> = self
            .containers
            .iter()
            .filter(|(_, container)| !mounted.join(&container.path).exists())
            .map(|(key, _)| *key)
            .collect();
        containers.into_iter().for_each(|key| self.container_gone(key, at));
        self.find_new();
        self.outbox.push(KernelEvent::Overflowed { at });
    }

    /// Looks into every level for what no event has told.
    pub(super) fn find_new(&mut self) {
        let levels: Vec<(PathBuf, TreeKind)> = self.directories.values().filter_map(Directory::level).collect();
        levels.iter().for_each(|(path, kind)| self.take_stock(path, *kind));
        let followed = self.pods.iter().filter(|(_, pod)| pod.watch.is_some());
        let followed: Vec<String> = followed.map(|(pod_uid, _)| pod_uid.clone()).collect();
        followed.iter().for_each(|pod_uid| self.list_containers(pod_uid));
    }
}

impl Directory {
    fn level(&self) -> Option<(PathBuf, TreeKind)> {
        match self {
            Self::Root { path, kind } => Some((path.clone(), *kind)),
            Self::Qos { path } => Some((path.clone(), TreeKind::Kubelet)),
            Self::Pod { .. } => None,
        }
    }
}
