"""A message as a drill: marked in its first line and wherever else it is read, on an event that is none."""

from __future__ import annotations

import re
from dataclasses import replace
from html import escape

from anomstack_provider.alerting.alert import Alert
from anomstack_provider.messages.message import Message

MARK = "[DRILL]"
_SAID = "This is a drill: the fault was put into a copy of the stored values, nothing happened to the metric."


def as_drill(message: Message) -> Message:
    """Return the message marked as a drill; its event id is not that of the event it shows."""
    banner = f'<p style="margin:0;padding:8px;background:#fdf1d8;color:#5b4300;"><b>{MARK}</b> {escape(_SAID)}</p>'
    said = {"type": "section", "text": {"type": "mrkdwn", "text": f"*{MARK}* {_SAID}"}}
    return replace(
        message,
        first_line=f"{MARK} {message.first_line}",
        text=f"{MARK} {message.text.rstrip()}\n\n{_SAID}\n",
        html=re.sub(r"<body[^>]*>", lambda body: body[0] + banner, message.html, count=1),
        blocks=[said, *message.blocks],
        event_id=f"drill-{message.event_id}",
    )


def as_drilled(alert: Alert) -> Alert:
    """Return the alert marked as a drill, for a channel that words it in a way of its own."""
    return replace(alert, event_id=f"drill-{alert.event_id}", metric_name=f"{MARK} {alert.metric_name}")
