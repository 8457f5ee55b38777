"""A stand-in for the APIs of OpenAI, Anthropic and Gemini: it answers the same few things to everybody, so
that nothing leaves the machine and no key is needed. A model named `busy` is over its rate limit;
who offers tools is asked to call one, until it gives the result.

    model_apis.py <command>...

runs a command that calls it, with the variables of the providers' SDKs set to it."""

import itertools
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

OPENAI_USAGE = {
    "prompt_tokens": 100,
    "completion_tokens": 20,
    "total_tokens": 120,
    "prompt_tokens_details": {"cached_tokens": 40, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 5, "audio_tokens": 0},
}
ANTHROPIC_USAGE = {
    "input_tokens": 10,
    "output_tokens": 20,
    "cache_read_input_tokens": 60,
    "cache_creation_input_tokens": 30,
    "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20},
    "service_tier": "standard",
}


RESPONSES = itertools.count(1)


def openai_chat(request):
    head = {"id": "chatcmpl-golden", "created": 1768478400, "model": "gpt-4o-2024-08-06"}
    asks = bool(request.get("tools")) and request["messages"][-1]["role"] == "user"
    if asks:
        call = {
            "id": "call_golden",
            "type": "function",
            "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'},
        }
        message = {"role": "assistant", "content": None, "tool_calls": [call]}
    else:
        message = {"role": "assistant", "content": "It is 22 degrees."}
    reason = "tool_calls" if asks else "stop"
    if not request.get("stream"):
        choice = {"index": 0, "message": message, "finish_reason": reason}
        yield head | {"object": "chat.completion", "choices": [choice], "usage": OPENAI_USAGE}
        return
    deltas = [{"role": "assistant", "content": ""}, {"content": "It is "}, {"content": "22 degrees."}]
    if asks:
        begun = call | {"index": 0, "function": {"name": "get_weather", "arguments": ""}}
        rest = [{"index": 0, "function": {"arguments": part}} for part in ['{"city": ', '"Paris"}']]
        deltas = [{"role": "assistant", "content": None, "tool_calls": [begun]}]
        deltas += [{"tool_calls": [part]} for part in rest]
    for delta in deltas:
        choice = {"index": 0, "delta": delta, "finish_reason": None}
        yield head | {"object": "chat.completion.chunk", "choices": [choice]}
    choice = {"index": 0, "delta": {}, "finish_reason": reason}
    yield head | {"object": "chat.completion.chunk", "choices": [choice]}
    yield head | {"object": "chat.completion.chunk", "choices": [], "usage": OPENAI_USAGE}


def openai_response(request):
    turns = request["input"] if isinstance(request["input"], list) else [{"role": "user"}]
    asks = bool(request.get("tools")) and turns[-1].get("role") == "user"
    if asks:
        item = {
            "id": "fc_golden",
            "type": "function_call",
            "status": "completed",
            "call_id": "call_golden",
            "name": "get_weather",
            "arguments": '{"city": "Paris"}',
        }
    else:
        text = {"type": "output_text", "text": "It is 22 degrees.", "annotations": [], "logprobs": []}
        item = {"id": "msg_golden", "type": "message", "status": "completed", "role": "assistant", "content": [text]}
    whole = {
        # OpenLLMetry takes two answers with one id for one, which was asked for again.
        "id": f"resp_golden_{next(RESPONSES)}",
        "object": "response",
        "created_at": 1768478400,
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "instructions": request.get("instructions"),
        "max_output_tokens": None,
        "metadata": {},
        "model": "gpt-4o-2024-08-06",
        "output": [item],
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "store": True,
        "temperature": request.get("temperature", 1.0),
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": request.get("tools", []),
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": {
            "input_tokens": 100,
            "input_tokens_details": {"cached_tokens": 40},
            "output_tokens": 20,
            "output_tokens_details": {"reasoning_tokens": 5},
            "total_tokens": 120,
        },
    }
    if not request.get("stream"):
        yield whole
        return
    begun = whole | {"status": "in_progress", "output": [], "usage": None}
    at = {"output_index": 0, "item_id": item["id"]}
    events = [{"type": "response.created", "response": begun}]
    if asks:
        events.append({"type": "response.output_item.added", "output_index": 0, "item": item | {"arguments": ""}})
        for part in ['{"city": ', '"Paris"}']:
            events.append({"type": "response.function_call_arguments.delta", **at, "delta": part})
        done = {"name": item["name"], "arguments": item["arguments"]}
        events.append({"type": "response.function_call_arguments.done", **at, **done})
    else:
        empty = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
        at |= {"content_index": 0}
        events.append({"type": "response.output_item.added", "output_index": 0, "item": item | {"content": []}})
        events.append({"type": "response.content_part.added", **at, "part": empty})
        for part in ["It is ", "22 degrees."]:
            events.append({"type": "response.output_text.delta", **at, "delta": part, "logprobs": []})
        events.append({"type": "response.output_text.done", **at, "text": "It is 22 degrees.", "logprobs": []})
        events.append({"type": "response.content_part.done", **at, "part": text})
    events.append({"type": "response.output_item.done", "output_index": 0, "item": item})
    events.append({"type": "response.completed", "response": whole})
    for number, event in enumerate(events):
        yield event | {"sequence_number": number}


