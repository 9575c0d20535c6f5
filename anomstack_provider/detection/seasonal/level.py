"""The level of a metric: the median of trailing means, which follows slowly and does not mind a short problem."""

from __future__ import annotations

import numpy as np

from anomstack_provider.detection.seasonal import arrays
from anomstack_provider.detection.series import Floats

# With fewer means there is no level: the median of two is at the mercy of one extreme value.
_LEAST_BLOCKS = 3


def trailing(x: Floats, block: int, blocks: int, newest: int | None = None, least: int = _LEAST_BLOCKS) -> Floats:
    """
    Return the median of the means of the ``blocks`` blocks that end at each bucket.

    :param block: buckets per block, a power of two; a mean needs a quarter of them.
    :param newest: only so many of the newest buckets are asked for; the others are NaN.
    :param least: NaN with fewer means than these.
    """
    means = arrays.trailing_mean(x, block, max(block / 4, 1))
    first = 0 if newest is None else max(x.shape[1] - newest, 0)
    parts = [arrays.shifted(means, block * i)[:, first:] for i in range(blocks)]
    level = np.full(x.shape, np.nan)
    medians, count = arrays.median_across(np.stack(parts))
    level[:, first:] = np.where(count >= min(least, blocks), medians, np.nan)
    return level


def centred(x: Floats, block: int, blocks: int) -> Floats:
    """Return the level that lies around each bucket, the median of the row where there is none."""
    return ahead_of(trailing(x, block, blocks), x, block, blocks)


def ahead_of(level: Floats, x: Floats, block: int, blocks: int) -> Floats:
    """Return the trailing level of half its length later, the median of ``x`` where there is none."""
    ahead = np.minimum(np.arange(x.shape[1]) + block * blocks // 2, x.shape[1] - 1)
    centred = np.take(level, ahead, axis=1)
    return np.where(np.isfinite(centred), centred, arrays.median(x)[:, None])


def last(level: Floats) -> Floats:
    """Return the newest level of each row that is known."""
    known = np.isfinite(level)
    at = level.shape[1] - 1 - np.argmax(known[:, ::-1], axis=1)
    return np.asarray(level[np.arange(len(level)), at])
