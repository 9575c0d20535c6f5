"""
The scores that alerts are decided on: read, and filled in as far back as an exact answer needs.

Nothing is judged here; see ``steps.alert``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anomstack_provider.alerting.findings import DOWN, NONE, UP
from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.detection import grain
from anomstack_provider.detection.calendar import Calendar
from anomstack_provider.detection.feedback import Verdicts
from anomstack_provider.detection.series import EMPTY, Floats, Series, Times, split, split_columns
from anomstack_provider.runtime.window import RunWindow
from anomstack_provider.steps import feedback, finders, overrides
from anomstack_provider.steps import score as score_step
from anomstack_provider.steps.llm_answers import ANSWER, split_answers
from anomstack_provider.steps.ports import MetricRows, Models
from anomstack_provider.steps.training import freq_lengths, in_shard, longest_bucket, metric_grain, own_scores, stamp

# Beyond what a quiet gap takes, so that the buckets around it are seen; and how many are read at first at most.
_SPARE, _MOST_BACK = 8, 2000
# What is found in stored values rather than in scores.
_BY_VALUES = {"threshold", "change", "llm"}
FACTS = ("value", "expected", "lower", "upper")
BEGINNING = np.datetime64("0001-01-01", "us")


@dataclass(frozen=True)
class Scored:
    """
    Scores of one metric as read: times, scores, metadata.

    :param grains: lengths of the buckets, such as ``1h``.
    :param suppressed: which of the buckets an event of the calendar keeps from alerting.
    :param notes: what the calendar says of each bucket.
    :param fired: which of them the batch's own query calls alerts; None: that is decided by the scores.
    """

    times: Times
    scores: Floats
    metadata: NDArray[Any]
    grains: NDArray[np.object_]
    suppressed: NDArray[np.bool_]
    notes: NDArray[np.object_]
    fired: NDArray[np.bool_] | None = None

    def judged(self) -> Scored:
        """Return the buckets that may alert: the suppressed ones neither do nor count in the smoothing of others."""
        if not self.suppressed.any():
            return self
        keep = ~self.suppressed
        arrays = {field.name: getattr(self, field.name) for field in fields(self)}
        kept: dict[str, Any] = {name: None if array is None else array[keep] for name, array in arrays.items()}
        return Scored(**kept)

    def facts(self, positions: NDArray[np.intp]) -> tuple[dict[str, Floats], NDArray[np.object_]]:
        """Return value, expected, lower and upper (NaN where open) of some buckets, and their grains."""
        told = [json.loads(text) for text in self.metadata[positions]]
        numbers = {name: np.array([fact[name] for fact in told], np.float64) for name in FACTS}
        return numbers, self.grains[positions]


_NONE = np.empty(0, object)
NOTHING = Scored(np.empty(0, "datetime64[us]"), np.empty(0), _NONE, _NONE, np.empty(0, bool), _NONE)


@dataclass
class ScoredBatch:
    """
    The metrics of a batch in and before a run's window, to be asked for each other's values.

    :param back: so many buckets before the window were read.
    :param answers: buckets that a language model named, with the metadata of their rows.
    :param known: from when on nothing of a metric is missing that there could be.
    :param said: what people said of a metric's buckets, however long ago.
    :param unreadable: metrics with a score row that cannot be read, and why; they are nowhere else.
    :param levels: the points that changes of level are looked for in, where ``change_sql`` gives them.
    """

    spec: BatchSpec
    back: int
    scored: dict[str, Scored] = field(default_factory=dict)
    points: dict[str, Series] = field(default_factory=dict)
    answers: dict[str, tuple[Times, NDArray[np.object_]]] = field(default_factory=dict)
    known: dict[str, np.datetime64] = field(default_factory=dict)
    said: Mapping[str, Verdicts] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    levels: Mapping[str, Series] | None = None

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

    def judged(self, metric_name: str, times: Times) -> dict[str, Floats]:
        """Return what the scores say of stored buckets, by the names of :data:`FACTS`; NaN where there is none."""
        if self.spec.preprocess_params.freq is not None:  # theirs are other buckets
            return {name: np.full(len(times), np.nan) for name in FACTS}
        return self._facts(metric_name, times)

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
    unsettled: Callable[[ScoredBatch, Collection[str]], set[str]],
    metrics: Collection[str] | None = None,
) -> ScoredBatch:
    """
    Return the batch's scores with enough earlier ones for an exact answer.

    One read is enough where a quiet gap lies within buckets that all have their scores, as it does when nothing is
    wrong. For metrics where it does not (a long anomaly, a young series), more is read, four times as much each time,
    and scores that are missing are filled in.

    :param unsettled: returns those of some metrics whose earlier rows do not suffice, and those that they look at.
    :param metrics: only these, all if None.
    """
    back = max(score_step.look_back(spec), _usual_gap(spec, window))
    days = max(spec.alert_metric_timestamp_max_days_ago, spec.score_metric_timestamp_max_days_ago)
    oldest = min(window.start - spec.completeness_delay, window.end - timedelta(days=days))
    # Changes of level are told by more points than are judged.
    since = None if spec.finds & _BY_VALUES else oldest - longest_bucket(spec)
    own = None
    if "anomaly" in spec.finds and spec.override("alert_sql") is not None:
        own = overrides.judged(spec, store, window.end)
    batch = _read(spec, window, store, back, since=since, metrics=metrics, own=own)
    if "change" in spec.finds and spec.override("change_sql") is not None:
        batch.levels = overrides.series(spec, store, "change_sql", window.end)
    batch.said = feedback.read(store, window.end, metrics)
    names = unsettled(batch, batch.points)
    while names:
        back *= 4
        again = _read(spec, window, store, back, metrics=names, is_filled=own is not None, own=own)
        names = _take_over(batch, again, names)
        batch.back = back
        # What a query of the batch's own gives is all there is: no score of ours is missing.
        if own is None and (incomplete := _incomplete(spec, window, batch, names)):
            for shard in range(spec.shards):
                if mine := {name for name in incomplete if in_shard(name, shard, spec.shards)}:
                    within: Any = {"shard": shard, "shards": spec.shards, "metrics": mine, "rescore": False}
                    score_step.fill(spec, window, store, models, back=back, since=None, **within)
            names -= incomplete
            names |= _take_over(batch, _read(spec, window, store, back, metrics=incomplete, is_filled=True), incomplete)
        names = unsettled(batch, names)
    return batch


def _usual_gap(spec: BatchSpec, window: RunWindow) -> int:
    """Return how many buckets it takes to see that nothing goes on, of metrics that have a bucket per run or day."""
    length = grain.parse(spec.grain).nominal.astype("timedelta64[us]").item() if spec.grain else timedelta(0)
    length = length or min(window.end - window.start, timedelta(days=1))
    recent = max(spec.alert_recent_n, spec.tholdalert_recent_n, spec.llmalert_recent_n if "llm" in spec.finds else 1)
    snooze = max(spec.alert_snooze_n, spec.tholdalert_snooze_n, spec.change_snooze_n)
    gap = -(-spec.merge_max_gap // length) if length else 0
    return min(recent + snooze + max(gap, snooze) + spec.alert_smooth_n + _SPARE, _MOST_BACK)


def _take_over(batch: ScoredBatch, again: ScoredBatch, names: set[str]) -> set[str]:
    """Put what was read again in the place of what was read before; return those that can be read."""
    batch.unreadable |= again.unreadable
    for name in again.unreadable:
        for known in (batch.scored, batch.points, batch.known):
            known.pop(name, None)
    _update(batch.scored, again.scored, names)
    _update(batch.points, again.points, names)
    _update(batch.answers, again.answers, names)
    _update(batch.known, again.known, names)
    return names - set(batch.unreadable)


def _update(ours: dict[str, Any], theirs: Mapping[str, Any], names: Collection[str]) -> None:
    ours.update({name: theirs[name] for name in names if name in theirs})


def _read(
    spec: BatchSpec,
    window: RunWindow,
    store: MetricRows,
    back: int,
    *,
    since: datetime | None = None,
    metrics: Collection[str] | None = None,
    is_filled: bool = False,
    own: Mapping[str, overrides.Judged] | None = None,
) -> ScoredBatch:
    """
    Read the window's rows and the ``back`` before it, not older than ``since``.

    :param metrics: only these, all if None.
    :param is_filled: whether all of these buckets have scores that can have one.
    :param own: what ``alert_sql`` gives instead of scores.
    """
    cut = window.start - spec.completeness_delay
    newest = back + (finders.history(spec)[0] if spec.finds & _BY_VALUES else 0)
    limits: dict[str, Any] = {"since": since, "until": window.end, "newest": newest, "cut": cut}
    types = ["metric", "score", *([ANSWER] if "llm" in spec.finds else [])]
    frame = store.read(types, **limits, metrics=None if metrics is None else sorted(metrics))
    batch = ScoredBatch(spec, back, points=split(frame[frame["metric_type"] == "metric"]))
    batch.answers = split_answers(frame)
    stored = split_columns(frame[own_scores(frame)], "metric_value", "metadata")
    fired: dict[str, NDArray[np.bool_] | None] = {}
    if own is not None:
        mine = {name: judged for name, judged in own.items() if metrics is None or name in metrics}
        fired = {name: judged.alerts for name, judged in mine.items()}
        stored = {
            name: _in_place(spec, judged, stored.get(name), batch.points.get(name, EMPTY))
            for name, judged in mine.items()
        }
    for name, (times, scores, metadata) in stored.items():
        try:
            grains = _grains(metadata)
            closed = _closed(spec, times, grains, window)
        except (ValueError, TypeError) as error:  # a row written or cut by hand
            batch.unreadable[name] = f"one of its score rows has metadata that cannot be read: {error}"
            batch.points.pop(name, None)
            continue
        times, scores, metadata, grains = times[closed], scores[closed], metadata[closed], grains[closed]
        marks = Calendar.for_metric(spec, name).marks(times, spec.timezone)
        alerts = fired.get(name)
        batch.scored[name] = Scored(
            times,
            scores.astype(np.float64),
            metadata,
            grains,
            marks.suppressed,
            marks.notes,
            None if alerts is None else alerts[closed],
        )
        batch.points.setdefault(name, Series(times, np.full(len(times), np.nan)))
    for name, points in batch.points.items():
        known = _filled_since(spec, window, points.times, back, is_filled)
        batch.known[name] = known if is_filled else _scored_since(batch, name, window, known)
    return batch


def _in_place(
    spec: BatchSpec, judged: overrides.Judged, stored: tuple[NDArray[Any], ...] | None, points: Series
) -> tuple[NDArray[Any], ...]:
    """
    Return times, scores and metadata of what the batch's own query gives, as if it were stored.

    A bucket that has a score of ours keeps what that knows of it: value, expected range, grain. Of another there is the
    value alone, and the grain that the metric has.
    """
    length = json.dumps(
        {"grain": str(metric_grain(spec, points if len(points) else Series(judged.times, judged.values)))}
    )
    unknown = '"expected": null, "lower": null, "upper": null'
    texts = [
        f'{{"value": {repr(value) if np.isfinite(value) else "null"}, {unknown}, {length[1:]}'
        for value in judged.values.tolist()
    ]
    metadata = np.array(texts, object)
    if stored is not None:
        at, hit = _positions(stored[0], judged.times)
        metadata[hit] = stored[2][at[hit]]
    return judged.times, judged.scores, metadata


def _grains(metadata: NDArray[Any]) -> NDArray[np.object_]:
    """Return the length of each scored bucket, without reading anew what is the same text for most of them."""
    return np.array([_grain_in(text[text.index('"grain"') :]) for text in metadata], object)


@lru_cache(maxsize=1024)
def _grain_in(end: str) -> str:
    """Return the grain from the end of a score's metadata, which begins with it."""
    found = json.loads("{" + end)["grain"]
    if not isinstance(found, str):
        raise TypeError(f"its grain is {found!r}")
    return found


