//! Testing traces for what their spans say.

use std::collections::HashSet;

use tokio_postgres::types::Type;

use super::blocks::SPANS_TOGETHER;
use super::columns::Columns;
use super::scan::Walk;
use super::session::{Param, Session};
use super::slices::whole;
use super::traces::{Looked, TraceRow};
use super::{project_id, stored_text};
use crate::model::ProjectId;
use crate::storage::Error;
use crate::storage::query::Fact;

/// Which of some traces have, for everything that is wanted, a span that says it. Looked up trace
/// by trace; all of them together say which partitions are read. Only the primary key yields the
/// spans of a trace in the order asked for, so that no plan takes another index for as good because
/// it knows nothing of a new partition.
pub(super) const TRACES_THAT_SAY: &str = "SELECT wanted.trace_id \
     FROM unnest($2::bytea[], $3::bigint[]) AS wanted (trace_id, received) CROSS JOIN LATERAL ( \
         SELECT bool_or(operation = $6) AS operation, bool_or(provider = $7) AS provider, \
             bool_or(coalesce(response_model, request_model) = $8) AS model, \
             bool_or(agent_name = $9 OR agent_id = $9) AS agent, bool_or(tool_name = $10) AS tool, \
             bool_or($11 = ANY(tags)) AS tag, \
             bool_or(status = 2 AND error_kind = $12) AS error_kind \
         FROM (SELECT * FROM span WHERE project_id = $1 AND span.trace_id = wanted.trace_id \
             AND start_time >= $4 AND start_time < $5 \
             AND received_unix_nano >= wanted.received ORDER BY span_id OFFSET 0) AS part \
         ) AS found \
     WHERE ($6::text IS NULL OR found.operation) AND ($7::text IS NULL OR found.provider) \
     AND ($8::text IS NULL OR found.model) AND ($9::text IS NULL OR found.agent) \
     AND ($10::text IS NULL OR found.tool) AND ($11::text IS NULL OR found.tag) \
     AND ($12::smallint IS NULL OR found.error_kind)";

/// Facts as parameters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) operation: Option<String>,
    pub(super) provider: Option<String>,
    pub(super) model: Option<String>,
    pub(super) agent: Option<String>,
    pub(super) tool: Option<String>,
    pub(super) tag: Option<String>,
    pub(super) error_kind: Option<i16>,
}

impl Wanted {
    pub(super) fn new(facts: &[Fact]) -> Self {
        let mut wanted = Self::default();
        for fact in facts {
            match fact {
                Fact::Operation(text) => wanted.operation = Some(stored_text(text)),
                Fact::Provider(text) => wanted.provider = Some(stored_text(text)),
                Fact::Model(text) => wanted.model = Some(stored_text(text)),
                Fact::Agent(text) => wanted.agent = Some(stored_text(text)),
                Fact::Tool(text) => wanted.tool = Some(stored_text(text)),
                Fact::Tag(text) => wanted.tag = Some(stored_text(text)),
                Fact::ErrorKind(kind) => wanted.error_kind = Some(i16::from(*kind as u8)),
            }
        }
        wanted
    }

    /// Whether spans must be looked at for more than the model.
    fn is_of_spans(&self) -> bool {
        *self
            != Self {
                model: self.model.clone(),
                ..Self::default()
            }
    }

    /// Whether spans of a trace must be looked at: its own row tells its models, unless there are
    /// more than it keeps.
    fn is_open(&self, trace: &TraceRow) -> bool {
        self.is_of_spans()
            || self
                .model
                .as_ref()
                .is_some_and(|model| !trace.summary.models.contains(model))
    }
}

/// Tests traces of a list.
pub(super) struct FactTest<'s> {
    session: &'s Session,
    project: i64,
    wanted: Wanted,
}

impl<'s> FactTest<'s> {
    /// A test for these facts; `None` when there are none.
    pub(super) fn new(session: &'s Session, project: ProjectId, facts: &[Fact]) -> Option<Self> {
        (!facts.is_empty()).then(|| Self {
            session,
            project: project_id(project),
            wanted: Wanted::new(facts),
        })
    }

    /// Tests rows that match so far. A trace of more than [`SPANS_TOGETHER`] spans must come alone.
    pub(super) async fn test<T>(
        &self,
        rows: &mut [Looked],
        walk: &mut Walk<T>,
    ) -> Result<(), Error> {
        let open: Vec<_> = rows
            .iter()
            .filter(|row| row.matches && self.wanted.is_open(&row.trace))
            .map(|row| &row.trace)
            .collect();
        if open.is_empty() {
            return Ok(());
        }
        debug_assert!(open.len() == 1 || spans(&open) <= SPANS_TOGETHER);
        walk.spend_spans(spans(&open));
        let matching = self.matching(&open).await?;
        for row in rows {
            let id = row.trace.summary.trace_id.0.as_slice();
            row.matches &= !self.wanted.is_open(&row.trace) || matching.contains(id);
        }
        Ok(())
    }

    async fn matching(&self, traces: &[&TraceRow]) -> Result<HashSet<Vec<u8>>, Error> {
        let from = traces.iter().map(|trace| trace.start).min();
        let to = traces.iter().map(|trace| trace.last_start).max();
        let slice = whole(from.unwrap_or(0), to.unwrap_or(0));
        let ids: Vec<_> = traces
            .iter()
            .map(|trace| trace.summary.trace_id.0.as_slice())
            .collect();
        // What arrived before the trace belongs to one that was deleted.
        let received: Vec<_> = traces.iter().map(|trace| trace.received).collect();
        let wanted = &self.wanted;
        let params: [Param<'_>; 12] = [
            (&self.project, Type::INT8),
            (&ids, Type::BYTEA_ARRAY),
            (&received, Type::INT8_ARRAY),
            (&slice.from, Type::TIMESTAMPTZ),
            (&slice.before, Type::TIMESTAMPTZ),
            (&wanted.operation, Type::TEXT),
            (&wanted.provider, Type::TEXT),
            (&wanted.model, Type::TEXT),
            (&wanted.agent, Type::TEXT),
            (&wanted.tool, Type::TEXT),
            (&wanted.tag, Type::TEXT),
            (&wanted.error_kind, Type::INT2),
        ];
        let rows = self
            .session
            .walk(TRACES_THAT_SAY, &params, "look at the spans of traces")
            .await?;
        rows.iter().map(|row| Columns::new(row).take()).collect()
    }
}

fn spans(traces: &[&TraceRow]) -> u64 {
    traces
        .iter()
        .map(|trace| trace.summary.span_count)
        .fold(0, u64::saturating_add)
}
