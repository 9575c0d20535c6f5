"""What is found in stored values, over a real table: a run of one interval finds what a run of many finds there."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest

from anomstack_provider.alerting.findings import Findings
from anomstack_provider.alerting.freshness import LateBatch
from anomstack_provider.detection.series import EMPTY, Series, split
from anomstack_provider.runtime.ticks import last_tick
from anomstack_provider.runtime.window import RunWindow
from anomstack_provider.steps.finders import (
    closed_buckets,
    history,
    judge_levels,
    judge_thresholds,
    nothing,
)
from anomstack_provider.steps.lateness import ALWAYS_LATE, Lateness, findings_of, late_batch, late_data
from anomstack_provider.steps.training import stamp
from tests.steps.conftest import Rig, noise

Found = set[tuple[Any, ...]]
BOUNDS = {"a": {"upper": 112, "lower": 88}, "b": {"lower": 90}}


def rows(kind: str, name: str, found: Findings, ends: np.ndarray, more: Any = None) -> Found:
    """The findings as comparable rows that begin with the end of their bucket."""
    columns = [getattr(found, key).tolist() for key in ("times", "direction", "why", "grain")]
    numbers = [map(repr, getattr(found, key).tolist()) for key in ("value", "expected", "lower", "upper")]
    more = more or [()] * len(found)
    return {(end, kind, name, *row) for end, *row in zip(ends.tolist(), *columns, *numbers, more, strict=True)}


def found_by(finder: Any, spec: Any, name: str, buckets: Any) -> Findings:
    """What one finder finds; nothing for a metric that it does not judge."""
    judged = finder(spec, name, buckets)
    return judged.findings if judged else nothing("change")


def all_found(rig: Rig, window: RunWindow) -> Found:
    """What is found in the buckets that closed in the window."""
    spec, cut = rig.spec, window.start - rig.spec.completeness_delay
    points, time = history(spec)
    found: Found = set()
    stored = rig.store.read(["metric"], since=cut - time, until=window.end, newest=points + 1, cut=cut)
    for name, series in split(stored).items():
        buckets = closed_buckets(spec, series, window, max(series.before(stamp(cut)) - 1, 0))
        for kind, finder in (("threshold", judge_thresholds), ("change", judge_levels)):
            own = found_by(finder, spec, name, buckets)
            found |= rows(kind, name, own, buckets.ends[np.searchsorted(buckets.times, own.times)])
    late = late_data(spec, window, rig.store, 3)
    whole = batch_of(rig, window, late)
    for name, gaps in late.gaps.items():
        own, told = late.of_metric(name), np.concatenate([whole.tells(gap) for gap in gaps])
        assert set(own.times.tolist()) <= set(late.judged(name).tolist())
        ends = np.concatenate([gap.ends for gap in gaps])
        found |= rows("explained", name, own.take(told), ends[told]) | rows("late", name, own.take(~told), ends[~told])
    told = np.flatnonzero(whole.is_late)
    found |= rows("batch", "b", findings_of(whole), whole.ends[told], [whole.metrics[k] for k in told])
    return closing_in(rig, window, found)


def batch_of(rig: Rig, window: RunWindow, late: Lateness) -> LateBatch:
    """When the batch was late, wherever the window's silences reach."""
    ever = np.datetime64("2000-01-01", "us")
    return late_batch(rig.spec, window, rig.store, late, dict.fromkeys(late.gaps, ever), stamp(window.start))


def closing_in(rig: Rig, window: RunWindow, found: Found) -> Found:
    low, high = (stamp(moment - rig.spec.completeness_delay) for moment in (window.start, window.end))
    return {row for row in found if low < np.datetime64(row[0]) <= high}


def intervals(rig: Rig, period: RunWindow) -> Iterator[RunWindow]:
    end = period.end
    while end > period.start:
        start = last_tick(rig.spec.cron, rig.spec.timezone, end)
        yield RunWindow(start, end)
        end = start


