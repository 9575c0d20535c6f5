"""A TCP proxy in front of PostgreSQL that cuts the line at a chosen statement: before it, or after it was done."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Literal

# Of PostgreSQL's protocol: a simple query; begin and end of an extended one; the server is done, or waits for data.
_QUERY, _PARSE, _SYNC = b"Q", b"P", b"S"
_READY, _COPY_IN = b"Z", b"G"

Cut = Literal["before", "after"]


class CuttingProxy:
    """
    Forwards connections to a server's socket, and cuts one for good at the statement that ``wanted`` accepts.

    ``before``: the server never sees the statement. ``after``: the server has done it, and its answer is lost.

    :param path: the server's socket.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.statements: list[str] = []
        self.cuts = 0
        self._wanted: Callable[[int, str], bool] | None = None
        self._cut: Cut = "before"
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self, wanted: Callable[[int, str], bool], cut: Cut) -> None:
        """Cut the line once, at the first statement (by number since now, and text) that ``wanted`` accepts."""
        self.statements, self.cuts, self._wanted, self._cut = [], 0, wanted, cut

    def mend(self) -> tuple[int, list[str]]:
        """Cut nothing any more; returns how often the line was cut, and the statements up to then."""
        self._wanted = None
        return self.cuts, list(self.statements)

    def close(self) -> None:
        """Take no more connections."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with client, socket.socket(socket.AF_UNIX) as server:
            server.connect(self._path)
            server.sendall(_startup(client))
            deaf = threading.Event()
            answered = threading.Event()
            back = threading.Thread(target=_answers, args=(server, client, deaf, answered), daemon=True)
            back.start()
            with suppress(OSError, EOFError):
                while True:
                    kind, message = _message(client)
                    if kind in (_QUERY, _PARSE) and self._is_fatal(message):
                        if self._cut == "before":
                            break
                        answered.clear()
                        deaf.set()
                    server.sendall(message)
                    if deaf.is_set() and kind in (_QUERY, _SYNC):
                        answered.wait(30)
                        break
            for line in (client, server):
                with suppress(OSError):
                    line.shutdown(socket.SHUT_RDWR)
            back.join(10)

    def _is_fatal(self, message: bytes) -> bool:
        text = message[5:].strip(b"\0").decode(errors="replace")
        self.statements.append(text)
        if self._wanted is None or not self._wanted(len(self.statements), text):
            return False
        self._wanted = None
        self.cuts += 1
        return True


def _answers(server: socket.socket, client: socket.socket, deaf: threading.Event, answered: threading.Event) -> None:
    """Forward the server's messages, or, once ``deaf``, swallow them and tell when it is ready."""
    with suppress(OSError, EOFError):
        while True:
            kind, message = _message(server)
            if not deaf.is_set():
                client.sendall(message)
            if kind in (_READY, _COPY_IN):
                answered.set()


def _startup(client: socket.socket) -> bytes:
    length = _exactly(client, 4)
    return length + _exactly(client, int.from_bytes(length, "big") - 4)


def _message(line: socket.socket) -> tuple[bytes, bytes]:
    head = _exactly(line, 5)
    return head[:1], head + _exactly(line, int.from_bytes(head[1:], "big") - 4)


def _exactly(line: socket.socket, size: int) -> bytes:
    got = b""
    while len(got) < size:
        if not (part := line.recv(size - len(got))):
            raise EOFError
        got += part
    return got
