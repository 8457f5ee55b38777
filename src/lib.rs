//! Pulse Collector: an OpenTelemetry-compatible collector and durable trace store for LLM
//! applications.
//!
//! # The path of one span, from socket to row
//!
//! 1. A [`receivers`] task admits the request (memory, size) before it reads the body,
//!    decompresses it under a cap and checks the bytes with [`otlp`].
//! 2. [`pipeline::Ingest`] rejects bad spans one by one and appends the request as it came to the
//!    log ([`queue`]); the client hears OK only after the log is synced. The rejected spans are
//!    skipped again when the record is read.
//! 3. The [`exporters::storage`] thread takes records in log order, maps each span with
//!    [`semconv`] to the canonical row of [`model`], applies [`processors`] limits and batches.
//! 4. [`storage`] writes rows, summaries, rollups and the log checkpoint in one transaction.
//! 5. The [`gateway`] answers queries from the store.

pub mod auth;
pub mod bench;
pub mod cli;
pub mod config;
pub mod exporters;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod gateway;
pub mod import;
pub mod model;
pub mod net;
pub mod otlp;
pub mod pipeline;
pub mod pricing;
pub mod processors;
pub mod queue;
pub mod receivers;
pub mod semconv;
pub mod service;
pub mod storage;
pub mod telemetry;
