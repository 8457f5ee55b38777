"""Records what an instrumentation package really sends, as a file of the golden corpus.

    python3 -m venv /tmp/record && /tmp/record/bin/pip install -r tests/golden/record/<name>.txt
    /tmp/record/bin/python tests/golden/record/record.py <name>

Each package calls the stand-in for the providers' APIs (`tests/support/python/model_apis.py`). Ids
are numbered and spans are moved to a fixed day, so that a file changes only where the package
changed. The resource says by `recorded.*` what was installed. After recording, run
`GOLDEN_WRITE=1 cargo test --test golden` and look at what the spans are made into.
"""

import asyncio
import importlib.metadata
import json
import os
import pathlib
import sys

os.environ.setdefault("TRACELOOP_TRACE_CONTENT", "true")
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
os.environ.setdefault("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "SPAN_ONLY")
os.environ.setdefault("OTEL_SEMCONV_STABILITY_OPT_IN", "gen_ai_latest_experimental")
os.environ["NO_PROXY"] = "127.0.0.1"

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

CORPUS = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(CORPUS.parent / "support" / "python"))

import model_apis

# 2026-01-15T12:00:00Z
DAY = 1768478400 * 10**9

WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
}

# ------------------------------------------------------------------ what is called


def call_openai(url):
    import openai

    client = openai.OpenAI(base_url=url + "/v1", api_key="none", max_retries=0)
    question = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Weather in Paris?"}]
    function = {"name": "get_weather", "description": "Looks it up", "parameters": WEATHER}
    tools = [{"type": "function", "function": function}]
    client.chat.completions.create(model="gpt-4o", messages=question, tools=tools, temperature=0.2)
    options = {"include_usage": True}
    stream = client.chat.completions.create(model="gpt-4o", messages=question, stream=True, stream_options=options)
    for _ in stream:
        pass
    client.embeddings.create(model="text-embedding-3-small", input="Paris")
    try:
        client.chat.completions.create(model="busy", messages=question)
    except openai.RateLimitError:
        pass


def call_anthropic(url):
    import anthropic

    client = anthropic.Anthropic(base_url=url, api_key="none", max_retries=0)
    question = [{"role": "user", "content": "Weather in Paris?"}]
    tools = [{"name": "get_weather", "description": "Looks it up", "input_schema": WEATHER}]
    common = {"model": "claude-haiku-4-5", "max_tokens": 100, "messages": question, "system": "Be brief."}
    client.messages.create(**common, tools=tools)
    for _ in client.messages.create(**common, stream=True):
        pass
    try:
        client.messages.create(**common | {"model": "busy"})
    except anthropic.RateLimitError:
        pass


def call_pydantic_ai(url):
    from pydantic_ai import Agent
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    model = OpenAIChatModel("gpt-4o", provider=OpenAIProvider(base_url=url + "/v1", api_key="none"))
    agent = Agent(model, name="weather", system_prompt="Be brief.")

    @agent.tool_plain
    def get_weather(city: str) -> str:
        """Looks it up."""
        return "22 degrees"

    asyncio.run(agent.run("Weather in Paris?"))


def call_langchain(url):
    import openai
    from langchain_core.tools import tool
    from langchain_openai import ChatOpenAI

    @tool
    def get_weather(city: str) -> str:
        """Looks it up"""
        return "22 degrees"

    common = {"base_url": url + "/v1", "api_key": "none", "max_retries": 0}
    model = ChatOpenAI(model="gpt-4o", temperature=0.2, stream_usage=True, **common)
    question = [("system", "Be brief."), ("human", "Weather in Paris?")]
    for call in model.bind_tools([get_weather]).invoke(question).tool_calls:
        get_weather.invoke(call)
    for _ in model.stream(question):
        pass
    try:
        ChatOpenAI(model="busy", **common).invoke(question)
    except openai.RateLimitError:
        pass


def call_litellm(url):
    import litellm
    from litellm.litellm_core_utils.thread_pool_executor import executor

    litellm.suppress_debug_info = True
    common = {"model": "openai/gpt-4o", "api_base": url + "/v1", "api_key": "none", "max_retries": 0}
    question = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Weather in Paris?"}]
    function = {"name": "get_weather", "description": "Looks it up", "parameters": WEATHER}
    tools = [{"type": "function", "function": function}]
    asked = litellm.completion(**common, messages=question, tools=tools).choices[0].message
    result = {"role": "tool", "tool_call_id": asked.tool_calls[0].id, "content": "22 degrees"}
    turns = [*question, asked.model_dump(exclude_none=True), result]
    litellm.completion(**common, messages=turns, tools=tools)
    options = {"include_usage": True}
    for _ in litellm.completion(**common, messages=question, stream=True, stream_options=options):
        pass
    try:
        litellm.completion(**common | {"model": "openai/busy"}, messages=question)
    except litellm.RateLimitError:
        pass
    # Its callbacks run in threads of their own.
    executor.shutdown(wait=True)


def openinference_openai(provider):
    from openinference.instrumentation.openai import OpenAIInstrumentor

    OpenAIInstrumentor().instrument(tracer_provider=provider)


def openinference_anthropic(provider):
    from openinference.instrumentation.anthropic import AnthropicInstrumentor

    AnthropicInstrumentor().instrument(tracer_provider=provider)


def openinference_langchain(provider):
    from openinference.instrumentation.langchain import LangChainInstrumentor

    LangChainInstrumentor().instrument(tracer_provider=provider)


def traceloop_openai(provider):
    from opentelemetry.instrumentation.openai import OpenAIInstrumentor

    OpenAIInstrumentor().instrument(tracer_provider=provider)


def traceloop_anthropic(provider):
    from opentelemetry.instrumentation.anthropic import AnthropicInstrumentor

    AnthropicInstrumentor().instrument(tracer_provider=provider)


