//! The rules of ARCHITECTURE.md that the compiler does not check.

#![allow(
    clippy::unwrap_used,
    reason = "a test that goes wrong should end at once and say where"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Which modules of the crate a module may use, besides itself.
const MAY_USE: [(&str, &[&str]); 12] = [
    ("model", &[]),
    ("otlp", &["model"]),
    ("pricing", &["model"]),
    ("semconv", &["model", "otlp", "pricing"]),
    ("queue", &["config", "model"]),
    (
        "storage",
        &["config", "model", "otlp", "queue", "telemetry"],
    ),
    ("auth", &["config", "model", "storage", "telemetry"]),
    (
        "processors",
        &["config", "model", "otlp", "pricing", "semconv"],
    ),
    (
        "pipeline",
        &["auth", "model", "otlp", "processors", "queue", "telemetry"],
    ),
    (
        "exporters",
        &[
            "config",
            "model",
            "net",
            "otlp",
            "pipeline",
            "pricing",
            "processors",
            "queue",
            "semconv",
            "storage",
            "telemetry",
        ],
    ),
    (
        "import",
        &["config", "model", "net", "receivers", "service", "storage"],
    ),
    (
        "gateway",
        &[
            "auth",
            "config",
            "model",
            "net",
            "otlp",
            "pipeline",
            "pricing",
            "receivers",
            "semconv",
            "service",
            "storage",
            "telemetry",
        ],
    ),
];

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn rust_files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Whether a file is only compiled for tests.
fn is_test(path: &Path) -> bool {
    let relative = path.strip_prefix(source()).unwrap();
    relative.components().any(|part| {
        let part = part.as_os_str().to_str().unwrap();
        [
            "tests",
            "tests.rs",
            "conformance",
            "conformance.rs",
            "testing.rs",
            "generate.rs",
        ]
        .contains(&part)
    })
}

/// The code of every file that is not a test, up to its unit tests, with its path below `src`.
fn code() -> Vec<(String, String)> {
    let mut files = Vec::new();
    rust_files(&source(), &mut files);
    files.sort();
    let shipped = files.into_iter().filter(|path| !is_test(path));
    shipped
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
            let lines = code
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"));
            let name = path.strip_prefix(source()).unwrap().display().to_string();
            (name, lines.collect::<Vec<_>>().join("\n"))
        })
        .collect()
}

fn module_of(file: &str) -> &str {
    file.split(['/', '.']).next().unwrap()
}

#[test]
fn modules_use_only_what_lies_below_them() {
    let mut wrong = BTreeSet::new();
    for (file, code) in code() {
        let module = module_of(&file);
        let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == module) else {
            continue;
        };
        for used in code.split("crate::").skip(1) {
            let used = used
                .split(|c: char| !c.is_ascii_lowercase() && c != '_')
                .next()
                .unwrap();
            if !used.is_empty() && used != module && !allowed.contains(&used) {
                wrong.insert(format!("{file} uses crate::{used}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn only_storage_has_sql() {
    let statements = [
        "SELECT ",
        "INSERT INTO ",
        "INSERT OR ",
        "DELETE FROM ",
        "PRAGMA ",
        "UPDATE ",
    ];
    let with_sql: Vec<_> = code()
        .into_iter()
        .filter(|(file, code)| {
            module_of(file) != "storage" && statements.iter().any(|sql| code.contains(sql))
        })
        // Texts for the load generator's messages, in capitals here and there.
        .filter(|(file, _)| file != "bench/words.rs")
        .map(|(file, _)| file)
        .collect();
    assert!(with_sql.is_empty(), "{with_sql:?}");
}

#[test]
fn sql_is_never_built_from_values() {
    let built: Vec<_> = code()
        .into_iter()
        .filter(|(file, _)| module_of(file) == "storage")
        .flat_map(|(file, code)| {
            let lines = code.lines().map(str::to_owned).collect::<Vec<_>>();
            lines.into_iter().map(move |line| (file.clone(), line))
        })
        .filter(|(_, line)| line.contains("format!(\"") && line.contains("WHERE"))
        .collect();
    assert!(built.is_empty(), "{built:?}");
}

#[test]
fn outcomes_become_codes_in_one_place() {
    let places: Vec<_> = code()
        .into_iter()
        .filter(|(_, code)| code.contains("Code::ResourceExhausted"))
        // A client, which reads codes.
        .filter(|(file, _)| module_of(file) != "bench")
        .map(|(file, _)| file)
        .collect();
    assert_eq!(places, ["otlp/status.rs"]);
}
