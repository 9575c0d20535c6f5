"""
The training points of a moment, and the models of a batch as of a moment.

The model of a tick is a pure function: the points that were closed before it, the config and the code. Whoever needs
it, the train step ahead of time or the score step that finds none stored, comes here and gets the same.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.detection import features, feedback, grain, pipeline
from anomstack_provider.detection.calendar import Calendar
from anomstack_provider.detection.feedback import Verdicts
from anomstack_provider.detection.own_features import OwnFeatures
from anomstack_provider.detection.seasonal import batch
from anomstack_provider.detection.series import EMPTY, Series, split, split_columns
from anomstack_provider.steps import overrides
from anomstack_provider.steps.ports import MetricRows

log = logging.getLogger(__name__)

_IDLE_SECONDS = 20


@dataclass(frozen=True)
class History:
    """What a metric's models are made of: its points, and what people said of them."""

    points: Series
    verdicts: Verdicts = ()


NO_HISTORY = History(EMPTY)


@dataclass(frozen=True)
class Trained:
    """Fitted metrics as of one moment, and what became of every metric that had points."""

    models: Mapping[str, pipeline.Fitted]
    outcomes: Mapping[str, str]


def stamp(moment: datetime) -> np.datetime64:
    """Return an aware datetime as ``datetime64[us]`` in UTC."""
    return np.datetime64(moment.astimezone(UTC).replace(tzinfo=None), "us")


def own_scores(frame: pd.DataFrame) -> NDArray[np.bool_]:
    """Return which rows are scores that this package wrote: another tool's say nothing of their bucket."""
    own: NDArray[np.bool_] = (frame["metric_type"] == "score").to_numpy(bool, copy=True)
    own[own] = [isinstance(text, str) and '"grain"' in text for text in frame["metadata"].to_numpy(object)[own]]
    return own


def shard_of(metric_name: str, shards: int) -> int:
    """Return which shard a metric belongs to; stable between processes, machines and Python versions."""
    return zlib.crc32(metric_name.encode()) % shards


def in_shard(metric_name: str, shard: int, shards: int) -> bool:
    """Whether a metric belongs to that shard."""
    return shards == 1 or shard_of(metric_name, shards) == shard


def of_shard(store: MetricRows, shard: int, shards: int, limits: Mapping[str, Any]) -> dict[str, Any]:
    """Return the limits of a read together with the metrics of the shard, so that no more than these are read."""
    if shards == 1:
        return dict(limits)
    names = limits.get("metrics")
    if names is None:
        names = store.metric_names("metric", since=limits["since"], until=limits["until"])
    return {**limits, "metrics": [name for name in names if in_shard(name, shard, shards)]}


def read_history(
    spec: BatchSpec, store: MetricRows, shard: int, shards: int, excluded: Iterable[str], **limits: Any
) -> dict[str, History]:
    """
    Read metrics with the verdicts on them, in one query, resampled to the batch's ``freq`` if it has one.

    :param excluded: metrics that are left out.
    """
    frame = store.read(["metric", *feedback.WORD_OF], **of_shard(store, shard, shards, limits))
    is_metric = (frame["metric_type"] == "metric").to_numpy()
    # Nearly always there are no verdicts, and a copy of everything is spared.
    series = split(frame) if is_metric.all() else split(frame[is_metric])
    verdicts = {} if is_metric.all() else split_verdicts(frame[~is_metric])
    left_out = set(excluded)
    wanted = {name: points for name, points in series.items() if name not in left_out}
    prepared = prepare(spec, wanted, limits["since"])
    return {name: History(points, verdicts.get(name, ())) for name, points in prepared.items()}


def histories_as_of(
    spec: BatchSpec,
    store: MetricRows,
    histories: Mapping[str, History],
    moment: datetime,
    shard: int,
    shards: int,
    excluded: Iterable[str] = (),
) -> Mapping[str, History]:
    """
    Return what models of a moment are made of: with ``train_sql`` the rows of that query, as of the moment.

    :param histories: the stored ones, whose verdicts count either way.
    :param excluded: metrics that the query's rows are without; of the stored ones the caller has left them out.
    """
    if spec.override("train_sql") is None:
        return histories
    left_out = set(excluded)
    own = {
        name: points
        for name, points in overrides.series(spec, store, "train_sql", moment).items()
        if name not in left_out and in_shard(name, shard, shards)
    }
    prepared = prepare(spec, own, None)
    return {name: History(points, histories.get(name, NO_HISTORY).verdicts) for name, points in prepared.items()}


