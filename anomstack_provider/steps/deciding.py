"""
Alerts of a window decided group of metrics by group, so that no more than a group's rows are held at a time.

Late data come last: whether the whole batch is late only all of its metrics tell.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import TypeAlias

import numpy as np

from anomstack_provider.alerting.alert import Alert
from anomstack_provider.alerting.findings import Findings
from anomstack_provider.alerting.transitions import ROW_TYPES
from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.detection.series import Series, Times
from anomstack_provider.runtime.window import RunWindow
from anomstack_provider.steps.groups import Group
from anomstack_provider.steps.late import Late, late_data
from anomstack_provider.steps.ports import MetricRows, Models
from anomstack_provider.steps.routine import routine
from anomstack_provider.steps.scored import BEGINNING, Scored, ScoredBatch, read_complete
from anomstack_provider.steps.sources import Source, fires, first_open, merging, sources
from anomstack_provider.steps.tracks import Looked, Stopped, Track

log = logging.getLogger(__name__)

# Rows that are written anew: their metric, type and times.
Keys: TypeAlias = tuple[str, str, Times]


@dataclass
class Told:
    """What a run tells, collected track by track; ``clear`` are the keys whose rows are written anew."""

    alerts: list[Alert] = field(default_factory=list)
    stopped: list[Stopped] = field(default_factory=list)
    clear: list[Keys] = field(default_factory=list)
    outcomes: dict[str, str] = field(default_factory=dict)
    suppressed: int = 0

    def add(self, spec: BatchSpec, looked: Looked, clear: Times | None = None) -> list[Alert]:
        """Tell a track and return its alerts; ``clear``: its buckets, and those that it leaves out."""
        track = looked.track
        found = track.alerts(spec, looked.first)
        self.alerts += found
        self.stopped += track.stops(spec, looked.opening)
        times = track.times[looked.first :] if clear is None else clear
        self.clear += [(track.name, ROW_TYPES[kind], times) for kind in track.kinds]
        return found


class Deciding:
    """
    What a run of a window tells.

    :param store: the batch's rows, in which late data are looked for; those that are judged come with each group.
    :param groups: all groups of the batch.
    """

    def __init__(self, spec: BatchSpec, window: RunWindow, store: MetricRows, groups: Sequence[Group]) -> None:
        self.told = Told()
        self._spec, self._window, self._store = spec, window, store
        self._late = Late(spec, window, store, groups)
        self._since: dict[str, np.datetime64] = {}
        self._routine: list[Alert] = []
        # What late data need to be told: the rows of the metrics that have any, and of those that gates look at.
        self._kept = ScoredBatch(spec, 0)

    def judge(self, group: Group, rows: MetricRows, models: Models) -> None:
        """Decide about a group of metrics, with scores and values of ``rows``."""
        spec, window, told = self._spec, self._window, self.told
        settled: dict[str, list[Looked]] = {}
        unsettled = partial(_unsettled, spec, window, self._late, settled, group)
        batch = read_complete(spec, window, rows, models, unsettled, group.seen)
        told.outcomes |= {name: f"failed: {reason}" for name, reason in batch.unreadable.items() if name in group}
        since: dict[str, np.datetime64] = {}
        before = len(told.alerts)
        for name in batch.points:
            if name not in group:
                continue
            with _alone(told, name):
                for looked in settled.get(name) or _looked_at(spec, window, name, batch, self._late):
                    _tell(spec, window, looked, batch, told, since)
        if spec.alert_always and "anomaly" in spec.finds:
            news: dict[str, list[Alert]] = {}
            for one in told.alerts[before:]:
                news.setdefault(one.metric_name, []).append(one)
            for name, first in since.items():
                with _alone(told, name):
                    self._routine += routine(spec, window, name, batch, first, news.get(name, ()))
        self._since |= since
        self._keep(batch, group)

    def late_data(self) -> frozenset[tuple[str, datetime]]:
        """Tell late data, when all groups have been judged; return every late bucket, see :class:`LateTracks`."""
        spec, told = self._spec, self.told
        found = late_data(spec, self._window, self._store, self._late, self._kept, self._since)
        told.clear += found.clear
        for looked, names in found.tracks:
            with _alone(told, looked.track.name):
                late = told.add(spec, looked)
                told.alerts[len(told.alerts) - len(late) :] = [_with_metrics(one, names) for one in late]
        news = {(one.metric_name, one.bucket) for one in told.alerts if one.transition in ("opened", "escalated")}
        told.alerts += [one for one in self._routine if (one.metric_name, one.bucket) not in news]
        return found.missing

    def _keep(self, batch: ScoredBatch, group: Group) -> None:
        if group.names is None:
            self._kept = batch
            return
        self._kept.back = max(self._kept.back, batch.back)
        self._kept.said = {**self._kept.said, **batch.said}
        seen = (group.seen or frozenset()) - group.names
        for name in (self._late.names() & group.names) | seen:
            if name in batch.points:  # not as parts of all that was read
                points = batch.points[name]
                self._kept.points[name] = Series(points.times.copy(), points.values.copy())
            if name in batch.scored and (name in seen or self._spec.preprocess_params.freq is not None):
                self._kept.scored[name] = batch.scored[name]


def _tell(
    spec: BatchSpec,
    window: RunWindow,
    looked: Looked,
    batch: ScoredBatch,
    told: Told,
    since: dict[str, np.datetime64],
) -> None:
    """Tell one track of a metric that has buckets."""
    name, track = looked.track.name, looked.track
    all_times = track.times
    if "anomaly" in track.kinds:
        rows = batch.scored[name]
        told.suppressed += _suppressed(spec, rows, window)
        # The suppressed ones too: an event of the calendar may have been added since.
        all_times = np.union1d(track.times, rows.times[rows.suppressed])
    if not len(all_times):
        return
    first = track.times[looked.first] if len(track.times) else all_times[0]
    if "anomaly" in track.kinds:
        since[name] = first
    found = told.add(spec, looked, all_times[all_times >= first])
    if found or told.outcomes.get(name) != "alerted":
        told.outcomes[name] = _outcome(spec, name, batch, found)


@contextmanager
def _alone(told: Told, name: str) -> Iterator[None]:
    """Keep what goes wrong with one metric from stopping its neighbours; the outcome carries the reason."""
    try:
        yield
    except Exception as error:
        log.exception("metric %r: it cannot be judged", name)
        told.outcomes[name] = f"failed: {type(error).__name__}: {error}"


def _with_metrics(found: Alert, names: Mapping[datetime, tuple[str, ...]]) -> Alert:
    """Return an alert on a batch that is late with the names of the metrics that were, when it was last found so."""
    moment = (found.last_bucket or found.bucket).replace(tzinfo=None)
    return replace(found, metrics=names.get(moment, ()))


def _outcome(spec: BatchSpec, name: str, batch: ScoredBatch, found: list[Alert]) -> str:
    if missing := sorted(spec.gates(name).references - set(batch.points)):
        return f"a gate looks at {', '.join(map(repr, missing))}, which the batch does not have"
    return "alerted" if found else "evaluated"


def _looked_at(spec: BatchSpec, window: RunWindow, name: str, batch: ScoredBatch, late: Late) -> list[Looked]:
    """Return the tracks of what is found on one metric, with the buckets that a run of this window looks at."""
    found = []
    for source in sources(spec, window, name, batch):
        times, findings = source.times, source.findings
        explained = late.explains(name, findings, batch.back)

        def quiet(position: int, source: Source = source) -> Findings:
            return source.quiet(source.times[position])

        merge = merging(spec, source.kinds)
        track = Track.judge(
            spec, name, source.kinds, times, findings, merge, quiet, batch, explained, batch.said.get(name, ())
        )
        opening = int(np.searchsorted(times, source.opening))
        newest = max(len(times) - source.recent, 0)
        found.append(Looked(track, min(opening, newest), opening, source.lead, source.scored))
    return found


def _unsettled(
    spec: BatchSpec,
    window: RunWindow,
    late: Late,
    settled: dict[str, list[Looked]],
    group: Group,
    batch: ScoredBatch,
    names: Collection[str],
) -> set[str]:
    """
    Return which of the group's metrics have rows that do not reach back far enough, and those that their gates look at.

    :param settled: takes up the others.
    """
    found: set[str] = set()
    for name in names:
        if name not in group:
            continue
        looks_at = {name} | (spec.gates(name).references & set(batch.points))
        try:
            tracks = _looked_at(spec, window, name, batch, late)
        except Exception:
            log.debug("metric %r: it cannot be judged, which is said once for all", name, exc_info=True)
            continue
        known = batch.known_since(looks_at)
        if known == BEGINNING or all(looked.is_settled(known) for looked in tracks):
            settled[name] = tracks
        else:
            found |= looks_at
    return found


def _suppressed(spec: BatchSpec, rows: Scored, window: RunWindow) -> int:
    """Return how many buckets of the window reach the threshold and are kept from alerting by an event."""
    if not rows.suppressed.any():
        return 0
    fired = fires(spec, rows) & rows.suppressed
    return int(fired[first_open(spec, window, rows) :].sum())
