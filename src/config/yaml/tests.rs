use proptest::prelude::*;

use super::*;
use crate::config::tree::Path;

fn scalar<'node>(root: &'node Node, path: &str) -> &'node Scalar {
    match &root.find(&Path::parse(path)).unwrap().value {
        Value::Scalar(scalar) => scalar,
        other => panic!("{path} is not a scalar: {other:?}"),
    }
}

#[test]
fn keys_know_their_line() {
    let root = parse("a.yaml", "# é comment\na:\n  b:\n\n    c: [1,\n      2]\n").unwrap();
    let line = |path: &str| root.origin_of(&Path::parse(path)).unwrap().line;
    assert_eq!(line("a"), Some(2));
    assert_eq!(line("a.b"), Some(3));
    assert_eq!(line("a.b.c"), Some(5));
    let origin = root.origin_of(&Path::parse("a.b")).unwrap();
    assert_eq!(&*origin.source, "a.yaml");
}

#[test]
fn scalars_keep_the_text_they_were_written_as() {
    let yaml = "é: 1.20\nhex: 0x10\nflag: true\nquoted: \"64\"\nword: on # comment\nbig: 007\n\
                again: &it 1.0\nalias: *it\n";
    let root = parse("test", yaml).unwrap();
    assert_eq!(scalar(&root, "é").text, "1.20");
    assert_eq!(scalar(&root, "é").kind, ScalarKind::Float(1.2));
    assert_eq!(scalar(&root, "hex").text, "0x10");
    assert_eq!(scalar(&root, "hex").kind, ScalarKind::Integer(16));
    assert_eq!(scalar(&root, "flag").kind, ScalarKind::Bool(true));
    assert_eq!(scalar(&root, "quoted").kind, ScalarKind::Text);
    assert_eq!(scalar(&root, "word").kind, ScalarKind::Text);
    assert_eq!(scalar(&root, "big").text, "007");
    assert_eq!(scalar(&root, "alias").text, "1.0");
}

#[test]
fn a_document_without_content_is_null() {
    for yaml in ["", "# only a comment\n", "---\n"] {
        assert_eq!(parse("test", yaml).unwrap().value, Value::Null, "{yaml:?}");
    }
}

#[test]
fn what_is_ambiguous_or_excessive_is_refused_with_its_line() {
    let bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n".to_owned()
        + &(b'b'..b'j')
            .map(|name| {
                let (name, last) = (char::from(name), char::from(name - 1));
                format!("{name}: &{name} [*{last}, *{last}, *{last}, *{last}, *{last}]\n")
            })
            .collect::<String>();
    let cases = [
        ("a: 1\na: 2\n".to_owned(), Some(2), "duplicate"),
        ("a: [1\n".to_owned(), None, "not valid YAML"),
        ("a: 1\n---\nb: 2\n".to_owned(), None, "not valid YAML"),
        ("a: !include x\n".to_owned(), Some(1), "not valid YAML"),
        (format!("a: {}", "[".repeat(200)), None, "not valid YAML"),
        (bomb, None, "not valid YAML"),
        (" ".repeat(DOCUMENT_BYTES_MAX + 1), None, "longer than"),
    ];
    for (yaml, line, message) in cases {
        let problem = parse("test", &yaml).unwrap_err();
        let shown: String = yaml.chars().take(60).collect();
        assert!(problem.message.contains(message), "{shown}: {problem}");
        if line.is_some() {
            assert_eq!(problem.line, line, "{shown}: {problem}");
        }
        assert!(!problem.message.contains('\n'), "one line: {problem}");
    }
}

proptest! {
    // Scenario: any text, made of what YAML is made of, as a document.
    // Guarantees: it is parsed or refused; parsing never panics.
    #[test]
    fn any_text_is_parsed_or_refused(
        text in r#"(: |#|\{|\}|\[|\]|\n|\n  |- |"|'|,|&a |\*a|!t |\||>|a|1|\t|\PC){0,32}"#,
    ) {
        if let Err(problem) = parse("test", &text) {
            prop_assert!(!problem.message.is_empty());
        }
    }
}
