"""What each gate stops and lets through, and how much of a bucket lies in hours and windows when the clocks change."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from anomstack_provider.alerting import gates
from anomstack_provider.alerting.findings import DOWN, NONE, UP, Findings
from anomstack_provider.alerting.hours import in_hours, in_maintenance
from anomstack_provider.config.gates import Gates, Maintenance

BERLIN = "Europe/Berlin"


class Nobody:
    """Another metric, ``orders``, with one value per bucket; no others."""

    def __init__(self, values: Any = (), sides: Any = ()) -> None:
        self.own, self.own_sides = np.asarray(values, float), np.asarray(sides, np.int8)

    def values(self, metric_name: str, times: np.ndarray) -> np.ndarray:
        return self.own if metric_name == "orders" else np.full(len(times), np.nan)

    def sides(self, metric_name: str, times: np.ndarray) -> np.ndarray:
        return self.own_sides if metric_name == "orders" else np.zeros(len(times), np.int8)


def at(*texts: str) -> np.ndarray:
    """Return UTC times."""
    return np.array(texts, "datetime64[us]")


def found(values: Any, expected: Any = 100.0, times: np.ndarray | None = None, length: str = "1h") -> Findings:
    value = np.asarray(values, float)
    centre = np.broadcast_to(np.asarray(expected, float), value.shape).copy()
    starts = at("2024-03-04T00:00") + np.arange(len(value)) * np.timedelta64(1, "h") if times is None else times
    return Findings.of(
        "anomaly",
        starts,
        np.where(value >= centre, UP, DOWN).astype(np.int8),
        why=[("",)] * len(value),
        grain=[length] * len(value),
        value=value,
        expected=centre,
    )


def stops(findings: Findings, others: Any = None, timezone: str = "UTC", **keys: Any) -> list[str]:
    verdicts = gates.judge(findings, Gates.model_validate(keys), timezone, others or Nobody())
    return gates.first_stop(verdicts, len(findings)).tolist()


def sentences(findings: Findings, others: Any = None, **keys: Any) -> list[str]:
    return [v.passed(0) for v in gates.judge(findings, Gates.model_validate(keys), "UTC", others or Nobody())]


def late() -> Findings:
    return Findings.of("late", at("2024-03-04"), np.array([NONE], np.int8), why=[("",)], grain=["1h"])


def test_without_gates_everything_passes() -> None:
    assert stops(found([0, 200])) == ["", ""]
    assert gates.judge(found([0]), Gates(), "UTC", Nobody()) == []


def test_direction() -> None:
    assert stops(found([50, 150]), direction="up") == ["direction", ""]
    assert stops(found([50, 150]), direction="down") == ["", "direction"]
    assert sentences(found([150]), direction="up") == ["only values above what is expected alert"]


def test_least_changes() -> None:
    assert stops(found([109, 110, 91, 90]), min_abs_change=10) == ["min_abs_change", "", "min_abs_change", ""]
    assert stops(found([109, 110], [100, 200]), min_pct_change=10) == ["min_pct_change", ""]
    assert stops(found([0, 1], 0.0), min_pct_change=10) == ["min_pct_change", ""]
    assert sentences(found([150]), min_abs_change=10) == ["50 from expected, at least 10"]
    assert sentences(found([150]), min_pct_change=10) == ["50 % from expected, at least 10 %"]


def test_least_volume_of_another_metric() -> None:
    others = Nobody([49, 50, np.nan])
    gate = {"metric": "orders", "at_least": 50}
    assert stops(found([1, 1, 1]), others, min_volume=gate) == ["min_volume", "", "min_volume"]
    assert stops(found([1]), min_volume={"metric": "nobody", "at_least": 0}) == ["min_volume"]
    assert sentences(found([1]), Nobody([60]), min_volume=gate) == ["orders is 60, at least 50"]


def test_a_valid_value_never_alerts() -> None:
    assert stops(found([0, 1, 2, 3]), valid_range={"lower": 1, "upper": 2}) == ["", "valid_range", "valid_range", ""]
    assert stops(found([0, 1]), valid_range={"lower": 1}) == ["", "valid_range"]
    assert sentences(found([9]), valid_range={"lower": 1, "upper": 2}) == ["a valid value is at least 1 and at most 2"]


def test_guardrail() -> None:
    others = Nobody(sides=[UP, DOWN, NONE])
    both, up = {"metric": "orders"}, {"metric": "orders", "direction": "up"}
    assert stops(found([1, 1, 1]), others, guardrail=both) == ["", "", "guardrail"]
    assert stops(found([1, 1, 1]), others, guardrail=up) == ["", "guardrail", "guardrail"]
    assert sentences(found([1]), Nobody(sides=[DOWN]), guardrail=both) == ["orders is below its expected range too"]


def test_late_data_and_findings_without_an_expected_value_are_stopped_by_the_clock_alone() -> None:
    everything = {
        "direction": "up",
        "min_abs_change": 1,
        "min_pct_change": 1,
        "min_volume": {"metric": "orders", "at_least": 5},
        "valid_range": {"upper": 0},
        "guardrail": {"metric": "orders"},
    }
    assert stops(late(), Nobody([0], [0]), **everything) == [""]
    assert stops(late(), active_hours="Tue") == ["active_hours"]
    assert stops(found([5], np.nan), min_abs_change=1, min_pct_change=1) == [""]


def test_the_first_gate_that_stops_is_named() -> None:
    assert stops(found([101]), direction="down", min_abs_change=5) == ["direction"]
    assert stops(found([101]), min_abs_change=5, active_hours="Sun") == ["min_abs_change"]


def test_active_hours_in_the_batchs_time_zone() -> None:
    # Berlin is an hour ahead of UTC until 31 March 2024, 01:00 UTC, and two hours from then on.
    friday, monday = "2024-03-29", "2024-04-01"
    times = at(*(f"{day}T{hour}" for day in (friday, monday) for hour in ("05:00", "06:00", "07:00", "17:00", "18:00")))
    assert stops(found([0] * 10, times=times), timezone=BERLIN, active_hours="Mon-Fri 08:00-19:30") == [
        *("active_hours", "active_hours", "", "", ""),
        *("active_hours", "", "", "", "active_hours"),
    ]


def test_a_day_is_active_if_any_of_its_hours_are() -> None:
    days = at("2024-03-08", "2024-03-09")  # Friday, Saturday
    assert stops(found([0, 0], times=days, length="1d"), active_hours="Mon-Fri 08:00-20:00") == ["", "active_hours"]


def test_hours_over_midnight_belong_to_the_day_on_which_they_begin() -> None:
    times = at("2024-03-08T23:00", "2024-03-09T05:00", "2024-03-09T06:00", "2024-03-08T05:00")
    assert stops(found([0] * 4, times=np.sort(times)), active_hours="Fri 22:00-06:00") == [
        "active_hours",
        "",
        "",
        "active_hours",
    ]


def hours_of(zone_text: str, day: str) -> list[float]:
    starts = np.datetime64(day, "us") + np.arange(-3, 27) * np.timedelta64(1, "h")
    inside = in_hours(zone_text, starts, starts + np.timedelta64(1, "h"), BERLIN)
    return (inside / np.timedelta64(1, "h")).tolist()


def test_hours_on_the_days_when_the_clocks_change() -> None:
    # 02:00 to 03:00 is skipped on 31 March and there twice on 27 October.
    assert sum(hours_of("Sun 01:00-04:00", "2024-03-31")) == 2
    assert sum(hours_of("Sun 02:00-03:00", "2024-03-31")) == 0
    assert sum(hours_of("Sun 02:00-03:00", "2024-10-27")) == 2
    assert sum(hours_of("Sun", "2024-10-27")) == 25
    assert sum(hours_of("Sun", "2024-03-31")) == 23


def test_hours_that_overlap_count_once() -> None:
    assert sum(hours_of("Sun 01:00-04:00, Sun 02:00-05:00", "2024-06-02")) == 4


def test_maintenance_once_and_again_and_again() -> None:
    once = {"start": "2024-03-04T02:30", "end": "2024-03-04T03:30+00:00"}
    assert stops(found([0] * 5), maintenance=[once]) == ["", "", "maintenance", "maintenance", ""]
    nightly = {"cron": "0 2 * * *", "duration": "2h"}
    assert stops(found([0] * 5), maintenance=[nightly]) == ["", "", "maintenance", "maintenance", ""]
    # Two hours of a day do not make a day of maintenance.
    assert stops(found([0], length="1d"), maintenance=[nightly]) == [""]
    assert sentences(found([0]), maintenance=[nightly]) == ["no maintenance"]


def test_maintenance_follows_the_clock_of_the_time_zone() -> None:
    nightly = [{"cron": "0 4 * * *", "duration": "1h"}]
    times = at("2024-03-30T02:00", "2024-03-30T03:00", "2024-03-31T02:00", "2024-03-31T03:00")
    findings = found([0] * 4, times=times)
    assert stops(findings, timezone=BERLIN, maintenance=nightly) == ["", "maintenance", "maintenance", ""]
    assert stops(found([0], times=at("2024-03-31T01:00")), timezone=BERLIN, maintenance=[
        {"start": "2024-03-31T03:00", "end": "2024-03-31T04:00"}
    ]) == ["maintenance"]  # fmt: skip


moments = st.integers(0, 400).map(lambda h: datetime(2024, 3, 25 + h // 24 if h // 24 < 7 else 31, h % 24))


@given(st.lists(st.tuples(moments, moments), max_size=5), st.lists(st.integers(0, 400), min_size=1, max_size=30))
def test_what_maintenance_covers_is_what_counting_minutes_says(
    spans: list[tuple[datetime, datetime]], offsets: list[int]
) -> None:
    entries = [Maintenance(start=min(span), end=max(span)) for span in spans if span[0] != span[1]]
    starts = np.datetime64("2024-03-25", "us") + np.array(sorted(offsets)) * np.timedelta64(30, "m")
    ends = starts + np.timedelta64(90, "m")
    covered = in_maintenance(entries, starts, ends, "UTC") / np.timedelta64(30, "m")
    for start, got in zip(starts, covered.tolist(), strict=True):
        halves = [start + np.timedelta64(30 * i, "m") for i in range(3)]
        inside = [any(np.datetime64(e.start) <= h < np.datetime64(e.end) for e in entries) for h in halves]
        assert got == sum(inside)
