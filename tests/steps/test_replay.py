"""
Preview and the runs of a DAG give the same scores, to the bit, and the same alerts.

Each case is one metric batch over a period. "Live" runs train, score and alert once per interval, each with new store
and model store objects, as the tasks of a DAG do; preview takes the period in one go. A live period is run twice: in
order with the rows arriving interval by interval, and shuffled, models deleted now and then, over all rows.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest

from anomstack_provider.alerting.alert import Alert
from anomstack_provider.alerting.transitions import stored_alerts
from anomstack_provider.artifacts.model_store import open_model_store
from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.detection import grain
from anomstack_provider.runtime.ticks import last_tick
from anomstack_provider.runtime.window import RunWindow
from anomstack_provider.steps.alert import alert
from anomstack_provider.steps.ingest import ingest
from anomstack_provider.steps.overlay import MemoryRows
from anomstack_provider.steps.ports import MetricRows
from anomstack_provider.steps.preview import Preview, preview
from anomstack_provider.steps.score import score
from anomstack_provider.steps.train import train
from anomstack_provider.steps.training import stamp
from anomstack_provider.store.hooks import open_hook
from anomstack_provider.store.metric_store import MetricStore

END_OF_TIME = datetime(2100, 1, 1, tzinfo=UTC)
KNN = [{"model_name": "KNN"}]
ONLY_SCORES: dict[str, Any] = {
    **{"disable_change": True, "disable_tholdalert": True, "freshness": "off", "merge_max_gap": 0},
    **{"alert_gates": {}, "metric_settings": {}, "alert_exclude_metrics": []},
}
ALERTS = ("alert", "tholdalert", "change")
VALUE_ITSELF = {"diff_n": 0, "smooth_n": 0, "lags_n": 0}
Points = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Case:
    """A batch, the period to replay and its metrics: starts of buckets (UTC) and values."""

    config: Mapping[str, Any]
    period: RunWindow
    metrics: Mapping[str, Points]

    @property
    def spec(self) -> BatchSpec:
        return BatchSpec(metric_batch="b", ingest_sql="SELECT 1", score_metric_rounding=-1, **self.config)

    def frame(self) -> pd.DataFrame:
        """Return all points as a batch's query would."""
        parts = [
            pd.DataFrame(
                {"metric_name": name, "metric_timestamp": times.astype("datetime64[us]"), "metric_value": values}
            )
            for name, (times, values) in self.metrics.items()
        ]
        return pd.concat(parts, ignore_index=True)


# --- series ----------------------------------------------------------------------------------------------------------


def times(start: str, end: str, step: str, timezone: str = "UTC") -> np.ndarray:
    """Return starts of buckets on the calendar of a zone, as UTC."""
    index = pd.date_range(start, end, freq=step, inclusive="left", tz=timezone)
    return index.tz_convert("UTC").tz_localize(None).to_numpy().astype("datetime64[us]")


def noise(starts: np.ndarray, seed: int, spikes: Mapping[str, float] | None = None) -> Points:
    """Return a series around 100 with a spike at the first bucket at or after each named time."""
    values = 100 + np.random.default_rng(seed).normal(size=len(starts))
    for moment, height in (spikes or {}).items():
        values[np.searchsorted(starts, np.datetime64(moment, "us"))] += height
    return starts, np.round(values, 4)


def without(points: Points, start: str, end: str) -> Points:
    """Cut a gap into a series."""
    keep = (points[0] < np.datetime64(start, "us")) | (points[0] >= np.datetime64(end, "us"))
    return points[0][keep], points[1][keep]


def storm(points: Points, start: str, buckets: int, growth: float = 1.3) -> Points:
    """Return the series with an anomaly that lasts: each bucket further out than the one before."""
    starts, values = points[0], points[1].copy()
    first = int(np.searchsorted(starts, np.datetime64(start, "us")))
    swing = 20 * growth ** np.arange(buckets) * np.where(np.arange(buckets) % 2, -1, 1)
    values[first : first + buckets] += swing[: len(values) - first]
    return starts, np.round(values, 4)


