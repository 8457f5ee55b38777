//! Who serves a model.

use std::borrow::Cow;

use super::Lower;

/// What the name of a provider turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::semconv) enum Named<'a> {
    /// A provider, by the name it has with us.
    Provider(Cow<'a, str>),
    /// A framework, which serves no models.
    Framework,
}

impl Named<'_> {
    pub(in crate::semconv) fn into_owned(self) -> Named<'static> {
        match self {
            Self::Provider(name) => Named::Provider(Cow::Owned(name.into_owned())),
            Self::Framework => Named::Framework,
        }
    }
}

/// Names of frameworks that are sent where a provider is expected.
const FRAMEWORKS: [&str; 16] = [
    "langchain",
    "langgraph",
    "strands-agents",
    "strands",
    "gcp.vertex.agent",
    "spring_ai",
    "microsoft.agent_framework",
    "agent_framework",
    "autogen",
    "litellm",
    "crewai",
    "mastra",
    "llamaindex",
    "haystack",
    "pydantic_ai",
    "semantic_kernel",
];

/// Where Bedrock may run a model, as its ids begin.
const REGIONS: [&str; 8] = ["us", "eu", "apac", "global", "jp", "au", "ca", "us-gov"];

/// Whose models Bedrock's ids name.
const BEDROCK_VENDORS: [&str; 12] = [
    "anthropic",
    "amazon",
    "meta",
    "mistral",
    "cohere",
    "ai21",
    "deepseek",
    "qwen",
    "openai",
    "stability",
    "writer",
    "twelvelabs",
];

/// The provider whose libraries others are used through, which their hosts tell.
pub(in crate::semconv) const SHARED: &str = "openai";

/// Reads the name of a provider. One that is not known keeps its name, in lower case and with
/// underscores.
pub(in crate::semconv) fn named(sent: &str) -> Named<'_> {
    let Some(lower) = Lower::new(sent) else {
        return Named::Provider(Cow::Borrowed(sent));
    };
    let name = lower.as_str();
    if FRAMEWORKS.contains(&name) {
        return Named::Framework;
    }
    if let Some(known) = known(name).or_else(|| known(without_api(name))) {
        return Named::Provider(Cow::Borrowed(known));
    }
    let own = without_api(name);
    if own == sent && !own.contains(['.', '-', ' ']) {
        Named::Provider(Cow::Borrowed(sent))
    } else {
        Named::Provider(Cow::Owned(own.replace(['.', '-', ' '], "_")))
    }
}

/// Without the API that some SDKs add: `openai.chat`, `anthropic.messages`.
fn without_api(name: &str) -> &str {
    const APIS: [&str; 8] = [
        ".chat",
        ".messages",
        ".responses",
        ".completion",
        ".embedding",
        ".text-embedding",
        ".image",
        ".generative-ai",
    ];
    let found = APIS.into_iter().find_map(|api| name.strip_suffix(api));
    found.unwrap_or(name)
}

/// The name a provider has with us: that of the OpenTelemetry conventions where there is one.
pub(in crate::semconv) fn known(name: &str) -> Option<&'static str> {
    let canonical = match name {
        "openai" => "openai",
        "anthropic" | "claude" => "anthropic",
        "azure" | "azure_openai" | "az.ai.openai" | "azure.ai.openai" | "azure-openai"
        | "azure.openai" | "azureopenai" => "azure.ai.openai",
        "az.ai.inference" | "azure_ai" | "azure.ai.inference" | "azure_ai_inference" => {
            "azure.ai.inference"
        }
        "bedrock" | "aws_bedrock" | "aws" | "aws.bedrock" | "amazon-bedrock"
        | "bedrock_converse" | "amazon_bedrock" | "amazon" => "aws.bedrock",
        "gemini"
        | "google-gla"
        | "google.generative-ai"
        | "google_genai"
        | "google_ai_studio"
        | "gcp.gemini"
        | "google-genai"
        | "google.generativeai"
        | "googleai" => "gcp.gemini",
        "vertex_ai" | "vertexai" | "google-vertex" | "google.vertex" | "vertex_ai_beta"
        | "gcp.vertex_ai" | "google_vertexai" | "vertex" => "gcp.vertex_ai",
        "gcp.gen_ai" | "google" | "gcp_gen_ai" => "gcp.gen_ai",
        "mistral" | "mistralai" | "mistral_ai" | "mistral ai" => "mistral_ai",
        "xai" | "x_ai" | "x-ai" | "grok" => "x_ai",
        "groq" => "groq",
        "deepseek" => "deepseek",
        "cohere" => "cohere",
        "perplexity" => "perplexity",
        "watsonx" | "ibm.watsonx.ai" | "ibm" => "ibm.watsonx.ai",
        "moonshot" | "moonshot_ai" | "moonshotai" => "moonshot_ai",
        "ollama" => "ollama",
        "together" | "together_ai" | "togetherai" | "together-ai" => "together_ai",
        "fireworks" | "fireworks_ai" | "fireworks-ai" => "fireworks_ai",
        "openrouter" => "openrouter",
        "huggingface" | "hugging_face" => "huggingface",
        "replicate" => "replicate",
        "cerebras" => "cerebras",
        "voyage" | "voyageai" | "voyage_ai" => "voyageai",
        _ => return None,
    };
    Some(canonical)
}

