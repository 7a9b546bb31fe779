//! Between our values and PostgreSQL's: parameters by the type that the server wants, columns by the type that it sends.

use std::error::Error;
use std::fmt::Write;

use bytes::{BufMut, BytesMut};
use postgres::types::{IsNull, ToSql, Type, to_sql_checked};

use super::super::sql::{Row, Value};

impl ToSql for Value {
    fn to_sql(&self, wanted: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Integer(integer) if *wanted == Type::INT4 => i32::try_from(*integer)?.to_sql(wanted, out),
            Self::Integer(integer) if *wanted == Type::INT8 => integer.to_sql(wanted, out),
            Self::Real(real) if *wanted == Type::FLOAT8 => real.to_sql(wanted, out),
            Self::Text(text) if *wanted == Type::JSONB => {
                out.put_u8(1);
                out.put_slice(text.replace("\\u0000", "\\ufffd").as_bytes());
                Ok(IsNull::No)
            }
            // PostgreSQL has no zero byte, neither in texts nor in `jsonb`. Documents are texts, where JSON writes it as an escape.
            Self::Text(text) if text.contains('\0') => text.replace('\0', "\u{fffd}").to_sql(wanted, out),
            Self::Text(text) if *wanted == Type::TEXT => text.to_sql(wanted, out),
            value => Err(format!("a parameter of type {wanted} cannot be made of {value:?}").into()),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

pub(super) fn row(row: &postgres::Row) -> Result<Row, postgres::Error> {
    let column = |(index, column): (usize, &postgres::Column)| {
        Ok(match *column.type_() {
            Type::INT8 => row.try_get::<_, Option<i64>>(index)?.map(Value::Integer),
            Type::INT4 => row.try_get::<_, Option<i32>>(index)?.map(|integer| Value::Integer(i64::from(integer))),
            Type::BOOL => row.try_get::<_, Option<bool>>(index)?.map(|flag| Value::Integer(i64::from(flag))),
            Type::FLOAT8 => row.try_get::<_, Option<f64>>(index)?.map(Value::Real),
            // Any other type is an error here.
            _ => row.try_get::<_, Option<String>>(index)?.map(Value::Text),
        }
        .unwrap_or(Value::Null))
    };
    row.columns().iter().enumerate().map(column).collect::<Result<_, _>>().map(Row)
}

/// `? ?1` → `$1 $1`.
pub(super) fn marks(sql: &str) -> String {
    let mut parts = sql.split('?');
    let mut marked = parts.next().unwrap_or_default().to_owned();
    for (index, part) in parts.enumerate() {
        let digits = part.len() - part.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        if digits > 0 {
            marked.push('$');
        } else {
            // Writing to a String cannot fail.
            write!(marked, "${}", index + 1).unwrap_or_default();
        }
        marked.push_str(part);
    }
    marked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn question_marks_become_numbers() {
        assert_eq!(marks("a = ? AND b IN (?, ?)"), "a = $1 AND b IN ($2, $3)");
        assert_eq!(marks("a = ?2 AND f(b, ?1) > 0"), "a = $2 AND f(b, $1) > 0");
        assert_eq!(marks("TRUE"), "TRUE");
    }

    #[test]
    fn a_zero_byte_does_not_fail_a_row() {
        let mut out = BytesMut::new();
        Value::Text("a\0b".to_owned()).to_sql(&Type::TEXT, &mut out).unwrap();
        assert_eq!(out, "a\u{fffd}b".as_bytes());
    }
}
