//! Events: what every store must do with them.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};

use super::*;
use crate::model::event::{EventId, EventSource};
use crate::queue::LogId;
use crate::storage::access::AccessStore;
use crate::storage::events::{EVENTS_OF_TRACE_MAX, EventFilter, StoredEvent};
use crate::storage::issues::IssueStore;
use crate::storage::issues::board::EVENTS_PER_STEP;
use crate::storage::query::{AttributeEquals, TimeRange};
use crate::storage::{Batch, EventRow};

/// A log record at a time, of no trace.
pub(super) fn record(time: u64, body: &str) -> LogRecord {
    LogRecord {
        time_unix_nano: time,
        severity_number: 9,
        severity_text: "INFO".to_owned(),
        body: text("", body).value,
        ..LogRecord::default()
    }
}

/// One of a span of a trace.
pub(super) fn linked(time: u64, trace: u8, span: u64) -> LogRecord {
    LogRecord {
        trace_id: trace_id(trace).0.to_vec(),
        span_id: span_id(span).0.to_vec(),
        event_name: "gen_ai.choice".to_owned(),
        ..record(time, &format!("{trace}.{span}"))
    }
}

pub(super) fn logs(service: &str, log_records: Vec<LogRecord>) -> ExportLogsServiceRequest {
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            resource: Some(Resource {
                attributes: vec![
                    text("service.name", service),
                    text("service.version", "1.2"),
                    text("deployment.environment.name", &format!("{service}-env")),
                ],
                ..Resource::default()
            }),
            scope_logs: vec![ScopeLogs {
                scope: Some(InstrumentationScope {
                    name: "logger".to_owned(),
                    ..InstrumentationScope::default()
                }),
                log_records,
                schema_url: "https://example.com/scope".to_owned(),
            }],
            schema_url: "https://example.com/resource".to_owned(),
        }],
    }
}

/// Writes requests of logs as one batch.
pub(super) fn write_logs(
    backend: &mut impl Backend,
    project: ProjectId,
    position: u64,
    requests: &[ExportLogsServiceRequest],
) -> WriteReport {
    let records: Vec<_> = (position..)
        .zip(requests)
        .map(|(position, request)| Record {
            position: Position(position),
            project,
            received_unix_nano: NOW,
            kind: PayloadKind::OtlpLogs,
            payload: Bytes::from(request.encode_to_vec()),
        })
        .collect();
    let limits = limits::Config::default();
    let (batch, _) = Assembler::new(0, &limits).assemble(&records);
    runtime().block_on(backend.writer().write(&batch)).unwrap()
}

/// All pages of a list.
pub(super) fn listed(
    backend: &impl Backend,
    filter: &EventFilter,
    limit: usize,
) -> Vec<StoredEvent> {
    let mut page = PageRequest { limit, after: None };
    let mut found = Vec::new();
    loop {
        let answer = backend.reader().list_events(PROJECT, filter, &page);
        let answer = runtime().block_on(answer).unwrap();
        assert!(answer.items.len() <= limit);
        found.extend(answer.items);
        match answer.next {
            Some(next) => page.after = Some(next),
            None => return found,
        }
    }
}

pub(super) fn body(event: &StoredEvent) -> String {
    let record = LogRecord::decode(event.message.as_slice()).unwrap();
    match record.body.and_then(|body| body.value) {
        Some(Value::StringValue(text)) => text,
        other => panic!("{other:?}"),
    }
}

pub(super) fn bodies(events: &[StoredEvent]) -> Vec<String> {
    events.iter().map(body).collect()
}

