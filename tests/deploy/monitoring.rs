//! `deploy/prometheus` and `deploy/grafana`: every expression, against the table of metrics.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use pulse_collector::telemetry::metrics::{ALL, MetricInfo, MetricKind};
use serde_json::{Value, json};

use crate::promql::{self, Selector};
use crate::{assert_succeeds, repository, run_if_installed, text, yaml};

const ALERTS: &str = "deploy/prometheus/alerts.yaml";
const RULE_TESTS: &str = "deploy/prometheus/alerts.test.yaml";
const DASHBOARD: &str = "deploy/grafana/pulse-collector.json";

/// Labels that Prometheus gives every series.
const TARGET_LABELS: [&str; 2] = ["job", "instance"];

/// The rules, by name.
fn rules() -> BTreeMap<String, Value> {
    let mut rules = BTreeMap::new();
    for group in yaml(ALERTS)["groups"].as_array().unwrap() {
        for rule in group["rules"].as_array().unwrap() {
            let name = rule["alert"].as_str().unwrap().to_owned();
            assert!(rules.insert(name, rule.clone()).is_none(), "{rule} twice");
        }
    }
    rules
}

fn dashboard() -> Value {
    serde_json::from_str(&text(DASHBOARD)).unwrap()
}

/// The panels that show something.
fn panels(dashboard: &Value) -> Vec<&Value> {
    let panels = dashboard["panels"].as_array().unwrap().iter();
    panels.filter(|panel| panel["type"] != "row").collect()
}

/// Title, expression and legend of every line in the dashboard.
fn lines(dashboard: &Value) -> Vec<(String, String, String)> {
    let of_panel = |panel: &&Value| {
        let title = panel["title"].as_str().unwrap().to_owned();
        let targets = panel["targets"].as_array().unwrap().clone();
        targets.into_iter().map(move |target| {
            let field = |name: &str| target[name].as_str().unwrap().to_owned();
            (title.clone(), field("expr"), field("legendFormat"))
        })
    };
    panels(dashboard).iter().flat_map(of_panel).collect()
}

/// Every expression, with where it is.
fn expressions() -> Vec<(String, String)> {
    let mut found: Vec<_> = rules()
        .iter()
        .map(|(name, rule)| (name.clone(), rule["expr"].as_str().unwrap().to_owned()))
        .collect();
    let dashboard = dashboard();
    found.extend(
        lines(&dashboard)
            .into_iter()
            .map(|(title, expr, _)| (title, expr)),
    );
    found
}

/// The metric a selector asks for, and the part of it when it is a histogram.
fn metric(name: &str) -> Option<(&'static MetricInfo, &'static str)> {
    ALL.iter().find_map(|info| {
        let part = name.strip_prefix(info.name)?;
        let parts: &[&str] = match info.kind {
            MetricKind::Histogram => &["_bucket", "_sum", "_count"],
            MetricKind::Counter | MetricKind::Gauge => &[""],
        };
        let part = parts.iter().find(|known| **known == part)?;
        Some((info, *part))
    })
}

/// The labels a selected series has.
///
/// # Errors
/// When there is no such series, or it is not asked as its kind must be.
fn check(selector: &Selector) -> Result<BTreeSet<&'static str>, String> {
    let mut labels = BTreeSet::from(TARGET_LABELS);
    if selector.metric == "up" {
        return Ok(labels);
    }
    let name = &selector.metric;
    let (info, part) = metric(name).ok_or_else(|| format!("there is no metric {name}"))?;
    labels.extend(info.labels);
    if part == "_bucket" {
        labels.insert("le");
    }
    if let Some(label) = selector
        .labels
        .iter()
        .find(|it| !labels.contains(it.as_str()))
    {
        return Err(format!("{name} has no label {label}"));
    }
    let within = selector.within.as_str();
    let only_grows = info.kind != MetricKind::Gauge;
    let fits = match (only_grows, selector.is_range) {
        (true, true) => ["rate", "increase"].contains(&within),
        (false, true) => ["max_over_time", "predict_linear", "resets"].contains(&within),
        (false, false) => !["rate", "increase"].contains(&within),
        // Since the start of the process: a number that says nothing.
        (true, false) => false,
    };
    if fits {
        Ok(labels)
    } else {
        Err(format!("{name} within \"{within}\""))
    }
}

