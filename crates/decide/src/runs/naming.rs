//! Names of runs and of their pods.
//!
//! In: a time, a definition, a node, the names that are taken. Out: the run's ID, the pod's name; the same for the same input.

use std::collections::BTreeSet;

use jiff::Timestamp;

/// Of a label, and of a host name: what a pod's name becomes.
const LONGEST: usize = 63;

/// The UTC minute, and two digits more where it is taken.
pub(super) fn run_id(now: Timestamp, taken: impl Fn(&str) -> bool) -> String {
    let minute = now.strftime("%Y%m%d%H%M").to_string();
    if !taken(&minute) {
        return minute;
    }
    let free = (1_u32..).map(|number| format!("{minute}{number:02}")).find(|id| !taken(id));
    // The range ends only after four thousand million runs in one minute.
    free.unwrap_or(minute)
}

/// Names that pods of one run have.
#[derive(Clone, Debug, Default)]
pub(super) struct PodNames {
    taken: BTreeSet<String>,
    /// Such as several nodes ask for: none of them gets it.
    shared: BTreeSet<String>,
}

impl PodNames {
    /// Of nodes that begin together: a name that two of them would get is given to none.
    pub(super) fn expect<'a>(&mut self, definition: &str, run: &str, retries: u32, nodes: impl Iterator<Item = &'a str>) {
        let mut seen = BTreeSet::new();
        for node in nodes {
            if let Some(name) = short(definition, run, retries, node)
                && !seen.insert(name.clone())
            {
                self.shared.insert(name);
            }
        }
    }

    pub(super) fn take(&mut self, definition: &str, run: &str, retries: u32, node: &str) -> String {
        let free = |name: &String| !self.taken.contains(name) && !self.shared.contains(name);
        let name = short(definition, run, retries, node).filter(free).unwrap_or_else(|| {
            let hashed = (0..).map(|salt| long(definition, run, retries, node, salt)).find(free);
            hashed.unwrap_or_else(|| long(definition, run, retries, node, u32::MAX))
        });
        self.taken.insert(name.clone());
        name
    }

    pub(super) fn keep(&mut self, first: &str) {
        self.taken.insert(first.to_owned());
    }

    pub(super) fn give_back(&mut self, name: &str) {
        self.taken.remove(name);
    }
}

/// The first attempt's name, of the name of this attempt.
pub(super) fn first_attempt(pod: &str, attempt: u32) -> &str {
    if attempt == 0 { pod } else { pod.strip_suffix(&suffix(attempt)).unwrap_or(pod) }
}

pub(super) fn of_attempt(first: &str, attempt: u32) -> String {
    if attempt == 0 { first.to_owned() } else { format!("{first}{}", suffix(attempt)) }
}

fn suffix(attempt: u32) -> String {
    format!("-r{attempt}")
}

/// What the last attempt's suffix needs.
fn reserve(retries: u32) -> usize {
    if retries == 0 { 0 } else { suffix(retries).len() }
}

/// As batch-job-controller names them, if it is not too long.
fn short(definition: &str, run: &str, retries: u32, node: &str) -> Option<String> {
    let name = joined(&[&safe(definition), "job", &label(node), run]);
    (name.len() + reserve(retries) <= LONGEST).then_some(name)
}

fn long(definition: &str, run: &str, retries: u32, node: &str, salt: u32) -> String {
    let hash = format!("{:08x}", hash(definition, node, salt));
    let fixed = "-job---".len() + hash.len() + run.len() + reserve(retries);
    let room = LONGEST.saturating_sub(fixed);
    let (definition, label) = (safe(definition), label(node));
    let of_definition = room.saturating_sub(label.len().min(room / 2));
    let definition = cut(&definition, of_definition);
    let label = cut(&label, room - definition.len());
    joined(&[definition, "job", label, &hash, run])
}

fn joined(parts: &[&str]) -> String {
    let parts: Vec<_> = parts.iter().copied().filter(|part| !part.is_empty()).collect();
    parts.join("-")
}

fn cut(text: &str, length: usize) -> &str {
    text.get(..length).unwrap_or(text).trim_matches('-')
}

fn label(node: &str) -> String {
    safe(node.split('.').next().unwrap_or_default())
}

/// What may stand in a name of DNS.
fn safe(text: &str) -> String {
    let lower = text.chars().map(|character| character.to_ascii_lowercase());
    let safe: String = lower.map(|character| if character.is_ascii_alphanumeric() { character } else { '-' }).collect();
    safe.trim_matches('-').to_owned()
}

/// FNV-1a: it must be the same in every version of Jobmeter.
fn hash(definition: &str, node: &str, salt: u32) -> u32 {
    let bytes = definition.bytes().chain([0]).chain(node.bytes()).chain(salt.to_le_bytes());
    bytes.fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests;
