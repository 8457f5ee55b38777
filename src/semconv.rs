//! Which attributes become columns. Pure: a property of the span alone, so that a replay of the
//! log gives the same row.
//!
//! Attributes stay stored as they came; a column is a copy for filtering and grouping.

mod genai;

use std::borrow::Cow;

use crate::model::span::{Basics, Operation};

/// Longest text copied to a column, in bytes; a longer one is cut, the attribute keeps it whole.
const COLUMN_BYTES_MAX: usize = 512;

/// An attribute value, as far as columns are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// A string.
    Text(&'a str),
    /// An integer.
    Integer(i64),
    /// Anything else.
    Other,
}

/// Collects the columns of one span from its attributes and events, in any order.
#[derive(Debug, Default)]
pub struct Collector<'a> {
    basics: Basics<'a>,
    genai_operation: Option<&'a str>,
    genai: genai::Collector<'a>,
    is_http: bool,
    is_db: bool,
    is_rpc: bool,
    is_messaging: bool,
    /// Rank of the name each column was taken from; a lower one wins.
    ranks: [u8; COLUMN_COUNT],
}

const COLUMN_COUNT: usize = 16;

/// Columns with several names.
#[derive(Debug, Clone, Copy)]
enum Column {
    Provider,
    RequestModel,
    ResponseModel,
    Session,
    User,
    ErrorType,
    HttpMethod,
    HttpRoute,
    HttpStatus,
    DbSystem,
    DbOperation,
    RpcSystem,
    RpcService,
    RpcMethod,
    GenAiOperation,
    Messaging,
}

/// Which column a key feeds, and the rank of the name among the column's names (1 is best).
fn column_of(key: &[u8]) -> Option<(Column, u8)> {
    let found = match key {
        b"gen_ai.operation.name" => (Column::GenAiOperation, 1),
        b"gen_ai.provider.name" => (Column::Provider, 1),
        b"gen_ai.system" => (Column::Provider, 2),
        b"gen_ai.request.model" => (Column::RequestModel, 1),
        b"gen_ai.response.model" => (Column::ResponseModel, 1),
        b"session.id" => (Column::Session, 1),
        b"gen_ai.conversation.id" => (Column::Session, 2),
        b"user.id" => (Column::User, 1),
        b"enduser.id" => (Column::User, 2),
        b"error.type" => (Column::ErrorType, 1),
        b"http.request.method" => (Column::HttpMethod, 1),
        b"http.method" => (Column::HttpMethod, 2),
        b"http.route" => (Column::HttpRoute, 1),
        b"url.path" => (Column::HttpRoute, 2),
        b"http.target" => (Column::HttpRoute, 3),
        b"http.response.status_code" => (Column::HttpStatus, 1),
        b"http.status_code" => (Column::HttpStatus, 2),
        b"db.system.name" => (Column::DbSystem, 1),
        b"db.system" => (Column::DbSystem, 2),
        b"db.operation.name" => (Column::DbOperation, 1),
        b"db.operation" => (Column::DbOperation, 2),
        b"rpc.system.name" => (Column::RpcSystem, 1),
        b"rpc.system" => (Column::RpcSystem, 2),
        b"rpc.service" => (Column::RpcService, 1),
        b"rpc.method" => (Column::RpcMethod, 1),
        b"messaging.system" => (Column::Messaging, 1),
        _ => return None,
    };
    Some(found)
}

impl<'a> Collector<'a> {
    /// Takes an attribute of the span. The value is read only if the key feeds a column.
    pub fn attribute(&mut self, key: &[u8], value: impl FnOnce() -> Value<'a>) {
        let Some((column, rank)) = column_of(key) else {
            if let Some((column, rank)) = genai::column_of(key) {
                self.genai.take(column, rank, value());
            }
            return;
        };
        let value = value();
        let usable = match value {
            Value::Text(text) if matches!(column, Column::HttpStatus) => {
                text.parse::<i64>().is_ok()
            }
            Value::Text(text) => !text.is_empty(),
            Value::Integer(_) => matches!(column, Column::HttpStatus),
            Value::Other => false,
        };
        if !usable || !self.outranks(column, rank) {
            return;
        }
        match value {
            Value::Text(text) => self.set_text(column, cut(text)),
            Value::Integer(number) => self.basics.http_status_code = Some(number),
            Value::Other => {}
        }
    }

    /// Takes an attribute of an event named `exception`; the last exception wins.
    pub fn exception_attribute(&mut self, key: &str, value: Value<'a>) {
        let Value::Text(text) = value else {
            return;
        };
        if text.is_empty() {
            return;
        }
        match key {
            // An `error.type` on the span itself is the better source.
            "exception.type" if self.outranks(Column::ErrorType, 2) => {
                self.basics.error_type = Some(Cow::Borrowed(cut(text)));
            }
            "exception.message" => self.basics.error_message = Some(Cow::Borrowed(cut(text))),
            _ => {}
        }
    }

