//! Questions in protobuf as the parameters of a route, so that both are checked by the same code and
//! mean the same.

use prost::Message;

use super::{Asked, Method};
use crate::gateway::params::Params;
use crate::gateway::{Shared, routes};
use crate::model::TraceId;
use crate::otlp::Failure;
use crate::otlp::protobuf::{DecodeError, Value, fields};
use crate::receivers::native::proto::{
    Filter, GetTraceRequest, ListTracesRequest, StatusFilter, TailRequest,
};

/// `filter` of the requests that have one, and its highest number.
const FILTER: u32 = 1;
const FILTER_FIELDS: u32 = 19;

const NANO_PER_USD: u64 = 1_000_000_000;

/// A question with its number of fields.
pub(super) trait Question: Message + Default {
    const NAME: &'static str;
    const FIELDS: u32;
    /// Whether its first field is a filter.
    const HAS_FILTER: bool;
}

impl Question for GetTraceRequest {
    const NAME: &'static str = "GetTraceRequest";
    const FIELDS: u32 = 3;
    const HAS_FILTER: bool = false;
}

impl Question for ListTracesRequest {
    const NAME: &'static str = "ListTracesRequest";
    const FIELDS: u32 = 3;
    const HAS_FILTER: bool = true;
}

impl Question for TailRequest {
    const NAME: &'static str = "TailRequest";
    const FIELDS: u32 = 4;
    const HAS_FILTER: bool = true;
}

/// Reads a question. Fields that it does not have are refused: a filter that is left out gives a wrong
/// answer without a sign.
///
/// # Errors
/// [`Failure::Malformed`], [`Failure::Invalid`].
pub(super) fn read<Q: Question>(message: &[u8]) -> Result<Q, Failure> {
    let question = Q::decode(message).map_err(|error| Failure::Malformed {
        message: format!("the message is not a {}: {error}", Q::NAME),
        field: None,
    })?;
    check_fields::<Q>(message)?;
    Ok(question)
}

fn check_fields<Q: Question>(message: &[u8]) -> Result<(), Failure> {
    let mut unknown = Vec::new();
    let mut reader = fields(message);
    while let Some(field) = reader.next_field()? {
        if field.number > Q::FIELDS {
            unknown.push((Q::NAME.to_owned(), not_known(field.number)));
        }
        if let (FILTER, true, Value::Bytes(filter)) = (field.number, Q::HAS_FILTER, field.value) {
            check_filter(filter, &mut unknown)?;
        }
    }
    if unknown.is_empty() {
        return Ok(());
    }
    Err(Failure::Invalid { fields: unknown })
}

fn check_filter(filter: &[u8], unknown: &mut Vec<(String, String)>) -> Result<(), DecodeError> {
    let mut reader = fields(filter);
    while let Some(field) = reader.next_field()? {
        if field.number > FILTER_FIELDS {
            unknown.push(("filter".to_owned(), not_known(field.number)));
        }
    }
    Ok(())
}

fn not_known(number: u32) -> String {
    format!("this server does not know field {number}")
}

/// The field that a parameter stands for.
pub(super) fn field(parameter: &str) -> String {
    match parameter {
        "limit" => "page_size".to_owned(),
        "cursor" => "page_token".to_owned(),
        "last_event_id" => "resume_after".to_owned(),
        "trace_id" | "rate" => parameter.to_owned(),
        _ if parameter.starts_with("attr.") => "filter.attributes".to_owned(),
        _ => format!("filter.{parameter}"),
    }
}

/// Parameters as they are collected.
#[derive(Debug, Default)]
pub(super) struct Pairs(Vec<(String, String)>);

impl Pairs {
    /// Adds a text, unless it is empty.
    pub(super) fn text(mut self, name: &str, text: String) -> Self {
        if !text.is_empty() {
            self.0.push((name.to_owned(), text));
        }
        self
    }

    fn number(self, name: &str, number: Option<u64>) -> Self {
        let text = number.map(|number| number.to_string());
        self.text(name, text.unwrap_or_default())
    }

    /// Adds a number, unless it is zero.
    pub(super) fn unless_zero(self, name: &str, number: u32) -> Self {
        self.number(name, Some(number.into()).filter(|number| *number != 0))
    }

    /// Adds an id that is one, unless it is empty; what is none is noted in the parameters later.
    pub(super) fn trace_id(self, bytes: &[u8]) -> Self {
        let id = TraceId::from_bytes(bytes).map(|id| id.to_string());
        self.text("trace_id", id.unwrap_or_default())
    }

    /// Adds what a filter says.
    pub(super) fn filter(self, filter: Option<Filter>) -> Self {
        let filter = filter.unwrap_or_default();
        let status = match StatusFilter::try_from(filter.status) {
            Ok(StatusFilter::Unspecified) => String::new(),
            Ok(StatusFilter::Ok) => "ok".to_owned(),
            Ok(StatusFilter::Error) => "error".to_owned(),
            Err(_) => filter.status.to_string(),
        };
        let min_cost = filter.min_cost.map(|nano| {
            let (whole, rest) = (nano / NANO_PER_USD, nano % NANO_PER_USD);
            format!("{whole}.{rest:09}")
        });
        let pairs = self
            .number("start", filter.start)
            .number("end", filter.end)
            .text("service", filter.service)
            .text("name", filter.name)
            .text("status", status)
            .number("min_duration", filter.min_duration)
            .number("max_duration", filter.max_duration)
            .text("session_id", filter.session_id)
            .text("user_id", filter.user_id)
            .number("min_tokens", filter.min_tokens)
            .text("min_cost", min_cost.unwrap_or_default())
            .text("operation", filter.operation)
            .text("provider", filter.provider)
            .text("model", filter.model)
            .text("agent", filter.agent)
            .text("tool", filter.tool)
            .text("tag", filter.tag)
            .text("error_kind", filter.error_kind);
        let Self(mut pairs) = pairs;
        let attributes = filter.attributes.into_iter();
        pairs.extend(attributes.map(|(key, value)| (format!("attr.{key}"), value)));
        Self(pairs)
    }

    /// The parameters of a question, checked as those of a route are.
    ///
    /// # Errors
    /// There are too many, or the store can't be asked for the key of cursors.
    pub(super) async fn of_route(
        self,
        shared: &Shared,
        asked: &Asked,
        (route, method): (&str, Method),
    ) -> Result<Params, Failure> {
        let known = routes::ROUTES.iter().find(|known| known.path == route);
        let known = known.map_or(&[] as &[_], |route| route.parameters);
        self.named(shared, asked, (known, method)).await
    }

    /// As [`Pairs::of_route`], where no route has these names.
    ///
    /// # Errors
    /// As there.
    pub(super) async fn named(
        self,
        shared: &Shared,
        asked: &Asked,
        (known, method): (&[&str], Method),
    ) -> Result<Params, Failure> {
        let params = Params::asked(shared, self.0, known, asked.project, method.path());
        Ok(params.await?)
    }
}

/// Notes an id of a trace that is none.
pub(super) fn check_trace_id(params: &mut Params, bytes: &[u8], may_be_empty: bool) {
    let is_absent = bytes.is_empty() && may_be_empty;
    if !is_absent && TraceId::from_bytes(bytes).is_none() {
        let message = format!("expected 16 bytes, not all zero, got {}", bytes.len());
        params.reject("trace_id", message);
    }
}

#[cfg(test)]
mod tests;
