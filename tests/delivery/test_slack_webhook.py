"""Alerts by an incoming webhook, posted to a real HTTP server."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest

from anomstack_provider.alerting.alert import Alert
from anomstack_provider.delivery.channels import DeliveryError
from anomstack_provider.delivery.channels.slack_webhook import SlackWebhookChannel
from anomstack_provider.messages.message import Message, compose


@pytest.fixture
def message(make_alert: Callable[..., Alert]) -> Message:
    return compose(make_alert(metric_name="a*b*_c_&<d>"), timezone="America/New_York", links={})


def send(message: Message) -> None:
    SlackWebhookChannel("hook").send(message, b"png", "alert.png")


def refusal(message: Message) -> str:
    with pytest.raises(DeliveryError) as refused:
        send(message)
    assert refused.value.channel == "slack_webhook"
    assert "secret" not in str(refused.value)
    assert "T00000000" not in str(refused.value)
    assert "\n" not in refused.value.reason
    return refused.value.reason


def test_the_message_without_its_chart(slack_server: Any, message: Message) -> None:
    send(message)
    ((method, body),) = slack_server.calls
    assert method == "webhook"
    assert body["blocks"] == message.blocks
    assert body["text"] == message.first_line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (404, b"no_service", "no_service (HTTP 404); the webhook is gone: put a new one into connection 'hook'"),
        (404, b"", "no reason given (HTTP 404); the webhook is gone"),
        (403, b"invalid_token", "put a new webhook into connection 'hook'"),
        (403, b"token_revoked", "put a new webhook into connection 'hook'"),
        (410, b"channel_is_archived", "another channel"),
        (400, b"invalid_blocks", "the webhook refused the message: invalid_blocks (HTTP 400)"),
        (500, b"<html>B00000000/very-secret", "(HTTP 500)"),
        (200, b"<html>log in, please", "does not say that the message was posted"),
        (200, b"", "does not say that the message was posted: nothing"),
    ],
)
def test_a_refusal_is_told_with_what_to_do(
    slack_server: Any, answer: Any, message: Message, status: int, body: bytes, said: str
) -> None:
    slack_server.answers["webhook"] = [answer(body, status)]
    assert said in refusal(message)
    assert slack_server.methods() == ["webhook"]


def test_a_short_wait_is_waited_for(slack_server: Any, answer: Any, message: Message, waits: list[float]) -> None:
    slack_server.answers["webhook"] = [answer(b"", 429, {"Retry-After": "7"})]
    send(message)
    assert waits == [7]
    assert slack_server.methods() == ["webhook"] * 2


@pytest.mark.parametrize("headers", [{"Retry-After": "600"}, {"Retry-After": "soon"}, {}])
def test_a_long_wait_is_left_to_the_next_run(
    slack_server: Any, answer: Any, message: Message, waits: list[float], headers: dict[str, str]
) -> None:
    slack_server.answers["webhook"] = [answer(b"", 429, headers)]
    assert "HTTP 429" in refusal(message)
    assert waits == []


def test_a_time_out_and_a_lost_connection_are_not_repeated(slack_server: Any, answer: Any, message: Message) -> None:
    slack_server.connect_webhook(timeout=1)
    slack_server.answers["webhook"] = [answer(b"ok", seconds=30), answer(b"", status=0)]
    assert "TimeoutError" in refusal(message)
    assert "RemoteDisconnected" in refusal(message)
    assert slack_server.methods() == ["webhook"] * 2


def test_missing_and_unusable_connections_are_named(message: Message, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no Airflow connection 'hook' with a webhook as password (key slack_webhook_conn_id)" in refusal(message)
    monkeypatch.setenv("AIRFLOW_CONN_HOOK", json.dumps({"conn_type": "slackwebhook", "host": "http://127.0.0.1:9"}))
    assert "(key slack_webhook_conn_id)" in refusal(message)
    monkeypatch.setenv(
        "AIRFLOW_CONN_HOOK", json.dumps({"conn_type": "slackwebhook", "password": "ftp://a/very-secret"})
    )
    assert "no answer that can be read" in refusal(message)


def test_the_log_does_not_tell_the_address(
    slack_server: Any, message: Message, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        send(message)
    assert "very-secret" not in caplog.text
