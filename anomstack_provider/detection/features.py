"""
From a series to the rows that a PyOD detector sees: Anomstack's recipe.

Sort, resample, difference, smooth, lag, drop the incomplete: every feature row of a bucket is made of that bucket and a
fixed number of earlier points, and of nothing else, so it is the same to the bit whatever else was read beside it.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from anomstack_provider.detection.grain import to_utc
from anomstack_provider.detection.series import EMPTY, Floats, Series


class Recipe(Protocol):
    """The part of a batch's ``preprocess_params`` that this module reads."""

    @property
    def diff_n(self) -> int: ...
    @property
    def smooth_n(self) -> int: ...
    @property
    def lags_n(self) -> int: ...
    @property
    def freq(self) -> str | None: ...
    @property
    def freq_agg(self) -> str: ...


def reach(recipe: Recipe) -> int:
    """Return how many earlier points a feature row needs."""
    return max(recipe.diff_n, 0) + max(recipe.smooth_n - 1, 0) + max(recipe.lags_n, 0)


@np.errstate(over="ignore", invalid="ignore")  # a huge value makes rows that no detector takes, which then say so
def lag_matrix(values: Floats, recipe: Recipe) -> Floats:
    """
    Return the feature rows of ``values[reach:]``: the differenced, smoothed value and its lags, newest first.

    :return: shape (max(0, n - reach), lags_n + 1).
    """
    x = values
    if recipe.diff_n > 0:
        x = x[recipe.diff_n :] - x[: -recipe.diff_n]
    if recipe.smooth_n > 1:
        x = trailing_mean(x, recipe.smooth_n)
    width = max(recipe.lags_n, 0) + 1
    if len(x) < width:
        return np.empty((0, width))
    return np.ascontiguousarray(np.lib.stride_tricks.sliding_window_view(x, width)[:, ::-1])


def trailing_mean(values: Floats, count: int) -> Floats:
    """
    Return the mean of each point and the ``count - 1`` before it, shape (max(0, n - count + 1),).

    Summed window by window in one order: a running sum would carry rounding from wherever it began.
    """
    n = len(values) - count + 1
    if n <= 0:
        return np.empty(0)
    total = values[:n].copy()
    for k in range(1, count):
        total += values[k : k + n]
    return total / count


def resample(series: Series, freq: str, how: str, timezone: str, since: np.datetime64 | None = None) -> Series:
    """
    Return one value per ``freq`` bucket of the calendar of ``timezone``; a bucket without points stays a gap.

    :param since: where the reading of the points began, None for all there are: a bucket that begins earlier lacks some
        of its points and is left out.
    """
    if len(series) == 0:
        return EMPTY
    import pandas as pd
    from pandas.tseries.frequencies import to_offset

    offset = to_offset(freq)
    points = pd.Series(series.values, index=pd.DatetimeIndex(series.times, tz="UTC").tz_convert(timezone))
    # No bin may depend on the first point that was read, so all are anchored. Hours and minutes count elapsed time;
    # days and longer follow the calendar, whose days may have 23 or 25 hours, and so are cut on the wall clock.
    elapsed = isinstance(offset, pd.offsets.Tick) and not isinstance(offset, pd.offsets.Day)
    if elapsed:
        bins = points.resample(offset, origin=pd.Timestamp("2001-01-01", tz=timezone))
    elif isinstance(offset, pd.offsets.Day):
        bins = points.tz_localize(None).resample(offset, origin="epoch")
    else:
        bins = points.tz_localize(None).resample(offset, closed="left", label="left")
    values = (bins.sum() if how == "sum" else bins.agg(how)).where(bins.count() > 0).dropna()
    starts = pd.DatetimeIndex(values.index)
    if elapsed:
        times = starts.tz_convert("UTC").tz_localize(None).to_numpy().astype("datetime64[us]")
    else:
        times = to_utc(starts.to_numpy().astype("datetime64[us]"), timezone)
    known = slice(0 if since is None else int(np.searchsorted(times, since)), None)
    return Series(times[known], np.asarray(values.to_numpy(), np.float64)[known])
