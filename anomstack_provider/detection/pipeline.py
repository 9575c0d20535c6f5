"""
Train and score one metric: features, PyOD detectors, the linear score of PyOD, the baseline.

``fit`` sees training points only; ``score`` sees a fitted metric, the series and which of its buckets to score, and
uses no point after the bucket it scores.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from anomstack_provider.detection import baseline, detectors, features
from anomstack_provider.detection.baseline import Baseline
from anomstack_provider.detection.grain import Grain
from anomstack_provider.detection.own_features import OwnFeatures
from anomstack_provider.detection.seasonal import batch
from anomstack_provider.detection.seasonal.judgement import Judgement
from anomstack_provider.detection.seasonal.model import FULL
from anomstack_provider.detection.seasonal.model import Fitted as FittedSeasonal
from anomstack_provider.detection.seasonal.score import score_of
from anomstack_provider.detection.series import Floats, Series

# Part of a model's identity beside its config: raise it when the code here would fit or score differently.
RECIPE_VERSION = 4
# A series detector also scores a bucket that has fewer points before it than its reach, from those that there are: a
# young metric would wait for weeks. With fewer than so many (or than its reach, if less) it is not asked.
LEAST_BEFORE = 10

_COMBINE: dict[str, Callable[[Floats], Floats]] = {
    "mean": lambda scores: scores.sum(axis=0) / len(scores),
    "min": lambda scores: scores.min(axis=0),
    "max": lambda scores: scores.max(axis=0),
}


class ModelConfig(Protocol):
    """One entry of ``model_configs``."""

    @property
    def model_name(self) -> str: ...
    @property
    def model_params(self) -> dict[str, Any]: ...


class CannotFit(Exception):
    """No model of a metric could be fitted; the message says why."""


@dataclass(frozen=True)
class FittedModel:
    """A fitted PyOD detector and the range of its training scores, which PyOD's linear conversion maps to [0, 1]."""

    name: str
    detector: Any
    low: float
    high: float

    def needs(self, recipe: features.Recipe, own: OwnFeatures | None = None) -> int:
        """Return how many points before a bucket it needs to be scored; what a function needs it says itself."""
        if self.name in detectors.SERIES:
            return min(int(self.detector.reach), LEAST_BEFORE)
        return features.reach(recipe) if own is None else 0

    def score(self, rows: Floats) -> Floats:
        """Return scores in [0, 1] for rows of shape (n, width); NaN where the detector gave no finite one."""
        if self.name in detectors.ROW_INDEPENDENT | detectors.SERIES:
            raw = np.asarray(self.detector.decision_function(rows), np.float64)
        else:
            one_by_one = [self.detector.decision_function(rows[i : i + 1]) for i in range(len(rows))]
            raw = np.concatenate(one_by_one).astype(np.float64) if one_by_one else np.empty(0)
        span = self.high - self.low
        scaled: Floats = np.clip((raw - self.low) / (span if span > 0 else 1.0), 0.0, 1.0)
        return scaled

    def score_at(
        self, series: Series, index: NDArray[np.intp], begin: NDArray[np.intp], recipe: features.Recipe
    ) -> Floats:
        """Return the scores of the buckets at ``index``, at least one, each seeing no point before its ``begin``."""
        # No more is looked at than these buckets and what they reach: the cost is that of what is asked.
        if self.name not in detectors.SERIES:
            first = int(index.min()) - features.reach(recipe)
            rows = features.lag_matrix(series.values[first : int(index.max()) + 1], recipe)
            return self.score(rows[index - index.min()])
        reach = self.detector.reach
        out = np.empty(len(index))
        # What it may see ends within its reach: such a bucket is scored by itself.
        short = begin > np.maximum(index - reach, 0)
        for i in np.flatnonzero(short).tolist():
            out[i] = self.score(_timed(series.slice(int(begin[i]), int(index[i]) + 1)))[-1]
        if len(rest := index[~short]):
            first = max(int(rest.min()) - reach, 0)
            out[~short] = self.score(_timed(series.slice(first, int(rest.max()) + 1)))[rest - first]
        return out


@dataclass(frozen=True)
class FittedMetric:
    """All that scoring a bucket of one metric needs; a pure function of training points, config and code."""

    models: tuple[FittedModel, ...]
    grain: Grain
    baseline: Baseline
    points: int
    # Names of the features where the batch's own function made them.
    columns: tuple[str, ...] = ()


Fitted: TypeAlias = FittedMetric | FittedSeasonal


def rung(fitted: Fitted) -> str:
    """Return what to add to an outcome when a metric is too young for all that its recipe asks, else nothing."""
    if isinstance(fitted, FittedMetric) or fitted.rung == FULL:
        return ""
    return f" ({fitted.rung})"


@dataclass(frozen=True)
class Scores:
    """
    Scores of some buckets of one metric.

    :param index: positions of the buckets in the series, shape (n,).
    :param score: in [0, 1], shape (n,); expected, lower and upper in the metric's unit.
    :param tried: how many buckets had enough earlier points; some may have no finite score.
    """

    index: NDArray[np.intp]
    score: Floats
    expected: Floats
    lower: Floats
    upper: Floats
    tried: int


