//! Metrics: what every store must do with them.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::model::metric::MetricKind;
use crate::otlp::json::decode_metrics;
use crate::storage::metrics::query::{
    Aggregation, Group, MetricFilter, MetricQuery, MetricSummary, NoAnswer,
};
use crate::storage::query::AttributeEquals;

const SECOND: u64 = 1_000_000_000;
const MINUTE: u64 = 60 * SECOND;
const DAY: u64 = 86_400 * SECOND;
/// A whole hour before the data was received.
const START: u64 = NOW / (60 * MINUTE) * (60 * MINUTE) - 60 * MINUTE;

/// A delta sum of a service: seconds after the start, value, and the attribute `model`.
pub(super) fn sums(
    service: &str,
    name: &str,
    points: &[(u64, i64, &str)],
) -> ExportMetricsServiceRequest {
    let points = points.iter().map(|(seconds, value, model)| {
        json!({
            "timeUnixNano": (START + seconds * SECOND).to_string(),
            "asInt": value.to_string(),
            "attributes": [{"key": "model", "value": {"stringValue": model}}],
        })
    });
    let points: Vec<_> = points.collect();
    let request = json!({"resourceMetrics": [{
        "resource": {"attributes": [
            {"key": "service.name", "value": {"stringValue": service}},
            {"key": "deployment.environment.name", "value": {"stringValue": "prod"}},
        ]},
        "scopeMetrics": [{"scope": {"name": "meter"}, "metrics": [{
            "name": name, "unit": "{token}", "description": "Tokens.",
            "sum": {"aggregationTemporality": 1, "isMonotonic": true, "dataPoints": points},
        }]}],
    }]});
    decode_metrics(request.to_string().as_bytes()).unwrap()
}

pub(super) fn write_at(
    backend: &mut impl Backend,
    project: ProjectId,
    received: u64,
    series_max: u32,
    requests: &[ExportMetricsServiceRequest],
) -> WriteReport {
    let position = backend.checkpoint().0;
    let records: Vec<_> = (position..)
        .zip(requests)
        .map(|(position, request)| Record {
            position: Position(position),
            project,
            received_unix_nano: received,
            kind: PayloadKind::OtlpMetrics,
            payload: Bytes::from(request.encode_to_vec()),
        })
        .collect();
    let limits = limits::Config {
        max_metric_series: series_max,
        ..limits::Config::default()
    };
    let (batch, _) = Assembler::new(0, &limits).assemble(&records);
    runtime().block_on(backend.writer().write(&batch)).unwrap()
}

fn write_metrics(
    backend: &mut impl Backend,
    requests: &[ExportMetricsServiceRequest],
) -> WriteReport {
    write_at(backend, PROJECT, NOW, 1000, requests)
}

fn query(name: &str, group_by: &[&str]) -> MetricQuery {
    MetricQuery {
        name: name.to_owned(),
        start_unix_nano: START,
        end_unix_nano: START + 60 * MINUTE,
        step_ns: None,
        group_by: group_by.iter().map(|it| (*it).to_owned()).collect(),
        service: None,
        environment: None,
        attributes: Vec::new(),
        aggregation: Some(Aggregation::Sum),
        groups_max: 100,
    }
}

fn groups_of(backend: &impl Backend, project: ProjectId, query: &MetricQuery) -> Vec<Group> {
    let answer = runtime().block_on(backend.reader().metric(project, query));
    answer.unwrap().unwrap().groups
}

/// The groups and what is answered of them, in few words.
fn told(backend: &impl Backend, query: &MetricQuery) -> Vec<(String, Vec<f64>)> {
    let groups = groups_of(backend, PROJECT, query).into_iter();
    let groups = groups.map(|group| {
        let values = group.values.into_iter().map(|it| it.unwrap_or("-".into()));
        let points = group.points.iter().map(|(_, value)| *value);
        (values.collect::<Vec<_>>().join("/"), points.collect())
    });
    groups.collect()
}

