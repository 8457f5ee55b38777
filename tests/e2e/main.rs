//! End-to-end tests: the real binary, real sockets, real files, real SDKs. One promise a file.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    clippy::too_many_lines,
    reason = "a test that goes wrong should end at once and say where"
)]

#[path = "../support/addresses.rs"]
mod addresses;
#[path = "../support/api.rs"]
mod api;
#[path = "../support/cluster.rs"]
mod cluster;
#[path = "../support/daemon.rs"]
mod daemon;
#[path = "../support/fault_proxy.rs"]
mod fault_proxy;
#[path = "../support/http.rs"]
mod http;
#[path = "../support/kills.rs"]
mod kills;
#[path = "../support/load.rs"]
mod load;
#[path = "../support/otlp.rs"]
mod otlp;
#[path = "../support/otlp_json.rs"]
mod otlp_json;
#[path = "../support/postgres.rs"]
mod postgres;
#[path = "../support/random.rs"]
mod random;
#[path = "../support/raw_grpc.rs"]
mod raw_grpc;
#[path = "../support/rows.rs"]
mod rows;
#[path = "../support/sdk.rs"]
mod sdk;

mod access;
mod agent_logs;
mod agents_recorded;
mod analytics;
mod attributes;
mod bad_input;
mod chaos;
mod contract;
mod duplicates;
mod durability;
mod family;
mod full_disk;
mod full_log;
mod genai_api;
mod genai_libraries;
mod import;
mod issues;
mod leniency;
mod live;
mod logs;
mod metrics;
mod migrate;
mod modes;
mod modes_faults;
mod native;
mod otlp_metrics;
mod people;
mod postgres_faults;
mod postgres_outages;
mod pulse;
mod quotas;
mod readme;
mod redaction;
mod remap;
mod round_trip;
mod sampling;
mod sdk_node;
mod sdk_python;
mod sdk_rust;
mod search;
mod shutdown;
mod smuggling;
mod startup;
mod systemd;
mod tail;
mod tee;
mod tls;
mod trace_query;
mod two_daemons;
