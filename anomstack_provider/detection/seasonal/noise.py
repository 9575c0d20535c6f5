"""What is usual of the deviations themselves: their size, how it grows with what is expected, how long they last."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from anomstack_provider.detection.seasonal import arrays
from anomstack_provider.detection.series import Floats


def growth_of(expected: Floats, deviation: Floats, lowest: Floats) -> tuple[Floats, Floats]:
    """Return the median expectation and Taylor's exponent, 0 for a metric that goes below zero."""
    usual = arrays.median(expected)
    known = np.isfinite(deviation)
    some = np.where(known, expected, np.nan)
    low_end, high_end = arrays.quantile(some, 1 / 3)[:, None], arrays.quantile(some, 2 / 3)[:, None]
    low, high = some <= low_end, some >= high_end
    noise = np.log(arrays.spread(np.where(high, deviation, np.nan)) / arrays.spread(np.where(low, deviation, np.nan)))
    size_low = arrays.median(np.where(low, np.maximum(some, _least_expected(usual)), np.nan))
    size_high = arrays.median(np.where(high, np.maximum(some, _least_expected(usual)), np.nan))
    exponent = np.clip(noise / np.log(size_high / size_low), 0.0, 1.0)
    applies = (lowest >= 0) & (size_high > 1.05 * size_low) & np.isfinite(noise)
    return usual, np.where(applies, exponent, 0.0)


def _least_expected(usual: Floats) -> Floats:
    return np.maximum(0.1 * usual, 1e-12)[:, None]


def factor(expected: Floats, usual: Floats, growth: Floats) -> Floats:
    """Return how much larger than usual deviations are at an expectation, shape (m, n)."""
    ratio = np.maximum(expected, _least_expected(usual)) / np.maximum(usual, 1e-12)[:, None]
    return np.where(growth[:, None] > 0, ratio ** growth[:, None], 1.0)


def memory_of(deviation: Floats) -> Floats:
    """Return the first autocorrelation of the deviations, cut at three standard deviations."""
    limit = 3 * arrays.spread(deviation)[:, None]
    now = np.clip(deviation, -limit, limit)
    before = arrays.shifted(now, 1)
    both = np.isfinite(now) & np.isfinite(before)
    product = np.where(both, now * before, 0.0).sum(axis=1)
    square = np.where(both, before * before, 0.0).sum(axis=1)
    return np.where(square > 0, np.clip(product / np.where(square > 0, square, 1.0), 0.0, 0.98), 0.0)


def spread_of(deviation: Floats, x: Floats, counts: NDArray[np.intp]) -> Floats:
    """Return a robust standard deviation that is never zero: a constant metric may move by a thousandth."""
    found = arrays.spread(deviation) * (1 + 2 / np.maximum(counts, 1))
    return np.where(found > 0, found, np.maximum(1e-3 * arrays.median(np.abs(x)), 1e-9))
