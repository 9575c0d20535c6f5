"""Each alert once per channel: a real ledger, channels that fail on command, real servers at the end."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from anomstack_provider.alerting.alert import Alert
from anomstack_provider.delivery.channels import Channel, DeliveryError, Unconfigured
from anomstack_provider.delivery.channels.email import EmailChannel
from anomstack_provider.delivery.channels.slack import SlackChannel
from anomstack_provider.delivery.report import DeliveryReport, Outcome
from anomstack_provider.delivery.sending import LEASE, deliver
from anomstack_provider.messages.message import Message, compose
from anomstack_provider.store.hooks import EmbeddedDuckDBHook
from anomstack_provider.store.ledger import Delivery, DeliveryLedger

START = datetime(2013, 2, 9, 6, tzinfo=UTC)


class Recorder:
    """A channel that keeps what it is given, and raises what it is told to."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.sent: list[tuple[Message, bytes | None, str]] = []
        self.error: Exception | None = None
        self.asked = 0

    def connections(self) -> dict[str, str]:
        return {}

    def send(self, message: Message, chart: bytes | None, filename: str, *, alerts: Sequence[Alert] = ()) -> None:
        self.asked += 1
        if self.error:
            raise self.error
        self.sent.append((message, chart, filename))

    @property
    def lines(self) -> list[str]:
        return [message.first_line for message, _, _ in self.sent]


class Clock:
    """A clock that moves on by itself at every look."""

    def __init__(self, step: timedelta = timedelta(seconds=1)) -> None:
        self.now = START
        self.step = step

    def __call__(self) -> datetime:
        self.now += self.step
        return self.now


@pytest.fixture
def ledger(tmp_path: Path) -> DeliveryLedger:
    return DeliveryLedger(EmbeddedDuckDBHook(tmp_path / "metrics.duckdb"), "metrics", "flights")


@pytest.fixture
def email() -> Recorder:
    return Recorder("email")


@pytest.fixture
def slack() -> Recorder:
    return Recorder("slack")


@pytest.fixture
def alerts(make_alert: Callable[..., Alert]) -> list[Alert]:
    return [make_alert(event_id=f"{i:016x}", metric_name=f"metric_{i}") for i in range(5)]


def run(
    ledger: DeliveryLedger,
    channels: Mapping[str, Channel | Unconfigured],
    alerts: list[Alert],
    *,
    claimant: str = "dag/run-1/alert",
    notify: bool = True,
    chart: Callable[[Alert], bytes] = lambda alert: b"png of " + alert.event_id.encode(),
    clock: Callable[[], datetime] | None = None,
) -> DeliveryReport:
    return deliver(
        alerts,
        ledger=ledger,
        channels=channels,
        compose=partial(compose, timezone="UTC", links={}),
        chart=chart,
        claimant=claimant,
        clock=clock or Clock(),
        notify=notify,
    )


def rows(ledger: DeliveryLedger) -> dict[tuple[str, str], tuple[str, int, str | None]]:
    found = ledger._hook.get_records(
        f"select event_id, channel, status, attempts, error from {ledger.table} order by 1, 2"
    )
    return {(event, channel): (status, attempts, error) for event, channel, status, attempts, error in found}


def statuses(ledger: DeliveryLedger) -> list[str]:
    return [status for status, _, _ in rows(ledger).values()]


def test_every_alert_to_every_channel_once(
    ledger: DeliveryLedger, email: Recorder, slack: Recorder, alerts: list[Alert]
) -> None:
    channels = {"email": email, "slack": slack}
    report = run(ledger, channels, alerts)
    for channel in (email, slack):
        assert [message.event_id for message, _, _ in channel.sent] == [alert.event_id for alert in alerts]
        assert [chart for _, chart, _ in channel.sent] == [b"png of " + a.event_id.encode() for a in alerts]
        assert channel.sent[3][2] == f"alert-20130208-{alerts[3].event_id}.png"
    assert report.summary() == {"sent": 10}
    assert report.describe_failures() == ""
    assert statuses(ledger) == ["sent"] * 10

    again = run(ledger, channels, alerts, claimant="dag/run-2/alert")
    assert again.summary() == {"sent": 0}
    assert (email.asked, slack.asked) == (5, 5)


