// Calls the stand-in of OpenAI's API through the Vercel AI SDK, and sends the spans that it makes
// with the OTLP exporter of the JavaScript SDK.
//
// usage: model_apis.py node genai.mjs ai-sdk|ai-sdk-legacy|ai-sdk-4|ai-sdk-5|ai-sdk-6
//
// Like tests/support/python/genai.py: the environment says where to send and as which service, and
// a JSON list of what was done is printed. `ai-sdk` is the integration with the attributes of the
// GenAI conventions, `ai-sdk-legacy` the one with the `ai.*` attributes of earlier versions; the others
// are those versions.

import { createRequire } from 'node:module';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

// Packages are resolved from the directory they are installed in, not from the script's.
const { resolve } = createRequire(path.join(process.env.EXPORTER_MODULES, 'package.json'));
const load = (name) => import(pathToFileURL(resolve(name)));
const { trace } = (await load('@opentelemetry/api')).default;
const { OTLPTraceExporter } = (await load('@opentelemetry/exporter-trace-otlp-proto')).default;
const { BatchSpanProcessor, NodeTracerProvider } = (await load('@opentelemetry/sdk-trace-node')).default;
const { resourceFromAttributes } = (await load('@opentelemetry/resources')).default;
const [, version] = process.argv[2].match(/^ai-sdk-(\d)$/) ?? [];
const { createOpenAI } = await load(version ? `openai-${version}` : '@ai-sdk/openai');
const { generateText, jsonSchema, registerTelemetry, stepCountIs, streamText, tool } = await load(
  version ? `ai-${version}` : 'ai',
);

const SESSION = `talk-${process.pid}`;
const spans = new Map();
const counter = {
  onStart() {},
  onEnd(span) {
    const { traceId } = span.spanContext();
    spans.set(traceId, (spans.get(traceId) ?? 0) + 1);
  },
  async forceFlush() {},
  async shutdown() {},
};
const provider = new NodeTracerProvider({
  resource: resourceFromAttributes({ 'service.name': process.env.OTEL_SERVICE_NAME }),
  spanProcessors: [counter, new BatchSpanProcessor(new OTLPTraceExporter())],
});
provider.register();
const tracer = trace.getTracer('application');
if (!version) {
  const { LegacyOpenTelemetry, OpenTelemetry } = await load('@ai-sdk/otel');
  registerTelemetry(process.argv[2] === 'ai-sdk' ? new OpenTelemetry() : new LegacyOpenTelemetry());
}

const done = [];
async function scenario(name, run) {
  await tracer.startActiveSpan(name, async (span) => {
    done.push({ scenario: name, traceId: span.spanContext().traceId });
    await run();
    span.end();
  });
}

// Version 4 asks for the tokens of a stream only where it is told that it may.
const openai = createOpenAI({ baseURL: process.env.OPENAI_BASE_URL, compatibility: 'strict' });
const ask = (name, rest) => ({
  model: openai.chat(name),
  maxRetries: 0,
  ...(version
    ? { system: 'Be brief.', experimental_telemetry: { isEnabled: true, functionId: 'weather' } }
    : { instructions: 'Be brief.', telemetry: { functionId: 'weather' } }),
  ...rest,
});
const schema = jsonSchema({ type: 'object', properties: { city: { type: 'string' } }, required: ['city'] });
const weather = (rest) =>
  tool({ description: 'Looks it up', ...(version === '4' ? { parameters: schema } : { inputSchema: schema }), ...rest });
const question = { role: 'user', content: 'Weather in Paris?' };

await scenario('chat', () => generateText(ask('gpt-4o', { messages: [question], temperature: 0.2 })));
await scenario('stream', async () => {
  for await (const _ of streamText(ask('gpt-4o', { messages: [question] })).textStream);
});
await scenario('tool', () => {
  const tools = { get_weather: weather({ execute: async () => '22 degrees' }) };
  const steps = version === '4' ? { maxSteps: 3 } : { stopWhen: stepCountIs(3) };
  return generateText(ask('gpt-4o', { messages: [question], tools, ...steps }));
});
await scenario('stream tool', async () => {
  const { fullStream } = streamText(ask('gpt-4o', { messages: [question], tools: { get_weather: weather() } }));
  for await (const _ of fullStream);
});
await scenario('error', async () => {
  const refused = await generateText(ask('busy', { messages: [question] })).then(
    () => undefined,
    (error) => error.statusCode,
  );
  if (refused !== 429) throw new Error(`the stand-in did not refuse: ${refused}`);
});
let turns = [question];
for (const turn of ['first turn', 'second turn']) {
  await scenario(turn, async () => {
    const { text } = await generateText(ask('gpt-4o', { messages: turns }));
    turns = [...turns, { role: 'assistant', content: text }, { role: 'user', content: 'And Rome?' }];
  });
}

await provider.forceFlush();
await provider.shutdown();
const told = done.map(({ scenario, traceId }) => ({
  scenario,
  trace_id: traceId,
  spans: spans.get(traceId),
  session: SESSION,
}));
process.stdout.write(JSON.stringify(told));
