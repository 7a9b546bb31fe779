//! Of several coordinators on one database, the one with the last epoch writes, and the database itself sees to it.
//!
//! The epoch only grows. Every writing transaction holds a share of its row until the end, so that a new leader's claim waits
//! for what the old one has begun, and finds it whole or not at all.

use postgres::Error;

use super::super::engine::EngineError;
use super::session::Session;

const FOUND: &str = "SELECT epoch FROM leadership FOR SHARE";
/// Once for each epoch: where the Lease was deleted, two that lead may have the same. 0 is of one that has nobody beside it.
const CLAIM: &str = "UPDATE leadership SET epoch = $1 WHERE epoch < $1 OR (epoch = 0 AND $1 = 0)";

/// The epoch that may write until the end of this transaction.
pub(super) fn found(session: &mut Session) -> Result<u64, Error> {
    let found: i64 = session.client.query_one(FOUND, &[])?.try_get(0)?;
    Ok(u64::try_from(found).unwrap_or(0))
}

pub(super) const fn check(epoch: u64, found: u64) -> Result<(), EngineError> {
    if found == epoch { Ok(()) } else { Err(EngineError::Fenced { epoch, found }) }
}

/// From now on that epoch alone may write; or it is answered which one was claimed before.
pub(super) fn claim(session: &mut Session, epoch: u64) -> Result<Option<u64>, Error> {
    let wanted = i64::try_from(epoch).unwrap_or(i64::MAX);
    Ok(if session.client.execute(CLAIM, &[&wanted])? == 0 { Some(found(session)?) } else { None })
}
