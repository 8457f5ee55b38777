//! Columns of a block with some of its spans replaced.

use std::collections::HashMap;

use super::ColumnsBuilder;
use super::read::Columns;
use crate::model::ProjectId;
use crate::storage::remap::row_of;
use crate::storage::write::SpanRow;

impl Columns {
    /// The columns with other rows at some places, encoded; `None` when they are damaged.
    pub(in crate::storage::sqlite) fn rebuilt(
        &self,
        project: ProjectId,
        replaced: &HashMap<usize, &SpanRow<'_>>,
    ) -> Option<Vec<u8>> {
        let summaries: Option<Vec<_>> = (0..self.len()).map(|place| self.summary(place)).collect();
        let summaries = summaries?;
        let rows: Vec<_> = summaries
            .iter()
            .map(|summary| row_of(project, summary, 0, (0, ""), &[]))
            .collect();
        let mut builder = ColumnsBuilder::default();
        let mut trace = None;
        for (place, row) in rows.iter().enumerate() {
            let key = self.trace_key(place)?;
            if trace != Some(key) {
                builder.begin_trace(key, row.trace_id);
                trace = Some(key);
            }
            let row = replaced.get(&place).copied().unwrap_or(row);
            builder.push(row, self.resource_id(place), self.service(place));
        }
        Some(builder.finish())
    }
}
