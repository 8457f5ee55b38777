//! Problems as the failures that gRPC clients are told.

use std::time::Duration;

use super::request;
use crate::gateway::problem::{Code, Problem};
use crate::otlp::Failure;
use crate::storage;

/// When to come back while the store does not answer.
const RETRY_AFTER: Duration = Duration::from_secs(1);

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        let message = problem.detail;
        match problem.code {
            Code::InvalidParameter | Code::InvalidCursor if !problem.fields.is_empty() => {
                let fields = problem.fields.into_iter();
                let fields = fields.map(|field| (request::field(&field.path), field.message));
                Self::Invalid {
                    fields: fields.collect(),
                }
            }
            Code::InvalidParameter
            | Code::InvalidCursor
            | Code::QueryTooLong
            | Code::InvalidRequest => Self::Malformed {
                message,
                field: None,
            },
            Code::NotFound => Self::NotFound { message },
            Code::Unauthenticated => Self::Unauthenticated { message },
            Code::Forbidden => Self::PermissionDenied { message },
            Code::StorageUnavailable => Self::Overloaded {
                message,
                retry_after: RETRY_AFTER,
            },
            Code::QueryTimeout => Self::TooSlow { message },
            // The others are of routes, bodies and what is stored in a way that can't be read.
            Code::NoSuchRoute
            | Code::MethodNotAllowed
            | Code::Conflict
            | Code::UnsupportedMediaType
            | Code::RequestTooLarge
            | Code::HeadersTooLarge
            | Code::RequestTimeout
            | Code::StorageDamaged
            | Code::Internal => Self::Internal,
        }
    }
}

impl From<storage::Error> for Failure {
    fn from(error: storage::Error) -> Self {
        Problem::from(error).into()
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code as Status;

    use super::*;
    use crate::gateway::problem::FieldError;

    // Guarantees: each kind of problem has the code that clients act on; fields have the names that
    // they have in a request.
    #[test]
    fn problems_become_what_clients_act_on() {
        let cases = [
            (Code::InvalidParameter, Status::InvalidArgument),
            (Code::QueryTooLong, Status::InvalidArgument),
            (Code::NotFound, Status::NotFound),
            (Code::Unauthenticated, Status::Unauthenticated),
            (Code::Forbidden, Status::PermissionDenied),
            (Code::StorageUnavailable, Status::Unavailable),
            (Code::QueryTimeout, Status::DeadlineExceeded),
            (Code::StorageDamaged, Status::Internal),
            (Code::Internal, Status::Internal),
        ];
        for (code, status) in cases {
            let failure = Failure::from(Problem::new(code, "why"));
            assert_eq!(failure.grpc_code(), status, "{code:?}");
        }
        let fields = ["limit", "min_cost", "attr.<key>"].map(|path| FieldError {
            path: path.to_owned(),
            message: "no".to_owned(),
        });
        let problem = Problem::fields(Code::InvalidParameter, fields.to_vec());
        let failure = Failure::from(problem);
        assert_eq!(
            failure.to_string(),
            "page_size: no; filter.min_cost: no; filter.attributes: no"
        );
    }
}