fn listed(backend: &impl Backend, filter: &MetricFilter, limit: usize) -> Vec<MetricSummary> {
    let mut page = PageRequest { limit, after: None };
    let mut found = Vec::new();
    loop {
        let answer = backend.reader().list_metrics(PROJECT, filter, &page);
        let answer = runtime().block_on(answer).unwrap();
        assert!(answer.items.len() <= limit);
        found.extend(answer.items);
        match answer.next {
            Some(next) => page.after = Some(next),
            None => return found,
        }
    }
}

// Scenario: the same points in one batch twice, in a later batch beside new ones, and after the program
// that wrote them was started anew.
// Guarantees: each counts once; another project has nothing of it.
pub(super) fn points_are_stored_once(backend: &mut impl Backend) {
    let sent = sums("api", "tokens", &[(1, 10, "a"), (61, 5, "a"), (1, 7, "b")]);
    let report = write_metrics(backend, &[sent.clone(), sent.clone()]);
    assert_eq!((report.points_stored, report.points_duplicate), (3, 3));
    let by_model = query("tokens", &["model"]);
    let expected = [("a".to_owned(), vec![15.0]), ("b".to_owned(), vec![7.0])];
    assert_eq!(told(backend, &by_model), expected);
    let more = sums("api", "tokens", &[(61, 5, "a"), (121, 1, "a")]);
    let report = write_metrics(backend, &[sent, more.clone()]);
    assert_eq!((report.points_stored, report.points_duplicate), (1, 4));
    // Retention forgets what the writer remembers.
    runtime()
        .block_on(backend.writer().enforce_retention(NOW))
        .unwrap();
    let report = write_metrics(backend, &[more]);
    assert_eq!((report.points_stored, report.points_duplicate), (0, 2));
    assert_eq!(
        told(backend, &query("tokens", &[])),
        [(String::new(), vec![23.0])]
    );
    let unknown = runtime().block_on(backend.reader().metric(ProjectId(9), &by_model));
    assert_eq!(unknown.unwrap(), Err(NoAnswer::Unknown));
}

// Scenario: metrics of several names and services.
// Guarantees: each filter of lists and of questions answers exactly its own, over pages of any size.
pub(super) fn metrics_are_listed_and_filtered(backend: &mut impl Backend) {
    write_metrics(
        backend,
        &[
            sums("api", "tokens.used", &[(1, 1, "a"), (1, 2, "b")]),
            sums("web", "tokens.used", &[(2, 4, "a")]),
            sums("web", "tokens.left", &[(3, 8, "a")]),
            sums("web", "other.name", &[(3, 8, "a\u{0}")]),
        ],
    );
    let names = |filter: &MetricFilter| {
        let found = [1, 2, 10].map(|limit| listed(backend, filter, limit));
        assert_eq!(found[0], found[1]);
        assert_eq!(found[0], found[2]);
        let named = found[0]
            .iter()
            .map(|it| (it.key.name.clone(), it.series_count));
        named.collect::<Vec<_>>()
    };
    let of = |prefix: Option<&str>, service: Option<&str>| MetricFilter {
        prefix: prefix.map(str::to_owned),
        service: service.map(str::to_owned),
    };
    let expect = |found: Vec<(String, u64)>, expected: &[(&str, u64)]| {
        let expected: Vec<_> = expected
            .iter()
            .map(|(n, c)| ((*n).to_owned(), *c))
            .collect();
        assert_eq!(found, expected);
    };
    let (left, used) = ("tokens.left", "tokens.used");
    expect(
        names(&of(None, None)),
        &[("other.name", 1), (left, 1), (used, 3)],
    );
    expect(names(&of(Some("tok"), None)), &[(left, 1), (used, 3)]);
    expect(names(&of(Some("tokens.u"), None)), &[(used, 3)]);
    expect(names(&of(None, Some("api"))), &[(used, 2)]);
    expect(names(&of(Some("zzz"), None)), &[]);
    let item = &listed(backend, &of(Some(used), None), 5)[0];
    assert_eq!(
        (item.key.kind, item.key.unit.as_str()),
        (MetricKind::Sum, "{token}")
    );
    assert_eq!(item.description, "Tokens.");
    assert_eq!(item.services, ["api", "web"]);
    assert!(!item.has_overflow);
    assert!(NOW - item.last_seen_unix_nano < 15 * MINUTE);
    questions_are_filtered(backend);
}

