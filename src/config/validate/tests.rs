use super::*;
use crate::config::{Environment, Sources, load::load};

fn problems(yaml: &str, check_files: CheckFiles) -> Vec<String> {
    let sources = Sources {
        documents: vec![format!("yaml:{yaml}")],
        environment: Environment::of([("HOME", "/home/someone")]),
        ..Sources::default()
    };
    match load(&sources, check_files) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.0.iter().map(Problem::to_string).collect(),
    }
}

#[test]
fn the_default_breaks_no_rule() {
    assert_eq!(validate(&Config::default(), CheckFiles::Yes), []);
}

/// A configuration that breaks one rule, and what is said of it.
const BROKEN: &[(&str, &str)] = &[
    (
        "queue: {segment_size: 63KiB}",
        "queue.segment_size: must be at least 64KiB",
    ),
    (
        "queue: {max_size: 31MiB}",
        "queue.max_size: 31MiB must hold at least two segments",
    ),
    (
        "queue: {partitions: 4}",
        "queue.partitions: the embedded store has one writer, so the log has one partition, not 4",
    ),
    (
        "service: {mode: listener}",
        "service.mode: the embedded store is written by one process",
    ),
    (
        "queue: {memory_size: 0}",
        "queue.memory_size: must be more than zero",
    ),
    (
        "queue: {group_commit_delay: 2s}",
        "queue.group_commit_delay: must be at most 1s",
    ),
    (
        "processors: {redaction: {rules: [{keys: [k]}, {patterns: [ok, '(']}]}}",
        "processors.redaction.rules[1].patterns[1]: not a regular expression: unclosed group",
    ),
    (
        "processors: {redaction: {rules: [{keys: [k], action: hash}]}}",
        "processors.redaction.rules[0].action: hash needs hash_key or hash_key_file",
    ),
    (
        "exporters: {otlp: {}}",
        "exporters.otlp.endpoint: must name the backend",
    ),
    (
        "exporters: {otlp: {endpoint: 'http://c:4317/x'}}",
        "exporters.otlp.endpoint: gRPC has no path, got \"http://c:4317/x\"",
    ),
    (
        "exporters: {otlp: {endpoint: 'https://me:pw@c'}}",
        "exporters.otlp.endpoint: expected host:port or a URL of http or https",
    ),
    (
        "exporters: {otlp: {endpoint: 'c:4317', tls: {cert_file: c.pem}}}",
        "exporters.otlp.tls.key_file: cert_file and key_file belong together",
    ),
    (
        "exporters: {otlp: {endpoint: 'http://c:4317', tls: {ca_file: ca.pem}}}",
        "exporters.otlp.tls: the endpoint is not https://",
    ),
    (
        "exporters: {otlp: {endpoint: 'c:4317', headers: {content-type: x}}}",
        "exporters.otlp.headers: \"content-type\" is not for settings",
    ),
    (
        "exporters: {otlp: {endpoint: 'c:4317', headers: {authorization: '***'}}}",
        "exporters.otlp.headers: \"authorization\" is masked",
    ),
    (
        "exporters: {otlp: {endpoint: 'c:4317', retry_on_failure: {max_interval: 1s}}}",
        "exporters.otlp.retry_on_failure.max_interval: must not be less than initial_interval",
    ),
    (
        "exporters: {otlp: {endpoint: 'c:4317', retry_on_failure: {multiplier: 0.5}}}",
        "exporters.otlp.retry_on_failure.multiplier: must be from 1 to 100",
    ),
    (
        "exporters: {otlp: {endpoint: 'c:4317', signals: []}}",
        "exporters.otlp.signals: nothing would be sent",
    ),
    (
        "exporters: {otlp: {endpoint: 'c:4317', sending_queue: {max_size: 1MiB}}}",
        "exporters.otlp.sending_queue.max_size: 1MiB is less than one segment of the log (16MiB)",
    ),
    (
        "processors: {sampling: {head: {percentage: 100.5}}}",
        "processors.sampling.head.percentage: expected a percentage from 0 to 100, got 100.5",
    ),
    (
        "processors: {sampling: {tail: {keep: [{service: a}, {}]}}}",
        "processors.sampling.tail.keep[1]: names nothing",
    ),
    (
        "processors: {sampling: {tail: {keep: [{service: a, modell: b}]}}}",
        "processors.sampling.tail.keep[0].modell: unknown key, did you mean \"model\"?",
    ),
    (
        "processors: {sampling: {tail: {enabled: true, decision_memory: 2GiB}}, \
         memory_limiter: {limit_mib: 1024}}",
        "processors.sampling.tail.decision_memory: 2GiB must be less than",
    ),
    (
        "processors: {memory_limiter: {limit_mib: 200}}",
        "processors.memory_limiter.spike_limit_mib: 200 must be less than limit_mib (200)",
    ),
    (
        "processors: {memory_limiter: {in_flight_limit_mib: 63}}\n\
         receivers: {otlp: {protocols: {grpc: }}}",
        "in_flight_limit_mib: 63MiB is less than the largest message accepted \
         (receivers.otlp.protocols.grpc.max_recv_msg_size_mib: 64MiB)",
    ),
    (
        "receivers: {otlp: {protocols: {http: {max_request_body_size: 257MiB}}}}",
        "in_flight_limit_mib: 256MiB is less than the largest message accepted \
         (receivers.otlp.protocols.http.max_request_body_size: 257MiB)",
    ),
    (
        "processors: {batch: {timeout: 0s}}",
        "processors.batch.timeout: must be more than zero",
    ),
    (
        "processors: {batch: {send_batch_size: 40000}}",
        "processors.batch.send_batch_max_size: 32768 must not be less than send_batch_size (40000)",
    ),
    (
        "processors: {limits: {name_length: 0}}",
        "processors.limits.name_length: must be more than zero",
    ),
    (
        "storage: {sqlite: {readers: 0}}",
        "storage.sqlite.readers: must be more than zero",
    ),
    (
        "storage: {sqlite: {readers: 257}}",
        "storage.sqlite.readers: must be at most 256",
    ),
    (
        "storage: {sqlite: {search_threads: 0}}",
        "storage.sqlite.search_threads: must be more than zero",
    ),
    (
        "storage: {postgres: {search_threads: 65}}",
        "storage.postgres.search_threads: must be at most 64",
    ),
    (
        "gateway: {query_timeout: 0s}",
        "gateway.query_timeout: must be more than zero",
    ),
    (
        "gateway: {allowed_origins: [https://a.example, '*']}",
        "gateway.allowed_origins[1]: expected an origin such as https://board.example.com, got \"*\"",
    ),
    (
        "gateway: {allowed_origins: [a.example/x]}",
        "gateway.allowed_origins[0]: expected an origin",
    ),
    (
        "auth: {session_secret: short}",
        "auth.session_secret: must have at least 32 characters",
    ),
    (
        "auth: {session_secret: '***'}",
        "auth.session_secret: is masked",
    ),
    (
        "service: {drain_timeout: 0s}",
        "service.drain_timeout: must be more than zero",
    ),
    (
        "service: {data_dir: ~/pulse}",
        "service.data_dir: \"~\" is expanded by shells only",
    ),
    (
        "receivers: {otlp: {protocols: {grpc: {max_recv_msg_size_mib: 0}}}}",
        "receivers.otlp.protocols.grpc.max_recv_msg_size_mib: must be more than zero",
    ),
    (
        "receivers: {otlp: {protocols: {http: {traces_url_path: v1}}}}",
        "receivers.otlp.protocols.http.traces_url_path: expected a path",
    ),
    (
        "receivers: {otlp: {protocols: {http: {logs_url_path: /v1/traces}}}}",
        "receivers.otlp.protocols.http.logs_url_path: must not be the same as traces_url_path",
    ),
    (
        "receivers: {otlp: {protocols: {http: {metrics_url_path: /v1/logs}}}}",
        "receivers.otlp.protocols.http.metrics_url_path: must not be the same as logs_url_path",
    ),
    (
        "receivers: {otlp: {protocols: {grpc: {compression_algorithms: [gzip, br]}}}}",
        "receivers.otlp.protocols.grpc.compression_algorithms: unknown algorithm \"br\"",
    ),
    (
        "service: {telemetry: {logs: {level: inof}}}",
        "service.telemetry.logs.level: unknown level \"inof\", did you mean \"info\"?",
    ),
    (
        "service: {telemetry: {logs: {level: 'info,a=nope'}}}",
        "service.telemetry.logs.level: \"info,a=nope\" is not a log filter",
    ),
    (
        "storage: {retention: {max_size: 15MiB}}",
        "storage.retention.max_size: must be at least 16MiB, or 0B for no bound",
    ),
    (
        "gateway: {cors: {allowed_origins: [example.com]}}",
        "gateway.cors.allowed_origins: expected an origin such as https://app.example.com",
    ),
];