// Scenario: the same request in one batch twice, in a later batch, beside new records and beside spans;
// two records of one request are equal to the last byte.
// Guarantees: what was sent once is stored once, equal records of one request are two events; what is
// read back is what was sent.
pub(crate) fn events_are_stored_once_and_as_sent(backend: &mut impl Backend) {
    let sent = logs(
        "api",
        vec![record(NOW, "a"), record(NOW, "a"), linked(NOW + 1, 1, 2)],
    );
    let report = write_logs(backend, PROJECT, 1, &[sent.clone(), sent.clone()]);
    assert_eq!((report.events_stored, report.events_duplicate), (3, 3));
    let before = listed(backend, &EventFilter::default(), 10);
    assert_eq!(bodies(&before), ["1.2", "a", "a"]);
    let more = logs("api", vec![record(NOW - 5, "b")]);
    let report = write_logs(backend, PROJECT, 3, &[sent.clone(), more]);
    assert_eq!((report.events_stored, report.events_duplicate), (1, 3));
    assert_eq!(backend.checkpoint(), Position(5));
    let after = listed(backend, &EventFilter::default(), 2);
    assert_eq!(after[..3], before[..]);
    write(backend, PROJECT, 5, &[request("api", vec![span(1, 2)])]);
    assert_eq!(listed(backend, &EventFilter::default(), 10), after);

    let event = &after[0];
    let sent = &sent.resource_logs[0];
    let message = LogRecord::decode(event.message.as_slice()).unwrap();
    assert_eq!(message, sent.scope_logs[0].log_records[2]);
    let resource = Resource::decode(event.resource.message.as_slice()).unwrap();
    assert_eq!(
        (Some(resource), &event.resource.schema_url),
        (sent.resource.clone(), &sent.schema_url)
    );
    let scope = InstrumentationScope::decode(event.scope.message.as_slice()).unwrap();
    assert_eq!(Some(scope), sent.scope_logs[0].scope);
    assert_eq!(event.scope.schema_url, "https://example.com/scope");
    let columns = &event.columns;
    assert_eq!(
        (columns.severity, columns.severity_text.as_deref()),
        (9, Some("INFO"))
    );
    assert_eq!(
        (columns.trace_id, columns.span_id),
        (Some(trace_id(1)), Some(span_id(2)))
    );
    assert_eq!(columns.service_name, "api");
    assert_eq!(columns.environment.as_deref(), Some("api-env"));
    assert_eq!(columns.release.as_deref(), Some("1.2"));
    assert_eq!(columns.facts.name.as_deref(), Some("gen_ai.choice"));
    assert_eq!(columns.received_unix_nano, NOW);
    let reader = backend.reader();
    let one = |project, id| runtime().block_on(reader.event(project, id)).unwrap();
    assert_eq!(one(PROJECT, columns.id).as_ref(), Some(event));
    assert_eq!(one(ProjectId(9), columns.id), None);
    let unknown = EventId {
        digest: [0; 16],
        ..columns.id
    };
    assert_eq!(one(PROJECT, unknown), None);
}

// Scenario: every column has a value, one of them with a character that not every store can hold.
// Guarantees: all come back.
pub(crate) fn every_column_of_an_event_comes_back(backend: &mut impl Backend) {
    let int = |key: &str, value: i64| KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            value: Some(Value::IntValue(value)),
        }),
        ..KeyValue::default()
    };
    let sent = LogRecord {
        observed_time_unix_nano: NOW + 7,
        severity_number: 17,
        severity_text: "a\0b".to_owned(),
        event_name: "claude_code.api_request".to_owned(),
        attributes: vec![
            text("session.id", "s1"),
            text("model", "m"),
            int("input_tokens", 10),
            int("output_tokens", 5),
            int("cache_read_tokens", 2),
            int("cache_creation_tokens", 3),
            text("cost_usd", "0.5"),
            int("duration_ms", 4),
        ],
        ..record(NOW, "it broke\0")
    };
    write_logs(backend, PROJECT, 1, &[logs("a\0pi", vec![sent.clone()])]);
    let found = listed(backend, &EventFilter::default(), 10).remove(0);
    assert_eq!(LogRecord::decode(found.message.as_slice()).unwrap(), sent);
    let facts = &found.columns.facts;
    assert_eq!(facts.name.as_deref(), Some("claude_code.api_request"));
    assert_eq!(
        (facts.session_id.as_deref(), facts.model.as_deref()),
        (Some("s1"), Some("m"))
    );
    let usage = facts.usage;
    assert_eq!((usage.input, usage.output), (Some(15), Some(5)));
    assert_eq!(
        (usage.cache_read, usage.cache_write, usage.reasoning),
        (Some(2), Some(3), None)
    );
    assert_eq!(
        (facts.cost_nano_usd, facts.duration_ns),
        (Some(500_000_000), Some(4_000_000))
    );
    assert!(facts.fingerprint.is_some());
    assert_eq!(found.columns.observed_unix_nano, NOW + 7);
}

