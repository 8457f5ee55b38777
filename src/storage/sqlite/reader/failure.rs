//! What a SQLite error means for somebody who reads.

use rusqlite::{Error as SqliteError, ErrorCode};

use crate::storage::Error;

/// Turns a SQLite error into a storage error: an interrupted query ran out of time, unreadable
/// data is damage, everything else may pass.
pub(super) fn read_error(context: &'static str) -> impl Fn(SqliteError) -> Error {
    move |source| match &source {
        SqliteError::SqliteFailure(failure, _) => match failure.code {
            ErrorCode::OperationInterrupted => Error::Timeout,
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => damaged(context, &source),
            _ => unavailable(context, source),
        },
        SqliteError::FromSqlConversionFailure(..)
        | SqliteError::IntegralValueOutOfRange(..)
        | SqliteError::InvalidColumnType(..)
        | SqliteError::QueryReturnedNoRows
        | SqliteError::Utf8Error(..) => damaged(context, &source),
        _ => unavailable(context, source),
    }
}

fn damaged(context: &str, source: &SqliteError) -> Error {
    Error::Corrupt {
        context: format!("{context}: {source}"),
    }
}

fn unavailable(context: &'static str, source: SqliteError) -> Error {
    Error::Unavailable {
        context,
        source: Box::new(source),
    }
}
