//! Testing spans against the filters that columns answer.

use super::walk::Header;
use crate::storage::sqlite::columns::Columns;
use crate::storage::{SpanFilter, StatusFilter};

/// Tests spans.
#[derive(Debug, Clone, Copy)]
pub(super) struct ColumnTest<'f>(pub(super) &'f SpanFilter);

impl ColumnTest<'_> {
    /// Whether no span of a block can match.
    pub(super) fn rules_out(self, header: &Header) -> bool {
        let failed_only = self.0.status_implied() == Some(StatusFilter::Error);
        failed_only && header.error_count == 0
    }

    /// Whether a span of a block may match, as far as the texts of the block tell.
    pub(super) fn may_match(self, columns: &Columns) -> bool {
        let service = self.0.service.as_ref();
        service.is_none_or(|service| columns.has_service(service))
            && self.0.facts.iter().all(|fact| columns.may_say(fact))
    }

    /// Whether columns have a say at all.
    pub(super) fn is_needed(self) -> bool {
        // Every filter by its name, so that a new one is not forgotten here.
        let SpanFilter {
            range: _,
            trace_id: _,
            service,
            name,
            status,
            duration_min_ns,
            duration_max_ns,
            session_id,
            user_id,
            tokens_min,
            cost_min_nano_usd,
            facts,
            attributes: _,
        } = self.0;
        let texts = [service, name, session_id, user_id];
        texts.into_iter().any(Option::is_some)
            || status.is_some()
            || duration_min_ns.is_some()
            || duration_max_ns.is_some()
            || tokens_min.is_some()
            || cost_min_nano_usd.is_some()
            || !facts.is_empty()
    }

    /// Whether a span matches.
    pub(super) fn matches(self, columns: &Columns, place: usize) -> bool {
        let filter = self.0;
        let duration = columns.duration_ns(place);
        let status = |wanted| columns.failed(place) == (wanted == StatusFilter::Error);
        filter.status_implied().is_none_or(status)
            && filter.duration_min_ns.is_none_or(|min| duration >= min)
            && filter.duration_max_ns.is_none_or(|max| duration <= max)
            && filter
                .name
                .as_deref()
                .is_none_or(|name| columns.name(place) == name)
            && filter
                .service
                .as_deref()
                .is_none_or(|service| columns.service(place) == service)
            && self.genai_matches(columns, place)
    }

    fn genai_matches(self, columns: &Columns, place: usize) -> bool {
        let filter = self.0;
        let is = |wanted: &Option<String>, found: Option<&str>| {
            wanted.is_none() || wanted.as_deref() == found
        };
        is(&filter.session_id, columns.session(place))
            && is(&filter.user_id, columns.user(place))
            && filter
                .tokens_min
                .is_none_or(|min| columns.tokens(place) >= min)
            && filter
                .cost_min_nano_usd
                .is_none_or(|min| columns.cost_nano_usd(place) >= min)
            && filter.facts.iter().all(|fact| columns.says(place, fact))
    }
}
