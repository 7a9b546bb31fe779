//! From an address to a session that is set up for its role.

use std::error::Error;
use std::io;
use std::time::{Duration, Instant};

use postgres::config::TargetSessionAttrs;
use postgres::error::SqlState;

use super::super::engine::EngineError;
use super::session::Session;
use super::{Address, Role, tls};

/// Who waits for the store is told after this time that the database is away, and asks again.
const PATIENCE: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// What answers to a commit is on the server's disk. A leader that stands still in the middle of a transaction does not hold up
/// its successor for longer than its session may idle.
const SESSION: &str = "SET client_min_messages = warning;
SET jit = off;
SET statement_timeout = '60s';
SET lock_timeout = '30s';
SET idle_in_transaction_session_timeout = '10s';
SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off';
SELECT set_config('tcp_keepalives_idle', '10', false), set_config('tcp_keepalives_interval', '5', false),
       set_config('tcp_keepalives_count', '2', false);";

/// One attempt.
pub(super) fn once(address: &Address, role: Role) -> Result<Session, Box<dyn Error + Send + Sync>> {
    let mut target = address.target()?;
    if matches!(role, Role::Writes { .. }) {
        target.config.target_session_attrs(TargetSessionAttrs::ReadWrite);
    }
    let mut client = tls::connect(&target)?;
    client.batch_execute(SESSION)?;
    if role == Role::Reads {
        client.batch_execute("SET default_transaction_read_only = on")?;
    }
    Ok(Session::new(client))
}

/// Blocks: for the threads of the store.
pub(super) fn patiently(address: &Address, role: Role) -> Result<Session, EngineError> {
    let begun = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        match once(address, role) {
            Ok(session) => return Ok(session),
            Err(source) if is_final(&*source) || begun.elapsed() + pause > PATIENCE => {
                return Err(EngineError::Unreachable { source });
            }
            Err(source) => {
                tracing::debug!(store = %address, error = &*source as &dyn Error, "failed to connect; trying again");
                std::thread::sleep(pause);
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// A second attempt would fare no better: the configuration is wrong, or the server has answered and is not believed or says no.
fn is_final(error: &(dyn Error + Send + Sync + 'static)) -> bool {
    let Some(told) = error.downcast_ref::<postgres::Error>() else { return true };
    let not_believed = told.source().and_then(|source| source.downcast_ref::<io::Error>());
    let not_believed = not_believed.is_some_and(|error| error.kind() == io::ErrorKind::InvalidData);
    not_believed
        || told.code().is_some_and(|code| {
            [SqlState::INVALID_PASSWORD, SqlState::INVALID_AUTHORIZATION_SPECIFICATION, SqlState::INVALID_CATALOG_NAME]
                .contains(code)
        })
}
