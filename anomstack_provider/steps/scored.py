"""
The scores that alerts are decided on: read, and filled in as far back as an exact answer needs.

Nothing is judged here; see ``steps.alert``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anomstack_provider.alerting.findings import DOWN, NONE, UP
from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.detection import grain
from anomstack_provider.detection.calendar import Calendar
from anomstack_provider.detection.series import EMPTY, Floats, Series, Times, split, split_columns
from anomstack_provider.runtime.window import RunWindow
from anomstack_provider.steps import finders
from anomstack_provider.steps import score as score_step
from anomstack_provider.steps.ports import MetricRows, Models
from anomstack_provider.steps.training import freq_lengths, in_shard, longest_bucket, own_scores, stamp

FACTS = ("value", "expected", "lower", "upper")
BEGINNING = np.datetime64("0001-01-01", "us")


@dataclass(frozen=True)
class Scored:
    """
    Scores of one metric as read: times, scores, metadata.

    :param suppressed: which of the buckets an event of the calendar keeps from alerting.
    :param notes: what the calendar says of each bucket.
    """

    times: Times
    scores: Floats
    metadata: NDArray[Any]
    suppressed: NDArray[np.bool_]
    notes: NDArray[np.object_]

    def judged(self) -> Scored:
        """Return the buckets that may alert: the suppressed ones neither do nor count in the smoothing of others."""
        if not self.suppressed.any():
            return self
        keep = ~self.suppressed
        return Scored(self.times[keep], self.scores[keep], self.metadata[keep], self.suppressed[keep], self.notes[keep])

    def facts(self, positions: NDArray[np.intp]) -> tuple[dict[str, Floats], NDArray[np.object_]]:
        """Return value, expected, lower and upper (NaN where open) of some buckets, and their grains."""
        told = [json.loads(text) for text in self.metadata[positions]]
        numbers = {name: np.array([fact[name] for fact in told], np.float64) for name in FACTS}
        return numbers, np.array([fact["grain"] for fact in told], object)


NOTHING = Scored(
    np.empty(0, "datetime64[us]"), np.empty(0), np.empty(0, object), np.empty(0, bool), np.empty(0, object)
)


@dataclass
class ScoredBatch:
    """
    The metrics of a batch in and before a run's window, to be asked for each other's values.

    :param back: so many buckets before the window were read.
    :param known: from when on nothing of a metric is missing that there could be.
    """

    spec: BatchSpec
    back: int
    scored: dict[str, Scored] = field(default_factory=dict)
    points: dict[str, Series] = field(default_factory=dict)
    known: dict[str, np.datetime64] = field(default_factory=dict)

    def values(self, metric_name: str, times: Times) -> Floats:
        """Return the metric's values, NaN where it has none; of a resampled batch those of its scored buckets."""
        if self.spec.preprocess_params.freq is None:
            points = self.points.get(metric_name, EMPTY)
            at, hit = _positions(points.times, times)
            found = np.full(len(times), np.nan)
            found[hit] = points.values[at[hit]]
            return found
        return self._facts(metric_name, times)["value"]

    def sides(self, metric_name: str, times: Times) -> NDArray[np.int8]:
        """Return where the metric lies beside its own expected range: ``UP``, ``DOWN``, or ``NONE`` within it."""
        told = self._facts(metric_name, times)
        above, below = told["value"] > told["upper"], told["value"] < told["lower"]
        return np.where(above, UP, np.where(below, DOWN, NONE)).astype(np.int8)

    def known_since(self, metric_names: Collection[str]) -> np.datetime64:
        """Return from when on nothing of these metrics is missing; of a name that is not in the batch nothing is."""
        return max((self.known[name] for name in metric_names if name in self.known), default=BEGINNING)

    def _facts(self, metric_name: str, times: Times) -> dict[str, Floats]:
        rows = self.scored.get(metric_name, NOTHING)
        at, hit = _positions(rows.times, times)
        told = {name: np.full(len(times), np.nan) for name in FACTS}
        for name, numbers in rows.facts(at[hit])[0].items():
            told[name][hit] = numbers
        return told


