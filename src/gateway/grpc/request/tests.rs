use bytes::Bytes;
use proptest::prelude::*;
use prost_types::FileDescriptorSet;

use super::*;
use crate::gateway::params::ATTRIBUTE;
use crate::receivers::native::DESCRIPTORS;

/// Names and numbers of the fields of a message.
fn fields_of(message: &str) -> Vec<(String, u32)> {
    let files = FileDescriptorSet::decode(DESCRIPTORS).unwrap().file;
    let messages = files.iter().flat_map(|file| &file.message_type);
    let found = messages
        .into_iter()
        .find(|it| it.name() == message)
        .unwrap();
    let fields = found.field.iter();
    fields
        .map(|field| (field.name().to_owned(), field.number().cast_unsigned()))
        .collect()
}

fn full() -> Filter {
    Filter {
        start: Some(1),
        end: Some(2),
        service: "shop".to_owned(),
        name: "GET /".to_owned(),
        status: StatusFilter::Error.into(),
        min_duration: Some(3),
        max_duration: Some(4),
        session_id: "s".to_owned(),
        user_id: "u".to_owned(),
        min_tokens: Some(5),
        min_cost: Some(1_000_000_001),
        operation: "chat".to_owned(),
        provider: "openai".to_owned(),
        model: "m".to_owned(),
        agent: "a".to_owned(),
        tool: "t".to_owned(),
        tag: "g".to_owned(),
        error_kind: "timeout".to_owned(),
        attributes: [("k".to_owned(), "v".to_owned())].into(),
    }
}

/// What is no filter of spans, or is of events, which are not told of here.
const OF_TAIL: [&str; 7] = [
    "trace_id",
    "rate",
    "last_event_id",
    "kind",
    "environment",
    "min_severity",
    "span_id",
];

// Guarantees: a filter has a field for each parameter that the lists of traces and the feed filter by,
// and no other; what is refused as unknown is what it has not.
#[test]
fn a_filter_has_what_the_routes_have() {
    for (path, others) in [
        ("/api/v1/traces", &["limit", "cursor"][..]),
        ("/api/v1/tail", &OF_TAIL),
    ] {
        let route = routes::ROUTES.iter().find(|route| route.path == path);
        let parameters = route.unwrap().parameters.iter();
        let filters = parameters.filter(|name| !others.contains(name));
        let mut filters: Vec<_> = filters
            .map(|name| {
                if *name == ATTRIBUTE {
                    "attributes"
                } else {
                    name
                }
            })
            .collect();
        let fields = fields_of("Filter");
        let mut names: Vec<_> = fields.iter().map(|(name, _)| name.as_str()).collect();
        filters.sort_unstable();
        names.sort_unstable();
        assert_eq!(names, filters, "{path}");
        let highest = fields.iter().map(|(_, number)| *number).max();
        assert_eq!(highest, Some(FILTER_FIELDS));
    }
    let highest = |message| fields_of(message).iter().map(|(_, number)| *number).max();
    assert_eq!(
        highest(GetTraceRequest::NAME),
        Some(GetTraceRequest::FIELDS)
    );
    assert_eq!(
        highest(ListTracesRequest::NAME),
        Some(ListTracesRequest::FIELDS)
    );
    assert_eq!(highest(TailRequest::NAME), Some(TailRequest::FIELDS));
}

// Guarantees: every field becomes the parameter of its name; what is not said becomes none.
#[test]
fn a_filter_becomes_parameters() {
    let Pairs(pairs) = Pairs::default().filter(Some(full()));
    let pairs: Vec<_> = pairs
        .iter()
        .map(|(name, text)| (&**name, &**text))
        .collect();
    let expected = [
        ("start", "1"),
        ("end", "2"),
        ("service", "shop"),
        ("name", "GET /"),
        ("status", "error"),
        ("min_duration", "3"),
        ("max_duration", "4"),
        ("session_id", "s"),
        ("user_id", "u"),
        ("min_tokens", "5"),
        ("min_cost", "1.000000001"),
        ("operation", "chat"),
        ("provider", "openai"),
        ("model", "m"),
        ("agent", "a"),
        ("tool", "t"),
        ("tag", "g"),
        ("error_kind", "timeout"),
        ("attr.k", "v"),
    ];
    assert_eq!(pairs, expected);
    for none in [None, Some(Filter::default())] {
        assert!(Pairs::default().filter(none).0.is_empty());
    }
    // Zero is a number, not nothing.
    let zero = Filter {
        min_tokens: Some(0),
        status: 7,
        ..Filter::default()
    };
    let Pairs(pairs) = Pairs::default().filter(Some(zero));
    let pairs: Vec<_> = pairs
        .iter()
        .map(|(name, text)| (&**name, &**text))
        .collect();
    assert_eq!(pairs, [("status", "7"), ("min_tokens", "0")]);
}

// Scenario: a question with fields of a newer version, in it and in its filter.
// Guarantees: it is refused, and each is named; the same question without them is read.
#[test]
fn fields_that_are_not_known_are_refused() {
    let question = TailRequest {
        filter: Some(full()),
        rate: 3,
        ..TailRequest::default()
    };
    let plain = question.encode_to_vec();
    assert_eq!(read::<TailRequest>(&plain).unwrap(), question);
    let mut newer = plain;
    // Field 9 of the request, then another part of the filter with field 20.
    newer.extend([9 << 3, 1]);
    newer.extend([1 << 3 | 2, 3, 0xa0, 0x01, 1]);
    let Failure::Invalid { fields } = read::<TailRequest>(&newer).unwrap_err() else {
        panic!("it was read");
    };
    let named: Vec<_> = fields.iter().map(|(name, why)| (&**name, &**why)).collect();
    let expected = [
        ("TailRequest", "this server does not know field 9"),
        ("filter", "this server does not know field 20"),
    ];
    assert_eq!(named, expected);
    let broken = read::<GetTraceRequest>(b"\x0a\x05a").unwrap_err();
    assert!(broken.to_string().contains("GetTraceRequest"), "{broken}");
}

proptest! {
    // Guarantees: no bytes make it panic.
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let bytes = Bytes::from(bytes);
        drop(read::<GetTraceRequest>(&bytes));
        drop(read::<ListTracesRequest>(&bytes));
        drop(read::<TailRequest>(&bytes));
    }
}
