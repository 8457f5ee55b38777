//! Names of each message's fields, by number; empty where there is none.

use crate::otlp::Signal;

/// What the signals call what they have in common.
pub(super) struct Layout {
    pub(super) resources: &'static str,
    pub(super) scopes: &'static str,
    pub(super) request: [&'static str; 2],
    pub(super) of_resource: [&'static str; 4],
    pub(super) of_scope: [&'static str; 4],
}

impl Layout {
    pub(super) const fn of(signal: Signal) -> &'static Self {
        match signal {
            Signal::Traces => &TRACES,
            Signal::Logs => &LOGS,
            Signal::Metrics => &METRICS,
        }
    }
}

static TRACES: Layout = Layout {
    resources: "resource_spans",
    scopes: "scope_spans",
    request: ["", "resource_spans"],
    of_resource: ["", "resource", "scope_spans", "schema_url"],
    of_scope: ["", "scope", "spans", "schema_url"],
};
static LOGS: Layout = Layout {
    resources: "resource_logs",
    scopes: "scope_logs",
    request: ["", "resource_logs"],
    of_resource: ["", "resource", "scope_logs", "schema_url"],
    of_scope: ["", "scope", "log_records", "schema_url"],
};

static METRICS: Layout = Layout {
    resources: "resource_metrics",
    scopes: "scope_metrics",
    request: ["", "resource_metrics"],
    of_resource: ["", "resource", "scope_metrics", "schema_url"],
    of_scope: ["", "scope", "metrics", "schema_url"],
};

pub(super) const RESOURCE_FIELDS: [&str; 4] =
    ["", "attributes", "dropped_attributes_count", "entity_refs"];
pub(super) const SCOPE_FIELDS: [&str; 5] = [
    "",
    "name",
    "version",
    "attributes",
    "dropped_attributes_count",
];
pub(super) const SPAN_FIELDS: [&str; 17] = [
    "",
    "trace_id",
    "span_id",
    "trace_state",
    "parent_span_id",
    "name",
    "kind",
    "start_time_unix_nano",
    "end_time_unix_nano",
    "attributes",
    "dropped_attributes_count",
    "events",
    "dropped_events_count",
    "links",
    "dropped_links_count",
    "status",
    "flags",
];
pub(super) const EVENT_FIELDS: [&str; 5] = [
    "",
    "time_unix_nano",
    "name",
    "attributes",
    "dropped_attributes_count",
];
pub(super) const LINK_FIELDS: [&str; 7] = [
    "",
    "trace_id",
    "span_id",
    "trace_state",
    "attributes",
    "dropped_attributes_count",
    "flags",
];
pub(super) const KEY_VALUE_FIELDS: [&str; 4] = ["", "key", "value", "key_strindex"];
pub(super) const ANY_VALUE_FIELDS: [&str; 9] = [
    "",
    "string_value",
    "bool_value",
    "int_value",
    "double_value",
    "array_value",
    "kvlist_value",
    "bytes_value",
    "string_value_strindex",
];
pub(super) const ARRAY_FIELDS: [&str; 2] = ["", "values"];
pub(super) const LIST_FIELDS: [&str; 2] = ["", "values"];
pub(super) const STATUS_FIELDS: [&str; 4] = ["", "", "message", "code"];
pub(super) const ENTITY_REF_FIELDS: [&str; 5] =
    ["", "schema_url", "type", "id_keys", "description_keys"];
pub(super) const LOG_RECORD_FIELDS: [&str; 13] = [
    "",
    "time_unix_nano",
    "severity_number",
    "severity_text",
    "",
    "body",
    "attributes",
    "dropped_attributes_count",
    "flags",
    "trace_id",
    "span_id",
    "observed_time_unix_nano",
    "event_name",
];
