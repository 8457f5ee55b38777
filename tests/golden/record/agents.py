"""Records what a coding agent really sends: its spans, log records and metrics, as files of the golden
corpus.

    npm install --prefix /tmp/agents @anthropic-ai/claude-code @openai/codex @google/gemini-cli
    (cd /tmp/agents/node_modules/@anthropic-ai/claude-code && node install.cjs)
    python3 tests/golden/record/agents.py /tmp/agents claude_code|codex|gemini_cli

The agent answers one question, in a directory and a home of its own; the models are the stand-in
(`tests/support/python/model_apis.py`). Ids are numbered and times are moved to a fixed day. Of Codex,
which sends hundreds of spans and metrics, those are kept that tell of calls and tools, and what they
lie in. Long texts, which are the agents' own instructions, are cut. After recording, run `GOLDEN_WRITE=1 cargo test --test golden` and look at the difference.
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CORPUS = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(CORPUS.parent / "support" / "python"))

import model_apis

# 2026-01-15T12:00:00Z
DAY = 1768478400 * 10**9
QUESTION = "Weather in Paris?"
SIGNALS = ["traces", "logs", "metrics"]

CODEX_SPANS = {"session_task.turn", "handle_responses", "try_run_sampling_request", "get_weather", "turn/start"}
CODEX_METRICS = {"codex.turn.token_usage", "codex.tool.call", "codex.api_request", "codex.turn.e2e_duration_ms"}


def codex_config(otlp, models):
    def exporter(signal):
        return f'{{ otlp-http = {{ endpoint = "{otlp}/v1/{signal}", protocol = "json" }} }}'

    return f"""