def split_verdicts(frame: pd.DataFrame) -> dict[str, Verdicts]:
    """Return the verdicts on each metric from rows sorted by name: of the types of feedback, others are passed over."""
    rows = frame[frame["metric_type"].isin(list(feedback.WORD_OF))]
    return {
        name: feedback.in_order(
            verdict
            for time, kind, metadata in zip(times, kinds, texts, strict=True)
            for verdict in feedback.of_row(kind, time, metadata)
        )
        for name, (times, kinds, texts) in split_columns(rows, "metric_type", "metadata").items()
    }


def prepare(spec: BatchSpec, series: Mapping[str, Series], since: datetime | None) -> dict[str, Series]:
    """Resample series that were read from ``since`` on to the batch's ``freq``, or return them as they are."""
    recipe = spec.preprocess_params
    if recipe.freq is None:
        return dict(series)
    begin = None if since is None else stamp(since)
    return {
        name: features.resample(points, recipe.freq, recipe.freq_agg, spec.timezone, begin)
        for name, points in series.items()
    }


def freq_lengths(spec: BatchSpec) -> tuple[timedelta, timedelta]:
    """Return the least and the greatest length of a ``freq`` bucket, a month 28 and 31 days; zero without one."""
    if spec.preprocess_params.freq is None:
        return timedelta(0), timedelta(0)
    lengths = pd.date_range("2024-01-01", periods=61, freq=spec.preprocess_params.freq).to_series().diff().dropna()
    return lengths.min().to_pytimedelta(), lengths.max().to_pytimedelta()


def training_limits(spec: BatchSpec, first: datetime, last: datetime) -> dict[str, Any]:
    """Return the limits of one read that holds the training points of every moment from ``first`` to ``last``."""
    since = first - timedelta(days=spec.train_metric_timestamp_max_days_ago) - 2 * freq_lengths(spec)[1]
    newest = None if spec.preprocess_params.freq else spec.train_max_n
    return {"since": since, "until": last, "newest": newest, "cut": first}


def training_points(
    spec: BatchSpec, series: Series, moment: datetime, calendar: Calendar, verdicts: Verdicts = ()
) -> tuple[Series, grain.Grain]:
    """Return the points of one metric that a model as of ``moment`` is trained on, and the metric's grain by then."""
    stop = series.before(stamp(moment))
    oldest = series.before(stamp(moment - timedelta(days=spec.train_metric_timestamp_max_days_ago)))
    first = max(oldest, stop - spec.train_max_n)
    # A query of the batch's own says how many and how old itself.
    known = series.slice(first if spec.override("train_sql") is None else 0, stop)
    found = metric_grain(spec, known)
    kept = found.ends(known.times, spec.timezone) <= stamp(moment - spec.completeness_delay)
    if not calendar.is_empty:
        kept &= ~calendar.marks(known.times, spec.timezone).excluded
    if verdicts:
        kept &= feedback.trains(verdicts, known.times, moment)
    return Series(known.times[kept], known.values[kept]), found


def metric_grain(spec: BatchSpec, series: Series) -> grain.Grain:
    """Return the grain of ``freq``, else the configured one, else the one that these points keep."""
    if spec.preprocess_params.freq is not None:
        return grain.of_freq(spec.preprocess_params.freq)
    return grain.parse(spec.grain) if spec.grain else grain.infer(series.times, spec.timezone)


def longest_bucket(spec: BatchSpec) -> timedelta:
    """Return a length that no bucket of the batch exceeds: a month where the grain is inferred."""
    if spec.grain is None:
        return max(timedelta(days=31), freq_lengths(spec)[1])
    nominal: timedelta = grain.parse(spec.grain).nominal.astype("timedelta64[us]").item()
    return max(nominal * 31 / 30, freq_lengths(spec)[1])


