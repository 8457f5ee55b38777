//! Log exports against the generated decoder.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::logs::v1 as logs;

use super::{
    AnyValue, Bounds, LogRecord, Request, ResourceSpans, Scope, Soup, any_value, attributes, check,
    common, cook, generate, normalise_attributes, normalise_value, soup, value_soup,
    without_empty_keys, wrap,
};
use super::{bounded_record, vec};
use crate::otlp::Signal;
use opentelemetry_proto::tonic::common::v1::any_value::Value::StringValue as Text;
use opentelemetry_proto::tonic::resource::v1::Resource;
use proptest::prelude::*;
use prost::Message as _;

const RECORD: [u32; 3] = [1, 2, 2];

/// Builds the generated messages back from the views.
fn rebuild(bytes: &[u8]) -> ExportLogsServiceRequest {
    let scopes = |it: &ResourceSpans<'_>| {
        let scopes = it.scope_spans().map(|it| {
            let scope = Scope::parse(&it.scope).unwrap();
            logs::ScopeLogs {
                scope: Some(common::InstrumentationScope {
                    name: scope.name.to_owned(),
                    version: scope.version.to_owned(),
                    attributes: attributes(&scope.attributes),
                    dropped_attributes_count: scope.dropped_attributes_count,
                }),
                log_records: it.spans().map(record).collect(),
                schema_url: it.schema_url.to_owned(),
            }
        });
        scopes.collect()
    };
    let resource_logs = Request::new(bytes)
        .resource_spans()
        .map(|it| logs::ResourceLogs {
            resource: Some(Resource::decode(&*it.resource).unwrap()),
            scope_logs: scopes(&it),
            schema_url: it.schema_url.to_owned(),
        });
    ExportLogsServiceRequest {
        resource_logs: resource_logs.collect(),
    }
}

fn record(bytes: &[u8]) -> logs::LogRecord {
    let view = LogRecord::parse(bytes).unwrap();
    let body = view.body();
    logs::LogRecord {
        time_unix_nano: view.time_unix_nano,
        observed_time_unix_nano: view.observed_unix_nano,
        severity_number: view.severity_number,
        severity_text: view.severity_text.to_owned(),
        body: Some(any_value(&AnyValue::parse(&body).unwrap())),
        attributes: attributes(&view.attributes),
        dropped_attributes_count: view.dropped_attributes_count,
        flags: view.flags,
        trace_id: view.trace_id.to_vec(),
        span_id: view.span_id.to_vec(),
        event_name: view.event_name.to_owned(),
    }
}

fn normalise(mut request: ExportLogsServiceRequest) -> ExportLogsServiceRequest {
    for resource_logs in &mut request.resource_logs {
        resource_logs.resource.get_or_insert_default();
        for scope_logs in &mut resource_logs.scope_logs {
            let scope = scope_logs.scope.get_or_insert_default();
            normalise_attributes(&mut scope.attributes);
            for record in &mut scope_logs.log_records {
                normalise_value(record.body.get_or_insert_default());
                normalise_attributes(&mut record.attributes);
            }
        }
    }
    request
}

fn agrees_with_the_generated_decoder(bytes: &[u8]) -> Result<(), TestCaseError> {
    let expected = ExportLogsServiceRequest::decode(bytes);
    let checked = check(Signal::Logs, bytes);
    prop_assert_eq!(
        checked.is_ok(),
        expected.is_ok(),
        "{:?} / {:?}",
        checked,
        expected
    );
    match (checked, expected) {
        (Ok(checked), Ok(expected)) => {
            let records = || {
                let scopes = expected.resource_logs.iter().flat_map(|it| &it.scope_logs);
                scopes.flat_map(|it| &it.log_records)
            };
            let unlinked = records().filter(|it| {
                !matches!(it.trace_id.len(), 0 | 16) || !matches!(it.span_id.len(), 0 | 8)
            });
            let unlinked = unlinked.count();
            prop_assert_eq!(checked.items, records().count() as u64);
            prop_assert_eq!(checked.unlinked, unlinked as u64);
            prop_assert_eq!(
                (checked.rejected, checked.first_rejection.is_some()),
                (0, unlinked > 0)
            );
            let (rebuilt, expected) = (rebuild(bytes), normalise(expected));
            prop_assert_eq!(rebuilt.encode_to_vec(), expected.encode_to_vec());
        }
        (Err(error), _) => prop_assert!(error.to_string().len() < 200, "{}", error),
        _ => {}
    }
    Ok(())
}