def period(start: str, end: str, timezone: str = "UTC") -> RunWindow:
    first, last = (datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(timezone)) for text in (start, end))
    return RunWindow(first, last)


# --- cases -----------------------------------------------------------------------------------------------------------


def daily() -> Case:
    """Anomstack's defaults, daily; a gap, a metric that begins and one that ends in the period, a storm."""
    starts = times("2023-12-01", "2024-04-20", "1D")
    return Case(
        {"schedule": "@daily", "train_cron_schedule": "@weekly", "alert_threshold": 0.7},
        period("2024-02-20", "2024-04-01"),
        {
            "spikes": noise(starts, 1, {"2024-02-25": 30, "2024-03-09": -40, "2024-03-11": 60}),
            "gap": without(noise(starts, 2, {"2024-03-20": 30}), "2024-03-01", "2024-03-16"),
            "begins": without(noise(starts, 3, {"2024-03-29": 40}), "2023-12-01", "2024-03-05"),
            "ends": without(noise(starts, 4, {"2024-02-28": 40}), "2024-03-02", "2024-05-01"),
            "storm": storm(noise(starts, 5), "2024-02-10", 45, growth=2.0),
        },
    )


def hourly() -> Case:
    """Hours of New York over the change of the clocks, judged three hours late, trained every six hours."""
    starts = times("2024-02-20", "2024-03-12", "1h", "America/New_York")
    return Case(
        {
            "schedule": "@hourly",
            "timezone": "America/New_York",
            "train_cron_schedule": "0 */6 * * *",
            "completeness_delay": "3h",
            "alert_smooth_n": 1,
            "model_configs": KNN,
        },
        period("2024-03-09T14:00", "2024-03-11T02:00", "America/New_York"),
        {
            "m/1 'x'": noise(starts, 1, {"2024-03-10T05:00": 30, "2024-03-10T09:00": 30}),
            "gap": without(noise(starts, 2, {"2024-03-10T21:00": 30}), "2024-03-09T12:00", "2024-03-10T20:00"),
        },
    )


def resampled_hours() -> Case:
    """Quarters of an hour that become an hour and a half, with gaps longer than the hours that a run reads."""
    starts = times("2024-02-20", "2024-03-08", "15min")
    return Case(
        {
            "schedule": "@hourly",
            "train_cron_schedule": "@daily",
            "preprocess_params": {"freq": "90min", "freq_agg": "sum"},
            "completeness_delay": "20m",
            "score_max_n": 5,
            "alert_smooth_n": 0,
            "model_configs": KNN,
        },
        period("2024-03-05T06:00", "2024-03-06T18:00"),
        {
            "whole": noise(starts, 1, {"2024-03-05T12:00": 300}),
            "short gap": without(noise(starts, 2, {"2024-03-05T18:00": 300}), "2024-03-05T08:00", "2024-03-05T17:30"),
            "long gap": without(noise(starts, 3, {"2024-03-06T05:00": 300}), "2024-03-02T08:00", "2024-03-05T12:30"),
            "begins": without(noise(starts, 4, {"2024-03-06T11:00": 300}), "2024-02-20", "2024-03-05T10:15"),
        },
    )


def resampled_days() -> Case:
    """Hours that become days of New York; a gap that reaches over the edge of the training days."""
    starts = times("2024-01-01", "2024-03-20", "1h", "America/New_York")
    return Case(
        {
            "schedule": "0 6 * * *",
            "timezone": "America/New_York",
            "train_cron_schedule": "@daily",
            "train_metric_timestamp_max_days_ago": 30,
            "preprocess_params": {"freq": "1D", "diff_n": 0, "smooth_n": 0, "lags_n": 2},
            "alert_smooth_n": 0,
            "alert_threshold": 0.7,
            "model_configs": KNN,
        },
        period("2024-02-25T06:00", "2024-03-18T06:00", "America/New_York"),
        {
            "whole": noise(starts, 1, {"2024-03-09T12:00": 900}),
            "gap": without(noise(starts, 2, {"2024-03-12T12:00": 900}), "2024-01-25", "2024-02-14"),
        },
    )


