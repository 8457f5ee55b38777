//! Sessions: what a batch adds, and which traces are theirs.

use std::collections::{HashMap, HashSet};

use tokio_postgres::types::Type;

use super::super::super::transaction::{Param, Transaction};
use super::super::copy::Copy;
use super::super::traces::Key;
use super::{TotalColumns, add, add_totals, remove_totals};
use crate::model::genai::Totals;
use crate::model::{ProjectId, TraceId};
use crate::storage::Error;
use crate::storage::session::{SessionSums, Sessions};

const JOIN: &str = "join traces to sessions";
const COPY_JOINED: &str =
    "COPY session_trace (project_id, session_id, trace_id) FROM STDIN (FORMAT binary)";
const INSERT_JOINED: &str = "INSERT INTO session_trace (project_id, session_id, trace_id)
    SELECT * FROM unnest($1::bigint[], $2::text[], $3::bytea[])
    ON CONFLICT DO NOTHING RETURNING project_id, session_id, trace_id";

const UPSERT_SESSIONS: &str = concat!(
    "INSERT INTO session (project_id, session_id, user_id, start_unix_nano, end_unix_nano,
        received_unix_nano, trace_count, span_count, error_count, llm_call_count, input_tokens,
        output_tokens, cache_read_tokens, cost_nano_usd)
    SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[], $5::bigint[],
        $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[],
        $12::bigint[], $13::bigint[], $14::bigint[])
        AS k(project_id, session_id, user_id, start_unix_nano, end_unix_nano, received_unix_nano,
            trace_count, span_count)
    WHERE k.span_count > 0 OR EXISTS (
        SELECT FROM session s WHERE s.project_id = k.project_id AND s.session_id = k.session_id)
    ON CONFLICT (project_id, session_id) DO UPDATE SET
        user_id = least(session.user_id, excluded.user_id),
        start_unix_nano = least(session.start_unix_nano, excluded.start_unix_nano),
        end_unix_nano = greatest(session.end_unix_nano, excluded.end_unix_nano),
        received_unix_nano = greatest(session.received_unix_nano, excluded.received_unix_nano),
        trace_count = session.trace_count + excluded.trace_count, ",
    add_totals!("session")
);

const REMOVE_FROM_SESSIONS: &str = concat!(
    "UPDATE session t SET ",
    remove_totals!(),
    " FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[],
        $7::bigint[])
        AS k(project_id, session_id, llm_call_count, input_tokens, output_tokens,
            cache_read_tokens, cost_nano_usd)
    WHERE t.project_id = k.project_id AND t.session_id = k.session_id"
);

/// Merges what a batch adds to sessions. `new` are traces that this transaction made: they are in no
/// session yet.
///
/// # Errors
/// As the store's.
pub(super) async fn save_sessions(
    transaction: &Transaction,
    sessions: &Sessions<'_, TraceId>,
    new: &HashSet<Key>,
) -> Result<(), Error> {
    if sessions.sums.is_empty() {
        return Ok(());
    }
    let context = "store sessions";
    let joined = join_traces(transaction, sessions, new).await?;
    let all = || sessions.sums.iter();
    let number = |of: fn(&SessionSums<'_, TraceId>) -> i64| -> Vec<i64> {
        all().map(|(_, sums)| of(sums)).collect()
    };
    let projects: Vec<_> = all()
        .map(|((project, _), _)| i64::from(project.0))
        .collect();
    let names: Vec<_> = all().map(|((_, session), _)| session.as_ref()).collect();
    let users: Vec<_> = all().map(|(_, sums)| sums.user_id).collect();
    let trace_counts: Vec<_> = all()
        .map(|((project, session), _)| {
            let key = (*project, session.as_ref());
            joined.get(&key).copied().unwrap_or(0)
        })
        .collect();
    let mut totals = TotalColumns::default();
    for (_, sums) in all() {
        totals.push(sums.span_count, sums.error_count, &sums.totals);
    }
    transaction
        .execute(
            UPSERT_SESSIONS,
            &[
                (&projects, Type::INT8_ARRAY),
                (&names, Type::TEXT_ARRAY),
                (&users, Type::TEXT_ARRAY),
                (&number(|sums| sums.start), Type::INT8_ARRAY),
                (&number(|sums| sums.end), Type::INT8_ARRAY),
                (&number(|sums| sums.received), Type::INT8_ARRAY),
                (&trace_counts, Type::INT8_ARRAY),
                (&totals.span_counts, Type::INT8_ARRAY),
                (&totals.error_counts, Type::INT8_ARRAY),
                (&totals.llm_calls, Type::INT8_ARRAY),
                (&totals.input_tokens, Type::INT8_ARRAY),
                (&totals.output_tokens, Type::INT8_ARRAY),
                (&totals.cache_read_tokens, Type::INT8_ARRAY),
                (&totals.costs, Type::INT8_ARRAY),
            ],
            context,
        )
        .await?;
    remove_from_sessions(transaction, sessions).await
}

