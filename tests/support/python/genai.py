"""Calls the stand-ins of the model providers through a GenAI library, and sends the spans that its
instrumentation makes with the OTLP exporter of the Python SDK.

    genai.py <library> [logs-last]

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

# Where the instrumentation of OpenTelemetry's contributors puts messages: on spans, unless the library's
# name says that it is in events, each a message or one with all of a call.
CAPTURE = {
    "otel-openai-messages": ("true", None),
    "otel-openai-details": ("EVENT_ONLY", "gen_ai_latest_experimental"),
}.get(sys.argv[1], ("SPAN_ONLY", "gen_ai_latest_experimental"))

URL = model_apis.start()
os.environ.update(
    model_apis.environment(URL),
    TRACELOOP_TRACE_CONTENT="true",
    TRACELOOP_TELEMETRY="false",
    USE_OTEL_LITELLM_REQUEST_SPAN="true",
    LITELLM_LOCAL_MODEL_COST_MAP="True",
    LANGSMITH_TRACING="false",
    OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT=CAPTURE[0],
    **({"OTEL_SEMCONV_STABILITY_OPT_IN": CAPTURE[1]} if CAPTURE[1] else {}),
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

    def unexpected(self, done):
        """The one trace that is none of these."""
        (trace_id,) = self.spans.keys() - {trace_id for _, trace_id in done}
        return trace_id


class Application:
    def __init__(self, provider, counted):
        self.tracer = provider.get_tracer("application")
        self.counted = counted
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
    with application.scenario("stream tool"):
        for _ in chat.create(
            model="gpt-4o", messages=question, tools=tools, stream=True, stream_options={"include_usage": True}
        ):
            pass
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


def responses_scenarios(application, session):
    import openai

    responses = openai.OpenAI(**CLIENT).responses
    question = [{"role": "user", "content": "Weather in Paris?"}]
    common = {"model": "gpt-4o", "instructions": "Be brief."}
    with application.scenario("chat"):
        responses.create(**common, input=question, temperature=0.2)
    with application.scenario("stream"):
        for _ in responses.create(**common, input=question, stream=True):
            pass
    tools = [{"type": "function", "name": "get_weather", "description": "Looks it up", "parameters": PARAMETERS}]
    with application.scenario("tool"):
        asked = responses.create(**common, input=question, tools=tools).output[0]
        result = {"type": "function_call_output", "call_id": asked.call_id, "output": "22 degrees"}
        responses.create(**common, input=[*question, asked.model_dump(exclude_none=True), result], tools=tools)
    with application.scenario("stream tool"):
        for _ in responses.create(**common, input=question, tools=tools, stream=True):
            pass
    with application.scenario("error"):
        try:
            responses.create(**common | {"model": "busy"}, input=question)
            raise AssertionError("the stand-in did not refuse")
        except openai.RateLimitError:
            pass
    turns = question
    for turn in ("first turn", "second turn"):
        with session(SESSION), application.scenario(turn):
            said = responses.create(**common, input=turns).output_text
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
    with application.scenario("stream tool"):
        for _ in messages.create(**common, messages=question, tools=tools, stream=True):
            pass
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


def langchain_scenarios(application, session):
    import openai
    from langchain_core.messages import ToolMessage
    from langchain_core.prompts import ChatPromptTemplate
    from langchain_core.runnables import chain
    from langchain_core.tools import tool
    from langchain_openai import ChatOpenAI

    @tool
    def get_weather(city: str) -> str:
        """Looks it up"""
        return "22 degrees"

    @chain
    def answer(turns):
        """Calls the tools that the model asks for, as an agent does."""
        said = model.bind_tools([get_weather]).invoke(turns)
        results = [get_weather.invoke(call) for call in said.tool_calls]
        assert all(isinstance(result, ToolMessage) for result in results)
        return model.bind_tools([get_weather]).invoke([*turns, said, *results])

    model = ChatOpenAI(model="gpt-4o", temperature=0.2, stream_usage=True, **CLIENT)
    prompt = ChatPromptTemplate.from_messages([("system", "Be brief."), ("human", "{question}")])
    question = [("system", "Be brief."), ("human", "Weather in Paris?")]
    with application.scenario("chat"):
        (prompt | model).invoke({"question": "Weather in Paris?"})
    with application.scenario("stream"):
        for _ in (prompt | model).stream({"question": "Weather in Paris?"}):
            pass
    with application.scenario("tool"):
        answer.invoke(question)
    with application.scenario("error"):
        try:
            ChatOpenAI(model="busy", **CLIENT).invoke(question)
            raise AssertionError("the stand-in did not refuse")
        except openai.RateLimitError:
            pass
    turns = question
    for turn in ("first turn", "second turn"):
        with session(SESSION), application.scenario(turn):
            said = model.invoke(turns)
        turns = [*turns, said, ("human", "And Rome?")]


def pydantic_ai_scenarios(application, session):
    import asyncio

    import openai
    from pydantic_ai import Agent, ModelHTTPError
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    client = openai.AsyncOpenAI(**CLIENT)
    provider = OpenAIProvider(openai_client=client)
    settings = {"temperature": 0.2}
    plain = Agent(OpenAIChatModel("gpt-4o", provider=provider), name="plain", instructions="Be brief.")
    weather = Agent(OpenAIChatModel("gpt-4o", provider=provider), name="weather", instructions="Be brief.")
    busy = Agent(OpenAIChatModel("busy", provider=provider), name="busy", instructions="Be brief.")

    @weather.tool_plain
    def get_weather(city: str) -> str:
        """Looks it up"""
        return "22 degrees"

    async def run():
        with application.scenario("chat"):
            await plain.run("Weather in Paris?", model_settings=settings)
        with application.scenario("stream"):
            async with plain.run_stream("Weather in Paris?") as answer:
                async for _ in answer.stream_text():
                    pass
        with application.scenario("tool"):
            await weather.run("Weather in Paris?")
        with application.scenario("error"):
            try:
                await busy.run("Weather in Paris?")
                raise AssertionError("the stand-in did not refuse")
            except ModelHTTPError as error:
                assert error.status_code == 429
        question, history = "Weather in Paris?", []
        for turn in ("first turn", "second turn"):
            with application.scenario(turn):
                said = await plain.run(question, message_history=history, conversation_id=SESSION)
            question, history = "And Rome?", said.all_messages()

    asyncio.run(run())


def litellm_scenarios(application, session):
    import litellm

    # It writes to standard output otherwise.
    litellm.suppress_debug_info = True
    common = CLIENT | {"model": "openai/gpt-4o"}
    system = {"role": "system", "content": "Be brief."}
    question = [system, {"role": "user", "content": "Weather in Paris?"}]
    with application.scenario("chat"):
        litellm.completion(**common, messages=question, temperature=0.2)
    # It tells of a stream from another thread, in a trace of its own.
    for _ in litellm.completion(**common, messages=question, stream=True, stream_options={"include_usage": True}):
        pass
    function = {"name": "get_weather", "description": "Looks it up", "parameters": PARAMETERS}
    tools = [{"type": "function", "function": function}]
    with application.scenario("tool"):
        asked = litellm.completion(**common, messages=question, tools=tools).choices[0].message
        result = {"role": "tool", "tool_call_id": asked.tool_calls[0].id, "content": "22 degrees"}
        litellm.completion(**common, messages=[*question, asked.model_dump(exclude_none=True), result], tools=tools)
    with application.scenario("error"):
        try:
            litellm.completion(**common | {"model": "openai/busy"}, messages=question)
            raise AssertionError("the stand-in did not refuse")
        except litellm.RateLimitError:
            pass
    turns = question
    for turn in ("first turn", "second turn"):
        with application.scenario(turn):
            said = litellm.completion(**common, messages=turns, litellm_session_id=SESSION).choices[0].message.content
        turns = [*turns, {"role": "assistant", "content": said}, {"role": "user", "content": "And Rome?"}]
    # Its callbacks run in threads of their own.
    from litellm.litellm_core_utils.thread_pool_executor import executor

    executor.shutdown(wait=True)
    application.done.append(("stream", application.counted.unexpected(application.done)))


def openinference_langchain(provider):
    from openinference.instrumentation.langchain import LangChainInstrumentor

    LangChainInstrumentor().instrument(tracer_provider=provider)


def openinference_langchain_and_openai(provider):
    openinference_langchain(provider)
    openinference_openai(provider)


def otel_openai(provider):
    from opentelemetry.instrumentation.openai_v2 import OpenAIInstrumentor

    OpenAIInstrumentor().instrument(tracer_provider=provider)


def otel_openai_events(provider):
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.instrumentation import openai_v2
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor

    logs = LoggerProvider()
    logs.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter(), schedule_delay_millis=60_000))
    if sys.argv[1] == "otel-openai-messages":
        # It still has the code for the convention of its earlier versions, but nothing to choose it by.
        openai_v2.is_experimental_mode = lambda: False
    openai_v2.OpenAIInstrumentor().instrument(tracer_provider=provider, logger_provider=logs)
    return logs


def pydantic_ai(provider):
    from pydantic_ai import Agent

    Agent.instrument_all()


def litellm(provider):
    import litellm

    litellm.callbacks = ["otel"]


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
    "openinference-responses": (openinference_openai, responses_scenarios, openinference_session),
    "openllmetry-responses": (openllmetry_openai, responses_scenarios, no_session),
    "openinference-anthropic": (openinference_anthropic, anthropic_scenarios, openinference_session),
    "openllmetry-openai": (openllmetry_openai, openai_scenarios, no_session),
    "openllmetry-anthropic": (openllmetry_anthropic, anthropic_scenarios, no_session),
    "otel-openai": (otel_openai, openai_scenarios, no_session),
    "otel-openai-messages": (otel_openai_events, openai_scenarios, no_session),
    "otel-openai-details": (otel_openai_events, openai_scenarios, no_session),
    "langchain": (openinference_langchain, langchain_scenarios, openinference_session),
    "langchain-and-openai": (openinference_langchain_and_openai, langchain_scenarios, openinference_session),
    "pydantic-ai": (pydantic_ai, pydantic_ai_scenarios, no_session),
    "litellm": (litellm, litellm_scenarios, no_session),
}


def main():
    switch_on, scenarios, session = LIBRARIES[sys.argv[1]]
    counted = Counted()
    provider = TracerProvider()
    provider.add_span_processor(counted)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(), schedule_delay_millis=60_000))
    trace.set_tracer_provider(provider)
    logs = switch_on(provider)
    application = Application(provider, counted)
    scenarios(application, session)
    # Either may come first, and the other long after.
    providers = [provider] if logs is None else [logs, provider]
    if sys.argv[2:] == ["logs-last"]:
        providers.reverse()
    for each in providers:
        if not each.force_flush(20_000):
            sys.exit("the exporter did not deliver everything")
    for each in providers:
        each.shutdown()
    done = [
        {"scenario": name, "trace_id": f"{trace_id:032x}", "spans": counted.spans[trace_id], "session": SESSION}
        for name, trace_id in application.done
    ]
    json.dump(done, sys.stdout)


main()