def readings() -> Case:
    """Readings at odd moments and on the hour, which are closed once they are taken."""
    chance = np.random.default_rng(9).integers(0, 12 * 24 * 60, 1500)
    odd = np.unique(np.datetime64("2024-02-20", "us") + chance.astype("timedelta64[m]"))
    on_the_edge = times("2024-02-20", "2024-03-03", "20min")
    return Case(
        {
            "schedule": "@hourly",
            "train_cron_schedule": "@daily",
            "grain": "instant",
            "preprocess_params": VALUE_ITSELF,
            "alert_smooth_n": 0,
            "alert_snooze_n": 0,
            "model_configs": KNN,
        },
        period("2024-02-29T00:00", "2024-03-01T06:00"),
        {
            "odd": noise(odd, 1, {"2024-02-29T10:00": 30}),
            "on the edge": noise(on_the_edge, 2, {"2024-02-29T12:00": 30, "2024-02-29T20:20": 30}),
        },
    )


def long_buckets() -> Case:
    """Weeks and months in a daily batch: they began long before the run in which they close."""
    return Case(
        {
            "schedule": "@daily",
            "train_cron_schedule": "@weekly",
            "train_metric_timestamp_max_days_ago": 1000,
            "score_metric_timestamp_max_days_ago": 3,
            "alert_metric_timestamp_max_days_ago": 7,
            "completeness_delay": "2d",
            "train_min_n": 10,
            "alert_snooze_n": 0,
            "preprocess_params": VALUE_ITSELF,
            "alert_smooth_n": 0,
            "model_configs": KNN,
        },
        period("2024-02-25", "2024-04-05"),
        {
            "months": noise(times("2022-01-01", "2024-05-01", "MS"), 1, {"2024-02-01": 30}),
            "weeks": noise(times("2023-01-02", "2024-04-20", "7D"), 2, {"2024-03-04": 30}),
        },
    )


def more_than_the_look_back() -> Case:
    """A storm and a snooze longer than the look-back, smoothed; three looked at again each time."""
    starts = times("2024-01-01", "2024-03-10", "1h")
    return Case(
        {
            "schedule": "0 */6 * * *",
            "train_cron_schedule": "@weekly",
            "score_max_n": 1,
            "alert_recent_n": 3,
            "alert_smooth_n": 2,
            "alert_snooze_n": 60,
            "alert_threshold": 0.6,
            "model_configs": KNN,
        },
        period("2024-02-27", "2024-03-05"),
        {
            "storm before": storm(noise(starts, 1), "2024-02-22T01:00", 200),
            "storm inside": storm(noise(starts, 2), "2024-02-28T01:00", 120),
            "begins as a storm": storm(
                without(noise(starts, 3), "2024-01-01", "2024-02-26T20:00"), "2024-02-27T14:00", 100
            ),
        },
    )


def changing_grain() -> Case:
    """Metrics whose step changes; the windows do not begin where their buckets do."""
    hours, days = times("2024-02-20", "2024-03-05", "1h"), times("2024-01-20", "2024-03-20", "1D")
    slower = np.r_[hours, days[days >= hours[-1]]]
    faster = np.r_[days[days < hours[0]], hours, times("2024-03-05", "2024-03-20", "1h")]
    return Case(
        {
            "schedule": "0 6 * * *",
            "train_cron_schedule": "@daily",
            "alert_smooth_n": 0,
            "alert_snooze_n": 0,
            "alert_threshold": 0.7,
            "train_min_n": 3,
            "preprocess_params": VALUE_ITSELF,
            "model_configs": KNN,
        },
        period("2024-02-17T06:00", "2024-03-10T06:00"),
        {
            "slower": noise(slower, 1, {"2024-03-04T05:00": 30, "2024-03-05": 40, "2024-03-08": 50}),
            "faster": noise(faster, 2, {"2024-02-19": 30, "2024-02-20T03:00": 40, "2024-03-01": 50}),
        },
    )