def test_the_chart_is_drawn_once_for_all_channels(
    ledger: DeliveryLedger, email: Recorder, slack: Recorder, alerts: list[Alert]
) -> None:
    drawn: list[str] = []

    def chart(alert: Alert) -> bytes:
        drawn.append(alert.event_id)
        return b"png"

    run(ledger, {"email": email, "slack": slack}, alerts, chart=chart)
    assert drawn == [alert.event_id for alert in alerts]


def test_what_failed_is_retried_alone(
    ledger: DeliveryLedger, email: Recorder, slack: Recorder, alerts: list[Alert]
) -> None:
    channels = {"email": email, "slack": slack}
    slack.error = DeliveryError("slack", "Slack is down")
    report = run(ledger, channels, alerts[:2])
    assert len(report.sent) == 2
    assert report.failed == [
        Outcome("slack", alerts[0].event_id, "opened", "Slack is down"),
        Outcome("slack", alerts[1].event_id, "opened", "Slack is down"),
    ]
    assert report.summary() == {"sent": 2, "delivery_failed": 2}
    assert report.describe_failures() == (f"slack: Slack is down (events {alerts[0].event_id}, {alerts[1].event_id})")
    assert rows(ledger)[alerts[0].event_id, "slack"] == ("failed", 1, "Slack is down")

    slack.error = None
    report = run(ledger, channels, alerts[2:3], claimant="dag/run-2/alert")
    assert email.asked == 3
    # Composed anew from what the ledger kept, oldest first, then this run's own.
    assert slack.lines == [compose(alert, timezone="UTC", links={}).first_line for alert in alerts[:3]]
    assert report.summary() == {"sent": 4}
    assert statuses(ledger) == ["sent"] * 6


def test_a_delivery_to_some_of_the_recipients_is_an_error_once(
    ledger: DeliveryLedger, email: Recorder, alerts: list[Alert]
) -> None:
    email.error = DeliveryError("email", "not to bob@example.com", accepted=True)
    report = run(ledger, {"email": email}, alerts[:1])
    assert [outcome.reason for outcome in report.failed] == ["not to bob@example.com"]
    assert report.sent == []
    again = run(ledger, {"email": email}, alerts[:1], claimant="dag/run-2/alert")
    assert again.summary() == {"sent": 0}
    assert email.asked == 1


def test_an_unexpected_error_stops_neither_the_others_nor_leaks(
    ledger: DeliveryLedger,
    email: Recorder,
    slack: Recorder,
    alerts: list[Alert],
    caplog: pytest.LogCaptureFixture,
) -> None:
    email.error = KeyError("a secret")
    report = run(ledger, {"email": email, "slack": slack}, alerts[:1])
    assert len(slack.sent) == 1
    assert report.describe_failures() == (
        f"email: unexpected KeyError, see the task's log (event {alerts[0].event_id})"
    )
    assert rows(ledger)[alerts[0].event_id, "email"][2] == "unexpected KeyError, see the task's log"
    assert "could not be sent by email" in caplog.text


def test_an_alert_without_chart_is_still_an_alert(
    ledger: DeliveryLedger, email: Recorder, alerts: list[Alert], caplog: pytest.LogCaptureFixture
) -> None:
    def chart(alert: Alert) -> bytes:
        raise ZeroDivisionError("no room")

    report = run(ledger, {"email": email}, alerts[:1], chart=chart)
    assert report.summary() == {"sent": 1}
    assert email.sent[0][1] is None
    assert "could not be drawn" in caplog.text


def test_an_unconfigured_channel_is_counted_and_not_recorded(
    ledger: DeliveryLedger, email: Recorder, alerts: list[Alert], caplog: pytest.LogCaptureFixture
) -> None:
    channels = {"email": email, "slack": Unconfigured("slack", "slack_channel")}
    with caplog.at_level(logging.WARNING):
        report = run(ledger, channels, alerts[:2])
    assert report.summary() == {"sent": 2, "unconfigured": {"slack_channel": 2}}
    assert report.failed == []
    assert "set slack_channel" in caplog.text
    assert {channel for _, channel in rows(ledger)} == {"email"}
    assert run(ledger, channels, []).summary() == {"sent": 0}


