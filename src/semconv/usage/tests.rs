use super::*;
use crate::semconv::json::Json;

const SUCCEEDED: Context = Context {
    failed: false,
    is_google: false,
};

fn reported(counts: &[(Count, i64)]) -> Reported {
    let mut reported = Reported::default();
    for (count, number) in counts {
        reported.count(Dialect::Otel, *count, *number);
    }
    reported
}

fn settled(counts: &[(Count, i64)]) -> Usage {
    reported(counts).settle(SUCCEEDED).0
}

#[test]
fn input_that_includes_cached_tokens_stays() {
    let usage = settled(&[
        (Count::Input, 100),
        (Count::Output, 20),
        (Count::Total, 120),
        (Count::CacheRead, 60),
        (Count::CacheWrite, 30),
    ]);
    assert_eq!(usage.input, Some(100));
    assert_eq!(usage.cache_read, Some(60));
    assert_eq!(usage.cache_write, Some(30));
}

#[test]
fn more_cached_than_input_means_beside() {
    let usage = settled(&[
        (Count::Input, 10),
        (Count::Output, 20),
        (Count::CacheRead, 60),
        (Count::CacheWrite, 30),
    ]);
    assert_eq!(usage.input, Some(100));
}

#[test]
fn the_total_tells_whether_cached_tokens_are_beside() {
    let beside = [
        (Count::Input, 70),
        (Count::Output, 20),
        (Count::CacheRead, 60),
        (Count::Total, 150),
    ];
    assert_eq!(settled(&beside).input, Some(130));
    let inside = [
        (Count::Input, 70),
        (Count::Output, 20),
        (Count::CacheRead, 60),
        (Count::Total, 90),
    ];
    assert_eq!(settled(&inside).input, Some(70));
}

#[test]
fn uncached_input_is_completed() {
    let usage = settled(&[(Count::Uncached, 10), (Count::CacheRead, 60)]);
    assert_eq!(usage.input, Some(70));
}

#[test]
fn reasoning_is_inside_output_unless_the_total_says_otherwise() {
    let inside = settled(&[
        (Count::Input, 10),
        (Count::Output, 20),
        (Count::Reasoning, 5),
        (Count::Total, 30),
    ]);
    assert_eq!((inside.output, inside.reasoning), (Some(20), Some(5)));
    let beside = settled(&[
        (Count::Input, 10),
        (Count::Output, 15),
        (Count::Reasoning, 5),
        (Count::Total, 30),
    ]);
    assert_eq!((beside.output, beside.reasoning), (Some(20), Some(5)));
    let without_total = settled(&[
        (Count::Input, 10),
        (Count::Output, 15),
        (Count::Reasoning, 5),
    ]);
    assert_eq!(without_total.output, Some(15));
}

#[test]
fn reasoning_is_never_more_than_output() {
    let usage = settled(&[
        (Count::Input, 10),
        (Count::Output, 3),
        (Count::Reasoning, 9),
        (Count::Total, 13),
    ]);
    assert_eq!((usage.output, usage.reasoning), (Some(3), Some(3)));
}

#[test]
fn googles_hidden_thoughts_are_output() {
    let counts = [
        (Count::Input, 5),
        (Count::Output, 845),
        (Count::Total, 2023),
    ];
    let google = Context {
        is_google: true,
        ..SUCCEEDED
    };
    let (usage, _) = reported(&counts).settle(google);
    assert_eq!((usage.output, usage.reasoning), (Some(2018), None));
    assert_eq!(settled(&counts).output, Some(845));
}

#[test]
fn zeros_of_a_successful_call_are_unknown() {
    let zeros = [
        (Count::Input, 0),
        (Count::Output, 0),
        (Count::Total, 0),
        (Count::CacheRead, 0),
    ];
    assert_eq!(settled(&zeros), Usage::default());
    let failed = Context {
        failed: true,
        ..SUCCEEDED
    };
    let (usage, _) = reported(&zeros).settle(failed);
    assert_eq!((usage.input, usage.output), (Some(0), Some(0)));
}

#[test]
fn a_zero_gives_way_to_the_other_spelling() {
    let usage = settled(&[
        (Count::Input, 100),
        (Count::Output, 20),
        (Count::CacheRead, 0),
        (Count::CacheRead, 40),
    ]);
    assert_eq!(usage.cache_read, Some(40));
}