def gated() -> Case:
    """Gates that look at other metrics, thresholds, changes of level, late data, storms longer than the look-back."""
    starts = times("2024-01-01", "2024-03-10", "1h")
    return Case(
        {
            "schedule": "0 */6 * * *",
            "train_cron_schedule": "@weekly",
            "score_max_n": 1,
            "alert_threshold": 0.6,
            "alert_smooth_n": 1,
            "merge_max_gap": "5h",
            "event_expires": "2d",
            "model_configs": KNN,
            "disable_tholdalert": False,
            "tholdalert_thresholds": {"guarded": {"upper": 150}, "bounded": {"upper": 101.8}},
            "alert_exclude_metrics": ["shifts", "bounded"],
            "disable_change": False,
            "change_threshold": 9,
            "alert_gates": {
                "active_hours": "Mon-Fri 06:00-22:00",
                "maintenance": [{"cron": "0 12 * * *", "duration": "2h"}],
            },
            "metric_settings": {
                "guarded": {"priority": "low", "alert_gates": {"guardrail": {"metric": "storm"}}},
                "bounded": {"alert_gates": {"guardrail": {"metric": "shifts"}}},
                "counted": {"alert_gates": {"min_volume": {"metric": "storm", "at_least": 100}, "active_hours": None}},
            },
        },
        period("2024-02-27", "2024-03-05"),
        {
            "storm": storm(noise(starts, 1), "2024-02-24T01:00", 200, growth=1.02),
            "guarded": storm(noise(starts, 2), "2024-02-26T01:00", 150, growth=1.03),
            "counted": storm(noise(starts, 3), "2024-02-25T13:00", 170, growth=1.01),
            "bounded": noise(starts, 7),
            "shifts": (starts, noise(starts, 6)[1] + 40 * (starts >= np.datetime64("2024-03-01T09:00"))),
            "late": without(noise(starts, 4, {"2024-03-02T12:00": 60}), "2024-02-28T07:00", "2024-03-01T15:00"),
        },
    )


def seasonal() -> Case:
    """The default recipe over hours: season, two spikes that need one event, up and then down, and late data."""
    starts = times("2024-01-01", "2024-03-10", "1h")
    season = 30 * np.sin(np.arange(len(starts)) * np.pi / 12)

    def wave(points: Points) -> Points:
        return points[0], np.round(points[1] + season[np.searchsorted(starts, points[0])], 4)

    spikes = {"2024-02-28T03:00": 60, "2024-02-28T20:00": 80, "2024-03-01T01:00": 90, "2024-03-01T04:00": -90}
    return Case(
        {"schedule": "0 */6 * * *", "train_cron_schedule": "@weekly", "alert_gates": {"min_abs_change": 20}},
        period("2024-02-27", "2024-03-04"),
        {
            "spikes": wave(noise(starts, 1, spikes)),
            "storm": wave(storm(noise(starts, 2), "2024-02-26T01:00", 60, growth=1.02)),
            "late": wave(without(noise(starts, 3), "2024-02-28T07:00", "2024-03-01T15:00")),
        },
    )


CASES: list[Callable[[], Case]] = [
    daily,
    hourly,
    resampled_hours,
    resampled_days,
    readings,
    long_buckets,
    more_than_the_look_back,
    changing_grain,
    gated,
    seasonal,
]
by_name = pytest.mark.parametrize("make", CASES, ids=lambda make: make.__name__)


# --- running ---------------------------------------------------------------------------------------------------------


def intervals(spec: BatchSpec, whole: RunWindow) -> list[RunWindow]:
    """Return the data intervals of the batch's DAG in a period that begins and ends at ticks."""
    found, end = [], whole.end
    while end > whole.start:
        found.append(RunWindow(last_tick(spec.cron, spec.timezone, end), end))
        end = found[-1].start
    assert end == whole.start
    return found[::-1]


