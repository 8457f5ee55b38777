//! Columns of spans of any sort: HTTP, databases, remote procedures, messages, errors. They are
//! filled as the attributes come, without a draft.

use std::borrow::Cow;

use super::cut;
use super::rows::{PLAIN, Plain};
use crate::model::span::{Basics, Operation};
use crate::otlp::protobuf::AnyValue;

/// What the attributes of one span have said so far.
#[derive(Debug, Default)]
pub(super) struct PlainColumns {
    is: Is,
    /// Rank of the name each column was taken from; a lower one wins.
    ranks: [u8; PLAIN],
}

/// What a span is, by keys of spans of any sort.
#[derive(Debug, Clone, Copy, Default)]
struct Is {
    http: bool,
    db: bool,
    rpc: bool,
    messaging: bool,
}

impl PlainColumns {
    /// What the span does, by the keys it has.
    pub(super) const fn operation(&self) -> Operation<'static> {
        match self.is {
            Is { rpc: true, .. } => Operation::Rpc,
            Is { db: true, .. } => Operation::Db,
            Is {
                messaging: true, ..
            } => Operation::Messaging,
            Is { http: true, .. } => Operation::Http,
            _ => Operation::Other,
        }
    }

    /// Takes a value by a name of some rank, if it is usable and no better name came before.
    pub(super) fn take<'a>(
        &mut self,
        basics: &mut Basics<'a>,
        column: Plain,
        rank: u8,
        value: AnyValue<'a>,
    ) {
        let text = match value {
            AnyValue::Str(text) if !text.is_empty() => cut(text),
            AnyValue::Int(number) if column == Plain::HttpStatus => {
                if self.outranks(column, rank) {
                    basics.http_status_code = Some(number);
                }
                return;
            }
            _ => return,
        };
        let is_usable = column != Plain::HttpStatus || text.parse::<i64>().is_ok();
        if is_usable && self.outranks(column, rank) {
            self.set(basics, column, text);
        }
    }

    /// Whether a name of this rank is at least as good as the one the column has; remembers it.
    fn outranks(&mut self, column: Plain, rank: u8) -> bool {
        let Some(best) = self.ranks.get_mut(column as usize) else {
            return false;
        };
        let wins = *best == 0 || rank <= *best;
        if wins {
            *best = rank;
        }
        wins
    }

    fn set<'a>(&mut self, basics: &mut Basics<'a>, column: Plain, text: &'a str) {
        let owned = Some(Cow::Borrowed(text));
        match column {
            Plain::ErrorType => basics.error_type = Some(Cow::Borrowed(named(text))),
            Plain::HttpMethod => {
                self.is.http = true;
                basics.http_method = owned;
            }
            Plain::HttpRoute => basics.http_route = owned,
            Plain::HttpStatus => basics.http_status_code = text.parse().ok(),
            Plain::DbSystem => {
                self.is.db = true;
                basics.db_system = owned;
            }
            Plain::DbOperation => basics.db_operation = owned,
            Plain::RpcSystem => {
                self.is.rpc = true;
                basics.rpc_system = owned;
            }
            Plain::RpcService => basics.rpc_service = owned,
            Plain::RpcMethod => basics.rpc_method = owned,
            Plain::Messaging => self.is.messaging = true,
        }
    }
}

/// The name of a type, where Python's way to write a type was sent: `<class 'openai.APIError'>`.
fn named(error_type: &str) -> &str {
    let class = error_type
        .strip_prefix("<class '")
        .and_then(|it| it.strip_suffix("'>"));
    class.filter(|it| !it.is_empty()).unwrap_or(error_type)
}
