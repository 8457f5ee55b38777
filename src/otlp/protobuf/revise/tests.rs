use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::otlp::generate;
use crate::otlp::protobuf::{LogRecord, check, check_spans};

/// Changes by simple rules: every `x` in a text becomes a word, keys decide on attributes.
struct Rules {
    word: &'static str,
    acts: bool,
    body: i32,
}

const RULES: Rules = Rules {
    word: "",
    acts: true,
    body: 0,
};
const KEPT: &str = "a";
const REMOVED: &str = "b";
const REPLACED: &str = "c";

impl Reviser for Rules {
    fn event(&mut self, _name: &[u8]) {}

    fn record(&mut self, record: &[u8]) {
        // A severity decides on the body.
        self.body = LogRecord::parse(record).map_or(0, |it| it.severity_number);
    }

    fn body(&mut self, _body: &[u8]) -> Verdict<'_> {
        match self.body {
            1 => Verdict::Keep,
            2 if self.acts => Verdict::Remove,
            3 if self.acts => Verdict::Replace(Cow::Borrowed(self.word)),
            _ => Verdict::Look,
        }
    }

    fn attribute(&mut self, _place: Place, key: &[u8], _pair: &[u8]) -> Verdict<'_> {
        match std::str::from_utf8(key) {
            Ok(KEPT) => Verdict::Keep,
            Ok(REMOVED) if self.acts => Verdict::Remove,
            Ok(REPLACED) if self.acts => Verdict::Replace(Cow::Borrowed(self.word)),
            _ => Verdict::Look,
        }
    }

    fn text(&mut self, _place: Place, text: &[u8], edits: &mut TextEdits<'_, '_, '_>) {
        let places = text.iter().enumerate().filter(|(_, byte)| **byte == b'x');
        for (at, _) in places.filter(|_| self.acts) {
            edits.replace(at..at + 1, self.word.as_bytes());
        }
    }
}

/// The same rules, on the generated messages.
impl Rules {
    fn request(&self, request: &mut ExportTraceServiceRequest) {
        for resource_spans in &mut request.resource_spans {
            if let Some(resource) = &mut resource_spans.resource {
                self.attributes(&mut resource.attributes);
            }
            for scope_spans in &mut resource_spans.scope_spans {
                if let Some(scope) = &mut scope_spans.scope {
                    self.attributes(&mut scope.attributes);
                }
                scope_spans.spans.iter_mut().for_each(|it| self.span(it));
            }
        }
    }

    fn span(&self, span: &mut Span) {
        self.change(&mut span.name);
        self.attributes(&mut span.attributes);
        for event in &mut span.events {
            self.change(&mut event.name);
            self.attributes(&mut event.attributes);
        }
        for link in &mut span.links {
            self.attributes(&mut link.attributes);
        }
        if let Some(status) = &mut span.status {
            self.change(&mut status.message);
        }
    }

    fn logs(&self, request: &mut ExportLogsServiceRequest) {
        for resource_logs in &mut request.resource_logs {
            if let Some(resource) = &mut resource_logs.resource {
                self.attributes(&mut resource.attributes);
            }
            for scope_logs in &mut resource_logs.scope_logs {
                if let Some(scope) = &mut scope_logs.scope {
                    self.attributes(&mut scope.attributes);
                }
                for record in &mut scope_logs.log_records {
                    self.change(&mut record.event_name);
                    self.attributes(&mut record.attributes);
                    match (record.severity_number, &mut record.body) {
                        (1, _) | (_, None) => {}
                        (2, body) => *body = None,
                        (3, Some(body)) => {
                            body.value = Some(Any::StringValue(self.word.to_owned()));
                        }
                        (_, Some(body)) => self.value(body),
                    }
                }
            }
        }
    }

    fn attributes(&self, attributes: &mut Vec<KeyValue>) {
        attributes.retain(|it| it.key != REMOVED);
        for attribute in attributes.iter_mut() {
            let Some(value) = &mut attribute.value else {
                continue;
            };
            match attribute.key.as_str() {
                KEPT => {}
                REPLACED => value.value = Some(Any::StringValue(self.word.to_owned())),
                _ => self.value(value),
            }
        }
    }

