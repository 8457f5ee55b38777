"""Records what an instrumentation package really sends, as a file of the golden corpus.

    python3 -m venv /tmp/record && /tmp/record/bin/pip install -r tests/golden/record/<name>.txt
    /tmp/record/bin/python tests/golden/record/record.py <name>

Each package calls a stand-in for the provider's API that runs in this process and answers the same
few things, so that nothing leaves the machine and no key is needed. Ids are numbered and spans are
moved to a fixed day, so that a file changes only where the package changed. The resource says by
`recorded.*` what was installed. After recording, run `GOLDEN_WRITE=1 cargo test --test golden` and
look at what the spans are made into.
"""

import asyncio
import importlib.metadata
import json
import os
import pathlib
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

os.environ.setdefault("TRACELOOP_TRACE_CONTENT", "true")
os.environ.setdefault("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "SPAN_ONLY")
os.environ.setdefault("OTEL_SEMCONV_STABILITY_OPT_IN", "gen_ai_latest_experimental")
os.environ["NO_PROXY"] = "127.0.0.1"

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

CORPUS = pathlib.Path(__file__).resolve().parent.parent
# 2026-01-15T12:00:00Z
DAY = 1768478400 * 10**9

WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
}

# ------------------------------------------------------------------ the stand-in

OPENAI_USAGE = {
    "prompt_tokens": 100,
    "completion_tokens": 20,
    "total_tokens": 120,
    "prompt_tokens_details": {"cached_tokens": 40, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 5, "audio_tokens": 0},
}
ANTHROPIC_USAGE = {
    "input_tokens": 10,
    "output_tokens": 20,
    "cache_read_input_tokens": 60,
    "cache_creation_input_tokens": 30,
    "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20},
    "service_tier": "standard",
}


def openai_chat(request):
    head = {"id": "chatcmpl-golden", "created": 1768478400, "model": "gpt-4o-2024-08-06"}
    asks = bool(request.get("tools")) and request["messages"][-1]["role"] == "user"
    if asks:
        call = {
            "id": "call_golden",
            "type": "function",
            "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'},
        }
        message = {"role": "assistant", "content": None, "tool_calls": [call]}
    else:
        message = {"role": "assistant", "content": "It is 22 degrees."}
    reason = "tool_calls" if asks else "stop"
    if not request.get("stream"):
        choice = {"index": 0, "message": message, "finish_reason": reason}
        yield head | {"object": "chat.completion", "choices": [choice], "usage": OPENAI_USAGE}
        return
    deltas = [{"role": "assistant", "content": ""}, {"content": "It is "}, {"content": "22 degrees."}]
    for delta in deltas:
        choice = {"index": 0, "delta": delta, "finish_reason": None}
        yield head | {"object": "chat.completion.chunk", "choices": [choice]}
    choice = {"index": 0, "delta": {}, "finish_reason": "stop"}
    yield head | {"object": "chat.completion.chunk", "choices": [choice]}
    yield head | {"object": "chat.completion.chunk", "choices": [], "usage": OPENAI_USAGE}


def anthropic_message(request):
    head = {
        "id": "msg_golden",
        "type": "message",
        "role": "assistant",
        "model": "claude-haiku-4-5-20251001",
        "stop_sequence": None,
    }
    if request.get("tools"):
        content = [
            {"type": "text", "text": "Let me look."},
            {"type": "tool_use", "id": "toolu_golden", "name": "get_weather", "input": {"city": "Paris"}},
        ]
        reason = "tool_use"
    else:
        content, reason = [{"type": "text", "text": "It is 22 degrees."}], "end_turn"
    if not request.get("stream"):
        yield head | {"content": content, "stop_reason": reason, "usage": ANTHROPIC_USAGE}
        return
    start = ANTHROPIC_USAGE | {"output_tokens": 1}
    yield {"type": "message_start", "message": head | {"content": [], "stop_reason": None, "usage": start}}
    yield {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    for text in ["It is ", "22 degrees."]:
        yield {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}
    yield {"type": "content_block_stop", "index": 0}
    delta = {"stop_reason": "end_turn", "stop_sequence": None}
    yield {"type": "message_delta", "delta": delta, "usage": {"output_tokens": 20}}
    yield {"type": "message_stop"}


class StandIn(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if request.get("model") == "busy":
            error = {"type": "rate_limit_error", "code": "rate_limit_exceeded", "message": "Rate limit reached"}
            return self.answer(429, json.dumps({"type": "error", "error": error}))
        if self.path.endswith("/embeddings"):
            usage = {"prompt_tokens": 10, "total_tokens": 10}
            data = [{"object": "embedding", "index": 0, "embedding": [0.25, 0.5]}]
            model = "text-embedding-3-small"
            return self.answer(200, json.dumps({"object": "list", "data": data, "model": model, "usage": usage}))
        is_anthropic = self.path.endswith("/messages")
        parts = (anthropic_message if is_anthropic else openai_chat)(request)
        if not request.get("stream"):
            return self.answer(200, json.dumps(next(parts)))
        event = lambda part: f"event: {part['type']}\n" if is_anthropic else ""
        text = "".join(f"{event(part)}data: {json.dumps(part)}\n\n" for part in parts)
        self.answer(200, text + ("" if is_anthropic else "data: [DONE]\n\n"), "text/event-stream")

    def answer(self, status, body, kind="application/json"):
        body = body.encode()
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.send_header("x-request-id", "req_golden")
        self.send_header("request-id", "req_golden")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


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


def openinference_openai(provider):
    from openinference.instrumentation.openai import OpenAIInstrumentor

    OpenAIInstrumentor().instrument(tracer_provider=provider)


def openinference_anthropic(provider):
    from openinference.instrumentation.anthropic import AnthropicInstrumentor

    AnthropicInstrumentor().instrument(tracer_provider=provider)


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


def attributes(mapping, url):
    port = url.rsplit(":", 1)[1]

    def stable(value):
        # The stand-in has another port each time.
        if isinstance(value, str):
            return value.replace(url, "http://127.0.0.1:8000")
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
                {"message": span.status.description} if span.status.description else {}
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
    server = ThreadingHTTPServer(("127.0.0.1", 0), StandIn)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
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
    server.shutdown()


main()
