"""Whether a value has stopped moving: how long it has been repeated, and how telling a repeat of it is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from anomstack_provider.detection.series import Floats

_LEAST_OFTEN = 3


def _repeats(values: Floats, gap: int) -> NDArray[np.bool_]:
    """Return which buckets have the value of the one before, or of the last one up to ``gap`` columns before."""
    known = np.isfinite(values)
    columns = np.arange(values.shape[1])
    last = np.maximum.accumulate(np.where(known, columns, -1), axis=1)
    before = np.full_like(last, -1)
    before[:, 1:] = last[:, :-1]
    same = np.take_along_axis(values, np.maximum(before, 0), axis=1) == values
    return np.asarray(known & same & (before >= 0) & (columns - before <= gap))


def runs(values: Floats, block: int, blocks: int) -> Floats:
    """Return how many buckets in a row repeat the value before them, those of the newest ``blocks - 1`` blocks."""
    known = np.isfinite(values)
    repeats = _repeats(values, block)
    total = np.cumsum(repeats, axis=1)
    base = np.maximum.accumulate(np.where(known & ~repeats, total, 0), axis=1)
    window = max(block * (blocks - 1), 1)
    if window < values.shape[1]:
        base[:, window:] = np.maximum(base[:, window:], total[:, :-window])
    return np.where(known, (total - base).astype(np.float64), np.nan)


def still(values: Floats, block: int) -> Floats:
    """Return minus log of the share of buckets that repeat the value before, by the rule of succession."""
    same = _repeats(values, block).sum(axis=1)
    return np.asarray(-np.log((same + 1.0) / (np.isfinite(values).sum(axis=1) + 1.0)))


def usual_values(values: Floats) -> Floats:
    """Return the sorted values that came at least three times, and minus log of the share of each."""
    found, count = np.unique(values[np.isfinite(values)], return_counts=True)
    often = count >= _LEAST_OFTEN
    return np.stack([found[often], -np.log(count[often] / count.sum())])


def telling(values: Floats, at_all: float, usual: Floats) -> Floats:
    """
    Return how telling a repeat of each value is: no more than that it is that value.

    :param at_all: see :func:`still`.
    :param usual: see :func:`usual_values`.
    """
    known, share = usual
    if not len(known):
        return np.full(len(values), at_all)
    at = np.minimum(np.searchsorted(known, values), len(known) - 1)
    return np.where(known[at] == values, np.minimum(share[at], at_all), at_all)
