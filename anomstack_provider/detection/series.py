"""One metric's series as two arrays, and the split of a batch's rows into series, done once."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

Times: TypeAlias = NDArray[np.datetime64]
Floats: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Series:
    """
    Values of one metric in time.

    :param times: starts of the buckets, ``datetime64[us]`` in UTC, strictly increasing, shape (n,).
    :param values: finite values, shape (n,).
    """

    times: Times
    values: Floats

    def __len__(self) -> int:
        return len(self.times)

    def before(self, moment: np.datetime64) -> int:
        """Return how many points start before ``moment``."""
        return int(self.times.searchsorted(moment, side="left"))

    def slice(self, start: int, stop: int) -> Series:
        """Return the points ``start`` to ``stop`` as a view."""
        return Series(self.times[start:stop], self.values[start:stop])


EMPTY = Series(np.empty(0, "datetime64[us]"), np.empty(0, np.float64))


def split(frame: pd.DataFrame, value: str = "metric_value") -> dict[str, Series]:
    """
    Return one series per metric name of rows sorted by name and time, without the rows that have no finite value.

    No row of ours is without one; in a table that another tool wrote it is missing.

    :param frame: columns ``metric_name``, ``metric_timestamp`` (naive UTC) and ``value``.
    """
    finite = np.isfinite(frame[value].to_numpy(np.float64))
    if not finite.all():
        frame = frame[finite]
    return {
        name: Series(times, values.astype(np.float64, copy=False))
        for name, (times, values) in split_columns(frame, value).items()
    }


def split_columns(frame: pd.DataFrame, *columns: str) -> dict[str, tuple[NDArray[Any], ...]]:
    """Return per metric name its times (``datetime64[us]``) followed by the named columns, as arrays."""
    if frame.empty:
        return {}
    names = frame["metric_name"].to_numpy(object)
    arrays = [frame["metric_timestamp"].to_numpy().astype("datetime64[us]")]
    arrays += [frame[column].to_numpy() for column in columns]
    starts = np.flatnonzero(np.r_[True, names[1:] != names[:-1]]).tolist()
    parts = [slice(*ends) for ends in pairwise([*starts, len(names)])]
    return {str(names[part.start]): tuple(array[part] for array in arrays) for part in parts}
