//! Which conventions a span follows.

/// A convention. The order is that in which keys are judged: a span with keys of several is the
/// first one's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub(super) enum Dialect {
    Pulse,
    Langfuse,
    OpenInference,
    AiSdk,
    Mlflow,
    LangSmith,
    Genkit,
    Mastra,
    Haystack,
    LiveKit,
    Laminar,
    GoogleAdk,
    Strands,
    CrewAi,
    Copilot,
    ClaudeCode,
    Codex,
    GeminiCli,
    PydanticAi,
    Logfire,
    OpenLit,
    LiteLlm,
    SemanticKernel,
    AgentFramework,
    AutoGen,
    SpringAi,
    OpenRouter,
    Anthropic,
    OpenLlmetry,
    Otel,
}

/// A set of dialects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Set(u32);

impl Set {
    pub(super) fn add(&mut self, dialect: Dialect) {
        self.0 |= 1 << dialect as u8;
    }

    pub(super) const fn has(self, dialect: Dialect) -> bool {
        self.0 & (1 << dialect as u8) != 0
    }

    /// The one that comes first.
    pub(super) fn first(self) -> Option<Dialect> {
        Dialect::ALL.into_iter().find(|dialect| self.has(*dialect))
    }
}

impl Dialect {
    pub(super) const ALL: [Self; 30] = [
        Self::Pulse,
        Self::Langfuse,
        Self::OpenInference,
        Self::AiSdk,
        Self::Mlflow,
        Self::LangSmith,
        Self::Genkit,
        Self::Mastra,
        Self::Haystack,
        Self::LiveKit,
        Self::Laminar,
        Self::GoogleAdk,
        Self::Strands,
        Self::CrewAi,
        Self::Copilot,
        Self::ClaudeCode,
        Self::Codex,
        Self::GeminiCli,
        Self::PydanticAi,
        Self::Logfire,
        Self::OpenLit,
        Self::LiteLlm,
        Self::SemanticKernel,
        Self::AgentFramework,
        Self::AutoGen,
        Self::SpringAi,
        Self::OpenRouter,
        Self::Anthropic,
        Self::OpenLlmetry,
        Self::Otel,
    ];

