//! What each source said last, and what of it holds. In: texts, troubles. Out: the next reading, if it says anything new.

use std::collections::BTreeSet;

use jobmeter_daemon::admin::{SourceBoard, SourceState};
use jobmeter_decide::runs::Definition;

use super::SOURCE;
use crate::runs::definition::texts::{self, Texts};
use crate::runs::definition::{Defaults, Read, merge};

pub(super) struct Held {
    defaults: Defaults,
    /// Of two definitions of one name that of the earlier source holds.
    sources: Vec<Source>,
    sent: Option<Read>,
}

struct Source {
    name: String,
    /// Until it has spoken, nothing is sent.
    spoken: bool,
    there: bool,
    /// Why nothing new is known of it.
    trouble: Option<String>,
    read: Read,
}

impl Held {
    pub(super) const fn new(defaults: Defaults) -> Self {
        Self { defaults, sources: Vec::new(), sent: None }
    }

    pub(super) fn add(&mut self, name: String) -> usize {
        self.sources.push(Source { name, spoken: false, there: false, trouble: None, read: Read::default() });
        self.sources.len() - 1
    }

    pub(super) fn name(&self, source: usize) -> &str {
        self.sources.get(source).map_or("", |source| &source.name)
    }

    pub(super) fn texts(&mut self, source: usize, texts: &Texts) {
        let Some(source) = self.sources.get_mut(source) else { return };
        let mut read = texts::read(&source.name, texts, &self.defaults);
        if !read.problems.is_empty() {
            keep(&source.read.definitions, &mut read.definitions);
        }
        (source.spoken, source.there, source.trouble, source.read) = (true, true, None, read);
    }

    /// Somebody took it away, and its definitions with it.
    pub(super) fn missing(&mut self, source: usize) {
        let Some(source) = self.sources.get_mut(source) else { return };
        (source.spoken, source.there, source.trouble, source.read) = (true, false, None, Read::default());
    }

    /// `known`: waiting will not help, so the others are not to wait for it.
    pub(super) fn trouble(&mut self, source: usize, why: String, known: bool) {
        let Some(source) = self.sources.get_mut(source) else { return };
        source.trouble = Some(why);
        source.spoken |= known;
    }

    /// Tells the board in any case.
    pub(super) fn reading(&mut self, board: &SourceBoard) -> Option<Read> {
        let reads = self.sources.iter().map(|source| {
            let mut read = source.read.clone();
            read.problems.extend(source.trouble.clone());
            read
        });
        let read = merge(reads);
        self.show(&read, board);
        let news = self.sent.as_ref().is_none_or(|sent| !sent.says_the_same_as(&read));
        if !news || self.sources.iter().any(|source| !source.spoken) {
            return None;
        }
        let known: BTreeSet<&String> = self.sent.iter().flat_map(|sent| &sent.warnings).collect();
        for warning in read.warnings.iter().filter(|warning| !known.contains(warning)) {
            tracing::warn!("{warning}");
        }
        self.sent = Some(read.clone());
        Some(read)
    }

    /// Which logs each change.
    fn show(&self, read: &Read, board: &SourceBoard) {
        let names: Vec<&str> = read.definitions.iter().take(20).map(|definition| definition.settings.name.as_str()).collect();
        let mut detail = match (names.len(), read.definitions.len()) {
            (0, _) => "no definitions".to_owned(),
            (some, all) if all > some => format!("definitions: {} and {} more", names.join(", "), all - some),
            _ => format!("definitions: {}", names.join(", ")),
        };
        for source in &self.sources {
            if !source.spoken {
                detail += &format!("; {} was not read yet", source.name);
            } else if !source.there && source.trouble.is_none() {
                detail += &format!("; {} is not there", source.name);
            }
        }
        let state = match read.problems.is_empty() {
            true => SourceState::Active,
            false => SourceState::Failed { error: read.problems.join("; ") },
        };
        board.set_with_detail(SOURCE, state, detail);
    }
}

/// Of a source with a mistake in it nobody can say whether a definition that is missing is wrong or gone.
fn keep(before: &[Definition], now: &mut Vec<Definition>) {
    let missing = |definition: &&Definition| now.iter().all(|other| other.settings.name != definition.settings.name);
    let kept: Vec<Definition> = before.iter().filter(missing).cloned().collect();
    now.extend(kept);
}
