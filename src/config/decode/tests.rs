use super::*;
use crate::config::yaml;
use crate::config::{ByteSize, Duration};

fn decoded(yaml: &str) -> Decoded {
    decode(&mut yaml::parse("f", yaml).unwrap(), Vec::new())
}

fn problems(yaml: &str) -> Vec<String> {
    decoded(yaml)
        .problems
        .iter()
        .map(Problem::to_string)
        .collect()
}

#[test]
fn every_wrong_value_and_unknown_key_is_reported_once() {
    let yaml = "queue:\n  max_size: 1XB\n  segment_sise: 1MiB\n  durability: 3\ngateway:\n  \
                max_connections: -1\n  query_timeout: [1]\n  endpoint: {a: 1}\nnope: 1\n";
    let expected = [
        "f:2: queue.max_size: expected a size such as 512KiB, 64MiB or 10GiB, got \"1XB\"",
        "f:4: queue.durability: unknown value \"3\", expected one of: sync_before_ack, os_buffered",
        "f:6: gateway.max_connections: expected a whole number from 0 to 4294967295, got -1",
        "f:7: gateway.query_timeout: expected a duration with its unit, such as 200ms, 10s, 5m, \
         12h or 30d, got a list",
        "f:8: gateway.endpoint: expected text, got a map",
        "f:9: nope: unknown key, known here: receivers, processors, queue, storage, exporters, gateway, auth, \
         service",
        "f:3: queue.segment_sise: unknown key, did you mean \"segment_size\"?",
    ];
    assert_eq!(problems(yaml), expected);
}

#[test]
fn what_is_right_is_kept_beside_what_is_wrong() {
    let decoded = decoded("queue: {max_size: wrong, segment_size: 1MiB}\nstorage: wrong\n");
    assert_eq!(decoded.config.queue.segment_size, ByteSize::mib(1));
    assert_eq!(
        decoded.config.queue.max_size,
        Config::default().queue.max_size
    );
    assert_eq!(decoded.problems.len(), 2);
    let refused = ["queue.max_size", "storage"].map(Path::parse);
    assert_eq!(decoded.refused, refused);
}

#[test]
fn a_key_without_a_value_counts_as_not_written() {
    let yaml = "queue:\nstorage:\n  sqlite:\n    readers:\ngateway:\n  tls:\n  page_size_max: ~\n";
    let decoded = decoded(yaml);
    assert_eq!(decoded.config, Config::default());
    assert_eq!(decoded.problems, []);
}

#[test]
fn a_required_key_is_asked_for_unless_its_own_value_was_wrong() {
    let missing = problems("gateway:\n  tls:\n    key_file: k\n");
    assert_eq!(
        missing,
        ["f:2: gateway.tls: \"cert_file\" is required here"]
    );
    let wrong = problems("gateway:\n  tls:\n    key_file: k\n    cert_file: [c]\n");
    assert_eq!(
        wrong,
        ["f:4: gateway.tls.cert_file: expected text, got a list"]
    );
}

#[test]
fn numbers_are_taken_as_text_where_text_is_wanted() {
    let yaml = "gateway:\n  tls: {cert_file: 1.20, key_file: 007, min_version: 1.3}\n";
    let tls = decoded(yaml).config.gateway.tls.unwrap();
    assert_eq!(tls.cert_file.to_str(), Some("1.20"));
    assert_eq!(tls.key_file.to_str(), Some("007"));
    assert_eq!(tls.min_version, crate::net::tls::MinVersion::V1_3);
    assert_eq!(tls.reload_interval, Duration::seconds(10));
}

#[test]
fn a_wrong_item_is_reported_by_its_position() {
    let yaml = "gateway:\n  cors:\n    allowed_origins:\n      - a\n      - [b]\n      - c\n";
    let decoded = decoded(yaml);
    let shown: Vec<String> = decoded.problems.iter().map(Problem::to_string).collect();
    assert_eq!(
        shown,
        ["f:5: gateway.cors.allowed_origins[1]: expected text, got a list"]
    );
    assert_eq!(
        decoded.config.gateway.cors.unwrap().allowed_origins,
        ["a", "c"]
    );
}
