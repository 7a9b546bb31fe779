//! What is given up when the spool is over its limit, or the node's disk nearly full.
//!
//! Input: what is in the spool ([`Run`]s with their pieces), and how much there may be ([`Limits`]). Output: pieces to give up,
//! each with its reason, in this order:
//!
//! 1. pieces of pods that nobody called a job, oldest first;
//! 2. middle pieces of logs that are still written, oldest first: how a job began and how it goes on is worth more;
//! 3. the other pieces of logs that are still written, the largest log first;
//! 4. sealed logs, the newest sealed first: what was promised first is kept longest.
//!
//! Only what frees something is given up: a piece whose file the kubelet has too costs nothing until it lets go. Owner: the
//! agent's capture, which writes the reason into the log's `missing`.

use std::{cmp::Reverse, fmt};

use jiff::Timestamp;

#[cfg(test)]
mod tests;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of all that only the spool holds.
    pub spool_bytes: u64,
    /// So much of the file system stays free.
    pub free_floor: u64,
}

/// The log of one run of one container, as the spool has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run<Id> {
    /// Its pod is known to be a job.
    pub job: bool,
    /// `None`: it is still written.
    pub sealed: Option<Timestamp>,
    /// In the order in which they were written.
    pub pieces: Vec<Piece<Id>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece<Id> {
    pub id: Id,
    pub bytes: u64,
    /// When it came into the spool.
    pub captured: Timestamp,
    /// Nobody else has its file: it takes up room for us alone.
    pub last_holder: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relief<Id> {
    pub give_up: Vec<GiveUp<Id>>,
    /// What is too much even so: there is nothing more to give up.
    pub short: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GiveUp<Id> {
    pub id: Id,
    pub bytes: u64,
    pub worth: Worth,
    /// A sentence.
    pub why: String,
}

/// What kind of piece it is. In the order of giving up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Worth {
    NotAJob,
    Middle,
    Live,
    Sealed,
}

impl Worth {
    /// Every [`Worth::as_str`].
    pub const WORDS: [&'static str; 4] = ["not_a_job", "middle", "live", "sealed"];

    /// For a metric label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotAJob => "not_a_job",
            Self::Middle => "middle",
            Self::Live => "live",
            Self::Sealed => "sealed",
        }
    }

    const fn sentence(self) -> &'static str {
        match self {
            Self::NotAJob => "nobody had called its pod a job",
            Self::Middle => "it was of the middle of a log that was still written",
            Self::Live => "it was of a log that was still written",
            Self::Sealed => "it was of the log that had been complete for the shortest time",
        }
    }
}

/// What the spool's pieces take up for us alone.
pub fn used<Id>(runs: &[Run<Id>]) -> u64 {
    runs.iter().map(Run::freeable).sum()
}

/// `free`: of the file system.
pub fn relieve<Id: Clone>(runs: &[Run<Id>], limits: &Limits, free: u64) -> Relief<Id> {
    let used = used(runs);
    let over_limit = used.saturating_sub(limits.spool_bytes);
    let below_floor = limits.free_floor.saturating_sub(free);
    let mut excess = over_limit.max(below_floor);
    let mut give_up = Vec::new();
    if excess == 0 {
        return Relief { give_up, short: 0 };
    }
    let cause = if over_limit >= below_floor {
        format!("the spool held {} and may hold {}", Size(used), Size(limits.spool_bytes))
    } else {
        format!("the node's disk had {} left and {} of it stay free", Size(free), Size(limits.free_floor))
    };
    let mut candidates: Vec<_> = runs.iter().enumerate().flat_map(|(n, run)| run.candidates(n)).collect();
    candidates.sort_by_key(|(order, _)| *order);
    for (order, piece) in candidates {
        if excess == 0 {
            break;
        }
        excess = excess.saturating_sub(piece.bytes);
        let why = format!("{} were given up: {cause}, and {}", Size(piece.bytes), order.worth.sentence());
        give_up.push(GiveUp { id: piece.id.clone(), bytes: piece.bytes, worth: order.worth, why });
    }
    Relief { give_up, short: excess }
}

/// The smallest is given up first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Order {
    worth: Worth,
    /// Of live logs, the largest first.
    largest: Reverse<u64>,
    /// Of sealed logs, the newest first.
    newest: Reverse<Option<Timestamp>>,
    /// Pieces of one such log stay together; of no meaning for the others.
    run: usize,
    /// Within a sealed log, its middle first, its end last.
    place: Place,
    captured: Timestamp,
    number: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Middle,
    First,
    Newest,
}

impl<Id> Run<Id> {
    fn freeable(&self) -> u64 {
        self.pieces.iter().filter(|piece| piece.last_holder).map(|piece| piece.bytes).sum()
    }

    fn candidates(&self, run: usize) -> impl Iterator<Item = (Order, &Piece<Id>)> {
        let (last, size) = (self.pieces.len().saturating_sub(1), self.freeable());
        let freeable = self.pieces.iter().enumerate().filter(|(_, piece)| piece.last_holder && piece.bytes > 0);
        freeable.map(move |(number, piece)| {
            let place = match number {
                _ if number == last => Place::Newest,
                0 => Place::First,
                _ => Place::Middle,
            };
            let worth = match (self.job, self.sealed, place) {
                (false, ..) => Worth::NotAJob,
                (true, Some(_), _) => Worth::Sealed,
                (true, None, Place::Middle) => Worth::Middle,
                (true, None, _) => Worth::Live,
            };
            let whole_log = matches!(worth, Worth::Live | Worth::Sealed);
            let order = Order {
                worth,
                largest: Reverse(if worth == Worth::Live { size } else { 0 }),
                newest: Reverse(self.sealed.filter(|_| worth == Worth::Sealed)),
                run: if whole_log { run } else { 0 },
                place: if whole_log { place } else { Place::Middle },
                captured: piece.captured,
                number,
            };
            (order, piece)
        })
    }
}

/// In the largest binary unit of which there is at least one.
struct Size(u64);

impl fmt::Display for Size {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
        let (mut size, mut unit) = (self.0 as f64, "bytes");
        for larger in UNITS {
            if size < 1024.0 {
                break;
            }
            (size, unit) = (size / 1024.0, larger);
        }
        if unit == "bytes" { write!(formatter, "{} bytes", self.0) } else { write!(formatter, "{size:.1} {unit}") }
    }
}
