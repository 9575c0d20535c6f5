"""Whom an alert is for."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from anomstack_provider.alerting.alert import Alert
from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.delivery.channels import Unconfigured, open_channels
from anomstack_provider.delivery.channels.email import EmailChannel
from anomstack_provider.delivery.channels.notifier import NotifierChannel
from anomstack_provider.delivery.channels.slack import SlackChannel
from anomstack_provider.delivery.channels.slack_webhook import SlackWebhookChannel
from anomstack_provider.delivery.routing import Routing
from anomstack_provider.delivery.sending import deliver
from anomstack_provider.messages.message import compose
from anomstack_provider.store.hooks import EmbeddedDuckDBHook
from anomstack_provider.store.ledger import DeliveryLedger

PAGER = {"name": "pager", "class": "a.b.Pager", "args": {"key": "{{ event.event_id }}"}}


def spec(**keys: Any) -> BatchSpec:
    base = {"metric_batch": "flights", "ingest_sql": "select 1", "notifiers": [PAGER], "slack_channel": "#alerts"}
    return BatchSpec.model_validate({**base, "email_to": "ann@example.com", **keys})


def test_without_routes_the_methods_of_the_kind(make_alert: Callable[..., Alert]) -> None:
    routing = Routing(spec(alert_methods="slack, pager", tholdalert_methods="email"))
    assert routing.channels(make_alert()) == ("slack", "pager")
    assert routing.channels(make_alert(kind="threshold")) == ("email",)
    assert routing.channels(make_alert(kinds=("anomaly", "threshold"))) == ("slack", "pager", "email")
    assert routing.channels(make_alert(kinds=("anomaly", "change"))) == ("slack", "pager")
    assert list(open_channels(spec(alert_methods="slack", tholdalert_methods="email"))) == ["slack", "email"]
    assert Routing(spec(alert_methods="slack")).channels(make_alert(kind="threshold")) == ("slack",)


@pytest.mark.parametrize(
    ("route", "fits"),
    [
        ({}, True),
        ({"metrics": "cancelled_*"}, True),
        ({"metrics": "delayed_*, cancelled_share_LGA"}, True),
        ({"metrics": "CANCELLED_*"}, False),
        ({"batches": "fli*"}, True),
        ({"batches": "sales"}, False),
        ({"tags": {"airport": "LGA"}}, True),
        ({"tags": {"airport": "LGA", "unit": "share"}}, True),
        ({"tags": {"airport": "JFK"}}, False),
        ({"tags": {"team": "x"}}, False),
        ({"owner": "airflow"}, True),
        ({"owner": "data"}, False),
        ({"severity": "low"}, True),
        ({"severity": "medium"}, True),
        ({"severity": "high"}, False),
        ({"kinds": "threshold, anomaly"}, True),
        ({"kinds": "late"}, False),
        ({"metrics": "cancelled_*", "severity": "high"}, False),
    ],
)
def test_a_route_fits_if_all_of_it_does(make_alert: Callable[..., Alert], route: dict[str, Any], fits: bool) -> None:
    routing = Routing(spec(alert_methods="slack", routes=[{**route, "channels": "pager"}]))
    assert routing.channels(make_alert(severity="medium")) == (("pager",) if fits else ("slack",))


def test_a_name_that_looks_like_a_pattern_is_still_a_name(make_alert: Callable[..., Alert]) -> None:
    routing = Routing(spec(alert_methods="slack", routes=[{"metrics": ["a[1]"], "channels": "pager"}]))
    assert routing.channels(make_alert(metric_name="a[1]")) == ("pager",)


def test_late_data_are_routed_by_the_metrics_that_miss(make_alert: Callable[..., Alert]) -> None:
    routing = Routing(spec(alert_methods="slack", routes=[{"metrics": "orders", "channels": "pager"}]))
    late = make_alert(kind="late", direction="none", metric_name="flights", metrics=("orders", "users"))
    assert routing.channels(late) == ("pager",)


def test_a_metric_has_an_owner_of_its_own_or_the_batchs(make_alert: Callable[..., Alert]) -> None:
    routing = Routing(
        spec(
            owner="data",
            alert_methods="slack",
            metric_settings={"pay*": {"owner": "payments"}},
            routes=[{"owner": "payments", "channels": "pager"}, {"owner": "data", "channels": "email"}],
        )
    )
    late = make_alert(kind="late", metric_name="flights", metrics=("orders", "payments"))
    assert routing.channels(make_alert(metric_name="payments")) == ("pager",)
    assert routing.channels(make_alert(metric_name="orders")) == ("email",)
    assert routing.channels(late) == ("pager",)


def test_the_first_that_fits_decides_and_may_tell_nobody(make_alert: Callable[..., Alert]) -> None:
    routing = Routing(
        spec(routes=[{"severity": "high", "channels": "pager"}, {"severity": "medium", "channels": []}, {}])
    )
    alerts = [make_alert(severity=severity) for severity in ("high", "medium", "low")]
    assert [routing.channels(alert) for alert in alerts] == [("pager",), (), ("email", "slack")]


def test_a_route_may_give_a_channel_another_destination(make_alert: Callable[..., Alert]) -> None:
    given = spec(
        alert_methods="email, slack",
        routes=[
            {
                "metrics": "a",
                "channels": "slack, email, slack_webhook",
                "slack_channel": "#a",
                "email_to": "b@x.y, c@x.y",
            },
            {"metrics": "b", "slack_webhook_conn_id": "hook", "channels": "slack_webhook, pager"},
        ],
    )
    names = [Routing(given).channels(make_alert(metric_name=name)) for name in "abc"]
    assert names == [
        ("slack:#a", "email:b@x.y,c@x.y", "slack_webhook"),
        ("slack_webhook:hook", "pager"),
        ("email", "slack"),
    ]
    opened = open_channels(given, links={"Run": "u"})
    assert opened == {
        "email": EmailChannel(("ann@example.com",), "smtp_default"),
        "slack": SlackChannel("#alerts", "slack_api_default"),
        "slack:#a": SlackChannel("#a", "slack_api_default"),
        "email:b@x.y,c@x.y": EmailChannel(("b@x.y", "c@x.y"), "smtp_default"),
        "slack_webhook": Unconfigured("slack_webhook", "slack_webhook_conn_id"),
        "slack_webhook:hook": SlackWebhookChannel("hook"),
        "pager": NotifierChannel("pager", "a.b.Pager", {"key": "{{ event.event_id }}"}, {"Run": "u"}),
    }
    assert set(names[0] + names[1] + names[2]) == set(opened)


def test_each_destination_has_its_own_message_and_its_own_end(
    make_alert: Callable[..., Alert], slack_server: Any, mail_server: Any, tmp_path: Path
) -> None:
    given = spec(
        alert_methods="slack",
        routes=[{"severity": "high", "channels": "slack, email", "slack_channel": "#war-room"}],
    )

    def run(*alerts: Alert) -> dict[str, Any]:
        report = deliver(
            alerts,
            ledger=DeliveryLedger(EmbeddedDuckDBHook(tmp_path / "metrics.duckdb"), "metrics", "flights"),
            channels=open_channels(given),
            compose=partial(compose, timezone="UTC", links={}),
            chart=lambda alert: b"png",
            claimant="dag/run/alert",
            clock=lambda: datetime.now(UTC),
            notify=True,
            route=Routing(given).channels,
        )
        return report.summary()

    assert run(make_alert(event_id="a"), make_alert(event_id="b", severity="low")) == {"sent": 3}
    # Its severity has fallen by then, and still those are told who were told that it began.
    assert run(make_alert(event_id="a", severity="low", transition="closed")) == {"sent": 2}
    posts = [body["channel"] for method, body in slack_server.calls if method == "chat.postMessage"]
    assert posts == ["#war-room", "#alerts", "#war-room"]
    assert len(mail_server.received) == 2