fn questions_are_filtered(backend: &impl Backend) {
    let used = "tokens.used";
    let with = |change: &dyn Fn(&mut MetricQuery)| {
        let mut query = query(used, &["service.name", "model"]);
        change(&mut query);
        told(backend, &query)
    };
    let all = [("api/a", 1.0), ("api/b", 2.0), ("web/a", 4.0)];
    let some = |places: &[usize]| -> Vec<_> {
        let chosen = places.iter().map(|it| all[*it]);
        chosen
            .map(|(group, sum)| (group.to_owned(), vec![sum]))
            .collect()
    };
    assert_eq!(with(&|_| {}), some(&[0, 1, 2]));
    assert_eq!(with(&|it| it.service = Some("web".into())), some(&[2]));
    assert_eq!(
        with(&|it| it.environment = Some("prod".into())),
        some(&[0, 1, 2])
    );
    assert_eq!(with(&|it| it.environment = Some("x".into())), some(&[]));
    let equals = |key: &str, value: &str| AttributeEquals {
        key: key.to_owned(),
        value: value.to_owned(),
        or_absent: false,
    };
    assert_eq!(
        with(&|it| it.attributes = vec![equals("model", "a")]),
        some(&[0, 2])
    );
    let both = vec![equals("model", "a"), equals("service.name", "api")];
    assert_eq!(with(&|it| it.attributes = both.clone()), some(&[0]));
    let cut = with(&|it| it.groups_max = 2);
    assert_eq!(cut, some(&[0, 1]));
}

// Scenario: a project may have two series, and five come; later they are sent again.
// Guarantees: nothing is lost and nothing counts twice; those beyond the limit share one series, of which
// each one's points are told apart.
pub(super) fn series_beyond_the_limit_share_one(backend: &mut impl Backend) {
    let sent = sums(
        "api",
        "tokens",
        &[
            (1, 1, "a"),
            (1, 2, "b"),
            (1, 4, "c"),
            (1, 8, "d"),
            (1, 16, "e"),
        ],
    );
    let report = write_at(backend, PROJECT, NOW, 2, std::slice::from_ref(&sent));
    assert_eq!((report.points_stored, report.points_overflow), (5, 3));
    for series_max in [2, 100] {
        let report = write_at(
            backend,
            PROJECT,
            NOW,
            series_max,
            std::slice::from_ref(&sent),
        );
        assert_eq!(
            (report.points_stored, report.points_duplicate),
            (0, 5),
            "{series_max}"
        );
    }
    assert_eq!(
        told(backend, &query("tokens", &[])),
        [(String::new(), vec![31.0])]
    );
    let by_model = told(
        backend,
        &query("tokens", &["model", "otel.metric.overflow"]),
    );
    assert_eq!(by_model[0], ("-/true".to_owned(), vec![28.0]));
    let more = sums("api", "tokens", &[(61, 32, "e")]);
    let report = write_at(backend, PROJECT, NOW, 100, &[more]);
    assert_eq!((report.points_stored, report.points_overflow), (1, 0));
    assert_eq!(
        told(backend, &query("tokens", &[])),
        [(String::new(), vec![63.0])]
    );
    let item = &listed(backend, &MetricFilter::default(), 5)[0];
    assert!(item.has_overflow);
    // Another project has room of its own.
    let report = write_at(
        backend,
        ProjectId(2),
        NOW,
        2,
        &[sums("api", "t", &[(1, 1, "a")])],
    );
    assert_eq!((report.points_stored, report.points_overflow), (1, 0));
}

