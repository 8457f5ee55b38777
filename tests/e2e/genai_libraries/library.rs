//! What libraries tell of the calls that are made with them, where they differ.

/// What a library tells of the calls that a script (`tests/support/python/genai.py`,
/// `tests/support/node/genai.mjs`) makes with it, as far as they differ.
#[derive(Clone, Copy)]
pub(super) struct Library {
    /// The script's name for it.
    pub(super) name: &'static str,
    pub(super) dialect: &'static str,
    /// That of the spans in which the provider's SDK tells of the same calls.
    pub(super) sdk_dialect: Option<&'static str>,
    pub(super) provider: &'static str,
    pub(super) model: &'static str,
    /// The answering model of a plain call and of a stream.
    pub(super) answered_by: [&'static str; 2],
    /// Of a call of 100 tokens in and 20 out, as far as it is told.
    pub(super) cache_read: Option<u64>,
    pub(super) cache_write: Option<u64>,
    pub(super) reasoning: Option<u64>,
    /// In nano-USD, of such a call: as the library's span tells it, and as it is counted, where the
    /// SDK's span knows more.
    pub(super) cost: u64,
    pub(super) counted_cost: u64,
    /// Where the cost comes from: `computed`, or what the library says.
    pub(super) cost_source: &'static str,
    /// Of the streamed call, where the library counts it in another way.
    pub(super) stream: Stream,
    pub(super) finish_reason_of_stream: Option<&'static str>,
    /// Whether it is told why other calls ended, and a tool's call and its result have one id.
    pub(super) tells_reasons: bool,
    pub(super) keeps_tool_ids: bool,
    /// The agent that the calls are made by.
    pub(super) agents: [Option<&'static str>; 2],
    /// Whether tool definitions, the tool's own span, and a session are told.
    pub(super) has_tool_definitions: bool,
    pub(super) has_tool_span: bool,
    pub(super) has_session: bool,
    /// Whether a call that failed has the messages it was asked with.
    pub(super) says_what_failed: bool,
}

/// How a stream is told.
#[derive(Clone, Copy)]
pub(super) struct Stream {
    pub(super) output: u64,
    pub(super) cost: u64,
    pub(super) counted_cost: u64,
    pub(super) cache_read: Option<u64>,
    pub(super) reasoning: Option<u64>,
    /// Whether it is told that it is one, and when it began.
    pub(super) is_told: bool,
    pub(super) has_first_token: bool,
}

pub(super) const OPENAI: Library = Library {
    name: "",
    dialect: "",
    sdk_dialect: None,
    provider: "openai",
    model: "gpt-4o",
    answered_by: ["gpt-4o-2024-08-06"; 2],
    cache_read: Some(40),
    cache_write: None,
    reasoning: Some(5),
    // 60 tokens at 2.50 USD a million, 40 cached at 1.25, 20 out at 10.
    cost: 400_000,
    counted_cost: 400_000,
    cost_source: "computed",
    stream: Stream {
        output: 20,
        cost: 400_000,
        counted_cost: 400_000,
        cache_read: Some(40),
        reasoning: Some(5),
        is_told: true,
        has_first_token: true,
    },
    finish_reason_of_stream: Some("stop"),
    tells_reasons: true,
    keeps_tool_ids: true,
    agents: [None; 2],
    has_tool_definitions: true,
    has_tool_span: false,
    has_session: false,
    says_what_failed: true,
};

/// That a call is a stream is not told.
pub(super) const UNTOLD_STREAM: Stream = Stream {
    is_told: false,
    has_first_token: false,
    ..OPENAI.stream
};

pub(super) const ANTHROPIC: Library = Library {
    sdk_dialect: Some("anthropic"),
    provider: "anthropic",
    model: "claude-haiku-4-5",
    answered_by: ["claude-haiku-4-5-20251001"; 2],
    cache_read: Some(60),
    cache_write: Some(30),
    reasoning: None,
    // 10 tokens at 1 USD a million, 60 cached at 0.10, 30 written at 1.25, 20 out at 5.
    cost: 153_500,
    // The SDK tells that 20 of the 30 are written for an hour, at 2.
    counted_cost: 168_500,
    stream: Stream {
        cost: 153_500,
        counted_cost: 168_500,
        cache_read: Some(60),
        reasoning: None,
        ..OPENAI.stream
    },
    ..OPENAI
};