def test_a_backfill_records_and_sends_nothing_ever(
    ledger: DeliveryLedger, email: Recorder, alerts: list[Alert]
) -> None:
    report = run(ledger, {"email": email}, alerts, notify=False)
    assert report.summary() == {"sent": 0, "suppressed": 5}
    assert run(ledger, {"email": email}, alerts, notify=False).summary() == {"sent": 0}
    assert run(ledger, {"email": email}, alerts, notify=True).summary() == {"sent": 0}
    assert email.asked == 0
    assert statuses(ledger) == ["suppressed"] * 5


def test_a_backfill_sends_what_a_live_run_still_owes(
    ledger: DeliveryLedger, email: Recorder, alerts: list[Alert]
) -> None:
    email.error = DeliveryError("email", "down")
    run(ledger, {"email": email}, alerts[:1])
    email.error = None
    report = run(ledger, {"email": email}, alerts, notify=False, claimant="dag/backfill/alert")
    assert report.summary() == {"sent": 1, "suppressed": 4}


@pytest.mark.parametrize(
    ("channels", "why"),
    [
        ({}, "slack is no longer among alert_methods or routes"),
        ({"slack": Unconfigured("slack", "slack_channel")}, "has no destination any more, set slack_channel"),
    ],
)
def test_what_is_owed_by_a_channel_that_is_gone_is_told_and_kept(
    ledger: DeliveryLedger,
    slack: Recorder,
    alerts: list[Alert],
    channels: dict[str, Channel | Unconfigured],
    why: str,
) -> None:
    slack.error = DeliveryError("slack", "down")
    run(ledger, {"slack": slack}, alerts[:1])
    report = run(ledger, channels, [], claimant="dag/run-2/alert")
    assert report.summary() == {"sent": 0, "orphaned": 1}
    assert report.failed == []
    assert why in report.orphaned[0].reason
    slack.error = None
    assert run(ledger, {"slack": slack}, [], claimant="dag/run-3/alert").summary() == {"sent": 1}


def test_a_dead_channel_is_left_alone_after_three_failures(
    ledger: DeliveryLedger, email: Recorder, slack: Recorder, alerts: list[Alert]
) -> None:
    slack.error = DeliveryError("slack", "down")
    report = run(ledger, {"email": email, "slack": slack}, alerts)
    assert (email.asked, slack.asked) == (5, 3)
    assert [o.reason for o in report.failed][3:] == [
        "not tried: 3 before it failed in a row; the next run tries again"
    ] * 2
    slack.error = None
    assert run(ledger, {"slack": slack}, [], claimant="dag/run-2/alert").summary() == {"sent": 5}


def test_a_run_that_others_have_overtaken_sends_nothing_of_theirs(
    ledger: DeliveryLedger, email: Recorder, alerts: list[Alert]
) -> None:
    # Every look at the clock costs more than the lease, and then another run comes.
    clock = Clock(LEASE * 2)
    taken: list[Delivery] = []

    def overtake(message: Message, chart: bytes | None, filename: str, *, alerts: Sequence[Alert] = ()) -> None:
        if not taken:
            taken.extend(ledger.claim("dag/run-2/alert", clock(), LEASE))
        email.sent.append((message, chart, filename))

    email.send = overtake  # type: ignore[method-assign]
    report = run(ledger, {"email": email}, alerts, clock=clock)
    assert len(taken) == 5
    assert len(report.sent) == len(email.sent) == 1
    assert report.failed == []
    assert ledger.begin(taken, clock())[0].event_id == alerts[1].event_id


def test_a_killed_run_is_taken_up_by_its_own_retry_or_after_the_lease(
    ledger: DeliveryLedger, email: Recorder, alerts: list[Alert]
) -> None:
    ledger.record([Delivery(a.event_id, "opened", "email", "flights", a.to_json()) for a in alerts[:2]], START)
    _, second = ledger.claim("dag/run-1/alert", START, LEASE)  # and then it was killed
    assert run(ledger, {"email": email}, alerts[:2], claimant="dag/run-2/alert").summary() == {"sent": 0}
    ledger.sent([second], START)
    assert run(ledger, {"email": email}, alerts[:2], claimant="dag/run-1/alert").summary() == {"sent": 1}

    ledger.record([Delivery(alerts[2].event_id, "opened", "email", "flights", alerts[2].to_json())], START)
    ledger.claim("dag/run-3/alert", START, LEASE)
    later = Clock()
    later.now = START + LEASE + timedelta(minutes=1)
    assert run(ledger, {"email": email}, [], claimant="dag/run-4/alert", clock=later).summary() == {"sent": 1}


