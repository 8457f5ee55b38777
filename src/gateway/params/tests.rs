//! Parameters, each and together.

use super::*;

fn params(pairs: &[(&str, &str)], known: &[&str]) -> Params {
    let pairs = pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    Params::new(pairs, known, ProjectId::DEFAULT, "/")
}

fn wrong(params: Params) -> Vec<(String, String)> {
    let fields = params.finish().err().map(|problem| problem.fields);
    fields
        .unwrap_or_default()
        .into_iter()
        .map(|field| (field.path, field.message))
        .collect()
}

fn pair(path: &str, message: &str) -> (String, String) {
    (path.to_owned(), message.to_owned())
}

#[test]
fn all_wrong_parameters_are_named_at_once() {
    let given = [
        ("servce", "a"),
        ("start", "yesterday"),
        ("status", "bad"),
        ("name", ""),
    ];
    let mut params = params(&given, &["service", "start", "status", "name"]);
    params.range();
    params.status();
    params.text("name");
    assert_eq!(
        wrong(params),
        [
            pair("servce", "unknown parameter; did you mean service?"),
            pair(
                "start",
                "expected an RFC 3339 time with its offset, or nanoseconds since 1970"
            ),
            pair("status", "expected error or ok"),
            pair("name", "is empty"),
        ]
    );
}

#[test]
fn a_parameter_given_twice_is_wrong_but_attributes_repeat() {
    let given = [
        ("name", "a"),
        ("name", "b"),
        ("attr.k", "1"),
        ("attr.k", "2"),
    ];
    let mut params = params(&given, &["name", ATTRIBUTE]);
    assert_eq!(params.attributes().len(), 2);
    assert_eq!(wrong(params), [pair("name", "given more than once")]);
}

#[test]
fn attribute_filters_are_unknown_where_they_are_not_served() {
    let params = params(&[("attr.k", "1")], &["limit"]);
    assert_eq!(wrong(params), [pair("attr.k", "unknown parameter")]);
}

#[test]
fn lists_of_words_are_read_and_each_word_counts_once() {
    let words = [("red", 1), ("green", 2)];
    let chosen = |text: &str| {
        let mut params = params(&[("colours", text)], &["colours"]);
        let chosen = params.choices("colours", &words);
        (chosen, wrong(params))
    };
    assert_eq!(chosen("green, red"), (Some(vec![2, 1]), vec![]));
    let expected = pair("colours", "expected red or green, separated by commas");
    assert_eq!(chosen("green,,red"), (None, vec![expected.clone()]));
    assert_eq!(chosen("blue"), (None, vec![expected]));
    let twice = pair("colours", "red is given more than once");
    assert_eq!(chosen("red,red"), (None, vec![twice]));
}

#[test]
fn ranges_and_durations_must_not_be_reversed() {
    let given = [
        ("start", "2"),
        ("end", "1"),
        ("min_duration", "2s"),
        ("max_duration", "1s"),
    ];
    let mut params = params(&given, &["start", "end", "min_duration", "max_duration"]);
    params.range();
    params.durations();
    assert_eq!(
        wrong(params),
        [
            pair("end", "is before start"),
            pair("max_duration", "is less than min_duration")
        ]
    );
}
