//! Service spans: a tree of HTTP servers and clients over several services.

use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

use super::{Rng, Slot, Times, fail, number, placeholder, text};

pub(super) const SERVICES: [&str; 12] = [
    "frontend",
    "checkout",
    "cart",
    "catalog",
    "payment",
    "shipping",
    "auth",
    "recommendation",
    "inventory",
    "email",
    "ads",
    "currency",
];

const ROUTES: [(&str, &str, &str); 12] = [
    ("GET", "/api/products/{id}", "/api/products/"),
    ("GET", "/api/cart/{user}", "/api/cart/user-"),
    ("POST", "/api/cart/{user}/items", "/api/cart/items/user-"),
    ("POST", "/api/checkout/{order}", "/api/checkout/ord-"),
    ("GET", "/api/recommendations/{id}", "/api/recommendations/"),
    ("GET", "/api/users/{id}/orders", "/api/users/orders/"),
    ("PUT", "/api/users/{id}/address", "/api/users/address/"),
    (
        "POST",
        "/api/payments/{id}/capture",
        "/api/payments/capture/",
    ),
    ("GET", "/api/shipping/{zip}/quote", "/api/shipping/quote/"),
    ("DELETE", "/api/cart/{user}/items", "/api/cart/items/user-"),
    ("GET", "/api/inventory/{sku}", "/api/inventory/sku-"),
    ("POST", "/api/auth/{realm}/token", "/api/auth/token/"),
];

const AGENTS: [&str; 4] = [
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/156.0 Safari/537.36",
    "python-httpx/0.28.1",
    "Go-http-client/2.0",
    "okhttp/5.1.0",
];

const ROOT_NS: u64 = 48_000_000;

pub(super) fn span(slot: Slot, services: u32, failed: bool, rng: &mut Rng) -> (u32, Span) {
    let position = slot.position;
    let is_server = position.is_multiple_of(2);
    let parent = position.checked_sub(1).map(|before| before / 2);
    let mut span = placeholder(slot, parent, times(position));
    let (method, route, path) = rng.skewed(&ROUTES, ("GET", "/", "/"));
    let status = if failed { 503 } else { 200 };
    let peer = rng.skewed(&SERVICES, "frontend");
    let id = 10_000 + rng.below(90_000);
    span.name = format!("{method} {route}");
    span.kind = if is_server {
        SpanKind::Server.into()
    } else {
        SpanKind::Client.into()
    };
    span.attributes = vec![
        text("http.request.method", method),
        text("http.route", route),
        text("url.path", format!("{path}{id}")),
        text(
            "url.full",
            format!("http://{peer}.shop.svc.cluster.local:8080{path}{id}"),
        ),
        number("http.response.status_code", status),
        number("http.response.body.size", 200 + rng.below(40_000)),
        text("server.address", format!("{peer}.shop.svc.cluster.local")),
        number("server.port", 8080),
        text(
            "network.peer.address",
            format!("10.4.{}.{}", rng.below(32), rng.below(255)),
        ),
        text("user_agent.original", rng.skewed(&AGENTS, "curl/8.5.0")),
        number("thread.id", 20 + rng.below(64)),
    ];
    if failed {
        fail(
            &mut span,
            "503",
            "upstream connect error or disconnect before headers",
        );
    }
    (service(slot.trace, position) % services, span)
}

/// A server span is its own service's; a client span belongs to the service of its parent.
fn service(trace: u32, position: u32) -> u32 {
    let mut position = position;
    while !position.is_multiple_of(2) {
        position = (position - 1) / 2;
    }
    trace / 3 + position / 2
}

/// Children start after an eighth of their parent and take three eighths each.
fn times(position: u32) -> Times {
    let Some(before) = position.checked_sub(1) else {
        return Times {
            start: 0,
            end: ROOT_NS,
        };
    };
    let parent = times(before / 2);
    let eighth = (parent.end - parent.start) / 8;
    let start = parent.start + eighth * (1 + u64::from(before % 2) * 3);
    Times {
        start,
        end: start + eighth * 3,
    }
}
