//! Columns of spans that have nothing to do with models: HTTP, databases, RPC, messaging, errors.

use super::prelude::*;
use crate::semconv::rows::Plain;

const fn row(key: &'static str, column: Plain, rank: u8) -> Row {
    Row::new(Dialect::Otel, key, Take::Plain(column, rank)).neutral()
}

pub(in crate::semconv) const ROWS: &[Row] = &[
    row("error.type", Plain::ErrorType, 1),
    row("http.request.method", Plain::HttpMethod, 1),
    row("http.method", Plain::HttpMethod, 2),
    row("http.route", Plain::HttpRoute, 1),
    row("url.path", Plain::HttpRoute, 2),
    row("http.target", Plain::HttpRoute, 3),
    row("http.response.status_code", Plain::HttpStatus, 1),
    row("http.status_code", Plain::HttpStatus, 2),
    row("db.system.name", Plain::DbSystem, 1),
    row("db.system", Plain::DbSystem, 2),
    row("db.operation.name", Plain::DbOperation, 1),
    row("db.operation", Plain::DbOperation, 2),
    row("rpc.system.name", Plain::RpcSystem, 1),
    row("rpc.system", Plain::RpcSystem, 2),
    row("rpc.service", Plain::RpcService, 1),
    row("rpc.method", Plain::RpcMethod, 1),
    row("messaging.system", Plain::Messaging, 1),
];