/// Takes away what earlier spans no longer count for. The rows are locked already: all of them were
/// just written.
async fn remove_from_sessions(
    transaction: &Transaction,
    sessions: &Sessions<'_, TraceId>,
) -> Result<(), Error> {
    let (mut projects, mut names) = (Vec::new(), Vec::new());
    let mut removed = TotalColumns::default();
    for ((project, name), sums) in &sessions.sums {
        if sums.removed != Totals::default() {
            projects.push(i64::from(project.0));
            names.push(name.as_ref());
            removed.push(0, 0, &sums.removed);
        }
    }
    if projects.is_empty() {
        return Ok(());
    }
    let mut params: Vec<Param<'_>> =
        vec![(&projects, Type::INT8_ARRAY), (&names, Type::TEXT_ARRAY)];
    params.extend(removed.counted());
    transaction
        .execute(REMOVE_FROM_SESSIONS, &params, "correct sessions")
        .await?;
    Ok(())
}

/// Joins traces to their sessions; answers how many are new to each.
async fn join_traces<'s>(
    transaction: &Transaction,
    sessions: &'s Sessions<'_, TraceId>,
    new: &HashSet<Key>,
) -> Result<HashMap<(ProjectId, &'s str), i64>, Error> {
    let mut joined: HashMap<_, i64> = HashMap::new();
    let (mut added, mut other) = (Vec::new(), Vec::new());
    for ((project, session), sums) in &sessions.sums {
        let key = (*project, session.as_ref());
        for trace in &sums.traces {
            if new.contains(&(*project, *trace)) {
                *joined.entry(key).or_default() += 1;
                added.push((key, trace));
            } else {
                other.push((key, trace));
            }
        }
    }
    copy_joined(transaction, &added).await?;
    for place in insert_joined(transaction, &other).await? {
        if let Some((key, _)) = other.get(place) {
            *joined.entry(*key).or_default() += 1;
        }
    }
    Ok(joined)
}

type Joined<'s, 't> = ((ProjectId, &'s str), &'t TraceId);

/// Traces that can't be in the session yet: who adds to a trace holds its lock.
async fn copy_joined(transaction: &Transaction, rows: &[Joined<'_, '_>]) -> Result<(), Error> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut copy = Copy::begin(transaction, COPY_JOINED, JOIN).await?;
    for ((project, session), trace) in rows {
        copy.rows.row(3);
        copy.rows.i64(i64::from(project.0));
        copy.rows.text(session);
        copy.rows.bytes(&trace.0);
        copy.send_if_full().await?;
    }
    copy.finish().await?;
    Ok(())
}

/// Traces that may be in the session; answers the places of those that were not.
async fn insert_joined(
    transaction: &Transaction,
    rows: &[Joined<'_, '_>],
) -> Result<Vec<usize>, Error> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let projects: Vec<_> = rows.iter().map(|row| i64::from(row.0.0.0)).collect();
    let names: Vec<_> = rows.iter().map(|row| row.0.1).collect();
    let trace_ids: Vec<_> = rows.iter().map(|row| row.1.0.as_slice()).collect();
    let params = [
        (&projects as _, Type::INT8_ARRAY),
        (&names as _, Type::TEXT_ARRAY),
        (&trace_ids as _, Type::BYTEA_ARRAY),
    ];
    let inserted = transaction.query(INSERT_JOINED, &params, JOIN).await?;
    let key = |row: &tokio_postgres::Row| -> (i64, String, Vec<u8>) {
        (row.get(0), row.get(1), row.get(2))
    };
    let inserted: HashSet<_> = inserted.iter().map(key).collect();
    let is_new = |((project, session), trace): &Joined<'_, '_>| {
        let row = (
            i64::from(project.0),
            (*session).to_owned(),
            trace.0.to_vec(),
        );
        inserted.contains(&row)
    };
    let places = rows.iter().enumerate().filter(|(_, row)| is_new(row));
    Ok(places.map(|(place, _)| place).collect())
}
