//! A column of a table: a field, its header, and the width a person asked for.

use super::Field;

#[derive(Clone, Debug)]
pub struct Column {
    pub field: &'static Field,
    pub header: &'static str,
    /// As sacct's `%20` (right) and `%-20` (left): exactly so wide, cut with a `+` at the end.
    pub width: Option<usize>,
    pub align: Align,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    Left,
    Right,
}

impl Column {
    pub(super) fn new(field: &'static Field, header: &'static str) -> Self {
        let align = if field.is_number { Align::Right } else { Align::Left };
        Self { field, header, width: None, align }
    }
}

/// How much is shown where nobody asked for certain fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breadth {
    Narrow,
    Wide,
    /// With the methods, which tables show as marks.
    Programs,
}

const POD: &[&str] = &["JobName", "Pod", "State", "ExitCode", "Elapsed", "TotalCPU", "MemPeak", "MaxRSS"];
/// None of these needs the pods' records.
const JOB: &[&str] = &["JobName", "State", "Pods", "Elapsed", "TotalCPU", "MemPeak", "MaxRSS", "ReqCPUS", "ReqMem"];
const WIDE: &[&str] = &[
    "ExitCode",
    "UserCPU",
    "SystemCPU",
    "CPUEff",
    "ReqCPUS",
    "ReqMem",
    "LimitMem",
    "OOMKills",
    "NodeList",
    "Start",
    "End",
    "Quality",
];
const METHODS: &[&str] = &["CPUMethod", "MemMethod", "RSSMethod"];
const LOGS: &[&str] = &["LogBytes", "Log"];

/// The columns of a table of pods, or of jobs.
pub fn default_columns(pods: bool, breadth: Breadth, namespaces: bool) -> Vec<Column> {
    let narrow = if pods { POD } else { JOB };
    let more: &[&[&str]] = match breadth {
        Breadth::Narrow => &[],
        Breadth::Wide => &[WIDE, LOGS],
        Breadth::Programs => &[WIDE, METHODS, LOGS],
    };
    let mut names: Vec<&str> = if namespaces { vec!["Namespace"] } else { Vec::new() };
    for name in narrow.iter().chain(more.iter().copied().flatten()) {
        if !names.contains(name) {
            names.push(name);
        }
    }
    names.into_iter().filter_map(Field::find).map(|field| Column::new(field, field.header)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_of_a_default_table_is_a_field_and_narrow_job_tables_need_no_records() {
        for name in [POD, JOB, WIDE, METHODS, LOGS].concat() {
            assert_eq!(Field::find(name).map(|field| field.name), Some(name));
        }
        assert!(default_columns(false, Breadth::Narrow, true).iter().all(|column| !column.field.needs_pods));
    }
}
