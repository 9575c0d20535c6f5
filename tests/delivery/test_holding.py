"""What waits and what goes out together: the rules alone, then through a real ledger."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, time, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from anomstack_provider.alerting.alert import Alert
from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.delivery.channels import DeliveryError
from anomstack_provider.delivery.holding import HoldingRules, QuietHours, next_try, start_of_week
from anomstack_provider.delivery.report import DeliveryReport
from anomstack_provider.delivery.sending import deliver
from anomstack_provider.messages.message import Message, compose
from anomstack_provider.store.hooks import EmbeddedDuckDBHook
from anomstack_provider.store.ledger import Delivery, DeliveryLedger

NOON = datetime(2024, 3, 1, 12, tzinfo=UTC)  # a Friday
NIGHT = QuietHours.parse("22:00-07:00", "Europe/Berlin")


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


class Recorder:
    """A channel that keeps what it is given."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.lines: list[str] = []
        self.alerts: list[list[Alert]] = []
        self.charts: list[bytes | None] = []
        self.error: DeliveryError | None = None

    def connections(self) -> dict[str, str]:
        return {}

    def send(self, message: Message, chart: bytes | None, filename: str, *, alerts: Sequence[Alert] = ()) -> None:
        if self.error:
            raise self.error
        self.lines.append(message.first_line)
        self.alerts.append(list(alerts))
        self.charts.append(chart)


class Site:
    """A ledger, one channel and a clock."""

    def __init__(self, folder: Path) -> None:
        self.ledger = DeliveryLedger(EmbeddedDuckDBHook(folder / "metrics.duckdb"), "metrics", "flights")
        self.email = Recorder("email")
        self.number = 0

    def run(self, now: datetime, *alerts: Alert, notify: bool = True, **rules: Any) -> DeliveryReport:
        self.number += 1
        ticks = iter(range(10**6))
        return deliver(
            alerts,
            ledger=self.ledger,
            channels={"email": self.email},
            compose=partial(compose, timezone="UTC", links={}),
            chart=lambda alert: alert.event_id.encode(),
            claimant=f"dag/run-{self.number}/alert",
            clock=lambda: now + timedelta(milliseconds=next(ticks)),
            notify=notify,
            rules=HoldingRules(**rules),
        )

    def told(self) -> list[list[str]]:
        """Return the events and transitions of every message so far, one list per message."""
        return [[f"{alert.event_id} {alert.key}" for alert in alerts] for alerts in self.email.alerts]

    def statuses(self) -> dict[str, str]:
        found = self.ledger._hook.get_records("select event_id, transition, status from metrics_deliveries")
        return {f"{event} {transition}": status for event, transition, status in found}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture
def event(make_alert: Callable[..., Alert]) -> Callable[..., Alert]:
    """Return a function that makes an alert of the event ``e``, of low severity unless given."""
    return lambda e, **changes: make_alert(
        **{"event_id": e, "metric_name": f"metric {e}", "severity": "low", **changes}
    )


# --- clocks and calendars ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("moment", "quiet"),
    [
        ("2024-03-01T20:59:59", False),  # 21:59:59 in Berlin
        ("2024-03-01T21:00:00", True),
        ("2024-03-02T05:59:59", True),
        ("2024-03-02T06:00:00", False),
        ("2024-07-01T20:00:00", True),  # summer time
        ("2024-07-01T05:00:00", False),
    ],
)
def test_quiet_hours_follow_the_clock_of_the_batch(moment: str, quiet: bool) -> None:
    assert NIGHT.covers(utc(moment)) is quiet


def test_quiet_hours_within_a_day() -> None:
    lunch = QuietHours(time(12), time(13), "UTC")
    assert [lunch.covers(utc(f"2024-03-01T{hour}")) for hour in ("11:59", "12:00", "12:59", "13:00")] == [
        *(False, True, True, False)
    ]
    assert lunch.last_end(utc("2024-03-01T12:59")) == utc("2024-02-29T13:00")
    assert lunch.last_end(utc("2024-03-01T13:00")) == utc("2024-03-01T13:00")


def test_a_week_begins_on_monday_in_the_time_zone_of_the_batch() -> None:
    assert start_of_week(utc("2024-03-03T23:30"), "UTC") == utc("2024-02-26T00:00")
    assert start_of_week(utc("2024-03-03T23:30"), "Europe/Berlin") == utc("2024-03-03T23:00")


