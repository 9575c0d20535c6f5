"""Alerts by Slack, sent over HTTP to a server on loopback that answers as Slack does, well and badly."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from anomstack_provider.alerting.alert import Alert
from anomstack_provider.delivery.channels import DeliveryError
from anomstack_provider.delivery.channels.slack import SlackChannel
from anomstack_provider.messages.message import CHART_UNAVAILABLE, Message, compose

PNG = b"\x89PNG\r\n\x1a\nchart"
UPLOAD = ["files.getUploadURLExternal", "upload", "files.completeUploadExternal"]


@pytest.fixture
def message(make_alert: Callable[..., Alert]) -> Message:
    return compose(make_alert(metric_name="a*b*_c_&<d>"), timezone="America/New_York", links={})


def send(message: Message, chart: bytes | None = PNG) -> None:
    SlackChannel("#alerts", "slack_api_default").send(message, chart, "alert.png")


def refusal(message: Message) -> DeliveryError:
    with pytest.raises(DeliveryError) as refused:
        send(message)
    assert refused.value.channel == "slack"
    assert "xoxb" not in str(refused.value)
    assert "\n" not in refused.value.reason
    return refused.value


def refused_with(error: str, **more: Any) -> bytes:
    return json.dumps({"ok": False, "error": error, **more}).encode()


def test_message_then_chart_in_its_thread(slack_server: Any, message: Message) -> None:
    send(message)
    assert slack_server.methods() == ["chat.postMessage", *UPLOAD]
    assert slack_server.tokens == {"Bearer xoxb-very-secret"}
    (_, post), (_, ticket), (_, upload), (_, complete) = slack_server.calls
    assert post["channel"] == "#alerts"
    assert post["blocks"] == message.blocks
    assert post["text"] == message.first_line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    assert post["mrkdwn"] is False
    assert upload["data"] == PNG
    assert ticket["filename"] == "alert.png"
    assert int(ticket["length"]) == len(PNG)
    assert ticket["alt_txt"] == f"Chart: {message.first_line}"
    # The id that the post was answered with, not the name in the config.
    assert complete["channel_id"] == "C0123456789"
    assert complete["thread_ts"] == "1700000000.000100"


def test_a_message_without_chart_says_so(slack_server: Any, message: Message) -> None:
    send(message, chart=None)
    assert slack_server.methods() == ["chat.postMessage"]
    assert CHART_UNAVAILABLE in json.dumps(slack_server.calls[0][1]["blocks"])


@pytest.mark.parametrize("step", UPLOAD)
@pytest.mark.parametrize("status", [200, 403, 500])
def test_a_refused_chart_does_not_send_the_message_again(
    slack_server: Any, answer: Any, message: Message, step: str, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    if step == "upload" and status == 200:
        status = 404  # an upload tells by its status alone
    slack_server.answers[step] = [answer(refused_with("missing_scope"), status)]
    send(message)
    assert slack_server.methods().count("chat.postMessage") == 1
    method, update = slack_server.calls[-1]
    assert method == "chat.update"
    assert (update["channel"], update["ts"]) == ("C0123456789", "1700000000.000100")
    assert CHART_UNAVAILABLE in json.dumps(update["blocks"])
    assert "its chart was refused" in caplog.text


def test_a_chart_that_cannot_even_be_excused_is_no_failure(
    slack_server: Any, answer: Any, message: Message, caplog: pytest.LogCaptureFixture
) -> None:
    slack_server.answers["files.getUploadURLExternal"] = [answer(b"[]")]
    slack_server.answers["chat.update"] = [answer(b"", 500)]
    send(message)
    assert slack_server.methods().count("chat.postMessage") == 1
    assert "could not be marked" in caplog.text


@pytest.mark.parametrize(
    ("error", "more", "advice"),
    [
        ("invalid_auth", {}, "check the token in connection 'slack_api_default'"),
        ("token_revoked", {}, "put a new token into connection 'slack_api_default'"),
        ("channel_not_found", {}, "check slack_channel"),
        ("not_in_channel", {}, "invite the app to #alerts"),
        ("missing_scope", {"needed": "chat:write"}, "the app needs the scope chat:write"),
        ("something_new", {}, "something_new"),
    ],
)
def test_what_slack_refuses_is_told_with_what_to_do(
    slack_server: Any, answer: Any, message: Message, error: str, more: dict[str, str], advice: str
) -> None:
    slack_server.answers["chat.postMessage"] = [answer(refused_with(error, **more))]
    reason = refusal(message).reason
    assert f"Slack refused the message: {error}" in reason
    assert advice in reason
    assert slack_server.methods() == ["chat.postMessage"]


def test_an_echoed_token_is_blotted_out(slack_server: Any, answer: Any, message: Message) -> None:
    slack_server.answers["chat.postMessage"] = [answer(refused_with("not xoxb-very-secret\nat all"))]
    assert "not *** at all" in refusal(message).reason


@pytest.mark.parametrize("body", [b"<html>oops xoxb-very-secret", b"", b'{"ok": true', b"[]", b"[1]", b"7", b"null"])
@pytest.mark.parametrize("status", [200, 500, 503])
def test_an_answer_that_is_no_acknowledgement_is_a_refusal(
    slack_server: Any, answer: Any, message: Message, body: bytes, status: int
) -> None:
    slack_server.answers["chat.postMessage"] = [answer(body, status)]
    refusal(message)
    assert slack_server.methods() == ["chat.postMessage"]


@pytest.mark.parametrize("body", [b'{"ok": true}', b'{"ok": true, "ts": "1.2"}', b'{"ok": "true", "ts": "1"}'])
def test_an_acknowledgement_has_to_name_the_message(
    slack_server: Any, answer: Any, message: Message, body: bytes
) -> None:
    slack_server.answers["chat.postMessage"] = [answer(body)]
    assert "does not say that the message was posted" in refusal(message).reason


def test_a_short_wait_is_waited_for(slack_server: Any, answer: Any, message: Message, waits: list[float]) -> None:
    slack_server.answers["chat.postMessage"] = [answer(b"{}", 429, {"Retry-After": "7"})]
    send(message)
    assert waits == [7]
    assert slack_server.methods() == ["chat.postMessage", "chat.postMessage", *UPLOAD]


@pytest.mark.parametrize("headers", [{"Retry-After": "600"}, {"Retry-After": "soon"}, {}])
def test_a_long_wait_is_left_to_the_next_run(
    slack_server: Any, answer: Any, message: Message, waits: list[float], headers: dict[str, str]
) -> None:
    slack_server.answers["chat.postMessage"] = [answer(b"{}", 429, headers)]
    assert "HTTP 429" in refusal(message).reason
    assert waits == []
    assert slack_server.methods() == ["chat.postMessage"]


def test_a_second_limit_in_a_row_is_a_refusal(
    slack_server: Any, answer: Any, message: Message, waits: list[float]
) -> None:
    slack_server.answers["chat.postMessage"] = [answer(b"{}", 429, {"Retry-After": "1"})] * 2
    assert "HTTP 429" in refusal(message).reason
    assert waits == [1]


def test_a_time_out_is_a_refusal_and_not_repeated(slack_server: Any, answer: Any, message: Message) -> None:
    slack_server.connect(timeout=1)
    slack_server.answers["chat.postMessage"] = [answer(b'{"ok": true}', seconds=30)]
    assert "TimeoutError" in refusal(message).reason
    assert slack_server.methods() == ["chat.postMessage"]


def test_a_lost_connection_is_not_repeated_at_once(slack_server: Any, answer: Any, message: Message) -> None:
    slack_server.answers["chat.postMessage"] = [answer(b"", status=0)]
    assert "RemoteDisconnected" in refusal(message).reason
    assert slack_server.methods() == ["chat.postMessage"]


def test_a_server_that_is_down(slack_server: Any, message: Message, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = {"conn_type": "slack", "password": "xoxb-1", "extra": {"base_url": "http://127.0.0.1:9/"}}
    monkeypatch.setenv("AIRFLOW_CONN_SLACK_API_DEFAULT", json.dumps(connection))
    assert "refused" in refusal(message).reason


def test_a_missing_connection_is_named_with_its_key(message: Message) -> None:
    with pytest.raises(DeliveryError) as refused:
        SlackChannel("#alerts", "slack_office").send(message, PNG, "alert.png")
    assert "'slack_office' with a token (key slack_conn_id)" in refused.value.reason


def test_a_connection_without_token_is_named(message: Message, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SLACK_API_DEFAULT", json.dumps({"conn_type": "slack"}))
    assert "(key slack_conn_id)" in refusal(message).reason