/// Writes forty events; answers their numbers.
fn write_forty(backend: &mut impl Backend) -> Vec<u64> {
    let mut expected = Vec::new();
    for number in 0..40_u64 {
        let time = NOW + number / 4;
        let even = number.is_multiple_of(2);
        let mut sent = if number.is_multiple_of(5) {
            linked(time, 1 + u8::from(even), number)
        } else {
            record(time, "")
        };
        sent.body = text("", &format!("{number:02}")).value;
        sent.severity_number = if number.is_multiple_of(3) { 17 } else { 9 };
        sent.attributes = vec![text("session.id", if number < 20 { "old" } else { "new" })];
        sent.attributes.push(text("number", &number.to_string()));
        let service = if even { "even" } else { "odd" };
        write_logs(backend, PROJECT, number + 1, &[logs(service, vec![sent])]);
        expected.push(number);
    }
    expected
}

// Scenario: forty events of two services, some linked, some errors, at four to a time.
// Guarantees: each filter answers exactly its events, newest first, in pages of any size.
pub(crate) fn each_event_filter_answers_exactly_its_events(backend: &mut impl Backend) {
    let expected = write_forty(backend);
    let backend = &*backend;
    let numbers = |filter: &EventFilter| -> Vec<u64> {
        let found = listed(backend, filter, 40);
        for limit in [1, 3, 7] {
            assert_eq!(listed(backend, filter, limit), found, "{filter:?}");
        }
        let ids: Vec<_> = found.iter().map(|event| event.columns.id).collect();
        assert!(ids.is_sorted_by(|a, b| a > b), "{filter:?}");
        let mut numbers: Vec<u64> = bodies(&found)
            .iter()
            .map(|it| it.parse().unwrap())
            .collect();
        numbers.sort_unstable();
        numbers
    };
    let only = |keep: fn(&u64) -> bool| expected.iter().copied().filter(keep).collect::<Vec<_>>();
    let none = EventFilter::default();
    assert_eq!(numbers(&none), expected);
    let with = |change: fn(&mut EventFilter)| {
        let mut filter = none.clone();
        change(&mut filter);
        numbers(&filter)
    };
    assert_eq!(
        with(|it| it.service = Some("even".to_owned())),
        only(|n| n % 2 == 0)
    );
    assert_eq!(
        with(|it| it.environment = Some("odd-env".to_owned())),
        only(|n| n % 2 == 1)
    );
    assert_eq!(with(|it| it.severity_min = Some(10)), only(|n| n % 3 == 0));
    assert_eq!(
        with(|it| it.name = Some("gen_ai.choice".to_owned())),
        only(|n| n % 5 == 0)
    );
    assert_eq!(
        with(|it| it.trace_id = Some(trace_id(2))),
        only(|n| n % 10 == 0)
    );
    assert_eq!(with(|it| it.span_id = Some(span_id(15))), [15]);
    assert_eq!(
        with(|it| it.session_id = Some("old".to_owned())),
        only(|n| *n < 20)
    );
    let attribute = |key: &str, value: &str| EventFilter {
        attributes: vec![AttributeEquals {
            key: key.to_owned(),
            value: value.to_owned(),
            or_absent: false,
        }],
        ..EventFilter::default()
    };
    assert_eq!(numbers(&attribute("number", "7")), [7]);
    assert_eq!(
        numbers(&attribute("service.name", "odd")),
        only(|n| n % 2 == 1)
    );
    assert_eq!(numbers(&attribute("number", "none")), [0; 0]);
    let ranged = EventFilter {
        range: TimeRange {
            start_unix_nano: Some(NOW + 2),
            end_unix_nano: Some(NOW + 4),
        },
        service: Some("even".to_owned()),
        trace_id: None,
        ..EventFilter::default()
    };
    assert_eq!(numbers(&ranged), [8, 10, 12, 14]);
}

