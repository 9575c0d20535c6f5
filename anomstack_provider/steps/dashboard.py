"""
What the dashboard shows of a batch: its metrics by how odd they are, and its anomalies. Two queries a batch.

How it looks is the room ``ui``'s. Nothing here reads the clock: who asks says when.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from anomstack_provider.alerting import rules
from anomstack_provider.alerting.alert import Alert
from anomstack_provider.alerting.transitions import ROW_TYPES, stored_alerts
from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.detection.feedback import WORD_OF
from anomstack_provider.detection.series import Floats, Times, split_columns
from anomstack_provider.steps import overrides
from anomstack_provider.steps.period import Period
from anomstack_provider.steps.ports import MetricRows
from anomstack_provider.steps.shown import NO_TIMES, NO_VALUES, Shown, grain_of
from anomstack_provider.steps.training import split_verdicts, stamp

CHANGE = "change"
_ALERT_TYPES = tuple(dict.fromkeys(ROW_TYPES.values()))
# The kind that a row without readable metadata tells of, such as one that Anomstack wrote.
_KINDS = {"alert": "anomaly", "tholdalert": "threshold", "change": "change", "llmalert": "llm"}
# A metric is not stale before its newest bucket has ended; a longer step than a month is an outage, not a bucket.
_LONGEST_BUCKET = np.timedelta64(31, "D")
_NONE: tuple[Any, ...] = (NO_TIMES, NO_VALUES)


@dataclass(frozen=True)
class Anomaly:
    """
    One opening or worsening of an event.

    :param bucket: start of the bucket of its row, aware, UTC.
    :param kind: ``anomaly``, ``threshold``, ``change``, ``llm`` or ``late``.
    :param alert: what is stored of it; None in a row that another tool wrote.
    :param verdict: what holds of its bucket or event, such as ``false_alarm``; "" for nothing.
    """

    metric_name: str
    bucket: datetime
    kind: str
    alert: Alert | None = None
    verdict: str = ""

    @property
    def event_id(self) -> str | None:
        """The event that a verdict is on; without one it is on the bucket alone."""
        return None if self.alert is None else self.alert.event_id

    @property
    def is_judged(self) -> bool:
        """Whether there is a bucket to give a verdict on: data that are late have none."""
        return self.kind != "late"


@dataclass(frozen=True)
class Watched:
    """
    One metric in a period.

    :param last_seen: start of its newest bucket, whether or not that lies in the period.
    :param scores: those in the period, shape (n,); NaN where there is none.
    :param alerts: buckets in which an event opened or got worse; ``changes`` those of a change of level.
    :param rate: share of the period's buckets that fired or have an alert, in [0, 1].
    """

    name: str
    last_seen: datetime
    scores: Floats
    alerts: Times
    changes: Times
    rate: float


@dataclass(frozen=True)
class Board:
    """
    A batch in a period.

    :param metrics: those that are not stale, the highest rate of anomalies first, then by name.
    :param stale: names of those without a new value for too long, left out.
    :param anomalies: newest first; those of stale metrics are left out.
    """

    spec: BatchSpec
    metrics: Sequence[Watched] = ()
    stale: Sequence[str] = ()
    anomalies: Sequence[Anomaly] = ()
    _rows: Mapping[str, pd.DataFrame] = field(default_factory=dict, repr=False)

    @property
    def last_seen(self) -> datetime | None:
        """Start of the newest bucket of all metrics that are shown."""
        return max((metric.last_seen for metric in self.metrics), default=None)

    @property
    def mean_score(self) -> float | None:
        """Mean of all scores in the period; None if there are none."""
        scores = np.concatenate([NO_VALUES, *(metric.scores for metric in self.metrics)])
        known = scores[np.isfinite(scores)]
        return float(known.mean()) if len(known) else None

    def shown(self, metric: Watched) -> Shown:
        """Return the metric's series; raises ``ValueError``, ``KeyError`` or ``TypeError`` for rows cut by hand."""
        rows = self._rows.get(metric.name)
        if rows is None:
            return Shown(NO_TIMES, NO_VALUES, NO_TIMES, NO_VALUES, {}, None)
        if self.spec.override("dashboard_sql") is None:
            return Shown.of(self.spec, rows)
        times, values = _columns(rows, "metric").get(metric.name, _NONE)
        score_times, scores = _columns(rows, "score").get(metric.name, _NONE)
        return Shown(times, values, score_times, scores, {}, None)

    def grain(self, shown: Shown) -> str:
        """Return how long the buckets of a series are."""
        if self.spec.override("dashboard_sql") is None:
            return grain_of(self.spec, shown.times)
        return "instant"  # of the query's own rows nothing is known


