"""
Whether a bucket lies at another level than the points before it: their median, and how far they lie from it.

The distance is the modified z-score of PyOD's ``MAD`` (Iglewicz & Hoaglin, How to Detect and Handle Outliers, 1993),
worked out here for many buckets at a time; importing PyOD for a median would cost each run seconds. Where more than
half of the points are one value, their median deviation is 0 and PyOD calls any other value infinitely far; as the
source proposes, their mean deviation is taken then.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from anomstack_provider.detection.features import trailing_mean
from anomstack_provider.detection.series import Floats, Series

# What makes the median deviation of normal noise its standard deviation, as PyOD rounds it.
_NORMAL = 0.6745
# The median deviation of normal noise in units of its mean deviation: 0.6745 x 1.253314.
_FROM_MEAN = 0.8453
# A level that never moved is known to a thousandth of itself, and no value better than floats are.
_STILL, _FLOAT = 1e-3, 1e-12
# Numbers of a block of histories that are sorted together: 16 MB.
_BLOCK = 2_000_000


class ChangeRule(Protocol):
    """The part of a batch's config that this module reads."""

    @property
    def change_threshold(self) -> float: ...
    @property
    def change_detect_last_n(self) -> int: ...
    @property
    def change_smooth_n(self) -> int: ...
    @property
    def change_max_n(self) -> int: ...
    @property
    def change_metric_timestamp_max_days_ago(self) -> int: ...
    @property
    def train_min_n(self) -> int: ...


@dataclass(frozen=True)
class Changes:
    """
    What the rule says of the points from some position on, each as of its own time; shape (n,).

    :param smoothed: the mean that is judged in the place of the value; NaN where its window is not complete.
    :param median: the level of the points before, NaN where they are too few to tell.
    :param lower: from here on down a smoothed value is a change; ``upper`` likewise.
    :param distance: of the smoothed value from the median, in the unit of ``change_threshold``; NaN without a level.
    :param fires: whether the distance is above the threshold.
    """

    smoothed: Floats
    median: Floats
    lower: Floats
    upper: Floats
    distance: Floats
    fires: NDArray[np.bool_]


def history(rule: ChangeRule) -> tuple[int, timedelta]:
    """Return how many points before a bucket, and of how much time, decide on it."""
    return rule.change_max_n - 1, timedelta(days=rule.change_metric_timestamp_max_days_ago)


@np.errstate(over="ignore", invalid="ignore")
def changes(series: Series, first: int, rule: ChangeRule, resolution: float = 0.0) -> Changes:
    """
    Judge each point from position ``first`` on by those before it, within what the rule looks at.

    A bucket is judged by ``change_max_n`` points up to it, not older than the rule's days, but for the newest
    ``change_detect_last_n`` of them, itself among these. So a new level fires for that many buckets before it begins to
    count as usual, and no later point changes what was said of an earlier one.

    :param resolution: the least step of a stored value, such as 0.0001: a still level is not known better than that.
    """
    n = len(series)
    smoothed = _smoothed(series.values, rule.change_smooth_n)
    rows = np.arange(first, n)
    span = np.timedelta64(timedelta(days=rule.change_metric_timestamp_max_days_ago))
    oldest = np.maximum(rows - rule.change_max_n + 1, np.searchsorted(series.times, series.times[first:] - span))
    # The first means would be made of points that are not looked at.
    begin, end = oldest + max(rule.change_smooth_n - 1, 0), rows - rule.change_detect_last_n + 1
    median, spread = np.full(len(rows), np.nan), np.full(len(rows), np.nan)
    width = max(rule.change_max_n - rule.change_detect_last_n, 0)
    least = max(min(rule.train_min_n, width - max(rule.change_smooth_n - 1, 0)), 1)
    known = np.flatnonzero(end - begin >= least)
    for part in np.array_split(known, max(len(known) * width // _BLOCK, 1)):
        median[part], spread[part] = _level(smoothed, begin[part], end[part], resolution)
    # A mean of fewer points than it takes, within what is looked at, is none.
    judged = np.where(rows >= oldest + max(rule.change_smooth_n - 1, 0), smoothed[first:], np.nan)
    half = rule.change_threshold * spread / _NORMAL
    distance = _NORMAL * np.abs(judged - median) / spread
    return Changes(judged, median, median - half, median + half, distance, distance > rule.change_threshold)


def _smoothed(values: Floats, count: int) -> Floats:
    lead = min(max(count - 1, 0), len(values))
    return np.concatenate([np.full(lead, np.nan), trailing_mean(values, max(count, 1))])


def _level(values: Floats, begin: NDArray[np.intp], end: NDArray[np.intp], resolution: float) -> tuple[Floats, Floats]:
    """Return the median of each stretch ``values[begin:end]`` and the typical distance from it, never 0."""
    if not len(begin):
        return np.empty(0), np.empty(0)
    position = begin[:, None] + np.arange(int((end - begin).max()))
    stretch = np.where(position < end[:, None], values[np.minimum(position, len(values) - 1)], np.nan)
    median = _row_median(stretch)
    deviation = np.abs(stretch - median[:, None])
    spread = _row_median(deviation)
    noise = _FLOAT * np.abs(median)
    still = spread <= noise
    mean = np.nanmean(deviation[still], axis=1) if still.any() else np.empty(0)
    spread[still] = np.maximum(_FROM_MEAN * mean, np.maximum(_STILL * np.abs(median[still]), resolution))
    tiny = float(np.finfo(np.float64).tiny)
    return median, np.maximum(spread, np.maximum(noise, tiny))


def _row_median(table: Floats) -> Floats:
    """Return the median of each row without its NaN, of which no row has nothing else."""
    ordered = np.sort(table, axis=1)  # NaN last
    count = np.isfinite(ordered).sum(axis=1)
    row = np.arange(len(table))
    return np.asarray(0.5 * ordered[row, (count - 1) // 2] + 0.5 * ordered[row, count // 2])
