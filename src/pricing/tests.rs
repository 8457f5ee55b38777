//! Amounts worked out by hand: a rate of 1 USD per million tokens is 1,000 nano-USD per token.

mod configured;
mod lookup;

use super::*;

/// 2026-01-15T12:00:00Z.
const JANUARY: u64 = 1_768_478_400_000_000_000;
/// 2026-10-20T12:00:00Z.
const OCTOBER: u64 = 1_792_497_600_000_000_000;

fn tokens(input: i64, output: i64) -> Usage {
    Usage {
        input: Some(input),
        output: Some(output),
        ..Usage::default()
    }
}

fn call(provider: &'static str, model: &'static str, usage: Usage) -> Call<'static> {
    Call {
        provider: Some(provider).filter(|it| !it.is_empty()),
        request_model: Some(model),
        usage,
        start_unix_nano: JANUARY,
        ..Call::default()
    }
}

fn priced(call: &Call<'_>) -> Cost {
    Pricer::new(Table::builtin()).price(call)
}

/// Input, output and total of a computed cost, in nano-USD.
#[track_caller]
fn assert_cost(call: &Call<'_>, expected: (i64, i64, i64)) {
    let cost = priced(call);
    assert_eq!(cost.source, Some(CostSource::Computed), "{call:?}");
    assert_eq!(
        (cost.input, cost.output, cost.total),
        (Some(expected.0), Some(expected.1), Some(expected.2)),
        "{call:?}"
    );
    assert_eq!(cost.price_version.as_deref(), Some(Table::version()));
}

#[track_caller]
fn assert_unpriced(call: &Call<'_>) {
    assert_eq!(priced(call), unpriced(), "{call:?}");
}

#[test]
fn the_table_was_read_whole() {
    let text = include_str!("../../config/prices.json");
    let lines = text.lines().filter(|line| line.contains("\"match\":"));
    assert_eq!(BUILTIN.len(), lines.count());
    assert!(BUILTIN.len() > 2000);
    assert!(BUILTIN.version.starts_with("genai-prices-"));
    assert!(text.contains("The MIT License"));
}

#[test]
fn plain_input_and_output() {
    // 1,000 × 150 = 150,000; 500 × 600 = 300,000.
    let small = tokens(1_000, 500);
    assert_cost(
        &call("openai", "gpt-4o-mini", small),
        (150_000, 300_000, 450_000),
    );
    // 1,000 × 2,500 = 2,500,000; 500 × 10,000 = 5,000,000.
    assert_cost(
        &call("openai", "gpt-4o-2024-08-06", small),
        (2_500_000, 5_000_000, 7_500_000),
    );
    // 1,000 × 2,000; 500 × 8,000.
    assert_cost(
        &call("openai", "gpt-4.1", small),
        (2_000_000, 4_000_000, 6_000_000),
    );
    // 1,000 × 800; 500 × 3,200.
    assert_cost(
        &call("aws.bedrock", "amazon.nova-pro-v1:0", small),
        (800_000, 1_600_000, 2_400_000),
    );
    // 1,000 × 50; 500 × 80.
    assert_cost(
        &call("groq", "llama-3.1-8b-instant", small),
        (50_000, 40_000, 90_000),
    );
    // 1,000 × 2,500; 500 × 10,000.
    assert_cost(
        &call("cohere", "command-r-plus", small),
        (2_500_000, 5_000_000, 7_500_000),
    );
    // 1,000 × 300; 500 × 900.
    assert_cost(
        &call("mistral_ai", "codestral-latest", small),
        (300_000, 450_000, 750_000),
    );
    // 1,000 × 200; 500 × 200; the name has a path that is part of it.
    assert_cost(
        &call(
            "fireworks_ai",
            "accounts/fireworks/models/llama-v3p1-8b-instruct",
            small,
        ),
        (200_000, 100_000, 300_000),
    );
}

#[test]
fn embeddings_have_no_output() {
    // 1,234 × 20 = 24,680.
    let usage = Usage {
        input: Some(1_234),
        ..Usage::default()
    };
    let cost = priced(&call("openai", "text-embedding-3-small", usage));
    assert_eq!(
        (cost.input, cost.output, cost.total),
        (Some(24_680), None, Some(24_680))
    );
}