def test_thresholds_by_hand(rig: Callable[..., Rig]) -> None:
    b = rig(tholdalert_thresholds=BOUNDS, disable_tholdalert=False, tholdalert_exclude_metrics=["c"])
    b.put("a", np.array([100, 112, 112.01, 88, 87.5]))
    window = b.window("2024-01-04", "2024-01-06")
    series = split(b.rows("metric"))["a"]
    found = found_by(judge_thresholds, b.spec, "a", closed_buckets(b.spec, series, window))
    assert found.times.astype("datetime64[D]").astype(str).tolist() == ["2024-01-03", "2024-01-05"]
    assert (found.direction.tolist(), found.value.tolist()) == ([1, -1], [112.01, 87.5])
    assert (found.lower.tolist(), found.upper.tolist()) == ([88, 88], [112, 112])
    assert found.why.tolist() == [
        ("112 is above the upper threshold of 112",),
        ("87.5 is below the lower threshold of 88",),
    ]
    assert (found.kind.tolist(), found.grain.tolist()[-1]) == (["threshold"] * 2, "1d")
    judged = judge_thresholds(b.spec, "a", closed_buckets(b.spec, series, window))
    assert judged is not None
    quiet = judged.describe(np.array([1]))
    assert (quiet.value.tolist(), quiet.upper.tolist(), quiet.direction.tolist()) == ([112], [112], [0])
    assert quiet.why.tolist() == [()]
    still_open = closed_buckets(b.spec, series, b.window("2024-01-04", "2024-01-05"))
    assert len(found_by(judge_thresholds, b.spec, "a", still_open)) == 1
    for keys in ({"disable_tholdalert": True}, {"tholdalert_exclude_metrics": ["a"]}, {"tholdalert_thresholds": {}}):
        assert (
            len(found_by(judge_thresholds, b.spec.model_copy(update=keys), "a", closed_buckets(b.spec, series, window)))
            == 0
        )


def test_changes_by_hand(rig: Callable[..., Rig]) -> None:
    b = rig(disable_change=False)
    series = Series(*days([*noise(40).round(4), 100_000, 100]))
    buckets = closed_buckets(b.spec, series, b.window("2024-02-10", "2024-02-12"), first=30)
    found = found_by(judge_levels, b.spec, "a", buckets)
    assert (found.times[-1], found.direction[-1]) == (series.times[40], 1)
    assert found.expected[-1] == np.median(series.values[:40])
    assert found.lower[-1] < found.expected[-1] < found.upper[-1] < found.value[-1] == 100_000
    assert "median deviations above" in found.why[-1][0]
    for keys in ({"disable_change": True}, {"change_exclude_metrics": ["a"]}, {"change_include_metrics": ["z"]}):
        assert len(found_by(judge_levels, b.spec.model_copy(update=keys), "a", buckets)) == 0
    included = b.spec.model_copy(update={"change_include_metrics": ("a",)})
    assert len(found_by(judge_levels, included, "a", buckets)) == len(found)


def days(values: list[float]) -> tuple[np.ndarray, np.ndarray]:
    return np.datetime64("2024-01-01", "us") + np.arange(len(values)) * np.timedelta64(1, "D"), np.array(values)


@pytest.mark.parametrize("finder", [judge_thresholds, judge_levels])
def test_no_points_no_findings(rig: Callable[..., Rig], finder: Any) -> None:
    b = rig(disable_change=False, tholdalert_thresholds=BOUNDS, disable_tholdalert=False)
    window = b.window("2024-01-04", "2024-01-06")
    for n in (0, 1, 2):
        series = EMPTY if not n else Series(*days([100.0] * n))
        assert len(found_by(finder, b.spec, "a", closed_buckets(b.spec, series, window))) == 0


