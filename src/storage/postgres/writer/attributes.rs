//! Small attributes as `jsonb`, for SQL. The message has all of them as they came.

use std::io;

use bytes::{BufMut as _, BytesMut};
use serde_json::ser::{CharEscape, Formatter};

use crate::otlp::protobuf::{KeyValue, KeyValues, Span};

/// Encoded attributes up to this length are kept; text beyond it belongs to the content.
const ATTRIBUTE_BYTES_MAX: usize = 1024;

/// Bytes of a key and its framing, on top of a value.
const KEY_BYTES: usize = 256;

/// What begins a `jsonb` in binary form.
const JSONB_VERSION: u8 = 1;

/// Writes the attributes of an encoded span; whether there were any.
pub(super) fn write_of_span(message: &[u8], out: &mut BytesMut) -> bool {
    Span::parse(message).is_ok_and(|span| write(span.attributes, out))
}

/// The attributes of an encoded resource as JSON text; `None` when there are none.
pub(super) fn text_of_resource(message: &[u8]) -> Option<String> {
    let attributes = KeyValues::of_resource(message).ok()?;
    let mut out = BytesMut::new();
    if !write(attributes, &mut out) {
        return None;
    }
    // All but the version is text.
    String::from_utf8(out.get(1..)?.to_vec()).ok()
}

fn write(attributes: KeyValues<'_>, out: &mut BytesMut) -> bool {
    out.put_u8(JSONB_VERSION);
    let mut separator = b'{';
    for encoded in attributes.encoded() {
        if encoded.len() > ATTRIBUTE_BYTES_MAX + KEY_BYTES {
            continue;
        }
        let Ok(attribute) = KeyValue::parse(encoded) else {
            continue;
        };
        out.put_u8(separator);
        separator = b',';
        put_json(attribute.key, out);
        out.put_u8(b':');
        put_json(attribute.value, out);
    }
    out.put_u8(b'}');
    separator == b','
}

fn put_json(value: impl serde::Serialize, out: &mut BytesMut) {
    let mut serializer = serde_json::Serializer::with_formatter(out.writer(), WithoutNul);
    // Neither writing to memory nor the values themselves can fail.
    let written = value.serialize(&mut serializer);
    debug_assert!(written.is_ok(), "{written:?}");
}

/// Compact JSON in which U+FFFD stands for U+0000, which `jsonb` can't hold.
struct WithoutNul;

impl Formatter for WithoutNul {
    fn write_char_escape<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        escape: CharEscape,
    ) -> io::Result<()> {
        match escape {
            CharEscape::AsciiControl(0) => writer.write_all(b"\\ufffd"),
            other => serde_json::ser::CompactFormatter.write_char_escape(writer, other),
        }
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::{
        AnyValue, ArrayValue, KeyValue, any_value::Value,
    };
    use opentelemetry_proto::tonic::resource::v1::Resource;
    use prost::Message as _;

    use super::*;

    fn json_of(attributes: &[(&str, Value)]) -> Option<String> {
        let attributes = attributes.iter().map(|(key, value)| KeyValue {
            key: (*key).to_owned(),
            value: Some(AnyValue {
                value: Some(value.clone()),
            }),
            ..KeyValue::default()
        });
        let resource = Resource {
            attributes: attributes.collect(),
            ..Resource::default()
        };
        text_of_resource(&resource.encode_to_vec())
    }

    fn text(text: &str) -> Value {
        Value::StringValue(text.to_owned())
    }

    #[test]
    fn small_attributes_are_plain_json() {
        let list = ArrayValue {
            values: vec![AnyValue {
                value: Some(text("x")),
            }],
        };
        let json = json_of(&[
            ("a\"b", text("c\u{1}\n\\")),
            ("n", Value::IntValue(-7)),
            ("d", Value::DoubleValue(f64::NAN)),
            ("l", Value::ArrayValue(list)),
        ]);
        let expected = r#"{"a\"b":"c\u0001\n\\","n":-7,"d":"NaN","l":["x"]}"#;
        assert_eq!(json.as_deref(), Some(expected));
    }

    #[test]
    fn what_jsonb_cannot_hold_is_replaced_and_what_is_large_left_out() {
        let json = json_of(&[
            ("k\0", text("v\0v")),
            ("large", text(&"x".repeat(2000))),
            ("small", text(&"y".repeat(1000))),
        ])
        .unwrap();
        assert!(
            json.starts_with(r#"{"k\ufffd":"v\ufffdv","small":"yyy"#),
            "{json}"
        );
        assert!(!json.contains("large"));
        assert_eq!(json_of(&[]), None);
        assert_eq!(json_of(&[("large", text(&"x".repeat(2000)))]), None);
    }
}