#[test]
fn parts_of_a_nano_are_rounded_once_half_up() {
    // gpt-5, flex, cache read: 62.5 nano-USD per token; 3 × 62.5 = 187.5, rounded 188.
    let usage = Usage {
        cache_read: Some(3),
        ..tokens(3, 0)
    };
    let flex = Call {
        tier: Some(ServiceTier::Flex),
        start_unix_nano: OCTOBER,
        ..call("openai", "gpt-5", usage)
    };
    assert_cost(&flex, (188, 0, 188));
    // 1 × 62.5 = 62.5, rounded 63: not three times that above.
    let usage = Usage {
        cache_read: Some(1),
        ..tokens(1, 0)
    };
    assert_cost(&Call { usage, ..flex }, (63, 0, 63));
}

#[test]
fn cached_input_has_its_own_rate() {
    // OpenAI: 60 plain × 2,500 + 40 cached × 1,250 = 150,000 + 50,000; 20 × 10,000.
    let usage = Usage {
        cache_read: Some(40),
        ..tokens(100, 20)
    };
    assert_cost(
        &call("openai", "gpt-4o", usage),
        (200_000, 200_000, 400_000),
    );
    // Anthropic, 10 plain + 60 read + 30 written:
    // 10 × 1,000 + 60 × 100 + 30 × 1,250 = 10,000 + 6,000 + 37,500 = 53,500; 20 × 5,000.
    let usage = Usage {
        cache_read: Some(60),
        cache_write: Some(30),
        ..tokens(100, 20)
    };
    assert_cost(
        &call("anthropic", "claude-haiku-4-5-20251001", usage),
        (53_500, 100_000, 153_500),
    );
    // Of the 30 written, 20 for an hour at 2,000: 10,000 + 6,000 + 10 × 1,250 + 20 × 2,000 = 68,500.
    let long = Call {
        cache_write_1h: Some(20),
        ..call("anthropic", "claude-haiku-4-5", usage)
    };
    assert_cost(&long, (68_500, 100_000, 168_500));
    // A model without a cache rate: cached tokens are input. 100 × 50; 20 × 80.
    assert_cost(
        &call("groq", "llama-3.1-8b-instant", usage),
        (5_000, 1_600, 6_600),
    );
    // More cached than there is input, which can't be: no more than the input. 100 × 1,250.
    let usage = Usage {
        cache_read: Some(1_000),
        ..tokens(100, 0)
    };
    assert_cost(&call("openai", "gpt-4o", usage), (125_000, 0, 125_000));
}

#[test]
fn reasoning_is_output_unless_it_has_a_rate() {
    // 10 × 1,250; 20 × 10,000: the 15 of reasoning are among the 20.
    let usage = Usage {
        reasoning: Some(15),
        ..tokens(10, 20)
    };
    assert_cost(&call("openai", "gpt-5", usage), (12_500, 200_000, 212_500));
    // Perplexity: 10 × 2,000; 5 × 8,000 + 15 × 3,000 = 40,000 + 45,000.
    assert_cost(
        &call("perplexity", "sonar-deep-research", usage),
        (20_000, 85_000, 105_000),
    );
}

#[test]
fn audio_has_its_own_rate() {
    // gpt-realtime: 60 × 4,000 + 40 × 32,000 = 240,000 + 1,280,000;
    // 5 × 16,000 + 15 × 64,000 = 80,000 + 960,000.
    let usage = Usage {
        audio_in: Some(40),
        audio_out: Some(15),
        ..tokens(100, 20)
    };
    assert_cost(
        &call("openai", "gpt-realtime", usage),
        (1_520_000, 1_040_000, 2_560_000),
    );
    // Gemini 2.5 Flash: 60 × 300 + 40 × 1,000 = 58,000; 20 × 2,500.
    let usage = Usage {
        audio_in: Some(40),
        ..tokens(100, 20)
    };
    assert_cost(
        &call("gcp.gemini", "gemini-2.5-flash", usage),
        (58_000, 50_000, 108_000),
    );
}

