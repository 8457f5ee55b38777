use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::otlp::Signal;
use crate::otlp::{generate, protobuf};

fn request(span: &str) -> String {
    format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{{span}}}]}}]}}]}}"#)
}

fn spans(body: &str) -> Vec<Span> {
    let request = decode(body.as_bytes()).unwrap_or_else(|error| panic!("{body}: {error}"));
    let scopes = request
        .resource_spans
        .into_iter()
        .flat_map(|it| it.scope_spans);
    scopes.flat_map(|it| it.spans).collect()
}

fn span(members: &str) -> Span {
    let [span] = <[Span; 1]>::try_from(spans(&request(members))).unwrap();
    span
}

fn span_error(members: &str) -> String {
    decode(request(members).as_bytes()).unwrap_err().to_string()
}

/// The attribute value that these JSON members make.
fn value(members: &str) -> AnyValue {
    let span = span(&format!(
        r#""attributes":[{{"key":"k","value":{{{members}}}}}]"#
    ));
    span.attributes[0].value.clone().unwrap()
}

fn value_error(members: &str) -> String {
    span_error(&format!(
        r#""attributes":[{{"key":"k","value":{{{members}}}}}]"#
    ))
}

proptest! {
    // Any request, written as JSON and read back.
    // Guarantees that nothing is lost and that JSON and protobuf of the same data are the same.
    #[test]
    fn what_is_encoded_decodes_to_the_same(request in generate::request()) {
        let json = encode(&request.resource_spans);
        let decoded = decode(&json).unwrap();
        // As bytes, because NaN does not equal itself.
        prop_assert_eq!(decoded.encode_to_vec(), request.encode_to_vec());
    }

    // The same of logs.
    #[test]
    fn encoded_logs_decode_to_the_same(request in generate::log_request()) {
        let decoded = decode_logs(&encode_logs(&request.resource_logs)).unwrap();
        prop_assert_eq!(decoded.encode_to_vec(), request.encode_to_vec());
    }

    #[test]
    fn encoded_metrics_decode_to_the_same(request in generate::metric_request()) {
        let decoded = decode_metrics(&encode_metrics(&request.resource_metrics)).unwrap();
        prop_assert_eq!(decoded.encode_to_vec(), request.encode_to_vec());
    }

    #[test]
    fn damaged_logs_are_an_error_or_a_storable_request(
        request in generate::log_request(),
        damages in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut json = encode_logs(&request.resource_logs);
        for (index, byte) in damages {
            let at = index.index(json.len());
            json[at] = byte;
        }
        match decode_logs(&json) {
            Ok(request) => {
                let checked = protobuf::check(Signal::Logs, &request.encode_to_vec());
                prop_assert!(checked.is_ok());
            }
            Err(error) => prop_assert!(error.to_string().len() < 1000, "{}", error),
        }
    }

    // JSON damaged at any place.
    // Guarantees a short error or a request that the log can be read back from, never a panic.
    #[test]
    fn damaged_json_is_an_error_or_a_storable_request(
        request in generate::request(),
        damages in vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 1..4),
    ) {
        let mut json = encode(&request.resource_spans);
        for (index, byte, kind) in damages {
            if json.is_empty() {
                break;
            }
            let at = index.index(json.len());
            match kind {
                0 => json[at] = byte,
                1 => json.insert(at, b"{}[]\",:0"[usize::from(byte % 8)]),
                2 => _ = json.remove(at),
                _ => json.truncate(at),
            }
        }
        match decode(&json) {
            Ok(request) => prop_assert!(protobuf::validate(&request.encode_to_vec()).is_ok()),
            Err(error) => prop_assert!(error.to_string().len() < 1000, "{}", error),
        }
    }

    // Integers in any of the ways in which a decimal number can be written.
    // Guarantees the exact value over the whole range.
    #[test]
    fn integers_are_exact_in_every_notation(number in any::<i64>(), zeros in 0..6_usize) {
        let shifted = format!(r#""{number}{}e-{zeros}""#, "0".repeat(zeros));
        let pointed = format!(r#""{number}.{}""#, "0".repeat(zeros + 1));
        for text in [number.to_string(), format!("\"{number}\""), shifted, pointed] {
            let value = value(&format!(r#""intValue":{text}"#));
            prop_assert_eq!(value.value, Some(Value::IntValue(number)), "{}", text);
        }
    }

    // Ids of any text.
    // Guarantees that a wrong id is rejected with its span later, never mistaken for a valid one.
    #[test]
    fn text_that_is_not_an_id_never_becomes_a_valid_one(text in "[ -!#-\\[\\]-~]{0,40}") {
        let span = span(&format!(r#""traceId":"{text}","spanId":"{text}","parentSpanId":"{text}""#));
        let is_hex = text.bytes().all(|it| it.is_ascii_hexdigit());
        prop_assert_eq!(span.trace_id.len() == 16, is_hex && text.len() == 32);
        prop_assert_eq!(span.span_id.len() == 8, is_hex && text.len() == 16);
        prop_assert_eq!(span.parent_span_id.is_empty(), text.is_empty());
    }
}

#[test]
fn a_request_as_sdks_send_it_is_decoded() {
    let body = r#"{
      "resourceSpans": [{
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "my.service"}}],
          "entityRefs": [{"type": "service", "idKeys": ["service.name"]}]},
        "scopeSpans": [{
          "scope": {"name": "my.library", "version": "1.0.0"},
          "schemaUrl": "https://opentelemetry.io/schemas/1.37.0",
          "spans": [{
            "traceId": "5B8EFFF798038103D269B633813FC60C",
            "spanId": "eee19b7ec3c1b174",
            "parentSpanId": "EEE19b7ec3c1B173",
            "traceState": "k=v", "flags": 4294967295,
            "name": "I'm a server span", "kind": 2,
            "startTimeUnixNano": "1544712660000000000", "endTimeUnixNano": 1544712661000000000,
            "attributes": [{"key": "my.span.attr", "value": {"stringValue": "some value"}}],
            "droppedAttributesCount": 1,
            "events": [{"timeUnixNano": "1544712660500000000", "name": "e"}],
            "links": [{"traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b174"}],
            "status": {"code": 2, "message": "it broke"}
          }]
        }]
      }]
    }"#;
    let request = decode(body.as_bytes()).unwrap();
    let resource_spans = &request.resource_spans[0];
    let resource = resource_spans.resource.as_ref().unwrap();
    assert_eq!(resource.entity_refs[0].id_keys, ["service.name"]);
    let scope_spans = &resource_spans.scope_spans[0];
    assert_eq!(
        scope_spans.schema_url,
        "https://opentelemetry.io/schemas/1.37.0"
    );
    assert_eq!(scope_spans.scope.as_ref().unwrap().version, "1.0.0");
    let span = &scope_spans.spans[0];
    assert_eq!(span.trace_id[..3], [0x5b, 0x8e, 0xff]);
    assert_eq!(span.parent_span_id[6..], [0xb1, 0x73]);
    assert_eq!((span.flags, span.kind), (u32::MAX, 2));
    assert_eq!(
        span.end_time_unix_nano - span.start_time_unix_nano,
        1_000_000_000
    );
    assert_eq!(span.events[0].time_unix_nano, 1_544_712_660_500_000_000);
    assert_eq!(span.links[0].trace_id, span.trace_id);
    assert_eq!(span.status.as_ref().unwrap().message, "it broke");
    assert_eq!(
        span.attributes[0].value.as_ref().unwrap().value,
        Some(Value::StringValue("some value".to_owned()))
    );
}

