//! Pods: taken up, followed or let go, and gone.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::Timestamp;
use jobmeter_hostfs::cgroup::PodPlace;
use jobmeter_protocol::SegmentId;
use nix::{
    errno::Errno,
    sys::inotify::{AddWatchFlags, WatchDescriptor},
};

use super::{
    KernelEvent, SeenBy,
    directories::Directory,
    pod::Pod,
    thread::{Due, Thread},
};

/// Watches that ran out are given back as pods go.
const WATCH_AGAIN: Duration = Duration::from_secs(5);

impl Thread {
    pub(super) fn pod_appeared(&mut self, place: PodPlace) {
        let Some(cgroup_inode) = inode(&self.layout.watched().join(&place.path)) else { return };
        let (at, pod_uid) = (Timestamp::now(), place.pod_uid.clone());
        match self.pods.get(&pod_uid) {
            Some(known) if known.segment.cgroup_inode == cgroup_inode => return,
            // Made anew: another segment, whose counters begin at 0.
            Some(_) => self.pod_gone(&pod_uid, at),
            None => {}
        }
        let segment = SegmentId { boot_id: self.boot_id.clone(), cgroup_inode };
        let kind = place.kind;
        let (containers, last) = (Vec::new(), None);
        let pod = Pod {
            place,
            segment: segment.clone(),
            watch: None,
            unwatched: false,
            containers,
            next_order: 0,
            last,
            oom_kills_of_the_gone: 0,
        };
        self.pods.insert(pod_uid.clone(), pod);
        self.outbox.push(KernelEvent::PodAppeared { pod_uid: pod_uid.clone(), segment, at, kind });
        self.follow_pod(&pod_uid);
    }

    /// Watches the pod's own directory and takes up its containers.
    pub(super) fn follow_pod(&mut self, pod_uid: &str) {
        let Some(pod) = self.pods.get(pod_uid) else { return };
        let full = self.layout.watched().join(&pod.place.path);
        let flags = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_DELETE | AddWatchFlags::IN_ONLYDIR;
        match self.inotify.add_watch(&full, flags) {
            Ok(watch) => {
                self.directories.insert(watch, Directory::Pod { pod_uid: pod_uid.to_owned() });
                if let Some(pod) = self.pods.get_mut(pod_uid) {
                    (pod.watch, pod.unwatched) = (Some(watch), false);
                }
                self.list_containers(pod_uid);
            }
            // Gone again; its parent's event says so.
            Err(Errno::ENOENT) => {}
            Err(errno) => {
                if let Some(pod) = self.pods.get_mut(pod_uid) {
                    pod.unwatched = true;
                }
                self.unwatchable(full, errno);
                // What is there already can be followed to its end all the same.
                self.list_containers(pod_uid);
            }
        }
    }

    /// A directory that is there and cannot be watched: told, and tried again later.
    pub(super) fn unwatchable(&mut self, full: PathBuf, errno: Errno) {
        self.problem_at(full, format!("failed to watch it: {}", std::io::Error::from(errno)));
        if !std::mem::replace(&mut self.watching_again, true) {
            self.after(WATCH_AGAIN, Due::Watches);
        }
    }

    pub(super) fn watch_again(&mut self) {
        self.watching_again = false;
        // What is found now may have been there for long.
        self.attaching = true;
        self.find_new();
        let unwatched = self.pods.iter().filter(|(_, pod)| pod.unwatched);
        let unwatched: Vec<String> = unwatched.map(|(pod_uid, _)| pod_uid.clone()).collect();
        unwatched.iter().for_each(|pod_uid| self.follow_pod(pod_uid));
        self.attaching = false;
    }

    pub(super) fn unfollow_pod(&mut self, pod_uid: &str) {
        let Some(pod) = self.pods.get_mut(pod_uid) else { return };
        let watch = pod.watch.take();
        pod.unwatched = false;
        // Taken up again, they are counted from the sandbox again.
        pod.next_order = 0;
        let containers = std::mem::take(&mut pod.containers);
        self.unwatch(watch);
        for key in containers {
            self.release(key);
            self.containers.remove(&key);
        }
    }

    pub(super) fn list_containers(&mut self, pod_uid: &str) {
        let Some(pod) = self.pods.get(pod_uid) else { return };
        match self.reader.containers(&pod.place) {
            Ok(containers) => containers.into_iter().for_each(|place| self.container_appeared(pod_uid, place)),
            Err(problem) => self.problems([problem]),
        }
    }

    pub(super) fn pod_gone(&mut self, pod_uid: &str, at: Timestamp) {
        let Some(keys) = self.pods.get(pod_uid).map(|pod| pod.containers.clone()) else { return };
        for key in keys {
            self.container_gone(key, at);
        }
        let Some(pod) = self.pods.remove(pod_uid) else { return };
        self.unwatch(pod.watch);
        let (pod_uid, segment) = (pod_uid.to_owned(), pod.segment);
        self.outbox.push(KernelEvent::PodGone { pod_uid, segment, reading: pod.last, at });
    }

    fn unwatch(&mut self, watch: Option<WatchDescriptor>) {
        if let Some(watch) = watch
            && self.directories.remove(&watch).is_some()
        {
            match self.inotify.rm_watch(watch) {
                // EINVAL: the kernel dropped it with its directory.
                Ok(()) | Err(Errno::EINVAL) => {}
                Err(errno) => self.problem_at("inotify".into(), std::io::Error::from(errno).to_string()),
            }
        }
    }

    /// What was charged to the pod while its container was taken down.
    pub(super) fn pod_after_removal(&mut self, pod_uid: &str) {
        if let Some(reading) = self.read_pod_level(pod_uid) {
            self.outbox.push(KernelEvent::PodRead { pod_uid: pod_uid.to_owned(), reading });
        }
    }

    /// The removal of a container that nothing else has reported.
    pub(super) fn container_gone(&mut self, key: u64, at: Timestamp) {
        self.end(key, SeenBy::Removal, at);
        self.report(key);
        self.forget(key);
    }
}

/// Tells one life of a directory from the next.
pub(super) fn inode(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().map(|metadata| metadata.ino())
}
