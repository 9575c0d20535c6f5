"""
The score step: one score per metric and closed bucket, each from the model of its own train tick.

A bucket is scored by the model of the newest train tick not after the bucket's start, so no model has seen the bucket
that it judges, and every run that scores the bucket, live or in a backfill, in any order, comes to the same number.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from anomstack_provider.artifacts.errors import ModelRefused, ModelStoreUnavailable, UnsupportedModel
from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.detection import grain, pipeline
from anomstack_provider.detection.calendar import Calendar
from anomstack_provider.detection.own_features import OwnFeatures
from anomstack_provider.detection.seasonal import batch
from anomstack_provider.detection.seasonal.model import MOST_COLUMNS
from anomstack_provider.detection.series import Series, split
from anomstack_provider.runtime.window import RunWindow
from anomstack_provider.steps import train as train_step
from anomstack_provider.steps.outcomes import StepResult
from anomstack_provider.steps.own_rows import OwnRows
from anomstack_provider.steps.ports import MetricRows, Models
from anomstack_provider.steps.score_rows import ScoreRows
from anomstack_provider.steps.training import (
    NO_HISTORY,
    History,
    Trained,
    freq_lengths,
    histories_as_of,
    metric_grain,
    of_shard,
    own_features,
    own_scores,
    prepare,
    read_history,
    stamp,
    train_batch,
    train_metric,
    training_limits,
)
from anomstack_provider.steps.training import (
    span as training_span,
)

if TYPE_CHECKING:
    from anomstack_provider.artifacts.model_store import Bundle, ModelKey

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
    limits["metrics"] = None if metrics is None else sorted(metrics)
    frame = store.read(["metric", "score"], **of_shard(store, shard, shards, limits))
    is_score = own_scores(frame)
    left_out = set(spec.score_exclude_metrics)
    raw = {n: s for n, s in split(frame[frame["metric_type"] == "metric"]).items() if n not in left_out}
    series = prepare(spec, raw, limits["since"])
    done = split(frame[is_score])
    run = _Run(spec, window, store, models, shard, shards)
    plan = _plan(spec, series, done, cut, back, since, rescore)
    own = None if spec.override("score_sql") is None else OwnRows(spec, window, store)
    for tick in sorted(plan):
        if own is None:
            run.score_tick(tick, series, plan[tick])
        else:
            # The look-back is that of the rows which the query gives now; a long one, for a fold over events, is not.
            for given, wanted in own.parts(series, plan[tick], only_known=since is not None):
                run.score_tick(tick, given, wanted)
    rows = run.scored.frame()
    written = store.replace(rows) if len(rows) else 0
    left_out = set() if own is None else set(series) - own.names
    outcomes = {
        name: run.outcomes.get(name) or ("left out by score_sql" if name in left_out else _idle(spec, points, window))
        for name, points in series.items()
    }
    for name, outcome in outcomes.items():
        log.info("metric %r: %s", name, outcome)
    facts = {} if run.has_store else {"model_store": "unavailable"}
    return StepResult("score", rows=written, outcomes=outcomes, facts=facts)


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
    return pipeline.reach(spec.preprocess_params, spec.model_configs, known, own_features(spec))


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
    at, oldest = stamp(cut), stamp(since) if since else None
    wanted = {name: _wanted(spec, points, done.get(name), at, back, oldest, rescore) for name, points in series.items()}
    starts = np.unique(np.concatenate([points.times[wanted[name]] for name, points in series.items()] or [_NO_TIMES]))
    tick_of = [train_step.scoring_tick(spec, start) for start in starts]
    ticks = sorted(set(tick_of))
    number_of = np.array([ticks.index(tick) for tick in tick_of], np.intp)
    plan: _Plan = defaultdict(dict)
    for name, points in series.items():
        own = number_of[starts.searchsorted(points.times[wanted[name]])]
        for number in sorted(set(own.tolist())):
            plan[ticks[number]][name] = wanted[name][own == number]
    return plan


_NO_TIMES = np.empty(0, "datetime64[us]")


def _wanted(
    spec: BatchSpec,
    points: Series,
    done: Series | None,
    cut: np.datetime64,
    back: int,
    since: np.datetime64 | None,
    rescore: bool,
) -> NDArray[np.intp]:
    """Return the positions of the buckets that closed in the window, and of the look-back's unscored ones."""
    before = points.before(cut)
    oldest = max(before - back, 0 if since is None else points.before(since))
    # The bucket that holds the cut may close in the window, however long it is and whatever `since` says.
    first = max(min(oldest, before - 1), 0)
    positions = np.arange(first, len(points))
    times = points.times[first:]
    # Only a hint which buckets to score once more: whether a bucket is closed is decided by its model's grain.
    closes = metric_grain(spec, points).ends(times, spec.timezone) > cut
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


