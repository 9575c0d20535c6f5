"""Alerts to send, and where they go: a real SMTP server and a real HTTP server that speaks Slack's API."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

from anomstack_provider.alerting.alert import Alert, event_id

GOLDEN = Path(__file__).parent / "messages" / "golden"
_BUCKET = datetime(2013, 2, 8, 5, tzinfo=UTC)  # midnight in New York
_ALERT = Alert(
    event_id=event_id("flights", "cancelled_share_LGA", "anomaly", "up", _BUCKET),
    metric_batch="flights",
    metric_name="cancelled_share_LGA",
    kind="anomaly",
    transition="opened",
    direction="up",
    bucket=_BUCKET,
    grain="1d",
    value=0.6213,
    expected=0.4375,
    lower=0.3,
    upper=0.5112,
    score=0.93,
    threshold=0.8,
    severity="high",
    tags=(("airport", "LGA"), ("unit", "share")),
)


@pytest.fixture
def make_alert() -> Callable[..., Alert]:
    """Return a function that makes an alert; its arguments replace those of an ordinary one."""
    return lambda **changes: replace(_ALERT, **changes)


@pytest.fixture
def golden() -> Callable[[str, str], None]:
    """Return a function that compares a text with a file; ``UPDATE_GOLDEN=1`` writes the file instead."""

    def compare(name: str, text: str) -> None:
        path = GOLDEN / name
        if os.environ.get("UPDATE_GOLDEN") == "1":
            path.write_text(text, encoding="utf-8")
        assert path.exists(), f"{path.name} is missing; UPDATE_GOLDEN=1 writes it"
        assert text == path.read_text(encoding="utf-8")

    return compare


class MailServer:
    """An SMTP server on loopback that keeps what it accepts, and refuses what it is told to."""

    def __init__(self) -> None:
        self.received: list[tuple[list[str], EmailMessage]] = []
        self.refused_recipients: dict[str, str] = {}
        self.data_answer = "250 OK"
        self.login_answer: str | None = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.controller = Controller(
            self,
            hostname="127.0.0.1",
            port=self.port,
            authenticator=self._authenticate,
            auth_require_tls=False,
        )

    def _authenticate(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        if self.login_answer is None:
            return AuthResult(success=True)
        return AuthResult(success=False, handled=False, message=self.login_answer)

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        if address in self.refused_recipients:
            return self.refused_recipients[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if self.data_answer.startswith("250"):
            mail = message_from_bytes(envelope.content, policy=policy.default)
            self.received.append((list(envelope.rcpt_tos), mail))
        return self.data_answer


@pytest.fixture
def mail_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[MailServer]:
    """A running mail server, known to Airflow as the connection ``smtp_default``."""
    server = MailServer()
    server.controller.start()
    connect_mail(monkeypatch, server.port)
    yield server
    server.controller.stop()


def connect_mail(monkeypatch: pytest.MonkeyPatch, port: int, **changes: Any) -> None:
    """Define the Airflow connection ``smtp_default``; ``extra`` in ``changes`` replaces single extras."""
    extra = {"disable_tls": True, "disable_ssl": True, "from_email": "anomstack@example.com", "timeout": 30}
    extra |= changes.pop("extra", {})
    connection = {"conn_type": "smtp", "host": "127.0.0.1", "port": port, "extra": extra, **changes}
    monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", json.dumps(connection))


@pytest.fixture
def connect_smtp(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return :func:`connect_mail` for this test."""
    return lambda port, **changes: connect_mail(monkeypatch, port, **changes)


@dataclass(frozen=True)
class Answer:
    """
    One HTTP answer after ``seconds``; the server hangs up instead where ``status`` is 0.

    :param drip: seconds between two bytes of the body.
    """

    body: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    drip: float = 0.0


class SlackServer(ThreadingHTTPServer):
    """An HTTP server on loopback that answers like Slack's API, or as ``answers`` say, per method."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _SlackHandler)
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.tokens: set[str | None] = set()
        self.answers: dict[str, list[Answer]] = {}
        self.url = f"http://127.0.0.1:{self.server_address[1]}/"
        self.stopping = threading.Event()
        self.connect: Callable[..., None]
        self.connect_webhook: Callable[..., None]

    def methods(self) -> list[str]:
        """Return the names of the methods called, in order."""
        return [method for method, _ in self.calls]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay silent: a client that gave up waiting is part of the tests."""

    def usual(self, method: str) -> Answer:
        """Return Slack's answer to a call that it accepts."""
        answers: dict[str, dict[str, Any]] = {
            "chat.postMessage": {"ok": True, "channel": "C0123456789", "ts": "1700000000.000100"},
            "chat.update": {"ok": True, "channel": "C0123456789", "ts": "1700000000.000100"},
            "files.getUploadURLExternal": {"ok": True, "upload_url": f"{self.url}upload", "file_id": "F1"},
            "files.completeUploadExternal": {"ok": True, "files": [{"id": "F1"}]},
        }
        if method == "webhook":
            return Answer(b"ok", headers={"Content-Type": "text/html"})
        return Answer(json.dumps(answers[method]).encode() if method in answers else b"OK")


class _SlackHandler(BaseHTTPRequestHandler):
    server: SlackServer

    def do_POST(self) -> None:
        method = "webhook" if self.path.startswith("/services/") else self.path.strip("/").split("/")[-1]
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        kind = self.headers.get_content_type()
        if kind == "application/json":
            parameters = json.loads(body)
        elif method == "upload":
            parameters = {"data": body}
        else:
            parameters = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        if method != "upload":
            self.server.tokens.add(self.headers.get("Authorization"))
        self.server.calls.append((method, parameters))
        queued = self.server.answers.get(method)
        answer = queued.pop(0) if queued else self.server.usual(method)
        self.server.stopping.wait(answer.seconds)
        if answer.status == 0:
            self.close_connection = True
            return
        self.send_response(answer.status)
        for name, value in {"Content-Type": "application/json", **answer.headers}.items():
            self.send_header(name, value)
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


def connect_slack(monkeypatch: pytest.MonkeyPatch, url: str, timeout: int = 30) -> None:
    """Define the Airflow connection ``slack_api_default``."""
    extra = {"base_url": url, "timeout": timeout}
    connection = {"conn_type": "slack", "password": "xoxb-very-secret", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_SLACK_API_DEFAULT", json.dumps(connection))


def connect_webhook(monkeypatch: pytest.MonkeyPatch, url: str, timeout: int = 30) -> None:
    """Define the Airflow connection ``hook``, whose path is a secret."""
    connection = {"conn_type": "slackwebhook", "host": f"{url}services", "password": "T00000000/B00000000/very-secret"}
    monkeypatch.setenv("AIRFLOW_CONN_HOOK", json.dumps({**connection, "extra": {"timeout": timeout}}))


@pytest.fixture
def slack_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlackServer]:
    """A running stand-in for Slack, known to Airflow as the connection ``slack_api_default``."""
    server = SlackServer()
    server.connect = partial(connect_slack, monkeypatch, server.url)
    server.connect()
    server.connect_webhook = partial(connect_webhook, monkeypatch, server.url)
    server.connect_webhook()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.stopping.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def answer() -> type[Answer]:
    """Return the class of an answer for ``slack_server.answers``."""
    return Answer


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the seconds that the code under test slept, without sleeping them."""
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    return slept
