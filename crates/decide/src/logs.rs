//! What becomes of the logs of jobs: where each is stored, when it is complete, what is given up when there is no room, and
//! when one that does not come is lost.

pub mod chase;
pub mod key;
pub mod seal;
pub mod spool;
