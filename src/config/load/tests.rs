use super::*;
use crate::config::{ByteSize, Duration};

fn sources(documents: &[&str]) -> Sources {
    Sources {
        documents: documents
            .iter()
            .map(|text| format!("yaml:{text}"))
            .collect(),
        environment: Environment::of([("HOME", "/home/someone")]),
        ..Sources::default()
    }
}

fn loaded(sources: &Sources) -> Config {
    load(sources, CheckFiles::No).unwrap()
}

fn problems(sources: &Sources) -> String {
    load(sources, CheckFiles::No).unwrap_err().to_string()
}

fn with_set(mut sources: Sources, overrides: &[&str]) -> Sources {
    sources.overrides = overrides.iter().map(|text| (*text).to_owned()).collect();
    sources
}

fn with_environment<const COUNT: usize>(
    mut sources: Sources,
    variables: [(&str, &str); COUNT],
) -> Sources {
    sources.environment = Environment::of(variables);
    sources
}

#[test]
fn nothing_at_all_is_the_default() {
    let mut expected = Config::default();
    expected.service.data_dir = "/home/someone/.pulse".into();
    assert_eq!(loaded(&sources(&[])), expected);
    assert_eq!(loaded(&sources(&["", "# comment"])), expected);
}

#[test]
fn later_documents_win_maps_merge_and_lists_are_replaced() {
    let config = loaded(&sources(&[
        "gateway: {page_size_max: 5, cors: {allowed_headers: [a, b]}}\nqueue: {max_size: 1GiB}",
        "",
        "gateway: {cors: {allowed_headers: [c]}}\nqueue: {max_size: 2GiB}",
    ]));
    assert_eq!(config.gateway.page_size_max, 5);
    assert_eq!(config.gateway.cors.unwrap().allowed_headers, ["c"]);
    assert_eq!(config.queue.max_size, ByteSize::gib(2));
}

#[test]
fn a_flag_wins_over_environment_over_document() {
    let document = "service: {data_dir: /file, telemetry: {logs: {level: warn}}}";
    let environment = [("PULSE_DATA_DIR", "/env"), ("PULSE_LOG_LEVEL", "debug")];
    assert_eq!(
        loaded(&sources(&[document])).service.data_dir.to_str(),
        Some("/file")
    );
    let mut all = with_environment(sources(&[document]), environment);
    let config = loaded(&all);
    assert_eq!(config.data_dir().to_str(), Some("/env"));
    assert_eq!(config.service.telemetry.logs.level, "debug");
    all = with_set(
        all,
        &[
            "service.data_dir=/flag",
            "service.telemetry.logs.level=error",
        ],
    );
    assert_eq!(loaded(&all).service.telemetry.logs.level, "error");
    assert_eq!(loaded(&all).data_dir().to_str(), Some("/flag"));
    all.log_level = Some("trace".to_owned());
    all.log_format = Some(LogEncoding::Json);
    let logs = loaded(&all).service.telemetry.logs;
    assert_eq!(
        (logs.level.as_str(), logs.encoding),
        ("trace", LogEncoding::Json)
    );
}

#[test]
fn the_data_directory_falls_back_to_pulse_home_and_then_home() {
    let home = [("PULSE_HOME", "/srv/pulse"), ("HOME", "/root")];
    let config = loaded(&with_environment(sources(&[]), home));
    assert_eq!(config.data_dir().to_str(), Some("/srv/pulse"));
    assert_eq!(config.log_directory().to_str(), Some("/srv/pulse/wal"));
    assert_eq!(config.sqlite_path().to_str(), Some("/srv/pulse/pulse.db"));
    let file = sources(&["service: {data_dir: /file}"]);
    let config = loaded(&with_environment(file, home));
    assert_eq!(config.data_dir().to_str(), Some("/file"));
    let homeless = problems(&with_environment(sources(&[]), []));
    assert!(
        homeless.contains("service.data_dir") && homeless.contains("PULSE_HOME"),
        "{homeless}"
    );
}

