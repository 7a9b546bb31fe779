//! The bytes of log files → records. In: pieces of any size, of which a line may be any length. Out: records to a [`Weave`], or
//! the lines as they are to its [`Out`]. What comes out does not depend on where the pieces were cut.
//!
//! A line is understood from its head, so nothing longer is kept: 256 bytes of a CRI line, all of a Docker one (which is short).

use crate::{
    SourceFormat, Stream,
    clock::Clock,
    cri, docker, to_newline,
    weave::{Out, Weave},
};

#[derive(Debug)]
pub(crate) struct Decoder<O> {
    pub(crate) weave: Weave<O>,
    source: SourceFormat,
    form: Form,
    clock: Clock,
    /// The beginning of a line whose head is not complete.
    carry: Vec<u8>,
    /// The line of which more is to come.
    within: Option<Tail>,
    /// The file ended in the middle of it.
    cut: bool,
    pub(crate) seen: Seen,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Text,
    /// Lines as the runtime wrote them.
    Raw,
}

/// What was learned on the way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) first: Option<i64>,
    pub(crate) last: Option<i64>,
    pub(crate) malformed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tail {
    /// Its newline is part of the text.
    Kept,
    /// Its newline is the runtime's own.
    Dropped,
}

/// The head of a line.
struct Understood {
    at: i64,
    stream: Stream,
    what: What,
}

enum What {
    Cri { content: usize, partial: bool },
    Docker { log: Vec<u8> },
}

impl<O: Out> Decoder<O> {
    pub(crate) fn new(source: SourceFormat, form: Form, out: O) -> Self {
        let weave = Weave::new(out);
        let (carry, seen) = (Vec::new(), Seen::default());
        Self { weave, source, form, clock: Clock::default(), carry, within: None, cut: false, seen }
    }

    pub(crate) fn push(&mut self, mut raw: &[u8]) -> Result<(), O::Error> {
        if self.source == SourceFormat::Plain {
            return self.weave.out.text(None, None, raw);
        }
        if self.cut && !raw.is_empty() {
            self.mend()?;
        }
        while let Some(first) = raw.first() {
            let taken = if let Some(tail) = self.within {
                let (part, ended) = to_newline(raw);
                self.more(part, ended, tail)?;
                part.len()
            } else if self.carry.is_empty() {
                let longest = self.longest(*first);
                let (line, ended) = to_newline(raw);
                if ended || line.len() >= longest {
                    self.line(line, ended, line.len() <= longest)?;
                } else {
                    self.carry.extend_from_slice(line);
                }
                line.len()
            } else {
                self.fill(raw)?
            };
            raw = raw.get(taken..).unwrap_or_default();
        }
        Ok(())
    }

    /// Goes on with a line that began in an earlier piece. How many bytes of it were taken.
    fn fill(&mut self, raw: &[u8]) -> Result<usize, O::Error> {
        let longest = self.longest(self.carry.first().copied().unwrap_or_default());
        let room = longest.saturating_sub(self.carry.len()).min(raw.len());
        let (part, ended) = to_newline(raw.get(..room).unwrap_or(raw));
        self.carry.extend_from_slice(part);
        if ended || self.carry.len() >= longest {
            self.carried(ended, ended)?;
        }
        Ok(part.len())
    }

    fn carried(&mut self, ended: bool, whole: bool) -> Result<(), O::Error> {
        let mut carry = std::mem::take(&mut self.carry);
        let outcome = self.line(&carry, ended, whole);
        carry.clear();
        self.carry = carry;
        outcome
    }

    /// So much of a line is enough to know what it is.
    fn longest(&self, first: u8) -> usize {
        match self.source {
            SourceFormat::DockerJson => docker::LONGEST,
            SourceFormat::Detect if first == b'{' => docker::LONGEST,
            _ => cri::HEAD,
        }
    }

    /// The beginning of a line, with its newline if it `ended`. `whole`: it is not longer than [`Self::longest`].
    #[inline]
    fn line(&mut self, line: &[u8], ended: bool, whole: bool) -> Result<(), O::Error> {
        let Some(head) = self.understand(line.strip_suffix(b"\n").unwrap_or(line), whole) else {
            self.seen.malformed += 1;
            self.weave.begin(None, None)?;
            return self.more(line, ended, Tail::Kept);
        };
        self.seen.first.get_or_insert(head.at);
        self.seen.last = Some(head.at);
        if self.form == Form::Raw {
            return self.more(line, ended, Tail::Kept);
        }
        match head.what {
            What::Cri { content, partial } => {
                self.weave.begin(Some(head.at), Some(head.stream))?;
                self.more(line.get(content..).unwrap_or_default(), ended, if partial { Tail::Dropped } else { Tail::Kept })
            }
            What::Docker { log } if log.is_empty() => Ok(()),
            What::Docker { log } => {
                self.weave.begin(Some(head.at), Some(head.stream))?;
                self.weave.append(&log)?;
                self.weave.end(log.ends_with(b"\n"))
            }
        }
    }

    #[inline]
    fn understand(&mut self, line: &[u8], whole: bool) -> Option<Understood> {
        let docker = match self.source {
            SourceFormat::DockerJson => true,
            SourceFormat::Detect => line.starts_with(b"{"),
            SourceFormat::Cri | SourceFormat::Plain => false,
        };
        let (head, source) = if docker {
            let found = docker::parse(line).filter(|_| whole)?;
            let at = self.clock.read(found.time)?;
            (Understood { at, stream: found.stream, what: What::Docker { log: found.log } }, SourceFormat::DockerJson)
        } else {
            let found = cri::head(&mut self.clock, line)?;
            let what = What::Cri { content: found.len, partial: found.partial };
            (Understood { at: found.at, stream: found.stream, what }, SourceFormat::Cri)
        };
        self.source = source;
        Some(head)
    }

    #[inline]
    fn more(&mut self, part: &[u8], ended: bool, tail: Tail) -> Result<(), O::Error> {
        self.within = (!ended).then_some(tail);
        if self.form == Form::Raw {
            return self.weave.out.text(None, None, part);
        }
        let kept = if ended && tail == Tail::Dropped { part.get(..part.len() - 1).unwrap_or_default() } else { part };
        self.weave.append(kept)?;
        if ended { self.weave.end(tail == Tail::Kept) } else { Ok(()) }
    }

    /// The end of one file: what is there of its last line is all there will be.
    pub(crate) fn piece_ended(&mut self) -> Result<(), O::Error> {
        if !self.carry.is_empty() {
            self.carried(false, true)?;
        }
        self.cut = self.within.is_some();
        Ok(())
    }

    /// A line that was cut off ends where the next file begins.
    fn mend(&mut self) -> Result<(), O::Error> {
        self.cut = false;
        match self.within {
            Some(tail) => self.more(b"\n", true, tail),
            None => Ok(()),
        }
    }

    pub(crate) fn finish(mut self) -> Result<(O, Seen, u64), O::Error> {
        self.piece_ended()?;
        let (out, interrupted) = self.weave.finish()?;
        Ok((out, self.seen, interrupted))
    }
}
