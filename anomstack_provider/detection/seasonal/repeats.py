"""Whether a value has stopped moving: how long it has been repeated, and how telling a repeat of it is."""

from __future__ import annotations

from dataclasses import dataclass

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


@dataclass(frozen=True)
class UsualValues:
    """
    Values that came at least three times, of m metrics, arrays of shape (m, k).

    :param values: sorted, NaN last.
    :param surprise: minus log of the share of each.
    """

    values: Floats
    surprise: Floats

    def take(self, rows: NDArray[np.intp]) -> UsualValues:
        """Return those of some of the metrics, no wider than they need."""
        values = self.values[rows]
        most = int(np.isfinite(values).sum(axis=1).max(initial=0))
        return UsualValues(values[:, :most].copy(), self.surprise[rows, :most].copy())

    def telling(self, values: Floats, at_all: Floats) -> Floats:
        """
        Return how telling a repeat of each value is: no more than that it is that value.

        :param values: shape (m, n).
        :param at_all: see :func:`still`, shape (m,).
        """
        out = np.repeat(at_all[:, None], values.shape[1], axis=1)
        for i in np.flatnonzero(np.isfinite(self.values).any(axis=1)).tolist():
            known = self.values[i]
            at = np.minimum(np.searchsorted(known, values[i]), len(known) - 1)
            out[i] = np.where(known[at] == values[i], np.minimum(self.surprise[i, at], at_all[i]), at_all[i])
        return out


def usual_values(values: Floats) -> UsualValues:
    """Return the values that came at least three times, of series of shape (m, n)."""
    ordered = np.sort(values, axis=1)
    often = (ordered[:, _LEAST_OFTEN - 1 :] == ordered[:, : 1 - _LEAST_OFTEN]).any(axis=1)
    found = {i: _often(ordered[i]) for i in np.flatnonzero(often).tolist()}
    most = max((len(known) for known, _ in found.values()), default=0)
    out = UsualValues(np.full((len(values), most), np.nan), np.full((len(values), most), np.nan))
    for i, (known, surprise) in found.items():
        out.values[i, : len(known)] = known
        out.surprise[i, : len(known)] = surprise
    return out


def _often(ordered: Floats) -> tuple[Floats, Floats]:
    found, count = np.unique(ordered[np.isfinite(ordered)], return_counts=True)
    often = count >= _LEAST_OFTEN
    return found[often], -np.log(count[often] / count.sum())
