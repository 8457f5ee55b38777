// Sends a known set of log records with the OpenTelemetry JavaScript SDK and prints, as JSON, what they
// hold, in the words of the API.
//
// usage: node logs.js proto|json ENDPOINT none|gzip
//
// Like export.js. The SDK's packages of exporters of logs hold little more than what is put together
// here from its encoders and its transport, which come with those of spans.

'use strict';

const { createRequire } = require('node:module');
const path = require('node:path');

const load = createRequire(path.join(process.env.EXPORTER_MODULES, 'package.json'));
const api = load('@opentelemetry/api');
const { resourceFromAttributes } = load('@opentelemetry/resources');
const { BatchLogRecordProcessor, InMemoryLogRecordExporter, LoggerProvider, SimpleLogRecordProcessor } =
  load('@opentelemetry/sdk-logs');
const { CompressionAlgorithm, OTLPExporterBase } = load('@opentelemetry/otlp-exporter-base');
const { convertLegacyHttpOptions, createOtlpHttpExportDelegate } = load('@opentelemetry/otlp-exporter-base/node-http');
const { JsonLogsSerializer, LogsExporterMetricsHelper, ProtobufLogsSerializer } = load('@opentelemetry/otlp-transformer');

function exporter(protocol, endpoint, gzip) {
  const compression = gzip ? CompressionAlgorithm.GZIP : CompressionAlgorithm.NONE;
  const [serializer, type] = {
    proto: [ProtobufLogsSerializer, 'application/x-protobuf'],
    json: [JsonLogsSerializer, 'application/json'],
  }[protocol];
  const options = { url: `${endpoint}/v1/logs`, compression };
  const http = convertLegacyHttpOptions(options, 'LOGS', 'v1/logs', { 'Content-Type': type });
  const delegate = createOtlpHttpExportDelegate(http, serializer, 'otlp_http_log_exporter', LogsExporterMetricsHelper);
  return new OTLPExporterBase(delegate);
}

const nanos = ([seconds, rest]) => (BigInt(seconds) * 1_000_000_000n + BigInt(rest)).toString();

function told(record) {
  return {
    time_unix_nano: nanos(record.hrTime),
    observed_time_unix_nano: nanos(record.hrTimeObserved),
    severity_number: record.severityNumber ?? null,
    severity_text: record.severityText ?? null,
    name: record.eventName ?? null,
    body: record.body ?? null,
    attributes: record.attributes,
    trace_id: record.spanContext?.traceId ?? null,
    span_id: record.spanContext?.spanId ?? null,
    scope: record.instrumentationScope.name,
  };
}

async function main() {
  const [protocol, endpoint, compression] = process.argv.slice(2);
  const memory = new InMemoryLogRecordExporter();
  const batch = new BatchLogRecordProcessor({ exporter: exporter(protocol, endpoint, compression === 'gzip') });
  const provider = new LoggerProvider({
    resource: resourceFromAttributes({ 'service.name': 'node-logs', 'deployment.environment.name': 'test' }),
    processors: [new SimpleLogRecordProcessor({ exporter: memory }), batch],
  });
  const logger = provider.getLogger('app.events', '1.0');
  logger.emit({
    timestamp: new Date(1_700_000_000_123),
    severityNumber: 14,
    severityText: 'warn',
    body: { nested: { list: [1, 'two', true], empty: {} }, text: 'Ünïcode' },
    attributes: { number: 7, ratio: 0.5, texts: ['a', ''] },
    eventName: 'app.warned',
  });
  const span = { traceId: '0af7651916cd43dd8448eb211c80319c', spanId: '00f067aa0ba902b7', traceFlags: 1 };
  const context = api.trace.setSpanContext(api.ROOT_CONTEXT, span);
  logger.emit({ body: 'within a span', attributes: { 'session.id': 's' }, context });
  await provider.forceFlush();
  await provider.shutdown();
  process.stdout.write(JSON.stringify(memory.getFinishedLogRecords().map(told)));
}

main().catch((error) => {
  console.error(`failed: ${error.stack}`);
  process.exitCode = 1;
});
