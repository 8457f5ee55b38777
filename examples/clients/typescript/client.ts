// Sends a trace, follows, reads and lists it, by types generated from the definition.
//
//   npm start -- [HOST:PORT]        localhost:4317 unless said otherwise; the key is PULSE_API_KEY
//
// Prints what came back, as JSON.

import { randomBytes } from "node:crypto";
import { join } from "node:path";

import * as grpc from "@grpc/grpc-js";
import * as loader from "@grpc/proto-loader";

import type { ProtoGrpcType as IngestTypes } from "./generated/trace_ingest";
import type { ProtoGrpcType as QueryTypes } from "./generated/trace_query";
import type { GetTraceResponse__Output } from "./generated/pulse/trace/v1/GetTraceResponse";
import type { ListTracesResponse__Output } from "./generated/pulse/trace/v1/ListTracesResponse";
import type { ExportResponse__Output } from "./generated/pulse/trace/v1/ExportResponse";
import type { ResourceSpans } from "./generated/pulse/trace/v1/ResourceSpans";
import type { Span__Output } from "./generated/pulse/trace/v1/Span";
import type { TraceIngestClient } from "./generated/pulse/trace/v1/TraceIngest";
import type { TraceQueryClient } from "./generated/pulse/trace/v1/TraceQuery";

const SERVICE = "typescript-client";
// Longest wait for what was sent to be stored, in ms.
const PATIENCE_MS = 30_000;
const MESSAGE = JSON.stringify([
  { role: "user", parts: [{ type: "text", content: "Tea or coffee?" }] },
]);

// The program is compiled to dist/.
const PROTO = join(__dirname, "../../../../proto");
const definition = loader.loadSync(
  ["pulse/trace/v1/trace_ingest.proto", "pulse/trace/v1/trace_query.proto"],
  { includeDirs: [PROTO], keepCase: true, longs: String, enums: String, defaults: true, oneofs: true },
);
const loaded = grpc.loadPackageDefinition(definition) as unknown as IngestTypes & QueryTypes;

/** A call of a model. */
function call(traceId: Buffer, name: string): ResourceSpans {
  const now = BigInt(Date.now()) * 1_000_000n;
  const span = {
    trace_id: traceId,
    span_id: randomBytes(8),
    name,
    kind: "SPAN_KIND_CLIENT" as const,
    start_time_unix_nano: (now - 1_000_000n).toString(),
    end_time_unix_nano: now.toString(),
    gen_ai: {
      operation: "chat",
      provider: "openai",
      request_model: "gpt-4o",
      usage: { input_tokens: 12, output_tokens: 3 },
      session_id: traceId.toString("hex"),
      input_messages: MESSAGE,
    },
  };
  return {
    resource: { attributes: [{ key: "service.name", value: { string_value: SERVICE } }] },
    scope_spans: [{ scope: { name: "client.ts" }, spans: [span] }],
  };
}

/** The answer to a unary call, as a promise. */
function answer<T>(ask: (done: (error: grpc.ServiceError | null, answer?: T) => void) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    ask((error, answer) => (error || !answer ? reject(error) : resolve(answer)));
  });
}

/**
 * Sends batches on one stream; answers the numbers of those that are durable. A client for production
 * keeps what was not acknowledged, sends it again on another stream, and has no more on the way than
 * Opened.credit allows; here a few batches are sent once.
 */
function stream(client: TraceIngestClient, metadata: grpc.Metadata, batches: ResourceSpans[][]): Promise<number[]> {
  return new Promise((resolve, reject) => {
    const acknowledged: number[] = [];
    const call = client.Stream(metadata, { deadline: Date.now() + PATIENCE_MS });
    call.on("data", (message) => {
      if (message.acknowledged) {
        acknowledged.push(Number(message.acknowledged.sequence));
      }
    });
    call.on("error", reject);
    call.on("end", () => resolve(acknowledged));
    batches.forEach((resource_spans, index) => call.write({ batch: { resource_spans, sequence: index + 1 } }));
    call.end();
  });
}

/** The spans of a trace, page by page. */
async function wholeTrace(client: TraceQueryClient, metadata: grpc.Metadata, traceId: Buffer): Promise<Span__Output[]> {
  const spans: Span__Output[] = [];
  let page_token = "";
  do {
    const request = { trace_id: traceId, page_size: 1, page_token };
    const page = await answer<GetTraceResponse__Output>((done) => client.GetTrace(request, metadata, done));
    for (const ofResource of page.resource_spans) {
      for (const ofScope of ofResource.scope_spans) {
        spans.push(...ofScope.spans);
      }
    }
    page_token = page.next_page_token;
  } while (page_token !== "");
  return spans;
}

async function main(): Promise<void> {
  const address = process.argv[2] ?? "localhost:4317";
  const metadata = new grpc.Metadata();
  if (process.env.PULSE_API_KEY) {
    metadata.set("authorization", `Bearer ${process.env.PULSE_API_KEY}`);
  }
  const { TraceIngest, TraceQuery } = loaded.pulse.trace.v1;
  const sends = new TraceIngest(address, grpc.credentials.createInsecure());
  const asks = new TraceQuery(address, grpc.credentials.createInsecure());
  const traceId = randomBytes(16);
  const filter = { service: SERVICE, session_id: traceId.toString("hex") };

  const told: string[] = [];
  const tail = asks.Tail({ filter }, metadata, { deadline: Date.now() + PATIENCE_MS });
  let following: () => void = () => {};
  const isFollowing = new Promise<void>((resolve) => {
    following = resolve;
  });
  const allTold = new Promise<void>((resolve, reject) => {
    tail.on("error", (error) => (told.length === 3 ? resolve() : reject(error)));
    tail.on("data", (message) => {
      if (message.event === "following") {
        following();
      }
      if (message.span) {
        told.push(message.span.name);
      }
      if (told.length === 3) {
        tail.cancel();
        resolve();
      }
    });
  });
  await Promise.race([isFollowing, allTold]);

  const request = { resource_spans: [call(traceId, "exported")] };
  const exported = await answer<ExportResponse__Output>((done) => sends.Export(request, metadata, done));
  const batches = [[call(traceId, "streamed 1")], [call(traceId, "streamed 2")]];
  const acknowledged = await stream(sends, metadata, batches);

  // What is told of is stored.
  await allTold;
  const spans = await wholeTrace(asks, metadata, traceId);
  const first = spans.find((span) => span.name === "exported");
  const list = await answer<ListTracesResponse__Output>((done) => asks.ListTraces({ filter }, metadata, done));
  const missing = { trace_id: randomBytes(16) };
  const unknown = await answer<GetTraceResponse__Output>((done) => asks.GetTrace(missing, metadata, done)).then(
    () => null,
    (error: grpc.ServiceError) => grpc.status[error.code],
  );
  sends.close();
  asks.close();
  const tokens = list.traces.map((it) => Number(it.totals?.input_tokens) + Number(it.totals?.output_tokens));
  console.log(
    JSON.stringify({
      trace_id: traceId.toString("hex"),
      following: "following",
      rejected: Number(exported.partial_success?.rejected_spans ?? 0),
      acknowledged,
      told: told.sort(),
      spans: spans.map((span) => span.name).sort(),
      is_as_sent: first?.gen_ai?.input_messages === MESSAGE && first.gen_ai.request_model === "gpt-4o",
      traces: list.traces.map((it) => it.trace_id.toString("hex")),
      tokens,
      unknown,
    }),
  );
}

main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
