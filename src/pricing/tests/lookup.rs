//! Which entry of the table a call is priced with.

use super::*;

#[test]
fn the_same_model_costs_what_its_provider_takes() {
    let usage = tokens(1_000, 100);
    // Anthropic: 1,000 × 3,000; 100 × 15,000.
    let direct = (3_000_000, 1_500_000, 4_500_000);
    assert_cost(
        &call("anthropic", "claude-sonnet-4-5-20250929", usage),
        direct,
    );
    // Bedrock, any region: the same.
    assert_cost(
        &call(
            "aws.bedrock",
            "global.anthropic.claude-sonnet-4-5-20250929-v1:0",
            usage,
        ),
        direct,
    );
    // Bedrock, in one region: 1,000 × 3,300; 100 × 16,500.
    assert_cost(
        &call(
            "aws.bedrock",
            "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
            usage,
        ),
        (3_300_000, 1_650_000, 4_950_000),
    );
    // An ARN of an inference profile.
    assert_cost(
        &call(
            "aws.bedrock",
            "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-sonnet-4-5-20250929-v1:0",
            usage,
        ),
        (3_300_000, 1_650_000, 4_950_000),
    );
    // Azure sells OpenAI's models at OpenAI's prices: 1,000 × 2,500; 100 × 10,000.
    assert_cost(
        &call("azure.ai.openai", "gpt-4o", usage),
        (2_500_000, 1_000_000, 3_500_000),
    );
}

#[test]
fn names_are_read_as_they_are_written() {
    let usage = tokens(1_000, 100);
    // gemini-2.5-flash: 1,000 × 300; 100 × 2,500.
    let flash = (300_000, 250_000, 550_000);
    for name in [
        "gemini-2.5-flash",
        "models/gemini-2.5-flash",
        "projects/p/locations/l/publishers/google/models/gemini-2.5-flash",
        "Gemini-2.5-Flash",
    ] {
        assert_cost(&call("gcp.gemini", name, usage), flash);
    }
    // A compact date where the table has dashes: gpt-5.2, 1,000 × 1,750; 100 × 14,000.
    assert_cost(
        &call("openai", "gpt-5.2-20251211", usage),
        (1_750_000, 1_400_000, 3_150_000),
    );
    // A date that is not in the table: gpt-4.1, 1,000 × 2,000; 100 × 8,000.
    assert_cost(
        &call("openai", "gpt-4.1-2026-01-02", usage),
        (2_000_000, 800_000, 2_800_000),
    );
}

#[test]
fn without_a_provider_the_maker_is_meant() {
    let usage = tokens(1_000, 100);
    // 1,000 × 150; 100 × 600.
    assert_cost(&call("", "gpt-4o-mini", usage), (150_000, 60_000, 210_000));
    // 1,000 × 1,000; 100 × 5,000.
    assert_cost(
        &call("", "claude-haiku-4-5", usage),
        (1_000_000, 500_000, 1_500_000),
    );
    // A router's prefix: the same.
    assert_cost(
        &call("", "anthropic/claude-haiku-4-5", usage),
        (1_000_000, 500_000, 1_500_000),
    );
    assert_cost(
        &call("", "vertex_ai/gemini-2.5-flash", usage),
        (300_000, 250_000, 550_000),
    );
    // A client of OpenAI's protocol that talks to somebody else's model.
    assert_cost(
        &call("openai", "claude-haiku-4-5", usage),
        (1_000_000, 500_000, 1_500_000),
    );
}

#[test]
fn what_is_not_in_the_table_is_unpriced() {
    let usage = tokens(1_000, 100);
    assert_unpriced(&call("openai", "no-such-model", usage));
    // The same weights cost something else wherever they run.
    assert_unpriced(&call("ollama", "llama3.1", usage));
    assert_unpriced(&call("openai", "meta-llama/Llama-3.1-8B-Instruct", usage));
    assert_unpriced(&call("openai", "deepseek-chat", usage));
    assert_unpriced(&Call {
        request_model: None,
        ..call("openai", "", usage)
    });
}
