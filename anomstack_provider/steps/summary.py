"""The daily summary: what was stored for each batch in a day, and which metrics were not evaluated and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np
import pandas as pd

from anomstack_provider.alerting.transitions import ROW_TYPES
from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.detection import grain
from anomstack_provider.detection.series import Series, split
from anomstack_provider.runtime.ticks import tick_at_or_before
from anomstack_provider.steps.ports import MetricRows
from anomstack_provider.steps.training import stamp

# Newest points of a metric that tell how long its buckets are.
_POINTS = 22
_DAY, _NONE = timedelta(days=1), np.timedelta64(0, "us")
_ALERT_TYPES = tuple(dict.fromkeys(ROW_TYPES.values()))
# Columns of summary_sql, named as in Anomstack, and what they count.
_COUNTED = {"n_metric": "values", "n_score": "scores", "n_alert": "alerts"}


@dataclass(frozen=True)
class MetricSummary:
    """What was stored of one metric: values, scores, and buckets in which an event opened or got worse."""

    values: int = 0
    scores: int = 0
    alerts: int = 0


@dataclass(frozen=True)
class BatchSummary:
    """
    What the runs of the days before a moment had to judge of one batch.

    :param until: that moment, aware.
    :param metrics: by name, those with any row in them.
    :param not_evaluated: by name, why a metric has no score in them.
    :param problem: why the batch could not be looked at, empty if it could.
    """

    metric_batch: str
    until: datetime
    metrics: dict[str, MetricSummary] = field(default_factory=dict)
    not_evaluated: dict[str, str] = field(default_factory=dict)
    problem: str = ""

    def total(self, what: str) -> int:
        """Return how many ``values``, ``scores`` or ``alerts`` there are of all metrics."""
        return sum(getattr(metric, what) for metric in self.metrics.values())


class CountsRefused(ValueError):
    """The rows of ``summary_sql`` are no counts; the message says what is missing."""


def summarise(spec: BatchSpec, as_of: datetime, store: MetricRows, counts: pd.DataFrame | None = None) -> BatchSummary:
    """
    Return what the runs of the ``summary_metric_timestamp_max_days_ago`` days before ``as_of`` had to judge.

    These are the buckets that closed in the windows of runs that ended then: yesterday's bucket of a daily batch began
    longer ago than a day, at whatever hour of today it is asked for.

    Not evaluated is a metric with values and no score, and one with values in the
    ``dashboard_stale_metric_max_days_ago`` days before and none since. Four queries, whatever the number of metrics.

    :param counts: the rows of ``summary_sql``, whose numbers are shown instead.
    :raises CountsRefused: these have no such columns, or numbers that are none.
    """
    since = as_of - timedelta(days=spec.summary_metric_timestamp_max_days_ago)
    metrics = _counted(_judged(spec, since, as_of, store))
    stale = since - timedelta(days=spec.dashboard_stale_metric_max_days_ago)
    known = {*store.metric_names("metric", since=stale, until=as_of), *(n for n, m in metrics.items() if m.values)}
    left_out = known if spec.is_off("score") else set(spec.score_exclude_metrics)
    unscored = sorted(name for name in known - left_out if not metrics.get(name, MetricSummary()).scores)
    history = split(store.read(["metric"], since=None, until=as_of, newest=max(spec.train_min_n, 3), metrics=unscored))
    reasons = {name: _reason(spec, metrics.get(name), history.get(name), since, as_of) for name in unscored}
    not_evaluated = {name: why for name, why in reasons.items() if why}
    shown = metrics if counts is None else _given(spec, counts)
    return BatchSummary(spec.metric_batch, as_of, shown, not_evaluated)


def _judged(spec: BatchSpec, since: datetime, as_of: datetime, store: MetricRows) -> pd.DataFrame:
    """Return the rows of all buckets that closed in the windows of the runs that ended in the period."""
    first, last = (tick_at_or_before(spec.cron, spec.timezone, moment) for moment in (since, as_of))
    points = store.read(["metric"], since=None, until=as_of, newest=_POINTS)
    own = {name: grain.infer(series.times, spec.timezone) for name, series in split(points).items()}
    if spec.grain:
        own = dict.fromkeys(own, grain.parse(spec.grain))
    freq = spec.preprocess_params.freq
    lengths = [*own.values(), *([grain.of_freq(freq)] if freq else [])]
    longest: timedelta = max([each.nominal for each in lengths], default=_NONE).astype(object) * 31 / 30
    low, high = first - spec.completeness_delay, last - spec.completeness_delay
    frame = store.read(["metric", "score", *_ALERT_TYPES], since=low - longest - _DAY, until=as_of)
    judged = zip(frame["metric_name"], frame["metric_type"], strict=True)
    scored = str(grain.of_freq(freq)) if freq else ""
    told = [(scored if kind != "metric" else "") or str(own.get(name, grain.INSTANT)) for name, kind in judged]
    ends = grain.mixed_ends(told, frame["metric_timestamp"].to_numpy("datetime64[us]"), spec.timezone)
    return frame[(ends > stamp(low)) & (ends <= stamp(high))]


def _counted(frame: pd.DataFrame) -> dict[str, MetricSummary]:
    """Return the numbers of rows by metric; of alerts those of events that opened or got worse."""
    counts: dict[str, Counter[str]] = {}
    for name, kind, value in zip(frame["metric_name"], frame["metric_type"], frame["metric_value"], strict=True):
        what = {"metric": "values", "score": "scores"}.get(kind, "alerts")
        counts.setdefault(name, Counter())[what] += 1 if what != "alerts" or value > 0 else 0
    return {name: MetricSummary(**found) for name, found in counts.items()}


def _given(spec: BatchSpec, counts: pd.DataFrame) -> dict[str, MetricSummary]:
    """Return the numbers of rows by metric as ``summary_sql`` counted them; rows of other batches are left out."""
    counts = counts.rename(columns={column: str(column).lower() for column in counts.columns})
    if missing := [column for column in ("metric_name", *_COUNTED) if column not in counts.columns]:
        known = ", ".join(counts.columns) or "none"
        raise CountsRefused(f"summary_sql: the result has no column {', '.join(missing)}; it has {known}")
    if "metric_batch" in counts.columns:
        counts = counts[counts["metric_batch"] == spec.metric_batch]
    found: dict[str, Counter[str]] = {}
    for column, what in _COUNTED.items():
        numbers = pd.to_numeric(counts[column], errors="coerce")
        if numbers.isna().any():
            name = counts["metric_name"][numbers.isna()].iloc[0]
            raise CountsRefused(f"summary_sql: {column} of metric {name!r} is not a number")
        for name, number in zip(counts["metric_name"], numbers, strict=True):
            found.setdefault(str(name), Counter())[what] += int(number)
    return {name: MetricSummary(**numbers) for name, numbers in found.items()}


def _reason(
    spec: BatchSpec, stored: MetricSummary | None, history: Series | None, since: datetime, as_of: datetime
) -> str:
    """Return why a metric has no score since then; empty for one that none is expected of."""
    if history is None:
        return ""
    if stored is None or not stored.values:
        steps = np.diff(history.times)
        # A metric of longer buckets than the window is not missed in it.
        usual = np.median(steps).astype("timedelta64[us]").item() if len(steps) else timedelta(0)
        return "" if usual > as_of - since else "no data"
    if len(history) < spec.train_min_n:
        return f"learning {len(history)}/{spec.train_min_n}"
    return "no score"


def worst_first(summaries: Iterable[BatchSummary]) -> list[BatchSummary]:
    """Return the batches that someone should look at first: a problem, then the most alerts, then by name."""
    return sorted(summaries, key=lambda one: (not one.problem, -one.total("alerts"), one.metric_batch))