def read(spec: BatchSpec, store: MetricRows, period: Period, now: datetime, *, with_stale: bool = False) -> Board:
    """
    Return the batch in the period up to ``now``.

    :param with_stale: metrics without a new value for too long are shown as well.
    :raises OverrideError: the rows of ``dashboard_sql`` cannot be worked on.
    """
    newest, frame = _read(spec, store, period, now)
    last, stale = _last_seen(spec, newest, now)
    left_out = set() if with_stale else stale
    frame = frame[~frame["metric_name"].isin(left_out)]
    points, scores = _columns(frame, "metric"), _columns(frame, "score")
    frame = _within(frame, points, scores)
    alerts = frame[frame["metric_type"].isin(_ALERT_TYPES) & (frame["metric_value"] > 0)]
    changes = _columns(alerts, CHANGE)
    others = {
        name: np.unique(times) for name, (times,) in split_columns(alerts[alerts["metric_type"] != CHANGE]).items()
    }
    metrics = []
    for name in (name for name in last if name not in left_out):
        times, mine = scores.get(name, _NONE)
        changed, alerted = changes.get(name, _NONE)[0], others.get(name, NO_TIMES)
        fired = times[rules.fires(rules.smooth(mine, spec.alert_smooth_n), rules.threshold(spec))]
        odd = len(np.unique(np.concatenate([fired, changed, alerted])))
        buckets = max(len(times), len(points.get(name, _NONE)[0]), 1)
        metrics.append(Watched(name, last[name], mine, alerted, changed, min(odd / buckets, 1.0)))
    metrics.sort(key=lambda metric: (-metric.rate, metric.name))
    rows = {str(name): part for name, part in frame.groupby("metric_name", sort=False)}
    return Board(spec, metrics, sorted(stale), _anomalies(alerts, _standing(frame)), rows)


def search(metrics: Iterable[Watched], text: str, titles: Mapping[str, str]) -> list[Watched]:
    """Return the metrics that have every word of a text in their name or title, whatever its case."""
    words = text.casefold().split()
    known = ((metric, f"{metric.name} {titles.get(metric.name, '')}".casefold()) for metric in metrics)
    return [metric for metric, name in known if all(word in name for word in words)]


def _read(spec: BatchSpec, store: MetricRows, period: Period, now: datetime) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the newest two points of each metric, and the rows of the period."""
    since = period.since(now)
    if spec.override("dashboard_sql") is None:
        limits: dict[str, Any] = {"since": since, "until": now, "newest": period.newest}
        newest = store.read(["metric"], since=None, until=now, newest=2)
        return newest, store.read(["metric", "score", *_ALERT_TYPES, *WORD_OF], **limits)
    frame = overrides.rows(spec, store, "dashboard_sql", now)
    newest = frame[frame["metric_type"] == "metric"].groupby("metric_name", sort=False).tail(2)
    if since is not None:
        return newest, frame[frame["metric_timestamp"].to_numpy("datetime64[us]") >= stamp(since)]
    return newest, frame.groupby(["metric_name", "metric_type"], sort=False).tail(period.newest or 0)


def _last_seen(spec: BatchSpec, newest: pd.DataFrame, now: datetime) -> tuple[dict[str, datetime], set[str]]:
    """Return the newest bucket of each metric, and which of them ended too long ago."""
    oldest = stamp(now - timedelta(days=spec.dashboard_stale_metric_max_days_ago))
    last: dict[str, datetime] = {}
    stale = set()
    for name, (times,) in split_columns(newest).items():
        length = min(times[-1] - times[-2], _LONGEST_BUCKET) if len(times) > 1 else np.timedelta64(0, "us")
        last[name] = _aware(times[-1])
        if times[-1] + length < oldest:
            stale.add(name)
    return last, stale


def _within(frame: pd.DataFrame, points: Mapping[str, Any], scores: Mapping[str, Any]) -> pd.DataFrame:
    """Return the rows from each metric's first bucket on: the newest 90 alerts reach back further than 90 buckets."""
    first = {name: min(part[name][0][0] for part in (points, scores) if name in part) for name in {*points, *scores}}
    begins = frame["metric_name"].map(first).to_numpy("datetime64[us]")
    return frame[~(frame["metric_timestamp"].to_numpy("datetime64[us]") < begins)]


def _columns(frame: pd.DataFrame, kind: str) -> dict[str, tuple[Times, Floats]]:
    """Return times and values of one type of row by metric."""
    found = split_columns(frame[frame["metric_type"] == kind], "metric_value")
    return {name: (times, values.astype(np.float64)) for name, (times, values) in found.items()}


def _standing(frame: pd.DataFrame) -> dict[tuple[str, datetime], str]:
    """Return what holds of buckets now."""
    said = split_verdicts(frame)
    return {(name, v.bucket): v.word for name, mine in said.items() for v in mine if v.replaced_at is None}


def _anomalies(alerts: pd.DataFrame, said: Mapping[tuple[str, datetime], str]) -> list[Anomaly]:
    found = []
    columns = ("metric_name", "metric_type", "metric_timestamp", "metadata")
    for name, kind, time, metadata in zip(*(alerts[column].to_numpy() for column in columns), strict=True):
        bucket, alert = _aware(time), _alert(metadata)
        kind = _KINDS[kind] if alert is None else alert.kind
        found.append(Anomaly(name, bucket, kind, alert, said.get((name, bucket), "")))
    return sorted(found, key=lambda each: (each.bucket, each.metric_name, each.kind), reverse=True)


def _alert(metadata: object) -> Alert | None:
    try:
        return stored_alerts(metadata)[0] if isinstance(metadata, str) else None
    except (ValueError, TypeError, AttributeError):  # a row of another tool
        return None


def _aware(time: np.datetime64) -> datetime:
    moment: datetime = time.astype("datetime64[us]").item()
    return moment.replace(tzinfo=UTC)
