"""
What value to expect in a bucket, and in what range: the median of the same slot of the season.

A deliberately plain estimate beside the score, for messages and charts: it depends on the training points alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anomstack_provider.detection.grain import Grain, to_local
from anomstack_provider.detection.seasonal.arrays import middle, sort_last
from anomstack_provider.detection.seasonal.season import slot_members
from anomstack_provider.detection.series import Floats, Series, Times

_MAD_TO_SIGMA = 1.4826
# Half the width of the range, in robust standard deviations: about 1 in 370 buckets of a normal series leave it.
_WIDTH = 3.0
_MIN_PER_SLOT = 3
# Slots of each season.
_SLOTS = {"day of week": 7, "hour of day": 24, "hour of week": 168}


@dataclass(frozen=True)
class Baseline:
    """
    Medians per slot of the season with one robust spread around them.

    :param seasons: names of the slots that were tried, finest first; see :func:`_seasons`.
    :param medians: per season the median of each slot, NaN where the slot had fewer than three points.
    :param center: median of all points, for slots without a median of their own.
    :param spread: robust standard deviation of the points around their slot's median, in the metric's unit.
    """

    seasons: tuple[str, ...]
    medians: tuple[Floats, ...]
    center: float
    spread: float
    floor: float
    timezone: str

    def expect(self, times: Times) -> tuple[Floats, Floats, Floats]:
        """Return expected value, lower and upper end of the range for buckets starting at ``times`` (UTC)."""
        expected = _look_up(_slots(self.seasons, times, self.timezone), self.medians, self.center, len(times))
        half = _WIDTH * self.spread
        return expected, np.maximum(expected - half, self.floor), expected + half


def fit(series: Series, grain: Grain, timezone: str) -> Baseline:
    """Fit the baseline to at least one training point."""
    seasons = _seasons(grain)
    slots = _slots(seasons, series.times, timezone)
    medians: list[Floats] = []
    for season, key in zip(seasons, slots, strict=True):
        medians.append(_medians(key, _SLOTS[season], series.values))
        if not np.isnan(medians[-1]).any():
            break  # no slot is left for a coarser season
    tried = len(medians)
    center = float(np.median(series.values))
    residuals = series.values - _look_up(slots[:tried], medians, center, len(series))
    spread = _MAD_TO_SIGMA * float(np.median(np.abs(residuals)))
    if spread == 0.0:
        # More than half of the points sit on their median (counts, flat lines): the plain deviation is all there is.
        spread = float(np.std(residuals))
    # A metric that never went below zero is not expected to.
    floor = 0.0 if float(series.values.min()) >= 0 else -np.inf
    return Baseline(seasons[:tried], tuple(medians), center, spread, floor, timezone)


def _seasons(grain: Grain) -> tuple[str, ...]:
    if grain.unit == "d" and grain.count == 1:
        return ("day of week",)
    if grain.unit in ("min", "h"):
        return ("hour of week", "hour of day")
    return ()


def _slots(seasons: tuple[str, ...], times: Times, timezone: str) -> list[NDArray[np.int64]]:
    """Return per season the slot of each bucket."""
    hours = to_local(times, timezone).astype("datetime64[h]").astype(np.int64)
    weekday = (hours // 24 + 3) % 7  # 1970-01-01 was a Thursday
    slots = {"day of week": weekday, "hour of day": hours % 24, "hour of week": weekday * 24 + hours % 24}
    return [slots[season] for season in seasons]


def _medians(slots: NDArray[np.int64], count: int, values: Floats) -> Floats:
    ordered, points = sort_last(np.append(values, np.nan)[slot_members(slots, count)])
    return np.where(points >= _MIN_PER_SLOT, middle(ordered, points), np.nan)


def _look_up(slots: Sequence[NDArray[np.int64]], medians: Sequence[Floats], center: float, count: int) -> Floats:
    """Return the median of the finest season that has one for its slot, else the center, shape (count,)."""
    expected = np.full(count, center)
    for key, table in zip(reversed(slots), reversed(medians), strict=True):
        own = table[key]
        expected = np.where(np.isnan(own), expected, own)
    return expected
