//! A trace as OTLP: the messages as they came, grouped by resource and scope again.

use std::collections::HashMap;
use std::sync::Arc;

use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;

use super::damaged;
use crate::otlp::json;
use crate::storage::{Error, StoredSpan};

/// Writes spans as `TracesData` in OTLP/JSON. Groups and spans keep the order of the spans.
///
/// # Errors
/// [`Error::Corrupt`] when a stored message is not what it should be.
pub(in crate::gateway) fn write_otlp(spans: &[StoredSpan]) -> Result<Vec<u8>, Error> {
    Ok(json::encode(&group(spans)?))
}

/// Spans of one answer share their resource and scope, so that these are told apart by address.
fn group(spans: &[StoredSpan]) -> Result<Vec<ResourceSpans>, Error> {
    let mut resources = Vec::new();
    let mut resource_places = HashMap::new();
    let mut scope_places = HashMap::new();
    for span in spans {
        let resource_key = Arc::as_ptr(&span.resource);
        let resource_place = match resource_places.get(&resource_key) {
            Some(place) => *place,
            None => {
                resources.push(resource_spans(span)?);
                resource_places.insert(resource_key, resources.len() - 1);
                resources.len() - 1
            }
        };
        let Some(resource) = resources.get_mut(resource_place) else {
            continue;
        };
        let scopes = &mut resource.scope_spans;
        let scope_key = (resource_key, Arc::as_ptr(&span.scope));
        let scope_place = match scope_places.get(&scope_key) {
            Some(place) => *place,
            None => {
                scopes.push(scope_spans(span)?);
                scope_places.insert(scope_key, scopes.len() - 1);
                scopes.len() - 1
            }
        };
        if let Some(scope) = scopes.get_mut(scope_place) {
            let message = Span::decode(span.message.as_slice()).map_err(damaged("span"))?;
            scope.spans.push(message);
        }
    }
    Ok(resources)
}

fn resource_spans(span: &StoredSpan) -> Result<ResourceSpans, Error> {
    let message = span.resource.message.as_slice();
    Ok(ResourceSpans {
        resource: Some(Resource::decode(message).map_err(damaged("resource"))?),
        scope_spans: Vec::new(),
        schema_url: span.resource.schema_url.clone(),
    })
}

fn scope_spans(span: &StoredSpan) -> Result<ScopeSpans, Error> {
    let message = span.scope.message.as_slice();
    Ok(ScopeSpans {
        scope: Some(InstrumentationScope::decode(message).map_err(damaged("scope"))?),
        spans: Vec::new(),
        schema_url: span.scope.schema_url.clone(),
    })
}