#[test]
fn images_have_their_own_rate() {
    // Gemini 3 Pro Image: 270 × 2,000 = 540,000; 10 × 12,000 + 1,290 × 120,000 = 154,920,000.
    let usage = Usage {
        image_in: Some(258),
        image_out: Some(1_290),
        ..tokens(270, 1_300)
    };
    assert_cost(
        &call("gcp.gemini", "gemini-3-pro-image", usage),
        (540_000, 154_920_000, 155_460_000),
    );
    // gpt-image-1.5: 10 × 5,000 + 40 × 8,000 = 370,000; 1,056 × 32,000 = 33,792,000.
    let usage = Usage {
        image_in: Some(40),
        image_out: Some(1_056),
        ..tokens(50, 1_056)
    };
    assert_cost(
        &call("openai", "gpt-image-1.5", usage),
        (370_000, 33_792_000, 34_162_000),
    );
}

#[test]
fn large_inputs_change_the_rate_of_the_whole_call() {
    // At 200,000 still the base: 200,000 × 1,250 = 250,000,000; 100 × 10,000.
    assert_cost(
        &call("gcp.gemini", "gemini-2.5-pro", tokens(200_000, 100)),
        (250_000_000, 1_000_000, 251_000_000),
    );
    // Above it, all tokens: 200,001 × 2,500 = 500,002,500; 100 × 15,000.
    assert_cost(
        &call("gcp.vertex_ai", "gemini-2.5-pro", tokens(200_001, 100)),
        (500_002_500, 1_500_000, 501_502_500),
    );
    // Cached tokens count for the size and have their own larger rate:
    // 100,000 × 6,000 + 150,000 × 600 = 600,000,000 + 90,000,000; 10 × 22,500.
    let usage = Usage {
        cache_read: Some(150_000),
        ..tokens(250_000, 10)
    };
    assert_cost(
        &call("anthropic", "claude-sonnet-4-5-20250929", usage),
        (690_000_000, 225_000, 690_225_000),
    );
    // Of several calls nobody knows how long each was: 250,001 × 1,250 = 312,501,250; 100 × 10,000.
    let turn = Call {
        is_sum: true,
        ..call("gcp.gemini", "gemini-2.5-pro", tokens(250_001, 100))
    };
    assert_cost(&turn, (312_501_250, 1_000_000, 313_501_250));
}

#[test]
fn prices_have_dates() {
    // o3 before 2025-06-10: 1,000 × 10,000; 500 × 40,000. From then on: × 2,000; × 8,000.
    // 2025-06-09T23:59:59Z and 2025-06-10T00:00:00Z.
    let before = Call {
        start_unix_nano: 1_749_513_599_000_000_000,
        ..call("openai", "o3", tokens(1_000, 500))
    };
    assert_cost(&before, (10_000_000, 20_000_000, 30_000_000));
    let from = Call {
        start_unix_nano: 1_749_513_600_000_000_000,
        ..before
    };
    assert_cost(&from, (2_000_000, 4_000_000, 6_000_000));
    // Opus 4.6 had a long-context rate until 2026-03-13: 300,000 × 10,000, later × 5,000.
    let opus = call("anthropic", "claude-opus-4-6", tokens(300_000, 0));
    assert_cost(&opus, (3_000_000_000, 0, 3_000_000_000));
    let later = Call {
        start_unix_nano: OCTOBER,
        ..opus
    };
    assert_cost(&later, (1_500_000_000, 0, 1_500_000_000));
}

#[test]
fn prices_have_hours() {
    // DeepSeek by day (00:30 to 16:30 UTC): 1,000 × 270; 100 × 1,100. JANUARY is at noon.
    let by_day = call("deepseek", "deepseek-chat", tokens(1_000, 100));
    assert_cost(&by_day, (270_000, 110_000, 380_000));
    // At 18:00: 1,000 × 135; 100 × 550.
    let by_night = Call {
        start_unix_nano: JANUARY + 6 * 3600 * 1_000_000_000,
        ..by_day
    };
    assert_cost(&by_night, (135_000, 55_000, 190_000));
}

