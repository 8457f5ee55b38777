// Measures a known set of things with the OpenTelemetry JavaScript SDK, sends it, and prints, as JSON, what
// was measured, in the words of the API.
//
// usage: node metrics.js proto|json ENDPOINT none|gzip
//
// Like logs.js. Totals are sent as deltas.

'use strict';

const { createRequire } = require('node:module');
const path = require('node:path');

const load = createRequire(path.join(process.env.EXPORTER_MODULES, 'package.json'));
const { resourceFromAttributes } = load('@opentelemetry/resources');
const {
  AggregationTemporality,
  AggregationType,
  DataPointType,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} = load('@opentelemetry/sdk-metrics');
const { CompressionAlgorithm, OTLPExporterBase } = load('@opentelemetry/otlp-exporter-base');
const { convertLegacyHttpOptions, createOtlpHttpExportDelegate } = load('@opentelemetry/otlp-exporter-base/node-http');
const { JsonMetricsSerializer, MetricsExporterMetricsHelper, ProtobufMetricsSerializer } =
  load('@opentelemetry/otlp-transformer');

function exporter(protocol, endpoint, gzip) {
  const compression = gzip ? CompressionAlgorithm.GZIP : CompressionAlgorithm.NONE;
  const [serializer, type] = {
    proto: [ProtobufMetricsSerializer, 'application/x-protobuf'],
    json: [JsonMetricsSerializer, 'application/json'],
  }[protocol];
  const options = { url: `${endpoint}/v1/metrics`, compression };
  const http = convertLegacyHttpOptions(options, 'METRICS', 'v1/metrics', { 'Content-Type': type });
  const delegate = createOtlpHttpExportDelegate(
    http,
    serializer,
    'otlp_http_metric_exporter',
    MetricsExporterMetricsHelper,
  );
  const base = new OTLPExporterBase(delegate);
  base.selectAggregationTemporality = () => AggregationTemporality.DELTA;
  return base;
}

const types = {
  [DataPointType.GAUGE]: 'gauge',
  [DataPointType.SUM]: 'sum',
  [DataPointType.HISTOGRAM]: 'histogram',
  [DataPointType.EXPONENTIAL_HISTOGRAM]: 'exponential_histogram',
};

function point({ attributes, value }) {
  if (typeof value === 'number') {
    return { attributes, value };
  }
  const { count, sum, min, max } = value;
  return { attributes, count, sum, min, max };
}

function told(metric) {
  const isTotal = metric.dataPointType !== DataPointType.GAUGE;
  return {
    name: metric.descriptor.name,
    type: types[metric.dataPointType],
    unit: metric.descriptor.unit || null,
    description: metric.descriptor.description || null,
    temporality: isTotal ? 'delta' : null,
    is_monotonic: metric.isMonotonic ?? false,
    points: metric.dataPoints.map(point),
  };
}

async function main() {
  const [protocol, endpoint, compression] = process.argv.slice(2);
  const memory = new InMemoryMetricExporter(AggregationTemporality.DELTA);
  const exportIntervalMillis = 3_600_000;
  const readers = [memory, exporter(protocol, endpoint, compression === 'gzip')].map(
    (it) => new PeriodicExportingMetricReader({ exporter: it, exportIntervalMillis }),
  );
  const provider = new MeterProvider({
    resource: resourceFromAttributes({ 'service.name': 'node-metrics', 'deployment.environment.name': 'test' }),
    readers,
    views: [{ instrumentName: 'app.fine', aggregation: { type: AggregationType.EXPONENTIAL_HISTOGRAM } }],
  });
  const meter = provider.getMeter('app.meter', '1.0');
  const requests = meter.createCounter('app.requests', { unit: '{request}', description: 'Requests seen.' });
  requests.add(3, { route: '/a', number: 7 });
  requests.add(4, { route: '/a', number: 7 });
  requests.add(2.5, { route: '/b' });
  meter.createGauge('app.heat').record(-3.25, { sensor: 'Küche' });
  const usage = meter.createHistogram('gen_ai.client.token.usage', { unit: '{token}' });
  usage.record(100, { 'gen_ai.request.model': 'gpt-5', 'gen_ai.token.type': 'input' });
  usage.record(50, { 'gen_ai.request.model': 'gpt-5', 'gen_ai.token.type': 'input' });
  const fine = meter.createHistogram('app.fine', { unit: 'ms' });
  for (let number = 1; number <= 100; number++) {
    fine.record(number);
  }
  await provider.forceFlush();
  const metrics = memory.getMetrics().flatMap((it) => it.scopeMetrics.flatMap((scope) => scope.metrics));
  process.stdout.write(JSON.stringify(metrics.map(told)));
  await provider.shutdown();
}

main().catch((error) => {
  console.error(`failed: ${error.stack}`);
  process.exitCode = 1;
});
