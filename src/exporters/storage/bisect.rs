//! Writes a batch; when the store refuses its data, finds the rows that are to blame.
//!
//! A batch of n spans with one poison row takes about 2·log2(n) transactions. Every part that is
//! written keeps the checkpoint where it was, so that a crash in between replays the batch, whose
//! stored spans are then recognised; only the last, empty batch moves the checkpoint.

use std::collections::HashMap;

use crate::queue::Position;
use crate::storage::{
    Batch, Error, EventRow, MetricRows, PointRow, SpanRow, SpanWriter, WriteReport,
};

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Outcome {
    pub(super) report: WriteReport,
    /// Rows set aside.
    pub(super) quarantined: u64,
}

/// Writes a batch, setting aside what the store can never take.
///
/// # Errors
/// Any but [`Error::Poison`]: the whole call may be repeated.
pub(super) async fn write(
    writer: &mut dyn SpanWriter,
    batch: &Batch<'_>,
) -> Result<Outcome, Error> {
    match writer.write(batch).await {
        Ok(report) => Ok(Outcome {
            report,
            quarantined: 0,
        }),
        Err(Error::Poison { .. }) => narrow_down(writer, batch).await,
        Err(error) => Err(error),
    }
}

/// Some rows of a batch.
#[derive(Clone, Copy)]
struct Rows<'b, 'a> {
    spans: &'b [SpanRow<'a>],
    events: &'b [EventRow<'a>],
    points: &'b [PointRow],
}

impl<'b> Rows<'b, '_> {
    fn len(self) -> usize {
        self.spans.len() + self.events.len() + self.points.len()
    }

    /// Both halves, the second first; events follow spans, and points them.
    fn halves(self) -> [Self; 2] {
        let half = self.len().div_ceil(2);
        let of_spans = half.min(self.spans.len());
        let (spans, more_spans) = self.spans.split_at(of_spans);
        let half = half - of_spans;
        let of_events = half.min(self.events.len());
        let (events, more_events) = self.events.split_at(of_events);
        let (points, more_points) = self.points.split_at(half - of_events);
        let second = Self {
            spans: more_spans,
            events: more_events,
            points: more_points,
        };
        let first = Self {
            spans,
            events,
            points,
        };
        [second, first]
    }
}

async fn narrow_down(writer: &mut dyn SpanWriter, batch: &Batch<'_>) -> Result<Outcome, Error> {
    let mut outcome = Outcome::default();
    let all = Rows {
        spans: &batch.spans,
        events: &batch.events,
        points: &batch.metrics.points,
    };
    let mut parts = Vec::from(all.halves());
    while let Some(rows) = parts.pop() {
        if rows.len() == 0 {
            continue;
        }
        match writer.write(&part_of(batch, rows)).await {
            Ok(report) => {
                outcome.report.spans_stored += report.spans_stored;
                outcome.report.spans_duplicate += report.spans_duplicate;
                let sampled_out = &mut outcome.report.spans_sampled_out;
                sampled_out.add(report.spans_sampled_out);
                outcome.report.events_stored += report.events_stored;
                outcome.report.events_duplicate += report.events_duplicate;
                outcome.report.points_stored += report.points_stored;
                outcome.report.points_duplicate += report.points_duplicate;
                outcome.report.points_overflow += report.points_overflow;
            }
            Err(Error::Poison { context, source }) if rows.len() == 1 => {
                let reason = format!("{context}: {source}");
                match set_aside(writer, batch, rows, &reason).await {
                    // Not even as bytes: nothing is left to try.
                    Ok(()) | Err(Error::Poison { .. }) => outcome.quarantined += 1,
                    Err(error) => return Err(error),
                }
            }
            Err(Error::Poison { .. }) => parts.extend(rows.halves()),
            Err(error) => return Err(error),
        }
    }
    let nothing = Rows {
        spans: &[],
        events: &[],
        points: &[],
    };
    let end = Batch {
        next: batch.next,
        ..part_of(batch, nothing)
    };
    writer.write(&end).await?;
    Ok(outcome)
}

async fn set_aside(
    writer: &mut dyn SpanWriter,
    batch: &Batch<'_>,
    rows: Rows<'_, '_>,
    reason: &str,
) -> Result<(), Error> {
    for span in rows.spans {
        writer.quarantine(span, reason).await?;
    }
    for event in rows.events {
        writer.quarantine_event(event, reason).await?;
    }
    for point in rows.points {
        writer
            .quarantine_point(&batch.metrics, point, reason)
            .await?;
    }
    Ok(())
}

