//! `deploy/docker`: the image.

use std::collections::BTreeSet;
use std::path::Path;

use pulse_collector::config::Config;
use serde_json::Value;

use crate::{
    assert_reachable, assert_succeeds, default_ports, files, load, port, repository, text, validate,
};

const DOCKERFILE: &str = "deploy/docker/Dockerfile";
pub(crate) const CONFIG: &str = "deploy/docker/config.yaml";

/// What lets a container take requests without credentials.
pub(crate) const CONSENT: [(&str, &str); 2] = [
    ("PULSE_ANONYMOUS_INGEST", "true"),
    ("PULSE_ANONYMOUS_READ", "true"),
];

/// The instructions of each stage, continued lines joined.
fn stages() -> Vec<Vec<(String, String)>> {
    let text = text(DOCKERFILE);
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let joined = lines.collect::<Vec<_>>().join("\n").replace("\\\n", " ");
    let mut stages: Vec<Vec<(String, String)>> = Vec::new();
    for line in joined.lines().filter(|line| !line.trim().is_empty()) {
        let (instruction, arguments) = line.split_once(' ').unwrap();
        if instruction == "FROM" {
            stages.push(Vec::new());
        }
        let words: Vec<_> = arguments.split_whitespace().collect();
        let instruction = (instruction.to_owned(), words.join(" "));
        stages.last_mut().unwrap().push(instruction);
    }
    stages
}

/// The arguments of every such instruction of a stage.
fn all<'a>(stage: &'a [(String, String)], name: &str) -> Vec<&'a str> {
    let matching = stage.iter().filter(|(instruction, _)| instruction == name);
    matching.map(|(_, arguments)| arguments.as_str()).collect()
}

/// The arguments of the only such instruction of a stage.
fn one<'a>(stage: &'a [(String, String)], name: &str) -> &'a str {
    let found = all(stage, name);
    assert_eq!(found.len(), 1, "{name}");
    found[0]
}

/// The words of an instruction in the form that needs no shell.
fn exec_form(arguments: &str) -> Vec<String> {
    serde_json::from_str(arguments).unwrap_or_else(|_| panic!("needs a shell: {arguments}"))
}

#[test]
fn the_image_is_built_by_the_pinned_compiler() {
    let toolchain = text("rust-toolchain.toml");
    let channel = toolchain
        .lines()
        .find_map(|line| line.strip_prefix("channel = "))
        .unwrap()
        .trim_matches('"');
    let build = &stages()[0];
    let image = format!("rust:{channel}-slim-bookworm AS build");
    assert_eq!(one(build, "FROM"), image);
    let environment = one(build, "ENV");
    let pin = format!("RUSTUP_TOOLCHAIN={channel}");
    assert!(environment.split(' ').any(|it| it == pin), "{environment}");
    let command = one(build, "RUN");
    assert!(command.contains("cargo build --locked --profile dist"));
    assert!(text("Cargo.toml").contains("[profile.dist]"));
}

// Scenario: the sources that COPY names are compared with .dockerignore and the repository.
// Guarantees: what is copied is there and sent to the builder, and nothing else is sent.
#[test]
fn the_build_is_sent_what_it_copies_and_nothing_else() {
    let mut copied = BTreeSet::new();
    for stage in stages() {
        for arguments in all(&stage, "COPY") {
            let mut words: Vec<_> = arguments.split(' ').collect();
            words.pop();
            if words[0].starts_with("--from=") {
                continue;
            }
            copied.extend(words.into_iter().map(str::to_owned));
        }
    }
    let ignored = text(".dockerignore");
    let mut lines = ignored.lines().filter(|line| !line.starts_with('#'));
    assert_eq!(lines.next(), Some("*"));
    let sent: BTreeSet<_> = lines
        .map(|line| line.strip_prefix('!').unwrap().to_owned())
        .collect();
    assert_eq!(sent, copied);
    for path in &sent {
        assert!(repository(path).exists(), "{path}");
    }
}

/// What a stage has of the repository, each file and directory where it lies there.
fn copied_in_place(stage: &[(String, String)]) -> BTreeSet<String> {
    let mut copied = BTreeSet::new();
    for arguments in all(stage, "COPY") {
        let (sources, target) = arguments.rsplit_once(' ').unwrap();
        for source in sources.split(' ') {
            let is_in_root = !source.contains('/') && repository(source).is_file();
            assert!(
                source == target || (target == "./" && is_in_root),
                "{arguments}"
            );
            copied.insert(source.to_owned());
        }
    }
    copied
}

