//! Names and IDs as Kubernetes and its runtimes give them. The randomness of the executor is all here.

use uuid::Uuid;

/// No vowels and nothing that looks like something else, as in `k8s.io/apimachinery/pkg/util/rand`.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

pub(super) fn uid() -> String {
    Uuid::new_v4().to_string()
}

/// 64 hexadecimal digits, as containerd makes them.
pub(super) fn container_id() -> String {
    format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple())
}

pub(super) fn job_name(prefix: &str) -> String {
    format!("{prefix}{}", suffix())
}

pub(super) fn pod_name(job: &str, index: Option<u32>) -> String {
    match index {
        Some(index) => format!("{job}-{index}-{}", suffix()),
        None => format!("{job}-{}", suffix()),
    }
}

fn suffix() -> String {
    Uuid::new_v4().as_bytes()[..5].iter().map(|byte| char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()])).collect()
}