/// Some rows of a batch and what they refer to, as a batch that leaves the checkpoint where it is.
fn part_of<'a>(batch: &Batch<'a>, rows: Rows<'_, 'a>) -> Batch<'a> {
    let mut resources = Kept::of(&batch.resources);
    let mut scopes = Kept::of(&batch.scopes);
    let spans = rows.spans.iter().map(|span| SpanRow {
        resource: resources.keep(span.resource),
        scope: scopes.keep(span.scope),
        ..span.clone()
    });
    let spans = spans.collect();
    let events = rows.events.iter().map(|event| EventRow {
        resource: resources.keep(event.resource),
        scope: scopes.keep(event.scope),
        ..event.clone()
    });
    Batch {
        log_id: batch.log_id,
        partition: batch.partition,
        next: Position(0),
        spans,
        events: events.collect(),
        resources: resources.kept,
        scopes: scopes.kept,
        metrics: points_of(&batch.metrics, rows.points),
        remember_ns: batch.remember_ns,
    }
}

/// Some points and what they are of.
fn points_of<'a>(metrics: &MetricRows<'a>, points: &[PointRow]) -> MetricRows<'a> {
    let mut series = Kept::of(&metrics.series);
    let points = points.iter().map(|point| PointRow {
        series: series.keep(point.series),
        ..point.clone()
    });
    let points = points.collect();
    let mut resources = Kept::of(&metrics.resources);
    let mut scopes = Kept::of(&metrics.scopes);
    let mut series = series.kept;
    for series in &mut series {
        series.resource = resources.keep(series.resource);
        series.scope = scopes.keep(series.scope);
    }
    MetricRows {
        series_max: metrics.series_max,
        resources: resources.kept,
        scopes: scopes.kept,
        series,
        points,
    }
}

/// The rows of a list that a part needs.
struct Kept<'b, T> {
    all: &'b [T],
    kept: Vec<T>,
    /// Where a row of the list is among the kept.
    places: HashMap<usize, usize>,
}

impl<'b, T: Clone> Kept<'b, T> {
    fn of(all: &'b [T]) -> Self {
        Self {
            all,
            kept: Vec::new(),
            places: HashMap::new(),
        }
    }

    /// Keeps a row and answers where it is now.
    fn keep(&mut self, index: usize) -> usize {
        *self.places.entry(index).or_insert_with(|| {
            self.kept.extend(self.all.get(index).cloned());
            self.kept.len().saturating_sub(1)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::collections::BTreeMap;

    use futures_util::FutureExt as _;
    use futures_util::future::{BoxFuture, ready};

    use super::*;
    use crate::model::event::{EventFacts, EventId, EventSource};
    use crate::model::metric::{MetricKind, Point, SeriesId, Temporality, Value};
    use crate::model::span::{Basics, Kind, Status, TimeMarks};
    use crate::model::{ProjectId, SpanId, TraceId};
    use crate::otlp::protobuf::KeyValues;
    use crate::storage::metrics::identity::Instrument;
    use crate::storage::{ResourceRow, RetentionReport, ScopeRow, SeriesRow};

    /// Refuses spans whose name is `poison`, as a store with a constraint would.
    #[derive(Default)]
    struct Picky {
        /// Each span with the service and the scope it was written with.
        stored: BTreeMap<SpanId, (String, String)>,
        quarantined: Vec<SpanId>,
        events: Vec<EventId>,
        events_quarantined: Vec<EventId>,
        /// Times of points, with the service of each.
        points: Vec<(u64, String)>,
        points_quarantined: Vec<u64>,
        writes: usize,
        /// Resources and scopes in all writes.
        origins: usize,
        checkpoint: Position,
    }

    impl SpanWriter for Picky {
        fn write<'a>(
            &'a mut self,
            batch: &'a Batch<'a>,
        ) -> BoxFuture<'a, Result<WriteReport, Error>> {
            self.writes += 1;
            self.origins += batch.resources.len() + batch.scopes.len();
            let is_poison = |event: &EventRow<'_>| event.severity_text == "poison";
            let metrics = &batch.metrics;
            if batch.spans.iter().any(|span| span.name == "poison")
                || batch.events.iter().any(is_poison)
                || metrics
                    .points
                    .iter()
                    .any(|it| it.point.value == Value::Absent)
            {
                let source = "constraint".into();
                return ready(Err(Error::Poison {
                    context: "store",
                    source,
                }))
                .boxed();
            }
            self.stored.extend(batch.spans.iter().map(|span| {
                let service = batch.resources[span.resource].service_name.to_string();
                let scope = batch.scopes[span.scope].name.to_string();
                (span.span_id, (service, scope))
            }));
            self.checkpoint = self.checkpoint.max(batch.next);
            let spans_stored = batch.spans.len() as u64;
            self.events
                .extend(batch.events.iter().map(|event| event.id));
            self.points.extend(metrics.points.iter().map(|row| {
                let series = &metrics.series[row.series];
                let service = metrics.resources[series.resource].service_name.to_string();
                (row.point.time_unix_nano, service)
            }));
            ready(Ok(WriteReport {
                spans_stored,
                points_stored: metrics.points.len() as u64,
                events_stored: batch.events.len() as u64,
                ..WriteReport::default()
            }))
            .boxed()
        }

        fn quarantine<'a>(
            &'a mut self,
            span: &'a SpanRow<'a>,
            _reason: &'a str,
        ) -> BoxFuture<'a, Result<(), Error>> {
            self.quarantined.push(span.span_id);
            ready(Ok(())).boxed()
        }

