//! Asks the gateway.

use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use serde_json::Value;

use crate::daemon::{Daemon, eventually};
use crate::http::{self, Response};
use crate::otlp::{hex, now, post_accepted, request, span};
use crate::otlp_json;
use crate::random::Random;

/// How long stored spans may take to be visible on a loaded machine.
pub(crate) const VISIBLE_WITHIN: Duration = Duration::from_secs(15);

/// Twice the partitions that a log has at most in these tests.
const BARRIERS: usize = 8;

impl Daemon {
    pub(crate) fn api(&self, path: &str) -> Response {
        http::get(self.addresses().gateway, path)
            .unwrap_or_else(|error| panic!("GET {path}: {error}"))
    }

    /// Puts JSON somewhere.
    pub(crate) fn put_json(&self, path: &str, body: &str) -> Response {
        http::put(self.addresses().gateway, path, body.as_bytes())
            .unwrap_or_else(|error| panic!("PUT {path}: {error}"))
    }

    fn ok(&self, path: &str) -> Value {
        let answer = self.api(path);
        assert_eq!(answer.status, 200, "GET {path}: {}", answer.text());
        answer.json()
    }

    /// All items of a list, page by page.
    pub(crate) fn list(&self, path: &str) -> Vec<Value> {
        let mut found = Vec::new();
        let mut cursor: Option<String> = None;
        for _ in 0..10_000 {
            let separator = if path.contains('?') { '&' } else { '?' };
            let page = match &cursor {
                Some(cursor) => self.ok(&format!("{path}{separator}cursor={cursor}")),
                None => self.ok(path),
            };
            found.extend(
                page["items"]
                    .as_array()
                    .unwrap_or_else(|| panic!("no items: {page}"))
                    .clone(),
            );
            match page["next_cursor"].as_str() {
                Some(next) => cursor = Some(next.to_owned()),
                None => return found,
            }
        }
        panic!("GET {path} has no last page");
    }

    /// A trace in our own shape, when it is known.
    pub(crate) fn trace(&self, trace_id: &[u8]) -> Option<Value> {
        let path = format!("/api/v1/traces/{}", hex(trace_id));
        let answer = self.api(&path);
        match answer.status {
            200 => {
                let trace = answer.json();
                assert!(trace["next_cursor"].is_null(), "more than a page: {path}");
                Some(trace)
            }
            404 => None,
            status => panic!("GET {path}: {status}: {}", answer.text()),
        }
    }

    /// A trace as OTLP, when it is known.
    pub(crate) fn trace_otlp(&self, trace_id: &[u8]) -> Option<ExportTraceServiceRequest> {
        let path = format!("/api/v1/traces/{}?format=otlp", hex(trace_id));
        let answer = self.api(&path);
        match answer.status {
            200 => Some(otlp_json::decode(&answer.json())),
            404 => None,
            status => panic!("GET {path}: {status}: {}", answer.text()),
        }
    }

    /// Waits until a trace has this many spans, and answers it in our own shape.
    pub(crate) fn await_trace(&self, trace_id: &[u8], spans: u64) -> Value {
        let what = format!("{spans} spans of trace {}", hex(trace_id));
        eventually(&what, VISIBLE_WITHIN, || {
            self.trace(trace_id)
                .filter(|trace| trace["trace"]["span_count"] == spans)
        })
    }

    /// Sum over the labels of one of the daemon's own metrics.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let text = http::get(self.addresses().metrics, "/metrics")
            .expect("metrics")
            .text();
        let samples = text.lines().filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            let value = match rest.strip_prefix('{') {
                Some(labels) => labels.rsplit_once('}')?.1,
                None => rest.strip_prefix(' ')?,
            };
            value.trim().parse::<f64>().ok()
        });
        let samples: Vec<f64> = samples.collect();
        assert!(!samples.is_empty(), "no metric {name} in:\n{text}");
        samples.iter().sum()
    }

    /// Waits until everything acknowledged so far has been stored: the log is stored in order, so
    /// one more span, of a service of its own, is visible last.
    pub(crate) fn await_stored(&self) {
        let mut random = Random::new(now());
        // Requests go to the partitions of the log in turn, and each is stored in order: behind all
        // of these, in whatever partition, is everything that was acknowledged before.
        let barriers: Vec<_> = (0..BARRIERS).map(|_| random.id::<16>()).collect();
        for trace_id in &barriers {
            post_accepted(
                self.addresses().http,
                &request("barrier", vec![span(trace_id, &[1; 8], "barrier")]),
            );
        }
        for trace_id in &barriers {
            eventually(
                "everything acknowledged to be stored",
                Duration::from_secs(60),
                || self.trace(trace_id),
            );
        }
    }

    /// Waits until the store has counted every span that this process accepted: as stored, as known
    /// already, or as sampled out.
    pub(crate) fn await_counted(&self) {
        eventually(
            "all accepted spans to be counted",
            Duration::from_secs(60),
            || {
                let stored = self.metric("pulse_writer_spans_stored_total");
                let duplicate = self.metric("pulse_writer_spans_duplicate_total");
                let sampled_out = self.metric("pulse_writer_spans_sampled_out_total");
                let accepted = self.metric("pulse_receiver_accepted_spans_total");
                (stored + duplicate + sampled_out == accepted).then_some(())
            },
        );
    }
}

/// The item of a list whose member has this value.
pub(crate) fn item<'a>(items: &'a [Value], member: &str, value: &str) -> &'a Value {
    let found: Vec<_> = items.iter().filter(|item| item[member] == value).collect();
    assert_eq!(found.len(), 1, "items with {member} {value}: {items:?}");
    found[0]
}
