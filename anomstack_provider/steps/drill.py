"""
Drill: would a known fault be found? Faults are put into a copy of a metric's newest stored buckets and replayed.

The same score and alert steps run as in a preview, in memory: nothing is written and nothing sent.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd

from anomstack_provider.alerting.alert import Alert
from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.detection import grain
from anomstack_provider.detection.series import Floats, Series, Times, split
from anomstack_provider.runtime.window import RunWindow
from anomstack_provider.steps.overlay import MemoryRows
from anomstack_provider.steps.ports import COLUMNS, MetricRows
from anomstack_provider.steps.preview import Preview, preview
from anomstack_provider.steps.tracks import Stopped
from anomstack_provider.steps.training import metric_grain

_EVER = datetime(9999, 1, 1, tzinfo=UTC)
# Faults of some length last so many buckets and so much time, whichever is more.
_LEAST_BUCKETS, _LEAST_TIME = 12, timedelta(days=2)
# A fault must have more history before it than it lasts.
_HISTORY = 2
# Other metrics in the copy, so that a gap in one is not the whole batch being late.
_NEIGHBOURS = 2
# Half the range that holds nearly all of normal noise, in median absolute deviations.
_NOISE = 3 * 1.4826


@dataclass(frozen=True)
class Drilled:
    """
    What came of one fault.

    :param since: start of the first bucket with the fault, aware, UTC.
    :param buckets: how many buckets have it.
    :param alert: the first that would have been told of it, None: nobody would have known.
    :param after: how many buckets after the first with the fault that was; 0 is that bucket itself.
    :param stopped: gates that kept findings on it from alerting, with how many each.
    :param rows: the stored metrics with the fault, and the scores and alerts on it, in memory.
    """

    kind: str
    since: datetime
    buckets: int
    alert: Alert | None
    after: int | None
    stopped: Mapping[str, int]
    rows: MetricRows


@dataclass(frozen=True)
class Place:
    """Where a fault goes: the stored series, the first position of the fault, and the size of a fault in its unit."""

    series: Series
    first: int
    expected: float
    size: float


def _spike(place: Place) -> Floats:
    return _one(place, place.expected + place.size)


def _drop(place: Place) -> Floats:
    value = place.expected - place.size
    # What counts or costs does not fall below nothing.
    return _one(place, value if place.series.values.min() < 0 else max(value, 0.0))


def _one(place: Place, value: float) -> Floats:
    values = place.series.values.astype(np.float64)
    values[place.first] = value
    return values


def _flat(place: Place) -> Floats:
    values = place.series.values.astype(np.float64)
    values[place.first :] = values[place.first - 1]
    return values


def _gap(place: Place) -> Floats:
    values = place.series.values.astype(np.float64)
    values[place.first :] = np.nan
    return values


def _drift(place: Place) -> Floats:
    values = place.series.values.astype(np.float64)
    count = len(values) - place.first
    values[place.first :] += place.size * np.arange(1, count + 1) / count
    return values


# Each returns the series with its fault, NaN where a bucket is missing.
FAULTS: Mapping[str, Callable[[Place], Floats]] = {
    "spike": _spike,
    "drop": _drop,
    "flat": _flat,
    "gap": _gap,
    "drift": _drift,
}
_OF_ONE_BUCKET = {"spike", "drop"}


def drill(
    spec: BatchSpec, metric_name: str, table: MetricRows, *, kinds: Sequence[str] = tuple(FAULTS), size: float = 4
) -> list[Drilled]:
    """
    Put each kind of fault at the end of a metric's history and return what came of it.

    :param kinds: some of ``FAULTS``.
    :param size: how far out a spike or drop is, and a drift at its end, in half-widths of the expected range.
    :raises ValueError: the metric is not stored, or its history is too short.
    """
    copy = _copy(spec, metric_name, table)
    series = split(copy)[metric_name]
    step = metric_grain(spec, series)
    ends = grain.mixed_ends([str(step)], series.times[-1:], spec.timezone)
    as_of = _moment(ends[0]) + spec.completeness_delay
    long = _long(series.times)
    if len(series) < (1 + _HISTORY) * long:
        raise ValueError(
            f"metric {metric_name!r} has {len(series)} stored buckets; a drill needs {(1 + _HISTORY) * long}, of which "
            f"the newest {long} get the faults"
        )
    single = len(series) - 1 - _room(spec)
    firsts = {kind: single if kind in _OF_ONE_BUCKET else len(series) - long for kind in kinds}
    windows = {
        kind: RunWindow(_moment(series.times[at]) + spec.completeness_delay, as_of) for kind, at in firsts.items()
    }
    plain = {window: preview(spec, window, _rows(copy)) for window in set(windows.values())}
    found = []
    for kind, first in firsts.items():
        expected, half = _range(plain[windows[kind]], metric_name, series, first)
        values = FAULTS[kind](Place(series, first, expected, size * half))
        faulty = preview(spec, windows[kind], _rows(_with(copy, metric_name, values)))
        found.append(_drilled(spec, kind, metric_name, series.times, first, plain[windows[kind]], faulty))
    return found


def _copy(spec: BatchSpec, metric_name: str, table: MetricRows) -> pd.DataFrame:
    """Return the stored values of the metric, of those that its gates look at, and of some neighbours."""
    newest = table.read(["metric"], since=None, until=_EVER, newest=1)
    names = newest.sort_values("metric_timestamp", ascending=False)["metric_name"].tolist()
    if metric_name not in names:
        near = ", ".join(sorted(names)[:10]) or "none"
        raise ValueError(f"batch {spec.metric_batch!r} has no stored metric {metric_name!r}; there are: {near}")
    others = [name for name in names if name != metric_name][:_NEIGHBOURS]
    wanted = {metric_name, *others, *(spec.gates(metric_name).references & set(names))}
    return table.read(["metric"], since=None, until=_EVER, metrics=sorted(wanted))[COLUMNS]


def _rows(frame: pd.DataFrame) -> MemoryRows:
    rows = MemoryRows()
    rows.replace(frame)
    return rows


def _with(copy: pd.DataFrame, metric_name: str, values: Floats) -> pd.DataFrame:
    """Return the copy with other values of one metric, without the buckets whose value is NaN."""
    changed = copy.astype({"metric_value": "float64"})
    changed.loc[changed["metric_name"] == metric_name, "metric_value"] = values
    return changed.dropna(subset="metric_value").reset_index(drop=True)


def _long(times: Times) -> int:
    """Return how many buckets a fault of some length has."""
    if len(times) < 2:
        return _LEAST_BUCKETS
    step = np.median(np.diff(times)).astype("timedelta64[us]")
    return max(_LEAST_BUCKETS, int(np.ceil(np.timedelta64(_LEAST_TIME) / step)))


def _room(spec: BatchSpec) -> int:
    """Return how many buckets follow a fault of one: as many as may pass before it is found."""
    return spec.alert_smooth_n + spec.preprocess_params.smooth_n + 2


def _range(plain: Preview, metric_name: str, series: Series, position: int) -> tuple[float, float]:
    """Return the value to expect in a bucket and half the width of its range, or of the noise of the series."""
    time = series.times[position]
    values = series.values[:position].astype(np.float64)
    expected, half = float(np.median(values[-100:])), 0.0
    scores = plain.rows.read(["score"], since=None, until=_EVER, metrics=[metric_name])
    for text in scores.loc[scores["metric_timestamp"] == time, "metadata"]:
        fact = json.loads(text)
        if None not in (fact["expected"], fact["lower"], fact["upper"]):
            expected, half = fact["expected"], (fact["upper"] - fact["lower"]) / 2
    steps = np.abs(np.diff(values[-100:]))
    return expected, half or _NOISE * float(np.median(steps)) or max(abs(expected), 1.0) / 10


def _drilled(
    spec: BatchSpec,
    kind: str,
    metric_name: str,
    times: Times,
    first: int,
    plain: Preview,
    faulty: Preview,
) -> Drilled:
    known = {(alert.event_id, alert.key) for alert in plain.alerts}
    since = _moment(times[first])
    told = [
        alert
        for alert in faulty.alerts
        if alert.transition in ("opened", "escalated")
        and alert.bucket >= since
        and (alert.event_id, alert.key) not in known
        and metric_name in (alert.metric_name, *alert.metrics)
    ]
    alert = told[0] if told else None
    stopped: dict[str, int] = {}
    before = {_stop(one) for one in plain.stopped}
    for one in faulty.stopped:
        if one.metric_name == metric_name and one.bucket >= times[first] and _stop(one) not in before:
            stopped[one.gate] = stopped.get(one.gate, 0) + 1
    after = None
    if alert is not None:
        after = int(np.searchsorted(times, np.datetime64(alert.bucket.replace(tzinfo=None), "us"))) - first
    buckets = 1 if kind in _OF_ONE_BUCKET else len(times) - first
    return Drilled(kind, since, buckets, alert, after, stopped, faulty.rows)


def _stop(one: Stopped) -> tuple[str, int, str]:
    return one.metric_name, int(one.bucket.astype("datetime64[us]").astype(np.int64)), one.gate


def _moment(time: np.datetime64) -> datetime:
    moment: datetime = time.astype("datetime64[us]").item()
    return moment.replace(tzinfo=UTC)
