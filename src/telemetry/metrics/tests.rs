use std::collections::BTreeMap;

use super::*;
use crate::otlp::Signal;

/// Name to type, as a scraper reads them.
fn types_of(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .map(|rest| {
            let (name, kind) = rest.split_once(' ').unwrap();
            (name.to_owned(), kind.to_owned())
        })
        .collect()
}

fn touched() -> Metrics {
    let metrics = Metrics::new().unwrap();
    metrics.receiver_request(Transport::Grpc, 14, 10, Duration::from_millis(1));
    metrics.gateway_request("/api/v1/traces", 200, Duration::from_millis(1));
    metrics
        .redaction(["secrets"].into_iter())
        .redacted(&[1], 10);
    metrics
}

// Every metric is recorded once and the text is compared with the table that the documentation
// and dashboards are made from. Guarantees that the table has neither missing nor invented names.
#[test]
fn the_rendered_names_and_types_are_those_of_the_table() {
    let rendered = types_of(&touched().render());
    let expected: BTreeMap<_, _> = ALL
        .iter()
        .map(|info| {
            let kind = match info.kind {
                MetricKind::Counter => "counter",
                MetricKind::Gauge => "gauge",
                MetricKind::Histogram => "histogram",
            };
            (info.name.to_owned(), kind.to_owned())
        })
        .collect();
    assert_eq!(rendered, expected);
    assert_eq!(expected.len(), ALL.len(), "a name is used twice");
}

#[test]
fn every_metric_has_its_description_and_labels() {
    let text = touched().render();
    for info in ALL {
        let help = format!("# HELP {} {}", info.name, info.help);
        assert!(text.contains(&help), "{help}");
        for label in info.labels {
            let with_label = text
                .lines()
                .any(|line| line.starts_with(info.name) && line.contains(&format!("{label}=\"")));
            assert!(with_label, "{} has no label {label}", info.name);
        }
    }
}

#[test]
fn received_spans_are_the_sum_of_their_outcomes() {
    let metrics = Metrics::new().unwrap();
    let outcomes = Outcomes {
        accepted: 5,
        rejected: 2,
        refused: 1,
    };
    metrics.receiver_items(Signal::Traces, Transport::HttpJson, outcomes);
    let text = metrics.render();
    for (name, value) in [
        ("received", 8),
        ("accepted", 5),
        ("rejected", 2),
        ("refused", 1),
    ] {
        let line =
            format!("pulse_receiver_{name}_spans_total{{transport=\"http_json\"}} {value}\n");
        assert!(text.contains(&line), "{line} not in {text}");
    }
    assert!(text.contains("pulse_receiver_received_spans_total{transport=\"grpc\"} 0\n"));
}

#[test]
fn codes_are_names_for_grpc_and_numbers_for_http() {
    let metrics = Metrics::new().unwrap();
    metrics.receiver_request(Transport::Grpc, 0, 1, Duration::ZERO);
    metrics.receiver_request(Transport::Grpc, 8, 1, Duration::ZERO);
    metrics.receiver_request(Transport::Grpc, 8, 1, Duration::ZERO);
    metrics.receiver_request(Transport::HttpProtobuf, 503, 1, Duration::ZERO);
    let text = metrics.render();
    assert!(text.contains("{transport=\"grpc\",code=\"OK\"} 1\n"));
    assert!(text.contains("{transport=\"grpc\",code=\"RESOURCE_EXHAUSTED\"} 2\n"));
    assert!(text.contains("{transport=\"http_protobuf\",code=\"503\"} 1\n"));
}

#[test]
fn redacted_values_are_counted_by_rule() {
    let metrics = Metrics::new().unwrap();
    let counters = metrics.redaction(["secrets", "people"].into_iter());
    counters.redacted(&[2, 0, 0, 0], 100);
    counters.redacted(&[1, 4, 0, 0], 20);
    let text = metrics.render();
    assert!(text.contains("pulse_redaction_values_total{rule=\"secrets\"} 3\n"));
    assert!(text.contains("pulse_redaction_values_total{rule=\"people\"} 4\n"));
    assert!(text.contains("pulse_redaction_scanned_bytes_total 120\n"));
}

#[test]
fn processor_time_keeps_its_fraction() {
    let metrics = Metrics::new().unwrap();
    metrics.process(process::Sample {
        rss_bytes: 1,
        cpu: Duration::from_millis(1250),
        open_fds: 3,
    });
    assert!(
        metrics
            .render()
            .contains("\npulse_process_cpu_seconds_total 1.25\n")
    );
}

#[test]
fn histograms_are_rendered_with_buckets() {
    let metrics = Metrics::new().unwrap();
    metrics.log_group(3, 1000);
    metrics.log_fsync(Duration::from_micros(300));
    let text = metrics.render();
    assert!(text.contains("pulse_log_fsync_seconds_bucket{le=\"0.00025\"} 0\n"));
    assert!(text.contains("pulse_log_fsync_seconds_bucket{le=\"0.0005\"} 1\n"));
    assert!(text.contains("pulse_log_group_records_bucket{le=\"4\"} 1\n"));
    assert!(text.contains("pulse_log_group_bytes_sum 1000\n"));
}
