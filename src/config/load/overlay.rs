//! What is laid over the documents: environment variables and flags.

use super::Sources;
use crate::config::env::Environment;
use crate::config::problem::Problem;
use crate::config::tree::{Node, Origin, Path, Scalar, Value};
use crate::config::yaml;
use crate::gateway;
use crate::telemetry::LogEncoding;

const LOG_LEVEL: &[&str] = &["service", "telemetry", "logs", "level"];
const LOG_ENCODING: &[&str] = &["service", "telemetry", "logs", "encoding"];
const DATA_DIR: &[&str] = &["service", "data_dir"];
const GATEWAY_ENDPOINT: &[&str] = &["gateway", "endpoint"];
const DATABASE_URL: &str = "DATABASE_URL";

/// Variables whose text is a value of the configuration.
const VARIABLES: &[(&str, &[&str])] = &[
    ("PULSE_DATA_DIR", DATA_DIR),
    ("DATABASE_PATH", &["storage", "sqlite", "path"]),
    ("PULSE_RUNTIME_MODE", &["service", "mode"]),
    ("PULSE_LOG_LEVEL", LOG_LEVEL),
    ("PULSE_LOG_FORMAT", LOG_ENCODING),
    ("BETTER_AUTH_SECRET", &["auth", "session_secret"]),
];

/// Variables whose text is a list with commas. A star in it says nothing: whoever may use a cookie is
/// named.
const LISTS: &[(&str, &[&str])] = &[("PULSE_ALLOWED_ORIGINS", &["gateway", "allowed_origins"])];

/// Variables whose text is a number of the configuration.
const NUMBERS: &[(&str, &[&str])] = &[("SPAN_WAL_PARTITIONS", &["queue", "partitions"])];

/// Trees to lay over the configuration, in order, and what was wrong with others.
#[derive(Default)]
pub(super) struct Overlay {
    pub(super) nodes: Vec<Node>,
    pub(super) problems: Vec<Problem>,
    pub(super) refused: Vec<Path>,
}

impl Overlay {
    fn text(&mut self, source: &str, keys: &[&str], text: &str) {
        self.value(source, keys, Value::Scalar(Scalar::text(text)));
    }

    fn list(&mut self, source: &str, keys: &[&str], text: &str) {
        let items = text.split(',').map(str::trim);
        let items = items.filter(|item| !item.is_empty() && *item != "*");
        let items = items.map(|item| {
            let item = Value::Scalar(Scalar::text(item));
            Node::new(item, Origin::new(source))
        });
        self.value(source, keys, Value::Sequence(items.collect()));
    }

    fn value(&mut self, source: &str, keys: &[&str], value: Value) {
        let leaf = Node::new(value, Origin::new(source));
        self.nodes.push(Node::nested(keys, leaf));
    }
}

/// The value of a variable; an empty one counts as unset.
fn variable<'a>(environment: &'a Environment, name: &str) -> Result<Option<&'a str>, Problem> {
    match environment.lookup(name) {
        Ok(value) => Ok(value.filter(|value| !value.is_empty())),
        Err(error) => Err(Problem::of_source(name, error.to_string())),
    }
}

/// The variables of the Pulse family.
pub(super) fn environment(root: &Node, environment: &Environment) -> Overlay {
    let mut overlay = Overlay::default();
    for (name, keys) in VARIABLES {
        match variable(environment, name) {
            Ok(None) => {}
            Ok(Some(text)) => overlay.text(name, keys, text),
            Err(problem) => overlay.problems.push(problem),
        }
    }
    match variable(environment, DATABASE_URL) {
        Ok(None) => {}
        Ok(Some(url)) => {
            overlay.text(DATABASE_URL, &["storage", "kind"], "postgres");
            overlay.text(DATABASE_URL, &["storage", "postgres", "url"], url);
        }
        Err(problem) => overlay.problems.push(problem),
    }
    for (name, keys) in NUMBERS {
        match variable(environment, name) {
            Ok(None) => {}
            Ok(Some(text)) => overlay.value(name, keys, Value::from_plain(text)),
            Err(problem) => overlay.problems.push(problem),
        }
    }
    for (name, keys) in LISTS {
        match variable(environment, name) {
            Ok(None) => {}
            Ok(Some(text)) => overlay.list(name, keys, text),
            Err(problem) => overlay.problems.push(problem),
        }
    }
    match variable(environment, "PORT") {
        Ok(None) => {}
        Ok(Some(text)) => gateway_port(root, text, &mut overlay),
        Err(problem) => overlay.problems.push(problem),
    }
    overlay
}

