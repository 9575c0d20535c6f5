"""
Which events are open at a moment: the alert step over the stored series, with everything that it writes kept in memory.

Nothing is asked that was sent or stored as an alert, so a run of any age gets the answer of its own moment.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import pandas as pd

from anomstack_provider.alerting.alert import Alert
from anomstack_provider.alerting.rules import SEVERITIES
from anomstack_provider.artifacts.model_store import Bundle, Manifest, ModelKey
from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.detection.series import split
from anomstack_provider.runtime.window import RunWindow
from anomstack_provider.steps import score
from anomstack_provider.steps.alert import alert
from anomstack_provider.steps.outcomes import StepResult
from anomstack_provider.steps.overlay import MemoryRows
from anomstack_provider.steps.ports import MetricRows, Models
from anomstack_provider.steps.training import freq_lengths, metric_grain

_OPEN = ("opened", "escalated")
# Timestamps that tell the grain of the newest of them.
_NEWEST = 22


def open_events(spec: BatchSpec, as_of: datetime, store: MetricRows, models: Models) -> tuple[list[Alert], StepResult]:
    """
    Return what was last told of each event that is open at ``as_of``, oldest first, and what became of each metric.

    An event that has expired is not open: it lasts, and has been said to. The severity is the event's worst so far.
    """
    window = RunWindow(as_of - _reach(spec, as_of, store), as_of)
    rows, untouched = _Beside(store), _Untouched(models)
    if "anomaly" in spec.finds:
        since = as_of - timedelta(days=spec.score_metric_timestamp_max_days_ago)
        for shard in range(spec.shards):
            missing: Any = {"shard": shard, "shards": spec.shards, "rescore": False}
            score.fill(spec, window, rows, untouched, back=score.look_back(spec), since=since, **missing)
    found = alert(spec, window, rows, untouched)
    newest: dict[str, Alert] = {}
    worst: dict[str, str] = {}
    for told in found.alerts:
        newest[told.event_id] = told
        worst[told.event_id] = max(told.severity, worst.get(told.event_id, told.severity), key=SEVERITIES.index)
    is_open = [told for told in newest.values() if told.transition in _OPEN]
    return [replace(told, severity=worst[told.event_id]) for told in is_open], found.result


def matches(event: Alert, metrics: Sequence[str], kinds: Collection[str], severity: str) -> bool:
    """
    Whether an event is one of those asked for.

    :param metrics: names or globs; an event on a batch that is late is one on each metric that it names.
    :param severity: the least one.
    """
    names = (event.metric_name, *event.metrics)
    return (
        event.is_of(kinds)
        and SEVERITIES.index(event.severity) >= SEVERITIES.index(severity)
        and any(fnmatchcase(name, pattern) for name in names for pattern in metrics)
    )


def unknown_metrics(metrics: Sequence[str], as_of: datetime, store: MetricRows) -> list[str]:
    """Return the names and globs that no metric stored before ``as_of`` has."""
    names = store.metric_names("metric", since=None, until=as_of)
    return [pattern for pattern in metrics if not any(fnmatchcase(name, pattern) for name in names)]


def _reach(spec: BatchSpec, as_of: datetime, store: MetricRows) -> timedelta:
    """Return a length so that of every event that is open its opening lies within it."""
    buckets = max(spec.alert_snooze_n, spec.tholdalert_snooze_n, spec.change_snooze_n) + 2
    # Twice: of the buckets that end an event some may be missing.
    quiet = 2 * buckets * _longest_bucket(spec, as_of, store)
    return spec.event_expires + spec.merge_max_gap + spec.completeness_delay + quiet


def _longest_bucket(spec: BatchSpec, as_of: datetime, store: MetricRows) -> timedelta:
    """Return the length of the longest buckets that any metric has by now; of readings their longest distance."""
    longest = freq_lengths(spec)[1]
    for series in split(store.read(["metric"], since=None, until=as_of, newest=_NEWEST)).values():
        nominal = metric_grain(spec, series).nominal
        steps = np.diff(series.times)
        length = np.max(steps) if not nominal and len(steps) else nominal
        longest = max(longest, length.astype("timedelta64[us]").item())
    return longest


class _Beside:
    """Stored rows with those that are written beside them, in memory, in the place of stored ones of the same key."""

    def __init__(self, store: MetricRows) -> None:
        self._store = store
        self._own = MemoryRows()

    def read(
        self,
        metric_types: Sequence[str],
        *,
        since: datetime | None,
        until: datetime,
        newest: int | None = None,
        cut: datetime | None = None,
        metrics: Sequence[str] | None = None,
    ) -> pd.DataFrame:
        limits: dict[str, Any] = {"since": since, "until": until, "newest": newest, "cut": cut, "metrics": metrics}
        own = self._own.read(metric_types, **limits)
        stored = self._store.read(metric_types, **limits)
        if not len(own):
            return stored
        both = MemoryRows()
        both.replace(stored)
        both.replace(own)
        return both.read(metric_types, **limits)

    def newest_timestamp(self, metric_type: str, before: datetime) -> datetime | None:
        known = (rows.newest_timestamp(metric_type, before) for rows in (self._store, self._own))
        return max((moment for moment in known if moment is not None), default=None)

    def metric_names(self, metric_type: str, *, since: datetime | None, until: datetime) -> list[str]:
        names = (rows.metric_names(metric_type, since=since, until=until) for rows in (self._store, self._own))
        return sorted({name for known in names for name in known})

    def replace(self, rows: pd.DataFrame, *, clear: pd.DataFrame | None = None) -> int:
        """Keep the rows in memory; what is to be cleared are alerts, which are not looked at."""
        return self._own.replace(rows)

    def query(self, key: str, as_of: datetime) -> pd.DataFrame:
        return self._store.query(key, as_of)


class _Untouched:
    """Stored models, to which nothing is added and of which nothing is removed."""

    def __init__(self, models: Models) -> None:
        self._models = models

    def load(self, key: ModelKey) -> Bundle | None:
        return self._models.load(key)

    def find(self, key: ModelKey) -> Manifest | None:
        return self._models.find(key)

    def save(self, key: ModelKey, models: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
        """Keep nothing."""

    def prune(self, metric_batch: str, keep: int, spare: Collection[datetime] = ()) -> list[str]:
        """Remove nothing."""
        return []
