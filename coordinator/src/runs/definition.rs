//! Reads definitions of runs: batch-job-controller's `config.yaml` and `pod-template.yaml` as they are, and files of our own.
//!
//! In: a directory, ConfigMaps. Out: [`Definition`]s, or everything that is wrong with them, at once. Read again whenever they change.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jobmeter_decide::runs::Definition;

pub mod directory;
pub mod follow;
mod form;
mod mapping;
mod metrics;
mod section;
pub mod template;
mod texts;
pub(crate) mod values;
mod yaml;

use form::Around;
use section::Report;

/// Where definitions come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// Each `*.yaml` in it; a pair of `config.yaml` and `pod-template.yaml` is one definition.
    pub directory: Option<PathBuf>,
    /// Namespace and name, read from the API server.
    pub config_maps: Vec<(String, String)>,
}

/// What a definition does not say itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Defaults {
    pub namespace: String,
    pub report_directory: PathBuf,
    /// Whatever a definition says.
    pub report_directory_wins: bool,
}

/// All definitions of one reading.
#[derive(Clone, Debug, Default)]
pub struct Read {
    pub definitions: Vec<Definition>,
    /// One line for each thing that is wrong; the definition it is of is left out, the others are not.
    pub problems: Vec<String>,
    /// What is read and has no effect.
    pub warnings: Vec<String>,
}

/// Of batch-job-controller's pair.
pub const CONFIG_FILE: &str = "config.yaml";
pub const POD_TEMPLATE_FILE: &str = "pod-template.yaml";

/// batch-job-controller's pair: one definition. `source` is the directory or the ConfigMap that has both.
pub fn read_pair(source: &str, config: &str, pod_template: &str, defaults: &Defaults) -> Read {
    let template_file = texts::within(source, POD_TEMPLATE_FILE);
    let around = Around { source, pod_template: Some((&template_file, pod_template)), defaults };
    let mut report = Report::new(&texts::within(source, CONFIG_FILE));
    let documents = yaml::documents(config);
    let definition = match documents.split_first() {
        None => {
            report.problems.push(format!("{}: is empty", report.file));
            None
        }
        Some((first, others)) => {
            if !others.is_empty() {
                let why = "only the first YAML document is read, as batch-job-controller does";
                report.warnings.push(format!("{}: {why}; files of other names may hold several", report.file));
            }
            read_document(first, &around, &mut report)
        }
    };
    Read { definitions: definition.into_iter().collect(), problems: report.problems, warnings: report.warnings }
}

/// A file of ours: each of its documents is a definition.
pub fn read_file(source: &str, text: &str, defaults: &Defaults) -> Read {
    let documents = yaml::documents(text);
    let several = documents.len() > 1;
    let reads = (1..).zip(&documents).map(|(number, document)| {
        let named = if several { format!("{source}, document {number}") } else { source.to_owned() };
        let mut report = Report::new(source);
        let around = Around { source: &named, pod_template: None, defaults };
        let definition = read_document(document, &around, &mut report);
        Read { definitions: definition.into_iter().collect(), problems: report.problems, warnings: report.warnings }
    });
    merge(reads)
}

fn read_document(document: &yaml::Document<'_>, around: &Around<'_>, report: &mut Report) -> Option<Definition> {
    match document.parse() {
        Ok(node) => form::read(node, around, report),
        Err((place, why)) => {
            report.problem(place, "", why);
            None
        }
    }
}

/// All of them, in that order. Of two definitions of one name the first one holds.
pub fn merge(reads: impl IntoIterator<Item = Read>) -> Read {
    let mut all = Read::default();
    let mut sources: BTreeMap<String, String> = BTreeMap::new();
    for read in reads {
        all.problems.extend(read.problems);
        all.warnings.extend(read.warnings);
        for definition in read.definitions {
            let name = &definition.settings.name;
            if let Some(first) = sources.get(name) {
                all.problems.push(format!("{}: name: `{name}` is defined in {first} already", definition.source));
                continue;
            }
            sources.insert(name.clone(), definition.source.clone());
            all.definitions.push(definition);
        }
    }
    all
}

impl Read {
    /// The same definitions, and the same said of them.
    pub fn says_the_same_as(&self, other: &Self) -> bool {
        let same = |a: &Definition, b: &Definition| {
            a.settings == b.settings
                && a.source == b.source
                && a.schedule.as_ref().map(|schedule| schedule.as_str()) == b.schedule.as_ref().map(|schedule| schedule.as_str())
                && a.suspended == b.suspended
                && a.run_on_start == b.run_on_start
        };
        self.problems == other.problems
            && self.warnings == other.warnings
            && self.definitions.len() == other.definitions.len()
            && self.definitions.iter().zip(&other.definitions).all(|(a, b)| same(a, b))
    }
}

#[cfg(test)]
mod tests;