    fn value(&self, value: &mut AnyValue) {
        match &mut value.value {
            Some(Any::StringValue(text)) => self.change(text),
            Some(Any::BytesValue(bytes)) => {
                let changed = bytes.iter().flat_map(|byte| match byte {
                    b'x' => self.word.as_bytes().to_vec(),
                    other => vec![*other],
                });
                *bytes = changed.collect();
            }
            Some(Any::ArrayValue(array)) => array.values.iter_mut().for_each(|it| self.value(it)),
            Some(Any::KvlistValue(list)) => self.attributes(&mut list.values),
            _ => {}
        }
    }

    fn change(&self, text: &mut String) {
        *text = text.replace('x', self.word);
    }
}

fn revised_logs(request: &[u8], rules: &mut Rules) -> Result<Option<Vec<u8>>, Failure> {
    revise(Signal::Logs, request, rules, &mut |_| Ok(()))
}

fn revised(request: &[u8], rules: &mut Rules) -> Result<Option<Vec<u8>>, Failure> {
    revise(Signal::Traces, request, rules, &mut |_| Ok(()))
}

fn with_value(key: &str, value: Any) -> Vec<u8> {
    let attribute = KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    };
    let span = Span {
        attributes: vec![attribute],
        ..Span::default()
    };
    let request = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            scope_spans: vec![ScopeSpans {
                spans: vec![span],
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    };
    request.encode_to_vec()
}