def _positions(have: Times, want: Times) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Return for each wanted time a position and whether it is there."""
    at = np.searchsorted(have, want)
    hit = np.zeros(len(want), bool)
    within = at < len(have)
    hit[within] = have[at[within]] == want[within]
    return at, hit


def read_complete(
    spec: BatchSpec,
    window: RunWindow,
    store: MetricRows,
    models: Models,
    unsettled: Callable[[ScoredBatch], set[str]],
) -> ScoredBatch:
    """
    Return the batch's scores with enough earlier ones for an exact answer.

    One read is enough where a quiet gap lies within the look-back that the score step fills. For metrics where it
    does not (a long anomaly, a young series), earlier scores are filled in and read, four times as many each time.

    :param unsettled: returns the metrics whose earlier rows do not suffice, and those that they look at.
    """
    back = score_step.look_back(spec)
    filled_since = window.end - timedelta(days=spec.score_metric_timestamp_max_days_ago)
    days = max(spec.alert_metric_timestamp_max_days_ago, spec.score_metric_timestamp_max_days_ago)
    oldest = min(window.start - spec.completeness_delay, window.end - timedelta(days=days))
    # Changes of level are told by more points than are judged.
    since = None if spec.finds & {"threshold", "change"} else oldest - longest_bucket(spec)
    batch = _read(spec, window, store, back, since, filled_since)
    while names := unsettled(batch):
        back *= 4
        for shard in range(spec.shards):
            if mine := {name for name in names if in_shard(name, shard, spec.shards)}:
                within: Any = {"shard": shard, "shards": spec.shards, "metrics": mine, "rescore": False}
                score_step.fill(spec, window, store, models, back=back, since=None, **within)
        again = _read(spec, window, store, back, None, None)
        for ours, theirs in ((batch.scored, again.scored), (batch.points, again.points), (batch.known, again.known)):
            _update(ours, theirs, names)
        batch.back = back
    return batch


def _update(ours: dict[str, Any], theirs: Mapping[str, Any], names: Collection[str]) -> None:
    ours.update({name: theirs[name] for name in names if name in theirs})


def _read(
    spec: BatchSpec,
    window: RunWindow,
    store: MetricRows,
    back: int,
    since: datetime | None,
    filled_since: datetime | None,
) -> ScoredBatch:
    """
    Read the window's rows and the ``back`` before it, not older than ``since``.

    :param filled_since: those of them that are not older have scores if they can have; None: all.
    """
    cut = window.start - spec.completeness_delay
    newest = back + (finders.history(spec)[0] if spec.finds & {"threshold", "change"} else 0)
    frame = store.read(["metric", "score"], since=since, until=window.end, newest=newest, cut=cut)
    batch = ScoredBatch(spec, back, points=split(frame[frame["metric_type"] == "metric"]))
    own = frame[own_scores(frame)]
    for name, (times, scores, metadata) in split_columns(own, "metric_value", "metadata").items():
        closed = _closed(spec, times, metadata, window)
        times, scores, metadata = times[closed], scores[closed], metadata[closed]
        marks = Calendar.for_metric(spec, name).marks(times, spec.timezone)
        batch.scored[name] = Scored(times, scores.astype(np.float64), metadata, marks.suppressed, marks.notes)
        batch.points.setdefault(name, Series(times, np.full(len(times), np.nan)))
    for name, points in batch.points.items():
        batch.known[name] = _known_since(spec, points.times, cut, back, filled_since)
    return batch


def _closed(spec: BatchSpec, times: Times, metadata: NDArray[Any], window: RunWindow) -> NDArray[np.bool_]:
    """Return which buckets are closed by the end of the window: those of a later run may have scores already."""
    until = stamp(window.end - spec.completeness_delay)
    closed = np.ones(len(times), bool)
    recent = int(np.searchsorted(times, until - np.timedelta64(longest_bucket(spec))))
    grains = [json.loads(text)["grain"] for text in metadata[recent:]]
    closed[recent:] = grain.mixed_ends(grains, times[recent:], spec.timezone) <= until
    return closed


def _known_since(
    spec: BatchSpec, points: Times, cut: datetime, back: int, filled_since: datetime | None
) -> np.datetime64:
    before = points[: np.searchsorted(points, stamp(cut))]
    if filled_since is None and len(before) < back:
        return BEGINNING  # the series begins within what is filled
    if spec.preprocess_params.freq is not None:
        oldest = stamp(cut - back * freq_lengths(spec)[0])
    else:
        oldest = before[max(len(before) - back, 0)] if len(before) else stamp(cut)
    return oldest if filled_since is None else max(oldest, stamp(filled_since))
