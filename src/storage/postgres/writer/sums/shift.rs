//! Moving what spans count for from one sum to another.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use tokio_postgres::types::Type;

use super::super::super::transaction::{Param, Transaction};
use super::super::params::number_array;
use super::TotalColumns;
use super::rollups::KeyColumns;
use super::{save_rollups, save_sessions};
use crate::model::histogram::Histogram;
use crate::model::{ProjectId, TraceId};
use crate::storage::Error;
use crate::storage::remap::{Exchanged, Shifted};
use crate::storage::rollup::{Key, Rows};
use crate::storage::session::Sessions;

/// Rollups by their keys, the parameters from the first on.
macro_rules! keys {
    () => {
        "$1::bigint[], $2::smallint[], $3::bigint[], $4::text[], $5::text[], $6::text[],
        $7::text[]"
    };
}

macro_rules! of_key {
    () => {
        "t.project_id = k.project_id AND t.level = k.level AND t.minute = k.minute
        AND t.service_name = k.service_name AND t.operation = k.operation
        AND t.provider = k.provider AND t.model = k.model"
    };
}

/// Locks rollups in key order; answers their places, counted from 1, and durations.
const LOCK_ROLLUPS: &str = concat!(
    "SELECT k.place::bigint, t.duration_hist FROM unnest(",
    keys!(),
    ") WITH ORDINALITY
        AS k(project_id, level, minute, service_name, operation, provider, model, place)
    JOIN rollup t ON ",
    of_key!(),
    " ORDER BY t.project_id, t.level, t.minute, t.service_name, t.operation, t.provider, t.model
    FOR NO KEY UPDATE OF t"
);

const TAKE_FROM_ROLLUPS: &str = concat!(
    "UPDATE rollup t SET
        span_count = greatest(0, t.span_count - k.span_count),
        error_count = greatest(0, t.error_count - k.error_count),
        duration_sum_ns = greatest(0, t.duration_sum_ns - k.duration_sum_ns),
        duration_hist = k.duration_hist::bigint[],
        llm_call_count = greatest(0, t.llm_call_count - k.llm_call_count),
        input_tokens = greatest(0, t.input_tokens - k.input_tokens),
        output_tokens = greatest(0, t.output_tokens - k.output_tokens),
        cache_read_tokens = greatest(0, t.cache_read_tokens - k.cache_read_tokens),
        cost_nano_usd = greatest(0, t.cost_nano_usd - k.cost_nano_usd)
    FROM unnest(",
    keys!(),
    ", $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[],
        $14::bigint[], $15::bigint[], $16::text[])
        AS k(project_id, level, minute, service_name, operation, provider, model,
            llm_call_count, input_tokens, output_tokens, cache_read_tokens, cost_nano_usd,
            span_count, error_count, duration_sum_ns, duration_hist)
    WHERE ",
    of_key!()
);

const DELETE_EMPTY_ROLLUPS: &str = concat!(
    "DELETE FROM rollup t USING unnest(",
    keys!(),
    ") AS k(project_id, level, minute, service_name, operation, provider, model)
    WHERE t.span_count = 0 AND ",
    of_key!()
);

const LEAVE_SESSIONS: &str = "DELETE FROM session_trace t
    USING unnest($1::bigint[], $2::text[], $3::bytea[]) AS k(project_id, session_id, trace_id)
    WHERE t.project_id = k.project_id AND t.session_id = k.session_id AND t.trace_id = k.trace_id
    RETURNING t.project_id, t.session_id";

const TAKE_FROM_SESSIONS: &str = "UPDATE session t SET
        trace_count = greatest(0, t.trace_count - k.trace_count),
        span_count = greatest(0, t.span_count - k.span_count),
        error_count = greatest(0, t.error_count - k.error_count),
        llm_call_count = greatest(0, t.llm_call_count - k.llm_call_count),
        input_tokens = greatest(0, t.input_tokens - k.input_tokens),
        output_tokens = greatest(0, t.output_tokens - k.output_tokens),
        cache_read_tokens = greatest(0, t.cache_read_tokens - k.cache_read_tokens),
        cost_nano_usd = greatest(0, t.cost_nano_usd - k.cost_nano_usd)
    FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[],
        $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[])
        AS k(project_id, session_id, trace_count, span_count, error_count, llm_call_count,
            input_tokens, output_tokens, cache_read_tokens, cost_nano_usd)
    WHERE t.project_id = k.project_id AND t.session_id = k.session_id";

