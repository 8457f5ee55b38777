//! What a SQLite error means for the caller.

use rusqlite::ErrorCode;

use crate::storage::Error;

/// Turns a SQLite error into a storage error: data the store can never take is poison, everything
/// else may pass.
pub(super) fn storage_error(context: &'static str) -> impl Fn(rusqlite::Error) -> Error {
    move |source| {
        let code = source.sqlite_error_code();
        let poison = matches!(
            code,
            Some(ErrorCode::TooBig | ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch)
        );
        let interrupted = code == Some(ErrorCode::OperationInterrupted);
        let source = Box::new(source);
        if interrupted {
            Error::Timeout
        } else if poison {
            Error::Poison { context, source }
        } else {
            Error::Unavailable { context, source }
        }
    }
}
