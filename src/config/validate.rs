//! Rules that one value's type can't express: bounds, combinations, files that must exist.
//!
//! Answers every broken rule. Nothing is bound, created or changed; with [`CheckFiles::No`] the
//! file system is not even looked at, so that a configuration can be checked on another machine.

mod bounds;
mod listeners;

use super::problem::Problem;
use super::tree::{Node, Path};
use super::{ByteSize, Config};
use crate::service::Mode;

/// Whether the files a configuration names are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckFiles {
    /// They must exist and be readable.
    Yes,
    /// They are not looked for.
    No,
}

/// A broken rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Issue {
    /// The key to change.
    pub(crate) path: String,
    /// Other keys the rule looks at.
    pub(crate) related: Vec<String>,
    pub(crate) message: String,
}

impl Issue {
    fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            related: Vec::new(),
            message: message.into(),
        }
    }

    fn related_to(mut self, path: impl Into<String>) -> Self {
        self.related.push(path.into());
        self
    }

    /// The problem, with the place where the key, or else a related one, was written. None when
    /// the rule looked at a default that stands in for a refused value.
    pub(crate) fn into_problem(self, root: &Node, refused: &[Path]) -> Option<Problem> {
        let path = Path::parse(&self.path);
        let related = self.related.iter().map(|related| Path::parse(related));
        let involved: Vec<Path> = std::iter::once(path).chain(related).collect();
        let looks_at_refused = involved
            .iter()
            .any(|path| refused.iter().any(|refused| path.overlaps(refused)));
        if looks_at_refused {
            return None;
        }
        let origin = involved.iter().find_map(|path| root.origin_of(path));
        Some(Problem::at(origin, self.path, self.message))
    }
}

/// Every rule the configuration breaks.
pub(crate) fn validate(config: &Config, check_files: CheckFiles) -> Vec<Issue> {
    let mut issues = Vec::new();
    bounds::check(config, &mut issues);
    listeners::check(config, check_files, &mut issues);
    pricing(config, &mut issues);
    redaction(config, check_files, &mut issues);
    exporters(config, check_files, &mut issues);
    sampling(config, &mut issues);
    log_level(config, &mut issues);
    paths(config, &mut issues);
    processes(config, &mut issues);
    issues
}

fn pricing(config: &Config, issues: &mut Vec<Issue>) {
    let pricing = &config.processors.pricing;
    for (index, one) in pricing.overrides.iter().enumerate() {
        if let Err(error) = crate::pricing::Table::new(std::slice::from_ref(one)) {
            let message = format!("entry {}: {error}", index + 1);
            issues.push(Issue::new("processors.pricing.overrides", message));
        }
    }
}

fn redaction(config: &Config, check_files: CheckFiles, issues: &mut Vec<Issue>) {
    let reads_files = check_files == CheckFiles::Yes;
    for problem in config.processors.redaction.problems(reads_files) {
        let path = format!("processors.redaction.{}", problem.path);
        issues.push(Issue::new(path, problem.message));
    }
}

fn exporters(config: &Config, check_files: CheckFiles, issues: &mut Vec<Issue>) {
    const PATH: &str = "exporters.otlp";
    let Some(otlp) = &config.exporters.otlp else {
        return;
    };
    let log = (config.log_partitions(), config.queue.segment_size);
    for problem in otlp.problems(log) {
        issues.push(Issue::new(
            format!("{PATH}.{}", problem.key),
            problem.message,
        ));
    }
    for (key, file) in otlp.files().filter(|_| check_files == CheckFiles::Yes) {
        if let Err(error) = std::fs::File::open(file) {
            let message = format!("{}: {error}", file.display());
            issues.push(Issue::new(format!("{PATH}.{key}"), message));
        }
    }
}

fn sampling(config: &Config, issues: &mut Vec<Issue>) {
    for problem in config.processors.sampling.problems() {
        let path = format!("processors.sampling.{}", problem.path);
        issues.push(Issue::new(path, problem.message));
    }
    let tail = &config.processors.sampling.tail;
    let limit = ByteSize::mib(config.processors.memory_limiter.limit_mib.into());
    if tail.enabled && tail.decision_memory >= limit {
        const PATH: &str = "processors.sampling.tail.decision_memory";
        const LIMIT: &str = "processors.memory_limiter.limit_mib";
        let memory = tail.decision_memory;
        let message = format!("{memory} must be less than the process may take ({LIMIT}: {limit})");
        issues.push(Issue::new(PATH, message).related_to(LIMIT));
    }
}

/// The words that are a log level by themselves.
const LOG_LEVELS: &[&str] = &["off", "error", "warn", "info", "debug", "trace"];

fn log_level(config: &Config, issues: &mut Vec<Issue>) {
    const PATH: &str = "service.telemetry.logs.level";
    let level = &config.service.telemetry.logs.level;
    // The filter takes a misspelt level for the name of a module, and then shows nothing.
    for directive in level.split(',').map(str::trim) {
        let is_word = !directive.contains(['=', '[', ':']);
        if is_word && !LOG_LEVELS.contains(&directive.to_ascii_lowercase().as_str()) {
            let message = match super::problem::nearest(directive, LOG_LEVELS) {
                Some(known) => format!("unknown level \"{directive}\", did you mean \"{known}\"?"),
                None => format!(
                    "unknown level \"{directive}\", expected one of: {}, or module=level",
                    LOG_LEVELS.join(", ")
                ),
            };
            issues.push(Issue::new(PATH, message));
            return;
        }
    }
    if let Err(error) = tracing_subscriber::EnvFilter::try_new(level) {
        issues.push(Issue::new(
            PATH,
            format!("\"{level}\" is not a log filter: {error}"),
        ));
    }
}

/// What several processes, or several writers in one, need of the store.
fn processes(config: &Config, issues: &mut Vec<Issue>) {
    if config.storage.kind.is_shared() {
        return;
    }
    if config.service.mode != Mode::All {
        let message = "the embedded store is written by one process, which takes the requests, \
                       too: use all, or a storage.kind that several processes can write to";
        let issue = Issue::new("service.mode", message);
        issues.push(issue.related_to("storage.kind"));
    }
    if config.log_partitions() > 1 {
        let message = format!(
            "the embedded store has one writer, so the log has one partition, not {}",
            config.queue.partitions
        );
        let issue = Issue::new("queue.partitions", message);
        issues.push(issue.related_to("storage.kind"));
    }
}

fn paths(config: &Config, issues: &mut Vec<Issue>) {
    let named = [
        ("service.data_dir", &config.service.data_dir),
        ("queue.directory", &config.queue.directory),
        ("storage.sqlite.path", &config.storage.sqlite.path),
    ];
    for (path, value) in named {
        if value.starts_with("~") {
            let message = format!(
                "\"~\" is expanded by shells only; write ${{env:HOME}} in \"{}\"",
                value.display()
            );
            issues.push(Issue::new(path, message));
        }
    }
}

#[cfg(test)]
mod tests;
