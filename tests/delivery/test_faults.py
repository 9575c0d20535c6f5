"""At most one message per transition without a crash, never none: every fault, against real servers."""

from __future__ import annotations

import multiprocessing
import os
import warnings
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from anomstack_provider.alerting.alert import Alert
from anomstack_provider.delivery.channels import Channel
from anomstack_provider.delivery.channels.email import EmailChannel
from anomstack_provider.delivery.channels.notifier import NotifierChannel
from anomstack_provider.delivery.channels.slack import SlackChannel
from anomstack_provider.delivery.channels.slack_webhook import SlackWebhookChannel
from anomstack_provider.delivery.holding import HoldingRules
from anomstack_provider.delivery.report import DeliveryReport
from anomstack_provider.delivery.sending import LEASE, deliver
from anomstack_provider.messages.message import Message, compose
from anomstack_provider.store.hooks import EmbeddedDuckDBHook
from anomstack_provider.store.ledger import DeliveryLedger

START = datetime(2024, 3, 1, 12, tzinfo=UTC)
RUN_1, RUN_2 = "dag/run-1/alert", "dag/run-2/alert"
CHANNELS: dict[str, Channel] = {
    "email": EmailChannel(("ann@example.com",), "smtp_default"),
    "slack": SlackChannel("#alerts", "slack_api_default"),
    "slack_webhook": SlackWebhookChannel("hook"),
    "pager": NotifierChannel(
        "pager",
        "airflow.providers.slack.notifications.slack_webhook.SlackWebhookNotifier",
        {"slack_webhook_conn_id": "hook", "text": "{{ text }}", "retry_handlers": [], "timeout": 1},
    ),
}
POST = {"slack": "chat.postMessage", "slack_webhook": "webhook", "pager": "webhook"}


class Site:
    """A ledger and the servers behind the channels; counts what they have accepted."""

    def __init__(self, folder: Path, mail_server: Any, slack_server: Any) -> None:
        self.path = folder / "metrics.duckdb"
        self.mail_server = mail_server
        self.slack_server = slack_server
        self.now = START

    @property
    def ledger(self) -> DeliveryLedger:
        return DeliveryLedger(EmbeddedDuckDBHook(self.path), "metrics", "flights")

    def clock(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now

    def run(
        self,
        alerts: Sequence[Alert],
        channels: dict[str, Channel],
        claimant: str = RUN_1,
        rules: HoldingRules | None = None,
    ) -> DeliveryReport:
        return deliver(
            alerts,
            ledger=self.ledger,
            channels=channels,
            compose=partial(compose, timezone="UTC", links={}),
            chart=lambda alert: b"png",
            claimant=claimant,
            clock=self.clock,
            notify=True,
            rules=rules,
        )

    def statuses(self) -> list[tuple[str, int]]:
        found = self.ledger._hook.get_records("select status, attempts from metrics_deliveries order by seq")
        return [(status, attempts) for status, attempts in found]

    def mails(self) -> int:
        return len(self.mail_server.received)

    def posts(self, channel: str) -> int:
        """Return how many posts came, be they accepted or not."""
        return int(self.slack_server.methods().count(POST[channel]))


@pytest.fixture
def site(tmp_path: Path, mail_server: Any, slack_server: Any) -> Site:
    return Site(tmp_path, mail_server, slack_server)


@pytest.fixture
def alerts(make_alert: Callable[..., Alert]) -> list[Alert]:
    return [make_alert(event_id=f"{i:016x}", metric_name=f"metric_{i}") for i in range(5)]


def in_a_process(work: Callable[[], Any]) -> Any:
    """Start work in a forked process, which need not import Airflow again."""

    def guarded() -> None:
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)

    process = multiprocessing.get_context("fork").Process(target=guarded)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forking a process that has threads
        process.start()
    return process


class Crashing:
    """A channel whose process dies before or after the provider has the message."""

    def __init__(self, channel: Channel, when: str) -> None:
        self.channel = channel
        self.name = channel.name
        self.when = when

    def connections(self) -> dict[str, str]:
        return {}

    def send(self, message: Message, chart: bytes | None, filename: str, *, alerts: Sequence[Alert] = ()) -> None:
        if self.when == "before":
            os._exit(9)
        self.channel.send(message, chart, filename, alerts=alerts)
        os._exit(9)