#[test]
fn the_encoder_writes_what_the_specification_says() {
    let span = Span {
        trace_id: vec![0xab; 16],
        span_id: vec![1; 8],
        kind: 2,
        start_time_unix_nano: u64::MAX,
        flags: 257,
        attributes: [
            Some(Value::StringValue(String::new())),
            Some(Value::IntValue(-1)),
            Some(Value::DoubleValue(f64::NEG_INFINITY)),
            Some(Value::BytesValue(vec![0xfb, 0xff])),
            None,
        ]
        .map(|value| KeyValue {
            key: "k".to_owned(),
            value: Some(AnyValue { value }),
            key_strindex: 0,
        })
        .to_vec(),
        ..Span::default()
    };
    let mut request = decode(request("").as_bytes()).unwrap();
    request.resource_spans[0].scope_spans[0].spans = vec![span];
    let json = String::from_utf8(encode(&request.resource_spans)).unwrap();
    let expected = r#""traceId":"abababababababababababababababab","spanId":"0101010101010101","flags":257,"kind":2,"startTimeUnixNano":"18446744073709551615","attributes":[{"key":"k","value":{"stringValue":""}},{"key":"k","value":{"intValue":"-1"}},{"key":"k","value":{"doubleValue":"-Infinity"}},{"key":"k","value":{"bytesValue":"+/8="}},{"key":"k","value":{}}]"#;
    assert_eq!(json, self::request(expected));
    assert_eq!(encode(&[]), b"{}");
}

