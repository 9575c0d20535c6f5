"""
Plain methods to compare with. Each score uses the bucket's own value and earlier ones only.

Scores have any scale: thresholds come from the budget. NaN where there are too few points before a bucket.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.detection.judged import Floats

Times = NDArray[np.datetime64]

_LAMBDA = 0.2
_MEMORY_DAYS = 28
_LEAST = 14
_MAD_TO_SIGMA = 1.4826


def ewma_chart(times: Times, values: Floats, step: float, name: str) -> Floats:
    """
    Return the distance of an exponentially weighted mean from the mean, in its standard deviations (Roberts 1959).

    ``z = 0.2 x + 0.8 z``, whose standard deviation is ``sigma sqrt(0.2 / 1.8)``; mean and sigma are those of the points
    before, of 28 days or, for longer buckets, 90 points.
    """
    past = pd.Series(values).shift(1).rolling(_memory(step), min_periods=_LEAST)
    mean, sigma = past.mean().to_numpy(), past.std().to_numpy()
    smooth = pd.Series(values).ewm(alpha=_LAMBDA, adjust=False).mean().to_numpy()
    return _in_units(np.abs(smooth - mean), sigma * np.sqrt(_LAMBDA / (2 - _LAMBDA)), values)


def seasonal_naive(times: Times, values: Floats, step: float, name: str) -> Floats:
    """
    Return the distance from the value of the same slot one season ago, in robust standard deviations.

    The season is a week, for buckets shorter than an hour a day; where that bucket is missing, the one a season
    earlier. The scale is the median of the distances before, as in :func:`ewma_chart`.
    """
    season = np.timedelta64(86_400 if step < 3600 else 7 * 86_400, "s")
    tolerance = np.timedelta64(round(step / 2 * 1e6), "us")
    before = np.full(len(values), np.nan)
    for seasons in (2, 1):  # the nearer one overrides
        wanted = times - seasons * season
        position = np.minimum(np.searchsorted(times, wanted - tolerance), len(times) - 1)
        found = np.abs(times[position] - wanted) <= tolerance
        before = np.where(found, values[position], before)
    distance = np.abs(values - before)
    past = pd.Series(distance).shift(1).rolling(_memory(step), min_periods=_LEAST)
    scale = _MAD_TO_SIGMA * past.median().to_numpy()
    # More than half of the distances are zero (counts, flat lines): their mean is all there is.
    scale = np.where(scale > 0, scale, past.mean().to_numpy())
    return _in_units(distance, scale, values)


def random(times: Times, values: Floats, step: float, name: str) -> Floats:
    """Return noise, the same for the same series."""
    return np.random.default_rng(zlib.crc32(name.encode())).uniform(size=len(values))


BASELINES: dict[str, Callable[[Times, Floats, float, str], Floats]] = {
    "EWMA chart": ewma_chart,
    "seasonal naive": seasonal_naive,
    "random": random,
}


def _memory(step: float) -> int:
    return max(90, round(_MEMORY_DAYS * 86_400 / step)) if step >= 3600 else round(7 * 86_400 / step)


def _in_units(distance: Floats, scale: Floats, values: Floats) -> Floats:
    """Return distance over scale, with a floor so that leaving a perfectly flat line is large and not infinite."""
    floor = 1e-6 * np.maximum(np.abs(values), 1e-12)
    return np.asarray(distance / np.maximum(scale, floor))