@pytest.mark.parametrize("name", POST)
@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"body": b"", "status": 429, "headers": {"Retry-After": "3600"}}, "429"),
        ({"body": b"", "status": 500}, "500"),
        ({"body": b"", "status": 503}, "503"),
        ({"body": b"ok", "seconds": 30}, "TimeoutError"),
        ({"body": b"", "status": 0}, "RemoteDisconnected"),
        ({"body": b'{"ok": false, "error": "token_revoked"}'}, "token_revoked"),
        ({"body": b'{"ok": false, "error": "account_inactive"}'}, "account_inactive"),
        ({"body": b"token_revoked", "status": 403}, "403"),
        ({"body": b"", "status": 404}, "404"),
    ],
)
def test_what_is_refused_is_red_and_told_once_by_the_next_run(
    site: Site, alerts: list[Alert], answer: Any, name: str, fault: dict[str, Any], said: str
) -> None:
    if name == "pager" and fault.get("status", 200) == 200 and not fault.get("seconds"):
        fault = {**fault, "status": 403}  # a webhook tells by its status; the notifier looks at nothing else
    site.slack_server.connect(timeout=1)
    site.slack_server.connect_webhook(timeout=1)
    site.slack_server.answers[POST[name]] = [answer(**fault)]
    channels = {"email": CHANNELS["email"], name: CHANNELS[name]}
    report = site.run(alerts[:1], channels)
    assert [outcome.channel for outcome in report.sent] == ["email"]
    ((channel, reason),) = [(outcome.channel, outcome.reason) for outcome in report.failed]
    assert channel == name
    assert said in reason
    assert "secret" not in reason
    assert site.statuses() == [("sent", 1), ("failed", 1)]

    # The next run, a clear of this one, and the next but one: the post goes out once, the mail never again.
    assert site.run([], channels, RUN_2).summary() == {"sent": 1}
    assert site.run(alerts[:1], channels, RUN_1).summary() == {"sent": 0}
    assert site.run(alerts[:1], channels, RUN_2).summary() == {"sent": 0}
    assert (site.mails(), site.posts(name)) == (1, 2)


@pytest.mark.parametrize("name", POST)
def test_a_slow_body_is_waited_for_and_told_once(site: Site, alerts: list[Alert], answer: Any, name: str) -> None:
    site.slack_server.connect(timeout=1)
    site.slack_server.connect_webhook(timeout=1)
    usual = site.slack_server.usual(POST[name])
    site.slack_server.answers[POST[name]] = [answer(usual.body, drip=1.5 / len(usual.body))]
    report = site.run(alerts[:1], {name: CHANNELS[name]})
    assert report.summary() == {"sent": 1}
    assert site.posts(name) == 1


@pytest.mark.parametrize(
    ("refusal", "said"),
    [("451 try later", "451 try later"), ("554 no spam", "554 no spam"), ("421 shutting down", "421")],
)
def test_mail_that_is_refused_is_told_once_by_the_next_run(
    site: Site, alerts: list[Alert], refusal: str, said: str
) -> None:
    site.mail_server.data_answer = refusal
    channels = {"email": CHANNELS["email"], "slack": CHANNELS["slack"]}
    report = site.run(alerts[:1], channels)
    assert [outcome.channel for outcome in report.sent] == ["slack"]
    assert said in report.failed[0].reason
    site.mail_server.data_answer = "250 OK"
    assert site.run([], channels, RUN_2).summary() == {"sent": 1}
    assert (site.mails(), site.posts("slack")) == (1, 1)


