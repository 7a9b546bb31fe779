//! Paths as runtimes make them. `captured`: read from a running kubelet; the rest follow the runtimes' source.

use proptest::prelude::*;

use super::*;

const UID: &str = "0f8e6c1a-5c9d-4c57-9f0c-6f1e4d3b2a10";
const ID: &str = "4bf3cde4fd1ed5a8d9a0f20b8c1f7c0e5a6f4f1b2c3d4e5f60718293a4b5c6d7";

fn of(path: &str) -> Option<(String, Option<String>)> {
    recognise(path).map(|place| (place.pod.pod_uid, place.container.map(|container| container.container_id)))
}

#[track_caller]
fn is_container(path: &str) {
    assert_eq!(of(path), Some((UID.to_owned(), Some(ID.to_owned()))), "{path}");
    assert_eq!(recognise(path).unwrap().path(), Path::new(path.trim_start_matches('/')));
}

#[test]
fn containers_are_recognised_under_every_driver_and_runtime() {
    let under = UID.replace('-', "_");
    // cgroupfs driver, containerd (captured) and docker; each QoS class.
    is_container(&format!("/kubepods/besteffort/pod{UID}/{ID}"));
    is_container(&format!("/kubepods/burstable/pod{UID}/{ID}"));
    is_container(&format!("/kubepods/pod{UID}/{ID}"));
    is_container(&format!("/kubepods/burstable/pod{UID}/crio-{ID}"));
    // systemd driver.
    for scope in ["cri-containerd", "crio", "docker"] {
        is_container(&format!("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{under}.slice/{scope}-{ID}.scope"));
        is_container(&format!("/kubepods.slice/kubepods-pod{under}.slice/{scope}-{ID}.scope"));
    }
    // A kubelet with --cgroup-root (captured), kind, minikube's docker driver.
    is_container(&format!("/node-b/kubepods/besteffort/pod{UID}/{ID}"));
    is_container(&format!(
        "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-pod{under}.slice/cri-containerd-{ID}.scope"
    ));
    is_container(&format!("/docker/{ID}/kubelet/kubepods/besteffort/pod{UID}/{ID}"));
    is_container(&format!(
        "/system.slice/docker-{ID}.scope/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{under}.slice/cri-containerd-{ID}.scope"
    ));
}

#[test]
fn what_lies_below_a_container_belongs_to_it() {
    let place = recognise(&format!("/kubepods/pod{UID}/crio-{ID}/container")).unwrap();
    assert_eq!(place.container.unwrap().container_id, ID);
    assert_eq!(place.pod.path, Path::new(&format!("kubepods/pod{UID}")));
}

#[test]
fn monitors_and_strangers_are_not_containers() {
    assert_eq!(of(&format!("/kubepods/pod{UID}/crio-conmon-{ID}")), Some((UID.to_owned(), None)));
    let slice = format!("/kubepods.slice/kubepods-pod{}.slice", UID.replace('-', "_"));
    assert_eq!(of(&format!("{slice}/crio-conmon-{ID}.scope")), Some((UID.to_owned(), None)));
    assert_eq!(of(&format!("/system.slice/docker-{ID}.scope")), None);
    assert_eq!(of("/user.slice/user-1000.slice/session-1.scope"), None);
    assert_eq!(of("/"), None);
    assert_eq!(of(""), None);
    assert_eq!(of("/kubepods/burstable"), None);
}

#[test]
fn a_static_pods_uid_is_a_hash_without_dashes() {
    let hash = "5d7d5fd0a4cf3a5f3a3b2b3c4d5e6f70";
    assert_eq!(of(&format!("/kubepods/burstable/pod{hash}/{ID}")).unwrap().0, hash);
    let slice = format!("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{hash}.slice");
    assert_eq!(of(&slice), Some((hash.to_owned(), None)));
}

#[test]
fn our_own_tree_names_its_containers_freely() {
    let place = recognise(&format!("/jobmeter/pod{UID}/main-0")).unwrap();
    assert_eq!((place.pod.kind, place.container.unwrap().container_id.as_str()), (TreeKind::Local, "main-0"));
    assert!(recognise(&format!("/user.slice/app.slice/jobmeter-2/pod{UID}")).is_some());
    assert!(recognise(&format!("/jobmeter-x/pod{UID}")).is_none());
    assert!(is_cgroup_name("main-0") && !is_cgroup_name("memory.max") && !is_cgroup_name("..") && !is_cgroup_name("a/b"));
}

proptest! {
    #[test]
    fn recognising_never_panics(path in any::<String>()) {
        let _place = recognise(&path);
    }

    #[test]
    fn names_built_of_true_parts_never_panic(parts in proptest::collection::vec(
        prop_oneof![Just("kubepods"), Just("kubepods.slice"), Just("burstable"), Just("pod"), Just("-pod"), Just(".slice"),
            Just(".scope"), Just("crio-"), Just("conmon-"), Just("é"), Just("/"), Just(ID)], 0..12)) {
        let path = parts.concat();
        let _place = recognise(&path);
        for name in path.split('/') {
            let _uid = pod_uid(name);
            let _id = container_id(name, TreeKind::Kubelet);
        }
    }
}