const DELETE_EMPTY_SESSIONS: &str = "WITH gone AS (
        DELETE FROM session t USING unnest($1::bigint[], $2::text[]) AS k(project_id, session_id)
        WHERE t.project_id = k.project_id AND t.session_id = k.session_id AND t.span_count = 0
        RETURNING t.project_id, t.session_id)
    DELETE FROM session_trace t USING gone
    WHERE t.project_id = gone.project_id AND t.session_id = gone.session_id";

const BOUND_SESSIONS: &str = "UPDATE session t SET user_id = found.user_id,
        start_unix_nano = found.first, end_unix_nano = found.last
    FROM unnest($1::bigint[], $2::text[]) AS k(project_id, session_id)
    CROSS JOIN LATERAL (
        SELECT min(trace.user_id) AS user_id, min(trace.start_unix_nano) AS first,
            max(trace.end_unix_nano) AS last
        FROM session_trace s
        JOIN trace ON trace.project_id = s.project_id AND trace.trace_id = s.trace_id
        WHERE s.project_id = k.project_id AND s.session_id = k.session_id OFFSET 0) AS found
    WHERE t.project_id = k.project_id AND t.session_id = k.session_id
        AND found.first IS NOT NULL";

/// Adds what traces are now, then takes away what they were.
///
/// # Errors
/// As the store's.
pub(in super::super) async fn shift(
    transaction: &Transaction,
    exchanged: &Exchanged<'_, TraceId>,
) -> Result<(), Error> {
    shift_sessions(transaction, &exchanged.sessions).await?;
    shift_rollups(transaction, &exchanged.rollups).await
}

async fn shift_rollups(
    transaction: &Transaction,
    Shifted { added, taken }: &Shifted<Rows<'_>>,
) -> Result<(), Error> {
    // All of them at once and in order, as other writers do.
    let all: BTreeSet<_> = added.keys().chain(taken.keys()).collect();
    let mut stored = lock_rollups(transaction, all).await?;
    save_rollups(transaction, added).await?;
    let mut keys = KeyColumns::default();
    let (mut durations, mut histograms) = (Vec::new(), Vec::new());
    let mut totals = TotalColumns::default();
    for (key, sums) in taken {
        let Some(mut histogram) = stored.remove(key) else {
            continue;
        };
        if let Some(added) = added.get(key) {
            histogram.merge(&added.durations);
        }
        histogram.take_away(&sums.durations);
        keys.push(key);
        durations.push(sums.duration_sum_ns);
        histograms.push(number_array(&histogram.to_pairs()));
        totals.push(sums.span_count, sums.error_count, &sums.totals);
    }
    let mut params = keys.params().to_vec();
    params.extend(totals.counted());
    params.extend::<[Param<'_>; 4]>([
        (&totals.span_counts, Type::INT8_ARRAY),
        (&totals.error_counts, Type::INT8_ARRAY),
        (&durations, Type::INT8_ARRAY),
        (&histograms, Type::TEXT_ARRAY),
    ]);
    let context = "take from rollups";
    transaction
        .execute(TAKE_FROM_ROLLUPS, &params, context)
        .await?;
    transaction
        .execute(DELETE_EMPTY_ROLLUPS, &keys.params(), context)
        .await?;
    Ok(())
}