/// The provider that a model's name tells: before it, as routers write it (`openai/gpt-4o`), or by
/// the form of Bedrock's ids (`us.anthropic.claude-sonnet-4-5-20250929-v1:0`).
pub(in crate::semconv) fn of_model(model: &str) -> Option<&'static str> {
    if let Some((prefix, _)) = model.split_once('/') {
        return known(Lower::new(prefix)?.as_str());
    }
    let (first, rest) = model.split_once('.')?;
    let vendor = if REGIONS.contains(&first) {
        rest.split_once('.')?.0
    } else {
        first
    };
    BEDROCK_VENDORS.contains(&vendor).then_some("aws.bedrock")
}

/// The provider at a host.
pub(in crate::semconv) fn of_host(host: &str) -> Option<&'static str> {
    // Some send the whole URL.
    let host = host.split_once("://").map_or(host, |(_, rest)| rest);
    let host = host.split(['/', ':']).next().unwrap_or(host);
    const HOSTS: [(&str, &str); 20] = [
        ("api.openai.com", "openai"),
        ("api.anthropic.com", "anthropic"),
        (".openai.azure.com", "azure.ai.openai"),
        (".cognitiveservices.azure.com", "azure.ai.openai"),
        (".inference.ai.azure.com", "azure.ai.inference"),
        (".services.ai.azure.com", "azure.ai.inference"),
        ("generativelanguage.googleapis.com", "gcp.gemini"),
        ("aiplatform.googleapis.com", "gcp.vertex_ai"),
        ("api.mistral.ai", "mistral_ai"),
        ("api.groq.com", "groq"),
        ("api.deepseek.com", "deepseek"),
        ("api.x.ai", "x_ai"),
        ("api.cohere.com", "cohere"),
        ("api.cohere.ai", "cohere"),
        ("openrouter.ai", "openrouter"),
        ("api.together.xyz", "together_ai"),
        ("api.fireworks.ai", "fireworks_ai"),
        ("api.perplexity.ai", "perplexity"),
        ("api.moonshot.ai", "moonshot_ai"),
        ("api.cerebras.ai", "cerebras"),
    ];
    if host.starts_with("bedrock") && host.ends_with(".amazonaws.com") {
        return Some("aws.bedrock");
    }
    HOSTS
        .into_iter()
        .find(|(end, _)| host.ends_with(end))
        .map(|(_, provider)| provider)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn provider(sent: &str) -> String {
        match named(sent) {
            Named::Provider(name) => name.into_owned(),
            Named::Framework => "a framework".to_owned(),
        }
    }

    #[test]
    fn spellings_have_one_name() {
        let spellings = [
            ("OpenAI", "openai"),
            ("openai.chat", "openai"),
            ("openai.responses", "openai"),
            ("anthropic.messages", "anthropic"),
            ("az.ai.openai", "azure.ai.openai"),
            ("azure-openai.chat", "azure.ai.openai"),
            ("AWS", "aws.bedrock"),
            ("google-gla", "gcp.gemini"),
            ("google.vertex.chat", "gcp.vertex_ai"),
            ("xai.chat", "x_ai"),
            ("mistral.chat", "mistral_ai"),
            ("Langchain", "a framework"),
            ("strands-agents", "a framework"),
            ("gcp.vertex.agent", "a framework"),
            ("my_provider", "my_provider"),
            ("My.Provider-2", "my_provider_2"),
        ];
        for (sent, expected) in spellings {
            assert_eq!(provider(sent), expected, "{sent}");
        }
    }

    #[test]
    fn canonical_names_keep_their_name() {
        for name in [
            "openai",
            "anthropic",
            "azure.ai.openai",
            "azure.ai.inference",
            "aws.bedrock",
            "gcp.gemini",
            "gcp.vertex_ai",
            "gcp.gen_ai",
            "mistral_ai",
            "x_ai",
            "ibm.watsonx.ai",
            "moonshot_ai",
        ] {
            assert_eq!(provider(name), name);
        }
    }

    #[test]
    fn hosts_and_prefixes_tell_the_provider() {
        assert_eq!(of_host("api.openai.com"), Some("openai"));
        assert_eq!(of_host("https://openrouter.ai/api/v1"), Some("openrouter"));
        assert_eq!(of_host("x.openai.azure.com:443"), Some("azure.ai.openai"));
        assert_eq!(
            of_host("bedrock-runtime.eu-west-1.amazonaws.com"),
            Some("aws.bedrock")
        );
        assert_eq!(of_host("localhost"), None);
        assert_eq!(of_model("vertex_ai/gemini-2.5-pro"), Some("gcp.vertex_ai"));
        assert_eq!(of_model("meta-llama/Llama-3"), None);
        assert_eq!(of_model("gpt-4o"), None);
        assert_eq!(of_model("gpt-4.1"), None);
        let bedrock = Some("aws.bedrock");
        assert_eq!(of_model("amazon.nova-pro-v1:0"), bedrock);
        assert_eq!(of_model("us.anthropic.claude-haiku-4-5-v1:0"), bedrock);
    }
}
