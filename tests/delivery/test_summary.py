"""The daily summary as people get it, and the DAG that sends it, against a real SMTP server."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from anomstack_provider.delivery.channels.email import EmailChannel
from anomstack_provider.delivery.summary import compose_summary
from anomstack_provider.messages.message import CHART_UNAVAILABLE
from anomstack_provider.steps.summary import BatchSummary, MetricSummary

UNTIL = datetime(2024, 2, 29, 8, tzinfo=UTC)


def some() -> list[BatchSummary]:
    busy = {f"m{number}": MetricSummary(24, 24, number % 3) for number in range(12)}
    odd = {"<b>*מכירות*</b>": MetricSummary(1, 0, 0)}
    idle = {f"silent {number}": "no data" for number in range(7)}
    return [
        BatchSummary("broken", UNTIL, problem="could not be read: StoreBusy"),
        BatchSummary("web", UNTIL, busy, idle),
        BatchSummary("sales & co", UNTIL, odd, {"<b>*מכירות*</b>": "learning 1/14"}),
        BatchSummary("empty", UNTIL),
    ]


def test_a_summary(golden: Callable[[str, str], None]) -> None:
    message = compose_summary(some(), "email", "Europe/Berlin", {})
    golden("summary.txt", message.text)
    golden("summary.html", message.html)


def test_every_destination_and_day_has_an_id_of_its_own() -> None:
    one = compose_summary(some(), "email", "UTC", {})
    assert one.event_id == compose_summary(some(), "email", "UTC", {}).event_id
    assert one.event_id != compose_summary(some(), "slack", "UTC", {}).event_id


def test_a_summary_has_no_chart_and_says_nothing_of_one(mail_server: Any) -> None:
    message = compose_summary(some(), "email", "UTC", {})
    EmailChannel(("team@example.com",), "smtp_default").send(message, None, "")
    ((_, mail),) = mail_server.received
    text = mail.get_body(("plain",)).get_content()
    assert "web: 12 alerts; 12 metrics with 288 values; 288 scores" in text
    assert CHART_UNAVAILABLE not in text
    assert CHART_UNAVAILABLE not in mail.get_body(("html",)).get_content()