KINDS: dict[str, tuple[dict[str, Any], str]] = {
    "hourly": ({"schedule": "@hourly", "completeness_delay": "2h", "change_max_n": 20}, "1h"),
    "New York's days": ({"timezone": "America/New_York"}, "1D"),
    "months": ({"schedule": "@monthly", "train_min_n": 5, "change_metric_timestamp_max_days_ago": 1000}, "MS"),
    "two days a run": ({"schedule": "0 0 */2 * *", "change_smooth_n": 2, "change_detect_last_n": 3}, "1D"),
    "a duration": ({"schedule": "@hourly", "freshness": "2h"}, "1h"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_of_one_interval_finds_what_a_run_of_all_finds_there(rig: Callable[..., Rig], kind: str) -> None:
    keys, freq = KINDS[kind]
    b = rig(tholdalert_thresholds=BOUNDS, disable_tholdalert=False, disable_change=False, **keys)
    index = pd.date_range("2024-02-20", periods=110, freq=freq, tz=b.spec.timezone)
    silences = {"a": [range(76, 82), range(90, 95)], "b": [range(90, 96)], "c": [range(91, 93)]}
    for seed, (name, gone) in enumerate(silences.items()):
        values = noise(110, seed).round(4)
        values[[75, 85, 96]] += [300, 15, -90]
        keep = np.setdiff1d(np.arange(110), np.concatenate([list(span) for span in gone]))
        put(b, name, index[keep], values[keep])
    first, last = (last_tick(b.spec.cron, b.spec.timezone, index[i].to_pydatetime()) for i in (72, 106))
    whole = all_found(b, period := RunWindow(first, last))
    assert {row[1] for row in whole} == {"threshold", "change", "late", "explained", "batch"}
    windows = list(intervals(b, period))
    assert len(windows) >= 10
    for window in random.Random(0).sample(windows, len(windows)):
        assert all_found(b, window) == closing_in(b, window, whole)


def put(b: Rig, name: str, index: pd.DatetimeIndex, values: np.ndarray) -> None:
    times = index.tz_convert("UTC").tz_localize(None).astype("datetime64[us]")
    columns = {"metric_name": name, "metric_type": "metric", "metric_timestamp": times, "metric_value": values}
    b.store.replace(pd.DataFrame({**columns, "metadata": None}))


def hourly(rig: Callable[..., Rig], **keys: Any) -> Rig:
    """Three metrics of ten days; two of them end four hours before the third."""
    b = rig(schedule="@hourly", **keys)
    for name, end in (("a", 236), ("b", 236), ("c", 240)):
        b.put(name, noise(end), freq="1h")
    return b


def test_a_batch_that_is_late_is_one_finding_a_bucket(rig: Callable[..., Rig]) -> None:
    window = (b := hourly(rig)).window("2024-01-10T23:00", "2024-01-11")
    late = late_data(b.spec, window, b.store, 25)
    batch = batch_of(b, window, late)
    whole = findings_of(batch)
    assert whole.times.astype("datetime64[h]").astype(str).tolist() == ["2024-01-10T22", "2024-01-10T23"]
    assert batch.metrics == (("a", "b"),) * 2
    assert whole.why.tolist() == [("no data of a, b", ALWAYS_LATE)] * 2
    assert batch.tells(late.gaps["a"][0]).all()
    assert late.of_metric("a").why[0] == (
        "no data since the bucket of 2024-01-10 19:00 UTC; up to 2 missing ones are usual",
        ALWAYS_LATE,
    )
    hours = np.datetime64("2024-01-10T20", "us") + np.arange(4) * np.timedelta64(1, "h")
    assert late.explains("a", hours, hours + np.timedelta64(1, "h")).tolist() == [False, False, True, True]
    assert not late.explains("c", hours, hours + np.timedelta64(1, "h")).any()


def test_what_is_excluded_suppressed_or_off_is_not_late(rig: Callable[..., Rig]) -> None:
    def found(**keys: Any) -> tuple[Lateness, LateBatch]:
        b = hourly(rig, **keys)
        window = b.window("2024-01-10T23:00", "2024-01-11")
        late = late_data(b.spec, window, b.store, 25)
        return late, batch_of(b, window, late)

    late, batch = found(alert_exclude_metrics=["a"])
    assert set(late.gaps) == {"b"}
    assert not batch.is_late.any()
    assert not found(freshness="off")[0].gaps
    assert not found(disable_alert=True)[0].gaps
    event = {"name": "move", "start": "2024-01-10T21:00", "end": "2024-01-10T23:00", "action": "suppress"}
    assert found(events=[event])[0].of_metric("a").times.astype("datetime64[h]").astype(str).tolist() == [
        "2024-01-10T23"
    ]


def test_steady_metrics_cost_one_query_and_a_late_batch_four(rig: Callable[..., Rig], monkeypatch: Any) -> None:
    b = hourly(rig)
    calls: list[Any] = []
    read = type(b.store).read

    def counted(self: Any, *args: Any, **kwargs: Any) -> pd.DataFrame:
        if kwargs.get("metrics") != []:
            calls.append(kwargs["newest"])
        return read(self, *args, **kwargs)

    monkeypatch.setattr(type(b.store), "read", counted)
    late_data(b.spec, b.window("2024-01-10T12:00", "2024-01-10T13:00"), b.store, 25)
    assert calls == [56]
    window = b.window("2024-01-10T23:00", "2024-01-11")
    late = late_data(b.spec, window, b.store, 25)
    assert calls == [56, 56, 2027]
    batch_of(b, window, late)
    assert calls == [56, 56, 2027, 31, 2002]


def test_whether_the_batch_is_late_does_not_depend_on_the_window_that_asks(rig: Callable[..., Rig]) -> None:
    """Of the hours a run reads a few days, of the days a month: then too the hours were there, and most were."""
    b = rig(schedule="@daily")
    for name in "xy":
        index = pd.date_range("2024-01-01", periods=80, freq="1D", tz="UTC")[np.r_[0:60, 68:80]]
        put(b, name, index, noise(72))
    for name in "cde":
        put(b, name, pd.date_range("2024-01-01", periods=80 * 24, freq="1h", tz="UTC"), noise(80 * 24))
    whole = all_found(b, period := b.window("2024-03-01", "2024-03-15"))
    assert {row[1] for row in whole} == {"late"}
    for window in intervals(b, period):
        late = late_data(b.spec, window, b.store, 25)
        batch = batch_of(b, window, late)
        assert not batch.is_late.any()
        assert late.of_metric("x").times.tolist() == sorted(
            row[3] for row in whole if row[2] == "x" and row[0] <= window.end.replace(tzinfo=None)
        )