@dataclass(frozen=True)
class _Due:
    """Buckets of one metric, at ``positions``, and the model of ``tick`` that is to score them."""

    points: Series
    positions: NDArray[np.intp]
    fitted: Any
    tick: datetime


@dataclass
class _Run:
    """One pass over the plan: models of a tick at a time, rows collected for one write."""

    spec: BatchSpec
    window: RunWindow
    store: MetricRows
    models: Models
    shard: int
    shards: int
    scored: ScoreRows = field(default_factory=ScoreRows)
    outcomes: dict[str, str] = field(default_factory=dict)
    first_tick: datetime | None = None
    has_store: bool = True
    _newest: tuple[datetime, Trained] | None = None

    @cached_property
    def training(self) -> dict[str, History]:
        """Training points of every moment from the first tick asked for to the end of the window, read once."""
        assert self.first_tick is not None
        limits = training_limits(self.spec, self.first_tick, self.window.end)
        return read_history(self.spec, self.store, self.shard, self.shards, (), **limits)

    def score_tick(self, tick: datetime, series: Mapping[str, Series], wanted: Mapping[str, NDArray[np.intp]]) -> None:
        """Score the buckets whose model is that of ``tick``."""
        if self.first_tick is None:
            self.first_tick = tick
        if self._newest is None or self._newest[0] != tick:
            self._newest = (tick, self._trained(tick))
        trained = self._newest[1]
        learning = [name for name in wanted if name not in trained.models]
        # Read outside of what is caught below: a database that fails is the step's failure, not a metric's.
        history = self.training if learning else {}
        ready = {name: fitted for name in wanted if (fitted := trained.models.get(name)) is not None}
        self._score({name: _Due(series[name], wanted[name], fitted, tick) for name, fitted in ready.items()})
        for name in learning:
            try:
                outcome = trained.outcomes.get(name, "")
                self._score_learning(name, series[name], wanted[name], history.get(name), outcome)
            except Exception as error:
                self._fail(name, error)

    def _fail(self, name: str, error: Exception) -> None:
        """Note that a metric failed: one metric never stops its neighbours; the outcome carries the reason."""
        log.error("metric %r: scoring failed", name, exc_info=error)
        self._say(name, f"failed: {type(error).__name__}: {error}")

    def _say(self, name: str, outcome: str) -> None:
        """Note what became of a metric's newest bucket; a failure on any of its buckets is not taken back."""
        if not self.outcomes.get(name, "").startswith("failed"):
            self.outcomes[name] = outcome

    def _trained(self, tick: datetime) -> Trained:
        """Return the models of a tick: the stored ones, else trained now as of that tick and stored."""
        key = train_step.model_key(self.spec, tick, self.shard, self.shards)
        bundle = self._stored(key)
        if bundle is not None:
            models: Any = bundle.models
            return Trained(models, bundle.manifest.facts["outcomes"])
        left_out = set(self.spec.train_exclude_metrics)
        series = {name: points for name, points in self.training.items() if name not in left_out}
        trained = train_batch(self.spec, self._as_of(series, tick, left_out), tick)
        self._store(key, trained)
        return trained

    def _stored(self, key: ModelKey) -> Bundle | None:
        """Return the models of a key; None where there are none to be had, which is no reason not to score."""
        if not self.has_store:
            return None
        try:
            return self.models.load(key)
        except ModelRefused as refused:
            log.warning("%s; training again as of the same tick", refused)
        except ModelStoreUnavailable as unavailable:
            self._go_on_without_store(unavailable)
        return None

    def _store(self, key: ModelKey, trained: Trained) -> None:
        if not self.has_store:
            return
        try:
            train_step.save(self.models, key, trained)
        except UnsupportedModel as unsupported:  # cannot be kept, and scores all the same
            log.warning("%s", unsupported)
        except ModelStoreUnavailable as unavailable:
            self._go_on_without_store(unavailable)

    def _go_on_without_store(self, unavailable: ModelStoreUnavailable) -> None:
        """Note that the store fails, and ask it no more in this run: each question may take as long as its patience."""
        log.warning("%s Models are trained as of their ticks in this run, and not stored.", unavailable)
        self.has_store = False

    def _as_of(
        self, histories: Mapping[str, History], moment: datetime, excluded: Collection[str] = ()
    ) -> Mapping[str, History]:
        return histories_as_of(self.spec, self.store, histories, moment, self.shard, self.shards, excluded)

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
            as_of = self._as_of({name: history or NO_HISTORY}, start).get(name, NO_HISTORY)
            fitted = train_metric(self.spec, name, as_of, start)
            if isinstance(fitted, str):
                self._say(name, fitted)
            else:
                self._score({name: _Due(points, np.array([position]), fitted, start)})

    def _score(self, due: Mapping[str, _Due]) -> None:
        """Score the buckets that are closed, those of the seasonal recipe all together."""
        closed = {}
        latest_end = stamp(self.window.end - self.spec.completeness_delay)
        for name, one in due.items():
            ends = one.fitted.grain.ends(one.points.times[one.positions], self.spec.timezone)
            closed[name] = one.positions[ends <= latest_end]
        together = {
            name: batch.Asked(one.fitted, one.points, closed[name], Calendar.for_metric(self.spec, name))
            for name, one in due.items()
            if not isinstance(one.fitted, pipeline.FittedMetric) and len(closed[name])
        }
        judged = self._judge(together)
        for name, one in due.items():
            try:
                if isinstance(one.fitted, pipeline.FittedMetric):
                    self._keep(name, one, closed[name], self._score_features(name, one, closed[name]))
                elif name in judged:
                    self._keep(name, one, closed[name], judged[name])
            except Exception as error:
                self._fail(name, error)

    def _judge(self, asked: Mapping[str, batch.Asked]) -> dict[str, pipeline.Scores]:
        spec = self.spec
        try:
            found = pipeline.score_seasonal(
                list(asked.values()), spec.timezone, spec.false_alarms_per_month, training_span(spec)
            )
        except Exception as error:
            if len(asked) == 1:
                self._fail(next(iter(asked)), error)
                return {}
            log.warning("judging together failed, one by one: %s", error)
            return {name: scores for key in asked for name, scores in self._judge({key: asked[key]}).items()}
        return dict(zip(asked, found, strict=True))

    @cached_property
    def _own_features(self) -> OwnFeatures | None:
        return own_features(self.spec)

    def _score_features(self, name: str, due: _Due, positions: NDArray[np.intp]) -> pipeline.Scores:
        spec = self.spec
        recipe, combine = spec.preprocess_params, spec.model_combination_method
        own = self._own_features and replace(self._own_features, metric_name=name)
        return pipeline.score(due.fitted, due.points, positions, recipe, combine, _span(spec), own)

    def _keep(self, name: str, due: _Due, closed: NDArray[np.intp], scored: pipeline.Scores) -> None:
        self.scored.add(self.spec, name, due.points, scored, str(due.fitted.grain), due.tick.isoformat())
        if len(scored.index):
            self._say(name, "scored" + pipeline.rung(due.fitted))
        elif scored.tried:
            self._say(name, "no finite score")
        elif len(closed):
            self._say(name, "too few recent points")