    /// The columns.
    #[must_use]
    pub fn finish(mut self) -> Basics<'a> {
        self.basics.operation = match self.genai_operation {
            Some(name) => Operation::GenAi(name),
            None if self.is_rpc => Operation::Rpc,
            None if self.is_db => Operation::Db,
            None if self.is_messaging => Operation::Messaging,
            None if self.is_http => Operation::Http,
            None => Operation::Other,
        };
        if let Operation::GenAi(operation) = self.basics.operation {
            self.basics.genai = Some(Box::new(self.genai.finish(operation)));
        }
        self.basics
    }

    /// Whether a name of this rank is at least as good as the one the column has; remembers it.
    fn outranks(&mut self, column: Column, rank: u8) -> bool {
        let Some(best) = self.ranks.get_mut(column as usize) else {
            return false;
        };
        let wins = *best == 0 || rank <= *best;
        if wins {
            *best = rank;
        }
        wins
    }

    fn set_text(&mut self, column: Column, text: &'a str) {
        let basics = &mut self.basics;
        let owned = Some(Cow::Borrowed(text));
        match column {
            Column::Provider => basics.provider = owned,
            Column::RequestModel => basics.request_model = owned,
            Column::ResponseModel => basics.response_model = owned,
            Column::Session => basics.session_id = owned,
            Column::User => basics.user_id = owned,
            Column::ErrorType => basics.error_type = owned,
            Column::HttpMethod => {
                self.is_http = true;
                basics.http_method = owned;
            }
            Column::HttpRoute => basics.http_route = owned,
            Column::HttpStatus => basics.http_status_code = text.parse().ok(),
            Column::DbSystem => {
                self.is_db = true;
                basics.db_system = owned;
            }
            Column::DbOperation => basics.db_operation = owned,
            Column::RpcSystem => {
                self.is_rpc = true;
                basics.rpc_system = owned;
            }
            Column::RpcService => basics.rpc_service = owned,
            Column::RpcMethod => basics.rpc_method = owned,
            Column::GenAiOperation => self.genai_operation = Some(text),
            Column::Messaging => self.is_messaging = true,
        }
    }
}

/// Cuts a text for a column at a character boundary.
#[must_use]
pub fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(COLUMN_BYTES_MAX))
        .unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basics<'a>(attributes: &[(&str, Value<'a>)]) -> Basics<'a> {
        let mut collector = Collector::default();
        for (key, value) in attributes {
            collector.attribute(key.as_bytes(), || *value);
        }
        collector.finish()
    }

    #[test]
    fn newer_names_win_in_either_order() {
        let new = ("http.request.method", Value::Text("GET"));
        let old = ("http.method", Value::Text("POST"));
        assert_eq!(basics(&[new, old]).http_method.as_deref(), Some("GET"));
        assert_eq!(basics(&[old, new]).http_method.as_deref(), Some("GET"));
        assert_eq!(basics(&[old]).http_method.as_deref(), Some("POST"));
        assert_eq!(basics(&[old]).operation, Operation::Http);
    }

    #[test]
    fn the_operation_is_the_most_specific_one() {
        let http = ("http.request.method", Value::Text("POST"));
        let rpc = ("rpc.system", Value::Text("grpc"));
        let chat = ("gen_ai.operation.name", Value::Text("chat"));
        assert_eq!(basics(&[http, rpc]).operation, Operation::Rpc);
        assert_eq!(basics(&[chat, http]).operation, Operation::GenAi("chat"));
        assert_eq!(basics(&[]).operation, Operation::Other);
    }

    #[test]
    fn unusable_values_leave_the_column_to_the_next_name() {
        let empty = ("session.id", Value::Text(""));
        let other = ("session.id", Value::Integer(7));
        let older = ("gen_ai.conversation.id", Value::Text("c1"));
        assert_eq!(basics(&[empty, older]).session_id.as_deref(), Some("c1"));
        assert_eq!(basics(&[older, other]).session_id.as_deref(), Some("c1"));
    }

    #[test]
    fn status_codes_come_as_numbers_or_text() {
        let number = ("http.response.status_code", Value::Integer(503));
        let text = ("http.status_code", Value::Text("404"));
        assert_eq!(basics(&[number]).http_status_code, Some(503));
        assert_eq!(basics(&[text]).http_status_code, Some(404));
    }

    #[test]
    fn exceptions_name_the_error_unless_the_span_does() {
        let mut collector = Collector::default();
        collector.exception_attribute("exception.type", Value::Text("First"));
        collector.exception_attribute("exception.type", Value::Text("ValueError"));
        collector.exception_attribute("exception.message", Value::Text("bad"));
        let basics = collector.finish();
        assert_eq!(
            (
                basics.error_type.as_deref(),
                basics.error_message.as_deref()
            ),
            (Some("ValueError"), Some("bad"))
        );

        let mut collector = Collector::default();
        collector.attribute(b"error.type", || Value::Text("timeout"));
        collector.exception_attribute("exception.type", Value::Text("ValueError"));
        assert_eq!(collector.finish().error_type.as_deref(), Some("timeout"));
    }

    #[test]
    fn long_texts_are_cut_at_a_character() {
        let text = "é".repeat(300);
        let session = basics(&[("session.id", Value::Text(&text))])
            .session_id
            .unwrap();
        assert_eq!(session, "é".repeat(256));
    }
}
