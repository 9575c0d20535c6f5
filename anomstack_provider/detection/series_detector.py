"""
What series detectors have in common: rows of time and value onto the grid, scores by a fixed reach, PyOD's contract.

A series detector scores a row by that row and at most ``reach`` rows before it, in one fixed order of operations, so a
score is the same to the bit whatever else is in ``X``. The detectors themselves are in ``series_detectors``.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pyod.models.base import BaseDetector

from anomstack_provider.detection import grain as grains
from anomstack_provider.detection.grain import Grain
from anomstack_provider.detection.seasonal import arrays
from anomstack_provider.detection.seasonal.grid import ORDER, Grid, Slots, grid_of, slots_of
from anomstack_provider.detection.series import Floats, Times

# Fewer training rows tell nothing of what is usual.
LEAST_ROWS = 20
# Further from zero than so many units a value is as good as infinite; squares of it are still numbers.
_FAR = 1e100
# What a metric that never moved may move by, in units: a thousandth of its value.
_SMALLEST_SCALE = 1e-3
# Deviations of a constant from its own means, in units.
_ROUNDING = 1e-13
# Mean absolute deviation of a normal distribution, times this, is its standard deviation.
_MEAN_TO_SIGMA = 1.2533


@dataclass(frozen=True)
class Rows:
    """
    Rows on their grid, arrays of shape (n,).

    :param times: starts of the grid's buckets; of the readings themselves where those are irregular.
    :param columns: column of each row, not decreasing.
    :param values: in the metric's unit; ``x`` the same in the detector's unit, a power of two.
    """

    times: Times
    columns: NDArray[np.int64]
    values: Floats
    x: Floats

    def __len__(self) -> int:
        return len(self.columns)

    def slice(self, start: int, stop: int) -> Rows:
        """Return the rows ``start`` to ``stop`` as views."""
        part = slice(start, stop)
        return Rows(self.times[part], self.columns[part], self.values[part], self.x[part])

    def placed(self, x: Floats, reach: int) -> tuple[Floats, NDArray[np.int64]]:
        """
        Return ``x`` on consecutive columns, shape (1, columns), NaN in gaps, and the place of each row there.

        A gap longer than ``reach`` is as long as it: nobody looks across.
        """
        steps = np.minimum(np.diff(self.columns, prepend=self.columns[:1]), reach + 1)
        at = np.cumsum(steps)
        out = np.full((1, int(at[-1]) + 1), np.nan)
        out[0, at] = x
        return out, at


class SeriesDetector(BaseDetector):  # type: ignore[misc]
    """
    Base of the detectors that see a series instead of rows that each stand for themselves.

    ``X`` has shape (n, 2), rows in time order: start of the bucket in microseconds since 1970 UTC, and value.
    Scores are finite; a row about which a detector can say nothing gets the median score of the training rows.

    :param grain: length of the buckets, such as ``1h`` (see :func:`grain.parse`); None: read from the timestamps.
    :param timezone: whose calendar tells hours, weekdays and days.
    """

    def __init__(self, contamination: float = 0.1, grain: str | None = None, timezone: str = "UTC") -> None:
        super().__init__(contamination=contamination)
        self.grain = grain
        self.timezone = timezone

    @property
    @abstractmethod
    def reach(self) -> int:
        """How many rows before a row its score may depend on; before ``fit``, the most it may come to."""

    def fit(self, X: ArrayLike, y: object = None) -> SeriesDetector:
        """
        Learn from training rows; ``y`` is ignored.

        :raises ValueError: the rows are not as the class says, are too few, or have nothing that this class looks at.
        """
        times, values = _checked(X)
        if len(times) < LEAST_ROWS:
            raise ValueError(f"{type(self).__name__} needs at least {LEAST_ROWS} training rows, got {len(times)}")
        self._set_n_classes(None)
        found = grains.parse(self.grain) if self.grain else grains.infer(times, self.timezone)
        self.grid_: Grid = grid_of(times, found, self.timezone)
        self.unit_ = float(arrays.power_of_two(values[None])[0])
        with np.errstate(all="ignore"):
            scores = self._learn(self._rows(times, values))
            known = np.isfinite(scores)
            if not known.any():
                raise ValueError(f"{type(self).__name__} found no training row that it can score, of {len(times)}")
            self.neutral_ = float(np.median(scores[known]))
            self.decision_scores_ = np.where(known, scores, self.neutral_)
            self._process_decision_scores()
        return self

    def decision_function(self, X: ArrayLike) -> Floats:
        """Return the score of every row, shape (n,), the higher the odder."""
        if not hasattr(self, "neutral_"):
            raise ValueError(f"{type(self).__name__} is not fitted: call fit first")
        times, values = _checked(X)
        if not len(times):
            return np.empty(0)
        rows, reach = self._rows(times, values), self.reach
        with np.errstate(all="ignore"):
            scores = self._scores(rows)
            # Rows that share a column hide each other; those that see it are scored from what they may see.
            crowded = np.flatnonzero(np.diff(rows.columns) <= 0)
            for i in _seeing(crowded, reach, len(rows)).tolist():
                scores[i] = self._scores(rows.slice(max(i - reach, 0), i + 1))[-1]
        return np.where(np.isfinite(scores), scores, self.neutral_)

    @abstractmethod
    def _learn(self, rows: Rows) -> Floats:
        """Set what is learnt from the training rows and return their scores, NaN where there is nothing to say."""

    @abstractmethod
    def _scores(self, rows: Rows) -> Floats:
        """Return the scores of rows on increasing columns, NaN where there is nothing to say."""

    def _known_grain(self) -> Grain | None:
        return grains.parse(self.grain) if self.grain else None

    def _slots(self, rows: Rows) -> Slots:
        return slots_of(self.grid_, rows.times, self.timezone)

    def _rows(self, times: Times, values: Floats) -> Rows:
        columns = self.grid_.positions(times, self.timezone)
        starts = times if self.grid_.kind == ORDER else self.grid_.times(columns, self.timezone)
        with np.errstate(over="ignore"):
            return Rows(starts, columns, values, np.clip(values / self.unit_, -_FAR, _FAR))


def scale_of(deviation: Floats) -> float:
    """Return a robust standard deviation around 0 that is never zero: not even where most counts are equal."""
    size = np.abs(deviation[np.isfinite(deviation)])
    if not len(size):
        return _SMALLEST_SCALE
    found = arrays.MAD_TO_SIGMA * float(np.median(size)) or _MEAN_TO_SIGMA * float(np.mean(size))
    return found if found > _ROUNDING else _SMALLEST_SCALE


def _checked(X: ArrayLike) -> tuple[Times, Floats]:
    rows = np.asarray(X, np.float64)
    if rows.ndim != 2 or rows.shape[1] != 2:
        raise ValueError(f"a series detector takes rows of (microseconds since 1970, value), got shape {rows.shape}")
    if not np.isfinite(rows).all():
        raise ValueError("a series detector takes finite numbers only: leave out the rows of buckets without a value")
    if (np.diff(rows[:, 0]) <= 0).any():
        raise ValueError("a series detector takes rows in time order, one per timestamp")
    return rows[:, 0].astype(np.int64).astype("datetime64[us]"), np.ascontiguousarray(rows[:, 1])


def _seeing(crowded: NDArray[np.intp], reach: int, rows: int) -> NDArray[np.intp]:
    """Return the rows whose reach holds a row ``i`` that has the column of row ``i + 1``."""
    sees = np.zeros(rows + 1, np.int64)
    np.add.at(sees, crowded, 1)
    np.add.at(sees, np.minimum(crowded + 1 + reach + 1, rows), -1)
    return np.flatnonzero(np.cumsum(sees[:rows]) > 0)
