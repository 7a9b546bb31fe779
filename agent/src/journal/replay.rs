//! Reads a journal back, whatever state a crash left it in. Input: a reader. Output: the live evidence, and what was wrong.

use std::{
    collections::BTreeMap,
    error::Error,
    io::{self, BufRead, Write},
    path::Path,
};

use jobmeter_decide::join::join;
use jobmeter_protocol::PodEvidence;

use super::{
    VERSION,
    line::{Entry, LineError},
};

#[derive(Debug, Default)]
pub struct Replay {
    /// Evidence that was not forgotten, by pod UID.
    pub live: BTreeMap<String, PodEvidence>,
    /// Lines whose checksum or content was wrong.
    pub corrupt: u64,
    /// The file ended in the middle of a line: the agent died while it wrote.
    pub torn: bool,
    /// Written by a newer agent, in a form that this one does not know.
    pub foreign: Option<u32>,
}

impl Replay {
    /// Lines that say nothing go to `quarantine` as they are.
    pub(super) fn read(journal: &mut dyn BufRead, path: &Path, quarantine: &mut dyn Write) -> io::Result<Self> {
        let mut replay = Self::default();
        let mut line = Vec::new();
        let mut offset = 0_u64;
        loop {
            line.clear();
            let length = journal.read_until(b'\n', &mut line)?;
            if length == 0 || replay.foreign.is_some() {
                return Ok(replay);
            }
            match line.strip_suffix(b"\n") {
                None => {
                    tracing::warn!(path = %path.display(), offset, bytes = length, "torn line at the end of the journal");
                    replay.torn = true;
                }
                Some(line) => match Entry::decode(line) {
                    Ok(entry) => replay.apply(entry),
                    Err(err) => {
                        replay.skip(&err, path, offset);
                        quarantine.write_all(line)?;
                        quarantine.write_all(b"\n")?;
                    }
                },
            }
            offset += u64::try_from(length).unwrap_or(u64::MAX);
        }
    }

    fn apply(&mut self, entry: Entry) {
        match entry {
            Entry::Begin { version } => self.foreign = (version != VERSION).then_some(version),
            Entry::Evidence { evidence } => match self.live.get_mut(&evidence.pod_uid) {
                Some(known) => {
                    join(known, &evidence);
                }
                None => {
                    self.live.insert(evidence.pod_uid.clone(), *evidence);
                }
            },
            Entry::Forgot { pod_uid } => {
                self.live.remove(&pod_uid);
            }
        }
    }

    fn skip(&mut self, err: &LineError, path: &Path, offset: u64) {
        self.corrupt += 1;
        tracing::error!(path = %path.display(), offset, error = err as &dyn Error, "corrupt line in the journal");
    }
}