@pytest.mark.parametrize("who", ["the retry", "another run"])
@pytest.mark.parametrize(("when", "messages"), [("before", 1), ("after", 2)])
@pytest.mark.parametrize("name", ["email", "slack_webhook"])
def test_a_crash_loses_nothing(site: Site, alerts: list[Alert], name: str, when: str, messages: int, who: str) -> None:
    process = in_a_process(lambda: site.run(alerts[:2], {name: Crashing(CHANNELS[name], when)}))
    process.join(60)
    assert process.exitcode == 9
    channels = {name: CHANNELS[name]}
    if who == "another run":
        assert site.run([], channels, RUN_2).summary() == {"sent": 0}
        site.now += LEASE + timedelta(minutes=1)
    report = site.run(alerts[:2], channels, RUN_1 if who == "the retry" else RUN_2)
    assert report.summary() == {"sent": 2}
    # A crash between the provider's acknowledgement and ours is the one case in which a message comes twice.
    assert (site.mails() if name == "email" else site.posts(name)) == messages + 1
    assert site.statuses() == [("sent", 2), ("sent", 1)]
    if name == "email":
        ids = {mail["Message-ID"] for _, mail in site.mail_server.received}
        assert len(ids) == 2  # and most mail readers then show it once


@pytest.mark.parametrize("name", ["email", "slack"])
def test_runs_at_once_tell_each_alert_once(site: Site, alerts: list[Alert], answer: Any, name: str) -> None:
    site.slack_server.answers[POST["slack"]] = [
        answer(site.slack_server.usual(POST["slack"]).body, seconds=0.3) for _ in alerts
    ]
    channels = {name: CHANNELS[name]}
    runs = [in_a_process(lambda i=i: site.run(alerts, channels, f"dag/run-{i}/alert")) for i in range(3)]  # type: ignore[misc]
    for process in runs:
        process.join(60)
    assert [process.exitcode for process in runs] == [0, 0, 0]
    assert site.statuses() == [("sent", 1)] * 5
    assert (site.mails() if name == "email" else site.posts(name)) == 5


def test_what_is_refused_again_and_again_is_abandoned_and_counted(
    site: Site, alerts: list[Alert], answer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    rules = HoldingRules(attempts=7)
    site.slack_server.answers["webhook"] = [answer(b"no_service", 404)] * 100
    channels = {"slack_webhook": CHANNELS["slack_webhook"]}
    tried = []
    for number in range(60):
        report = site.run(alerts[:1] if not number else [], channels, f"dag/run-{number}/alert", rules)
        tried.append(site.posts("slack_webhook"))
        if report.abandoned:
            break
        assert report.failed  # red as long as it is owed, tried or not
        assert "the webhook is gone" in report.failed[0].reason
        site.now += timedelta(minutes=5)
    # Five times run after run, then after 10 and 20 minutes.
    assert tried == [1, 2, 3, 4, 5, 5, 6, 6, 6, 6, 7]
    assert report.summary() == {"sent": 0, "delivery_failed": 1, "abandoned": 1}
    assert report.failed[0].reason.startswith("abandoned after 7 tries: the webhook refused the message: no_service")
    assert "abandoned after 7 tries" in caplog.text
    assert site.statuses() == [("abandoned", 7)]

    site.slack_server.answers.clear()
    site.now += timedelta(days=9)
    assert site.run(alerts[:1], channels, RUN_2, rules).summary() == {"sent": 0}
    assert site.ledger.retry_abandoned() == 1
    assert site.run(alerts[:1], channels, RUN_2, rules).summary() == {"sent": 1}


def test_a_run_that_tries_nothing_counts_no_try(site: Site, alerts: list[Alert], answer: Any) -> None:
    site.slack_server.answers["webhook"] = [answer(b"", 500)] * 100
    report = site.run(alerts, {"slack_webhook": CHANNELS["slack_webhook"]})
    assert len(report.failed) == 5
    assert site.statuses() == [("failed", 1)] * 3 + [("pending", 0)] * 2


def test_a_missing_connection_does_not_stop_the_other_channels(
    site: Site, alerts: list[Alert], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SLACK_API_DEFAULT", "HOOK"):
        monkeypatch.delenv(f"AIRFLOW_CONN_{name}")
    report = site.run(alerts[:1], dict(CHANNELS))
    assert [outcome.channel for outcome in report.sent] == ["email"]
    reasons = {outcome.channel: outcome.reason for outcome in report.failed}
    assert "no Airflow connection 'slack_api_default'" in reasons["slack"]
    assert "no Airflow connection 'hook'" in reasons["slack_webhook"]
    assert "`hook` isn't defined" in reasons["pager"]