proptest! {
    // Random bytes; requests of any content, damaged or not; fields in any order, repeated, unknown,
    // wrongly typed; bodies in parts.
    // Guarantees the same verdict and the same content as the generated decoder.
    #[test]
    fn any_bytes(bytes in vec(any::<u8>(), 0..64)) {
        agrees_with_the_generated_decoder(&bytes)?;
        agrees_with_the_generated_decoder(&wrap(&RECORD, &bytes))?;
    }

    #[test]
    fn any_request(
        request in generate::log_request(),
        damages in vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 0..4),
    ) {
        let mut bytes = request.encode_to_vec();
        for (index, byte, kind) in damages {
            if bytes.is_empty() {
                break;
            }
            let at = index.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                2 => _ = bytes.remove(at),
                _ => bytes.truncate(at),
            }
        }
        agrees_with_the_generated_decoder(&bytes)?;
    }

    #[test]
    fn any_fields(fields in vec(soup(6), 0..8), level in 0..5_usize) {
        let levels = [&[][..], &[1], &[1, 2], &RECORD, &[1, 2, 2, 5]];
        agrees_with_the_generated_decoder(&wrap(levels[level], &cook(&fields.concat())))?;
    }

    #[test]
    fn bodies_in_parts_are_merged(parts in vec(value_soup(), 1..4)) {
        let pairs: Vec<_> = parts.into_iter().map(|it| Soup::Message(6, it)).collect();
        agrees_with_the_generated_decoder(&wrap(&RECORD, &cook(&pairs)))?;
    }

    // Guarantees: views of bytes that were never checked end without a panic.
    #[test]
    fn unchecked_bytes_end_without_panic(bytes in vec(any::<u8>(), 0..64)) {
        if let Ok(record) = LogRecord::parse(&bytes) {
            record.attributes.iter().count();
            let body = record.body();
            drop(AnyValue::parse(&body).map(|body| body.text().into_owned()));
            let _link = record.link();
        }
        drop(bounded_record(&bytes, &Bounds::NONE));
    }

    // Guarantees: no attribute and no pair without a key is left, in bodies neither, and what was
    // left out of a body counts as attributes of its record.
    #[test]
    fn no_empty_key_is_left(request in generate::log_request()) {
        let bytes = request.encode_to_vec();
        let before = check(Signal::Logs, &bytes).unwrap();
        let rewritten = without_empty_keys(Signal::Logs, &bytes).unwrap();
        prop_assert_eq!(rewritten.is_some(), before.empty_keys > 0);
        if let Some(rewritten) = rewritten {
            let after = check(Signal::Logs, &rewritten).unwrap();
            prop_assert_eq!((after.items, after.empty_keys), (before.items, 0));
        }
    }
}

#[test]
fn a_record_is_cut_to_bounds() {
    let text = |text: &str| {
        Some(common::AnyValue {
            value: Some(Text(text.to_owned())),
        })
    };
    let pair = |key: &str| common::KeyValue {
        key: key.to_owned(),
        value: text("12345"),
        ..Default::default()
    };
    let record = logs::LogRecord {
        body: text("a body"),
        event_name: "a name".to_owned(),
        attributes: vec![pair("a"), pair(""), pair("b"), pair("c")],
        ..Default::default()
    };
    let bounds = Bounds {
        attributes_per_span: 2,
        value_bytes: 3,
        name_bytes: 4,
        ..Bounds::NONE
    };
    let cut = bounded_record(&record.encode_to_vec(), &bounds)
        .unwrap()
        .unwrap();
    let cut = logs::LogRecord::decode(cut.as_slice()).unwrap();
    assert_eq!((cut.body, cut.event_name.as_str()), (text("a b"), "a na"));
    assert_eq!((cut.attributes.len(), cut.dropped_attributes_count), (2, 2));
    assert_eq!(cut.attributes[0].value, text("123"));
}
