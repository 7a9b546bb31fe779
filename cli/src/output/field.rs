//! The fields of `--format`: our names, sacct's names, and how each is read from a row.

mod amounts;
mod identity;
mod logs;

use std::sync::LazyLock;

use jiff::Timestamp;

use super::{Row, Value};

/// One thing that can be shown of a row.
#[derive(Debug)]
pub struct Field {
    /// sacct's spelling where sacct has the field: the header of `--format`.
    pub name: &'static str,
    /// The header of our own tables.
    pub header: &'static str,
    /// The key in JSON, YAML and CSV; the record's own name with its unit.
    pub key: &'static str,
    /// Other names by which `--format` knows it.
    pub aliases: &'static [&'static str],
    pub about: &'static str,
    pub is_number: bool,
    /// On the line of a job it is computed from the records of its pods.
    pub needs_pods: bool,
    pub get: fn(&Row, Timestamp) -> Value,
}

/// All of them, in the order of `--format help`.
pub static FIELDS: LazyLock<Vec<&'static Field>> = LazyLock::new(|| {
    let amounts = amounts::CPU.iter().chain(amounts::MEMORY).chain(amounts::OTHER);
    identity::FIELDS.iter().chain(amounts).chain(logs::FIELDS).collect()
});

impl Field {
    /// By any of its names, in any case; `-` and `_` are the same.
    pub fn find(name: &str) -> Option<&'static Self> {
        let wanted = folded(name);
        FIELDS.iter().copied().find(|field| field.names().any(|known| folded(known) == wanted))
    }

    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        [self.name, self.key, self.header].into_iter().chain(self.aliases.iter().copied())
    }
}

fn folded(name: &str) -> String {
    name.chars().filter(|character| !matches!(character, '-' | '_')).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn no_two_fields_share_a_name() {
        let mut owners: BTreeMap<String, &str> = BTreeMap::new();
        for field in FIELDS.iter() {
            for name in field.names() {
                let owner = owners.entry(folded(name)).or_insert(field.name);
                assert_eq!(*owner, field.name, "{name} means two fields");
            }
        }
    }

    #[test]
    fn the_names_slurm_users_type_are_known_in_any_case() {
        for name in [
            "JobID",
            "jobname",
            "STATE",
            "ExitCode",
            "Elapsed",
            "TotalCPU",
            "UserCPU",
            "SystemCPU",
            "MaxRSS",
            "MemPeak",
            "ReqMem",
            "ReqCPUS",
            "NodeList",
            "Start",
            "End",
            "Method",
            "AllocCPUS",
            "Submit",
            "Account",
            "CPUTime",
            "MaxDiskRead",
            "cpu_seconds",
            "memory_peak_bytes",
            "rss_peak_bytes",
        ] {
            assert!(Field::find(name).is_some(), "{name}");
        }
    }
}
