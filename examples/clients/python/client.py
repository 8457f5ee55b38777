"""Sends a trace, follows, reads and lists it, all by generated code.

    python client.py [HOST:PORT]        localhost:4317 unless said otherwise; the key is PULSE_API_KEY

Prints what came back, as JSON.
"""

import json
import os
import pathlib
import secrets
import sys
import time

import grpc

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "generated"))

from pulse.trace.v1 import trace_ingest_pb2 as ingest  # noqa: E402
from pulse.trace.v1 import trace_ingest_pb2_grpc as ingest_grpc  # noqa: E402
from pulse.trace.v1 import trace_pb2 as trace  # noqa: E402
from pulse.trace.v1 import trace_query_pb2 as query  # noqa: E402
from pulse.trace.v1 import trace_query_pb2_grpc as query_grpc  # noqa: E402

SERVICE = "python-client"
# Longest wait for what was sent to be stored, in seconds.
PATIENCE = 30
MESSAGE = json.dumps([{"role": "user", "parts": [{"type": "text", "content": "Tea or coffee?"}]}])


def call(trace_id: bytes, name: str) -> trace.ResourceSpans:
    """A call of a model."""
    now = time.time_ns()
    span = trace.Span(
        trace_id=trace_id,
        span_id=secrets.token_bytes(8),
        name=name,
        kind=trace.SPAN_KIND_CLIENT,
        start_time_unix_nano=now - 1_000_000,
        end_time_unix_nano=now,
        gen_ai=trace.GenAi(
            operation="chat",
            provider="openai",
            request_model="gpt-4o",
            usage=trace.Usage(input_tokens=12, output_tokens=3),
            session_id=trace_id.hex(),
            input_messages=MESSAGE,
        ),
    )
    service = trace.KeyValue(key="service.name", value=trace.AnyValue(string_value=SERVICE))
    return trace.ResourceSpans(
        resource=trace.Resource(attributes=[service]),
        scope_spans=[trace.ScopeSpans(scope=trace.Scope(name="client.py"), spans=[span])],
    )


def stream(stub: ingest_grpc.TraceIngestStub, metadata: list, batches: list) -> list[int]:
    """Sends batches on one stream; answers the numbers of those that are durable.

    A client for production keeps what was not acknowledged, sends it again on another stream, and has
    no more on the way than Opened.credit allows; here a few batches are sent once.
    """
    requests = (
        ingest.StreamRequest(batch=ingest.Batch(resource_spans=spans, sequence=sequence))
        for sequence, spans in enumerate(batches, start=1)
    )
    answers = stub.Stream(requests, metadata=metadata, timeout=PATIENCE)
    return [it.acknowledged.sequence for it in answers if it.WhichOneof("event") == "acknowledged"]


def whole_trace(stub: query_grpc.TraceQueryStub, metadata: list, trace_id: bytes) -> list[trace.Span]:
    """The spans of a trace, page by page."""
    spans, page_token = [], ""
    while True:
        request = query.GetTraceRequest(trace_id=trace_id, page_size=1, page_token=page_token)
        page = stub.GetTrace(request, metadata=metadata, timeout=PATIENCE)
        for resource_spans in page.resource_spans:
            for scope_spans in resource_spans.scope_spans:
                spans += scope_spans.spans
        page_token = page.next_page_token
        if not page_token:
            return spans


def main() -> None:
    address = sys.argv[1] if len(sys.argv) > 1 else "localhost:4317"
    key = os.environ.get("PULSE_API_KEY")
    metadata = [("authorization", f"Bearer {key}")] if key else []
    trace_id = secrets.token_bytes(16)
    with grpc.insecure_channel(address) as channel:
        sends = ingest_grpc.TraceIngestStub(channel)
        asks = query_grpc.TraceQueryStub(channel)

        mine = query.Filter(service=SERVICE, session_id=trace_id.hex())
        tail = asks.Tail(query.TailRequest(filter=mine), metadata=metadata, timeout=PATIENCE)
        following = next(tail)

        spans = call(trace_id, "exported")
        answer = sends.Export(ingest.ExportRequest(resource_spans=[spans]), metadata=metadata)
        batches = [[call(trace_id, "streamed 1")], [call(trace_id, "streamed 2")]]
        acknowledged = stream(sends, metadata, batches)

        # What is told of is stored.
        told = []
        for event in tail:
            if event.WhichOneof("event") == "span":
                told.append(event.span.name)
            if len(told) == 3:
                tail.cancel()
                break

        stored = {span.name: span for span in whole_trace(asks, metadata, trace_id)}
        # What the collector adds: the cost, by its own prices.
        stored["exported"].gen_ai.ClearField("cost")
        traces = asks.ListTraces(query.ListTracesRequest(filter=mine), metadata=metadata)
        try:
            asks.GetTrace(query.GetTraceRequest(trace_id=secrets.token_bytes(16)), metadata=metadata)
            unknown = None
        except grpc.RpcError as error:
            unknown = error.code().name
    print(
        json.dumps(
            {
                "trace_id": trace_id.hex(),
                "following": following.WhichOneof("event"),
                "rejected": answer.partial_success.rejected_spans,
                "acknowledged": acknowledged,
                "told": sorted(told),
                "spans": sorted(stored),
                "is_as_sent": stored["exported"] == spans.scope_spans[0].spans[0],
                "traces": [it.trace_id.hex() for it in traces.traces],
                "tokens": [it.totals.input_tokens + it.totals.output_tokens for it in traces.traces],
                "unknown": unknown,
            }
        )
    )


if __name__ == "__main__":
    main()
