//! Which spans are sampled out.

use std::collections::HashMap;

use super::{Building, Envelope};
use crate::model::sampling::Reason;
use crate::model::span::{Basics, Operation};
use crate::model::{ProjectId, TraceId};
use crate::processors::sampling::{Origin, Randomness, Sampler};

/// What decides about the spans of some records.
#[derive(Debug, Clone, Copy)]
pub struct Sampling<'s> {
    /// What decides by a span alone.
    pub sampler: &'s Sampler,
    /// Why traces are left out, if they are, by what else is known of them.
    pub verdicts: Option<&'s HashMap<(ProjectId, TraceId), Option<Reason>>>,
}

impl<'a, E> Building<'a, '_, E> {
    /// Why a span is not to be stored, if it is not.
    pub(super) fn sampled_out(
        &self,
        envelope: &Envelope<'_, 'a>,
        trace_id: TraceId,
        trace_state: &str,
        basics: &Basics<'_>,
    ) -> Option<Reason> {
        let sampling = self.sampling?;
        let origin = Origin {
            project: envelope.record.project,
            service: envelope.service.unwrap_or_default(),
            is_genai: matches!(basics.operation, Operation::GenAi(_)),
        };
        let randomness = Randomness::of(trace_id, trace_state);
        if !sampling.sampler.head.keeps(&origin, randomness) {
            return Some(Reason::Head);
        }
        let key = (envelope.record.project, trace_id);
        *sampling.verdicts?.get(&key)?
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
    use opentelemetry_proto::tonic::resource::v1::Resource;
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
    use prost::Message as _;

    use super::*;
    use crate::exporters::storage::assemble::Assembler;
    use crate::processors::limits;
    use crate::processors::sampling::{Config, HeadRule};
    use crate::queue::{PayloadKind, Position, Record};

    fn text(key: &str, value: &str) -> KeyValue {
        KeyValue {
            key: key.to_owned(),
            value: Some(AnyValue {
                value: Some(Value::StringValue(value.to_owned())),
            }),
            ..KeyValue::default()
        }
    }

    /// A record of a GenAI span and another of each trace, of a service.
    fn record(service: &str, traces: &[(u8, &str)]) -> Record {
        let spans = traces.iter().flat_map(|(trace, state)| {
            [1, 2].map(|number| Span {
                trace_id: vec![*trace; 16],
                span_id: vec![number; 8],
                trace_state: (*state).to_owned(),
                attributes: (number == 1)
                    .then(|| text("gen_ai.operation.name", "chat"))
                    .into_iter()
                    .collect(),
                ..Span::default()
            })
        });
        let request = ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans {
                resource: Some(Resource {
                    attributes: vec![text("service.name", service)],
                    ..Resource::default()
                }),
                scope_spans: vec![ScopeSpans {
                    spans: spans.collect(),
                    ..ScopeSpans::default()
                }],
                ..ResourceSpans::default()
            }],
        };
        Record {
            position: Position(1),
            project: ProjectId::DEFAULT,
            received_unix_nano: 1,
            kind: PayloadKind::OtlpTraces,
            payload: Bytes::from(request.encode_to_vec()),
        }
    }

    fn config(percentage: f64, rules: Vec<HeadRule>) -> Config {
        let mut config = Config::default();
        config.head.percentage = percentage;
        config.head.rules = rules;
        config
    }

    /// Why each span is left out, and how long that is remembered.
    fn reasons(
        config: &Config,
        verdicts: &HashMap<(ProjectId, TraceId), Option<Reason>>,
        record: Record,
    ) -> (Vec<Option<Reason>>, Option<i64>) {
        let sampler = config.compile();
        let sampling = sampler.as_ref().map(|sampler| Sampling {
            sampler,
            verdicts: Some(verdicts),
        });
        let limits = limits::Config::default();
        let records = [record];
        let (batch, _) = Assembler::new(0, &limits)
            .sampled(sampling)
            .assemble(&records);
        let reasons = batch.spans.iter().map(|span| span.sampled_out);
        (reasons.collect(), batch.remember_ns)
    }

    const OUT: Option<Reason> = Some(Reason::Head);

    #[test]
    fn the_head_marks_what_it_leaves_out() {
        let none = HashMap::new();
        let all = [(0x10, ""), (0xf0, ""), (0x10, "ot=rv:f0000000000000")];
        let half = config(50.0, Vec::new());
        let (found, remember) = reasons(&half, &none, record("api", &all));
        assert_eq!(found, [OUT, OUT, None, None, None, None]);
        assert_eq!(remember, Some(24 * 3600 * 1_000_000_000));
        let rules = vec![
            HeadRule {
                projects: Vec::new(),
                services: vec!["web".to_owned()],
                genai: None,
                percentage: 0.0,
            },
            HeadRule {
                projects: vec![ProjectId::DEFAULT.0],
                services: Vec::new(),
                genai: Some(true),
                percentage: 100.0,
            },
        ];
        let by_rule = config(50.0, rules);
        let (found, _) = reasons(&by_rule, &none, record("api", &all[..2]));
        assert_eq!(found, [None, OUT, None, None]);
        let (found, _) = reasons(&by_rule, &none, record("web", &all[..2]));
        assert_eq!(found, [OUT; 4]);
    }

    #[test]
    fn verdicts_come_after_the_head() {
        let key = |trace| (ProjectId::DEFAULT, TraceId([trace; 16]));
        let verdicts = HashMap::from([
            (key(0x10), None),
            (key(0xe0), Some(Reason::Tail)),
            (key(0xf0), None),
        ]);
        let half = config(50.0, Vec::new());
        let all = [(0x10, ""), (0xe0, ""), (0xf0, ""), (0xf1, "")];
        let (found, _) = reasons(&half, &verdicts, record("api", &all));
        let tail = Some(Reason::Tail);
        assert_eq!(found, [OUT, OUT, tail, tail, None, None, None, None]);
    }

    #[test]
    fn nothing_is_marked_where_all_is_kept() {
        let (found, remember) = reasons(
            &config(100.0, Vec::new()),
            &HashMap::new(),
            record("api", &[(0x10, "")]),
        );
        assert_eq!((found, remember), (vec![None, None], None));
    }
}
