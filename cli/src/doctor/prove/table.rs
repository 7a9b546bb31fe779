//! The proof for people.

use std::io::{self, Write};

use super::Proof;
use super::judge::{Judged, Tolerance, Unit, Verdict};
use crate::output::{Align, Cell, Grid, Units};

pub(super) fn write(proof: &Proof, out: &mut dyn Write) -> io::Result<()> {
    let mut grid = Grid::new([
        ("WORKLOAD", Align::Left),
        ("FIGURE", Align::Left),
        ("TRUTH", Align::Right),
        ("FROM", Align::Left),
        ("REPORTED", Align::Right),
        ("METHOD", Align::Left),
        ("DIFFERENCE", Align::Right),
        ("TOLERANCE", Align::Left),
        ("VERDICT", Align::Left),
    ]);
    let mut last = "";
    for judged in &proof.figures {
        let check = &judged.check;
        let workload = if check.workload == last { "" } else { check.workload };
        last = check.workload;
        grid.row([
            workload.to_owned(),
            check.figure.to_owned(),
            amount(check.unit, check.truth),
            check.truth_from.to_owned(),
            check.reported.map_or_else(|| "-".to_owned(), |reported| amount(check.unit, reported.value)),
            check.reported.map_or("-", |reported| reported.method.as_str()).to_owned(),
            check.reported.map_or_else(|| "-".to_owned(), |reported| difference(check.unit, reported.value, check.truth)),
            tolerance(check.unit, check.tolerance),
            verdict(judged).to_owned(),
        ]);
    }
    writeln!(out, "{}\n", proof.setting)?;
    grid.write(true, out)?;
    writeln!(out, "\n{}", summary(proof))
}

fn amount(unit: Unit, value: f64) -> String {
    let whole = value.max(0.0).round() as u64;
    match unit {
        Unit::Seconds => Cell::Seconds(value).text(Units::Human),
        Unit::Bytes => Cell::Bytes(whole).text(Units::Human),
        Unit::Count => whole.to_string(),
    }
}

fn difference(unit: Unit, reported: f64, truth: f64) -> String {
    let difference = reported - truth;
    let sign = if difference < 0.0 { "-" } else { "+" };
    let ratio =
        if truth > 0.0 && unit != Unit::Count { format!(" ({:+.2}%)", difference / truth * 100.0) } else { String::new() };
    format!("{sign}{}{ratio}", amount(unit, difference.abs()))
}

fn tolerance(unit: Unit, tolerance: Tolerance) -> String {
    match tolerance {
        Tolerance::Around { absolute: 0.0, ratio: 0.0 } => "exact".to_owned(),
        Tolerance::Around { ratio: 0.0, absolute } => format!("±{}", amount(unit, absolute)),
        Tolerance::Around { ratio, absolute } => format!("±{}% or {}", ratio * 100.0, amount(unit, absolute)),
        Tolerance::FromTruth { above } => format!("0 to +{}", amount(unit, above)),
        Tolerance::UpToTruth { above } => format!("lower bound, +{}", amount(unit, above)),
    }
}

const fn verdict(judged: &Judged) -> &'static str {
    match judged.verdict {
        Verdict::Holds => "holds",
        Verdict::Broken => "WRONG",
        Verdict::Off => "off, as its method says it may be",
        Verdict::NotReported => "not reported",
    }
}

fn summary(proof: &Proof) -> String {
    let count = |wanted| proof.figures.iter().filter(|judged| judged.verdict == wanted).count();
    let (holds, broken, off, silent) =
        (count(Verdict::Holds), count(Verdict::Broken), count(Verdict::Off), count(Verdict::NotReported));
    let mut parts = vec![format!("{holds} of {} figures hold", proof.figures.len())];
    if broken > 0 {
        parts.push(format!("{broken} claimed to be the kernel's and WRONG"));
    }
    if off > 0 {
        parts.push(format!("{off} off, none of them claimed to be the kernel's"));
    }
    if silent > 0 {
        parts.push(format!("{silent} not reported"));
    }
    parts.join(", ")
}