def test_tries_come_less_often_and_stay_within_days() -> None:
    def pause(attempts: int) -> timedelta | None:
        found = next_try(Delivery("e", "opened", "email", "b", "", attempts=attempts, tried_at=NOON))
        return found and found - NOON

    assert [pause(n) for n in range(5)] == [None] * 5
    assert [pause(n) for n in (5, 6, 7)] == [timedelta(minutes=m) for m in (10, 20, 40)]
    assert pause(10**6) == timedelta(hours=6)
    assert timedelta(days=2.5) < sum((pause(n) for n in range(5, 20)), timedelta()) < timedelta(days=4)


def test_the_rules_of_a_batch() -> None:
    spec = BatchSpec.model_validate(
        {
            "metric_batch": "b",
            "ingest_sql": "select 1",
            "timezone": "Europe/Berlin",
            "quiet_hours": "22:00-07:00",
            "budget_per_week": {"slack": 3},
            "delivery_attempts": 4,
            "notifiers": [{"name": "pager", "class": "a.b", "group": False}, {"name": "chat", "class": "a.b"}],
        }
    )
    rules = HoldingRules.of(spec, utc("2024-03-01T08:00"))
    assert rules == HoldingRules(4, NIGHT, {"slack": 3}, utc("2024-02-25T23:00"), utc("2024-02-29T08:00"), {"pager"})
    assert HoldingRules.of(spec, utc("2024-03-01T08:01")).digest_tick == utc("2024-03-01T08:00")
    assert [rules.budget(name) for name in ("slack", "slack:#payments", "email")] == [3, 3, None]


# --- quiet hours ------------------------------------------------------------------------------------------------


def test_quiet_hours_hold_and_never_drop(site: Site, event: Callable[..., Alert]) -> None:
    report = site.run(utc("2024-03-01T22:00"), event("a"), event("b", severity="high"), event("c"), quiet=NIGHT)
    assert site.told() == [["b opened"]]
    assert report.summary() == {"sent": 1, "waiting": 2}
    assert site.run(utc("2024-03-02T05:59"), quiet=NIGHT).summary() == {"sent": 0, "waiting": 2}
    assert site.run(utc("2024-03-02T06:00"), quiet=NIGHT).summary() == {"sent": 2}
    assert site.told()[1:] == [["a opened"], ["c opened"]]


def test_a_batch_that_only_ever_runs_at_night_is_told_a_night_later(site: Site, event: Callable[..., Alert]) -> None:
    assert site.run(utc("2024-03-01T23:01"), event("a"), quiet=NIGHT).summary() == {"sent": 0, "waiting": 1}
    assert site.run(utc("2024-03-02T23:01"), event("b"), quiet=NIGHT).summary() == {"sent": 1, "waiting": 1}
    assert site.told() == [["a opened"]]


def test_what_becomes_urgent_at_night_takes_along_what_it_builds_on(site: Site, event: Callable[..., Alert]) -> None:
    worse = event("a", transition="escalated", severity="high")
    site.run(utc("2024-03-01T22:00"), event("a"), event("b"), quiet=NIGHT)
    site.run(utc("2024-03-01T23:00"), worse, quiet=NIGHT)
    assert site.told() == [["a opened"], [f"a {worse.key}"]]


def test_what_failed_before_the_night_waits_for_the_morning(site: Site, event: Callable[..., Alert]) -> None:
    site.email.error = DeliveryError("email", "down")
    site.run(utc("2024-03-01T20:30"), event("a"), quiet=NIGHT)
    site.email.error = None
    assert site.run(utc("2024-03-01T22:30"), quiet=NIGHT).summary() == {"sent": 0, "waiting": 1}
    assert site.run(utc("2024-03-02T06:30"), quiet=NIGHT).summary() == {"sent": 1}


# --- storms -----------------------------------------------------------------------------------------------------


def test_ten_at_once_are_one_message_and_nine_are_nine(site: Site, event: Callable[..., Alert]) -> None:
    assert site.run(NOON, *(event(f"n{i}") for i in range(9))).summary() == {"sent": 9}
    assert len(site.told()) == 9
    storm = [event(f"s{i}", value=1.0 + i) for i in range(9)] + [event("worst", severity="high", value=0.6)]
    assert site.run(NOON, *storm).summary() == {"sent": 10}
    assert len(site.told()) == 10
    assert site.told()[-1][:3] == ["worst opened", "s8 opened", "s7 opened"]
    assert site.email.lines[-1] == "[HIGH] flights · 10 alerts at once (1 high, 9 low)"
    assert site.email.charts[-1] == b"worst"
    assert set(site.statuses().values()) == {"sent"}
    assert site.run(NOON, *storm).summary() == {"sent": 0}


def test_a_pager_gets_each_on_its_own(site: Site, event: Callable[..., Alert]) -> None:
    site.run(NOON, *(event(f"s{i}") for i in range(12)), never_grouped=frozenset({"email"}))
    assert [len(alerts) for alerts in site.told()] == [1] * 12