def span(spec: BatchSpec) -> timedelta | None:
    """
    Return how far back the points of one bucket may lie, whatever else a run has read.

    As far as its model's training points; None with ``freq``, where a run reads as far as a model can look.
    """
    return None if spec.preprocess_params.freq else timedelta(days=spec.train_metric_timestamp_max_days_ago)


def train_metric(spec: BatchSpec, name: str, history: History, moment: datetime) -> pipeline.Fitted | str:
    """Return the metric's model as of ``moment``, or the outcome in words where there is none."""
    trained = train_batch(spec, {name: history}, moment)
    return trained.models.get(name) or trained.outcomes[name]


def train_batch(spec: BatchSpec, histories: Mapping[str, History], moment: datetime) -> Trained:
    """Train every metric of ``histories`` as of ``moment``."""
    ready: dict[str, batch.Training] = {}
    outcomes: dict[str, str] = {}
    for name, history in histories.items():
        calendar = Calendar.for_metric(spec, name)
        known, found = training_points(spec, history.points, moment, calendar, history.verdicts)
        if len(known) < spec.train_min_n:
            since = " since new normal" if feedback.restart(history.verdicts, moment) else ""
            outcomes[name] = f"learning {len(known)}/{spec.train_min_n}{since}"
        else:
            ready[name] = batch.Training(known, found, calendar)
    models: dict[str, pipeline.Fitted] = {}
    for name, fitted in _fit(spec, ready):
        if isinstance(fitted, Exception):
            log.error("metric %r: training as of %s failed", name, moment, exc_info=fitted)
            outcomes[name] = f"failed: {type(fitted).__name__}: {fitted}"
        else:
            models[name] = fitted
            outcomes[name] = "trained" + pipeline.rung(fitted)
    # In the order given, whatever came out together.
    return Trained({n: models[n] for n in histories if n in models}, {n: outcomes[n] for n in histories})


def _fit(spec: BatchSpec, ready: Mapping[str, batch.Training]) -> Iterator[tuple[str, pipeline.Fitted | Exception]]:
    """Yield each metric's model or why it has none: one metric never stops its neighbours."""
    if spec.recipe == "seasonal":
        try:
            fitted = dict(batch.fit(ready, spec.timezone, span(spec)))
        except Exception as error:
            if len(ready) == 1:
                yield next(iter(ready)), error
                return
            log.warning("training together failed, one by one: %s", error)
            for name, one in ready.items():
                yield from _fit(spec, {name: one})
            return
        yield from fitted.items()
        return
    yield from zip(ready, _fit_detectors(spec, ready), strict=True)


def _fit_detectors(spec: BatchSpec, ready: Mapping[str, batch.Training]) -> list[pipeline.FittedMetric | Exception]:
    """
    Return each metric's detectors or why it has none, fitted in as many processes as the batch asks for.

    Processes, since fitting a forest is mostly Python, which threads would do one after another. Where a process may
    have no children joblib says so and goes on with one.
    """
    from joblib import Parallel, delayed

    own = own_features(spec)
    fits = (delayed(_fit_metric)(spec, one, own and replace(own, metric_name=name)) for name, one in ready.items())
    # A task's process may end without a word to its workers: they leave when they have had nothing to do for a while.
    parallel = Parallel(spec.train_n_jobs, backend="loky", idle_worker_timeout=_IDLE_SECONDS)
    fitted: list[pipeline.FittedMetric | Exception] = parallel(fits)
    return fitted


def own_features(spec: BatchSpec) -> OwnFeatures | None:
    """Return what makes the features of recipe anomstack by the batch's own function, None without one."""
    if spec.override("preprocess_fn") is None or spec.recipe == "seasonal":
        return None
    arguments = {**spec.preprocess_params.model_dump(), "freq": None}  # which the points have been through
    text, where = spec.render("preprocess_fn"), f"{spec.metric_batch}: preprocess_fn"
    return OwnFeatures(text, where, spec.metric_batch, "", arguments, spec.score_max_n - 1)


def _fit_metric(spec: BatchSpec, one: batch.Training, own: OwnFeatures | None) -> pipeline.FittedMetric | Exception:
    try:
        return pipeline.fit(one.series, one.grain, spec.preprocess_params, spec.model_configs, spec.timezone, own)
    except Exception as error:
        return error