        fn quarantine_event<'a>(
            &'a mut self,
            event: &'a EventRow<'a>,
            _reason: &'a str,
        ) -> BoxFuture<'a, Result<(), Error>> {
            self.events_quarantined.push(event.id);
            ready(Ok(())).boxed()
        }

        fn quarantine_point<'a>(
            &'a mut self,
            _rows: &'a MetricRows<'a>,
            point: &'a PointRow,
            _reason: &'a str,
        ) -> BoxFuture<'a, Result<(), Error>> {
            self.points_quarantined.push(point.point.time_unix_nano);
            ready(Ok(())).boxed()
        }

        fn remap_step<'a>(
            &'a mut self,
            _mapper: &'a dyn crate::storage::remap::Mapper,
        ) -> BoxFuture<'a, Result<Option<crate::storage::remap::Job>, Error>> {
            ready(Ok(None)).boxed()
        }

        fn enforce_retention<'a>(
            &'a mut self,
            _now_unix_nano: u64,
        ) -> BoxFuture<'a, Result<RetentionReport, Error>> {
            ready(Ok(RetentionReport::default())).boxed()
        }
    }

    fn resource(number: usize) -> ResourceRow<'static> {
        ResourceRow {
            project: ProjectId::DEFAULT,
            message: Cow::Borrowed(b""),
            schema_url: "",
            service_name: Cow::Owned(format!("service {number}")),
            service_version: None,
            service_instance: None,
            environment: None,
        }
    }

    fn scope(number: usize) -> ScopeRow<'static> {
        ScopeRow {
            project: ProjectId::DEFAULT,
            message: Cow::Borrowed(b""),
            schema_url: "",
            name: Cow::Owned(format!("scope {number}")),
            version: Cow::Borrowed(""),
        }
    }

    fn span(number: u64, name: &'static str) -> SpanRow<'static> {
        SpanRow {
            project: ProjectId::DEFAULT,
            trace_id: TraceId([1; 16]),
            span_id: SpanId(number.to_be_bytes()),
            parent_span_id: None,
            name: Cow::Borrowed(name),
            kind: Kind::Internal,
            status: Status::Unset,
            status_message: Cow::Borrowed(""),
            start_unix_nano: 1,
            end_unix_nano: 2,
            time_marks: TimeMarks::default(),
            resource: 0,
            scope: 0,
            received_unix_nano: 3,
            basics: Basics::default(),
            message: Cow::Borrowed(b""),
            scope_digest: 0,
            is_derived: false,
            is_recorded: false,
            sampled_out: None,
        }
    }

    fn event(number: u64, severity_text: &'static str) -> EventRow<'static> {
        EventRow {
            project: ProjectId::DEFAULT,
            id: EventId {
                unix_nano: number,
                digest: [0; 16],
            },
            observed_unix_nano: 0,
            received_unix_nano: 3,
            severity: 0,
            severity_text: Cow::Borrowed(severity_text),
            trace_id: None,
            span_id: None,
            source: EventSource::Otlp,
            facts: EventFacts::default(),
            outline: None,
            resource: 0,
            scope: 0,
            message: Cow::Borrowed(b""),
        }
    }

    // Scenario: points of two series among events, of which one can never be stored.
    // Guarantees: it costs only itself, and the others keep what they are of.
    #[tokio::test]
    async fn a_poison_point_costs_only_itself() {
        let series = [0, 1].map(|resource| SeriesRow {
            project: ProjectId::DEFAULT,
            id: SeriesId([7; 16]),
            instrument: Instrument {
                name: "m",
                unit: "",
                kind: MetricKind::Gauge,
                temporality: Temporality::None,
                is_monotonic: false,
            },
            description: "",
            attributes: KeyValues::default(),
            resource,
            scope: 0,
            received_unix_nano: 3,
        });
        let points = (1..=9).map(|time| PointRow {
            series: usize::from(time % 2 == 1),
            received_unix_nano: 3,
            point: Point {
                time_unix_nano: time,
                start_unix_nano: 0,
                value: if time == 6 {
                    Value::Absent
                } else {
                    Value::Int(1)
                },
                exemplars: Vec::new(),
            },
        });
        let batch = Batch {
            next: Position(4),
            events: vec![event(1, "fine")],
            resources: vec![resource(9)],
            scopes: vec![scope(0)],
            metrics: MetricRows {
                series_max: 5,
                resources: vec![resource(0), resource(1)],
                scopes: vec![scope(0)],
                series: series.to_vec(),
                points: points.collect(),
            },
            ..Batch::default()
        };
        let mut writer = Picky::default();
        let outcome = write(&mut writer, &batch).await.unwrap();
        assert_eq!((outcome.quarantined, outcome.report.points_stored), (1, 8));
        assert_eq!(writer.points_quarantined, [6]);
        writer.points.sort();
        let expected = (1..=9).filter(|time| *time != 6);
        let expected = expected.map(|time| (time, format!("service {}", time % 2)));
        assert_eq!(writer.points, expected.collect::<Vec<_>>());
        assert_eq!((writer.events.len(), writer.checkpoint), (1, Position(4)));
    }

    // Scenario: a batch of spans and events, of which one span and one event can never be stored.
    // Guarantees: each costs only itself.
    #[tokio::test]
    async fn a_poison_event_costs_only_itself() {
        let spans = (1..=10).map(|n| span(n, if n == 3 { "poison" } else { "fine" }));
        let events = (1..=21).map(|n| event(n, if n == 20 { "poison" } else { "fine" }));
        let batch = Batch {
            next: Position(4),
            spans: spans.collect(),
            events: events.collect(),
            resources: vec![resource(0)],
            scopes: vec![scope(0)],
            ..Batch::default()
        };
        let mut writer = Picky::default();
        let outcome = write(&mut writer, &batch).await.unwrap();
        assert_eq!((outcome.quarantined, writer.checkpoint), (2, Position(4)));
        assert_eq!((writer.stored.len(), writer.quarantined.len()), (9, 1));
        let times: Vec<_> = writer.events.iter().map(|id| id.unix_nano).collect();
        assert_eq!(times, (1..=21).filter(|n| *n != 20).collect::<Vec<_>>());
        assert_eq!(writer.events_quarantined[0].unix_nano, 20);
        assert_eq!(outcome.report.events_stored, 20);
    }

    // Scenario: two spans of a thousand can never be stored; the spans come from a hundred
    // resources with a scope each.
    // Guarantees: the other 998 are stored once and as from where they came, the two are set
    // aside, the checkpoint moves at the end, it takes few transactions, and no part carries
    // resources that it does not need.
    #[tokio::test]
    async fn a_poison_row_costs_only_itself() {
        let spans = (1..=1000_u32).map(|number| SpanRow {
            resource: usize::try_from(number / 10).unwrap() % 100,
            scope: usize::try_from(number / 10).unwrap() % 100,
            ..span(
                number.into(),
                if number % 500 == 7 { "poison" } else { "fine" },
            )
        });
        let next = Position(9);
        let batch = Batch {
            next,
            spans: spans.collect(),
            resources: (0..100).map(resource).collect(),
            scopes: (0..100).map(scope).collect(),
            ..Batch::default()
        };
        let mut writer = Picky::default();
        let outcome = write(&mut writer, &batch).await.unwrap();
        assert_eq!(outcome.quarantined, 2);
        assert_eq!(outcome.report.spans_stored, 998);
        assert_eq!(writer.stored.len(), 998);
        for span in batch.spans.iter().filter(|span| span.name == "fine") {
            let origin = span.resource;
            let expected = (format!("service {origin}"), format!("scope {origin}"));
            assert_eq!(writer.stored[&span.span_id], expected);
        }
        assert_eq!(writer.quarantined.len(), 2);
        assert_eq!(writer.checkpoint, next);
        assert!(writer.writes < 50, "{} transactions", writer.writes);
        // Two for every level of halving, and not all of them for every transaction.
        assert!(writer.origins < 2000, "{} resources", writer.origins);
    }
}
