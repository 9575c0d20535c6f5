"""
Distance to the k-th nearest value that was seen before, in one dimension.

Ramaswamy, Rastogi and Shim, "Efficient algorithms for mining outliers from large data sets" (SIGMOD 2000). Unlike a
distance from the middle it also tells values between two usual ones, and does not mind a series with several habits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from anomstack_provider.detection.series import Floats

# The third nearest: one or two odd values in the past do not make a third one usual.
NEIGHBOURS = 3
_FOLDS = 5


def folds(columns: int) -> NDArray[np.int64]:
    """Return the fold of each column: five stretches of time of equal length, shape (columns,)."""
    return np.arange(columns) * _FOLDS // max(columns, 1)


def cross_fitted(x: Floats, fold_of: NDArray[np.int64]) -> Floats:
    """
    Return each value's distance to the third nearest of the values outside its own fold, shape (m, n).

    Neighbours in time resemble each other; a fold is a stretch of time, so they do not vouch for each other.

    :param x: shape (m, n), NaN where there is no value; so is the result.
    :param fold_of: number of the fold of each column, shape (n,).
    """
    rows = len(x)
    order = np.argsort(x, axis=1, kind="stable")
    ordered = np.take_along_axis(x, order, axis=1)
    known = np.where(np.isnan(ordered), np.inf, ordered)
    fold = fold_of[order]
    out = np.full_like(x, np.nan)
    for number in np.unique(fold_of):
        others = fold != number
        references = known[others].reshape(rows, -1)
        below = np.cumsum(others, axis=1)[~others].reshape(rows, -1)
        queries = ordered[~others].reshape(rows, -1)
        np.put_along_axis(out, order[~others].reshape(rows, -1), _third(references, queries, below), axis=1)
    return np.where(np.isfinite(out), out, np.nan)


def distance(references: NDArray[np.floating[Any]], x: Floats) -> Floats:
    """Return the distance of each ``x`` to its third nearest among sorted references, shape (n,); NaN for none."""
    known = references.astype(np.float64)
    below = np.searchsorted(known, x)
    found = _third(known[None], x[None], below[None])[0]
    return np.where(np.isfinite(found), found, np.nan)


def _third(references: Floats, queries: Floats, below: NDArray[np.intp]) -> Floats:
    """Return the third smallest distance to sorted references, ``below`` of which are left of each query."""
    edge = np.full((len(references), NEIGHBOURS), np.inf)
    padded = np.concatenate([-edge, references, edge], axis=1)
    near = [np.take_along_axis(padded, below + i, axis=1) for i in range(2 * NEIGHBOURS)]
    best = np.full(queries.shape, np.inf)
    with np.errstate(invalid="ignore"):
        # The third nearest lies at the far end of the closest of the windows of three.
        for i in range(NEIGHBOURS + 1):
            ends = np.maximum(queries - near[i], near[i + NEIGHBOURS - 1] - queries)
            best = np.fmin(best, ends)
    return best
