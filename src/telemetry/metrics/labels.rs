//! Values of labels.

use crate::pipeline::Transport;

/// Model calls by where their cost comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ModelCalls {
    /// The client sent it.
    pub reported: u64,
    /// Computed from tokens and a price.
    pub computed: u64,
    /// There are tokens, but no price.
    pub unpriced: u64,
    /// There is nothing to price, or prices are switched off.
    pub without_cost: u64,
}

/// Value of the `transport` label.
#[must_use]
pub const fn transport_label(transport: Transport) -> &'static str {
    match transport {
        Transport::Grpc => "grpc",
        Transport::HttpProtobuf => "http_protobuf",
        Transport::HttpJson => "http_json",
    }
}

/// gRPC codes by name as people and dashboards know them, HTTP by number.
pub(super) fn code_label(transport: Transport, code: u16) -> String {
    match transport {
        Transport::Grpc => match tonic::Code::from_i32(i32::from(code)) {
            tonic::Code::Ok => "OK".to_owned(),
            other => screaming_snake(&format!("{other:?}")),
        },
        Transport::HttpProtobuf | Transport::HttpJson => code.to_string(),
    }
}

fn screaming_snake(camel: &str) -> String {
    let mut text = String::with_capacity(camel.len() + 2);
    for letter in camel.chars() {
        if letter.is_ascii_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.push(letter.to_ascii_uppercase());
    }
    text
}
