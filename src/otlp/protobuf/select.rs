//! Leaves out of a request what was not accepted, and resources that somebody does not want.

use super::edit::{Editor, Part, Reserve};
use super::error::DecodeError;
use super::metric::{Metric, Point, of_field};
use super::span::Span;
use super::wire::{Value, fields};
use crate::otlp::{Failure, Signal};

/// Fields of a request, of the spans of a resource, of the spans of a scope.
const RESOURCES: u32 = 1;
const SCOPES: u32 = 2;
const ITEMS: u32 = 2;
/// The points in the data of a metric.
const POINTS: u32 = 1;

/// Leaves out of an encoded export request the spans and data points that a [`super::check`]
/// rejects, and the resources (`ResourceSpans` and their like, encoded) that `keeps` does not want,
/// with everything of theirs. `None`: all of it stays. `reserve` is asked before memory is taken.
///
/// # Errors
/// [`Failure::Malformed`] when the bytes are not such a message, as far as they had to be read; what
/// `reserve` says.
pub fn select(
    signal: Signal,
    request: &[u8],
    keeps: &dyn Fn(&[u8]) -> bool,
    reserve: Reserve<'_>,
) -> Result<Option<Vec<u8>>, Failure> {
    let mut selection = Selection {
        editor: Editor::new(request, reserve),
        signal,
    };
    let whole = Part {
        number: 0,
        start: 0,
        content: 0,
        end: request.len(),
    };
    selection.walk(whole, &mut |selection, resource| {
        if resource.number != RESOURCES {
            return Ok(());
        }
        if !keeps(selection.content(resource)) {
            selection.editor.replace(resource.start..resource.end, &[]);
            return Ok(());
        }
        selection.within(resource, SCOPES, &mut |selection, scope| {
            selection.within(scope, ITEMS, &mut Selection::item)
        })
    })?;
    selection.editor.finish()
}

struct Selection<'i, 'r> {
    editor: Editor<'i, 'r>,
    signal: Signal,
}

/// What is done with a field that holds a message.
type Visit<'v, 'i, 'r> = &'v mut dyn FnMut(&mut Selection<'i, 'r>, Part) -> Result<(), DecodeError>;

impl<'i, 'r> Selection<'i, 'r> {
    fn content(&self, part: Part) -> &'i [u8] {
        let content = self.editor.input().get(part.content..part.end);
        content.unwrap_or_default()
    }

    /// Visits the fields of a message that have a length.
    fn walk(&mut self, message: Part, visit: Visit<'_, 'i, 'r>) -> Result<(), DecodeError> {
        let mut reader = fields(self.content(message));
        loop {
            let start = message.end - reader.rest().len();
            let Some(field) = reader.next_field()? else {
                return Ok(());
            };
            let Value::Bytes(content) = field.value else {
                continue;
            };
            let end = message.end - reader.rest().len();
            let part = Part {
                number: field.number,
                start,
                content: end - content.len(),
                end,
            };
            visit(self, part)?;
            if self.editor.has_failed() {
                return Ok(());
            }
        }
    }

    /// Visits the fields of this number in a message, whose length is put right afterwards.
    fn within(
        &mut self,
        message: Part,
        number: u32,
        visit: Visit<'_, 'i, 'r>,
    ) -> Result<(), DecodeError> {
        let mark = self.editor.open(message);
        self.walk(message, &mut |selection, part| match part.number {
            it if it == number => visit(selection, part),
            _ => Ok(()),
        })?;
        self.editor.close(mark, message);
        Ok(())
    }

    /// A span, a log record or a metric.
    fn item(&mut self, item: Part) -> Result<(), DecodeError> {
        let content = self.content(item);
        match self.signal {
            Signal::Traces => {
                if Span::parse(content)?.ids().is_err() {
                    self.editor.replace(item.start..item.end, &[]);
                }
                Ok(())
            }
            // None is ever rejected.
            Signal::Logs => Ok(()),
            Signal::Metrics => {
                let metric = Metric::parse(content)?;
                if metric.check().is_err() {
                    self.editor.replace(item.start..item.end, &[]);
                    return Ok(());
                }
                let mark = self.editor.open(item);
                self.walk(item, &mut |selection, data| {
                    if of_field(data.number).is_none() || of_field(data.number) != metric.kind {
                        return Ok(());
                    }
                    selection.within(data, POINTS, &mut |selection, point| {
                        let judged = metric.judge(Point::parse(&metric, selection.content(point)));
                        if judged.is_err() {
                            selection.editor.replace(point.start..point.end, &[]);
                        }
                        Ok(())
                    })
                })?;
                self.editor.close(mark, item);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use proptest::prelude::*;
    use prost::Message as _;

    use super::super::check;
    use super::*;
    use crate::otlp::generate;

    fn selected(signal: Signal, request: &[u8], keeps: &dyn Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
        select(signal, request, keeps, &mut |_| Ok(())).unwrap()
    }

    proptest! {
        // Guarantees: of any request, valid spans stay as they are and in order, the others go, and
        // a request without others is not copied.
        #[test]
        fn of_spans_the_accepted_stay(request in generate::request()) {
            let encoded = request.encode_to_vec();
            let before = check(Signal::Traces, &encoded).unwrap();
            let kept = selected(Signal::Traces, &encoded, &|_| true);
            prop_assert_eq!(kept.is_none(), before.rejected == 0);
            let kept = kept.unwrap_or(encoded);
            let after = check(Signal::Traces, &kept).unwrap();
            prop_assert_eq!(after.rejected, 0);
            prop_assert_eq!(after.items, before.items - before.rejected);
            let mut expected = request;
            for scope in expected.resource_spans.iter_mut().flat_map(|it| &mut it.scope_spans) {
                scope.spans.retain(|span| {
                    Span::parse(&span.encode_to_vec()).unwrap().ids().is_ok()
                });
            }
            let kept = ExportTraceServiceRequest::decode(kept.as_slice()).unwrap();
            prop_assert_eq!(kept.encode_to_vec(), expected.encode_to_vec());
        }

        #[test]
        fn of_points_the_accepted_stay(request in generate::metric_request()) {
            let encoded = request.encode_to_vec();
            let before = check(Signal::Metrics, &encoded).unwrap();
            let kept = selected(Signal::Metrics, &encoded, &|_| true).unwrap_or(encoded);
            let after = check(Signal::Metrics, &kept).unwrap();
            prop_assert_eq!(after.rejected, 0);
            prop_assert_eq!(after.items, before.items - before.rejected);
            prop_assert!(ExportMetricsServiceRequest::decode(kept.as_slice()).is_ok());
        }
    }

    #[test]
    fn resources_that_are_not_wanted_go_whole() {
        let resource = |url: &str| opentelemetry_proto::tonic::trace::v1::ResourceSpans {
            schema_url: url.to_owned(),
            ..Default::default()
        };
        let request = ExportTraceServiceRequest {
            resource_spans: ["a", "b", "a"].map(resource).into(),
        };
        let wanted = |encoded: &[u8]| encoded.ends_with(b"b");
        let kept = selected(Signal::Traces, &request.encode_to_vec(), &wanted).unwrap();
        let kept = ExportTraceServiceRequest::decode(kept.as_slice()).unwrap();
        assert_eq!(kept.resource_spans, [resource("b")]);
        let none = selected(Signal::Traces, &request.encode_to_vec(), &|_| false).unwrap();
        assert!(none.is_empty());
    }
}