async fn lock_rollups<'k>(
    transaction: &Transaction,
    wanted: impl IntoIterator<Item = &'k Key<'k>>,
) -> Result<BTreeMap<&'k Key<'k>, Histogram>, Error> {
    let wanted: Vec<_> = wanted.into_iter().collect();
    let mut keys = KeyColumns::default();
    for key in &wanted {
        keys.push(key);
    }
    let rows = transaction
        .query(LOCK_ROLLUPS, &keys.params(), "lock rollups")
        .await?;
    let mut found = BTreeMap::new();
    for row in rows {
        let place = usize::try_from(row.get::<_, i64>(0) - 1).ok();
        let key = place.and_then(|place| wanted.get(place));
        let durations = Histogram::from_pairs(&row.get::<_, Vec<i64>>(1));
        if let (Some(key), Ok(durations)) = (key, durations) {
            found.insert(*key, durations);
        }
    }
    Ok(found)
}

async fn shift_sessions(
    transaction: &Transaction,
    Shifted { added, taken }: &Shifted<Sessions<'_, TraceId>>,
) -> Result<(), Error> {
    save_sessions(transaction, added, &HashSet::new()).await?;
    if taken.sums.is_empty() {
        return Ok(());
    }
    let left = leave(transaction, added, taken).await?;
    let (mut projects, mut names, mut traces) = (Vec::new(), Vec::new(), Vec::new());
    let mut totals = TotalColumns::default();
    let (mut moved_projects, mut moved_names) = (Vec::new(), Vec::new());
    for (session, sums) in &taken.sums {
        let key = (i64::from(session.0.0), session.1.as_ref());
        projects.push(key.0);
        names.push(key.1);
        traces.push(left.get(&(key.0, key.1.to_owned())).copied().unwrap_or(0));
        totals.push(sums.span_count, sums.error_count, &sums.totals);
        let now = added.sums.get(session);
        if now.is_none_or(|now| !now.covers(sums)) {
            moved_projects.push(key.0);
            moved_names.push(key.1);
        }
    }
    let context = "take from sessions";
    let mut params: Vec<Param<'_>> = vec![
        (&projects, Type::INT8_ARRAY),
        (&names, Type::TEXT_ARRAY),
        (&traces, Type::INT8_ARRAY),
        (&totals.span_counts, Type::INT8_ARRAY),
        (&totals.error_counts, Type::INT8_ARRAY),
    ];
    params.extend(totals.counted());
    transaction
        .execute(TAKE_FROM_SESSIONS, &params, context)
        .await?;
    let moved: [Param<'_>; 2] = [
        (&moved_projects, Type::INT8_ARRAY),
        (&moved_names, Type::TEXT_ARRAY),
    ];
    for sql in [DELETE_EMPTY_SESSIONS, BOUND_SESSIONS] {
        transaction.execute(sql, &moved, context).await?;
    }
    Ok(())
}

/// Takes traces out of the sessions that none of their spans names any more; answers how many left
/// each session.
async fn leave(
    transaction: &Transaction,
    added: &Sessions<'_, TraceId>,
    taken: &Sessions<'_, TraceId>,
) -> Result<HashMap<(i64, String), i64>, Error> {
    let (mut projects, mut names, mut trace_ids) = (Vec::new(), Vec::new(), Vec::new());
    for (session, sums) in &taken.sums {
        let now = added.sums.get(session);
        let stays = |trace: &TraceId| now.is_some_and(|now| now.traces.contains(trace));
        for trace in sums.traces.iter().filter(|trace| !stays(trace)) {
            let ProjectId(project) = session.0;
            projects.push(i64::from(project));
            names.push(session.1.as_ref());
            trace_ids.push(trace.0.as_slice());
        }
    }
    let params: [Param<'_>; 3] = [
        (&projects, Type::INT8_ARRAY),
        (&names, Type::TEXT_ARRAY),
        (&trace_ids, Type::BYTEA_ARRAY),
    ];
    let rows = transaction
        .query(LEAVE_SESSIONS, &params, "leave sessions")
        .await?;
    let mut left = HashMap::new();
    for row in rows {
        *left.entry((row.get(0), row.get(1))).or_default() += 1;
    }
    Ok(left)
}