// Scenario: events of a trace and its spans, of another trace, of another project, and more of one
// trace than are answered at once.
// Guarantees: each is found with what it belongs to, oldest first, and what is cut is said.
pub(crate) fn events_are_found_by_trace_and_span(backend: &mut impl Backend) {
    let mut lone = linked(NOW + 9, 1, 1);
    lone.span_id.clear();
    let sent = vec![
        linked(NOW + 3, 1, 2),
        linked(NOW + 1, 1, 1),
        linked(NOW, 2, 1),
        lone,
    ];
    write_logs(backend, PROJECT, 1, &[logs("api", sent.clone())]);
    write_logs(backend, ProjectId(7), 2, &[logs("theirs", sent)]);
    let many = (0..=EVENTS_OF_TRACE_MAX as u64).map(|n| linked(NOW + n, 3, n + 1));
    write_logs(backend, PROJECT, 3, &[logs("api", many.collect())]);
    let of = |trace, span| {
        let found = backend.reader().events_of(PROJECT, trace_id(trace), span);
        runtime().block_on(found).unwrap()
    };
    let trace = of(1, None);
    assert_eq!(
        (bodies(&trace.events).join(" "), trace.is_cut),
        ("1.1 1.2 1.1".to_owned(), false)
    );
    assert!(
        trace
            .events
            .iter()
            .all(|event| event.columns.service_name == "api")
    );
    assert_eq!(bodies(&of(1, Some(span_id(2))).events), ["1.2"]);
    assert_eq!(of(4, None).events, []);
    let long = of(3, None);
    assert_eq!(
        (long.events.len(), long.is_cut),
        (EVENTS_OF_TRACE_MAX, true)
    );
    assert_eq!(body(&long.events[0]), "3.1");
}

// Scenario: events without a time, from long ago, far ahead and at the end of what a clock can say.
// Guarantees: each is stored once, and read back.
pub(crate) fn events_of_any_time_are_kept(backend: &mut impl Backend) {
    let day = 86_400_000_000_000;
    let times = [0, 1, NOW - 40 * day, NOW, NOW + 40 * day, u64::MAX];
    let sent = logs("api", times.iter().map(|time| record(*time, "a")).collect());
    for position in 1..=2 {
        write_logs(backend, PROJECT, position, std::slice::from_ref(&sent));
    }
    let found = listed(backend, &EventFilter::default(), 4);
    let found: Vec<_> = found
        .iter()
        .map(|event| event.columns.id.unix_nano)
        .collect();
    let mut expected = times.map(|time| time.min(i64::MAX as u64));
    expected.reverse();
    assert_eq!(found, expected);
}