model = "gpt-4o"
model_provider = "stand-in"
[model_providers.stand-in]
name = "stand-in"
base_url = "{models}/v1"
env_key = "OPENAI_API_KEY"
wire_api = "responses"
[otel]
log_user_prompt = true
exporter = {exporter("logs")}
trace_exporter = {exporter("traces")}
metrics_exporter = {exporter("metrics")}
"""


def gemini_settings(otlp, _models):
    telemetry = {"enabled": True, "target": "local", "otlpEndpoint": otlp, "otlpProtocol": "http", "traces": True, "logPrompts": True}
    security = {"auth": {"selectedType": "gemini-api-key"}}
    privacy = {"usageStatisticsEnabled": False}
    return json.dumps({"telemetry": telemetry, "security": security, "privacy": privacy})


# name: (package, program and arguments, its file of settings, its variables)
AGENTS = {
    "claude_code": ("@anthropic-ai/claude-code", ["claude", "-p", QUESTION], None, {
        "CLAUDE_CODE_ENABLE_TELEMETRY": "1",
        "CLAUDE_CODE_ENHANCED_TELEMETRY_BETA": "1",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_LOGS_EXPORTER": "otlp",
        "OTEL_METRICS_EXPORTER": "otlp",
        "OTEL_LOG_USER_PROMPTS": "1",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json",
    }),
    "codex": ("@openai/codex", ["codex", "exec", "--skip-git-repo-check", QUESTION], (".codex/config.toml", codex_config), {}),
    "gemini_cli": ("@google/gemini-cli", ["gemini", "--skip-trust", "-m", "gemini-2.5-flash", "-p", QUESTION],
        (".gemini/settings.json", gemini_settings), {}),
}

# ------------------------------------------------------------------ what is sent


class Backend(BaseHTTPRequestHandler):
    """Takes OTLP/JSON."""

    protocol_version = "HTTP/1.1"
    received = {signal: [] for signal in SIGNALS}

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"])) if "content-length" in self.headers else self.chunks()
        self.received[self.path.rsplit("/", 1)[1]].append(json.loads(body))
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def chunks(self):
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def log_message(self, *_):
        pass


def start():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Backend)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"


def run(installed, name, home):
    _, command, settings, variables = AGENTS[name]
    otlp, models = start(), model_apis.start()
    work = home / "work"
    work.mkdir()
    if settings:
        path, write = settings
        (home / path).parent.mkdir()
        (home / path).write_text(write(otlp, models))
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "OTEL_EXPORTER_OTLP_ENDPOINT": otlp}
    environment |= model_apis.environment(models) | variables
    program = pathlib.Path(installed) / "node_modules" / ".bin" / command[0]
    subprocess.run([program, *command[1:]], cwd=work, env=environment, stdin=subprocess.DEVNULL, check=True, timeout=120)
    return [(otlp, "http://127.0.0.1:4318"), (models, "http://127.0.0.1:8000"), (str(work), "/work"), (str(home), "/home/me"), (str(installed), "/opt")]


# ------------------------------------------------------------------ made the same each time


def merged(requests, outer, scopes):
    """The requests as one, in which each resource is told of once."""
    resources = {}
    for request in requests:
        for resource in request.get(outer, []):
            key = json.dumps(resource["resource"], sort_keys=True)
            resources.setdefault(key, resource | {scopes: []})[scopes] += resource[scopes]
    return {outer: list(resources.values())}


def is_kept(name, entry):
    if name != "codex":
        return True
    keys = {attribute["key"] for attribute in entry.get("attributes", [])}
    return entry["name"] in CODEX_METRICS | (CODEX_SPANS - {"handle_responses"}) or "gen_ai.usage.input_tokens" in keys


def shortened(value):
    """A JSON value without its long texts and what repeats."""
    if isinstance(value, dict):
        return {key: shortened(item) for key, item in list(value.items())[:6]}
    if isinstance(value, list):
        return [shortened(item) for item in value[:2]]
    return value[:40] if isinstance(value, str) else value


def cut(attributes):
    for attribute in attributes:
        text = attribute["value"].get("stringValue", "")
        if len(text) > 600:
            try:
                text = json.dumps(shortened(json.loads(text)))
            except json.JSONDecodeError:
                text = text[:40]
            attribute["value"]["stringValue"] = text


def stable(text, replaced):
    for found, instead in replaced:
        text = text.replace(found, instead)
    numbers = {}
    for pattern, width in [(r'(?<="traceId":")[0-9a-f]{32}', 32), (r'(?<="spanId":")[0-9a-f]{16}', 16), (r'(?<="parentSpanId":")[0-9a-f]{16}', 16)]:
        number = lambda found, width=width: f"{numbers.setdefault(found[0], len(numbers) + 1):0{width}x}"
        text = re.sub(pattern, number, text)
    uuids = {}
    uuid = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
    text = re.sub(uuid, lambda found: f"00000000-0000-4000-8000-{uuids.setdefault(found[0], len(uuids) + 1):012x}", text)
    # Digests of the machine.
    text = re.sub(r'(?<="stringValue":")[0-9a-f]{64}(?=")', "0" * 64, text)
    times = [int(time) for time in re.findall(r'Nano":"?(\d{19})', text)]
    moved = DAY - min(times)
    return re.sub(r'(Nano":"?)(\d{19})', lambda found: found[1] + str(int(found[2]) + moved), text)


def main():
    installed, name = sys.argv[1:]
    installed = pathlib.Path(installed).resolve()
    package = AGENTS[name][0]
    with tempfile.TemporaryDirectory() as home:
        replaced = run(installed, name, pathlib.Path(home).resolve())
    version = json.loads((installed / "node_modules" / package / "package.json").read_text())["version"]
    requests = {}
    for signal, (outer, scopes, items) in zip(SIGNALS, [
        ("resourceSpans", "scopeSpans", "spans"),
        ("resourceLogs", "scopeLogs", "logRecords"),
        ("resourceMetrics", "scopeMetrics", "metrics"),
    ]):
        request = merged(Backend.received[signal], outer, scopes)
        for resource in request[outer]:
            attributes = resource["resource"]["attributes"]
            # Of the machine, not of the agent.
            attributes[:] = [it for it in attributes if not it["key"].startswith(("host.", "os.", "process."))]
            attributes.append({"key": f"recorded.{package}", "value": {"stringValue": version}})
            for scope in resource[scopes]:
                if signal != "logs":
                    scope[items] = [item for item in scope[items] if is_kept(name, item)]
            resource[scopes] = [scope for scope in resource[scopes] if scope[items]]
            for item in (item for scope in resource[scopes] for item in scope[items]):
                cut(item.get("attributes", []))
        requests[signal] = request
    text = stable(json.dumps(requests, ensure_ascii=False, separators=(",", ":")), replaced)
    for signal, request in json.loads(text).items():
        path = CORPUS / name / f"recorded-{signal}.json"
        path.write_text(json.dumps(request, indent=1, ensure_ascii=False) + "\n")
        print(path)


main()
