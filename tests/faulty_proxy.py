"""An HTTP proxy on the loopback interface, before a real server, that does to requests what networks and stores do."""

from __future__ import annotations

import http.client
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

# Headers that belong to one connection and not to the message.
_HOP = {"connection", "keep-alive", "transfer-encoding", "expect"}


@dataclass(frozen=True)
class Fault:
    """
    What becomes of a request. Bytes are those of its body, or with ``of_answer`` those of the answer's.

    :param status: this status is answered, and the server behind never hears of the request.
    :param cut_after: the connection is reset after so many bytes; the server behind gets as many.
    :param stalls: no answer comes as long as the proxy lives.
    """

    status: int | None = None
    cut_after: int | None = None
    of_answer: bool = False
    stalls: bool = False


class FaultyProxy:
    """
    Passes requests on to ``upstream``; ``fault`` decides by method, path and headers what goes wrong with one of them.

    :param upstream: URL of the real server.
    """

    def __init__(self, upstream: str) -> None:
        self.upstream = urlsplit(upstream)
        self.fault: Callable[[str, str, Any], Fault | None] = lambda method, path, headers: None
        self.requests: list[tuple[str, str]] = []
        self.closing = threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.server.daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def fails(self, fault: Fault, *methods: str, path: str = "") -> None:
        """From now on requests of these methods (all if none is given) whose path has this in it end so."""

        def decide(method: str, asked: str, headers: Any) -> Fault | None:
            return fault if (not methods or method in methods) and path in asked else None

        self.fault = decide

    def works(self) -> None:
        """From now on nothing goes wrong."""
        self.fault = lambda method, path, headers: None


@contextmanager
def faulty_proxy(upstream: str) -> Iterator[FaultyProxy]:
    proxy = FaultyProxy(upstream)
    thread = threading.Thread(target=proxy.server.serve_forever, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.closing.set()
        proxy.server.shutdown()
        proxy.server.server_close()
        thread.join()


def _handler(proxy: FaultyProxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _any(self) -> None:
            proxy.requests.append((self.command, self.path))
            fault = proxy.fault(self.command, self.path, self.headers) or Fault()
            length = int(self.headers.get("Content-Length") or 0)
            if fault.stalls:
                proxy.closing.wait()
                self._reset()
            elif fault.cut_after is not None and not fault.of_answer:
                self._send_part(self.rfile.read(min(fault.cut_after, length)), length)
                self._reset()
            elif fault.status is not None:
                self.rfile.read(length)
                self._answer(fault.status, {"Content-Type": "application/xml"}, _error(fault.status))
            else:
                status, headers, body = self._ask(self.rfile.read(length))
                if fault.cut_after is None:
                    self._answer(status, headers, body)
                else:
                    self._answer(status, headers, body[: fault.cut_after])
                    self._reset()

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _any

        def _ask(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
            """Return what the real server answers."""
            upstream = http.client.HTTPConnection(str(proxy.upstream.hostname), proxy.upstream.port, timeout=60)
            headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP}
            upstream.request(self.command, self.path, body, headers)
            answer = upstream.getresponse()
            content = answer.read()
            upstream.close()
            return answer.status, {n: v for n, v in answer.getheaders() if n.lower() not in _HOP}, content

        def _send_part(self, body: bytes, length: int) -> None:
            """Give the real server the beginning of a request and then hang up, as the client's network does."""
            with socket.create_connection((proxy.upstream.hostname, proxy.upstream.port)) as upstream:
                lines = [f"{self.command} {self.path} HTTP/1.1"]
                lines += [f"{name}: {value}" for name, value in self.headers.items() if name.lower() not in _HOP]
                upstream.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
            assert len(body) < length or not length

        def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response_only(status)
            has_length = any(name.lower() == "content-length" for name in headers)
            for name, value in headers.items():
                self.send_header(name, value)
            if not has_length and status not in (204, 304):
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def _reset(self) -> None:
            """Close without a goodbye."""
            self.close_connection = True
            self.wfile.flush()
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

        def finish(self) -> None:
            with suppress(OSError, ValueError):  # that connection may be gone
                super().finish()

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    return Handler


_CODES = {
    401: "Unauthorized",
    403: "AccessDenied",
    404: "NoSuchBucket",
    500: "InternalError",
    503: "ServiceUnavailable",
    507: "Full",
}


def _error(status: int) -> bytes:
    code = _CODES.get(status, "Error")
    text = f"<Error><Code>{code}</Code><Message>The store said {status}</Message></Error>"
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'.encode()
