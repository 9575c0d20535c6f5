"""Which channels a batch has, from its real configuration."""

from __future__ import annotations

from typing import Any

import pytest

from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.delivery.channels import DeliveryError, Unconfigured, open_channels
from anomstack_provider.delivery.channels.base import plain_reason
from anomstack_provider.delivery.channels.email import EmailChannel
from anomstack_provider.delivery.channels.slack import SlackChannel


def spec(**keys: Any) -> BatchSpec:
    return BatchSpec.model_validate({"metric_batch": "b", "ingest_sql": "select 1", **keys})


def test_channels_come_with_destination_and_connection() -> None:
    opened = open_channels(
        spec(
            alert_methods="slack, email",
            email_to="ann@example.com, bob@example.com",
            smtp_conn_id="mail",
            slack_channel=" #alerts ",
            slack_conn_id="chat",
        )
    )
    assert opened == {
        "slack": SlackChannel("#alerts", "chat"),
        "email": EmailChannel(("ann@example.com", "bob@example.com"), "mail"),
    }
    assert list(opened) == ["slack", "email"]


def test_a_channel_without_destination_is_told_with_its_key() -> None:
    assert open_channels(spec()) == {
        "email": Unconfigured("email", "email_to"),
        "slack": Unconfigured("slack", "slack_channel"),
    }


def test_only_what_is_named() -> None:
    assert set(open_channels(spec(alert_methods="email", slack_channel="#alerts"))) == {"email"}
    assert open_channels(spec(alert_methods="")) == {}


def test_an_unknown_method_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="no channel 'emial', only email, slack, slack_webhook; did you mean 'email'"):
        open_channels(spec().model_copy(update={"alert_methods": ("emial",)}))


def test_a_reason_is_one_line_without_secrets() -> None:
    reason = plain_reason("a\r\nb pass password " + "x" * 900, ["pass", "password", None, ""])
    assert reason.startswith("a b *** *** xxx")
    assert len(reason) == 500
    assert str(DeliveryError("email", reason)).startswith("email: a b")
