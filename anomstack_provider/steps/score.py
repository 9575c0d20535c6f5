"""
The score step: one score per metric and closed bucket, each from the model of its own train tick.

A bucket is scored by the model of the newest train tick not after the bucket's start, so no model has seen the bucket
that it judges, and every run that scores the bucket, live or in a backfill, in any order, comes to the same number.
"""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from anomstack_provider.artifacts.errors import ModelRefused, UnsupportedModel
from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.detection import grain, pipeline
from anomstack_provider.detection.calendar import Calendar
from anomstack_provider.detection.seasonal.model import MOST_COLUMNS
from anomstack_provider.detection.series import Series, Times, split
from anomstack_provider.runtime.window import RunWindow
from anomstack_provider.steps import train as train_step
from anomstack_provider.steps.outcomes import StepResult
from anomstack_provider.steps.ports import COLUMNS, MetricRows, Models
from anomstack_provider.steps.training import (
    NO_HISTORY,
    History,
    Trained,
    freq_lengths,
    metric_grain,
    own_scores,
    prepare,
    read_history,
    select,
    stamp,
    train_batch,
    train_metric,
    training_limits,
)
from anomstack_provider.steps.training import (
    span as training_span,
)

log = logging.getLogger(__name__)


def look_back(spec: BatchSpec) -> int:
    """Return how many buckets before a run's window the score step fills where they have no score yet."""
    return max(spec.score_max_n, spec.alert_recent_n + spec.alert_smooth_n + spec.alert_snooze_n)


def score(
    spec: BatchSpec, window: RunWindow, store: MetricRows, models: Models, *, shard: int = 0, shards: int = 1
) -> StepResult:
    """Score the buckets that closed in the window, and those of the look-back that have no score yet."""
    since = window.end - timedelta(days=spec.score_metric_timestamp_max_days_ago)
    return fill(spec, window, store, models, back=look_back(spec), since=since, shard=shard, shards=shards)


def fill(
    spec: BatchSpec,
    window: RunWindow,
    store: MetricRows,
    models: Models,
    *,
    back: int,
    since: datetime | None,
    shard: int = 0,
    shards: int = 1,
    metrics: Collection[str] | None = None,
    rescore: bool = True,
) -> StepResult:
    """
    Score like :func:`score`, with a look-back of ``back`` buckets not older than ``since``.

    :param metrics: only these, all if None.
    :param rescore: whether buckets that closed in the window are scored again where they have a score.
    """
    cut = window.start - spec.completeness_delay
    limits = _limits(spec, window, cut, back, since)
    frame = store.read(["metric", "score"], **limits)
    is_score = own_scores(frame)
    raw = select(split(frame[frame["metric_type"] == "metric"]), spec.score_exclude_metrics, shard, shards)
    if metrics is not None:
        raw = {name: series for name, series in raw.items() if name in metrics}
    series = prepare(spec, raw, limits["since"])
    done = split(frame[is_score])
    run = _Run(spec, window, store, models, shard, shards)
    plan = _plan(spec, series, done, cut, back, since, rescore)
    for tick in sorted(plan):
        run.score_tick(tick, series, plan[tick])
    rows = pd.DataFrame(run.rows, columns=COLUMNS)
    written = store.replace(rows) if len(rows) else 0
    outcomes = {name: run.outcomes.get(name) or _idle(spec, points, window) for name, points in series.items()}
    for name, outcome in outcomes.items():
        log.info("metric %r: %s", name, outcome)
    return StepResult("score", rows=written, outcomes=outcomes)


def _limits(spec: BatchSpec, window: RunWindow, cut: datetime, back: int, since: datetime | None) -> dict[str, Any]:
    """Return the limits of the read: the buckets to score and as many points before as their features need."""
    if spec.preprocess_params.freq is not None:
        oldest = cut - (back + 2) * freq_lengths(spec)[1] - _span(spec)
        return {"since": oldest, "until": window.end}
    oldest = min(cut, since or cut) - _span(spec)
    # One more for the bucket that begins before the window and closes inside it.
    newest = back + _reach(spec) + 1
    return {"since": oldest if since else None, "until": window.end, "newest": newest, "cut": cut}