@dataclass
class Live:
    """A batch's rows, and the runs over them; each gets its stores from ``rows`` and a folder of models."""

    case: Case
    rows: Callable[[], MetricRows]
    models: Path
    sent: dict[tuple[str, str], Alert] = field(default_factory=dict)

    def run(self, spec: BatchSpec, window: RunWindow) -> None:
        """Do what the tasks of one run do after ingest."""
        for step in (train, score):
            for shard in range(spec.shards):
                step(spec, window, self.rows(), self.model_store(), shard=shard, shards=spec.shards)
        for found in alert(spec, window, self.rows(), self.model_store()).alerts:
            self.sent.setdefault((found.event_id, found.key), found)
            assert self.sent[found.event_id, found.key] == found

    def model_store(self) -> Any:
        return open_model_store(f"file://{self.models}", "/")

    def in_order(self) -> Live:
        """Ingest and run interval by interval; what lies before the period is there."""
        spec, data = self.case.spec, self.case.frame()

        def fetch(window: RunWindow) -> pd.DataFrame:
            moments = data["metric_timestamp"].to_numpy()
            return data[(moments >= stamp(window.start)) & (moments < stamp(window.end))]

        ingest(spec, RunWindow(datetime(2000, 1, 1, tzinfo=UTC), self.case.period.start), self.rows(), fetch)
        for window in intervals(spec, self.case.period):
            ingest(spec, window, self.rows(), fetch)
            self.run(spec, window)
            for kind in ("score", *ALERTS):
                so_far = self.rows().read([kind], since=None, until=END_OF_TIME)
                assert np.all(ends(spec, so_far) <= stamp(window.end - spec.completeness_delay)), f"{kind} too early"
        return self

    def shuffled(self, seed: int) -> Live:
        """Run the intervals in any order over all rows, those after the period too; models vanish at times."""
        spec = self.case.spec
        store(self.case, self.rows())
        windows = intervals(spec, self.case.period)
        random.Random(seed).shuffle(windows)
        for number, window in enumerate(windows):
            if number % 5 == 3:
                shutil.rmtree(self.models)
            self.run(spec, window)
        return self


def store(case: Case, rows: MetricRows) -> None:
    everything = RunWindow(datetime(2000, 1, 1, tzinfo=UTC), END_OF_TIME)
    ingest(case.spec, everything, rows, lambda window: case.frame())


def live(case: Case, folder: Path, rows: Callable[[], MetricRows] | None = None) -> Live:
    memory = MemoryRows()
    return Live(case, rows or (lambda: memory), folder / "models")


def previewed(case: Case) -> Preview:
    rows = MemoryRows()
    store(case, rows)
    return preview(case.spec, case.period, rows)


def closed_in(case: Case, rows: MetricRows, kind: str) -> list[tuple[str, str, str, str]]:
    """Return the rows of a type whose buckets closed in the period, values as the text of their bits."""
    spec, found = case.spec, rows.read([kind], since=None, until=END_OF_TIME)
    edges = [stamp(moment - spec.completeness_delay) for moment in (case.period.start, case.period.end)]
    ended = ends(spec, found)
    return [
        (row.metric_name, str(row.metric_timestamp), row.metric_value.hex(), row.metadata)
        for row in found[(edges[0] < ended) & (ended <= edges[1])].itertuples()
    ]


def ends(spec: BatchSpec, rows: pd.DataFrame) -> np.ndarray:
    """Return where the buckets of score or alert rows end."""
    starts = rows["metric_timestamp"].to_numpy().astype("datetime64[us]")
    return grain.mixed_ends([json.loads(text)["grain"] for text in rows["metadata"]], starts, spec.timezone)