/// The labels that the series of an expression have together.
fn labels_of(place: &str, expression: &str) -> BTreeSet<&'static str> {
    let query = promql::read(expression).unwrap_or_else(|error| panic!("{place}: {error}"));
    assert!(!query.selectors.is_empty(), "{place} asks for nothing");
    let mut labels = BTreeSet::new();
    for selector in &query.selectors {
        labels.extend(check(selector).unwrap_or_else(|error| panic!("{place}: {error}")));
    }
    for label in &query.grouped_by {
        assert!(labels.contains(label.as_str()), "{place} groups by {label}");
    }
    labels
}

// Scenario: every expression of every alert and panel is read.
// Guarantees: each metric exists, has the labels it is selected and grouped by, and is asked as its
// kind must be: counters and histograms by their growth, gauges as they are.
#[test]
fn every_expression_asks_for_what_exists() {
    let expressions = expressions();
    assert!(expressions.len() > 50, "{}", expressions.len());
    for (place, expression) in expressions {
        labels_of(&place, &expression);
    }
}

#[test]
fn what_does_not_exist_is_found() {
    for wrong in [
        "pulse_queue_byte",
        "pulse_queue_bytes_total",
        "pulse_log_fsync_seconds",
        "rate(pulse_log_fsync_seconds_buckets[5m])",
        "pulse_receiver_refused_spans_total",
        "rate(pulse_receiver_refused_spans_total)",
        "rate(pulse_receiver_refused_spans_total{route=\"x\"}[5m])",
        "rate(pulse_queue_bytes[5m])",
        "node_load1",
    ] {
        let query = promql::read(wrong).unwrap();
        assert!(check(&query.selectors[0]).is_err(), "{wrong}");
    }
}

// Scenario: the placeholders in texts of alerts and legends of panels are compared with the labels
// that are left after grouping.
// Guarantees: none stays empty.
#[test]
fn texts_name_labels_that_the_result_has() {
    let placeholders = |text: &str, open: &str| -> Vec<String> {
        let parts = text.split(open).skip(1);
        parts
            .map(|rest| {
                let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
                rest[..end.unwrap_or(rest.len())].to_owned()
            })
            .collect()
    };
    let assert_left = |place: &str, expression: &str, label: &str| {
        let grouped = promql::read(expression).unwrap().grouped_by;
        let left = if grouped.is_empty() {
            labels_of(place, expression).contains(label)
        } else {
            grouped.contains(label)
        };
        assert!(left, "{place} has no label {label}");
    };
    for (name, rule) in rules() {
        let expression = rule["expr"].as_str().unwrap();
        for text in ["summary", "description"] {
            let text = rule["annotations"][text].as_str().unwrap();
            for label in placeholders(text, "$labels.") {
                assert_left(&name, expression, &label);
            }
        }
    }
    for (title, expression, legend) in lines(&dashboard()) {
        for label in placeholders(&legend, "{{") {
            assert_left(&title, &expression, &label);
        }
    }
}

#[test]
fn every_alert_says_how_bad_it_is_and_what_to_do() {
    for (name, rule) in rules() {
        assert!(name.starts_with("PulseCollector"), "{name}");
        let severity = rule["labels"]["severity"].as_str().unwrap();
        assert!(
            ["critical", "warning", "info"].contains(&severity),
            "{name}"
        );
        let annotations = &rule["annotations"];
        assert!(
            annotations["summary"]
                .as_str()
                .unwrap()
                .contains("$labels.instance")
        );
        let description = annotations["description"].as_str().unwrap();
        assert!(description.len() > 120, "{name}: {description}");
        // What a text names exists, too.
        for word in description.split(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
            let is_metric = word.starts_with("pulse_");
            let known = ALL.iter().any(|info| info.name == word);
            assert!(!is_metric || known, "{name} names {word}");
            let is_alert = word.starts_with("PulseCollector");
            assert!(
                !is_alert || rules().contains_key(word),
                "{name} names {word}"
            );
        }
    }
}

