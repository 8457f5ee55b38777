//! Writes a batch; when the store refuses its data, finds the spans that are to blame.
//!
//! A batch of n spans with one poison row takes about 2·log2(n) transactions. Every part that is
//! written keeps the checkpoint where it was, so that a crash in between replays the batch, whose
//! stored spans are then recognised; only the last, empty batch moves the checkpoint.

use std::collections::HashMap;

use crate::queue::Position;
use crate::storage::{Batch, Error, SpanRow, SpanWriter, WriteReport};

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Outcome {
    pub(super) report: WriteReport,
    /// Spans set aside.
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

async fn narrow_down(writer: &mut dyn SpanWriter, batch: &Batch<'_>) -> Result<Outcome, Error> {
    let mut outcome = Outcome::default();
    let half = batch.spans.len().div_ceil(2);
    let mut parts: Vec<&[_]> = batch.spans.chunks(half.max(1)).rev().collect();
    while let Some(spans) = parts.pop() {
        let part = part_of(batch, spans);
        match (writer.write(&part).await, spans) {
            (Ok(report), _) => {
                outcome.report.spans_stored += report.spans_stored;
                outcome.report.spans_duplicate += report.spans_duplicate;
            }
            (Err(Error::Poison { context, source }), [span]) => {
                let reason = format!("{context}: {source}");
                match writer.quarantine(span, &reason).await {
                    // Not even as bytes: nothing is left to try.
                    Ok(()) | Err(Error::Poison { .. }) => outcome.quarantined += 1,
                    Err(error) => return Err(error),
                }
            }
            (Err(Error::Poison { .. }), spans) => {
                parts.extend(spans.chunks(spans.len().div_ceil(2).max(1)).rev());
            }
            (Err(error), _) => return Err(error),
        }
    }
    let end = Batch {
        next: batch.next,
        ..part_of(batch, &[])
    };
    writer.write(&end).await?;
    Ok(outcome)
}

/// Some spans of a batch and what they refer to, as a batch that leaves the checkpoint where it is.
fn part_of<'a>(batch: &Batch<'a>, spans: &[SpanRow<'a>]) -> Batch<'a> {
    let mut resources = Kept::of(&batch.resources);
    let mut scopes = Kept::of(&batch.scopes);
    let spans = spans.iter().map(|span| SpanRow {
        resource: resources.keep(span.resource),
        scope: scopes.keep(span.scope),
        ..span.clone()
    });
    Batch {
        log_id: batch.log_id,
        partition: batch.partition,
        next: Position(0),
        spans: spans.collect(),
        resources: resources.kept,
        scopes: scopes.kept,
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
    use crate::model::span::{Basics, Kind, Status, TimeMarks};
    use crate::model::{ProjectId, SpanId, TraceId};
    use crate::storage::{ResourceRow, RetentionReport, ScopeRow};

    /// Refuses spans whose name is `poison`, as a store with a constraint would.
    #[derive(Default)]
    struct Picky {
        /// Each span with the service and the scope it was written with.
        stored: BTreeMap<SpanId, (String, String)>,
        quarantined: Vec<SpanId>,
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
            if batch.spans.iter().any(|span| span.name == "poison") {
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
            ready(Ok(WriteReport {
                spans_stored,
                spans_duplicate: 0,
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
        }
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