def _closed(spec: BatchSpec, times: Times, grains: NDArray[np.object_], window: RunWindow) -> NDArray[np.bool_]:
    """Return which buckets are closed by the end of the window: those of a later run may have scores already."""
    until = stamp(window.end - spec.completeness_delay)
    closed = np.ones(len(times), bool)
    recent = int(np.searchsorted(times, until - np.timedelta64(longest_bucket(spec))))
    closed[recent:] = grain.mixed_ends(grains[recent:].tolist(), times[recent:], spec.timezone) <= until
    return closed


def _filled_since(spec: BatchSpec, window: RunWindow, points: Times, back: int, is_filled: bool) -> np.datetime64:
    """Return from when on the score step has filled in all scores that there can be: it, or ``fill``."""
    cut = window.start - spec.completeness_delay
    back = back if is_filled else min(back, score_step.look_back(spec))
    before = points[: np.searchsorted(points, stamp(cut))]
    if is_filled and len(before) < back:
        return BEGINNING  # the series begins within what is filled
    if spec.preprocess_params.freq is not None:
        oldest = stamp(cut - back * freq_lengths(spec)[0])
    else:
        oldest = before[max(len(before) - back, 0)] if len(before) else stamp(cut)
    since = window.end - timedelta(days=spec.score_metric_timestamp_max_days_ago)
    return oldest if is_filled else max(oldest, stamp(since))


def _scored_since(batch: ScoredBatch, name: str, window: RunWindow, filled: np.datetime64) -> np.datetime64:
    """Return from when on every bucket read has its score, at most ``filled``."""
    spec = batch.spec
    if spec.preprocess_params.freq is not None:
        return filled
    cut = stamp(window.start - spec.completeness_delay)
    points = batch.points[name].times
    before = points[max(int(np.searchsorted(points, cut)) - batch.back, 0) :]
    before = before[before < filled]
    holes = np.flatnonzero(~np.isin(before, batch.scored.get(name, NOTHING).times))
    complete = before[holes[-1] + 1 :] if len(holes) else before
    return complete[0] if len(complete) else filled


def _incomplete(spec: BatchSpec, window: RunWindow, batch: ScoredBatch, names: Collection[str]) -> set[str]:
    """Return those of the metrics that may lack scores in what was read of them, or were read from their beginning."""
    cut = stamp(window.start - spec.completeness_delay)
    found = set()
    for name in names:
        points = batch.points[name].times
        oldest = int(np.searchsorted(points, cut)) - batch.back
        if spec.preprocess_params.freq is not None or oldest < 0 or batch.known[name] > points[oldest]:
            found.add(name)
    return found