#[test]
fn empty_requests_are_requests() {
    for body in [
        "{}",
        r#"{"resourceSpans":[]}"#,
        r#"{"resourceSpans":null}"#,
        " {} \n",
    ] {
        assert!(spans(body).is_empty(), "{body}");
    }
}

#[test]
fn unknown_keys_are_ignored_at_every_level() {
    const FUTURE: &str = r#""future":{"a":[1,{"\ud800":"\udfff"}]}"#;
    let body = r#"{F,"resourceSpans":[{F,"resource":{F,"attributes":[{F,"key":"k","value":{F}}],
        "entityRefs":[{F}]},"scopeSpans":[{"scope":{F},F,"spans":[{F,"name":"n","events":[{F}],
        "links":[{F}],"status":{F},"attributes":[{"value":{"arrayValue":{F}},"key":"a"},
        {"key":"l","value":{"kvlistValue":{"values":[{F,"key":"x"}],F}}}]}]}]}]}"#
        .replace('F', FUTURE);
    let spans = spans(&body);
    assert_eq!(spans[0].name, "n");
    assert_eq!(spans[0].attributes.len(), 2);
    assert_eq!(value(FUTURE).value, None);
    // The names of the proto files are not the names in JSON.
    let snake = span(r#""start_time_unix_nano":"5","trace_id":"00","endTimeUnixNano":"6""#);
    assert_eq!(
        (snake.start_time_unix_nano, snake.end_time_unix_nano),
        (0, 6)
    );
    assert!(snake.trace_id.is_empty());
}

