//! What holds for every request.

use proptest::prelude::*;

use super::*;
use crate::otlp::Signal;
use crate::otlp::generate;
use crate::otlp::protobuf::check_spans;

/// Rules of every kind. Removal may put together what was apart, so it has none of the patterns.
const RULES: &str = r"[
    {drop_content: true},
    {keys: [a, 'b*', '*c'], action: remove},
    {keys: ['d?'], mask: '-'},
    {detectors: [email, phone, payment_card], scope: [span, event, link, resource, instrumentation, span_name, event_name, status_message]},
    {detectors: [iban, api_key, jwt, private_key], action: hash},
    {patterns: ['secret-[a-z]{2,8}', '(?i)pass\w*: \S+'], mask: <gone>},
]";

/// Texts with something to find at odd places.
fn secret_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("bob@example.com".to_owned()),
        Just("4111 1111 1111 1111".to_owned()),
        Just("4111111111111111".to_owned()),
        Just("DE89370400440532013000".to_owned()),
        Just("+49 30 901820".to_owned()),
        Just("212-555-0123".to_owned()),
        Just("sk-aB3dE5gH7jK9mN1pQ3sT5v".to_owned()),
        Just("AKIAIOSFODNN7EXAMPLE".to_owned()),
        Just("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc".to_owned()),
        Just("-----BEGIN PRIVATE KEY-----\nMII\n-----END PRIVATE KEY-----".to_owned()),
        Just("secret-abc".to_owned()),
        Just("Password: x".to_owned()),
        Just("{\"".to_owned()),
        Just("\\n".to_owned()),
        Just("\\u0041".to_owned()),
        Just("\"".to_owned()),
        " {0,2}",
        "[a-z0-9@.+_-]{0,6}",
        "\\PC{0,3}",
    ];
    // Apart, since what ends one match may be what keeps the next from beginning.
    prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.join(" "))
}

/// A request of any content, with such texts in it.
fn secret_request() -> impl Strategy<Value = ExportTraceServiceRequest> {
    let texts = prop::collection::vec(secret_text(), 1..6);
    (generate::request(), texts).prop_map(|(mut request, texts)| {
        let mut texts = texts.into_iter().cycle();
        let mut next = || texts.next().unwrap_or_default();
        for resource_spans in &mut request.resource_spans {
            for span in resource_spans
                .scope_spans
                .iter_mut()
                .flat_map(|it| &mut it.spans)
            {
                span.name = next();
                span.attributes.push(pair("key", text(&next())));
                span.attributes.push(pair(
                    "list",
                    Any::ArrayValue(ArrayValue {
                        values: vec![
                            value(text(&next())),
                            value(Any::BytesValue(next().into_bytes())),
                        ],
                    }),
                ));
                span.events.iter_mut().for_each(|event| event.name = next());
            }
        }
        request
    })
}

/// A request without what rules may change.
fn bare(mut request: ExportTraceServiceRequest) -> ExportTraceServiceRequest {
    let attributes = |attributes: &mut Vec<KeyValue>| {
        attributes.retain(|it| {
            matches!(
                &it.value,
                Some(AnyValue {
                    value: Some(Any::IntValue(_) | Any::DoubleValue(_) | Any::BoolValue(_)),
                })
            )
        });
        // NaN is not equal to itself.
        for attribute in attributes.iter_mut() {
            if let Some(AnyValue {
                value: Some(Any::DoubleValue(number)),
            }) = &attribute.value
            {
                attribute.value = Some(value(Any::IntValue(number.to_bits().cast_signed())));
            }
        }
    };
    for resource_spans in &mut request.resource_spans {
        if let Some(resource) = &mut resource_spans.resource {
            attributes(&mut resource.attributes);
        }
        for scope_spans in &mut resource_spans.scope_spans {
            if let Some(scope) = &mut scope_spans.scope {
                attributes(&mut scope.attributes);
            }
            for span in &mut scope_spans.spans {
                span.name.clear();
                attributes(&mut span.attributes);
                for event in &mut span.events {
                    event.name.clear();
                    attributes(&mut event.attributes);
                }
                span.links
                    .iter_mut()
                    .for_each(|it| attributes(&mut it.attributes));
                if let Some(status) = &mut span.status {
                    status.message.clear();
                }
            }
        }
    }
    request
}

