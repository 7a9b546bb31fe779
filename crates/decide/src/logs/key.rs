//! Under which key a log is stored.
//!
//! Input: a template such as `{benchmark}/{cluster}/{job}/{pod}.log`, and what is known of a run. Output: the key, which is
//! also a sound path: segments of `[A-Za-z0-9._=@+-]`, none of them empty, `.` or `..`. A segment with nothing in it is left
//! out. What the template lacks and uniqueness needs is put before the extension: `-{container}`, `.{attempt}` and, where
//! another pod has the key already, the first eight characters of the UID. Owner: the coordinator's ledger, which keeps the key.

mod template;

use jiff::Timestamp;
use jobmeter_protocol::{Compression, ContainerKind};

use template::{Part, Segment};
pub use template::{Placeholder, Template, TemplateError};

#[cfg(test)]
mod tests;

/// File systems allow 255, and the names of what stands beside a log are longer than its own.
const LONGEST_SEGMENT: usize = 200;

#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    pub namespace: &'a str,
    /// Value of the benchmark label; the namespace takes its place.
    pub benchmark: Option<&'a str>,
    /// Empty where there is only one.
    pub cluster: &'a str,
    /// Name of the top owner, or of the pod where it has none.
    pub job: &'a str,
    pub pod: &'a str,
    pub pod_uid: &'a str,
    pub container: &'a str,
    pub kind: ContainerKind,
    /// So many main containers has the pod.
    pub main_containers: usize,
    pub attempt: u32,
    pub node: Option<&'a str>,
    /// Of the pod's creation: `{date}` is its day in UTC.
    pub date: Timestamp,
    pub compression: Compression,
}

/// `taken`: another pod has the key that comes of it otherwise.
pub fn render(template: &Template, facts: &Facts<'_>, taken: bool) -> String {
    let mut segments: Vec<String> = Vec::with_capacity(template.directories.len() + 1);
    segments.extend(template.directories.iter().map(|segment| text(segment, facts)).filter(|text| !text.is_empty()).map(shorten));
    let mut name = text(&template.name, facts);
    if name.is_empty() {
        name = sanitise(facts.pod);
    }
    name.push_str(&additions(template, facts, taken));
    let mut name = shorten(name);
    name.push_str(&template.extension);
    name.push_str(facts.compression.suffix());
    segments.push(name);
    segments.iter().map(|segment| harmless(segment)).collect::<Vec<_>>().join("/")
}

fn additions(template: &Template, facts: &Facts<'_>, taken: bool) -> String {
    let mut added = String::new();
    let of_several = facts.kind != ContainerKind::Main || facts.main_containers > 1;
    if of_several && !template.has(Placeholder::Container) {
        added.push('-');
        added.push_str(&sanitise(facts.container));
    }
    if facts.attempt > 0 && !template.has(Placeholder::Attempt) {
        added.push_str(&format!(".{}", facts.attempt));
    }
    if taken {
        added.push('.');
        added.extend(sanitise(facts.pod_uid).chars().take(8));
    }
    added
}

fn text(segment: &Segment, facts: &Facts<'_>) -> String {
    segment
        .iter()
        .map(|part| match part {
            Part::Literal(literal) => literal.clone(),
            Part::Placeholder(placeholder) => sanitise(&value(*placeholder, facts)),
        })
        .collect()
}

fn value(placeholder: Placeholder, facts: &Facts<'_>) -> String {
    match placeholder {
        Placeholder::Benchmark => facts.benchmark.filter(|label| !label.is_empty()).unwrap_or(facts.namespace).to_owned(),
        Placeholder::Namespace => facts.namespace.to_owned(),
        Placeholder::Cluster => facts.cluster.to_owned(),
        Placeholder::Job => facts.job.to_owned(),
        Placeholder::Pod => facts.pod.to_owned(),
        Placeholder::Container => facts.container.to_owned(),
        Placeholder::Attempt => facts.attempt.to_string(),
        Placeholder::Uid => facts.pod_uid.to_owned(),
        Placeholder::Node => facts.node.unwrap_or_default().to_owned(),
        Placeholder::Date => facts.date.strftime("%Y-%m-%d").to_string(),
    }
}

const fn is_allowed(character: char) -> bool {
    matches!(character, 'A'..='Z' | 'a'..='z' | '0'..='9' | '.' | '_' | '=' | '@' | '+' | '-')
}

/// One character for one: what else there is becomes an underscore.
fn sanitise(value: &str) -> String {
    value.chars().map(|character| if is_allowed(character) { character } else { '_' }).collect()
}

fn harmless(segment: &str) -> String {
    if segment.bytes().all(|byte| byte == b'.') { segment.replace('.', "_") } else { segment.to_owned() }
}

/// What is cut off is told by its hash, so that two long names stay two.
fn shorten(mut segment: String) -> String {
    if segment.len() > LONGEST_SEGMENT {
        let whole = fnv1a(&segment);
        segment.truncate(LONGEST_SEGMENT - 17);
        segment.push_str(&format!("-{whole:016x}"));
    }
    segment
}

fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}
