use proptest::prelude::*;

use super::*;
use crate::config::tree::Node;
use crate::config::{Sources, load::load, validate::CheckFiles, yaml};

fn environment() -> Environment {
    Environment::of([
        ("NAME", "value"),
        ("EMPTY", ""),
        ("COUNT", "64"),
        ("TRICKY", "a: b # {"),
    ])
}

fn text_of(value: &Value) -> &str {
    match value {
        Value::Scalar(scalar) => &scalar.text,
        other => panic!("not a scalar: {other:?}"),
    }
}

#[test]
fn references_are_replaced_and_dollars_unescaped() {
    let cases = [
        ("${env:NAME}", "value"),
        ("${NAME}", "value"),
        ("a-${NAME}-b-${env:COUNT}", "a-value-b-64"),
        ("${env:MISSING:-fallback}", "fallback"),
        ("${env:EMPTY:-fallback}", "fallback"),
        ("${env:NAME:-fallback}", "value"),
        ("${MISSING:-a:-b}", "a:-b"),
        ("x${EMPTY}y", "xy"),
        ("$$", "$"),
        ("$${env:NAME}", "${env:NAME}"),
        ("$$$${NAME}", "$${NAME}"),
        ("$$${NAME}", "$value"),
        ("costs 5$", "costs 5$"),
        ("$HOME/x", "$HOME/x"),
        ("${TRICKY}", "a: b # {"),
    ];
    for (text, expected) in cases {
        let value = substitute(text, &environment()).unwrap();
        assert_eq!(text_of(&value), expected, "{text}");
    }
}

#[test]
fn a_whole_value_is_typed_and_a_part_of_one_is_text() {
    let kind = |text: &str| match substitute(text, &environment()).unwrap() {
        Value::Scalar(scalar) => Some(scalar.kind),
        _ => None,
    };
    assert_eq!(kind("${env:COUNT}"), Some(ScalarKind::Integer(64)));
    assert_eq!(kind("${env:MISSING:-true}"), Some(ScalarKind::Bool(true)));
    assert_eq!(kind("6${env:COUNT}"), Some(ScalarKind::Text));
    assert_eq!(kind("${env:TRICKY}"), Some(ScalarKind::Text));
    assert_eq!(substitute("${env:EMPTY}", &environment()), Ok(Value::Null));
}

#[test]
fn what_is_not_a_reference_is_refused() {
    let error = |text: &str| substitute(text, &environment()).unwrap_err();
    assert_eq!(error("${env:MISSING}"), Error::Unset("MISSING".to_owned()));
    assert_eq!(error("${env:NAME"), Error::Unclosed);
    assert_eq!(error("${}"), Error::BadName(String::new()));
    assert_eq!(
        error("${file:/etc/passwd}"),
        Error::BadName("file:/etc/passwd".to_owned())
    );
    assert_eq!(error("${1NAME}"), Error::BadName("1NAME".to_owned()));
}

#[test]
fn an_environment_never_shows_its_values() {
    let shown = format!("{:?}", Environment::of([("TOKEN", "hunter2")]));
    assert!(!shown.contains("hunter2"), "{shown}");
}

proptest! {
    // Scenario: any text at all in a scalar.
    // Guarantees: substitution answers, and never panics.
    #[test]
    fn any_text_is_answered(text in r"(\$|\{|\}|env:|NAME|:-|\PC){0,24}") {
        drop(substitute(&text, &environment()));
    }

    // Scenario: text without a dollar sign.
    // Guarantees: it comes out as it went in.
    #[test]
    fn text_without_dollars_is_unchanged(text in "[^$]{0,40}") {
        let value = substitute(&text, &environment()).unwrap();
        prop_assert_eq!(text_of(&value), text);
    }

    // Scenario: any text, with its dollars doubled.
    // Guarantees: doubling is enough to write any text literally.
    #[test]
    fn doubled_dollars_write_any_text(text in r"(\$|\{|\}|\PC){0,24}") {
        let value = substitute(&text.replace('$', "$$"), &environment()).unwrap();
        prop_assert_eq!(text_of(&value), text);
    }

    // Scenario: a variable whose value has the characters YAML is made of, in a whole value, inside
    // a value, and inside a quoted value of a document.
    // Guarantees: the document keeps its keys, and what is around the value stays what it was.
    #[test]
    fn a_value_never_changes_the_structure(value in r#"(: |#|\{|\}|\[|\n|- |"|'|,|&|\*|!|\||\PC){0,12}"#) {
        let environment = Environment::of([("V", value.as_str())]);
        let yaml = "storage:\n  sqlite:\n    path: x${env:V}\nservice:\n  data_dir: \"/d/${V}\"\n";
        let sources = Sources {
            documents: vec![format!("yaml:{yaml}")],
            environment: environment.clone(),
            ..Sources::default()
        };
        let config = load(&sources, CheckFiles::No).unwrap();
        let path = config.storage.sqlite.path.to_str().unwrap();
        prop_assert_eq!(path, format!("x{value}"));
        let directory = config.service.data_dir.to_str().unwrap();
        prop_assert_eq!(directory, format!("/d/{value}"));

        let whole = substitute("${V}", &environment).unwrap();
        prop_assert!(matches!(whole, Value::Null | Value::Scalar(_)));
        let parsed: Node = yaml::parse("test", yaml).unwrap();
        prop_assert!(matches!(parsed.value, Value::Mapping(entries) if entries.len() == 2));
    }
}
