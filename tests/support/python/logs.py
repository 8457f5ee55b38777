"""Sends a known set of log records with the OpenTelemetry Python SDK and prints, as JSON, what they
hold, in the words of the API.

usage: logs.py grpc|http ENDPOINT none|gzip

As with export.py, what is printed comes from the records in memory, not from the exporter.
"""

import json
import logging
import sys

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs.export import (
    BatchLogRecordProcessor,
    InMemoryLogRecordExporter,
    SimpleLogRecordProcessor,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider


def exporter(protocol, endpoint, compression):
    if protocol == "grpc":
        from grpc import Compression
        from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter

        chosen = Compression.Gzip if compression == "gzip" else Compression.NoCompression
        return OTLPLogExporter(endpoint=endpoint, insecure=True, compression=chosen)
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter

    chosen = Compression.Gzip if compression == "gzip" else Compression.NoCompression
    return OTLPLogExporter(endpoint=endpoint + "/v1/logs", compression=chosen)


def told(data):
    record = data.log_record
    scope = data.instrumentation_scope
    return {
        "time_unix_nano": str(record.timestamp) if record.timestamp else None,
        "observed_time_unix_nano": str(record.observed_timestamp),
        "severity_number": record.severity_number.value if record.severity_number else None,
        "severity_text": record.severity_text,
        "name": record.event_name,
        "body": record.body,
        "attributes": dict(record.attributes or {}),
        "trace_id": f"{record.trace_id:032x}" if record.trace_id else None,
        "span_id": f"{record.span_id:016x}" if record.span_id else None,
        "scope": scope.name,
    }


def send(provider):
    logger = provider.get_logger("app.events", "1.0")
    logger.emit(
        LogRecord(
            timestamp=1_700_000_000_123_456_789,
            severity_number=SeverityNumber.WARN2,
            severity_text="warn",
            body={"nested": {"list": [1, "two", True, None], "empty": {}}, "text": "Ünïcode \u0000"},
            attributes={"largest": 2**53, "ratio": 0.5, "texts": ["a", ""], "user.id": "u"},
            event_name="app.warned",
        )
    )
    tracer = TracerProvider().get_tracer("app")
    with tracer.start_as_current_span("work"):
        logger.emit(LogRecord(body="within a span", attributes={"session.id": "s"}))
    # As an application does it that has never heard of events.
    lines = logging.getLogger("app.lines")
    lines.addHandler(LoggingHandler(logger_provider=provider))
    lines.propagate = False
    try:
        raise ValueError("Zeile fehlt: 行がありません")
    except ValueError:
        lines.exception("it failed after %d tries", 3)


def main():
    protocol, endpoint, compression = sys.argv[1:4]
    memory = InMemoryLogRecordExporter()
    resource = Resource.create({"service.name": "python-logs", "deployment.environment.name": "test"})
    provider = LoggerProvider(resource=resource)
    provider.add_log_record_processor(SimpleLogRecordProcessor(memory))
    provider.add_log_record_processor(BatchLogRecordProcessor(exporter(protocol, endpoint, compression)))
    send(provider)
    if not provider.force_flush(20_000):
        sys.exit("the exporter did not deliver its records")
    provider.shutdown()
    json.dump([told(data) for data in memory.get_finished_logs()], sys.stdout)


main()
