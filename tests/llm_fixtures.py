"""A real HTTP server on loopback that speaks OpenAI's protocol of chat completions, and answers as it is told."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

KEY = "sk-very-secret-key"


@dataclass(frozen=True)
class Raw:
    """
    An HTTP answer as it is; ``seconds`` before its first byte and ``drip`` seconds before each further one.

    :param retry_after: what a busy server asks its clients to wait.
    """

    body: bytes
    status: int = 200
    seconds: float = 0.0
    drip: float = 0.0
    retry_after: str | None = None


def completion(arguments: str, model: str = "gpt-fake-1") -> Raw:
    """Return the answer of a model that calls the output tool with these arguments, JSON or not."""
    call = {"id": "call_1", "type": "function", "function": {"name": "final_result", "arguments": arguments}}
    choice = {
        "index": 0,
        "finish_reason": "tool_calls",
        "message": {"role": "assistant", "content": None, "tool_calls": [call]},
    }
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": model,
        "choices": [choice],
        "usage": {"prompt_tokens": 1000, "completion_tokens": 20, "total_tokens": 1020},
    }
    return Raw(json.dumps(body).encode())


def names(*buckets: str, explanation: str = "far out") -> Raw:
    """Return the answer that names these buckets."""
    return completion(json.dumps({"anomalies": [{"timestamp": at, "explanation": explanation} for at in buckets]}))


@dataclass(frozen=True)
class Asked:
    """One request as the server got it: its JSON, and who asked."""

    body: dict[str, Any]
    authorization: str | None

    @property
    def instructions(self) -> str:
        return str(self.body["messages"][0]["content"])

    @property
    def prompt(self) -> str:
        content = self.body["messages"][1]["content"]
        return str(content if isinstance(content, str) else content[0]["text"])

    @property
    def picture(self) -> str | None:
        """The chart as a data URL."""
        content = self.body["messages"][1]["content"]
        return None if isinstance(content, str) or len(content) < 2 else str(content[1]["image_url"]["url"])

    @property
    def metric(self) -> str:
        found = re.search(r"^Metric: (.*)$", self.prompt, re.MULTILINE)
        assert found
        return str(json.loads(found[1]))

    @property
    def may_name(self) -> list[str]:
        """The buckets that the answer may name."""
        return self.prompt.split("or none:\n")[1].split()


class ModelServer(ThreadingHTTPServer):
    """
    The server; ``answers`` are given one after the other, then ``usual`` answers each request.

    :ivar asked: the requests so far.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[Asked] = []
        self.answers: list[Raw] = []
        self.usual: Callable[[Asked], Raw] = lambda asked: names()
        self.stopping = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_address[1]}/v1"
        self.connect: Callable[..., None]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay silent: a client that gave up waiting is part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    server: ModelServer

    def do_POST(self) -> None:
        assert self.path == "/v1/chat/completions"
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        asked = Asked(body, self.headers.get("Authorization"))
        self.server.asked.append(asked)
        answer = self.server.answers.pop(0) if self.server.answers else self.server.usual(asked)
        self.server.stopping.wait(answer.seconds)
        self.send_response(answer.status)
        if answer.retry_after is not None:
            self.send_header("Retry-After", answer.retry_after)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if not answer.drip:
            self.wfile.write(answer.body)
        for byte in answer.body if answer.drip else b"":
            self.server.stopping.wait(answer.drip)
            self.wfile.write(bytes([byte]))
            self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the tests' output clean."""


def connect_model(monkeypatch: pytest.MonkeyPatch, url: str, **changes: Any) -> None:
    """Define the Airflow connection ``pydanticai_default``."""
    connection = {"conn_type": "pydanticai", "host": url, "password": KEY, "extra": {"model": "openai-chat:gpt-fake"}}
    monkeypatch.setenv("AIRFLOW_CONN_PYDANTICAI_DEFAULT", json.dumps({**connection, **changes}))


@pytest.fixture
def model_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelServer]:
    """A running server, known to Airflow as the connection ``pydanticai_default``."""
    server = ModelServer()
    server.connect = partial(connect_model, monkeypatch, server.url)
    server.connect()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.stopping.set()
    server.shutdown()
    thread.join()
    server.server_close()
