//! The receiver on real sockets, with a double behind it.

mod abuse;
mod access;
mod connections;
mod framing;
mod full_log;
mod grpc;
mod grpc_services;
mod http;
mod limits;
mod logs;
mod metrics;
mod native;
mod support;
mod tls;