def test_a_stored_alert_that_cannot_be_read_is_a_failure_of_its_own(
    ledger: DeliveryLedger, email: Recorder, alerts: list[Alert]
) -> None:
    ledger.record([Delivery("feed", "opened", "email", "flights", '{"from": "another version"}')], START)
    report = run(ledger, {"email": email}, alerts[:1])
    assert report.summary() == {"sent": 1, "delivery_failed": 1}
    assert "unexpected ValueError" in report.failed[0].reason


_ONE_RUN = """
import sys
from datetime import UTC, datetime
from functools import partial
from anomstack_provider.alerting.alert import Alert
from anomstack_provider.delivery.sending import deliver
from anomstack_provider.messages.message import compose
from anomstack_provider.store.hooks import EmbeddedDuckDBHook
from anomstack_provider.store.ledger import DeliveryLedger

path, number, *payloads = sys.argv[1:]

class Channel:
    name = "email"
    def send(self, message, chart, filename, *, alerts):
        with open(f"{path}.sent", "a") as sent:
            sent.write(message.event_id + "\\n")

print("ready", flush=True)
sys.stdin.readline()
deliver(
    [Alert.from_json(payload) for payload in payloads],
    ledger=DeliveryLedger(EmbeddedDuckDBHook(path), "metrics", "flights"),
    channels={"email": Channel()},
    compose=partial(compose, timezone="UTC", links={}),
    chart=lambda alert: b"",
    claimant=f"dag/run-{number}/alert",
    clock=lambda: datetime.now(UTC),
    notify=True,
)
"""


def test_concurrent_runs_send_each_alert_once(tmp_path: Path, alerts: list[Alert]) -> None:
    path = tmp_path / "metrics.duckdb"
    payloads = [alert.to_json() for alert in alerts]
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", _ONE_RUN, str(path), str(number), *payloads],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    for process in runs:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in runs:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in runs:
        process.communicate(timeout=60)
    assert [process.returncode for process in runs] == [0, 0]
    sent = Path(f"{path}.sent").read_text().split()
    assert sorted(sent) == [alert.event_id for alert in alerts]


def test_slack_down_and_email_up_for_real(
    ledger: DeliveryLedger,
    mail_server: Any,
    slack_server: Any,
    answer: Any,
    alerts: list[Alert],
) -> None:
    channels: dict[str, Channel | Unconfigured] = {
        "email": EmailChannel(("ann@example.com",), "smtp_default"),
        "slack": SlackChannel("#alerts", "slack_api_default"),
    }
    slack_server.answers["chat.postMessage"] = [answer(b"", 503)]
    report = run(ledger, channels, alerts[:1])
    assert [outcome.channel for outcome in report.sent] == ["email"]
    assert [outcome.channel for outcome in report.failed] == ["slack"]
    report = run(ledger, channels, alerts[1:2], claimant="dag/run-2/alert")
    assert report.summary() == {"sent": 3}
    subjects = [mail["Subject"] for _, mail in mail_server.received]
    assert subjects == [compose(alert, timezone="UTC", links={}).first_line for alert in alerts[:2]]
    assert slack_server.methods().count("chat.postMessage") == 3
    assert slack_server.methods().count("files.completeUploadExternal") == 2


def test_an_error_of_the_ledger_is_raised(email: Recorder, alerts: list[Alert], tmp_path: Path) -> None:
    (tmp_path / "metrics.duckdb").write_text("no database")
    broken = DeliveryLedger(EmbeddedDuckDBHook(tmp_path / "metrics.duckdb"), "metrics", "flights")
    with pytest.raises(Exception, match="not a valid DuckDB database"):
        run(broken, {"email": email}, alerts)
    assert email.asked == 0