def test_a_storm_that_is_refused_is_told_once_by_the_next_run(site: Site, event: Callable[..., Alert]) -> None:
    storm = [event(f"s{i}") for i in range(12)]
    site.email.error = DeliveryError("email", "down")
    assert site.run(NOON, *storm).summary() == {"sent": 0, "delivery_failed": 12}
    site.email.error = None
    assert site.run(NOON, event("late")).summary() == {"sent": 13}
    assert [len(alerts) for alerts in site.told()] == [13]


def test_a_storm_that_went_out_in_part_is_an_error_once(site: Site, event: Callable[..., Alert]) -> None:
    site.email.error = DeliveryError("email", "not to bob@example.com", accepted=True)
    report = site.run(NOON, *(event(f"s{i}") for i in range(12)))
    assert (len(report.failed), report.summary()["sent"]) == (12, 0)
    site.email.error = None
    assert site.run(NOON).summary() == {"sent": 0}


# --- budget and digest ------------------------------------------------------------------------------------------

WEEK = start_of_week(NOON, "UTC")


def test_what_is_beyond_the_budget_waits_for_the_digest(site: Site, event: Callable[..., Alert]) -> None:
    rules: dict[str, Any] = {"budgets": {"email": 2}, "week": WEEK}
    report = site.run(NOON, event("a"), event("b"), event("c", severity="high"), **rules)
    assert site.told() == [["a opened"], ["c opened"]]  # the worst first, then the oldest
    assert report.summary() == {"sent": 2, "held": 1}
    before = {**rules, "digest_tick": NOON - timedelta(hours=3)}
    assert site.run(NOON + timedelta(hours=1), event("d"), **before).summary() == {"sent": 0, "held": 2}

    later = NOON + timedelta(days=1)
    rules["digest_tick"] = later - timedelta(hours=3)
    report = site.run(later, event("e"), **rules)
    assert report.summary() == {"sent": 2, "held": 1}
    assert site.told()[2:] == [["b opened", "d opened"]]
    assert site.email.lines[-1] == "[LOW] flights · 2 alerts in the digest (2 low)"
    assert site.statuses()["e opened"] == "held"


def test_a_budget_is_for_events_before_routine(site: Site, event: Callable[..., Alert]) -> None:
    routine = {"transition": "routine", "direction": "none"}
    site.run(NOON, event("a", **routine), event("b", **routine), event("c"), budgets={"email": 1}, week=WEEK)
    assert site.told() == [["c opened"]]
    assert site.statuses() == {"a routine": "held", "b routine": "held", "c opened": "sent"}


def test_a_new_week_has_a_budget_of_its_own_but_what_was_held_stays_in_the_digest(
    site: Site, event: Callable[..., Alert]
) -> None:
    site.run(NOON, event("a"), event("b"), budgets={"email": 1}, week=WEEK)
    monday = utc("2024-03-04T00:01")
    rules: dict[str, Any] = {"budgets": {"email": 1}, "week": start_of_week(monday, "UTC")}
    assert site.run(monday, event("c"), **rules).summary() == {"sent": 1, "held": 1}
    assert site.told() == [["a opened"], ["c opened"]]


def test_a_budget_of_nothing_is_a_channel_of_digests_and_a_storm_costs_one(
    site: Site, event: Callable[..., Alert]
) -> None:
    assert site.run(NOON, event("a"), budgets={"email": 0}, week=WEEK).summary() == {"sent": 0, "held": 1}
    storm = [event(f"s{i}") for i in range(12)]
    assert site.run(NOON, *storm, budgets={"email": 2}, week=WEEK).summary() == {"sent": 12, "held": 1}
    assert site.run(NOON, event("b"), event("c"), budgets={"email": 2}, week=WEEK).summary() == {"sent": 1, "held": 2}


def test_a_digest_that_is_refused_is_tried_again_as_a_digest(site: Site, event: Callable[..., Alert]) -> None:
    rules: dict[str, Any] = {"budgets": {"email": 0}, "week": WEEK}
    site.run(NOON, event("a"), event("b"), **rules)
    rules["digest_tick"] = NOON + timedelta(hours=1)
    site.email.error = DeliveryError("email", "down")
    report = site.run(NOON + timedelta(hours=2), **rules)
    assert report.summary() == {"sent": 0, "delivery_failed": 2}
    assert set(site.statuses().values()) == {"held"}
    site.email.error = None
    assert site.run(NOON + timedelta(hours=3), **rules).summary() == {"sent": 2}
    assert site.told() == [["a opened", "b opened"]]


