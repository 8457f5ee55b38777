"""Sends a known set of spans with the OpenTelemetry Python SDK and prints, as JSON, what they hold.

usage: export.py grpc|http ENDPOINT none|gzip

What is printed comes from the finished spans in memory, not from the exporter, so that the encoder,
the wire and the daemon are all under test.
"""

import json
import sys

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
)


def exporter(protocol, endpoint, compression):
    if protocol == "grpc":
        from grpc import Compression
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

        chosen = Compression.Gzip if compression == "gzip" else Compression.NoCompression
        return OTLPSpanExporter(endpoint=endpoint, insecure=True, compression=chosen)
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    chosen = Compression.Gzip if compression == "gzip" else Compression.NoCompression
    return OTLPSpanExporter(endpoint=endpoint + "/v1/traces", compression=chosen)


def value(item):
    if isinstance(item, bool):
        return {"bool": item}
    if isinstance(item, str):
        return {"string": item}
    if isinstance(item, int):
        return {"int": str(item)}
    if isinstance(item, float):
        return {"double": item}
    if isinstance(item, bytes):
        return {"bytes": item.hex()}
    if isinstance(item, (list, tuple)):
        return {"array": [value(element) for element in item]}
    raise TypeError(f"no OTLP value for {type(item)}")


def attributes(mapping):
    return {key: value(item) for key, item in (mapping or {}).items()}


def record(span):
    context = span.context
    return {
        "traceId": f"{context.trace_id:032x}",
        "spanId": f"{context.span_id:016x}",
        "parentSpanId": f"{span.parent.span_id:016x}" if span.parent else "",
        "traceState": context.trace_state.to_header(),
        "name": span.name,
        "kind": {
            SpanKind.INTERNAL: 1,
            SpanKind.SERVER: 2,
            SpanKind.CLIENT: 3,
            SpanKind.PRODUCER: 4,
            SpanKind.CONSUMER: 5,
        }[span.kind],
        "start": str(span.start_time),
        "end": str(span.end_time),
        "status": {"code": span.status.status_code.value, "message": span.status.description or ""},
        "attributes": attributes(span.attributes),
        "events": [
            {"time": str(event.timestamp), "name": event.name, "attributes": attributes(event.attributes)}
            for event in span.events
        ],
        "links": [
            {
                "traceId": f"{link.context.trace_id:032x}",
                "spanId": f"{link.context.span_id:016x}",
                "attributes": attributes(link.attributes),
            }
            for link in span.links
        ],
        "resource": attributes(span.resource.attributes),
        "scope": {
            "name": span.instrumentation_scope.name,
            "version": span.instrumentation_scope.version or "",
            "attributes": attributes(span.instrumentation_scope.attributes),
        },
    }


def send_web_spans(provider):
    tracer = provider.get_tracer("web.server", "1.2.3", attributes={"scope.key": "scope value"})
    with tracer.start_as_current_span("GET /überraschung/{id}", kind=SpanKind.SERVER) as server:
        server.set_attributes(
            {
                "http.request.method": "GET",
                "http.route": "/überraschung/{id}",
                "http.response.status_code": 200,
                "text": "zwölf Boxkämpfer 拳闘 🥊 \u0000 \u202e",
                "empty": "",
                "yes": True,
                "no": False,
                "zero": 0,
                "largest": 2**63 - 1,
                "smallest": -(2**63),
                "ratio": 0.1,
                "tiny": 5e-324,
                "whole": 3.0,
                "texts": ["a", "", "ß"],
                "numbers": [1, -1, 2**53 + 1],
                "ratios": [0.5, -1.5],
                "flags": [True, False],
                "session.id": "session-python",
                "user.id": "user-1",
            }
        )
        server.add_event("cache miss", {"key": "k", "tries": 3}, timestamp=1_700_000_000_123_456_789)
        server.add_event("no attributes")
        link = Link(server.get_span_context(), {"reason": "same request"})
        with tracer.start_as_current_span("SELECT", kind=SpanKind.CLIENT, links=[link]) as query:
            query.set_attributes({"db.system.name": "postgresql", "db.operation.name": "SELECT"})
            try:
                raise ValueError("Zeile fehlt: 行がありません")
            except ValueError as error:
                query.record_exception(error)
                query.set_status(Status(StatusCode.ERROR, "Zeile fehlt"))
        server.set_status(Status(StatusCode.OK))


def send_model_spans(provider):
    remote = SpanContext(
        trace_id=0x0AF7651916CD43DD8448EB211C80319C,
        span_id=0x00F067AA0BA902B7,
        is_remote=True,
        trace_flags=TraceFlags(1),
        trace_state=TraceState([("vendor", "opaque-1"), ("other", "2")]),
    )
    parent = trace.set_span_in_context(NonRecordingSpan(remote))
    tracer = provider.get_tracer("llm.client")
    with tracer.start_as_current_span("chat gpt-x", context=parent, kind=SpanKind.CLIENT) as chat:
        chat.set_attributes(
            {
                "gen_ai.operation.name": "chat",
                "gen_ai.provider.name": "openai",
                "gen_ai.request.model": "gpt-x",
                "gen_ai.response.model": "gpt-x-2026",
                "gen_ai.usage.input_tokens": 1234,
                "gen_ai.usage.output_tokens": 56,
                "gen_ai.request.temperature": 0.7,
                "gen_ai.response.finish_reasons": ["stop"],
                "gen_ai.input.messages": json.dumps(
                    [{"role": "user", "parts": [{"type": "text", "content": "Ünïcode " * 400}]}],
                    ensure_ascii=False,
                ),
                "session.id": "session-python",
            }
        )


def main():
    protocol, endpoint, compression = sys.argv[1:4]
    memory = InMemorySpanExporter()
    providers = []
    for service, send in (("web", send_web_spans), ("llm", send_model_spans)):
        resource = Resource.create(
            {"service.name": f"python-{service}", "service.version": "9.8", "host.cpus": 4}
        )
        provider = TracerProvider(resource=resource)
        provider.add_span_processor(SimpleSpanProcessor(memory))
        provider.add_span_processor(BatchSpanProcessor(exporter(protocol, endpoint, compression)))
        send(provider)
        providers.append(provider)
    for provider in providers:
        if not provider.force_flush(20_000):
            sys.exit("the exporter did not deliver its spans")
        provider.shutdown()
    json.dump([record(span) for span in memory.get_finished_spans()], sys.stdout)


main()
