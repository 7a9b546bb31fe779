//! Opening: to read, and to lead. A blocking client must not run on a thread of the async runtime, so each has a thread of its own.

use super::super::engine::EngineError;
use super::super::open::OpenError;
use super::session::{Session, is_lost};
use super::{Address, Postgres, Role, connect, fence, schema};

/// The schema is brought up to date by whoever comes first. Two connections, for people and for our own tasks.
pub(in crate::store) fn follow(address: &Address) -> Result<[Postgres; 2], OpenError> {
    on_own_thread(|| {
        // Not yet in the name of an epoch.
        let mut session = open(address, Role::Writes { epoch: 0 })?;
        schema::bring_up_to_date(&mut session, address)?;
        drop(session);
        Ok([connected(address, Role::Reads)?, connected(address, Role::Reads)?])
    })
}

/// From now on the database takes writes of that epoch alone.
pub(in crate::store) fn lead(address: &Address, epoch: u64) -> Result<Postgres, OpenError> {
    let role = Role::Writes { epoch };
    on_own_thread(|| {
        let mut session = open(address, role)?;
        let claimed = fence::claim(&mut session, epoch).map_err(|source| {
            let action = "claim the right to write";
            if is_lost(&source) { EngineError::Lost { action, source } } else { EngineError::Postgres { action, source } }
        });
        let claimed = claimed.and_then(|other| other.map_or(Ok(()), |found| Err(EngineError::Fenced { epoch, found })));
        claimed.map_err(|source| {
            let store = address.to_string();
            match source {
                source @ EngineError::Fenced { .. } => OpenError::Fenced { store, source },
                source => OpenError::Connect { store, source },
            }
        })?;
        Ok(Postgres { address: address.clone(), role, session: Some(session), in_transaction: false })
    })
}

fn connected(address: &Address, role: Role) -> Result<Postgres, OpenError> {
    Ok(Postgres { address: address.clone(), role, session: Some(open(address, role)?), in_transaction: false })
}

fn open(address: &Address, role: Role) -> Result<Session, OpenError> {
    connect::patiently(address, role).map_err(|source| OpenError::Connect { store: address.to_string(), source })
}

fn on_own_thread<T: Send>(run: impl FnOnce() -> Result<T, OpenError> + Send) -> Result<T, OpenError> {
    std::thread::scope(|scope| {
        let thread =
            std::thread::Builder::new().name("store-open".to_owned()).spawn_scoped(scope, run).map_err(OpenError::Thread)?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