def test_a_digest_waits_for_the_end_of_quiet_hours(site: Site, event: Callable[..., Alert]) -> None:
    rules: dict[str, Any] = {"budgets": {"email": 0}, "week": WEEK, "quiet": NIGHT}
    site.run(NOON, event("a"), **rules)
    rules["digest_tick"] = utc("2024-03-01T21:30")
    assert site.run(utc("2024-03-01T22:00"), **rules).summary() == {"sent": 0, "held": 1}
    assert site.run(utc("2024-03-02T06:30"), **rules).summary() == {"sent": 1}


# --- what ends --------------------------------------------------------------------------------------------------


def test_an_end_is_told_only_where_its_beginning_was(site: Site, event: Callable[..., Alert]) -> None:
    site.run(NOON, event("told"))
    site.run(NOON, event("quiet"), notify=False)
    ends = [event(name, transition="closed") for name in ("told", "quiet", "unknown")]
    assert site.run(NOON, *ends).summary() == {"sent": 1, "suppressed": 2}
    assert site.told() == [["told opened"], ["told closed"]]
    assert site.run(NOON, *ends).summary() == {"sent": 0}


def test_an_end_goes_where_its_beginning_goes(site: Site, event: Callable[..., Alert]) -> None:
    rules: dict[str, Any] = {"budgets": {"email": 0}, "week": WEEK}
    site.run(NOON, event("a"), **rules)
    site.run(NOON, event("a", transition="closed"), budgets={"email": 9}, week=WEEK)
    assert set(site.statuses().values()) == {"held"}
    tick = NOON + timedelta(hours=1)
    assert site.run(tick + timedelta(hours=1), **rules, digest_tick=tick).summary() == {"sent": 2}
    assert site.told() == [["a opened", "a closed"]]


def test_an_end_does_not_overtake_a_beginning_that_is_refused(site: Site, event: Callable[..., Alert]) -> None:
    site.email.error = DeliveryError("email", "down")
    report = site.run(NOON, event("a"), event("a", transition="closed"))
    assert [outcome.reason for outcome in report.failed] == [
        "down",
        "not tried: what came before it has not gone out yet",
    ]
    site.email.error = None
    site.run(NOON)
    assert site.told() == [["a opened"], ["a closed"]]


def test_an_escalation_does_not_overtake_its_beginning_in_a_message_about_many(
    site: Site, event: Callable[..., Alert]
) -> None:
    site.email.error = DeliveryError("email", "down")
    for minute in range(5):  # from then on it is tried less often
        site.run(NOON + timedelta(minutes=minute), *([] if minute else [event("a")]))
    site.email.error = None
    worse = event("a", transition="escalated", bucket=event("a").bucket + timedelta(days=1))
    report = site.run(NOON + timedelta(minutes=6), worse, *(event(f"b{i}") for i in range(10)))
    assert report.summary() == {"sent": 10, "delivery_failed": 1, "waiting": 1}
    assert not [told for told in site.told()[0] if told.startswith("a ")]
    assert site.run(NOON + timedelta(hours=1)).summary() == {"sent": 2}
    assert [[told.partition("@")[0] for told in message] for message in site.told()[1:]] == [
        ["a opened"],
        ["a escalated"],
    ]


def test_an_end_waits_while_another_run_sends_the_beginning(site: Site, event: Callable[..., Alert]) -> None:
    opened = event("a")
    site.ledger.record([Delivery("a", "opened", "email", "flights", opened.to_json())], NOON)
    (theirs,) = site.ledger.claim("dag/other/alert", NOON, timedelta(minutes=30))
    assert site.run(NOON, event("a", transition="closed")).summary() == {"sent": 0, "waiting": 1}
    site.ledger.sent([theirs], NOON)
    assert site.run(NOON).summary() == {"sent": 1}


def test_the_end_of_what_was_abandoned_is_not_told(site: Site, event: Callable[..., Alert]) -> None:
    site.email.error = DeliveryError("email", "down")
    assert site.run(NOON, event("a"), attempts=1).summary() == {"sent": 0, "delivery_failed": 1, "abandoned": 1}
    site.email.error = None
    assert site.run(NOON, event("a", transition="closed")).summary() == {"sent": 0, "suppressed": 1}


def test_an_escalation_is_told_though_its_beginning_was_not_and_so_is_its_end(
    site: Site, event: Callable[..., Alert]
) -> None:
    site.run(NOON, event("a"), notify=False)
    first = event("a", transition="escalated")
    second = event("a", transition="escalated", bucket=first.bucket + timedelta(days=1))
    assert site.run(NOON, first, second, event("a", transition="closed")).summary() == {"sent": 3}
    assert site.told() == [[f"a {first.key}"], [f"a {second.key}"], ["a closed"]]
