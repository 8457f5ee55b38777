//! Which traces a question means: by the columns of their spans, and by all that these say. Pure.

use super::super::lists::{is_first_generation, may_be_of_session, of_source, range};
use super::super::load::is_event_of_session;
use super::super::query::Dates;
use super::super::record::{Record, kind_of};
use crate::model::span::Status;
use crate::receivers::pulse::schema::SOURCES;
use crate::semconv;
use crate::storage::{SpanFilter, SpanSummary, StatusFilter, StoredSpan, TimeRange};

/// The kind of calls of models.
const CALL: &str = "llm_call";
/// What a model is called that nobody named.
const UNKNOWN: &str = "unknown";

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub(super) struct Filter {
    /// What sent a span.
    pub(super) source: Option<String>,
    /// Service of a span.
    pub(super) service: Option<String>,
    /// Session of a span.
    pub(super) session: Option<String>,
    /// When a span began.
    pub(super) dates: Dates,
    /// Whether one of the spans that pass failed, or none.
    pub(super) status: Option<StatusFilter>,
    /// Largest provider of calls by name, else largest source.
    pub(super) provider: Option<String>,
    /// Largest model asked for by calls by name, else `unknown`.
    pub(super) model: Option<String>,
}

/// What the columns of those spans of a trace tell that pass.
#[derive(Debug, Clone, Default)]
pub(super) struct Group {
    /// Earliest start, ns; absent while all that is known may be of a session.
    sure_start: Option<u64>,
    /// The same of spans that may be the beginning or end of a session.
    doubtful_start: Option<u64>,
    has_failed: bool,
    has_failed_doubtful: bool,
    /// Whether a call's provider may be the one asked for, by the name that it has with us.
    has_provider: bool,
    model: Option<String>,
    /// Whether a span is none of the first generation.
    has_others: bool,
}

fn earliest(known: Option<u64>, start: u64) -> Option<u64> {
    Some(known.map_or(start, |known| known.min(start)))
}

impl Group {
    pub(super) fn add(&mut self, span: &SpanSummary, filter: &Filter) {
        let start = span.start_unix_nano;
        let has_failed = span.status == Status::Error;
        if may_be_of_session(span) {
            self.doubtful_start = earliest(self.doubtful_start, start);
            self.has_failed_doubtful |= has_failed;
        } else {
            self.sure_start = earliest(self.sure_start, start);
            self.has_failed |= has_failed;
        }
        let is_first_generation = is_first_generation(span);
        self.has_others |= !is_first_generation;
        if kind_of(span) != CALL {
            return;
        }
        self.has_provider |= filter.provider.as_ref().is_some_and(|wanted| {
            let provider = span.provider.as_deref();
            !is_first_generation && semconv::is_ambiguous_provider(wanted)
                || provider == Some(&*semconv::provider_name(wanted))
        });
        if filter.model.is_some() {
            let model = span.request_model.as_ref().or(span.response_model.as_ref());
            if model > self.model.as_ref() {
                self.model = model.cloned();
            }
        }
    }

    /// The start by which the trace has its place.
    pub(super) fn start(&self) -> u64 {
        let start = self.sure_start.or(self.doubtful_start);
        start.unwrap_or_default()
    }
}

fn is_wanted(wanted: Option<&String>, found: Option<&str>) -> bool {
    wanted.is_none_or(|wanted| Some(wanted.as_str()) == found)
}

impl Filter {
    /// Whether it asks for more than the columns of traces say.
    pub(super) fn is_of_spans(&self) -> bool {
        let texts = [
            &self.source,
            &self.service,
            &self.session,
            &self.provider,
            &self.model,
        ];
        texts.into_iter().any(Option::is_some) || self.dates != Dates::default()
    }

    /// Whether many traces have to be read.
    pub(super) fn is_read(&self) -> bool {
        self.provider.is_some() || self.is_of_nameless_service()
    }

    /// Spans that name no service are in one called as their source, by their columns.
    fn is_of_nameless_service(&self) -> bool {
        let service = self.service.as_deref();
        service.is_some_and(|service| SOURCES.contains(&service))
    }

    /// Which spans the store is asked for.
    pub(super) fn of_store(&self) -> SpanFilter {
        SpanFilter {
            range: self.range(),
            session_id: self.session.clone(),
            service: self.service.clone(),
            attributes: self.source.clone().map(of_source).into_iter().collect(),
            ..SpanFilter::default()
        }
    }

    fn range(&self) -> TimeRange {
        range(self.dates).unwrap_or_default()
    }

    /// Whether a span that the store found may pass. The traces of the first generation named no
    /// service.
    pub(super) fn may_pass(&self, span: &SpanSummary) -> bool {
        self.service.is_none() || !is_first_generation(span)
    }

    /// Whether a trace may be meant, by its columns: where these suffice, whether it is.
    pub(super) fn may_mean(&self, group: &Group) -> bool {
        let has_failed = match group.sure_start {
            Some(_) => group.has_failed,
            None => group.has_failed_doubtful,
        };
        let provider = self.provider.as_deref();
        let model = group.model.as_deref().unwrap_or(UNKNOWN);
        self.is_status(has_failed)
            && provider.is_none_or(|it| group.has_provider || SOURCES.contains(&it))
            && self.model.as_deref().is_none_or(|wanted| wanted == model)
    }

    /// Whether only reading the trace tells.
    pub(super) fn must_read(&self, group: &Group) -> bool {
        if group.sure_start.is_none() || self.is_of_nameless_service() {
            return true;
        }
        // What these name as their provider is one of few words, the same with us.
        self.provider.is_some() && (group.has_others || !group.has_provider)
    }

    fn is_status(&self, has_failed: bool) -> bool {
        match self.status {
            None => true,
            Some(StatusFilter::Error) => has_failed,
            Some(StatusFilter::Ok) => !has_failed,
        }
    }

    /// Whether a trace is meant, by its spans.
    pub(super) fn means(&self, spans: &[StoredSpan]) -> bool {
        let passing = spans.iter().filter(|span| self.is_in_range(span));
        let records = passing.map(Record::of).filter(|it| self.passes(it));
        let records: Vec<_> = records.collect();
        let calls = || records.iter().filter(|record| record.kind == CALL);
        let provider = calls().filter_map(|call| call.provider.as_deref()).max();
        let provider = provider.or_else(|| records.iter().map(|it| it.source.as_str()).max());
        let model = calls().filter_map(|call| call.model.as_deref()).max();
        !records.is_empty()
            && self.is_status(records.iter().any(|record| record.failed))
            && is_wanted(self.provider.as_ref(), provider)
            && is_wanted(self.model.as_ref(), model.or(Some(UNKNOWN)))
    }

    fn is_in_range(&self, span: &StoredSpan) -> bool {
        let (range, start) = (self.range(), span.summary.start_unix_nano);
        range.start_unix_nano.is_none_or(|from| start >= from)
            && range.end_unix_nano.is_none_or(|end| start < end)
    }

    fn passes(&self, record: &Record) -> bool {
        is_wanted(self.source.as_ref(), Some(&record.source))
            && is_wanted(self.service.as_ref(), record.service.as_deref())
            && is_wanted(self.session.as_ref(), record.session_id.as_deref())
            && !is_event_of_session(record)
    }
}