#[test]
fn null_is_as_good_as_absent_everywhere() {
    let nothing = span(
        r#""traceId":null,"spanId":null,"parentSpanId":null,"traceState":null,"flags":null,
        "name":null,"kind":null,"startTimeUnixNano":null,"endTimeUnixNano":null,"attributes":null,
        "droppedAttributesCount":null,"events":null,"droppedEventsCount":null,"links":null,
        "droppedLinksCount":null,"status":null"#,
    );
    assert_eq!(nothing, Span::default());
    let body = r#"{"resourceSpans":[{"resource":null,"schemaUrl":null,"scopeSpans":[
        {"scope":null,"spans":[{"attributes":[{"key":null,"value":null}]}],"schemaUrl":null}]}]}"#;
    assert_eq!(spans(body)[0].attributes, [KeyValue::default()]);
    for members in [
        "stringValue",
        "boolValue",
        "intValue",
        "doubleValue",
        "bytesValue",
        "arrayValue",
        "kvlistValue",
        "stringValueStrindex",
    ] {
        assert_eq!(value(&format!(r#""{members}":null"#)).value, None);
    }
    // Nothing in a list is an element with nothing in it.
    let Some(Value::ArrayValue(array)) = value(r#""arrayValue":{"values":[null,{}]}"#).value else {
        panic!("not an array");
    };
    assert_eq!(array.values, [AnyValue::default(), AnyValue::default()]);
}

#[test]
fn empty_values_are_values() {
    assert_eq!(
        value(r#""stringValue":"""#).value,
        Some(Value::StringValue(String::new()))
    );
    for members in [r#""arrayValue":{}"#, r#""arrayValue":{"values":null}"#] {
        assert_eq!(
            value(members).value,
            Some(Value::ArrayValue(Default::default()))
        );
    }
    for members in [r#""kvlistValue":{}"#, r#""kvlistValue":{"values":[]}"#] {
        assert_eq!(
            value(members).value,
            Some(Value::KvlistValue(Default::default()))
        );
    }
    assert_eq!(
        value(r#""bytesValue":"""#).value,
        Some(Value::BytesValue(Vec::new()))
    );
    assert_eq!(value("").value, None);
    assert_eq!(
        value(r#""boolValue":false"#).value,
        Some(Value::BoolValue(false))
    );
}

#[test]
fn ids_that_are_not_hex_keep_a_wrong_length_and_the_other_spans_stay() {
    let good = r#"{"traceId":"5B8EFFF798038103D269B633813FC60C","spanId":"EEE19B7EC3C1B174"}"#;
    for (bad, length) in [
        ("W47/95gDgQPSabYzgT/GDA==", 24),
        ("5b8efff798038103d269b633813fc60", 31),
        ("g234567890123456", 17),
        ("5b8efff7", 4),
        ("lone \\ud800 surrogate", 18),
    ] {
        let body = format!(
            r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[
                {{"traceId":"{bad}","spanId":"EEE19B7EC3C1B174"}},{good}]}}]}}]}}"#
        );
        assert_eq!(spans(&body)[0].trace_id.len(), length, "{bad}");
        let bytes = decode(body.as_bytes()).unwrap().encode_to_vec();
        let checked = protobuf::check_spans(&bytes, |_| {}).unwrap();
        assert_eq!((checked.items, checked.rejected), (2, 1), "{bad}");
    }
    let long = span(&format!(r#""spanId":"{}""#, "z".repeat(1000)));
    assert_eq!(long.span_id.len(), 64);
}

#[test]
fn integers_come_as_strings_or_numbers_over_their_whole_range() {
    for (text, expected) in [
        ("9223372036854775807", i64::MAX),
        ("\"9223372036854775807\"", i64::MAX),
        ("-9223372036854775808", i64::MIN),
        ("\"-9223372036854775808\"", i64::MIN),
        ("1e18", 1_000_000_000_000_000_000),
        ("1.5e3", 1500),
        ("\"1e3\"", 1000),
        ("\"9.223372036854775807E18\"", i64::MAX),
        ("\"1200e-2\"", 12),
        ("-0", 0),
        ("\"0e999\"", 0),
    ] {
        let value = value(&format!(r#""intValue":{text}"#));
        assert_eq!(value.value, Some(Value::IntValue(expected)), "{text}");
    }
    for text in [
        "1.5",
        "9223372036854775808",
        "1e19",
        "\"\"",
        "\"1.5\"",
        "\"abc\"",
        "\"1e999\"",
        "\"0x10\"",
        "\" 1\"",
        "\"1.\"",
        "\".5\"",
        "\"1e-1\"",
        "true",
        "[]",
        "{}",
    ] {
        let error = value_error(&format!(r#""intValue":{text}"#));
        assert!(error.contains("an integer of 64 bits"), "{text}: {error}");
    }
    let times = span(
        r#""startTimeUnixNano":18446744073709551615,"endTimeUnixNano":"18446744073709551615""#,
    );
    assert_eq!(times.start_time_unix_nano, u64::MAX);
    assert_eq!(times.end_time_unix_nano, u64::MAX);
    assert!(span_error(r#""startTimeUnixNano":-1"#).contains("integer `-1`"));
    assert!(span_error(r#""flags":4294967296"#).contains("an integer of 32 bits"));
    assert_eq!(span(r#""droppedLinksCount":"7""#).dropped_links_count, 7);
}

#[test]
fn doubles_come_as_numbers_or_strings_and_may_be_no_numbers() {
    let double = |text: &str| match value(&format!(r#""doubleValue":{text}"#)).value {
        Some(Value::DoubleValue(value)) => value,
        other => panic!("{text}: {other:?}"),
    };
    for (text, expected) in [
        ("1", 1.0),
        ("-7", -7.0),
        ("0.1", 0.1),
        ("\"0.1\"", 0.1),
        ("\"1e-3\"", 0.001),
        ("\"Infinity\"", f64::INFINITY),
        ("\"-Infinity\"", f64::NEG_INFINITY),
        ("18446744073709551615", 18_446_744_073_709_551_615.0),
        // Needs correct rounding.
        ("1.7976931348623157e308", f64::MAX),
        (
            "51.24817837550540_4".replace('_', "").as_str(),
            51.248_178_375_505_404,
        ),
    ] {
        assert_eq!(double(text), expected, "{text}");
    }
    assert!(double("\"NaN\"").is_nan());
    for text in [
        "\"nan\"",
        "\"inf\"",
        "\"\"",
        "\"1e999\"",
        "1e999",
        "\"-nan\"",
        "true",
    ] {
        value_error(&format!(r#""doubleValue":{text}"#));
    }
}

#[test]
fn bytes_come_in_four_spellings_of_base64() {
    for text in ["+/8=", "-_8=", "+/8", "-_8"] {
        assert_eq!(
            value(&format!(r#""bytesValue":"{text}""#)).value,
            Some(Value::BytesValue(vec![0xfb, 0xff])),
            "{text}"
        );
    }
    for text in ["\"+_8=\"", "\"*\"", "\"A\"", "7", "[1,2]"] {
        value_error(&format!(r#""bytesValue":{text}"#));
    }
}

#[test]
fn enums_come_as_numbers_or_names() {
    for (text, kind) in [
        ("2", 2),
        ("99", 99),
        ("-1", -1),
        ("\"SPAN_KIND_SERVER\"", 2),
        ("\"2\"", 2),
        ("\"SPAN_KIND_OF_THE_FUTURE\"", 0),
        ("null", 0),
    ] {
        assert_eq!(span(&format!(r#""kind":{text}"#)).kind, kind, "{text}");
    }
    let status = span(r#""status":{"code":"STATUS_CODE_ERROR"}"#)
        .status
        .unwrap();
    assert_eq!(status.code, 2);
    assert_eq!(span(r#""status":{"code":7}"#).status.unwrap().code, 7);
    span_error(r#""kind":2.5"#);
    span_error(r#""kind":{}"#);
}

#[test]
fn the_last_of_several_equal_keys_wins() {
    let twice =
        span(r#""name":"a","name":"b","kind":1,"kind":2,"attributes":[{}],"attributes":[]"#);
    assert_eq!((twice.name.as_str(), twice.kind), ("b", 2));
    assert!(twice.attributes.is_empty());
    let either = value(r#""stringValue":"a","intValue":"1""#);
    assert_eq!(either.value, Some(Value::IntValue(1)));
    assert_eq!(span(r#""name":"a","name":null"#).name, "a");
}

#[test]
fn lone_surrogates_and_nul_do_not_fail_the_request() {
    for (escaped, expected) in [
        (r"a\ud800b", "a\u{fffd}b"),
        (r"\udfff", "\u{fffd}"),
        (r"\ud800\ud800", "\u{fffd}\u{fffd}"),
        (r"\ud83d\ude00é", "😀é"),
        (r"\ud800\n", "\u{fffd}\n"),
        (r"\u0000", "\0"),
    ] {
        assert_eq!(span(&format!(r#""name":"{escaped}""#)).name, expected);
        let key = format!(
            r#""attributes":[{{"key":"{escaped}","value":{{"stringValue":"{escaped}"}}}}]"#
        );
        assert_eq!(span(&key).attributes[0].key, expected);
    }
}

#[test]
fn a_byte_order_mark_is_tolerated() {
    let body = ["\u{feff}", &request(r#""name":"n""#)].concat();
    assert_eq!(spans(&body)[0].name, "n");
    assert!(decode("\u{feff}\u{feff}{}".as_bytes()).is_err());
}

#[test]
fn malformed_json_is_refused_with_path_and_position() {
    for (body, message, path) in [
        ("", "EOF while parsing a value at line 1 column 0", None),
        (
            "[]",
            "invalid type: sequence, expected an object at line 1 column 0",
            None,
        ),
        (
            "null",
            "invalid type: null, expected an object at line 1 column 4",
            None,
        ),
        ("{}{}", "trailing characters at line 1 column 3", None),
        (
            "{\"resourceSpans\":\n[{},{\"schemaUrl\":5}]}",
            "invalid type: integer `5`, expected a string at line 2 column 18",
            Some("resourceSpans[1].schemaUrl"),
        ),
        (
            r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"x"#,
            "EOF while parsing a string at line 1 column 53",
            Some("resourceSpans[0].scopeSpans[0].spans[0].name"),
        ),
        (
            r#"{"resourceSpans":{}}"#,
            "invalid type: map, expected a list at line 1 column 17",
            Some("resourceSpans"),
        ),
    ] {
        let error = decode(body.as_bytes()).unwrap_err();
        assert_eq!(error.path(), path, "{body}");
        let text = error.to_string();
        assert!(text.contains(message), "{body}: {text}");
    }
    let error = decode(b"{\"resourceSpans\":[{\"schemaUrl\":\"\xff\"}]}").unwrap_err();
    assert_eq!(error.path(), Some("resourceSpans[0].schemaUrl"));
    let Failure::Malformed { message, field } = Failure::from(error) else {
        panic!("not malformed");
    };
    assert_eq!(field.unwrap(), "resourceSpans[0].schemaUrl");
    assert_eq!(
        message,
        "not a valid OTLP/JSON export request: invalid UTF-8 at byte 32 \
         in resourceSpans[0].schemaUrl"
    );
    let long = format!(r#"{{"resourceSpans":"{}"}}"#, "x".repeat(100_000));
    assert!(decode(long.as_bytes()).unwrap_err().to_string().len() < 600);
}

/// A request whose one value nests arrays, or lists, so many times.
fn nested(levels: usize, open: &str, close: &str) -> String {
    let value = [&open.repeat(levels), "{}", &close.repeat(levels)].concat();
    let event = format!(r#""events":[{{"attributes":[{{"key":"k","value":{value}}}]}}]"#);
    request(&event)
}

#[test]
fn whatever_depth_is_accepted_can_be_read_back_and_more_is_refused_cleanly() {
    for (open, close) in [
        (r#"{"arrayValue":{"values":["#, "]}}"),
        (r#"{"kvlistValue":{"values":[{"value":"#, "}]}}"),
    ] {
        let mut deepest = 0;
        for levels in 0..60 {
            if let Ok(request) = decode(nested(levels, open, close).as_bytes()) {
                assert_eq!(levels, deepest);
                deepest += 1;
                protobuf::validate(&request.encode_to_vec()).unwrap();
            }
        }
        assert!((25..60).contains(&deepest), "{deepest}");
        let error = decode(nested(10_000, open, close).as_bytes()).unwrap_err();
        assert!(
            error.to_string().contains("recursion limit exceeded"),
            "{error}"
        );
        assert!(error.to_string().len() < 600);
    }
    // What is ignored may nest as it likes.
    let ignored = format!(r#""x":{}{}"#, "[".repeat(100_000), "]".repeat(100_000));
    span(&ignored);
}

#[test]
fn a_body_cannot_make_the_decoder_take_many_times_its_size() {
    let spans = format!(
        r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{}{{}}]}}]}}]}}"#,
        "{},".repeat(100_000)
    );
    let error = decode(spans.as_bytes()).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("too many nearly empty list elements"),
        "{error}"
    );
    // The smallest things that make sense are far from it.
    let numbers = r#"{"intValue":1},"#.repeat(100_000);
    let Some(Value::ArrayValue(array)) =
        value(&format!(r#""arrayValue":{{"values":[{numbers}{{}}]}}"#)).value
    else {
        panic!("not an array");
    };
    assert_eq!(array.values.len(), 100_001);
}

#[test]
fn log_records_are_read_as_clients_write_them() {
    let body = br#"{"resourceLogs":[{"resource":null,"scopeLogs":[{"future":1,"logRecords":[
        {"timeUnixNano":"5","observedTimeUnixNano":6,"severityNumber":"SEVERITY_NUMBER_WARN2",
         "severityText":"warn","eventName":"e","flags":1,"droppedAttributesCount":2,
         "traceId":"5B8EFFF798038103D269B633813FC60C","spanId":"EEE19B7EC3C1B174",
         "body":{"kvlistValue":{"values":[{"key":"k","value":{"intValue":"7"}}]}},
         "attributes":[{"key":"a","value":{"stringValue":"b"}}]},
        {"traceId":"not hex","body":null,"severityNumber":9}]}]}]}"#;
    let request = decode_logs(body).unwrap();
    let records = &request.resource_logs[0].scope_logs[0].log_records;
    let first = &records[0];
    assert_eq!(
        (first.time_unix_nano, first.observed_time_unix_nano),
        (5, 6)
    );
    assert_eq!(
        (first.severity_number, first.severity_text.as_str()),
        (14, "warn")
    );
    assert_eq!(
        (first.trace_id.len(), first.span_id.len(), first.flags),
        (16, 8, 1)
    );
    assert_eq!(
        (first.event_name.as_str(), first.dropped_attributes_count),
        ("e", 2)
    );
    assert!(matches!(
        first.body.as_ref().and_then(|body| body.value.as_ref()),
        Some(Value::KvlistValue(_))
    ));
    assert_eq!((records[1].severity_number, &records[1].body), (9, &None));
    let checked = protobuf::check(Signal::Logs, &request.encode_to_vec()).unwrap();
    assert_eq!(
        (checked.items, checked.rejected, checked.unlinked),
        (2, 0, 1)
    );
    assert!(decode_logs(b"").is_err());
    assert_eq!(decode_logs(b"{}").unwrap().resource_logs, []);
    let error = decode_logs(br#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":5}]}]}]}"#);
    let path = "resourceLogs[0].scopeLogs[0].logRecords[0].body";
    assert_eq!(error.unwrap_err().path(), Some(path));
}

// Guarantees: what the JSON mapping has no number for, and numbers of 64 bits, come as text or number.
#[test]
fn numbers_of_metrics_are_read_in_every_form() {
    let json = br#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[
        {"name":"m","gauge":{"dataPoints":[
            {"timeUnixNano":18446744073709551615,"asDouble":"NaN"},
            {"timeUnixNano":"1","asInt":"-9223372036854775808"},{"timeUnixNano":"1","asInt":9223372036854775807},
            {"timeUnixNano":"1","asDouble":"-Infinity"},{"timeUnixNano":null,"asDouble":null}]}},
        {"name":"h","histogram":{"aggregationTemporality":"AGGREGATION_TEMPORALITY_DELTA","dataPoints":[
            {"count":"18446744073709551615","sum":"Infinity","bucketCounts":["1",2],"explicitBounds":["0.5"]}]}}
    ]}]}]}"#;
    let request = decode_metrics(json).unwrap();
    let shown = format!("{request:?}");
    for expected in [
        "AsDouble(NaN)",
        "AsDouble(-inf)",
        "AsInt(-9223372036854775808)",
        "AsInt(9223372036854775807)",
        "value: None",
        "count: 18446744073709551615",
        "sum: Some(inf)",
        "bucket_counts: [1, 2]",
        "explicit_bounds: [0.5]",
        "aggregation_temporality: Delta",
    ] {
        assert!(shown.contains(expected), "{expected}: {shown}");
    }
    for wrong in [
        &br#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"sum":{"isMonotonic":1}}]}]}]}"#[..],
        br#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"gauge":{"dataPoints":[{"asInt":0.5}]}}]}]}]}"#,
        br#"{"resourceMetrics":7}"#,
    ] {
        let error = decode_metrics(wrong).unwrap_err();
        assert!(error.path().unwrap().starts_with("resourceMetrics"), "{error}");
    }
}
