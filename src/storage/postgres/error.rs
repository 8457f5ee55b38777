//! What a Postgres error means for the caller.

use deadpool_postgres::PoolError;

use crate::storage::Error;

/// What a SQLSTATE asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// The same call may succeed later, here or on another server.
    Unavailable,
    /// The data can never be stored.
    Poison,
    /// The statement ran into its time limit, or was cancelled.
    Cancelled,
}

/// Judges a SQLSTATE. What is not known to be caused by the data may pass: a batch that is tried
/// again costs time, one that is called poison costs spans. `constraint` says whether the server
/// named a constraint.
pub(super) fn classify(code: &str, constraint: bool) -> Class {
    match code {
        // query_canceled: statement_timeout, or somebody's pg_cancel_backend.
        "57014" => Class::Cancelled,
        // check_violation without a check: there is no partition for the row, not even a default.
        "23514" if !constraint => Class::Unavailable,
        _ => match code.get(..2) {
            // cardinality violation, data exception, integrity constraint, with check option,
            // program limit (an index row too large), raised by a trigger.
            Some("21" | "22" | "23" | "44" | "54" | "P0") => Class::Poison,
            // 08 connection, 0A (a cached plan), 25 transaction state (read-only standby), 26 and
            // 42 (a pooler's statements, a schema not migrated, privileges), 28 authorization,
            // 3D catalog, 40 rollback (deadlock, serialization), 53 resources, 55 object state
            // (locks), 57 operator, 58 system, XX internal and whatever may come.
            _ => Class::Unavailable,
        },
    }
}

fn class_of(error: &tokio_postgres::Error) -> Class {
    error.as_db_error().map_or(Class::Unavailable, |error| {
        classify(error.code().code(), error.constraint().is_some())
    })
}

/// Turns an error while writing into a storage error.
pub(super) fn write_error(context: &'static str) -> impl Fn(tokio_postgres::Error) -> Error {
    move |source| {
        let class = class_of(&source);
        let source = Box::new(source);
        match class {
            Class::Poison => Error::Poison { context, source },
            Class::Unavailable | Class::Cancelled => Error::Unavailable { context, source },
        }
    }
}

/// Turns an error while reading into a storage error: no data is to blame.
pub(super) fn read_error(context: &'static str) -> impl Fn(tokio_postgres::Error) -> Error {
    move |source| match class_of(&source) {
        Class::Cancelled => Error::Timeout,
        Class::Unavailable | Class::Poison => Error::Unavailable {
            context,
            source: Box::new(source),
        },
    }
}

/// Turns a pool's error into a storage error.
pub(super) fn pool_error(source: PoolError) -> Error {
    Error::Unavailable {
        context: "connect to the database",
        source: Box::new(source),
    }
}

/// Something of our own took too long.
pub(super) fn gave_up(context: &'static str) -> Error {
    Error::Unavailable {
        context,
        source: "the server did not answer in time".into(),
    }
}

/// The SQLSTATE of a storage error that a server answered.
pub(super) fn sqlstate(error: &Error) -> Option<&str> {
    let (Error::Unavailable { source, .. } | Error::Poison { source, .. }) = error else {
        return None;
    };
    let error = source.downcast_ref::<tokio_postgres::Error>()?;
    Some(error.code()?.code())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_is_tried_again() {
        for code in [
            "08000", "08003", "08006", "08P01", "0A000", "25006", "25P02", "25P03", "26000",
            "28000", "28P01", "3D000", "40001", "40P01", "42501", "42P01", "42P05", "42703",
            "53000", "53100", "53200", "53300", "53400", "55006", "55P03", "57000", "57P01",
            "57P02", "57P03", "57P05", "58000", "58030", "XX000", "XX001", "F0000", "HV000",
            "23514", "", "4",
        ] {
            assert_eq!(classify(code, false), Class::Unavailable, "{code}");
        }
        assert_eq!(classify("57014", false), Class::Cancelled);
    }

    #[test]
    fn what_the_data_causes_is_poison() {
        for code in [
            "21000", "22000", "22001", "22003", "22008", "22021", "22030", "22P02", "22P03",
            "22P05", "23502", "23503", "23505", "23514", "44000", "54000", "54001", "54011",
            "P0001",
        ] {
            assert_eq!(classify(code, true), Class::Poison, "{code}");
        }
    }
}