def otel_openai(provider):
    from opentelemetry.instrumentation.openai_v2 import OpenAIInstrumentor

    OpenAIInstrumentor().instrument(tracer_provider=provider)


def otel_genai_openai(provider):
    from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor

    OpenAIInstrumentor().instrument(tracer_provider=provider)


def otel_genai_anthropic(provider):
    from opentelemetry.instrumentation.genai.anthropic import AnthropicInstrumentor

    AnthropicInstrumentor().instrument(tracer_provider=provider)


def pydantic_ai(provider):
    from pydantic_ai import Agent
    from pydantic_ai.models.instrumented import InstrumentationSettings

    Agent.instrument_all(InstrumentationSettings(tracer_provider=provider))


def litellm_callback(provider):
    import litellm

    litellm.callbacks = ["otel"]


# name: (dialect, packages whose versions are noted, switch on, call)
RECORDERS = {
    "openinference-openai": (
        "openinference", ["openinference-instrumentation-openai", "openai"], openinference_openai, call_openai),
    "openinference-anthropic": (
        "openinference", ["openinference-instrumentation-anthropic", "anthropic"], openinference_anthropic, call_anthropic),
    "traceloop-openai": (
        "openllmetry", ["opentelemetry-instrumentation-openai", "openai"], traceloop_openai, call_openai),
    "traceloop-anthropic": (
        "openllmetry", ["opentelemetry-instrumentation-anthropic", "anthropic"], traceloop_anthropic, call_anthropic),
    "otel-openai-v2": (
        "otel", ["opentelemetry-instrumentation-openai-v2", "openai"], otel_openai, call_openai),
    "otel-genai-openai": (
        "otel", ["opentelemetry-instrumentation-genai-openai", "openai"], otel_genai_openai, call_openai),
    "otel-genai-anthropic": (
        "otel", ["opentelemetry-instrumentation-genai-anthropic", "anthropic"], otel_genai_anthropic, call_anthropic),
    "anthropic-sdk": ("anthropic", ["anthropic"], lambda provider: None, call_anthropic),
    "openinference-langchain": (
        "openinference", ["openinference-instrumentation-langchain", "langchain-openai"], openinference_langchain, call_langchain),
    "litellm": ("litellm", ["litellm"], litellm_callback, call_litellm),
    "pydantic-ai": ("pydantic_ai", ["pydantic-ai-slim", "openai"], pydantic_ai, call_pydantic_ai),
}

# ------------------------------------------------------------------ spans as OTLP/JSON


def any_value(value):
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, (list, tuple)):
        return {"arrayValue": {"values": [any_value(item) for item in value]}}
    return {"stringValue": str(value)}


def without_paths(text):
    """A text without the paths of the machine, which stack traces have."""
    for place, name in [(sys.prefix, "/venv"), (sys.base_prefix, "/python"), (str(CORPUS), "/golden")]:
        text = text.replace(place, name)
    return text


def attributes(mapping, url):
    port = url.rsplit(":", 1)[1]

    def stable(value):
        # The stand-in has another port each time.
        if isinstance(value, str):
            return without_paths(value.replace(url, "http://127.0.0.1:8000"))
        return 8000 if value == int(port) and not isinstance(value, bool) else value

    return [{"key": key, "value": any_value(stable(value))} for key, value in (mapping or {}).items()]


def otlp(spans, resource, url):
    spans = sorted(spans, key=lambda span: span.start_time)
    number = {span.context.span_id: f"{index + 1:016x}" for index, span in enumerate(spans)}
    traces = {}
    scopes = {}
    for index, span in enumerate(spans):
        trace_id = traces.setdefault(span.context.trace_id, f"{len(traces) + 1:032x}")
        moved = DAY + index * 10**9 - span.start_time
        entry = {
            "traceId": trace_id,
            "spanId": number[span.context.span_id],
            "name": span.name,
            "kind": span.kind.value + 1,
            "startTimeUnixNano": str(span.start_time + moved),
            "endTimeUnixNano": str(span.end_time + moved),
            "attributes": attributes(span.attributes, url),
            "events": [
                {
                    "name": event.name,
                    "timeUnixNano": str(event.timestamp + moved),
                    # Stack traces have paths of the machine.
                    "attributes": attributes(
                        {key: value for key, value in (event.attributes or {}).items() if key != "exception.stacktrace"},
                        url,
                    ),
                }
                for event in span.events
            ],
            "status": {"code": span.status.status_code.value} | (
                {"message": without_paths(span.status.description)} if span.status.description else {}
            ),
        }
        if span.parent:
            entry["parentSpanId"] = number.get(span.parent.span_id, "")
        scope = span.instrumentation_scope
        scopes.setdefault((scope.name, scope.version or ""), []).append(entry)
    scope_spans = [
        {"scope": {"name": name, "version": version}, "spans": entries}
        for (name, version), entries in scopes.items()
    ]
    described = attributes(resource, url)
    return {"resourceSpans": [{"resource": {"attributes": described}, "scopeSpans": scope_spans}]}


def main():
    name = sys.argv[1]
    dialect, packages, switch_on, call = RECORDERS[name]
    url = model_apis.start()
    exporter = InMemorySpanExporter()
    provider = TracerProvider(resource=Resource({}))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    switch_on(provider)
    call(url)
    provider.force_flush()
    resource = {"service.name": "recorded"}
    resource |= {f"recorded.{package}": importlib.metadata.version(package) for package in packages}
    text = json.dumps(otlp(exporter.get_finished_spans(), resource, url), indent=1, ensure_ascii=False)
    path = CORPUS / dialect / f"recorded-{name}.json"
    path.write_text(text + "\n")
    print(f"{path}: {len(exporter.get_finished_spans())} spans")


main()