proptest! {
    // Guarantees: what is written is a request that reads back, with the same spans, ids, times,
    // counts, flags and numbers; and to redact it again changes nothing.
    #[test]
    fn ids_numbers_and_structure_stay(request in secret_request()) {
        let redactor = redactor("[{detectors: [email, phone, payment_card, iban, api_key, jwt, private_key], scope: [span, event, link, resource, instrumentation, span_name, event_name, status_message]}]");
        let bytes = request.encode_to_vec();
        if let Some(out) = redact(&redactor, &bytes).request {
            let decoded = ExportTraceServiceRequest::decode(out.as_slice()).unwrap();
            prop_assert_ne!(&decoded, &request);
            prop_assert_eq!(bare(decoded), bare(request));
        }
    }

    #[test]
    fn a_redacted_request_stays_as_it_is(request in secret_request()) {
        let redactor = redactor(RULES);
        let bytes = request.encode_to_vec();
        let before = check_spans(&bytes, |_| {}).unwrap();
        let Some(out) = redact(&redactor, &bytes).request else {
            return Ok(());
        };
        let after = check_spans(&out, |_| {}).unwrap();
        prop_assert_eq!((before.items, before.rejected), (after.items, after.rejected));
        let again = redact(&redactor, &out).request;
        prop_assert!(again.is_none(), "{:?}\n{:?}", String::from_utf8_lossy(&out), again.map(|it| String::from_utf8_lossy(&it).into_owned()));
    }

    // Guarantees: a known secret is nowhere, whatever is around it in texts of their own.
    #[test]
    fn no_secret_is_left(before in "[ -~é]{0,8}", after in "[ -~é]{0,8}", is_json in any::<bool>()) {
        let redactor = redactor("[{detectors: [email, api_key, jwt]}]");
        for secret in [
            "bob@example.com",
            "sk-aB3dE5gH7jK9mN1pQ3sT5v",
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc",
        ] {
            let plain = format!("{before} {secret} {after}");
            let whole = if is_json {
                serde_json::to_string(&[format!("{before}\n{secret}\t{after}")]).unwrap()
            } else {
                plain
            };
            let bytes = request(span(vec![pair("k", text(&whole))])).encode_to_vec();
            let out = redact(&redactor, &bytes).request.unwrap();
            let shown = String::from_utf8_lossy(&out);
            prop_assert!(!shown.contains(secret), "{whole} {shown}");
            if is_json {
                let decoded = ExportTraceServiceRequest::decode(out.as_slice()).unwrap();
                let span = &decoded.resource_spans[0].scope_spans[0].spans[0];
                let Some(AnyValue { value: Some(Any::StringValue(json)) }) = &span.attributes[0].value else {
                    panic!("no text");
                };
                prop_assert!(serde_json::from_str::<Vec<String>>(json).is_ok(), "{whole} {json}");
            }
        }
    }

    #[test]
    fn a_request_without_a_hit_is_not_touched(request in generate::request()) {
        let redactor = redactor("[{keys: ['no such key*'], action: remove}, {patterns: ['no such text\\d+']}]");
        prop_assert_eq!(redact(&redactor, &request.encode_to_vec()).request, None);
    }

    #[test]
    fn no_bytes_are_a_reason_to_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), around in secret_text()) {
        let redactor = redactor(RULES);
        for bytes in [bytes.clone(), [around.as_bytes(), &bytes].concat()] {
            drop(redactor.redact(ProjectId(1), Signal::Traces, &bytes, &mut |_| Ok(())));
            let whole = request(span(vec![pair("k", Any::BytesValue(bytes))]));
            redact(&redactor, &whole.encode_to_vec());
        }
    }
}