#[test]
fn another_vocabulary_only_fills_in_what_fits() {
    let mut reported = Reported::default();
    reported.count(Dialect::OpenInference, Count::Input, 100);
    reported.count(Dialect::OpenInference, Count::Output, 20);
    reported.count(Dialect::Otel, Count::Input, 999);
    reported.count(Dialect::Otel, Count::CacheRead, 40);
    reported.count(Dialect::Otel, Count::Reasoning, 21);
    let (usage, _) = reported.settle(SUCCEEDED);
    assert_eq!((usage.input, usage.output), (Some(100), Some(20)));
    assert_eq!((usage.cache_read, usage.reasoning), (Some(40), None));
}

#[test]
fn writes_by_duration_add_up() {
    let mut reported = reported(&[(Count::Input, 100), (Count::Output, 1)]);
    reported.count(Dialect::Otel, Count::CacheWrite5m, 10);
    reported.count(Dialect::Otel, Count::CacheWrite1h, 30);
    let (usage, long) = reported.settle(SUCCEEDED);
    assert_eq!((usage.cache_write, long), (Some(40), Some(30)));
}

fn of_raw(text: &str) -> Usage {
    let (counts, habits) = raw::read(&Json::parse(text).unwrap());
    let mut reported = Reported::default();
    reported.record(Dialect::Mlflow, &counts, habits);
    reported.settle(SUCCEEDED).0
}

#[test]
fn usage_objects_of_providers_are_read() {
    let openai = of_raw(
        r#"{"prompt_tokens":100,"completion_tokens":20,"total_tokens":120,
            "prompt_tokens_details":{"cached_tokens":40},
            "completion_tokens_details":{"reasoning_tokens":5}}"#,
    );
    assert_eq!((openai.input, openai.output), (Some(100), Some(20)));
    assert_eq!((openai.cache_read, openai.reasoning), (Some(40), Some(5)));
    let anthropic = of_raw(
        r#"{"input_tokens":10,"output_tokens":20,"cache_read_input_tokens":60,
            "cache_creation_input_tokens":30,
            "cache_creation":{"ephemeral_1h_input_tokens":30}}"#,
    );
    assert_eq!(
        (anthropic.input, anthropic.cache_write),
        (Some(100), Some(30))
    );
    let gemini = of_raw(
        r#"{"promptTokenCount":10,"candidatesTokenCount":15,"thoughtsTokenCount":5,
            "totalTokenCount":30}"#,
    );
    assert_eq!((gemini.output, gemini.reasoning), (Some(20), Some(5)));
    let picture = of_raw(
        r#"{"promptTokenCount":270,"candidatesTokenCount":1300,"totalTokenCount":1570,
            "promptTokensDetails":[{"modality":"TEXT","tokenCount":12},
                {"modality":"IMAGE","tokenCount":258}],
            "candidatesTokensDetails":[{"modality":"IMAGE","tokenCount":1290},{"modality":7}]}"#,
    );
    assert_eq!((picture.input, picture.image_in), (Some(270), Some(258)));
    assert_eq!(
        (picture.output, picture.image_out),
        (Some(1300), Some(1290))
    );
    assert_eq!((picture.audio_in, picture.audio_out), (None, None));
    let drawn = of_raw(
        r#"{"input_tokens":50,"output_tokens":1056,"total_tokens":1106,
            "input_tokens_details":{"text_tokens":10,"image_tokens":40},
            "output_tokens_details":{"image_tokens":1056,"text_tokens":0}}"#,
    );
    assert_eq!((drawn.image_in, drawn.image_out), (Some(40), Some(1056)));
    let bedrock = of_raw(
        r#"{"inputTokens":10,"outputTokens":20,"totalTokens":120,
            "cacheReadInputTokens":60,"cacheWriteInputTokens":30}"#,
    );
    assert_eq!(bedrock.input, Some(100));
}

#[test]
fn python_literals_are_read_by_whole_keys() {
    let literal = "{'audio': 0, 'cache_read': 40}";
    assert_eq!(raw::python_count(literal, "cache_read"), Some(40));
    assert_eq!(raw::python_count(literal, "audio"), Some(0));
    assert_eq!(raw::python_count(literal, "cache"), None);
    let repr = "Usage(completion_tokens=20, prompt_tokens_details=Details(cached_tokens=40))";
    assert_eq!(raw::python_count(repr, "cached_tokens"), Some(40));
    assert_eq!(
        raw::python_count("{'cached_tokens': None}", "cached_tokens"),
        None
    );
}