#[test]
fn each_rule_complains_about_what_breaks_it() {
    for (yaml, expected) in BROKEN {
        let problems = problems(yaml, CheckFiles::No);
        let [problem] = problems.as_slice() else {
            panic!("{yaml}: expected one problem, got {problems:#?}");
        };
        assert!(problem.contains(expected), "{yaml}: {problem}");
    }
}

#[test]
fn what_is_at_the_edge_of_a_rule_is_allowed() {
    let allowed = [
        "queue: {segment_size: 64KiB, max_size: 128KiB, group_commit_delay: 1s}",
        "processors: {memory_limiter: {limit_mib: 201, in_flight_limit_mib: 64}}",
        "processors: {limits: {events_per_span: 0}}",
        "storage: {retention: {max_age: 0s, max_size: 0}}",
        "storage: {retention: {max_size: 16MiB}}",
        "gateway: {cors: {allowed_origins: ['*', 'https://*.example.com', 'http://localhost:1']}}",
        "service: {telemetry: {logs: {level: 'WARN,pulse_collector::queue=debug'}}}",
        "service: {telemetry: {metrics: {endpoint: ''}}}",
    ];
    for yaml in allowed {
        assert_eq!(problems(yaml, CheckFiles::No), [""; 0], "{yaml}");
    }
}

