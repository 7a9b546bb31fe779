//! One job with its records: by the name of the top, or of any owner below it, such as one run of a CronJob.

use jobmeter_decide::job_view::JobIdentity;
use jobmeter_protocol::{JobDetail, OwnerRef, Record};

use super::{IDENTITY, OF_TOP, identity, view_of};
use crate::store::engine::EngineError;
use crate::store::row::{parsed, text};
use crate::store::sql::{self, Database};

/// The newest of that name, whatever its kind.
pub(in crate::store) fn detail(
    database: &mut dyn Database,
    namespace: &str,
    name: &str,
) -> Result<Option<JobDetail>, EngineError> {
    if let Some((identity, owned)) = stored(database, namespace, name)? {
        return complete(database, identity, owned).map(Some);
    }
    match between(database, namespace, name)? {
        Some(identity) => complete(database, identity, true).map(Some),
        None => Ok(None),
    }
}

/// A job that the table has, and whether it is a step of something above it.
fn stored(database: &mut dyn Database, namespace: &str, name: &str) -> Result<Option<(JobIdentity, bool)>, EngineError> {
    let newest = format!(
        "SELECT {IDENTITY}, j.owned FROM jobs j LEFT JOIN pods p ON p.job_uid = j.uid WHERE j.namespace = ? AND j.name = ?
         GROUP BY j.uid HAVING j.condition IS NOT NULL OR count(p.uid) > 0
         ORDER BY COALESCE(j.created, MAX(p.created), MAX(p.recorded)) DESC NULLS LAST, j.uid LIMIT 1"
    );
    sql::first(database, "read a job", &newest, &[text(namespace), text(name)], |row| Ok((identity(row)?, row.flag(10)?)))
}

/// An owner that is known from the chains of pods alone.
fn between(database: &mut dyn Database, namespace: &str, name: &str) -> Result<Option<JobIdentity>, EngineError> {
    let newest = format!(
        "SELECT record FROM pods WHERE namespace = ? AND {}(owner_keys, ?) > 0 ORDER BY COALESCE(created, recorded) DESC, uid LIMIT 1",
        database.dialect().contains()
    );
    let values = [text(namespace), text(format!("\n{name}\n"))];
    let record = sql::first(database, "read a pod of a job", &newest, &values, |row| row.text(0))?;
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

fn complete(database: &mut dyn Database, identity: JobIdentity, owned: bool) -> Result<JobDetail, EngineError> {
    let uid = identity.owner.uid.clone();
    // Its pods by any owner of their chain, or by the top alone.
    let (of, values) = if owned {
        let of = format!("namespace = ?2 AND {}(owner_keys, ?1) > 0", database.dialect().contains());
        (of, vec![text(format!("\n{uid}\n")), text(&identity.namespace)])
    } else {
        (OF_TOP.to_owned(), vec![text(&uid)])
    };
    let select = format!("SELECT record FROM pods WHERE {of} ORDER BY COALESCE(started, created, recorded), uid LIMIT 1000");
    let records = sql::all(database, "read the records of a job", &select, &values, |row| parsed(&uid, &row.text(0)?))?;
    Ok(JobDetail { job: view_of(database, identity, &of, &values)?, records })
}