// Scenario: points of long ago and of the far future, old and new arrivals; then retention runs.
// Guarantees: points go by their arrival, whatever their time; series go after them.
pub(super) fn points_go_by_their_arrival(backend: &mut impl Backend) {
    let old = sums("api", "old", &[(1, 1, "a")]);
    let new = sums("api", "new", &[(1, 2, "a")]);
    let mut far = sums("api", "far", &[(1, 4, "a")]);
    let metric = &mut far.resource_metrics[0].scope_metrics[0].metrics[0];
    if let Some(opentelemetry_proto::tonic::metrics::v1::metric::Data::Sum(sum)) = &mut metric.data
    {
        sum.data_points[0].time_unix_nano = i64::MAX.cast_unsigned();
        let mut first = sum.data_points[0].clone();
        first.time_unix_nano = 1;
        sum.data_points.push(first);
    }
    let report = write_at(backend, PROJECT, NOW, 100, &[old]);
    assert_eq!(report.points_stored, 1);
    let late = NOW + 29 * DAY;
    assert_eq!(
        write_at(backend, PROJECT, late, 100, &[new, far]).points_stored,
        3
    );
    let whole = |name| MetricQuery {
        start_unix_nano: 0,
        end_unix_nano: u64::MAX,
        ..query(name, &[])
    };
    assert_eq!(told(backend, &whole("far")), [(String::new(), vec![8.0])]);
    while runtime()
        .block_on(backend.writer().enforce_retention(NOW + 32 * DAY))
        .unwrap()
        .more
    {}
    let names = |backend: &_| -> Vec<_> {
        let found = listed(backend, &MetricFilter::default(), 10).into_iter();
        found.map(|it| it.key.name).collect()
    };
    assert_eq!(names(backend), ["far", "new"]);
    assert_eq!(told(backend, &whole("new")), [(String::new(), vec![2.0])]);
    assert_eq!(told(backend, &whole("far")), [(String::new(), vec![8.0])]);
    while runtime()
        .block_on(backend.writer().enforce_retention(NOW + 70 * DAY))
        .unwrap()
        .more
    {}
    assert_eq!(names(backend), [""; 0]);
}

// Scenario: a point that the store refused is set aside twice.
// Guarantees: that is no error, and stores nothing.
pub(super) fn refused_points_are_kept(backend: &mut impl Backend) {
    let records = [Record {
        position: Position(1),
        project: PROJECT,
        received_unix_nano: NOW,
        kind: PayloadKind::OtlpMetrics,
        payload: Bytes::from(sums("api", "tokens", &[(1, 1, "a")]).encode_to_vec()),
    }];
    let limits = limits::Config::default();
    let (batch, _) = Assembler::new(0, &limits).assemble(&records);
    let point = &batch.metrics.points[0];
    for _ in 0..2 {
        let set_aside = backend
            .writer()
            .quarantine_point(&batch.metrics, point, "a\0 reason");
        runtime().block_on(set_aside).unwrap();
    }
    assert_eq!(listed(backend, &MetricFilter::default(), 5), []);
}

/// A cumulative histogram and a delta sum at some minutes.
fn mixed(minutes: &[u64]) -> ExportMetricsServiceRequest {
    let time = |minute: u64| (START + minute * MINUTE).to_string();
    let start = START.to_string();
    let histogram = minutes.iter().map(|minute| {
        json!({"startTimeUnixNano": start, "timeUnixNano": time(*minute), "count": 3 * minute,
            "sum": minute, "bucketCounts": [minute, 0, 2 * minute], "explicitBounds": [1, 2]})
    });
    let sum = minutes
        .iter()
        .map(|minute| json!({"timeUnixNano": time(*minute), "asDouble": 0.5}));
    let request = json!({"resourceMetrics": [{"scopeMetrics": [{"metrics": [
        {"name": "h", "histogram": {"aggregationTemporality": 2,
            "dataPoints": histogram.collect::<Vec<_>>()}},
        {"name": "s", "sum": {"aggregationTemporality": 1, "dataPoints": sum.collect::<Vec<_>>()}},
    ]}]}]});
    decode_metrics(request.to_string().as_bytes()).unwrap()
}

