"""What arrives, to the letter: mails as a mail server gets them, calls as Slack gets them, a notifier's request."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from email.message import EmailMessage
from typing import Any

import pytest

from anomstack_provider.alerting.alert import Alert
from anomstack_provider.config.about import About
from anomstack_provider.delivery.channels.email import EmailChannel
from anomstack_provider.delivery.channels.notifier import NotifierChannel
from anomstack_provider.delivery.channels.slack import SlackChannel
from anomstack_provider.delivery.channels.slack_webhook import SlackWebhookChannel
from anomstack_provider.messages.message import Message, compose

PNG = b"\x89PNG\r\n\x1a\nchart"
CASES: dict[str, tuple[dict[str, Any], bytes | None]] = {
    "ordinary": ({}, PNG),
    "no_chart": ({}, None),
    "escalated": ({"transition": "escalated"}, PNG),
    "closed": ({"transition": "closed"}, PNG),
    "late": (
        {"kind": "late", "direction": "none", "value": None, "expected": None, "lower": None, "upper": None}
        | {"score": None, "threshold": None, "tags": ()},
        None,
    ),
    "long_names": ({"metric_batch": "batch_" * 20, "metric_name": "metric_" * 40 + "LGA"}, PNG),
    "right_to_left": ({"metric_batch": "עסקים", "metric_name": "מדד_الطلبات"}, PNG),
    "huge": ({"value": 1.5e12, "expected": 1.2e12, "lower": 1.1e12, "upper": 1.3e12}, PNG),
    "no_value": ({"value": None}, PNG),
    "constant": ({"value": 0.5, "expected": 0.5, "lower": 0.5, "upper": 0.5}, PNG),
    "negative": ({"value": -1500.0, "expected": -800.0, "lower": -900.0, "upper": -700.0, "direction": "down"}, PNG),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest, make_alert: Callable[..., Alert]) -> tuple[str, Message, bytes | None]:
    changes, chart = CASES[request.param]
    about = About(unit="EUR", owner="Ann", runbook="https://wiki.example.com/r")
    links = {"Run": "https://airflow.example.com/dags/flights/runs/r"}
    return request.param, compose(make_alert(**changes), timezone="UTC", links=links, about=about), chart


def test_mail(mail_server: Any, case: tuple[str, Message, bytes | None], golden: Callable[[str, str], None]) -> None:
    name, message, chart = case
    EmailChannel(("ann@example.com",), "smtp_default").send(message, chart, "alert.png")
    ((_, mail),) = mail_server.received
    golden(f"mails/{name}.txt", "\n".join(_parts(mail)))


def _parts(mail: EmailMessage) -> list[str]:
    """Say which parts a mail has, their headers but for what differs each time, and their content."""
    lines = []
    for part in mail.walk():
        assert isinstance(part, EmailMessage)
        kept = [(key, value) for key, value in part.items() if key not in ("Date", "X-Peer", "X-MailFrom", "X-RcptTo")]
        lines += [re.sub(r'boundary="[^"]*"', 'boundary="..."', f"{key}: {value}") for key, value in kept]
        content = None if part.is_multipart() else part.get_content()
        lines += ["", repr(content) if isinstance(content, bytes) else (content or "").replace("\r\n", "\n")]
    return lines


def test_slack(slack_server: Any, case: tuple[str, Message, bytes | None], golden: Callable[[str, str], None]) -> None:
    name, message, chart = case
    SlackChannel("#alerts", "slack_api_default").send(message, chart, "alert.png")
    calls = [
        {"method": method, **{key: _plain(value) for key, value in call.items()}} for method, call in slack_server.calls
    ]
    golden(f"slack/{name}.json", json.dumps(calls, indent=1, ensure_ascii=False, sort_keys=True) + "\n")


def test_slack_webhook(
    slack_server: Any, case: tuple[str, Message, bytes | None], golden: Callable[[str, str], None]
) -> None:
    name, message, chart = case
    SlackWebhookChannel("hook").send(message, chart, "alert.png")
    golden(f"slack_webhook/{name}.json", _only_call(slack_server))


def test_a_notifier(
    slack_server: Any,
    case: tuple[str, Message, bytes | None],
    golden: Callable[[str, str], None],
    make_alert: Callable[..., Alert],
) -> None:
    name, message, chart = case
    args = {
        "slack_webhook_conn_id": "hook",
        "text": "{{ first_line }}\n{{ event.event_id }} {{ event.transition }} {{ event.value }}\n{{ text }}",
    }
    path = "airflow.providers.slack.notifications.slack_webhook.SlackWebhookNotifier"
    alert = make_alert(**CASES[name][0])
    NotifierChannel("pager", path, args).send(message, chart, "alert.png", alerts=[alert])
    golden(f"notifier/{name}.json", _only_call(slack_server))


def _only_call(slack_server: Any) -> str:
    ((_, call),) = slack_server.calls
    return json.dumps(call, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def _plain(value: Any) -> Any:
    return value.decode("latin-1") if isinstance(value, bytes) else value