def assert_same(case: Case, found: Live, expected: Preview) -> None:
    """Compare every byte of the score and alert rows, and what would have been sent."""
    for kind in ("score", *ALERTS):
        ours, theirs = closed_in(case, found.rows(), kind), closed_in(case, expected.rows, kind)
        assert sorted(set(ours) ^ set(theirs)) == [], f"{kind} rows: live has {len(ours)}, preview {len(theirs)}"
    assert _stored(case, found) <= found.sent.keys()
    told = {(a.event_id, a.key) for a in expected.alerts}
    assert told <= found.sent.keys()
    # What a first run may find among the newest buckets closed before the period.
    extra = found.sent.keys() - told
    before = {a.bucket for key, a in found.sent.items() if key not in _stored(case, found)}
    assert {found.sent[key].bucket for key in extra} <= before


def _stored(case: Case, found: Live) -> set[tuple[str, str]]:
    """Return event and transition of what the alert rows of the period keep."""
    rows = [row for kind in ALERTS for row in closed_in(case, found.rows(), kind)]
    return {(a.event_id, a.key) for row in rows for a in stored_alerts(row[3])}


# --- tests -----------------------------------------------------------------------------------------------------------


@by_name
def test_runs_in_order_with_rows_arriving_are_what_preview_says(make: Callable[[], Case], tmp_path: Path) -> None:
    case = make()
    expected = previewed(case)
    assert expected.alerts
    assert closed_in(case, expected.rows, "score")
    assert_same(case, live(case, tmp_path).in_order(), expected)


@by_name
def test_runs_in_any_order_are_what_preview_says(make: Callable[[], Case], tmp_path: Path) -> None:
    case = make()
    assert_same(case, live(case, tmp_path).shuffled(seed=1), previewed(case))


def test_the_cases_have_every_kind_every_transition_and_every_gate() -> None:
    found = [previewed(make()) for make in (gated, seasonal, daily)]
    alerts = [a for one in found for a in one.alerts]
    assert {a.kind for a in alerts} == {"anomaly", "threshold", "change", "late"}
    assert {a.transition for a in alerts} == {"opened", "escalated", "closed", "expired"}
    stopped = {one.gate for preview_of in found for one in preview_of.stopped}
    assert stopped >= {"active_hours", "maintenance", "guardrail", "min_volume", "min_abs_change"}


@pytest.mark.parametrize("make", [make for make in CASES if make is not seasonal], ids=lambda make: make.__name__)
def test_alerts_are_the_plain_fold_over_all_scores_there_are(make: Callable[[], Case]) -> None:
    case = make()
    case = Case({**case.config, **ONLY_SCORES}, case.period, case.metrics)
    spec = case.spec
    rows = MemoryRows()
    store(case, rows)
    since_ever = preview(spec, RunWindow(datetime(2000, 1, 1, tzinfo=UTC), case.period.end), rows).rows
    everything = since_ever.read(["score"], since=None, until=END_OF_TIME)
    expected = {
        (name, transition, moment)
        for name, scores in everything.groupby("metric_name")
        for transition, moment in plainly_folded(spec, scores)
    }
    inside = {(name, moment) for name, moment, _, _ in closed_in(case, since_ever, "score")}
    found = {(a.metric_name, a.transition, pd.Timestamp(a.bucket).tz_localize(None)) for a in previewed(case).alerts}
    assert {key for key in found if key[1] in ("opened", "closed")} == {
        key for key in expected if (key[0], str(key[2])) in inside
    }


def plainly_folded(spec: BatchSpec, scores: pd.DataFrame) -> Iterator[tuple[str, pd.Timestamp]]:
    """Yield where events open and close, bucket by bucket over everything from the first one on."""
    recipe = spec.preprocess_params
    reach = recipe.lags_n + recipe.smooth_n + recipe.diff_n + spec.alert_smooth_n
    values, moments = scores["metric_value"].tolist(), list(scores["metric_timestamp"])
    told = [json.loads(text) for text in scores["metadata"]]
    outside = [plainly_outside(facts) for facts in told]
    newest: dict[bool, int] = {}  # finding of each event that is not over, up or down
    opened: dict[bool, int] = {}
    expired: set[bool] = set()
    member = -1000
    for i in range(spec.alert_smooth_n, len(values)):
        facts = told[i]
        mean = sum(values[i - spec.alert_smooth_n : i + 1]) / (spec.alert_smooth_n + 1)
        low, high = (
            facts[key] if facts[key] is not None else other for key, other in (("lower", -1e99), ("upper", 1e99))
        )
        echo = low <= facts["value"] <= high and i - member <= reach
        fires = mean >= spec.alert_threshold and not echo
        worst = told[plainly_worst(outside[: i + 1], spec.alert_smooth_n, reach)]
        up = worst["value"] >= worst["expected"]
        for side in list(newest):
            goes_on = fires and side == up and i == newest[side] + 1
            if i - newest[side] > spec.alert_snooze_n and not goes_on:
                if side not in expired:
                    yield "closed", moments[i]
                expired.discard(side)
                del newest[side]
        if fires:
            if up not in newest:
                opened[up] = i
                yield "opened", moments[i]
            if moments[i] - moments[opened[up]] > spec.event_expires:
                expired.add(up)
            newest[up] = member = i