#[test]
fn a_default_that_stands_in_for_a_wrong_value_breaks_no_rule() {
    let yaml = "processors: {memory_limiter: {limit_mib: 100, spike_limit_mib: many}}";
    let problems = problems(yaml, CheckFiles::No);
    assert_eq!(problems.len(), 1, "{problems:#?}");
    assert!(
        problems.concat().contains("expected a whole number"),
        "{problems:#?}"
    );
}

#[test]
fn a_rule_between_two_keys_points_at_the_one_that_was_written() {
    let yaml = "processors:\n  memory_limiter:\n    limit_mib: 100\n";
    let problems = problems(yaml, CheckFiles::No).concat();
    let expected = "--config yaml:3: processors.memory_limiter.spike_limit_mib: 200 must be less";
    assert!(problems.starts_with(expected), "{problems}");
}

#[test]
fn tls_files_must_be_readable_when_files_are_checked() {
    let directory = tempfile::tempdir().unwrap();
    let present = directory.path().join("key.pem");
    std::fs::write(&present, "key").unwrap();
    let yaml = format!(
        "gateway: {{tls: {{cert_file: /nowhere/c.pem, key_file: '{}', client_ca_file: '{}'}}}}",
        present.display(),
        directory.path().display(),
    );
    assert_eq!(problems(&yaml, CheckFiles::No), [""; 0]);
    let problems = problems(&yaml, CheckFiles::Yes);
    assert_eq!(problems.len(), 2, "{problems:#?}");
    let problems = problems.concat();
    assert!(
        problems.contains("gateway.tls.cert_file: read /nowhere/c.pem"),
        "{problems}"
    );
    assert!(
        problems.contains("gateway.tls.client_ca_file"),
        "{problems}"
    );
    assert!(problems.contains("is not a file"), "{problems}");
}
