//! One job with its records: by the name of the top, or of any owner below it, such as one run of a CronJob.

use jobmeter_decide::job_view::JobIdentity;
use jobmeter_protocol::{JobDetail, OwnerRef, Record};
use rusqlite::{Connection, OptionalExtension, ToSql};

use super::{IDENTITY, OF_TOP, identity, view_of};
use crate::store::engine::EngineError;
use crate::store::row::{failed, parsed};

/// Its pods by any owner of their chain.
const OF_ANY: &str = "namespace = ?2 AND instr(owner_keys, ?1) > 0";

/// The newest of that name, whatever its kind.
pub(in crate::store) fn detail(connection: &Connection, namespace: &str, name: &str) -> Result<Option<JobDetail>, EngineError> {
    if let Some((identity, owned)) = stored(connection, namespace, name)? {
        return complete(connection, identity, owned).map(Some);
    }
    match between(connection, namespace, name)? {
        Some(identity) => complete(connection, identity, true).map(Some),
        None => Ok(None),
    }
}

/// A job that the table has, and whether it is a step of something above it.
fn stored(connection: &Connection, namespace: &str, name: &str) -> Result<Option<(JobIdentity, bool)>, EngineError> {
    let newest = format!(
        "SELECT {IDENTITY}, j.owned FROM jobs j LEFT JOIN pods p ON p.job_uid = j.uid WHERE j.namespace = ? AND j.name = ?
         GROUP BY j.uid HAVING j.condition IS NOT NULL OR count(p.uid) > 0
         ORDER BY COALESCE(j.created, MAX(p.created), MAX(p.recorded)) DESC LIMIT 1"
    );
    let found = connection
        .prepare_cached(&newest)
        .and_then(|mut select| select.query_row([namespace, name], |row| Ok((identity(row)?, row.get(10)?))).optional());
    found.map_err(failed("read a job"))
}

/// An owner that is known from the chains of pods alone.
fn between(connection: &Connection, namespace: &str, name: &str) -> Result<Option<JobIdentity>, EngineError> {
    const NEWEST: &str = "SELECT record FROM pods WHERE namespace = ? AND instr(owner_keys, ?) > 0
                          ORDER BY COALESCE(created, recorded) DESC LIMIT 1";
    let record: Option<String> = connection
        .prepare_cached(NEWEST)
        .and_then(|mut select| select.query_row([namespace, &format!("\n{name}\n")], |row| row.get(0)).optional())
        .map_err(failed("read a pod of a job"))?;
    let Some(record) = record else { return Ok(None) };
    let Record { identity, .. } = parsed(name, &record)?;
    let owner: Option<OwnerRef> = identity.owners.into_iter().find(|owner| owner.name == name);
    Ok(owner.map(|owner| JobIdentity {
        cluster: identity.cluster,
        namespace: identity.namespace,
        owner,
        condition: None,
        created: None,
        finished: None,
        gone: false,
    }))
}

fn complete(connection: &Connection, identity: JobIdentity, owned: bool) -> Result<JobDetail, EngineError> {
    let uid = identity.owner.uid.clone();
    let in_chain = format!("\n{uid}\n");
    let namespace = identity.namespace.clone();
    let (of, parameters): (_, &[&dyn ToSql]) = if owned { (OF_ANY, &[&in_chain, &namespace]) } else { (OF_TOP, &[&uid]) };
    let select = format!("SELECT record FROM pods WHERE {of} ORDER BY COALESCE(started, created, recorded), uid LIMIT 1000");
    let records: Vec<String> = connection
        .prepare_cached(&select)
        .and_then(|mut select| select.query_map(parameters, |row| row.get(0))?.collect())
        .map_err(failed("read the records of a job"))?;
    let records = records.iter().map(|record| parsed(&uid, record)).collect::<Result<_, _>>()?;
    Ok(JobDetail { job: view_of(connection, identity, of, parameters)?, records })
}