    /// Name stored and served.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Pulse => "pulse",
            Self::Langfuse => "langfuse",
            Self::OpenInference => "openinference",
            Self::AiSdk => "ai_sdk",
            Self::Mlflow => "mlflow",
            Self::LangSmith => "langsmith",
            Self::Genkit => "genkit",
            Self::Mastra => "mastra",
            Self::Haystack => "haystack",
            Self::LiveKit => "livekit",
            Self::Laminar => "laminar",
            Self::GoogleAdk => "google_adk",
            Self::Strands => "strands",
            Self::CrewAi => "crewai",
            Self::Copilot => "copilot",
            Self::ClaudeCode => "claude_code",
            Self::Codex => "codex",
            Self::GeminiCli => "gemini_cli",
            Self::PydanticAi => "pydantic_ai",
            Self::Logfire => "logfire",
            Self::OpenLit => "openlit",
            Self::LiteLlm => "litellm",
            Self::SemanticKernel => "semantic_kernel",
            Self::AgentFramework => "agent_framework",
            Self::AutoGen => "autogen",
            Self::SpringAi => "spring_ai",
            Self::OpenRouter => "openrouter",
            Self::Anthropic => "anthropic",
            Self::OpenLlmetry => "openllmetry",
            Self::Otel => "otel",
        }
    }

    /// The dialect that a scope name tells.
    pub(super) fn of_scope(name: &str) -> Option<Self> {
        let exact = match name {
            "ai" | "gen_ai" => Self::AiSdk,
            "litellm" => Self::LiteLlm,
            "haystack" => Self::Haystack,
            "langsmith" => Self::LangSmith,
            "pydantic-ai" => Self::PydanticAi,
            "strands.telemetry.tracer" => Self::Strands,
            "gcp.vertex.agent" => Self::GoogleAdk,
            "agent_framework" => Self::AgentFramework,
            "genkit-tracer" => Self::Genkit,
            "livekit-agents" => Self::LiveKit,
            "openrouter" => Self::OpenRouter,
            "gemini-cli" => Self::GeminiCli,
            "crewai.telemetry" => Self::CrewAi,
            "traceloop.tracer" | "ai.koog" => Self::OpenLlmetry,
            "@eklabs/pulse-sdk" | "pulse-trace-sdk" | "pulse.cli.hooks" => Self::Pulse,
            _ => return Self::of_scope_prefix(name),
        };
        Some(exact)
    }

    fn of_scope_prefix(name: &str) -> Option<Self> {
        const PREFIXES: [(&str, Dialect); 27] = [
            ("openinference.instrumentation", Dialect::OpenInference),
            ("@arizeai/openinference-", Dialect::OpenInference),
            ("langfuse-sdk", Dialect::Langfuse),
            ("logfire", Dialect::Logfire),
            ("mlflow", Dialect::Mlflow),
            ("openlit", Dialect::OpenLit),
            ("semantic_kernel", Dialect::SemanticKernel),
            ("Microsoft.SemanticKernel", Dialect::SemanticKernel),
            ("Microsoft.Agents.AI", Dialect::AgentFramework),
            (
                "Experimental.Microsoft.Extensions.AI",
                Dialect::AgentFramework,
            ),
            ("Experimental.Microsoft.Agents", Dialect::AgentFramework),
            ("Microsoft.Extensions.AI", Dialect::AgentFramework),
            ("autogen", Dialect::AutoGen),
            ("org.springframework.ai", Dialect::SpringAi),
            ("@mastra/otel", Dialect::Mastra),
            ("github.copilot", Dialect::Copilot),
            ("@github/copilot", Dialect::Copilot),
            ("com.anthropic.claude_code", Dialect::ClaudeCode),
            ("com.anthropic.sdk", Dialect::Anthropic),
            ("com.anthropic.claude-platform", Dialect::Anthropic),
            ("codex_", Dialect::Codex),
            ("codex-", Dialect::Codex),
            ("@traceloop/", Dialect::OpenLlmetry),
            ("opentelemetry.instrumentation.genai", Dialect::Otel),
            ("opentelemetry.instrumentation.openai_v2", Dialect::Otel),
            ("opentelemetry.util.genai", Dialect::Otel),
            ("lmnr", Dialect::Laminar),
        ];
        PREFIXES
            .into_iter()
            .find(|(prefix, _)| name.starts_with(prefix))
            .map(|(_, dialect)| dialect)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_and_the_order_is_that_of_judgement() {
        let mut names: Vec<_> = Dialect::ALL.map(Dialect::as_str).to_vec();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Dialect::ALL.len());
        assert!(Dialect::ALL.is_sorted());
    }

    #[test]
    fn scope_names_tell_the_dialect() {
        let of = |name| Dialect::of_scope(name).map(Dialect::as_str);
        assert_eq!(of("ai"), Some("ai_sdk"));
        assert_eq!(
            of("openinference.instrumentation.openai"),
            Some("openinference")
        );
        assert_eq!(of("opentelemetry.instrumentation.openai_v2"), Some("otel"));
        // Shared by three kinds of instrumentation: keys decide.
        assert_eq!(of("opentelemetry.instrumentation.openai"), None);
        assert_eq!(of("logfire.httpx"), Some("logfire"));
        assert_eq!(of(""), None);
    }

    #[test]
    fn the_first_of_a_set_is_the_judgement() {
        let mut set = Set::default();
        assert_eq!(set.first(), None);
        set.add(Dialect::Otel);
        set.add(Dialect::OpenInference);
        assert_eq!(set.first(), Some(Dialect::OpenInference));
    }
}
