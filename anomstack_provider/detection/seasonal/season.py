"""
The season of a metric: nested medians per calendar slot, each trusted as far as the data bear it out.

A slot's median is shrunk towards that of the coarser season by the share of its variance that is not noise, as in
empirical Bayes (Efron and Morris 1973): hours of the week become hours of the day where weekdays do not differ.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from anomstack_provider.detection.seasonal.arrays import MAD_TO_SIGMA, median, median_across, middle, sort_last
from anomstack_provider.detection.seasonal.grid import Slots
from anomstack_provider.detection.series import Floats

# The variance of a median is that of a mean, times this, for a normal distribution.
_MEDIAN_VARIANCE = np.pi / 2

# So many values of a slot are sorted faster side by side than one slot after another.
_FEW = 8

Tables = tuple[Floats, ...]


class Fitter:
    """Fits seasons to many series on the same columns; what depends on the columns only is worked out once."""

    def __init__(self, slots: Slots) -> None:
        self.slots = slots
        self._members = [slot_members(key, size) for key, size in zip(slots.keys, slots.sizes, strict=True)]

    def fit(self, x: Floats) -> Tables:
        """Return one table per season, shape (m, slots), for series of shape (m, n)."""
        tables = []
        for key, members, least in zip(self.slots.keys, self._members, self.slots.least, strict=True):
            table = _shrunk(x, key, members, self.slots.per_visit, least)
            tables.append(table)
            x = x - np.take(table, key, axis=1)
        return tuple(tables)


def season(tables: Tables, slots: Slots, shape: tuple[int, int]) -> Floats:
    """Return the season of buckets with these slots, shape (m, n)."""
    total = np.zeros(shape)
    for table, key in zip(tables, slots.keys, strict=True):
        total = total + np.take(table, key, axis=1)
    return total


def slot_members(key: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Return the columns of each slot, shape (size, most), padded with the number of columns."""
    counts = np.bincount(key, minlength=size)
    members = np.full((size, max(int(counts.max(initial=0)), 1)), len(key))
    order = np.argsort(key, kind="stable")
    place = np.arange(len(key)) - np.repeat(np.cumsum(counts) - counts, counts)
    members[key[order], place] = order
    return members


def _shrunk(x: Floats, key: NDArray[np.int64], members: NDArray[np.int64], per_visit: int, least: int) -> Floats:
    # The buckets of one visit tell little more than one of them.
    medians, count = _slot_medians(np.concatenate([x, np.full((len(x), 1), np.nan)], axis=1), members)
    visits = count / per_visit
    counted = np.where(visits >= least, visits, 0.0)
    table = np.where(counted > 0, medians, 0.0)
    noise = (MAD_TO_SIGMA * median(np.abs(x - np.take(table, key, axis=1)))) ** 2 * _MEDIAN_VARIANCE
    noise = np.where(np.isfinite(noise), noise, 0.0)[:, None]
    weight = np.maximum(counted.sum(axis=1, keepdims=True), 1.0)
    slots = (counted > 0).sum(axis=1, keepdims=True)
    signal = np.maximum(((table**2 * counted).sum(axis=1, keepdims=True) - noise * slots) / weight, 0.0)
    own = noise / np.maximum(counted, 1.0)
    share = np.divide(signal, signal + own, out=np.zeros_like(table), where=signal + own > 0)
    shrunk: Floats = table * share
    return shrunk


def _slot_medians(padded: Floats, members: NDArray[np.int64]) -> tuple[Floats, NDArray[np.intp]]:
    """Return the median of each slot and how many values it has, shape (m, slots)."""
    if members.shape[1] <= _FEW:
        return median_across(np.stack([np.take(padded, column, axis=1) for column in members.T]))
    # As np.take lays it out, row by row: sums run in the same order whatever the number of rows.
    ordered, count = sort_last(np.take(padded, members, axis=1))
    return middle(ordered, count), count