#[test]
fn service_tiers_have_their_rates() {
    let of = |tier| Call {
        tier: Some(tier),
        start_unix_nano: OCTOBER,
        ..call("openai", "gpt-5", tokens(1_000, 100))
    };
    // Flex: 1,000 × 625; 100 × 5,000.
    assert_cost(&of(ServiceTier::Flex), (625_000, 500_000, 1_125_000));
    // Priority: 1,000 × 2,500; 100 × 20,000.
    assert_cost(
        &of(ServiceTier::Priority),
        (2_500_000, 2_000_000, 4_500_000),
    );
    // The ordinary tier: 1,000 × 1,250; 100 × 10,000.
    assert_cost(&of(ServiceTier::Default), (1_250_000, 1_000_000, 2_250_000));
    // Anthropic's batches: 1,000 × 500; 100 × 2,500; of the cache 400 × 50: 600 × 500 + 20,000.
    let usage = Usage {
        cache_read: Some(400),
        ..tokens(1_000, 100)
    };
    let batch = Call {
        tier: Some(ServiceTier::Batch),
        start_unix_nano: OCTOBER,
        ..call("anthropic", "claude-haiku-4-5", usage)
    };
    assert_cost(&batch, (320_000, 250_000, 570_000));
    // Before the rate was known, the ordinary one: 600 × 1,000 + 400 × 100; 100 × 5,000.
    let earlier = Call {
        start_unix_nano: JANUARY,
        ..batch
    };
    assert_cost(&earlier, (640_000, 500_000, 1_140_000));
}

#[test]
fn requests_may_cost_something_themselves() {
    // Perplexity's sonar: 1,000 × 1,000; 100 × 1,000; 12 USD per thousand requests: 12,000,000.
    assert_cost(
        &call("perplexity", "sonar", tokens(1_000, 100)),
        (1_000_000, 100_000, 13_100_000),
    );
}

#[test]
fn without_tokens_there_is_nothing_to_price() {
    for usage in [Usage::default(), tokens(0, 0)] {
        assert_eq!(priced(&call("openai", "gpt-4o", usage)), Cost::default());
    }
}

#[test]
fn the_model_that_answered_counts_before_the_one_asked_for() {
    // gpt-4o: 1,000 × 2,500.
    let mut both = Call {
        response_model: Some("gpt-4o-2024-08-06"),
        ..call("openai", "gpt-4o-mini", tokens(1_000, 0))
    };
    assert_cost(&both, (2_500_000, 0, 2_500_000));
    // A deployment's name has no price; the model asked for has: 1,000 × 150.
    both.response_model = Some("my-deployment");
    assert_cost(&both, (150_000, 0, 150_000));
}

#[test]
fn amounts_stop_at_the_largest() {
    let cost = priced(&call("openai", "gpt-4o", tokens(i64::MAX, i64::MAX)));
    assert_eq!(cost.total, Some(i64::MAX));
}

#[test]
fn a_disabled_table_computes_nothing() {
    let table = Table::disabled();
    let cost = Pricer::new(&table).price(&call("openai", "gpt-4o", tokens(1_000, 0)));
    assert_eq!(cost, Cost::default());
}

#[test]
fn what_is_remembered_is_bounded_and_right() {
    let mut pricer = Pricer::new(Table::builtin());
    for index in 0..3 * REMEMBERED_MAX {
        let model = format!("invented-{index}");
        let unknown = Call {
            request_model: Some(&model),
            ..call("openai", "", tokens(1, 1))
        };
        assert_eq!(pricer.price(&unknown), unpriced());
        assert!(pricer.remembered.len() <= REMEMBERED_MAX);
    }
    // 1,000 × 2,500, each time.
    for _ in 0..2 {
        let known = pricer.price(&call("openai", "gpt-4o", tokens(1_000, 0)));
        assert_eq!(known.total, Some(2_500_000));
    }
}

#[test]
fn dates_are_cut_off_names() {
    let names = [
        ("claude-sonnet-4-5-20250929", "claude-sonnet-4-5"),
        ("gpt-4o-2024-08-06", "gpt-4o"),
        ("claude-opus-5@20260101", "claude-opus-5"),
        ("gpt-4o", "gpt-4o"),
        ("gpt-3.5-turbo-0125", "gpt-3.5-turbo-0125"),
        ("-20250929", ""),
        ("ééééééééé", "ééééééééé"),
        ("model-2024-8-06", "model-2024-8-06"),
    ];
    for (name, expected) in names {
        assert_eq!(without_date(name), expected);
    }
}