/// Everything that can be asked of them.
fn answers(backend: &impl Backend) -> String {
    let ask = |name: &str, aggregation| {
        let query = MetricQuery {
            step_ns: Some(5 * MINUTE),
            aggregation: Some(aggregation),
            ..query(name, &[])
        };
        groups_of(backend, PROJECT, &query)
    };
    let of_histogram = [
        Aggregation::Count,
        Aggregation::Sum,
        Aggregation::Quantile(90),
    ];
    let answers: Vec<_> = of_histogram.map(|it| ask("h", it)).into();
    format!("{answers:?} {:?}", ask("s", Aggregation::Sum))
}

// Scenario: a client sends a point every nanosecond, more than a part of a chunk holds; then some of the
// middle again, with new ones between them and of another quarter of an hour.
// Guarantees: each counts once, whatever part it lies in.
pub(super) fn dense_points_are_stored_once(backend: &mut impl Backend) {
    let request = |times: &mut dyn Iterator<Item = u64>| {
        let points = times.map(|time| {
            json!({"timeUnixNano": (START + time).to_string(), "asInt": "1", "attributes": []})
        });
        let points: Vec<_> = points.collect();
        let request = json!({"resourceMetrics": [{"scopeMetrics": [{"metrics": [{
            "name": "dense", "sum": {"aggregationTemporality": 1, "dataPoints": points},
        }]}]}]});
        decode_metrics(request.to_string().as_bytes()).unwrap()
    };
    for batch in 0..6_u64 {
        let first = batch * 20_000;
        // Every second one.
        let sent = request(&mut (first..first + 20_000).step_by(2));
        assert_eq!(write_metrics(backend, &[sent]).points_stored, 10_000);
    }
    let again = request(&mut (30_000..30_100).chain([20 * MINUTE]));
    let report = write_metrics(backend, std::slice::from_ref(&again));
    assert_eq!((report.points_stored, report.points_duplicate), (51, 50));
    let report = write_metrics(backend, &[again]);
    assert_eq!((report.points_stored, report.points_duplicate), (0, 101));
    assert_eq!(
        told(backend, &query("dense", &[])),
        [(String::new(), vec![60_051.0])]
    );
}

// Scenario: points of many minutes are delivered in any order, split in any way, some of them again and
// again; by a backend each.
// Guarantees: every answer is as if they had come once, in order.
pub(super) fn any_order_of_deliveries_gives_the_same_answers<B: Backend>(
    open: impl Fn() -> B,
    cases: u32,
) {
    let minutes: Vec<u64> = (1..50).collect();
    let mut in_order = open();
    let report = write_metrics(&mut in_order, &[mixed(&minutes)]);
    assert_eq!(report.points_stored, 98);
    let expected = answers(&in_order);
    let orders = (
        Just(minutes).prop_shuffle(),
        vec(1..50_u64, 0..30),
        1..20_usize,
    );
    let config = ProptestConfig {
        cases,
        ..ProptestConfig::default()
    };
    proptest!(config, |((order, again, size) in orders)| {
        let mut backend = open();
        let mut stored = 0;
        let deliveries: Vec<u64> = again.into_iter().chain(order).collect();
        for batch in deliveries.chunks(size) {
            stored += write_metrics(&mut backend, &[mixed(batch)]).points_stored;
        }
        prop_assert_eq!(stored, 98);
        prop_assert_eq!(answers(&backend), expected.clone());
    });
}