proptest! {
    // Guarantees: what comes out is what comes out of the generated messages changed by the same
    // rules, byte for byte, lengths that grow or shrink by bytes included.
    #[test]
    fn a_changed_request_is_the_changed_messages(
        mut request in generate::request(),
        word in prop_oneof![Just(""), Just("y"), Just("a word that is somewhat longer")],
    ) {
        let mut rules = Rules { word, ..RULES };
        let bytes = request.encode_to_vec();
        let out = match revised(&bytes, &mut rules) {
            Ok(out) => out.unwrap_or(bytes),
            // Hundreds of `x` in a row, several times.
            Err(Failure::TooLarge { .. }) => return Ok(()),
            Err(other) => panic!("{other:?}"),
        };
        rules.request(&mut request);
        // An empty text is encoded by no encoder, but is one still.
        let decoded = ExportTraceServiceRequest::decode(out.as_slice()).unwrap();
        prop_assert_eq!(decoded.encode_to_vec(), request.encode_to_vec());
        if !word.is_empty() {
            prop_assert_eq!(out, request.encode_to_vec());
        }
    }

    // The same of logs, bodies included.
    #[test]
    fn changed_logs_are_the_changed_messages(
        mut request in generate::log_request(),
        word in prop_oneof![Just("y"), Just("a word that is somewhat longer")],
    ) {
        let mut rules = Rules { word, ..RULES };
        let bytes = request.encode_to_vec();
        let out = match revised_logs(&bytes, &mut rules) {
            Ok(out) => out.unwrap_or(bytes),
            Err(Failure::TooLarge { .. }) => return Ok(()),
            Err(other) => panic!("{other:?}"),
        };
        rules.logs(&mut request);
        prop_assert_eq!(out, request.encode_to_vec());
    }

    #[test]
    fn damaged_logs_do_no_harm(
        request in generate::log_request(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
    ) {
        let mut bytes = request.encode_to_vec();
        for (at, byte) in changes {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        let mut rules = Rules { word: "word", ..RULES };
        let out = revised_logs(&bytes, &mut rules);
        if let (Ok(before), Ok(Some(out))) = (check(Signal::Logs, &bytes), out) {
            let after = check(Signal::Logs, &out).unwrap();
            prop_assert_eq!((before.items, before.unlinked), (after.items, after.unlinked));
        }
    }

    #[test]
    fn nothing_is_changed_by_rules_that_find_nothing(request in generate::request()) {
        let mut rules = Rules { word: "y", acts: false, ..RULES };
        prop_assert_eq!(revised(&request.encode_to_vec(), &mut rules).unwrap(), None);
    }

    // Guarantees: bytes of any sort are no reason to panic, and what was a request is one still.
    #[test]
    fn damaged_requests_do_no_harm(
        request in generate::request(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
    ) {
        let mut bytes = request.encode_to_vec();
        for (at, byte) in changes {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        let mut rules = Rules { word: "word", ..RULES };
        let out = revised(&bytes, &mut rules);
        if let (Ok(before), Ok(Some(out))) = (check_spans(&bytes, |_| {}), out) {
            let after = check_spans(&out, |_| {}).unwrap();
            prop_assert_eq!((before.items, before.rejected), (after.items, after.rejected));
        }
    }
}

#[test]
fn unknown_fields_and_odd_encodings_stay() {
    // A length in two bytes where one is enough, an unknown field, then a text with an `x`.
    let unknown = [0xfa, 0x3f, 0x82, 0x00, 1, 2];
    let request = with_value("k", Any::StringValue("axb".to_owned()));
    let bytes = [&unknown[..], &request, &unknown].concat();
    let mut rules = Rules {
        word: "yy",
        ..RULES
    };
    let out = revised(&bytes, &mut rules).unwrap().unwrap();
    let changed = with_value("k", Any::StringValue("ayyb".to_owned()));
    assert_eq!(out, [&unknown[..], &changed, &unknown].concat());
}

#[test]
fn every_part_of_a_value_is_replaced_whatever_the_order() {
    // A value in two parts around the key.
    let text = |text: &str| [&[0x12, 4, 0x0a, 2][..], text.as_bytes()].concat();
    let pair = [text("s1"), b"\x0a\x01c".to_vec(), text("s2")].concat();
    let wrap = |number: u8, inner: &[u8]| {
        [
            &[number << 3 | 2, u8::try_from(inner.len()).unwrap()],
            inner,
        ]
        .concat()
    };
    let bytes = wrap(1, &wrap(2, &wrap(2, &wrap(9, &pair))));
    let mut rules = Rules {
        word: "gone",
        ..RULES
    };
    let out = revised(&bytes, &mut rules).unwrap().unwrap();
    let contains = |part: &[u8]| out.windows(part.len()).any(|it| it == part);
    assert!(
        contains(b"gone") && !contains(b"s1") && !contains(b"s2"),
        "{out:?}"
    );
    let decoded = ExportTraceServiceRequest::decode(out.as_slice()).unwrap();
    let attribute = &decoded.resource_spans[0].scope_spans[0].spans[0].attributes[0];
    assert_eq!(attribute.key, "c");
}

#[test]
fn memory_is_asked_for_only_when_something_changes_and_growth_ends() {
    let bytes = with_value("k", Any::StringValue("x".repeat(100_000)));
    let mut asked = Vec::new();
    let mut reserve = |bytes: usize| -> Result<(), Failure> {
        asked.push(bytes);
        Ok(())
    };
    let mut rules = Rules {
        word: "y",
        acts: false,
        ..RULES
    };
    assert_eq!(
        revise(Signal::Traces, &bytes, &mut rules, &mut reserve).unwrap(),
        None
    );
    let mut rules = Rules { word: "y", ..RULES };
    assert!(
        revise(Signal::Traces, &bytes, &mut rules, &mut reserve)
            .unwrap()
            .is_some()
    );
    let mut rules = Rules {
        word: "word",
        ..RULES
    };
    let refused = revise(Signal::Traces, &bytes, &mut rules, &mut reserve);
    assert!(
        matches!(refused, Err(Failure::TooLarge { .. })),
        "{refused:?}"
    );
    // Once by the first that changed something, then up to the limit of the second.
    let most = 2 * bytes.len() + (64 << 10);
    let first = asked[0];
    assert!(first < bytes.len() * 5 / 4, "{asked:?}");
    assert_eq!(asked[1..].iter().sum::<usize>(), most, "{asked:?}");
    let mut full = |_: usize| Err(Failure::ShuttingDown);
    let refused = revise(Signal::Traces, &bytes, &mut rules, &mut full);
    assert!(matches!(refused, Err(Failure::ShuttingDown)), "{refused:?}");
}
