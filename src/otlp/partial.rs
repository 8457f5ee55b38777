//! The body of a successful answer: what was rejected, if anything.

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use prost::Message as _;
use serde_json::json;

use super::status::shorten;

/// Longest message sent, in bytes, so that an answer stays far below the response limits.
const MESSAGE_BYTES_MAX: usize = 1024;

/// Builds the answer to a trace export. It says nothing when nothing was rejected and there is no
/// warning, as OTLP demands; a rejection without a reason gets a general one.
#[must_use]
pub fn trace_response(rejected_spans: u64, message: &str) -> ExportTraceServiceResponse {
    if rejected_spans == 0 && message.is_empty() {
        return ExportTraceServiceResponse::default();
    }
    let message = if message.is_empty() {
        "some spans are invalid; see the limits and identifiers that OTLP demands"
    } else {
        message
    };
    ExportTraceServiceResponse {
        partial_success: Some(ExportTracePartialSuccess {
            rejected_spans: i64::try_from(rejected_spans).unwrap_or(i64::MAX),
            error_message: shorten(message, MESSAGE_BYTES_MAX),
        }),
    }
}

/// The answer in protobuf; empty when everything was accepted.
#[must_use]
pub fn encode_protobuf(response: &ExportTraceServiceResponse) -> Bytes {
    Bytes::from(response.encode_to_vec())
}

/// The answer in OTLP/JSON; `{}` when everything was accepted.
#[must_use]
pub fn encode_json(response: &ExportTraceServiceResponse) -> Bytes {
    let Some(partial) = &response.partial_success else {
        return Bytes::from_static(b"{}");
    };
    let mut success = serde_json::Map::new();
    // Proto3 JSON leaves default values out and writes 64-bit integers as strings.
    if partial.rejected_spans != 0 {
        success.insert(
            "rejectedSpans".to_owned(),
            partial.rejected_spans.to_string().into(),
        );
    }
    if !partial.error_message.is_empty() {
        success.insert(
            "errorMessage".to_owned(),
            partial.error_message.clone().into(),
        );
    }
    Bytes::from(json!({ "partialSuccess": success }).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_success_is_zero_bytes_and_an_empty_object() {
        let response = trace_response(0, "");
        assert!(encode_protobuf(&response).is_empty());
        assert_eq!(encode_json(&response), "{}");
    }

    #[test]
    fn rejections_and_warnings_are_written_as_otlp_demands() {
        let response = trace_response(3, "span 01: trace_id is all zero");
        assert_eq!(
            encode_json(&response),
            r#"{"partialSuccess":{"errorMessage":"span 01: trace_id is all zero","rejectedSpans":"3"}}"#
        );
        let decoded = ExportTraceServiceResponse::decode(encode_protobuf(&response)).unwrap();
        let partial = decoded.partial_success.unwrap();
        assert_eq!(partial.rejected_spans, 3);
        assert_eq!(partial.error_message, "span 01: trace_id is all zero");

        let warning = trace_response(0, "string table references were dropped");
        assert_eq!(
            encode_json(&warning),
            r#"{"partialSuccess":{"errorMessage":"string table references were dropped"}}"#
        );
        // A rejection is never silent.
        let unexplained = trace_response(1, "").partial_success.unwrap();
        assert!(!unexplained.error_message.is_empty());
    }

    #[test]
    fn messages_are_cut_at_a_character_within_the_bound() {
        let partial = trace_response(u64::MAX, &"é".repeat(5000))
            .partial_success
            .unwrap();
        assert_eq!(partial.rejected_spans, i64::MAX);
        assert!(partial.error_message.len() <= 1024);
        assert!(partial.error_message.ends_with("é…"));
    }
}
