"""A mail catcher with the part of Mailpit that the compose test uses: SMTP on port 1025, HTTP on port 8025.

``GET /readyz``, ``GET /api/v1/messages`` (newest first) and ``GET /api/v1/message/{ID}/raw`` answer as
Mailpit does. Mails are kept in memory.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from email.utils import getaddresses
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

RAW: dict[str, bytes] = {}
SUMMARIES: list[dict[str, Any]] = []


def addresses(message: EmailMessage, header: str) -> list[dict[str, str]]:
    return [{"Name": name, "Address": address} for name, address in getaddresses(message.get_all(header, []))]


class Inbox:
    """The SMTP side: every mail is accepted and kept."""

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        raw = envelope.original_content or b""
        message = message_from_bytes(raw, policy=policy.default)
        assert isinstance(message, EmailMessage)
        identifier = f"mail{len(RAW) + 1:06d}"
        RAW[identifier] = raw
        SUMMARIES.insert(
            0,
            {
                "ID": identifier,
                "MessageID": str(message.get("Message-ID", "")).strip("<>"),
                "Read": False,
                "From": next(iter(addresses(message, "From")), None),
                "To": addresses(message, "To"),
                "Cc": addresses(message, "Cc"),
                "Bcc": [],
                "Subject": str(message.get("Subject", "")),
                "Created": datetime.now(UTC).isoformat(),
                "Size": len(raw),
                "Attachments": sum(1 for _ in message.iter_attachments()),
            },
        )
        return f"250 Ok: queued as {identifier}"


class Api(BaseHTTPRequestHandler):
    """The HTTP side."""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/readyz":
            self._answer(200, "text/plain", b"ok")
        elif path == "/api/v1/messages":
            listing = {"total": len(SUMMARIES), "count": len(SUMMARIES), "start": 0, "messages": SUMMARIES}
            self._answer(200, "application/json", json.dumps(listing).encode())
        elif (identifier := path.removeprefix("/api/v1/message/").removesuffix("/raw")) in RAW:
            self._answer(200, "text/plain; charset=utf-8", RAW[identifier])
        else:
            self._answer(404, "text/plain", b"not found")

    def _answer(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        if not self.path.startswith("/readyz"):
            super().log_message(format, *args)


if __name__ == "__main__":
    # The limit of Mailpit is no limit; 50 MB are more than any alert.
    controller = Controller(Inbox(), hostname="0.0.0.0", port=1025, data_size_limit=50_000_000)
    controller.start()
    ThreadingHTTPServer(("0.0.0.0", 8025), Api).serve_forever()
