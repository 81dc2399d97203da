"""An OpenAI-compatible server on this machine that does what a test tells it to."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Say:
    """One response: status, JSON (or raw text), headers. With `pause` it drips, status line and all: seconds a byte."""

    body: Any
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    pause: float = 0.0

    @property
    def raw(self) -> bytes:
        """What goes over the wire."""
        data = self.body.encode() if isinstance(self.body, str) else json.dumps(self.body).encode()
        headers = {"Content-Length": str(len(data)), **self.headers}
        head = [f"HTTP/1.0 {self.status} Said", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        return "\r\n".join(head).encode() + data


def chat(text: Any, log_probs: list[Any] | None = None, usage: tuple[int, int] | None = (10, 5), **choice: Any) -> Say:
    """Answer in the chat style; `choice` adds to the choice, such as finish_reason, and `model` is the model's name."""
    told = None if log_probs is None else {"content": [{"token": "x", "logprob": value} for value in log_probs]}
    model = {"model": choice.pop("model")} if "model" in choice else {}
    message = {"role": "assistant", "content": text, **choice.pop("message", {})}
    body: dict[str, Any] = {**model, "choices": [{"message": message, "logprobs": told, **choice}]}
    if usage:
        body["usage"] = {"prompt_tokens": usage[0], "completion_tokens": usage[1]}
    return Say(body)


@dataclass
class FakeApi:
    """The server; `say(request, n)` gives its response to the n-th request (0, 1, …)."""

    say: Callable[[dict[str, Any], int], Say]
    url: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    most_at_once: int = 0
    _now: int = 0
    _lock: Any = field(default_factory=threading.Lock)

    def respond(self, path: str, headers: dict[str, str], request: dict[str, Any]) -> Say:
        with self._lock:
            number = len(self.requests)
            self.requests.append(request)
            self.paths.append(path)
            self.keys.append(headers.get("Authorization"))
            self.headers.append(headers)
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
        try:
            return self.say(request, number)
        finally:
            with self._lock:
                self._now -= 1


@contextmanager
def serving(say: Callable[[dict[str, Any], int], Say]) -> Iterator[FakeApi]:
    """Run a server for as long as a test needs it."""
    api = FakeApi(say)
    stopping = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            said = api.respond(self.path, dict(self.headers), request)
            pieces = [said.raw[i : i + 1] for i in range(len(said.raw))] if said.pause else [said.raw]
            try:
                for piece in pieces:
                    self.wfile.write(piece)
                    self.wfile.flush()
                    stopping.wait(said.pause)
            except OSError:
                pass  # who asked has gone

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        api.url = f"http://127.0.0.1:{server.server_port}/v1"
        try:
            yield api
        finally:
            stopping.set()
            server.shutdown()
            thread.join()
