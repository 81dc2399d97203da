"""Stands for the command `vllm` in tests: its arguments, its endpoints, its last words; the answers are canned.

FAKE_VLLM says what becomes of it: empty for a server, else the words with which it ends. Like vLLM it has a second
process, whose id it prints.
"""

import json
import os
import subprocess
import sys
from argparse import ArgumentParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

parser = ArgumentParser("vllm")
parser.add_argument("command", choices=["serve"])
parser.add_argument("model")
parser.add_argument("--host")
parser.add_argument("--port", type=int)
parser.add_argument("--max-logprobs", type=int)
parser.add_argument("--generation-config")
parser.add_argument("--seed", type=int)
parser.add_argument("--tensor-parallel-size", type=int)
options = parser.parse_args()
if words := os.environ.get("FAKE_VLLM"):
    sys.exit(words)
print("telemetry", os.environ.get("VLLM_NO_USAGE_STATS"), "arguments", sys.argv[1:], flush=True)


class Handler(BaseHTTPRequestHandler):
    """Answers what LaDa asks; not ready when it is asked for the first time."""

    asked = 0

    def do_GET(self) -> None:
        type(self).asked += 1
        if self.path == "/health":
            self._say(503 if self.asked == 1 else 200, None)
        elif self.path == "/v1/models" and not self._may():
            self._say(401, {"error": "Unauthorized"})
        elif self.path == "/v1/models":
            self._say(200, {"object": "list", "data": [{"id": options.model, "object": "model"}]})
        else:
            self._say(404, {"detail": "Not Found"})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        if os.environ.get("FAKE_VLLM_ENDS"):
            print("RuntimeError: Engine core died", flush=True)
            os._exit(9)
        message = {"role": "assistant", "content": "answer 4"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
        self._say(200, {"model": options.model, "choices": [choice], "usage": usage})

    def _may(self) -> bool:
        key = os.environ.get("VLLM_API_KEY")
        return not key or self.headers.get("Authorization") == f"Bearer {key}"

    def _say(self, status: int, body: Any) -> None:
        data = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        pass


engine = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("engine", engine.pid, flush=True)
ThreadingHTTPServer((options.host, options.port), Handler).serve_forever()
