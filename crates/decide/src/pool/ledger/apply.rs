//! What became of steps.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use jobmeter_protocol::PoolSlot;

use super::Ledger;
use super::entry::{Entry, Standing};
use crate::pool::{Answer, Member, Write};

/// After a look that found nothing out.
const LOOK_AFTER_FAILURE: SignedDuration = SignedDuration::from_secs(2);
const NOT_WRITTEN: &str = "its place could not be written: nobody answered";
const SLOT_REMOVED: &str = "somebody removed the note of its place";

impl Ledger {
    pub(super) fn answered(&mut self, uid: &Arc<str>, what: Write, answer: Answer, now: Timestamp) {
        self.landed(uid);
        match answer {
            Answer::Done(member) => self.done(uid, what, &member, now),
            Answer::Gone => self.bury(uid, now),
            Answer::Refused { why } => self.books.edit(uid, |entry| refused(entry, what, why, now)),
            Answer::Unknown { why } => self.books.edit(uid, |entry| unknown(entry, what, why, now)),
        }
    }

    pub(super) fn found(&mut self, uid: &Arc<str>, member: Option<Member>, now: Timestamp) {
        self.landed(uid);
        let Some(member) = member else { return self.bury(uid, now) };
        if self.graves.hold(uid) {
            return;
        }
        if member.ended {
            return self.end(&member, now);
        }
        self.learn(&member, now);
        self.books.edit(uid, |entry| settle(entry, member.slot, now));
        self.look_again(uid, now);
    }

    pub(super) fn unseen(&mut self, uid: &Arc<str>, now: Timestamp) {
        self.landed(uid);
        self.books.edit(uid, |entry| entry.look = now.checked_add(LOOK_AFTER_FAILURE).ok());
    }

    fn landed(&mut self, uid: &Arc<str>) {
        self.flights.remove(uid);
        self.books.edit(uid, |entry| entry.in_flight = false);
    }

    fn done(&mut self, uid: &Arc<str>, what: Write, member: &Member, now: Timestamp) {
        if self.graves.hold(uid) {
            return;
        }
        if member.ended {
            return self.end(member, now);
        }
        self.learn(member, now);
        let slot = member.slot.clone().map(Box::new);
        self.books.edit(uid, |entry| match (what, entry.standing) {
            (Write::Reserve, Standing::Reserving | Standing::Fencing) if entry.slot == slot => {
                entry.standing = Standing::Reserved
            }
            // Not what was asked for: it is found out what is there.
            (Write::Reserve, Standing::Reserving | Standing::Fencing) | (Write::Release, Standing::Releasing) => {
                entry.standing = Standing::Inherited;
                entry.look = Some(now);
            }
            _ => {}
        });
    }
}

/// It was surely not done.
fn refused(entry: &mut Entry, what: Write, why: String, now: Timestamp) {
    match (what, entry.standing) {
        (Write::Reserve, Standing::Reserving) => {
            entry.standing = Standing::Queued;
            entry.slot = entry.before.take();
            entry.refused(why, now);
        }
        // Perhaps because its gate is gone.
        (Write::Reserve, Standing::Fencing) => {
            entry.standing = Standing::Inherited;
            entry.refused(why, now);
            entry.look = Some(now);
        }
        (Write::Release, Standing::Releasing) => {
            entry.standing = Standing::Denied;
            entry.refused(why, now);
            entry.look = Some(now);
        }
        _ => {}
    }
}

/// It may have been done, or be done yet. It is looked at now; it is written again later and later.
fn unknown(entry: &mut Entry, what: Write, why: String, now: Timestamp) {
    match (what, entry.standing) {
        (Write::Reserve, Standing::Reserving) => entry.look = Some(now),
        (Write::Reserve, Standing::Fencing) | (Write::Release, Standing::Releasing) => {
            entry.standing = Standing::Inherited;
            entry.refused(why, now);
            entry.look = Some(now);
        }
        _ => {}
    }
}

/// It was looked at and is still gated (or known to be ungated).
fn settle(entry: &mut Entry, written: Option<PoolSlot>, now: Timestamp) {
    let written = written.map(Box::new);
    entry.look = None;
    match entry.standing {
        Standing::Reserving if written == entry.slot => entry.standing = Standing::Reserved,
        // Should the write land yet, then it is a slot that nobody releases.
        Standing::Reserving if written.is_none() || written == entry.before => {
            entry.standing = Standing::Queued;
            entry.slot = written;
            entry.refused(NOT_WRITTEN.to_owned(), now);
        }
        Standing::Reserving => {
            entry.standing = Standing::Inherited;
            entry.slot = written;
        }
        // A release wants the slot that it was sent for: none can succeed without.
        Standing::Inherited if written.is_none() => {
            entry.standing = Standing::Queued;
            entry.slot = None;
            entry.refused(SLOT_REMOVED.to_owned(), now);
        }
        Standing::Inherited => entry.slot = written,
        Standing::Denied => {
            entry.standing = Standing::Queued;
            entry.slot = written;
        }
        Standing::Queued | Standing::Fencing | Standing::Reserved | Standing::Releasing | Standing::Ungated => {}
    }
}
