//! The body of a successful answer: what was rejected, if anything.

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use prost::Message as _;
use serde_json::json;

use super::Signal;
use super::status::shorten;

/// Longest message sent, in bytes, so that an answer stays far below the response limits.
const MESSAGE_BYTES_MAX: usize = 1024;

/// The answer to an export. It says nothing when nothing was rejected and there is no warning, as
/// OTLP demands; a rejection without a reason gets a general one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    signal: Signal,
    rejected: i64,
    message: String,
}

impl Answer {
    /// Builds the answer.
    #[must_use]
    pub fn new(signal: Signal, rejected: u64, message: &str) -> Self {
        let general = "some items are invalid; see the limits and identifiers that OTLP demands";
        let message = if message.is_empty() && rejected > 0 {
            general
        } else {
            message
        };
        Self {
            signal,
            rejected: i64::try_from(rejected).unwrap_or(i64::MAX),
            message: shorten(message, MESSAGE_BYTES_MAX),
        }
    }

    fn is_silent(&self) -> bool {
        self.rejected == 0 && self.message.is_empty()
    }

    /// In protobuf; empty when everything was accepted.
    #[must_use]
    pub fn protobuf(&self) -> Bytes {
        if self.is_silent() {
            return Bytes::new();
        }
        let error_message = self.message.clone();
        Bytes::from(match self.signal {
            Signal::Traces => ExportTraceServiceResponse {
                partial_success: Some(ExportTracePartialSuccess {
                    rejected_spans: self.rejected,
                    error_message,
                }),
            }
            .encode_to_vec(),
            Signal::Logs => ExportLogsServiceResponse {
                partial_success: Some(ExportLogsPartialSuccess {
                    rejected_log_records: self.rejected,
                    error_message,
                }),
            }
            .encode_to_vec(),
            Signal::Metrics => ExportMetricsServiceResponse {
                partial_success: Some(ExportMetricsPartialSuccess {
                    rejected_data_points: self.rejected,
                    error_message,
                }),
            }
            .encode_to_vec(),
        })
    }

    /// In OTLP/JSON; `{}` when everything was accepted.
    #[must_use]
    pub fn json(&self) -> Bytes {
        if self.is_silent() {
            return Bytes::from_static(b"{}");
        }
        let mut success = serde_json::Map::new();
        let rejected = match self.signal {
            Signal::Traces => "rejectedSpans",
            Signal::Logs => "rejectedLogRecords",
            Signal::Metrics => "rejectedDataPoints",
        };
        // Proto3 JSON leaves default values out and writes 64-bit integers as strings.
        if self.rejected != 0 {
            success.insert(rejected.to_owned(), self.rejected.to_string().into());
        }
        if !self.message.is_empty() {
            success.insert("errorMessage".to_owned(), self.message.clone().into());
        }
        Bytes::from(json!({ "partialSuccess": success }).to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_success_is_zero_bytes_and_an_empty_object() {
        for signal in [Signal::Traces, Signal::Logs, Signal::Metrics] {
            let answer = Answer::new(signal, 0, "");
            assert!(answer.protobuf().is_empty());
            assert_eq!(answer.json(), "{}");
        }
    }

    #[test]
    fn rejections_and_warnings_are_written_as_otlp_demands() {
        let answer = Answer::new(Signal::Traces, 3, "span 01: trace_id is all zero");
        assert_eq!(
            answer.json(),
            r#"{"partialSuccess":{"errorMessage":"span 01: trace_id is all zero","rejectedSpans":"3"}}"#
        );
        let decoded = ExportTraceServiceResponse::decode(answer.protobuf()).unwrap();
        let partial = decoded.partial_success.unwrap();
        assert_eq!(partial.rejected_spans, 3);
        assert_eq!(partial.error_message, "span 01: trace_id is all zero");

        let answer = Answer::new(Signal::Logs, 3, "no");
        assert_eq!(
            answer.json(),
            r#"{"partialSuccess":{"errorMessage":"no","rejectedLogRecords":"3"}}"#
        );
        let decoded = ExportLogsServiceResponse::decode(answer.protobuf()).unwrap();
        assert_eq!(decoded.partial_success.unwrap().rejected_log_records, 3);

        let answer = Answer::new(Signal::Metrics, 3, "no");
        assert_eq!(
            answer.json(),
            r#"{"partialSuccess":{"errorMessage":"no","rejectedDataPoints":"3"}}"#
        );
        let decoded = ExportMetricsServiceResponse::decode(answer.protobuf()).unwrap();
        assert_eq!(decoded.partial_success.unwrap().rejected_data_points, 3);

        let warning = Answer::new(Signal::Traces, 0, "string table references were dropped");
        assert_eq!(
            warning.json(),
            r#"{"partialSuccess":{"errorMessage":"string table references were dropped"}}"#
        );
        // A rejection is never silent.
        assert!(!Answer::new(Signal::Logs, 1, "").message.is_empty());
    }

    #[test]
    fn messages_are_cut_at_a_character_within_the_bound() {
        let answer = Answer::new(Signal::Traces, u64::MAX, &"é".repeat(5000));
        assert_eq!(answer.rejected, i64::MAX);
        assert!(answer.message.len() <= 1024);
        assert!(answer.message.ends_with("é…"));
    }
}