def plainly_outside(facts: dict[str, Any]) -> float:
    """Return the distance from the expected value in half-widths of the range, 0 for a usual value."""
    apart = facts["value"] - facts["expected"]
    end = facts["upper" if apart >= 0 else "lower"]
    far = 0.0 if end is None else abs(apart) / abs(end - facts["expected"])
    return far if far > 1 else 0.0


def plainly_worst(outside: list[float], smooth_n: int, reach: int) -> int:
    """Return the position of the bucket that the last one's score is about."""
    for back in (smooth_n, reach):
        within = range(len(outside) - 1, max(len(outside) - 2 - back, -1), -1)
        if any(outside[k] for k in within):
            return max(within, key=lambda k: outside[k])
    return len(outside) - 1


@pytest.mark.parametrize("make", [daily, hourly], ids=lambda make: make.__name__)
def test_the_same_in_duckdb_with_new_connections_for_each_run(make: Callable[[], Case], tmp_path: Path) -> None:
    case = make()
    path = str(tmp_path / "anomstack.duckdb")
    found = live(case, tmp_path, lambda: MetricStore(open_hook(None, path), "metrics", "b"))
    store(case, found.rows())
    expected = preview(case.spec, case.period, found.rows())
    assert not len(found.rows().read(["score", "alert"], since=None, until=END_OF_TIME)), "a preview writes nothing"
    assert_same(case, found.shuffled(seed=2), expected)


def test_shards_do_not_change_a_row(tmp_path: Path) -> None:
    whole = daily()
    split = Case({**whole.config, "shards": 3}, whole.period, whole.metrics)
    assert_same(split, live(split, tmp_path).in_order(), previewed(whole))


@pytest.mark.parametrize("make", [hourly, changing_grain], ids=lambda make: make.__name__)
def test_running_everything_again_changes_no_byte(make: Callable[[], Case], tmp_path: Path) -> None:
    case = make()
    found = live(case, tmp_path).in_order()
    before = found.rows().read(["metric", "score", "alert"], since=None, until=END_OF_TIME)
    found.shuffled(seed=3)
    found.rows().replace(found.rows().read(["metric"], since=None, until=END_OF_TIME))
    after = found.rows().read(["metric", "score", "alert"], since=None, until=case.period.end)
    pd.testing.assert_frame_equal(before, after[after["metric_timestamp"] < pd.Timestamp("2100")], check_exact=True)


def test_a_part_of_a_preview_is_the_preview_of_that_part() -> None:
    case = daily()
    part = Case(case.config, period("2024-03-09", "2024-03-20"), case.metrics)
    assert closed_in(part, previewed(part).rows, "score") == closed_in(part, previewed(case).rows, "score")
    assert closed_in(part, previewed(part).rows, "alert") == closed_in(part, previewed(case).rows, "alert")


def test_the_scores_of_a_preview_are_those_of_its_period() -> None:
    case = daily()
    table = previewed(case).scores
    assert table["metric_timestamp"].min() >= pd.Timestamp("2024-02-20")
    assert table["metric_timestamp"].max() < pd.Timestamp("2024-04-01")
