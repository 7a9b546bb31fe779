//! The texts of one source, by their names: which of them are batch-job-controller's pair, and which are files of ours.

use std::collections::BTreeMap;

use super::{CONFIG_FILE, Defaults, POD_TEMPLATE_FILE, Read, merge, read_file, read_pair};

/// By name; `Err` is a sentence: why it cannot be read.
pub(super) type Texts = BTreeMap<String, Result<String, String>>;

/// More is no definition, and a ConfigMap cannot hold it.
pub(super) const MAX_TEXT_BYTES: u64 = 1 << 20;

/// Whether a file of that name may hold a definition.
pub(super) fn is_ours(name: &str) -> bool {
    name.ends_with(".yaml") && !name.starts_with('.')
}

/// `source`: a directory, or a ConfigMap.
pub(super) fn read(source: &str, texts: &Texts, defaults: &Defaults) -> Read {
    let mut reads = Vec::new();
    let mut unreadable = Read::default();
    let pair = texts.get(CONFIG_FILE).zip(texts.get(POD_TEMPLATE_FILE));
    if let Some((Ok(config), Ok(pod_template))) = pair {
        reads.push(read_pair(source, config, pod_template, defaults));
    }
    for (name, text) in texts {
        let file = within(source, name);
        let of_the_pair = name == CONFIG_FILE || name == POD_TEMPLATE_FILE;
        match text {
            Err(why) => unreadable.problems.push(format!("{file}: {why}")),
            Ok(_) if of_the_pair && pair.is_some() => {}
            Ok(_) if name == POD_TEMPLATE_FILE => {
                unreadable.problems.push(format!("{file}: there is no {CONFIG_FILE} beside it, which makes it a definition"));
            }
            Ok(text) => reads.push(read_file(&file, text, defaults)),
        }
    }
    // A directory may be filled later; a ConfigMap was named for what is in it.
    if texts.is_empty() && !source.starts_with('/') {
        unreadable.warnings.push(format!("{source}: has no key that ends in .yaml"));
    }
    reads.push(unreadable);
    merge(reads)
}

/// What of a source is meant.
pub(super) fn within(source: &str, name: &str) -> String {
    if source.starts_with('/') { format!("{}/{name}", source.trim_end_matches('/')) } else { format!("{source}, {name}") }
}
