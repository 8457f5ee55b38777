//! Writes a batch; when the store refuses its data, finds the spans that are to blame.
//!
//! A batch of n spans with one poison row takes about 2·log2(n) transactions. Every part that is
//! written keeps the checkpoint where it was, so that a crash in between replays the batch, whose
//! stored spans are then recognised; only the last, empty batch moves the checkpoint.

use crate::queue::Position;
use crate::storage::{Batch, Error, SpanWriter, WriteReport};

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
        spans: Vec::new(),
        ..part_of(batch, &[])
    };
    writer
        .write(&Batch {
            next: batch.next,
            ..end
        })
        .await?;
    Ok(outcome)
}

/// Some spans of a batch, as a batch that leaves the checkpoint where it is.
fn part_of<'a>(batch: &Batch<'a>, spans: &[crate::storage::SpanRow<'a>]) -> Batch<'a> {
    Batch {
        partition: batch.partition,
        next: Position(0),
        resources: if spans.is_empty() {
            Vec::new()
        } else {
            batch.resources.clone()
        },
        scopes: if spans.is_empty() {
            Vec::new()
        } else {
            batch.scopes.clone()
        },
        spans: spans.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use futures_util::FutureExt as _;
    use futures_util::future::{BoxFuture, ready};

    use super::*;
    use crate::model::span::{Basics, Kind, Status, TimeMarks};
    use crate::model::{ProjectId, SpanId, TraceId};
    use crate::storage::{RetentionReport, SpanRow};

    /// Refuses spans whose name is `poison`, as a store with a constraint would.
    #[derive(Default)]
    struct Picky {
        stored: Vec<SpanId>,
        quarantined: Vec<SpanId>,
        writes: usize,
        checkpoint: Position,
    }

    impl SpanWriter for Picky {
        fn write<'a>(
            &'a mut self,
            batch: &'a Batch<'a>,
        ) -> BoxFuture<'a, Result<WriteReport, Error>> {
            self.writes += 1;
            if batch.spans.iter().any(|span| span.name == "poison") {
                let source = "constraint".into();
                return ready(Err(Error::Poison {
                    context: "store",
                    source,
                }))
                .boxed();
            }
            self.stored
                .extend(batch.spans.iter().map(|span| span.span_id));
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

        fn enforce_retention<'a>(
            &'a mut self,
            _now_unix_nano: u64,
        ) -> BoxFuture<'a, Result<RetentionReport, Error>> {
            ready(Ok(RetentionReport::default())).boxed()
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

    // Scenario: two spans of a thousand can never be stored.
    // Guarantees: the other 998 are stored once, the two are set aside, the checkpoint moves at
    // the end, and it takes few transactions.
    #[tokio::test]
    async fn a_poison_row_costs_only_itself() {
        let spans: Vec<_> = (1..=1000)
            .map(|number| span(number, if number % 500 == 7 { "poison" } else { "fine" }))
            .collect();
        let next = Position(9);
        let batch = Batch {
            next,
            spans,
            ..Batch::default()
        };
        let mut writer = Picky::default();
        let outcome = write(&mut writer, &batch).await.unwrap();
        assert_eq!(outcome.quarantined, 2);
        assert_eq!(outcome.report.spans_stored, 998);
        assert_eq!(writer.stored.len(), 998);
        assert_eq!(writer.quarantined.len(), 2);
        assert_eq!(writer.checkpoint, next);
        assert!(writer.writes < 50, "{} transactions", writer.writes);
    }
}