/// `PORT`: the gateway's port, at the host that is configured.
fn gateway_port(root: &Node, text: &str, overlay: &mut Overlay) {
    let Ok(port) = text.trim().parse::<u16>() else {
        let path = Path::of(GATEWAY_ENDPOINT);
        let message = format!("expected a port from 0 to 65535, got \"{text}\"");
        let problem = Problem::at(Some(&Origin::new("PORT")), path.to_string(), message);
        overlay.problems.push(problem);
        return;
    };
    let configured = root
        .find(&Path::of(GATEWAY_ENDPOINT))
        .map(|node| &node.value);
    let endpoint = match configured {
        Some(Value::Scalar(scalar)) => scalar.text.clone(),
        _ => gateway::Config::default().endpoint,
    };
    let host = endpoint
        .rsplit_once(':')
        .map_or(endpoint.as_str(), |(host, _)| host);
    overlay.text("PORT", GATEWAY_ENDPOINT, &format!("{host}:{port}"));
}

/// `--set`, in order.
pub(super) fn overrides(overrides: &[String], environment: &Environment) -> Overlay {
    let mut overlay = Overlay::default();
    for assignment in overrides {
        let parsed = assignment
            .split_once('=')
            .map(|(path, value)| (path.split('.').collect::<Vec<_>>(), value))
            .filter(|(keys, _)| keys.iter().all(|key| !key.is_empty()));
        let Some((keys, value)) = parsed else {
            let message = format!("expected a.b.c=value, got \"{assignment}\"");
            overlay.problems.push(Problem::of_source("--set", message));
            continue;
        };
        match override_value(value) {
            Ok(leaf) => {
                let mut node = Node::nested(&keys, leaf);
                super::substitute(
                    &mut node,
                    environment,
                    &mut overlay.problems,
                    &mut overlay.refused,
                );
                overlay.nodes.push(node);
            }
            Err(problem) => overlay.problems.push(Problem {
                path: keys.join("."),
                ..problem
            }),
        }
    }
    overlay
}

/// Reads the value of `--set`: a plain scalar, or YAML when it begins as a list, map or quotes.
fn override_value(value: &str) -> Result<Node, Problem> {
    if !value.trim_start().starts_with(['[', '{', '"', '\'']) {
        return Ok(Node::new(Value::from_plain(value), Origin::new("--set")));
    }
    yaml::parse_flag("--set", value)
}

/// Flags with a name of their own.
pub(super) fn flags(sources: &Sources) -> Overlay {
    let mut overlay = Overlay::default();
    if let Some(level) = &sources.log_level {
        overlay.text("--log-level", LOG_LEVEL, level);
    }
    if let Some(format) = sources.log_format {
        let name = match format {
            LogEncoding::Text => "text",
            LogEncoding::Json => "json",
        };
        overlay.text("--log-format", LOG_ENCODING, name);
    }
    overlay
}

/// Puts the data directory in where nobody did: `$PULSE_HOME`, else `~/.pulse`.
pub(super) fn default_data_dir(root: &mut Node, environment: &Environment) -> Result<(), Problem> {
    let path = Path::of(DATA_DIR);
    let is_set = root.find(&path).is_some_and(|node| match &node.value {
        Value::Null => false,
        Value::Scalar(scalar) => !scalar.text.is_empty(),
        Value::Sequence(_) | Value::Mapping(_) => true,
    });
    if is_set {
        return Ok(());
    }
    let mut overlay = Overlay::default();
    if let Some(home) = variable(environment, "PULSE_HOME")? {
        overlay.text("PULSE_HOME", DATA_DIR, home);
    } else if let Some(home) = variable(environment, "HOME")? {
        let directory = format!("{}/.pulse", home.trim_end_matches('/'));
        overlay.text("HOME", DATA_DIR, &directory);
    } else {
        let message =
            "no directory to keep files in: set it, or PULSE_DATA_DIR, PULSE_HOME or HOME";
        return Err(Problem::at(None, path.to_string(), message));
    }
    for node in overlay.nodes {
        root.merge(node);
    }
    Ok(())
}
