//! Listening: bind, accept, limits per listener, TLS.
//!
//! [`listener::bind`] reserves an address without serving it, so that the service can bind every
//! listener before it starts one. [`listener::serve`] then runs any HTTP service on it under the
//! limits that keep one peer from hurting the others.

pub mod compress;
pub mod cors;
pub mod dial;
pub mod listener;
pub mod tls;

mod activity;
mod connection;
mod framing;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod guard;
mod streams;