// Scenario: events are refused and set aside twice.
// Guarantees: the store takes them.
pub(crate) fn refused_events_are_kept(backend: &mut impl Backend) {
    let records = [Record {
        position: Position(1),
        project: PROJECT,
        received_unix_nano: NOW,
        kind: PayloadKind::OtlpLogs,
        payload: Bytes::from(logs("api", vec![record(NOW, "a")]).encode_to_vec()),
    }];
    let limits = limits::Config::default();
    let (batch, _) = Assembler::new(0, &limits)
        .of_log(LogId::default())
        .assemble(&records);
    let batch: &Batch<'_> = &batch;
    let events: &[EventRow<'_>] = &batch.events;
    for _ in 0..2 {
        let kept = backend.writer().quarantine_event(&events[0], "no\0good");
        runtime().block_on(kept).unwrap();
    }
    assert_eq!(listed(backend, &EventFilter::default(), 10), []);
}

/// Deletes what is older than a time, as far as it goes.
fn retain(backend: &mut impl Backend, now: u64) {
    loop {
        let step = backend.writer().enforce_retention(now);
        if !runtime().block_on(step).unwrap().more {
            return;
        }
    }
}

// Scenario: events arrive, with times of long before and of far ahead; nothing else is stored. Later
// they are too old by their arrival.
// Guarantees: none goes for its own time, all go with their arrival, and what comes later is stored.
pub(crate) fn events_go_by_their_arrival(backend: &mut impl Backend) {
    let day = 86_400_000_000_000;
    let times = [1, NOW - 3 * day, NOW, NOW + 2 * day, NOW + 400 * day];
    let sent = logs("api", times.iter().map(|time| record(*time, "a")).collect());
    write_logs(backend, PROJECT, 1, std::slice::from_ref(&sent));
    retain(backend, NOW + 20 * day);
    assert_eq!(listed(backend, &EventFilter::default(), 10).len(), 5);
    retain(backend, NOW + 36 * day);
    assert_eq!(listed(backend, &EventFilter::default(), 10), []);
    let report = write_logs(backend, PROJECT, 2, std::slice::from_ref(&sent));
    assert_eq!(report.events_stored + report.events_duplicate, 5);
    assert_eq!(report.events_duplicate, 0);
    assert_eq!(listed(backend, &EventFilter::default(), 10).len(), 5);
}

/// Records of a source, one a nanosecond.
fn of_source(source: EventSource, count: u64) -> ExportLogsServiceRequest {
    let records = (0..count).map(|number| record(NOW + number, source.as_str()));
    let mut request = logs("app", records.collect());
    for scopes in request
        .resource_logs
        .iter_mut()
        .flat_map(|it| &mut it.scope_logs)
    {
        source
            .scope()
            .clone_into(&mut scopes.scope.as_mut().unwrap().name);
    }
    request
}

/// What was done to the project, newest first.
fn noted(access: &dyn AccessStore) -> Vec<String> {
    let page = PageRequest {
        limit: 10,
        after: None,
    };
    let entries = runtime().block_on(access.audit(Some(PROJECT), page));
    let entries = entries.unwrap().items.into_iter();
    entries.map(|entry| entry.action).collect()
}

// Scenario: two projects have events of three sources at the same times. Those of one source are
// listed; one project's of PulseBoard are deleted, step by step, and sent again.
// Guarantees: a list by source has those of the source, all of them, once; what is deleted is that,
// counted and noted once, and no more; what is sent after that is new.
pub(super) fn events_of_a_source_are_listed_and_deleted(
    backend: &mut impl Backend,
    issues: &dyn IssueStore,
    access: &dyn AccessStore,
) {
    const MORE: u64 = 100;
    let board = of_source(EventSource::PulseBoard, u64::from(EVENTS_PER_STEP) + MORE);
    let requests = [
        board.clone(),
        of_source(EventSource::PulseBoardAnalytics, 30),
        of_source(EventSource::Otlp, 30),
    ];
    for (position, project) in [(0, PROJECT), (10, ProjectId(2))] {
        write_logs(backend, project, position, &requests);
    }
    let by = |source: EventSource| EventFilter {
        source: Some(source),
        ..EventFilter::default()
    };
    let told = by(EventSource::PulseBoardAnalytics);
    for limit in [7, 30, 500] {
        let found = listed(backend, &told, limit);
        let times: Vec<_> = found
            .iter()
            .map(|it| it.columns.id.unix_nano - NOW)
            .collect();
        assert_eq!(times, (0..30).rev().collect::<Vec<_>>());
        let source = EventSource::PulseBoardAnalytics;
        assert!(found.iter().all(|it| it.columns.source == source));
    }
    let late = EventFilter {
        range: TimeRange {
            start_unix_nano: Some(NOW + 10),
            end_unix_nano: Some(NOW + 20),
        },
        ..told
    };
    let of_range = listed(backend, &late, 500).len();
    assert!((10..=11).contains(&of_range), "{of_range}");
    assert_eq!(listed(backend, &by(EventSource::Otlp), 500).len(), 30);

    let delete = |until: u64| {
        let change = crate::storage::access::Change {
            by: "a test".to_owned(),
            at_unix_nano: NOW,
        };
        let deleting = issues.delete_some(PROJECT, until, Some(change));
        runtime().block_on(deleting).unwrap()
    };
    let noted = || noted(access);
    assert_eq!((delete(NOW - 1), noted()), (0, Vec::new()));
    assert_eq!(delete(NOW), u64::from(EVENTS_PER_STEP));
    assert_eq!(delete(NOW), MORE);
    assert_eq!(delete(NOW), 0);
    assert_eq!(noted(), ["project.delete_events"; 2]);
    let source = EventSource::PulseBoard;
    let latest = |project| {
        runtime()
            .block_on(issues.latest(project, source, 5))
            .unwrap()
    };
    assert_eq!((latest(PROJECT).len(), latest(ProjectId(2)).len()), (0, 5));
    let left = listed(backend, &EventFilter::default(), 500);
    assert_eq!(left.len(), 60);
    assert!(left.iter().all(|it| it.columns.source != source));

    write_logs(backend, PROJECT, 20, &[board]);
    assert_eq!(latest(PROJECT).len(), 5);
    let all = listed(backend, &EventFilter::default(), 500).len() as u64;
    assert_eq!(all, 60 + u64::from(EVENTS_PER_STEP) + MORE);
}
