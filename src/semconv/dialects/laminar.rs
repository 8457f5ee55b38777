//! Laminar's SDK: OpenLLMetry's keys for models, its own for the rest.

use super::prelude::*;

const fn row(key: &'static str, take: Take) -> Row {
    Row::new(Dialect::Laminar, key, take)
}

pub(in crate::semconv) const ROWS: &[Row] = &[
    row("lmnr.span.type", Take::Kind(operation::of_kind)),
    row("lmnr.association.properties.tags", Take::Tags),
    row("lmnr.span.path", Take::Mark),
    row("lmnr.span.ids_path", Take::Mark),
    row("lmnr.span.input", Take::Mark),
    row("lmnr.span.output", Take::Mark),
    row("lmnr.span.instrumentation_source", Take::Mark),
];
