"""Calls the stand-ins of the model providers through a GenAI library, and sends the spans that its
instrumentation makes with the OTLP exporter of the Python SDK.

    genai.py <library>

The environment says where to (OTEL_EXPORTER_OTLP_ENDPOINT) and as which service. Prints a JSON list
of what was done: the scenario, its trace and how many spans that trace has. Each scenario is one
request of an application, with a span of its own around the library's.
"""

import collections
import contextlib
import json
import os
import sys

import model_apis

URL = model_apis.start()
os.environ.update(
    NO_PROXY="127.0.0.1",
    OPENAI_BASE_URL=URL + "/v1",
    OPENAI_API_KEY="none",
    ANTHROPIC_BASE_URL=URL,
    ANTHROPIC_API_KEY="none",
    TRACELOOP_TRACE_CONTENT="true",
    TRACELOOP_TELEMETRY="false",
    OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT="SPAN_ONLY",
    OTEL_SEMCONV_STABILITY_OPT_IN="gen_ai_latest_experimental",
)

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

# No call waits longer, and none is tried twice.
CLIENT = {"max_retries": 0, "timeout": 20}
SESSION = f"talk-{os.getpid()}"
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


class Counted(SpanProcessor):
    """Counts the spans of each trace."""

    def __init__(self):
        self.spans = collections.Counter()

    def on_end(self, span):
        self.spans[span.context.trace_id] += 1


class Application:
    def __init__(self, provider):
        self.tracer = provider.get_tracer("application")
        self.done = []

    @contextlib.contextmanager
    def scenario(self, name):
        with self.tracer.start_as_current_span(name) as span:
            self.done.append((name, span.get_span_context().trace_id))
            yield


def no_session(_):
    return contextlib.nullcontext()


def openinference_session(name):
    from openinference.instrumentation import using_session

    return using_session(name)


def openai_scenarios(application, session):
    import openai

    chat = openai.OpenAI(**CLIENT).chat.completions
    system = {"role": "system", "content": "Be brief."}
    question = [system, {"role": "user", "content": "Weather in Paris?"}]
    with application.scenario("chat"):
        chat.create(model="gpt-4o", messages=question, temperature=0.2)
    with application.scenario("stream"):
        for _ in chat.create(
            model="gpt-4o", messages=question, stream=True, stream_options={"include_usage": True}
        ):
            pass
    function = {"name": "get_weather", "description": "Looks it up", "parameters": PARAMETERS}
    tools = [{"type": "function", "function": function}]
    with application.scenario("tool"):
        asked = chat.create(model="gpt-4o", messages=question, tools=tools).choices[0].message
        result = {"role": "tool", "tool_call_id": asked.tool_calls[0].id, "content": "22 degrees"}
        turns = [*question, asked.model_dump(exclude_none=True), result]
        chat.create(model="gpt-4o", messages=turns, tools=tools)
    with application.scenario("error"):
        try:
            chat.create(model="busy", messages=question)
            raise AssertionError("the stand-in did not refuse")
        except openai.RateLimitError:
            pass
    turns = question
    for turn in ("first turn", "second turn"):
        with session(SESSION), application.scenario(turn):
            said = chat.create(model="gpt-4o", messages=turns).choices[0].message.content
        turns = [*turns, {"role": "assistant", "content": said}, {"role": "user", "content": "And Rome?"}]


def anthropic_scenarios(application, session):
    import anthropic

    messages = anthropic.Anthropic(**CLIENT).messages
    question = [{"role": "user", "content": "Weather in Paris?"}]
    common = {"model": "claude-haiku-4-5", "max_tokens": 100, "system": "Be brief."}
    with application.scenario("chat"):
        messages.create(**common, messages=question)
    with application.scenario("stream"):
        for _ in messages.create(**common, messages=question, stream=True):
            pass
    tools = [{"name": "get_weather", "description": "Looks it up", "input_schema": PARAMETERS}]
    with application.scenario("tool"):
        asked = messages.create(**common, messages=question, tools=tools).content
        used = [part.model_dump(exclude_none=True) for part in asked]
        result = {"type": "tool_result", "tool_use_id": asked[-1].id, "content": "22 degrees"}
        turns = [*question, {"role": "assistant", "content": used}, {"role": "user", "content": [result]}]
        messages.create(**common, messages=turns, tools=tools)
    with application.scenario("error"):
        try:
            messages.create(**common | {"model": "busy"}, messages=question)
            raise AssertionError("the stand-in did not refuse")
        except anthropic.RateLimitError:
            pass
    turns = question
    for turn in ("first turn", "second turn"):
        with session(SESSION), application.scenario(turn):
            said = messages.create(**common, messages=turns).content[0].text
        turns = [*turns, {"role": "assistant", "content": said}, {"role": "user", "content": "And Rome?"}]


def openinference_openai(provider):
    from openinference.instrumentation.openai import OpenAIInstrumentor

    OpenAIInstrumentor().instrument(tracer_provider=provider)


def openinference_anthropic(provider):
    from openinference.instrumentation.anthropic import AnthropicInstrumentor

    AnthropicInstrumentor().instrument(tracer_provider=provider)


def openllmetry_openai(provider):
    from opentelemetry.instrumentation.openai import OpenAIInstrumentor

    OpenAIInstrumentor().instrument(tracer_provider=provider)


def openllmetry_anthropic(provider):
    from opentelemetry.instrumentation.anthropic import AnthropicInstrumentor

    AnthropicInstrumentor().instrument(tracer_provider=provider)


# library: (switch on, what is called, how it names a session)
LIBRARIES = {
    "openinference-openai": (openinference_openai, openai_scenarios, openinference_session),
    "openinference-anthropic": (openinference_anthropic, anthropic_scenarios, openinference_session),
    "openllmetry-openai": (openllmetry_openai, openai_scenarios, no_session),
    "openllmetry-anthropic": (openllmetry_anthropic, anthropic_scenarios, no_session),
}


def main():
    switch_on, scenarios, session = LIBRARIES[sys.argv[1]]
    counted = Counted()
    provider = TracerProvider()
    provider.add_span_processor(counted)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    switch_on(provider)
    application = Application(provider)
    scenarios(application, session)
    if not provider.force_flush(20_000):
        sys.exit("the exporter did not deliver its spans")
    provider.shutdown()
    done = [
        {"scenario": name, "trace_id": f"{trace_id:032x}", "spans": counted.spans[trace_id], "session": SESSION}
        for name, trace_id in application.done
    ]
    json.dump(done, sys.stdout)


main()
