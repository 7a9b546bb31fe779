//! `--format FIELD[%[-]width],…`, as sacct takes it.

use super::column::{Align, Column};
use super::field::{FIELDS, Field};

/// Wider than any terminal; a typing error should not fill memory with blanks.
const WIDEST: usize = 1000;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    #[error("no field is named \"{name}\"{}: `--format help` lists them", suggestion(.near))]
    UnknownField { name: String, near: Vec<&'static str> },
    #[error("the width \"{width}\" of field {field} is not a number from 1 to {WIDEST}")]
    BadWidth { field: &'static str, width: String },
    #[error("--format names no field: `--format help` lists them")]
    Empty,
}

/// Every text gives columns or an error that names the piece at fault.
pub fn parse_format(text: &str) -> Result<Vec<Column>, FormatError> {
    let pieces = text.split(',').map(str::trim).filter(|piece| !piece.is_empty());
    let columns = pieces.map(parse_column).collect::<Result<Vec<_>, _>>()?;
    if columns.is_empty() { Err(FormatError::Empty) } else { Ok(columns) }
}

fn parse_column(piece: &str) -> Result<Column, FormatError> {
    let (name, width) = piece.split_once('%').map_or((piece, None), |(name, width)| (name, Some(width)));
    let field = Field::find(name).ok_or_else(|| FormatError::UnknownField { name: name.to_owned(), near: near(name) })?;
    let mut column = Column::new(field, field.name);
    if let Some(width) = width {
        let digits = width.strip_prefix('-');
        column.align = if digits.is_some() { Align::Left } else { Align::Right };
        let number = digits.unwrap_or(width).parse().ok().filter(|number| (1..=WIDEST).contains(number));
        column.width = Some(number.ok_or_else(|| FormatError::BadWidth { field: field.name, width: width.to_owned() })?);
    }
    Ok(column)
}

/// Fields that begin with what was typed or contain it.
fn near(name: &str) -> Vec<&'static str> {
    let wanted = name.to_lowercase();
    if wanted.is_empty() {
        return Vec::new();
    }
    let is_near =
        |known: &str| known.to_lowercase().contains(&wanted) || (known.len() > 2 && wanted.contains(&known.to_lowercase()));
    FIELDS.iter().filter(|field| field.names().any(is_near)).map(|field| field.name).take(4).collect()
}

fn suggestion(near: &[&str]) -> String {
    if near.is_empty() { String::new() } else { format!(" (did you mean {}?)", near.join(", ")) }
}

/// The text of `--format help`.
pub fn describe_fields() -> String {
    let mut text = String::from("FIELD               KEY                      ALSO                      WHAT\n");
    for field in FIELDS.iter() {
        let also = field.aliases.join(", ");
        text += &format!("{:<19} {:<24} {also:<25} {}\n", field.name, field.key, field.about);
    }
    text + "\nAny case; FIELD, KEY and ALSO are the same. FIELD%20 is right-justified and cut to 20, FIELD%-20 left-justified.\n"
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_width_is_read_as_sacct_reads_it() {
        let columns = parse_format(" jobname%-30, TOTALCPU%12 ,state,").unwrap();
        let read: Vec<_> = columns.iter().map(|column| (column.field.name, column.width, column.align)).collect();
        assert_eq!(
            read,
            [("JobName", Some(30), Align::Left), ("TotalCPU", Some(12), Align::Right), ("State", None, Align::Left)]
        );
    }

    #[test]
    fn an_unknown_field_is_named_with_what_comes_near() {
        assert_eq!(
            parse_format("State,MaxRS").unwrap_err().to_string(),
            "no field is named \"MaxRS\" (did you mean MaxRSS?): `--format help` lists them"
        );
        assert_eq!(parse_format("State%0").unwrap_err(), FormatError::BadWidth { field: "State", width: "0".into() });
        assert_eq!(parse_format("State%--4").unwrap_err(), FormatError::BadWidth { field: "State", width: "--4".into() });
        assert_eq!(parse_format(" , ").unwrap_err(), FormatError::Empty);
    }

    #[test]
    fn help_names_every_field() {
        let text = describe_fields();
        assert!(FIELDS.iter().all(|field| text.contains(field.name) && text.contains(field.key)));
    }

    proptest! {
        #[test]
        fn any_text_is_columns_or_an_error(text in ".*") {
            if let Ok(columns) = parse_format(&text) {
                prop_assert!(!columns.is_empty());
            }
        }

        #[test]
        fn every_spelling_of_known_fields_is_read(
            picked in prop::collection::vec((0..FIELDS.len(), any::<bool>(), prop::option::of(1..=WIDEST)), 1..8)
        ) {
            let text = picked.iter().map(|(index, upper, width)| {
                let name = FIELDS[*index].name;
                let name = if *upper { name.to_uppercase() } else { name.to_lowercase() };
                width.map_or(name.clone(), |width| format!("{name}%{width}"))
            }).collect::<Vec<_>>().join(",");
            let columns = parse_format(&text).unwrap();
            prop_assert_eq!(columns.len(), picked.len());
            for (column, (index, _, width)) in columns.iter().zip(&picked) {
                prop_assert_eq!(column.field.name, FIELDS[*index].name);
                prop_assert_eq!(column.width, *width);
            }
        }
    }
}