def _span(spec: BatchSpec) -> timedelta:
    """
    Return how far back the points of one bucket's features may lie, whatever else a run has read.

    As far as its model's training points; with ``freq``, where no read can count points before it resamples them,
    twice as many buckets as there are features, so that as many may be missing.
    """
    if spec.preprocess_params.freq is None:
        return timedelta(days=spec.train_metric_timestamp_max_days_ago)
    return 2 * (_reach(spec) + 1) * freq_lengths(spec)[1]


def _reach(spec: BatchSpec) -> int:
    """Return how many points before a bucket its score may depend on."""
    if spec.recipe == "seasonal":
        return MOST_COLUMNS
    known = grain.parse(spec.grain) if spec.grain else None
    return pipeline.reach(spec.preprocess_params, spec.model_configs, known)


# Train tick to metric to the positions of its buckets that may be scored with that tick's models.
_Plan: TypeAlias = dict[datetime, dict[str, NDArray[np.intp]]]


def _plan(
    spec: BatchSpec,
    series: Mapping[str, Series],
    done: Mapping[str, Series],
    cut: datetime,
    back: int,
    since: datetime | None,
    rescore: bool,
) -> _Plan:
    plan: _Plan = defaultdict(dict)
    tick_of: dict[np.datetime64, datetime] = {}
    for name, points in series.items():
        wanted = _wanted(spec, points, done.get(name), cut, back, since, rescore)
        for start in np.unique(points.times[wanted]):
            if start not in tick_of:
                tick_of[start] = train_step.scoring_tick(spec, start)
        own = np.array([tick_of[start] for start in points.times[wanted]], object)
        for tick in set(own):
            plan[tick][name] = wanted[own == tick]
    return plan


def _wanted(
    spec: BatchSpec,
    points: Series,
    done: Series | None,
    cut: datetime,
    back: int,
    since: datetime | None,
    rescore: bool,
) -> NDArray[np.intp]:
    """Return the positions of the buckets that closed in the window, and of the look-back's unscored ones."""
    before = points.before(stamp(cut))
    oldest = max(before - back, points.before(stamp(since)) if since else 0)
    # The bucket that holds the cut may close in the window, however long it is and whatever `since` says.
    first = max(min(oldest, before - 1), 0)
    positions = np.arange(first, len(points))
    times = points.times[first:]
    # Only a hint which buckets to score once more: whether a bucket is closed is decided by its model's grain.
    closes = metric_grain(spec, points).ends(times, spec.timezone) > stamp(cut)
    scored = np.isin(times, done.times) if done is not None else np.zeros(len(times), bool)
    return positions[(closes & rescore) | ~scored]


def _idle(spec: BatchSpec, points: Series, window: RunWindow) -> str:
    """Say why a metric had nothing to score: the bucket after its newest one is still open, or should have come."""
    if not len(points):
        return "no data"
    found = metric_grain(spec, points)
    following = found.ends(found.ends(points.times[-1:], spec.timezone), spec.timezone)[0]
    overdue = found.unit != "instant" and following <= stamp(window.end - spec.completeness_delay)
    return "no data" if overdue else "up to date"