// Scenario: the dotted words of all descriptions are looked up in the default configuration.
// Guarantees: no text tells people to turn a key that is not there.
#[test]
fn texts_name_settings_that_exist() {
    let defaults = yaml("config/default.yaml");
    let mut texts: Vec<_> = rules()
        .values()
        .map(|rule| {
            rule["annotations"]["description"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    let dashboard = dashboard();
    texts.extend(
        panels(&dashboard)
            .iter()
            .map(|panel| panel["description"].as_str().unwrap().to_owned()),
    );
    let mut named = 0;
    for text in texts {
        for word in text.split(|c: char| !c.is_ascii_lowercase() && c != '_' && c != '.') {
            let word = word.trim_matches('.');
            let section = word.split('.').next().unwrap();
            if !word.contains('.') || defaults.get(section).is_none() {
                continue;
            }
            let pointer = format!("/{}", word.replace('.', "/"));
            assert!(defaults.pointer(&pointer).is_some(), "{word} in: {text}");
            named += 1;
        }
    }
    assert!(named > 8, "{named}");
}

// Scenario: the tests of the rules are compared with the rules.
// Guarantees: every alert is seen to fire by a test.
#[test]
fn every_alert_is_tested() {
    let tests = text(RULE_TESTS);
    for name in rules().keys() {
        let fires = format!("alertname=\"{name}\"");
        assert!(tests.contains(&fires), "{name} has no test in {RULE_TESTS}");
    }
}

// Scenario: promtool checks the rules, plays their tests, and checks the dashboard's expressions as
// if they were rules.
// Guarantees: Prometheus takes them, and each alert fires when it should and not otherwise.
#[test]
fn prometheus_understands_every_expression() {
    let mut check = Command::new("promtool");
    check.args(["check", "rules"]).arg(repository(ALERTS));
    let Some(output) = run_if_installed(&mut check) else {
        return;
    };
    assert_succeeds(&output);
    let mut play = Command::new("promtool");
    play.args(["test", "rules"]).arg(repository(RULE_TESTS));
    assert_succeeds(&play.output().unwrap());

    let dashboard = dashboard();
    let rules: Vec<_> = lines(&dashboard)
        .into_iter()
        .enumerate()
        .map(|(index, (_, expression, _))| {
            let expression = expression
                .replace("$__rate_interval", "5m")
                .replace("$__range", "1h");
            json!({"record": format!("line:{index}"), "expr": expression})
        })
        .collect();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("rules.yaml");
    let groups = json!({"groups": [{"name": "dashboard", "rules": rules}]});
    fs::write(&file, groups.to_string()).unwrap();
    let mut check = Command::new("promtool");
    let output = check.args(["check", "rules"]).arg(&file).output().unwrap();
    assert_succeeds(&output);
}

#[test]
fn every_panel_explains_itself_and_has_its_place() {
    let dashboard = dashboard();
    let mut ids = BTreeSet::new();
    let mut cells = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}");
        let place = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        for x in place("x")..place("x") + place("w") {
            assert!(x < 24, "{title} is too wide");
            for y in place("y")..place("y") + place("h") {
                assert!(cells.insert((x, y)), "{title} covers another panel");
            }
        }
    }
    let variables: Vec<_> = dashboard["templating"]["list"]
        .as_array()
        .unwrap()
        .iter()
        .map(|variable| variable["name"].as_str().unwrap())
        .collect();
    assert_eq!(variables, ["datasource", "instance"]);
    for panel in panels(&dashboard) {
        let title = panel["title"].as_str().unwrap();
        assert!(
            !panel["description"].as_str().unwrap().is_empty(),
            "{title}"
        );
        assert!(
            panel["fieldConfig"]["defaults"]["unit"].is_string(),
            "{title}"
        );
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
    }
    for (title, expression, _) in lines(&dashboard) {
        for selector in promql::read(&expression).unwrap().selectors {
            assert_eq!(selector.labels[0], "instance", "{title}");
        }
    }
}
