"""
Robust pieces over arrays of many series: shape (m, n), time along the last axis, NaN where a bucket is missing.

Every number is made of its own row in one fixed order of operations, so a series gets the same bits in any company.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from anomstack_provider.detection.series import Floats

# The median absolute deviation of a normal distribution, times this, is its standard deviation.
MAD_TO_SIGMA = 1.4826


def shifted(x: Floats, steps: int) -> Floats:
    """Return the values ``steps`` buckets earlier, NaN where there are none."""
    out = np.full_like(x, np.nan)
    if steps < x.shape[-1]:
        out[..., steps:] = x[..., : x.shape[-1] - steps]
    return out


def trailing_mean(x: Floats, width: int, least: float) -> Floats:
    """
    Return the mean of each bucket and the ``width - 1`` before it; NaN with fewer than ``least`` values among them.

    Summed by doubling, so a mean depends on its own window only and never on where the array begins.

    :param width: a power of two.
    """
    known = np.isfinite(x)
    total, count = np.where(known, x, 0.0), known.astype(np.float64)
    done = 1
    while done < width:
        total[..., done:] = total[..., done:] + total[..., :-done]
        count[..., done:] = count[..., done:] + count[..., :-done]
        done *= 2
    return np.where(count >= least, total / np.maximum(count, 1.0), np.nan)


def sort_last(x: Floats) -> tuple[Floats, NDArray[np.intp]]:
    """Return each row sorted, NaN last, and how many values it has, shape (m,)."""
    return np.sort(x, axis=-1), np.isfinite(x).sum(axis=-1)


def search(ordered: Floats, x: Floats) -> NDArray[np.intp]:
    """Return how many values of its row, sorted with NaN last, are less than each ``x``, shape (m, k)."""
    return np.stack([np.searchsorted(row, wanted) for row, wanted in zip(ordered, x, strict=True)])


def middle(ordered: Floats, count: NDArray[np.intp]) -> Floats:
    """Return the medians of rows sorted by :func:`sort_last`; NaN for an empty one."""
    low = np.take_along_axis(ordered, np.maximum(count - 1, 0)[..., None] // 2, axis=-1)[..., 0]
    high = np.take_along_axis(ordered, np.minimum(count // 2, ordered.shape[-1] - 1)[..., None], axis=-1)[..., 0]
    return np.where(count > 0, (low + high) / 2, np.nan)


def median(x: Floats) -> Floats:
    """Return the median of each row without its NaN, shape (m,)."""
    return middle(*sort_last(x))


def spread(x: Floats) -> Floats:
    """Return a robust standard deviation of each row around its median, shape (m,)."""
    return MAD_TO_SIGMA * median(np.abs(x - median(x)[..., None]))


def median_across(x: Floats) -> tuple[Floats, NDArray[np.intp]]:
    """
    Return the medians of a few arrays, place by place, NaN where there is no value, and how many values there are.

    They are sorted by a network of comparisons of whole arrays (Batcher, "Sorting networks and their applications",
    AFIPS 1968), which for so few takes a third of the time that NumPy takes to sort one short row after another.

    :param x: shape (k, m, n); it is overwritten.
    """
    missing = np.isnan(x)
    count = len(x) - missing.sum(axis=0)
    x[missing] = np.inf
    less = np.empty_like(x[0])
    for i, j in _comparisons(len(x)):
        np.minimum(x[i], x[j], out=less)
        np.maximum(x[i], x[j], out=x[j])
        x[i] = less
    at = np.arange(count.size).reshape(count.shape)
    low, high = np.maximum(count - 1, 0) // 2, np.minimum(count // 2, len(x) - 1)
    medians = (x.take(low * count.size + at) + x.take(high * count.size + at)) / 2
    return np.where(count > 0, medians, np.nan), count


@cache
def _comparisons(count: int) -> tuple[tuple[int, int], ...]:
    """Return which places to put in order, one pair after the other, to have ``count`` of them sorted."""
    pairs = []
    run = 1
    while run < count:
        step = run
        while step:
            for start in range(step % run, count - step, 2 * step):
                for i in range(start, min(start + step, count - step)):
                    if i // (2 * run) == (i + step) // (2 * run):
                        pairs.append((i, i + step))
            step //= 2
        run *= 2
    return tuple(pairs)


def quantile(x: Floats, share: float) -> Floats:
    """Return the value of each row that a share of its values does not exceed, shape (m,)."""
    return quantile_of(*sort_last(x), share)


def quantile_of(ordered: Floats, count: NDArray[np.intp], share: float) -> Floats:
    """Return :func:`quantile` of rows sorted by :func:`sort_last`."""
    at = np.clip((share * count).astype(np.intp), 0, np.maximum(count - 1, 0))
    return np.take_along_axis(ordered, at[..., None], axis=-1)[..., 0]


def power_of_two(values: Floats) -> Floats:
    """Return a power of two near the usual size of each row: dividing by it costs no precision."""
    # Halved, for the sum of the two in the middle may be beyond the largest number.
    size = 2 * median(np.abs(values) / 2)
    size = np.where(size > 0, size, np.nanmax(np.abs(values), axis=1))
    return np.where(size > 0, np.ldexp(1.0, np.frexp(size)[1] - 1), 1.0)
