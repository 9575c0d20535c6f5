"""Late data over a real table, run by run: what was late stays where it was, and what came since is forgotten."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from anomstack_provider.alerting.alert import Alert
from anomstack_provider.alerting.transitions import stored_alerts
from anomstack_provider.delivery import lag
from anomstack_provider.delivery.sending import deliver
from anomstack_provider.messages.buckets import lasted
from anomstack_provider.messages.message import Message, compose
from anomstack_provider.runtime.window import RunWindow
from anomstack_provider.steps.alert import AlertResult, alert
from anomstack_provider.steps.lateness import ALWAYS_LATE
from anomstack_provider.store.hooks import EmbeddedDuckDBHook
from anomstack_provider.store.ledger import DeliveryLedger
from tests.steps.conftest import Rig, noise

RigOf = Callable[..., Rig]
HOUR = timedelta(hours=1)
NOON = datetime(2024, 1, 11, 12, tzinfo=UTC)


def put(r: Rig, names: Iterable[str], end: datetime, first: datetime | None = None) -> None:
    """Store the hours of metrics from the first of January, or from ``first`` on, up to ``end``."""
    start = datetime(2024, 1, 1, tzinfo=UTC)
    for seed, name in enumerate(names):
        index = pd.date_range(start, end, freq="1h", inclusive="left").tz_localize(None)
        rows = pd.DataFrame({"metric_timestamp": index, "metric_value": noise(len(index), seed).round(3)})
        rows = rows.assign(metric_name=name, metric_type="metric", metadata=None)
        keep = rows["metric_timestamp"] >= pd.Timestamp((first or start).replace(tzinfo=None))
        r.store.replace(rows[keep])


def run(r: Rig, end: datetime) -> AlertResult:
    return alert(r.spec, RunWindow(end - HOUR, end), r.store, r.models)


def late_rows(r: Rig) -> list[tuple[str, str, str]]:
    """Name, hour and transition of the stored rows of late data."""
    rows = r.rows("alert")
    return [
        (row.metric_name, f"{row.metric_timestamp:%H:%M}", one.transition)
        for row in rows.itertuples()
        for one in stored_alerts(row.metadata)
        if one.kind == "late"
    ]


@pytest.fixture
def hourly(rig: RigOf) -> RigOf:
    def build(**keys: object) -> Rig:
        # Scores are not looked at: the threshold is out of reach.
        return rig(schedule="@hourly", alert_threshold=1.0, train_min_n=5000, **keys)

    return build


def test_a_batch_whose_data_came_leaves_no_row(hourly: RigOf) -> None:
    r = hourly()
    put(r, "xy", NOON - 3 * HOUR)
    (opened,) = run(r, NOON).alerts
    assert (opened.metric_name, opened.transition, opened.metrics) == ("b", "opened", ("x", "y"))
    assert late_rows(r) == [("b", "11:00", "opened")]
    put(r, "xy", NOON, first=NOON - 3 * HOUR)
    assert run(r, NOON + HOUR).alerts == ()
    assert late_rows(r) == []


def test_a_metric_whose_data_came_leaves_no_row(hourly: RigOf) -> None:
    r = hourly()
    put(r, "acde", NOON - 3 * HOUR)
    put(r, "cde", NOON)
    (opened,) = run(r, NOON).alerts
    assert opened.metric_name == "a"
    put(r, "a", NOON, first=NOON - 3 * HOUR)
    assert run(r, NOON).alerts == ()
    assert late_rows(r) == []


def test_a_silence_that_stays_keeps_its_rows_and_an_earlier_run_leaves_those_of_a_later_one(hourly: RigOf) -> None:
    r = hourly()
    put(r, "xy", NOON - 3 * HOUR)
    put(r, "xy", NOON + 9 * HOUR, first=NOON + HOUR)
    for hours in range(10):
        run(r, NOON + hours * HOUR)
    assert late_rows(r) == [("b", "11:00", "opened"), ("b", "13:00", "closed")]
    before = r.rows("alert")
    for hours in np.random.default_rng(0).permutation(10).tolist():
        run(r, NOON + hours * HOUR)
    pd.testing.assert_frame_equal(before, r.rows("alert"))


def test_a_retired_batch_keeps_what_was_told_of_it(hourly: RigOf) -> None:
    r = hourly(event_expires="90d")
    put(r, "xyz", NOON)
    put(r, "z", NOON + timedelta(days=40))
    before = []
    for end in (NOON + 3 * HOUR, *(NOON + timedelta(days=30) + hours * HOUR for hours in range(-3, 9))):
        run(r, end)
        before.append(late_rows(r))
    opened, closed = ("b", "14:00", "opened"), [("b", "closed")]
    assert opened in before[-1]
    assert [(name, what) for name, _, what in before[-1] if what == "closed"] == closed


# --- what people are told --------------------------------------------------------------------------------------------


class Channel:
    """A channel that keeps what it sends."""

    name = "recorder"

    def __init__(self) -> None:
        self.sent: list[Alert] = []

    def connections(self) -> dict[str, str]:
        return {}

    def send(self, message: Message, chart: bytes | None, filename: str, *, alerts: Sequence[Alert] = ()) -> None:
        self.sent += alerts


def told(r: Rig, channel: Channel, end: datetime) -> list[str]:
    """Run, deliver and return what was sent of it, as the task does."""
    ledger = DeliveryLedger(EmbeddedDuckDBHook(r.folder / "metrics.duckdb"), r.spec.table_key, r.spec.metric_batch)
    found, before = run(r, end), len(channel.sent)
    for _ in range(2):  # a task that is tried again
        news = lag.told(found.alerts, found.missing, ledger, end, end)
        deliver(
            [*lag.returned(found.alerts, found.missing, ledger, end, end, r.spec.timezone), *news],
            ledger=ledger,
            channels={channel.name: channel},
            compose=lambda alert: compose(alert, timezone=r.spec.timezone, links={}),
            chart=lambda alert: b"",
            claimant=end.isoformat(),
            clock=lambda: end,
            notify=True,
        )
    return [f"{one.metric_name} {one.transition} {one.bucket:%d %H:%M}" for one in channel.sent[before:]]


@pytest.mark.parametrize("hours", [3, 5])
def test_a_source_that_always_lags_is_told_once_a_day(hourly: RigOf, hours: int) -> None:
    r, channel = hourly(), Channel()
    days: dict[int, list[str]] = {}
    put(r, "xy", NOON - hours * HOUR)
    for number in range(26):
        end = NOON + number * HOUR
        put(r, "xy", end - hours * HOUR, first=end - (hours + 1) * HOUR)
        days.setdefault(number // 24, []).extend(told(r, channel, end))
    assert [[one.split()[1] for one in sent] for sent in days.values()] == [["opened", "closed"]] * 2
    assert all(ALWAYS_LATE in alert.why for alert in channel.sent if alert.transition == "opened")


@pytest.mark.parametrize("hours", [3, 5])
def test_a_source_that_always_lags_and_then_fails_is_told_one_run_later(hourly: RigOf, hours: int) -> None:
    r, channel = hourly(), Channel()
    put(r, "xy", NOON - hours * HOUR)
    sent = [told(r, channel, NOON)]
    for number in range(1, 5):
        put(r, "xy", NOON + (min(number, 2) - hours) * HOUR)
        sent.append(told(r, channel, NOON + number * HOUR))
    first = f"{NOON + (4 - hours) * HOUR:%d %H:%M}"
    newest = f"{NOON:%d %H:%M}"
    assert sent[1:] == [[f"b closed {newest}"], [], [f"b opened {first}"], []]


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
def test_data_that_come_with_their_own_times_end_what_was_told(hourly: RigOf, zone: str) -> None:
    r, channel = hourly(timezone=zone), Channel()
    put(r, "xy", NOON - 3 * HOUR)
    sent = [told(r, channel, NOON + hours * HOUR) for hours in range(3)]
    put(r, "xy", NOON + 3 * HOUR)
    early = told(r, channel, NOON - HOUR)  # a run that is cleared: there is nothing late yet
    sent += [told(r, channel, NOON + hours * HOUR) for hours in (3, 3)]
    put(r, "xy", NOON + 4 * HOUR)
    sent.append(told(r, channel, NOON + 4 * HOUR))
    assert early == []
    assert sent == [["b opened 11 11:00"], [], [], ["b closed 11 14:00"], [], []]
    message = compose(channel.sent[-1], timezone="UTC", links={})
    assert message.first_line == "[CLOSED] b: data for 2 metrics are back, 3 h overdue"


def test_part_of_the_data_ends_nothing_and_an_end_that_a_rule_finds_is_told_once(hourly: RigOf) -> None:
    r, channel = hourly(), Channel()
    put(r, "xy", NOON - 3 * HOUR)
    sent = [told(r, channel, NOON)]
    put(r, "x", NOON + HOUR)  # the one came, the other is missing still
    sent.append(told(r, channel, NOON + HOUR))
    put(r, "xy", NOON + 9 * HOUR)
    sent += [told(r, channel, NOON + hours * HOUR) for hours in range(2, 9)]
    assert sent[0] == ["b opened 11 11:00"]
    assert sent[1] == ["y opened 11 11:00"]
    assert sorted(sent[2]) == ["b closed 11 13:00", "y closed 11 13:00"]
    assert sent[3:] == [[]] * 6


@pytest.mark.parametrize(
    ("grain", "first", "until", "newest", "length"),
    [
        ("1d", "2024-03-29T23:00", "2024-04-01T22:00", "2024-03-31T22:00", 2),  # a day of 23 hours in it
        ("1mo", "2024-01-31T23:00", "2024-03-31T22:00", "2024-02-29T23:00", 29),
        ("1w", "2024-01-01T00:00", "2024-01-08T00:00", "2024-01-01T00:00", 7),
        ("instant", "2024-01-01T00:00", "2024-01-03T00:00", "2024-01-03T00:00", 2),
    ],
)
def test_the_end_is_the_newest_bucket_and_lasts_until_it(
    grain: str, first: str, until: str, newest: str, length: int
) -> None:
    began, now = (datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (first, until))
    unknown = dict.fromkeys(("value", "expected", "lower", "upper", "score", "threshold"))
    opened = Alert("e", "b", "m", "late", "opened", "none", began, grain, **unknown, severity="medium")
    end = lag._end(opened, now, "Europe/Berlin")
    assert end is not None
    assert end.bucket == datetime.fromisoformat(newest).replace(tzinfo=UTC)
    assert round(lasted(end, "Europe/Berlin") / timedelta(days=1)) == length
    assert lag._end(opened, began, "Europe/Berlin") is None


def test_two_outages_that_stay_are_two_messages(hourly: RigOf) -> None:
    r, channel = hourly(), Channel()
    put(r, "xy", NOON - 3 * HOUR)
    put(r, "xy", NOON + 5 * HOUR, first=NOON)
    assert told(r, channel, NOON) == ["b opened 11 11:00"]
    assert told(r, channel, NOON + HOUR) == ["b closed 11 12:00"]
    assert told(r, channel, NOON + 8 * HOUR) == ["b opened 11 19:00"]