#[test]
fn the_variables_of_the_family_are_understood() {
    let variables = [
        ("HOME", "/root"),
        ("PORT", "8080"),
        ("DATABASE_PATH", "/data/x.db"),
        ("PULSE_LOG_FORMAT", "json"),
        ("PULSE_RUNTIME_MODE", "all"),
        ("SPAN_WAL_PARTITIONS", "1"),
        ("DATABASE_URL", ""),
        ("BETTER_AUTH_SECRET", "01234567890123456789012345678901"),
        (
            "PULSE_ALLOWED_ORIGINS",
            "https://a.example, *,http://b.example:1,",
        ),
    ];
    let config = loaded(&with_environment(
        sources(&["gateway: {endpoint: '[::1]:1'}"]),
        variables,
    ));
    assert_eq!(config.gateway.endpoint, "[::1]:8080");
    assert_eq!(config.sqlite_path().to_str(), Some("/data/x.db"));
    assert_eq!(config.service.telemetry.logs.encoding, LogEncoding::Json);
    assert_eq!(config.queue.partitions, 1);
    let secret = config.auth.session_secret.expose();
    assert_eq!(secret, Some("01234567890123456789012345678901"));
    let origins = ["https://a.example", "http://b.example:1"];
    assert_eq!(config.gateway.allowed_origins, origins);
    let config = loaded(&with_environment(sources(&[]), variables));
    assert_eq!(config.gateway.endpoint, "127.0.0.1:8080");
}

#[test]
fn a_variable_with_a_wrong_value_is_named() {
    let variables = [
        ("HOME", "/root"),
        ("PULSE_RUNTIME_MODE", "reader"),
        ("SPAN_WAL_PARTITIONS", "few"),
    ];
    let problems = problems(&with_environment(sources(&[]), variables));
    let (mode, partitions) = problems.split_once('\n').unwrap();
    assert!(
        mode.starts_with("PULSE_RUNTIME_MODE: service.mode: "),
        "{mode}"
    );
    assert!(mode.contains("listener"), "{mode}");
    let start = "SPAN_WAL_PARTITIONS: queue.partitions: expected a whole number";
    assert!(partitions.starts_with(start), "{partitions}");
}

#[test]
fn a_database_url_chooses_the_store() {
    let url = ("DATABASE_URL", "postgres://user:hunter2@db/pulse");
    let variables = [("HOME", "/root"), url];
    let config = loaded(&with_environment(
        sources(&["storage: {kind: sqlite, postgres: {url: postgres://other}}"]),
        variables,
    ));
    assert_eq!(config.storage.kind, crate::storage::Kind::Postgres);
    let shown = crate::config::to_yaml(&config).unwrap();
    assert!(shown.contains("postgres://user:***@db/pulse"), "{shown}");
    assert!(!format!("{shown}{config:?}").contains("hunter2"), "{shown}");
    let set = with_set(sources(&[]), &["storage.kind=sqlite"]);
    let config = loaded(&with_environment(set, variables));
    assert_eq!(config.storage.kind, crate::storage::Kind::Sqlite);
}

#[test]
fn variables_that_cannot_be_followed_are_refused_without_showing_secrets() {
    let url = ("DATABASE_URL", "mysql://user:hunter2@db/pulse");
    let variables = [("HOME", "/root"), ("PORT", "80a"), url];
    let problems = problems(&with_environment(sources(&[]), variables));
    assert!(
        problems.contains("DATABASE_URL: storage.postgres.url: expected a URL"),
        "{problems}"
    );
    assert!(
        problems.contains("PORT: gateway.endpoint: expected a port"),
        "{problems}"
    );
    assert!(!problems.contains("hunter2"), "{problems}");
}

#[test]
fn a_protocol_is_on_when_it_is_named() {
    let named = |documents: &[&str], overrides: &[&str]| {
        let protocols = loaded(&with_set(sources(documents), overrides))
            .receivers
            .otlp
            .protocols;
        (protocols.grpc.is_some(), protocols.http.is_some())
    };
    let grpc_only = "receivers: {otlp: {protocols: {grpc: }}}";
    let http_only = "receivers: {otlp: {protocols: {http: {max_connections: 7}}}}";
    assert_eq!(named(&[], &[]), (true, true));
    assert_eq!(
        named(&["receivers: {otlp: {protocols: }}"], &[]),
        (true, true)
    );
    assert_eq!(named(&[grpc_only], &[]), (true, false));
    assert_eq!(named(&[http_only], &[]), (false, true));
    assert_eq!(named(&[grpc_only, http_only], &[]), (true, true));
    let set = "receivers.otlp.protocols.grpc.endpoint=127.0.0.1:0";
    assert_eq!(
        named(&[], &[set]),
        (true, true),
        "a flag switches nothing off"
    );
    assert_eq!(named(&[http_only], &[set]), (true, true));
    let none = problems(&sources(&["receivers: {otlp: {protocols: {}}}"]));
    assert!(
        none.contains("receivers.otlp.protocols: name at least one"),
        "{none}"
    );
}

