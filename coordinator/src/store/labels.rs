//! Label selectors as conditions on `p.labels`. SQLite calls our own matcher; PostgreSQL has the labels as `jsonb`.

use jobmeter_decide::selector::{Requirement, Selector};

use super::row::text;
use super::sql::{Conditions, Dialect};

pub(super) fn conditions(selector: &Selector, dialect: Dialect, sql: &mut Conditions) {
    match dialect {
        _ if selector.is_empty() => {}
        Dialect::Sqlite => sql.and("selected(?, p.labels)", [text(selector.to_string())]),
        Dialect::Postgres => selector.requirements().iter().for_each(|requirement| and(requirement, sql)),
    }
}

fn and(requirement: &Requirement, sql: &mut Conditions) {
    let among = |values: &[String]| vec!["?"; values.len()].join(", ");
    match requirement {
        Requirement::In { key, values } => {
            let values_of = values.iter().map(text);
            sql.and(format!("p.labels ->> ? IN ({})", among(values)), std::iter::once(text(key)).chain(values_of));
        }
        // As with `kubectl`: also where the label is absent.
        Requirement::NotIn { key, values } => {
            let values_of = values.iter().map(text);
            let marks = among(values);
            sql.and(format!("(p.labels ->> ? IN ({marks})) IS NOT TRUE"), std::iter::once(text(key)).chain(values_of));
        }
        Requirement::Exists { key } => sql.and("jsonb_exists(p.labels, ?)", [text(key)]),
        Requirement::Absent { key } => sql.and("NOT jsonb_exists(p.labels, ?)", [text(key)]),
    }
}