/// The path in the repository that a file names relative to itself.
fn resolve(file: &str, written: &str) -> String {
    let mut parts: Vec<_> = file.split('/').collect();
    parts.pop();
    for part in written.split('/') {
        match part {
            ".." => assert!(parts.pop().is_some(), "{written} in {file}"),
            "." => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// The files that become part of the program with a source, but for those that `build.rs` makes.
fn included(source: &str) -> Vec<String> {
    let text = text(source);
    let arguments = ["include!(", "include_str!(", "include_bytes!("]
        .into_iter()
        .flat_map(|name| text.split(name).skip(1))
        .map(str::trim_start)
        .filter(|argument| !argument.starts_with("concat!(env!(\"OUT_DIR\")"));
    arguments
        .map(|argument| {
            let literal = argument.strip_prefix('"');
            let written = literal.and_then(|rest| rest.split('"').next());
            resolve(
                source,
                written.unwrap_or_else(|| panic!("{source}: {argument}")),
            )
        })
        .collect()
}

/// The sources that Cargo.toml names. Cargo wants all of them, whichever it builds.
fn targets() -> BTreeSet<String> {
    let mut targets = BTreeSet::new();
    let manifest = text("Cargo.toml");
    let mut section = "";
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line;
        }
        let Some((key, value)) = line.split_once(" = ") else {
            continue;
        };
        let value = value.trim_matches('"');
        match (section, key) {
            ("[package]", "build") | ("[lib]" | "[[bin]]", "path") => {
                targets.insert(value.to_owned())
            }
            ("[[bench]]", "name") => targets.insert(format!("benches/{value}.rs")),
            ("[[example]]" | "[[test]]", _) => panic!("{section}: is {value} copied?"),
            _ => continue,
        };
    }
    targets
}

/// What `build.rs` names of the repository.
fn read_by_build_script() -> BTreeSet<String> {
    let script = text("build.rs");
    let literals = script.split('"').skip(1).step_by(2);
    let names = literals.filter(|it| !it.is_empty() && repository(it).exists());
    names.map(str::to_owned).collect()
}

// Scenario: what sources include, what build.rs reads and what Cargo.toml names is looked for among
// what the build stage copies.
// Guarantees: nothing is missing when the image is built.
#[test]
fn the_build_has_every_file_that_it_reads() {
    let copied = copied_in_place(&stages()[0]);
    let sources = files("src").into_iter().filter(|it| it.ends_with(".rs"));
    let mut needed: BTreeSet<_> = sources.flat_map(|source| included(&source)).collect();
    needed.extend(read_by_build_script());
    needed.extend(targets());
    needed.extend(["Cargo.toml", "Cargo.lock"].map(str::to_owned));
    for path in &needed {
        assert!(repository(path).exists(), "{path}");
        let mut copied = copied.iter();
        let is_copied = copied.any(|it| Path::new(path).starts_with(it));
        assert!(is_copied, "{DOCKERFILE} does not copy {path}");
    }
    for known in ["config/prices.json", "proto", "src/main.rs", "build.rs"] {
        assert!(needed.contains(known), "{known}");
    }
}

#[test]
fn the_image_needs_neither_root_nor_a_shell() {
    let stages = stages();
    let image = stages.last().unwrap();
    let user = one(image, "USER");
    let (user, group) = user.split_once(':').unwrap();
    assert!(user.parse::<u32>().unwrap() > 0);
    assert!(group.parse::<u32>().unwrap() > 0);
    let prepare = one(image, "RUN");
    assert!(prepare.contains(&format!("-o {user} -g {group}")));

    assert_eq!(exec_form(one(image, "ENTRYPOINT")), ["pulse-collector"]);
    assert_eq!(exec_form(one(image, "CMD")), ["serve"]);
    let (_, probe) = one(image, "HEALTHCHECK").split_once(" CMD ").unwrap();
    let probe = exec_form(probe);
    assert_eq!(probe[..3], ["pulse-collector", "health", "--endpoint"]);
    let [_, _, _, metrics] = default_ports();
    assert_eq!(port(&probe[3]), metrics);
}

#[test]
fn the_image_keeps_its_data_in_a_volume_and_names_its_ports() {
    let stages = stages();
    let image = stages.last().unwrap();
    let directory = one(image, "ENV").strip_prefix("PULSE_HOME=").unwrap();
    assert_eq!(exec_form(one(image, "VOLUME")), [directory]);
    assert!(one(image, "RUN").ends_with(directory));
    assert_eq!(
        one(image, "EXPOSE"),
        default_ports().map(|port| port.to_string()).join(" ")
    );
    let places: Vec<_> = all(image, "COPY")
        .iter()
        .filter_map(|copy| copy.split(' ').next_back())
        .collect();
    assert!(places.contains(&pulse_collector::config::load::DEFAULT_FILE));

    let config = load(CONFIG, [CONSENT[0], CONSENT[1], ("PULSE_HOME", directory)]);
    assert_eq!(config.data_dir().to_str(), Some(directory));
}

// Scenario: the image's configuration is checked without and with consent to requests without
// credentials.
// Guarantees: both start; without, requests need an API key; the daemon listens on every interface
// and is otherwise as it is by default.
#[test]
fn the_image_asks_for_keys_unless_told_not_to() {
    let file = repository(CONFIG);
    let arguments = ["--config", file.to_str().unwrap()];
    assert_succeeds(&validate(&arguments, &[]));
    assert_succeeds(&validate(&arguments, &CONSENT));
    let config = load(CONFIG, [("HOME", "/")]);
    assert!(!config.auth.anonymous_ingest && !config.auth.anonymous_read);

    let config = load(CONFIG, [CONSENT[0], CONSENT[1], ("HOME", "/")]);
    assert_reachable(&config);
    let defaults = Config::default();
    assert_eq!(config.processors, defaults.processors);
    assert_eq!(config.queue, defaults.queue);
    assert_eq!(config.storage, defaults.storage);
    let smaller = load(
        CONFIG,
        [
            CONSENT[0],
            CONSENT[1],
            ("HOME", "/"),
            ("PULSE_MEMORY_LIMIT_MIB", "512"),
        ],
    );
    assert_eq!(smaller.processors.memory_limiter.limit_mib, 512);
}

/// The user of the image, as `user:group`.
pub(crate) fn user() -> String {
    one(stages().last().unwrap(), "USER").to_owned()
}

/// The words of the image's health check.
pub(crate) fn health_check() -> Value {
    let stages = stages();
    let (_, probe) = one(stages.last().unwrap(), "HEALTHCHECK")
        .split_once(" CMD ")
        .unwrap();
    serde_json::from_str(probe).unwrap()
}

/// The directory of the image's data.
pub(crate) fn data_dir() -> String {
    exec_form(one(stages().last().unwrap(), "VOLUME")).remove(0)
}