def anthropic_message(request):
    head = {
        "id": "msg_golden",
        "type": "message",
        "role": "assistant",
        "model": "claude-haiku-4-5-20251001",
        "stop_sequence": None,
    }
    last = request["messages"][-1]["content"]
    answers = isinstance(last, list) and any(part["type"] == "tool_result" for part in last)
    if request.get("tools") and not answers:
        content = [
            {"type": "text", "text": "Let me look."},
            {"type": "tool_use", "id": "toolu_golden", "name": "get_weather", "input": {"city": "Paris"}},
        ]
        reason = "tool_use"
    else:
        content, reason = [{"type": "text", "text": "It is 22 degrees."}], "end_turn"
    if not request.get("stream"):
        yield head | {"content": content, "stop_reason": reason, "usage": ANTHROPIC_USAGE}
        return
    start = ANTHROPIC_USAGE | {"output_tokens": 1}
    yield {"type": "message_start", "message": head | {"content": [], "stop_reason": None, "usage": start}}
    for index, part in enumerate(content):
        if part["type"] == "text":
            begun, pieces = part | {"text": ""}, [part["text"][:6], part["text"][6:]]
            deltas = [{"type": "text_delta", "text": piece} for piece in pieces]
        else:
            begun, pieces = part | {"input": {}}, ['{"city": ', '"Paris"}']
            deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
        yield {"type": "content_block_start", "index": index, "content_block": begun}
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    delta = {"stop_reason": reason, "stop_sequence": None}
    yield {"type": "message_delta", "delta": delta, "usage": {"output_tokens": 20}}
    yield {"type": "message_stop"}


def gemini_content(_request):
    content = {"role": "model", "parts": [{"text": "It is 22 degrees."}]}
    yield {
        "candidates": [{"content": content, "finishReason": "STOP", "index": 0}],
        "usageMetadata": {
            "promptTokenCount": 100,
            "candidatesTokenCount": 15,
            "totalTokenCount": 120,
            "cachedContentTokenCount": 40,
            "thoughtsTokenCount": 5,
        },
        "modelVersion": "gemini-2.5-flash",
        "responseId": "gemini_golden",
    }


class StandIn(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if request.get("model") == "busy":
            error = {"type": "rate_limit_error", "code": "rate_limit_exceeded", "message": "Rate limit reached"}
            return self.answer(429, json.dumps({"type": "error", "error": error}))
        path = self.path.split("?")[0]
        if path.endswith("/embeddings"):
            usage = {"prompt_tokens": 10, "total_tokens": 10}
            data = [{"object": "embedding", "index": 0, "embedding": [0.25, 0.5]}]
            model = "text-embedding-3-small"
            return self.answer(200, json.dumps({"object": "list", "data": data, "model": model, "usage": usage}))
        # Gemini's paths end in a model and a method, as in `gemini-2.5-flash:generateContent`.
        method = path.rsplit("/", 1)[1].rsplit(":", 1)[-1]
        apis = {
            "messages": anthropic_message,
            "responses": openai_response,
            "generateContent": gemini_content,
            "streamGenerateContent": gemini_content,
        }
        parts = apis.get(method, openai_chat)(request)
        if not request.get("stream") and method != "streamGenerateContent":
            return self.answer(200, json.dumps(next(parts)))
        event = lambda part: f"event: {part['type']}\n" if "type" in part else ""
        text = "".join(f"{event(part)}data: {json.dumps(part)}\n\n" for part in parts)
        self.answer(200, text + ("data: [DONE]\n\n" if path.endswith("/completions") else ""), "text/event-stream")

    def answer(self, status, body, kind="application/json"):
        body = body.encode()
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.send_header("x-request-id", "req_golden")
        self.send_header("request-id", "req_golden")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def start():
    """Serves on a port of its own until the process ends; answers its URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), StandIn)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"


def environment(url):
    """What makes the SDKs of the providers, and what is built on them, call the stand-in."""
    return {
        "NO_PROXY": "127.0.0.1",
        "OPENAI_BASE_URL": url + "/v1",
        "OPENAI_API_KEY": "none",
        "ANTHROPIC_BASE_URL": url,
        "ANTHROPIC_API_KEY": "none",
        "GOOGLE_GEMINI_BASE_URL": url,
        "GEMINI_API_KEY": "none",
    }


if __name__ == "__main__":
    sys.exit(subprocess.run(sys.argv[1:], env=os.environ | environment(start())).returncode)
