"""Measures a known set of things with the OpenTelemetry Python SDK, sends it, and prints, as JSON, what was
measured, in the words of the API.

usage: metrics.py grpc|http ENDPOINT none|gzip

As with export.py, what is printed comes from a reader in memory, not from the exporter.
"""

import json
import sys

from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource

TYPES = {
    "Gauge": "gauge",
    "Sum": "sum",
    "Histogram": "histogram",
    "ExponentialHistogram": "exponential_histogram",
}


def exporter(protocol, endpoint, compression):
    if protocol == "grpc":
        from grpc import Compression
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter

        chosen = Compression.Gzip if compression == "gzip" else Compression.NoCompression
        return OTLPMetricExporter(endpoint=endpoint, insecure=True, compression=chosen)
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

    chosen = Compression.Gzip if compression == "gzip" else Compression.NoCompression
    return OTLPMetricExporter(endpoint=endpoint + "/v1/metrics", compression=chosen)


def point(data):
    told = {"attributes": dict(data.attributes or {})}
    if hasattr(data, "value"):
        return told | {"value": data.value}
    return told | {"count": data.count, "sum": data.sum, "min": data.min, "max": data.max}


def told(metric):
    data = metric.data
    temporality = getattr(data, "aggregation_temporality", None)
    return {
        "name": metric.name,
        "type": TYPES[type(data).__name__],
        "unit": metric.unit or None,
        "description": metric.description or None,
        "temporality": {1: "delta", 2: "cumulative"}.get(temporality),
        "is_monotonic": getattr(data, "is_monotonic", False),
        "points": [point(it) for it in data.data_points],
    }


def measure(provider):
    meter = provider.get_meter("app.meter", "1.0")
    requests = meter.create_counter("app.requests", unit="{request}", description="Requests seen.")
    for number in range(7):
        requests.add(number, {"route": "/a", "cached": number % 2 == 0})
    requests.add(2.5, {"route": "/b"})
    open_ones = meter.create_up_down_counter("app.open")
    open_ones.add(5)
    open_ones.add(-2)
    meter.create_observable_gauge("app.heat", [lambda _: [Observation(-3.25, {"sensor": "Küche"})]])
    usage = meter.create_histogram("gen_ai.client.token.usage", unit="{token}")
    duration = meter.create_histogram("gen_ai.client.operation.duration", unit="s")
    for model, tokens in (("gpt-5", 100), ("gpt-5", 300), ("claude-opus", 1000)):
        of_call = {"gen_ai.operation.name": "chat", "gen_ai.request.model": model}
        usage.record(tokens, of_call | {"gen_ai.token.type": "input"})
        usage.record(tokens / 10, of_call | {"gen_ai.token.type": "output"})
        duration.record(tokens / 100, of_call)
    fine = meter.create_histogram("app.fine", unit="ms")
    for number in range(1, 101):
        fine.record(number)


def main():
    protocol, endpoint, compression = sys.argv[1:4]
    memory = InMemoryMetricReader()
    periodic = PeriodicExportingMetricReader(
        exporter(protocol, endpoint, compression), export_interval_millis=3_600_000
    )
    provider = MeterProvider(
        metric_readers=[memory, periodic],
        resource=Resource.create({"service.name": "python-metrics", "deployment.environment.name": "test"}),
        views=[View(instrument_name="app.fine", aggregation=ExponentialBucketHistogramAggregation())],
    )
    measure(provider)
    data = memory.get_metrics_data()
    metrics = [
        told(metric)
        for of_resource in data.resource_metrics
        for of_scope in of_resource.scope_metrics
        for metric in of_scope.metrics
    ]
    if not provider.force_flush(20_000):
        sys.exit("the exporter did not deliver its points")
    json.dump(metrics, sys.stdout)
    sys.stdout.flush()
    provider.shutdown()


main()
