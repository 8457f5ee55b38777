// Sends a known set of spans with the OpenTelemetry JavaScript SDK and prints, as JSON, what they
// hold.
//
// usage: node export.js grpc|proto|json ENDPOINT none|gzip
//
// What is printed comes from the finished spans in memory, not from the exporter, so that the
// encoder, the wire and the daemon are all under test. Node resolves packages beside the script,
// so the tests give the directory they are installed in as $EXPORTER_MODULES.

'use strict';

const { createRequire } = require('node:module');
const path = require('node:path');

const load = createRequire(path.join(process.env.EXPORTER_MODULES, 'package.json'));
const api = load('@opentelemetry/api');
const { resourceFromAttributes } = load('@opentelemetry/resources');
const { BatchSpanProcessor, InMemorySpanExporter, NodeTracerProvider, SimpleSpanProcessor } =
  load('@opentelemetry/sdk-trace-node');
const { CompressionAlgorithm } = load('@opentelemetry/otlp-exporter-base');

function exporter(protocol, endpoint, gzip) {
  const compression = gzip ? CompressionAlgorithm.GZIP : CompressionAlgorithm.NONE;
  const packages = { grpc: 'grpc', proto: 'proto', json: 'http' };
  const { OTLPTraceExporter } = load(`@opentelemetry/exporter-trace-otlp-${packages[protocol]}`);
  const url = protocol === 'grpc' ? endpoint : `${endpoint}/v1/traces`;
  return new OTLPTraceExporter({ url, compression });
}

// The SDK sends whole numbers as integers.
function value(item) {
  if (typeof item === 'boolean') return { bool: item };
  if (typeof item === 'string') return { string: item };
  if (typeof item === 'number') {
    return Number.isInteger(item) ? { int: BigInt(item).toString() } : { double: item };
  }
  if (item instanceof Uint8Array) return { bytes: Buffer.from(item).toString('hex') };
  if (Array.isArray(item)) return { array: item.map(value) };
  throw new TypeError(`no OTLP value for ${typeof item}`);
}

const attributes = (map) =>
  Object.fromEntries(Object.entries(map ?? {}).map(([key, item]) => [key, value(item)]));

const nanos = ([seconds, rest]) => (BigInt(seconds) * 1_000_000_000n + BigInt(rest)).toString();

function record(span) {
  const context = span.spanContext();
  return {
    traceId: context.traceId,
    spanId: context.spanId,
    parentSpanId: span.parentSpanContext?.spanId ?? '',
    traceState: context.traceState?.serialize() ?? '',
    name: span.name,
    kind: span.kind + 1,
    start: nanos(span.startTime),
    end: nanos(span.endTime),
    status: { code: span.status.code, message: span.status.message ?? '' },
    attributes: attributes(span.attributes),
    events: span.events.map((event) => ({
      time: nanos(event.time),
      name: event.name,
      attributes: attributes(event.attributes),
    })),
    links: span.links.map((link) => ({
      traceId: link.context.traceId,
      spanId: link.context.spanId,
      attributes: attributes(link.attributes),
    })),
    resource: attributes(span.resource.attributes),
    scope: {
      name: span.instrumentationScope.name,
      version: span.instrumentationScope.version ?? '',
      attributes: {},
    },
  };
}

function sendWebSpans(provider) {
  const tracer = provider.getTracer('web.server', '1.2.3');
  const server = tracer.startSpan('GET /überraschung/{id}', {
    kind: api.SpanKind.SERVER,
    attributes: {
      'http.request.method': 'GET',
      'http.route': '/überraschung/{id}',
      'http.response.status_code': 200,
      text: 'zwölf Boxkämpfer 拳闘 🥊 \u0000 \u202e',
      empty: '',
      yes: true,
      no: false,
      zero: 0,
      largest: Number.MAX_SAFE_INTEGER,
      smallest: Number.MIN_SAFE_INTEGER,
      ratio: 0.1,
      tiny: 5e-324,
      texts: ['a', '', 'ß'],
      numbers: [1, -1],
      ratios: [0.5, -1.5],
      flags: [true, false],
      'session.id': 'session-node',
      'user.id': 'user-1',
    },
  });
  server.addEvent('cache miss', { key: 'k', tries: 3 });
  server.addEvent('no attributes');
  const inside = api.trace.setSpan(api.context.active(), server);
  const links = [{ context: server.spanContext(), attributes: { reason: 'same request' } }];
  const query = tracer.startSpan('SELECT', { kind: api.SpanKind.CLIENT, links }, inside);
  query.setAttributes({ 'db.system.name': 'postgresql', 'db.operation.name': 'SELECT' });
  query.recordException(new RangeError('Zeile fehlt: 行がありません'));
  query.setStatus({ code: api.SpanStatusCode.ERROR, message: 'Zeile fehlt' });
  query.end();
  server.setStatus({ code: api.SpanStatusCode.OK });
  server.end();
}

function sendModelSpans(provider) {
  const remote = {
    traceId: '0af7651916cd43dd8448eb211c80319d',
    spanId: '00f067aa0ba902b7',
    traceFlags: api.TraceFlags.SAMPLED,
    traceState: api.createTraceState('vendor=opaque-1,other=2'),
    isRemote: true,
  };
  const parent = api.trace.setSpanContext(api.ROOT_CONTEXT, remote);
  const chat = provider.getTracer('llm.client').startSpan(
    'chat gpt-x',
    {
      kind: api.SpanKind.CLIENT,
      attributes: {
        'gen_ai.operation.name': 'chat',
        'gen_ai.provider.name': 'openai',
        'gen_ai.request.model': 'gpt-x',
        'gen_ai.response.model': 'gpt-x-2026',
        'gen_ai.usage.input_tokens': 1234,
        'gen_ai.usage.output_tokens': 56,
        'gen_ai.request.temperature': 0.7,
        'gen_ai.response.finish_reasons': ['stop'],
        'gen_ai.input.messages': JSON.stringify([
          { role: 'user', parts: [{ type: 'text', content: 'Ünïcode '.repeat(400) }] },
        ]),
        'session.id': 'session-node',
      },
    },
    parent,
  );
  chat.end();
}

async function main() {
  const [protocol, endpoint, compression] = process.argv.slice(2);
  const memory = new InMemorySpanExporter();
  const providers = [['web', sendWebSpans], ['llm', sendModelSpans]].map(([service, send]) => {
    const provider = new NodeTracerProvider({
      resource: resourceFromAttributes({
        'service.name': `node-${service}`,
        'service.version': '9.8',
        'host.cpus': 4,
      }),
      spanProcessors: [
        new SimpleSpanProcessor(memory),
        new BatchSpanProcessor(exporter(protocol, endpoint, compression === 'gzip')),
      ],
    });
    send(provider);
    return provider;
  });
  // A failed export rejects here.
  for (const provider of providers) await provider.forceFlush();
  const spans = memory.getFinishedSpans().map(record);
  for (const provider of providers) await provider.shutdown();
  process.stdout.write(JSON.stringify(spans));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
