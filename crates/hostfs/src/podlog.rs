//! Who a pod is, from the name of its log directory: `<namespace>_<name>_<uid>`. It outlives the pod in the API.
//! What is in it: [`files`].

pub mod files;

use std::{fs, io};

use crate::{HostRoot, ReadError, file};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodIdentity {
    pub namespace: String,
    pub name: String,
    pub pod_uid: String,
}

/// `None`: not the name of a pod's log directory. Neither of the three parts can contain an underscore.
pub fn parse(directory_name: &str) -> Option<PodIdentity> {
    let mut parts = directory_name.split('_');
    let (namespace, name, pod_uid) = (parts.next()?, parts.next()?, parts.next()?);
    let whole = parts.next().is_none() && ![namespace, name, pod_uid].contains(&"");
    whole.then(|| PodIdentity { namespace: namespace.to_owned(), name: name.to_owned(), pod_uid: pod_uid.to_owned() })
}

/// The identity of one pod; `None` where its log directory is not there (yet, or any more).
pub fn find(host: &HostRoot, pod_uid: &str) -> Result<Option<PodIdentity>, ReadError> {
    let failed = |source: io::Error| {
        if file::is_absent(&source) { Ok(None) } else { Err(ReadError::Io { path: host.pod_logs.clone(), source }) }
    };
    let listing = match fs::read_dir(&host.pod_logs) {
        Ok(listing) => listing,
        Err(source) => return failed(source),
    };
    for entry in listing {
        let entry = match entry {
            Ok(entry) => entry,
            Err(source) => return failed(source),
        };
        let identity = entry.file_name().to_str().and_then(parse);
        if let Some(identity) = identity.filter(|identity| identity.pod_uid == pod_uid) {
            return Ok(Some(identity));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIRECTORY: &str = "batch_render-7-x2k4f_0f8e6c1a-5c9d-4c57-9f0c-6f1e4d3b2a10";

    #[test]
    fn a_pod_is_found_by_its_uid() {
        let dir = tempfile::tempdir().unwrap();
        let host = HostRoot::at(dir.path());
        assert_eq!(find(&host, "x").unwrap(), None, "no log directory at all");
        for name in [DIRECTORY, "kube-system_etcd-node-a_5d7d5fd0a4cf3a5f3a3b2b3c4d5e6f70", "lost+found"] {
            fs::create_dir_all(host.pod_logs.join(name)).unwrap();
        }
        let identity = find(&host, "0f8e6c1a-5c9d-4c57-9f0c-6f1e4d3b2a10").unwrap().unwrap();
        assert_eq!((identity.namespace.as_str(), identity.name.as_str()), ("batch", "render-7-x2k4f"));
        assert_eq!(find(&host, "0f8e6c1a").unwrap(), None, "part of a UID is not a UID");
    }

    #[test]
    fn other_names_are_not_pods() {
        for name in ["", "_", "__", "a_b", "a_b_c_d", "a__c", "lost+found"] {
            assert_eq!(parse(name), None, "{name}");
        }
    }

    proptest::proptest! {
        #[test]
        fn parsing_never_panics(name: String) {
            let _identity = parse(&name);
        }
    }
}