@dataclass
class _Run:
    """One pass over the plan: models of a tick at a time, rows collected for one write."""

    spec: BatchSpec
    window: RunWindow
    store: MetricRows
    models: Models
    shard: int
    shards: int
    rows: list[tuple[Any, ...]] = field(default_factory=list)
    outcomes: dict[str, str] = field(default_factory=dict)
    first_tick: datetime | None = None

    @cached_property
    def training(self) -> dict[str, History]:
        """Training points of every moment from the first tick asked for to the end of the window, read once."""
        assert self.first_tick is not None
        limits = training_limits(self.spec, self.first_tick, self.window.end)
        return select(read_history(self.spec, self.store, **limits), (), self.shard, self.shards)

    def score_tick(self, tick: datetime, series: Mapping[str, Series], wanted: Mapping[str, NDArray[np.intp]]) -> None:
        """Score the buckets whose model is that of ``tick``."""
        if self.first_tick is None:
            self.first_tick = tick
        trained = self._trained(tick)
        learning = [name for name in wanted if name not in trained.models]
        # Read outside of what is caught below: a database that fails is the step's failure, not a metric's.
        history = self.training if learning else {}
        for name, positions in wanted.items():
            points = series[name]
            fitted = trained.models.get(name)
            try:
                if fitted is not None:
                    self._score(name, points, positions, fitted, tick)
                else:
                    self._score_learning(name, points, positions, history.get(name), trained.outcomes.get(name, ""))
            except Exception as error:  # one metric never stops its neighbours; the outcome carries the reason
                log.exception("metric %r: scoring with the models of %s failed", name, tick)
                self._say(name, f"failed: {type(error).__name__}: {error}")

    def _say(self, name: str, outcome: str) -> None:
        """Note what became of a metric's newest bucket; a failure on any of its buckets is not taken back."""
        if not self.outcomes.get(name, "").startswith("failed"):
            self.outcomes[name] = outcome

    def _trained(self, tick: datetime) -> Trained:
        """Return the models of a tick: the stored ones, else trained now as of that tick and stored."""
        key = train_step.model_key(self.spec, tick, self.shard, self.shards)
        try:
            bundle = self.models.load(key)
        except ModelRefused as refused:
            log.warning("%s; training again as of the same tick", refused)
            bundle = None
        if bundle is not None:
            models: Any = bundle.models
            return Trained(models, bundle.manifest.facts["outcomes"])
        series = select(self.training, self.spec.train_exclude_metrics)
        trained = train_batch(self.spec, series, tick)
        try:
            train_step.save(self.models, key, trained)
        except UnsupportedModel as unsupported:  # cannot be kept, and scores all the same
            log.warning("%s", unsupported)
        return trained

    def _score_learning(
        self, name: str, points: Series, positions: NDArray[np.intp], history: History | None, outcome: str
    ) -> None:
        """Score each bucket with a model as of its own start, since the tick before it had too few points."""
        if name in self.spec.train_exclude_metrics:
            self._say(name, "excluded from training")
            return
        if outcome.startswith("failed"):
            self._say(name, outcome)
            return
        for position in positions:
            start = points.times[position].astype("datetime64[us]").item().replace(tzinfo=UTC)
            fitted = train_metric(self.spec, name, history or NO_HISTORY, start)
            if isinstance(fitted, str):
                self._say(name, fitted)
            else:
                self._score(name, points, np.array([position]), fitted, start)

    def _score(
        self, name: str, points: Series, positions: NDArray[np.intp], fitted: pipeline.Fitted, tick: datetime
    ) -> None:
        spec = self.spec
        ends = fitted.grain.ends(points.times[positions], spec.timezone)
        closed = ends <= stamp(self.window.end - spec.completeness_delay)
        if isinstance(fitted, pipeline.FittedSeasonal):
            calendar = Calendar.for_metric(spec, name)
            budget = spec.false_alarms_per_month
            scored = pipeline.score_seasonal(
                fitted, points, positions[closed], spec.timezone, calendar, budget, training_span(spec)
            )
        else:
            recipe, combine = spec.preprocess_params, spec.model_combination_method
            scored = pipeline.score(fitted, points, positions[closed], recipe, combine, _span(spec))
        self.rows.extend(_rows(spec, name, points, scored, str(fitted.grain), tick))
        if len(scored.index):
            self._say(name, "scored" + pipeline.rung(fitted))
        elif scored.tried:
            self._say(name, "no finite score")
        elif closed.any():
            self._say(name, "too few recent points")


def _rows(
    spec: BatchSpec, name: str, points: Series, scored: pipeline.Scores, length: str, tick: datetime
) -> list[tuple[Any, ...]]:
    """Return score rows; the metadata tell the value, what was expected, the grain and the model's tick."""
    times: Times = points.times[scored.index]
    decimals = spec.score_metric_rounding
    values = scored.score if decimals < 0 else np.round(scored.score, decimals)
    rows = []
    for i, time in enumerate(times):
        metadata = {
            "value": float(points.values[scored.index[i]]),
            "expected": float(scored.expected[i]),
            "lower": _finite(scored.lower[i]),
            "upper": _finite(scored.upper[i]),
            "grain": length,
            "model": tick.isoformat(),
        }
        rows.append((name, "score", time, float(values[i]), json.dumps(metadata)))
    return rows


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
