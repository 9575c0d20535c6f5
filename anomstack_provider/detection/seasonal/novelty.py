"""
Distance to the k-th nearest value that was seen before, in one dimension.

Ramaswamy, Rastogi and Shim, "Efficient algorithms for mining outliers from large data sets" (SIGMOD 2000). Unlike a
distance from the middle it also tells values between two usual ones, and does not mind a series with several habits.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anomstack_provider.detection.seasonal.arrays import search
from anomstack_provider.detection.series import Floats

# The third nearest: one or two odd values in the past do not make a third one usual.
NEIGHBOURS = 3
_FOLDS = 5


def folds(columns: int) -> NDArray[np.int64]:
    """Return the fold of each column: five stretches of time of equal length, shape (columns,)."""
    return np.arange(columns) * _FOLDS // max(columns, 1)


def cross_fitted(x: Floats, fold_of: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """
    Return each value's distance to the third nearest of the values outside its own fold, and the sorted values.

    Neighbours in time resemble each other; a fold is a stretch of time, so they do not vouch for each other.

    :param x: shape (m, n), NaN where there is no value; so are both results, the sorted values' last.
    :param fold_of: number of the fold of each column, see :func:`folds`, shape (n,).
    """
    rows, columns = x.shape
    order = np.argsort(x, axis=1)
    # Places in the flattened arrays: gathering by them is several times as fast as by row and column.
    row_of = np.arange(0, x.size, columns)[:, None]
    places = order + row_of
    ordered = x.take(places)
    known = np.where(np.isnan(ordered), np.inf, ordered).ravel()
    fold = fold_of.astype(np.int8).take(order)
    # Places in the row of each fold's values, one fold after the other, in the order of the values.
    by_fold = np.argsort(fold, axis=1, kind="stable")
    ends = fold_of.searchsorted(np.arange(fold_of.max(initial=-1) + 2)).tolist()
    out = np.full(x.size, np.nan)
    for number, (first, last) in enumerate(pairwise(ends)):
        at = by_fold[:, first:last] + row_of
        others = known.compress((fold != number).ravel()).reshape(rows, -1)
        # Before a value come as many of the others as its place in the row says, less those of its own fold.
        below = by_fold[:, first:last] - np.arange(last - first)
        found = _third(others, ordered.take(at), below)
        out[places.take(at)] = found
    return np.where(np.isfinite(out), out, np.nan).reshape(x.shape), ordered


def distance(references: NDArray[np.floating[Any]], x: Floats) -> Floats:
    """
    Return the distance of each ``x`` to its third nearest reference, NaN for none.

    :param references: sorted, NaN last, shape (m, n).
    :param x: shape (m, k).
    """
    known = np.where(np.isnan(references), np.inf, references.astype(np.float64))
    found = _third(known, x, search(known, x))
    return np.where(np.isfinite(found), found, np.nan)


def _third(references: Floats, queries: Floats, below: NDArray[np.intp]) -> Floats:
    """Return the third smallest distance to sorted references, ``below`` of which are left of each query."""
    edge = np.full((len(references), NEIGHBOURS), np.inf)
    padded = np.concatenate([-edge, references, edge], axis=1)
    at = below + np.arange(0, padded.size, padded.shape[1])[:, None]
    near = [padded.take(at + i) for i in range(2 * NEIGHBOURS)]
    best = np.full(queries.shape, np.inf)
    with np.errstate(invalid="ignore"):
        # The third nearest lies at the far end of the closest of the windows of three.
        for i in range(NEIGHBOURS + 1):
            ends = np.maximum(queries - near[i], near[i + NEIGHBOURS - 1] - queries)
            best = np.fmin(best, ends)
    return best
