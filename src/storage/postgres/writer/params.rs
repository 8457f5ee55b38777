//! Values as parameters of statements, where the driver has no type for them.

use std::borrow::Cow;
use std::error::Error;

use bytes::{BufMut as _, BytesMut};
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

use super::copy::timestamptz;

/// 16 bytes as a `uuid`.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Uuid(pub(in super::super) [u8; 16]);

impl ToSql for Uuid {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_slice(&self.0);
        Ok(IsNull::No)
    }

    fn accepts(kind: &Type) -> bool {
        *kind == Type::UUID
    }

    to_sql_checked!();
}

/// Ns since the Unix epoch as a `timestamptz`.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Time(pub(in super::super) i64);

impl ToSql for Time {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_i64(timestamptz(self.0));
        Ok(IsNull::No)
    }

    fn accepts(kind: &Type) -> bool {
        *kind == Type::TIMESTAMPTZ
    }

    to_sql_checked!();
}

/// Texts as the literal of a `text[]`: `unnest` takes arrays apart to their elements, so an array
/// in a row goes as text.
pub(super) fn text_array(texts: &[Cow<'_, str>]) -> String {
    let mut literal =
        String::with_capacity(2 + texts.iter().map(|text| text.len() + 3).sum::<usize>());
    literal.push('{');
    for (index, text) in texts.iter().enumerate() {
        literal.push_str(if index > 0 { ",\"" } else { "\"" });
        for character in text.chars() {
            if matches!(character, '"' | '\\') {
                literal.push('\\');
            }
            literal.push(character);
        }
        literal.push('"');
    }
    literal.push('}');
    literal
}

/// Numbers as the literal of a `bigint[]`.
pub(super) fn number_array(numbers: &[i64]) -> String {
    let numbers: Vec<_> = numbers.iter().map(i64::to_string).collect();
    format!("{{{}}}", numbers.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn array_literals_quote_what_they_must() {
        let texts = ["a", "b \"c\" \\ {d},", ""].map(Cow::Borrowed);
        assert_eq!(text_array(&texts), r#"{"a","b \"c\" \\ {d},",""}"#);
        assert_eq!(text_array(&[]), "{}");
        assert_eq!(number_array(&[1, -2]), "{1,-2}");
        assert_eq!(number_array(&[]), "{}");
    }
}
