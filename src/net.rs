//! Listening: bind, accept, limits per listener, TLS.

pub mod cors;
pub mod tls;
