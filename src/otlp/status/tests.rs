use prost::Message as _;
use tonic_types::{RpcStatusExt as _, pb};

use super::*;

/// Failure, gRPC code, HTTP status, retried over HTTP, hint in seconds.
type Row = (Failure, Code, u16, bool, Option<u64>);

fn of_requests() -> Vec<Row> {
    let text = || "text".to_owned();
    let malformed = Failure::Malformed {
        message: text(),
        field: Some("resource_spans.schema_url".to_owned()),
    };
    let overloaded = Failure::Overloaded {
        message: text(),
        retry_after: Duration::from_millis(3_200),
    };
    let unsupported_type = Failure::UnsupportedType {
        given: text(),
        supported: "application/json",
    };
    let unsupported_encoding = Failure::UnsupportedEncoding {
        given: text(),
        supported: text(),
    };
    let denied = Failure::PermissionDenied { message: text() };
    let method = Failure::MethodNotAllowed { allow: "POST" };
    let not_served = Failure::NotServed { what: text() };
    let too_large = Failure::TooLarge { limit_bytes: 64 };
    vec![
        (malformed, Code::InvalidArgument, 400, false, None),
        (too_large, Code::ResourceExhausted, 413, false, None),
        (unsupported_type, Code::Unimplemented, 415, false, None),
        (unsupported_encoding, Code::Unimplemented, 415, false, None),
        (not_served, Code::Unimplemented, 404, false, None),
        (method, Code::Unimplemented, 405, false, None),
        (
            Failure::HeadersTooLarge,
            Code::ResourceExhausted,
            431,
            false,
            None,
        ),
        (
            Failure::RequestTimeout,
            Code::DeadlineExceeded,
            408,
            false,
            None,
        ),
        (
            Failure::Unauthenticated { message: text() },
            Code::Unauthenticated,
            401,
            false,
            None,
        ),
        (denied, Code::PermissionDenied, 403, false, None),
        (overloaded, Code::Unavailable, 503, true, Some(4)),
        (Failure::ShuttingDown, Code::Unavailable, 503, true, Some(1)),
        (
            Failure::DeadlineExceeded,
            Code::DeadlineExceeded,
            504,
            true,
            None,
        ),
        (Failure::Internal, Code::Internal, 500, false, None),
    ]
}

fn of_questions() -> Vec<Row> {
    let text = || "text".to_owned();
    vec![
        (
            Failure::Invalid {
                fields: vec![("filter.end".to_owned(), "is before start".to_owned())],
            },
            Code::InvalidArgument,
            400,
            false,
            None,
        ),
        (
            Failure::NotFound { message: text() },
            Code::NotFound,
            404,
            false,
            None,
        ),
        (
            Failure::TooSlow { message: text() },
            Code::DeadlineExceeded,
            504,
            true,
            None,
        ),
    ]
}

fn every_failure() -> Vec<Row> {
    let mut all = of_requests();
    all.extend(of_questions());
    all
}

#[test]
fn every_outcome_has_the_codes_of_the_table() {
    for (failure, grpc, http, is_retryable, hint) in every_failure() {
        assert_eq!(failure.grpc_code(), grpc, "{failure:?}");
        assert_eq!(failure.http_status().as_u16(), http, "{failure:?}");
        assert_eq!(failure.is_retryable(), is_retryable, "{failure:?}");
        assert_eq!(
            failure.retry_after().map(|it| it.as_secs()),
            hint,
            "{failure:?}"
        );
        assert!(!matches!(
            failure.grpc_code(),
            Code::OutOfRange | Code::DataLoss
        ));
    }
}

#[test]
fn grpc_details_say_when_to_retry_and_what_is_wrong_and_nothing_else() {
    for (failure, code, _, _, hint) in every_failure() {
        let status = failure.grpc_status();
        assert_eq!(status.code(), code);
        let details = status.get_error_details();
        let delay = details.retry_info().and_then(|it| it.retry_delay);
        assert_eq!(delay, hint.map(Duration::from_secs), "{failure:?}");
        let is_malformed = matches!(failure, Failure::Malformed { .. } | Failure::Invalid { .. });
        assert_eq!(details.bad_request().is_some(), is_malformed, "{failure:?}");
        // RESOURCE_EXHAUSTED with RetryInfo would be retried for ever.
        if code == Code::ResourceExhausted {
            assert!(status.details().is_empty());
        }
    }
}

#[test]
fn http_bodies_are_a_status_in_both_forms_and_say_the_same() {
    for (failure, code, _, _, hint) in every_failure() {
        let status = pb::Status::decode(failure.http_body(false)).unwrap();
        assert_eq!(status.code, i32::from(code));
        assert_eq!(status.message, failure.to_string());
        let details = status.get_error_details();
        assert_eq!(
            details.retry_info().and_then(|it| it.retry_delay),
            hint.map(Duration::from_secs)
        );

        let json: serde_json::Value = serde_json::from_slice(&failure.http_body(true)).unwrap();
        assert_eq!(json["code"], i32::from(code));
        assert_eq!(json["message"], failure.to_string());
        assert_eq!(json.get("details").is_some(), !status.details.is_empty());
    }
    let [(malformed, ..), .., (overloaded, ..), _, _, _] = &of_requests()[..] else {
        panic!("the table has changed");
    };
    assert_eq!(
        malformed.http_body(true),
        r#"{"code":3,"details":[{"@type":"type.googleapis.com/google.rpc.BadRequest","fieldViolations":[{"description":"text","field":"resource_spans.schema_url"}]}],"message":"text"}"#
    );
    assert_eq!(
        overloaded.http_body(true),
        r#"{"code":14,"details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"4s"}],"message":"text"}"#
    );
    let status = pb::Status::decode(malformed.http_body(false)).unwrap();
    let details = status.get_error_details();
    let violation = &details.bad_request().unwrap().field_violations[0];
    assert_eq!(violation.field, "resource_spans.schema_url");
}

// Guarantees: every wrong field of a question is named, up to a number of them.
#[test]
fn all_wrong_fields_are_named() {
    let field = |number: u32| (format!("field_{number}"), "é".repeat(300));
    let failure = Failure::Invalid {
        fields: (0..100).map(field).collect(),
    };
    let status = failure.grpc_status();
    assert!(status.message().starts_with("field_0: é"));
    assert!(status.message().len() < 1024);
    let details = status.get_error_details();
    let violations = &details.bad_request().unwrap().field_violations;
    let named: Vec<_> = violations.iter().map(|it| it.field.as_str()).collect();
    assert_eq!(named.len(), 16);
    assert_eq!((named[0], named[15]), ("field_0", "field_15"));
}

#[test]
fn texts_stay_below_a_kibibyte_and_hints_within_their_range() {
    let failure = Failure::UnsupportedType {
        given: "é".repeat(9000),
        supported: "application/json",
    };
    assert!(failure.grpc_status().message().len() < 1024);
    let failure = Failure::Malformed {
        message: "é".repeat(9000),
        field: Some("a".repeat(9000)),
    };
    assert!(failure.grpc_status().message().len() < 1024);
    assert!(failure.http_body(false).len() < 2048);

    for (wish, hint) in [(0, 1), (1_000, 1), (1_001, 2), (29_500, 30), (900_000, 30)] {
        let failure = Failure::Overloaded {
            message: String::new(),
            retry_after: Duration::from_millis(wish),
        };
        assert_eq!(failure.retry_after(), Some(Duration::from_secs(hint)));
    }
}
