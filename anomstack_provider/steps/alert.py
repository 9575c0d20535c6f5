"""
The alert step: what is found in the buckets that closed in the window becomes events, stored as alert rows.

It reads scores and decides by the rules, gates and events of ``alerting``; sending is the operator's, through the
delivery ledger.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial

import numpy as np
import pandas as pd

from anomstack_provider.alerting.alert import Alert
from anomstack_provider.alerting.findings import Findings
from anomstack_provider.alerting.transitions import ROW_TYPES, stored_rows
from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.detection.series import Times
from anomstack_provider.runtime.window import RunWindow
from anomstack_provider.steps.late import Late, late_data
from anomstack_provider.steps.outcomes import StepResult
from anomstack_provider.steps.ports import COLUMNS, MetricRows, Models
from anomstack_provider.steps.routine import routine
from anomstack_provider.steps.scored import BEGINNING, Scored, ScoredBatch, read_complete
from anomstack_provider.steps.sources import Source, fires, first_open, merging, sources
from anomstack_provider.steps.tracks import Looked, Stopped, Track

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AlertResult:
    """
    Alerts of the window, oldest first, and what became of each metric.

    :param stopped: findings of the window that a gate kept from alerting.
    :param missing: every bucket that is late by now with its metric; the batch's own under its name.
    """

    alerts: tuple[Alert, ...]
    result: StepResult
    stopped: tuple[Stopped, ...] = ()
    missing: frozenset[tuple[str, datetime]] = frozenset()


@dataclass
class _Told:
    """What a run tells, collected track by track; ``clear`` are the keys whose rows are written anew."""

    alerts: list[Alert] = field(default_factory=list)
    stopped: list[Stopped] = field(default_factory=list)
    clear: list[tuple[str, str, Times]] = field(default_factory=list)
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


def alert(spec: BatchSpec, window: RunWindow, store: MetricRows, models: Models) -> AlertResult:
    """
    Decide the alerts of the window and store them.

    Looked at are the buckets that closed in the window, the newest ``alert_recent_n`` and as many before those as can
    mute them; what is found again was sent before, which the ledger knows. Where the fold over earlier buckets needs
    scores that no run has written yet, they are computed here, so the answer never depends on which runs came before.
    """
    late = Late(spec, window, store)
    settled: dict[str, list[Looked]] = {}
    batch = read_complete(spec, window, store, models, partial(_unsettled, spec, window, late, settled))
    told = _Told()
    told.outcomes |= {name: f"failed: {reason}" for name, reason in batch.unreadable.items()}
    since: dict[str, np.datetime64] = {}
    for name in batch.points:
        with _alone(told, name):
            for looked in settled.get(name) or _looked_at(spec, window, name, batch, late):
                _tell(spec, window, looked, batch, told, since)
    of_late_data = late_data(spec, window, store, late, batch, since)
    told.clear += of_late_data.clear
    for looked, names in of_late_data.tracks:
        with _alone(told, looked.track.name):
            found = told.add(spec, looked)
            told.alerts[len(told.alerts) - len(found) :] = [_with_metrics(one, names) for one in found]
    if spec.alert_always and "anomaly" in spec.finds:
        for name, first in since.items():
            with _alone(told, name):
                told.alerts += routine(spec, window, name, batch, first, told.alerts)
    alerts = sorted(told.alerts, key=lambda a: (a.bucket, a.metric_name, a.kind))
    written = _write(store, alerts, told.clear)
    _log(alerts, told.stopped)
    facts = {
        "suppressed": told.suppressed,
        "transitions": dict(Counter(a.transition for a in alerts)),
        "stopped": dict(sorted(Counter(one.gate for one in told.stopped).items())),
    }
    result = StepResult("alert", written, told.outcomes, facts)
    return AlertResult(tuple(alerts), result, tuple(told.stopped), of_late_data.missing)


def _tell(
    spec: BatchSpec,
    window: RunWindow,
    looked: Looked,
    batch: ScoredBatch,
    told: _Told,
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
def _alone(told: _Told, name: str) -> Iterator[None]:
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


def is_told(spec: BatchSpec, found: Alert) -> bool:
    """Whether an alert goes out to people: the end of an event only if the batch wants it."""
    return found.transition != "closed" or spec.notify_closed


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
    batch: ScoredBatch,
    names: Collection[str],
) -> set[str]:
    """
    Return which of the metrics have rows that do not reach back far enough, and those that their gates look at.

    :param settled: takes up the others.
    """
    found: set[str] = set()
    for name in names:
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


def _write(store: MetricRows, alerts: list[Alert], keys: list[tuple[str, str, Times]]) -> int:
    """Replace the alert rows of the buckets that were looked at: what no longer fires loses its row."""
    if not keys:
        return 0
    rows = pd.DataFrame(stored_rows(alerts), columns=COLUMNS)
    rows["metric_timestamp"] = rows["metric_timestamp"].astype("datetime64[us]")
    clear = pd.DataFrame(
        {
            "metric_name": np.concatenate([np.full(len(times), name, object) for name, _, times in keys]),
            "metric_type": np.concatenate([np.full(len(times), kind, object) for _, kind, times in keys]),
            "metric_timestamp": np.concatenate([times for _, _, times in keys]),
        }
    )
    return store.replace(rows, clear=clear.drop_duplicates())


def _log(alerts: list[Alert], stopped: list[Stopped]) -> None:
    for found in alerts:
        log.info(
            "%s: metric %r, bucket %s: value %s, expected %s, score %s",
            found.transition,
            found.metric_name,
            found.bucket.isoformat(),
            found.value,
            found.expected,
            found.score,
        )
    for one in stopped:
        log.info("stopped by %s: metric %r, bucket %s: value %s", one.gate, one.metric_name, one.bucket, one.value)