def reach(
    recipe: features.Recipe,
    configs: Sequence[ModelConfig],
    grain: Grain | None = None,
    own: OwnFeatures | None = None,
) -> int:
    """
    Return how many points before a bucket its score may depend on, the most of all models of ``configs``.

    :param grain: length of the buckets, if it is known: the season of finer ones has more points.
    """
    plain = features.reach(recipe) if own is None else own.reach
    named = {"grain": str(grain)} if grain else {}
    return max(
        (
            int(detectors.build(config.model_name, {**named, **config.model_params}).reach)
            if config.model_name in detectors.SERIES
            else plain
            for config in configs
        ),
        default=plain,
    )


def fit(
    training: Series,
    grain: Grain,
    recipe: features.Recipe,
    configs: Sequence[ModelConfig],
    timezone: str,
    own: OwnFeatures | None = None,
) -> FittedMetric:
    """
    Fit every model of ``configs`` to the training points of one metric.

    :param own: makes the feature rows in the place of ``recipe``.

    :raises CannotFit: naming each model and why it could not be fitted.
    :raises detectors.UnknownDetector: a config names a class that there is not.
    """
    if own is None:
        columns: tuple[str, ...] = ()
        lagged = features.lag_matrix(training.values, recipe)
        too_few = f"{len(training)} points leave no complete row of {features.reach(recipe) + 1} points"
    else:
        columns, lagged = own.of_training(training)
        too_few = f"preprocess_fn makes no row of {len(training)} points"
    if len(lagged) == 0 and not any(config.model_name in detectors.SERIES for config in configs):
        raise CannotFit(too_few)
    models, reasons = [], []
    for config in configs:
        if config.model_name in detectors.SERIES:
            settings = {"grain": str(grain), "timezone": timezone, **config.model_params}
            rows = _timed(training)
        else:
            settings, rows = config.model_params, lagged
        detector = detectors.build(config.model_name, settings)
        if len(rows) == 0:
            reasons.append(f"{config.model_name}: {too_few}")
            continue
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")  # a flat or huge series makes detectors warn; the check below decides
                detector.fit(rows)
        except Exception as error:  # any detector may raise anything: it is reported, its neighbours go on
            reason = " ".join(str(error).split())  # scikit-learn's are several lines
            reasons.append(f"{config.model_name}: {type(error).__name__}: {reason}")
            continue
        scores = np.asarray(detector.decision_scores_, np.float64)
        if not np.isfinite(scores).all():
            reasons.append(f"{config.model_name}: its scores of the training points are not finite")
            continue
        detectors.forget_training(config.model_name, detector)
        models.append(FittedModel(config.model_name, detector, float(scores.min()), float(scores.max())))
    if not models:
        raise CannotFit("; ".join(reasons))
    return FittedMetric(tuple(models), grain, baseline.fit(training, grain, timezone), len(training), columns)


def score(
    fitted: FittedMetric,
    series: Series,
    wanted: NDArray[np.intp],
    recipe: features.Recipe,
    combine: str,
    span: timedelta | None = None,
    own: OwnFeatures | None = None,
) -> Scores:
    """
    Score the buckets at the positions ``wanted``; those without enough earlier points are left out.

    :param combine: how the models' scores become one: ``mean``, ``min`` or ``max``.
    :param span: points of a bucket that are older than this are not looked at; None: there is no such limit.
    """
    oldest = None if span is None else series.times[wanted] - np.timedelta64(span)
    begin = np.zeros(len(wanted), np.intp) if oldest is None else np.searchsorted(series.times, oldest)
    enough = wanted - begin >= max(model.needs(recipe, own) for model in fitted.models)
    index, begin = wanted[enough], begin[enough]
    rows: Floats | None = None
    if own is not None and any(model.name not in detectors.SERIES for model in fitted.models):
        rows, made = own.of_buckets(series, index, begin, fitted.columns)
        index, begin = index[made], begin[made]
    if len(index) == 0:
        none = np.empty(0)
        return Scores(index, none, none, none, none, 0)
    with np.errstate(all="ignore"):
        combined = _COMBINE[combine](
            np.stack(
                [
                    model.score_at(series, index, begin, recipe)
                    if rows is None or model.name in detectors.SERIES
                    else model.score(rows)
                    for model in fitted.models
                ]
            )
        )
    tried, finite = len(index), np.isfinite(combined)
    index, combined = index[finite], combined[finite]
    return Scores(index, combined, *fitted.baseline.expect(series.times[index]), tried)


def score_seasonal(asked: Sequence[batch.Asked], timezone: str, budget: float, span: timedelta | None) -> list[Scores]:
    """
    Score buckets of many metrics; a score says how often a usual month brings one that odd.

    :param budget: false alarms a month that the expected range is drawn for.
    :param span: how far back the points of one bucket may lie.
    """
    return [_known(one, found) for one, found in zip(asked, batch.judge(asked, timezone, budget, span), strict=True)]


def _known(asked: batch.Asked, found: Judgement) -> Scores:
    finite = np.isfinite(found.rate)
    return Scores(
        asked.wanted[finite],
        score_of(found.rate[finite]),
        found.expected[finite],
        found.lower[finite],
        found.upper[finite],
        len(asked.wanted),
    )


def _timed(series: Series) -> Floats:
    """Return the rows that a series detector takes, shape (n, 2): microseconds since 1970 in UTC, value."""
    return np.column_stack([series.times.astype("datetime64[us]").astype(np.int64), series.values])