#[test]
fn a_named_protocol_without_a_value_has_its_defaults() {
    let config = loaded(&sources(&[
        "receivers:\n  otlp:\n    protocols:\n      grpc:\n",
    ]));
    let default = crate::receivers::otlp::GrpcConfig::default();
    assert_eq!(config.receivers.otlp.protocols.grpc, Some(default));
}

#[test]
fn set_takes_scalars_lists_and_maps() {
    let overrides = [
        "queue.group_commit_delay=5ms",
        "storage.sqlite.path=a: b # c",
        "gateway.cors={allowed_origins: ['https://a.example'], max_age: 1h}",
        "gateway.cors.allowed_headers=[x, y]",
        "storage.retention.max_age=1d",
        "storage.retention.max_age=",
        "service.telemetry.metrics.endpoint=\"\"",
    ];
    let config = loaded(&with_set(sources(&[]), &overrides));
    assert_eq!(config.queue.group_commit_delay, Duration::millis(5));
    assert_eq!(config.storage.sqlite.path.to_str(), Some("a: b # c"));
    let cors = config.gateway.cors.unwrap();
    assert_eq!(cors.allowed_headers, ["x", "y"]);
    assert_eq!(cors.max_age, Duration::seconds(3600));
    assert_eq!(config.storage.retention.max_age, Duration::days(30));
    assert_eq!(config.service.telemetry.metrics.endpoint, "");
}

#[test]
fn wrong_flags_are_named() {
    let problems = problems(&with_set(
        sources(&[]),
        &["x", "a..b=1", "queue.max_sise=1", "q=[1"],
    ));
    for expected in [
        "--set: expected a.b.c=value, got \"x\"",
        "--set: expected a.b.c=value, got \"a..b=1\"",
        "--set: queue.max_sise: unknown key, did you mean \"max_size\"?",
        "--set: q: not valid YAML",
    ] {
        assert!(
            problems.contains(expected),
            "{expected}\nis not in\n{problems}"
        );
    }
}

#[test]
fn unset_variables_are_reported_with_path_and_line_and_only_once() {
    let yaml = "gateway:\n  tls:\n    cert_file: ${env:CERT}\n    key_file: k\nstorage:\n  sqlite: \
                {path: 'a${DB}'}\n";
    let problems = problems(&sources(&[yaml]));
    let expected = "--config yaml:3: gateway.tls.cert_file: environment variable CERT is not set; \
                    set it or give a default as in ${env:CERT:-default}\n\
                    --config yaml:6: storage.sqlite.path: environment variable DB is not set; set \
                    it or give a default as in ${env:DB:-default}";
    assert_eq!(problems, expected);
}

#[test]
fn keys_are_never_substituted() {
    let problems = problems(&sources(&["${HOME}: 1"]));
    assert!(problems.contains("${HOME}: unknown key"), "{problems}");
}

#[test]
fn documents_come_from_files_variables_and_text() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("a.yaml");
    std::fs::write(&file, "gateway: {page_size_max: 3}").unwrap();
    let path = file.to_str().unwrap();
    let environment = [
        ("HOME", "/root"),
        ("CONFIG", "gateway: {trace_spans_max: 4}"),
    ];
    let mut all = with_environment(sources(&[]), environment);
    all.documents = vec![
        format!("file:{path}"),
        "env:CONFIG".to_owned(),
        "yaml:gateway: {max_connections: 5}".to_owned(),
    ];
    let gateway = loaded(&all).gateway;
    let read = (
        gateway.page_size_max,
        gateway.trace_spans_max,
        gateway.max_connections,
    );
    assert_eq!(read, (3, 4, 5));

    all.documents = vec![
        "/nowhere.yaml".to_owned(),
        "env:NONE".to_owned(),
        path.to_owned(),
    ];
    let problems = problems(&all);
    assert!(
        problems.contains("/nowhere.yaml: read configuration"),
        "{problems}"
    );
    assert!(
        problems.contains("environment variable NONE: is not set"),
        "{problems}"
    );
}

#[test]
fn the_default_file_is_read_only_when_no_document_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.yaml");
    let mut all = sources(&[]);
    all.default_file = Some(file.clone());
    assert_eq!(
        loaded(&all).gateway.page_size_max,
        1000,
        "it may be missing"
    );
    std::fs::write(&file, "gateway: {page_size_max: 3}").unwrap();
    assert_eq!(loaded(&all).gateway.page_size_max, 3);
    all.documents = vec!["yaml:".to_owned()];
    assert_eq!(loaded(&all).gateway.page_size_max, 1000);
}
