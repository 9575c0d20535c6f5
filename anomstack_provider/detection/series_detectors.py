"""
PyOD detectors of series: one small class per question, usable in ``model_configs`` by name beside any PyOD class.

PyOD 3.6's own (run on it): MatrixProfile is transductive, it cannot score new data. TimeSeriesOD, SAND and KShape score
a row also by the windows that end after it, SpectralResidual by all rows of a call. The other two need torch.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import KDTree

from anomstack_provider.detection.grain import to_local, to_utc
from anomstack_provider.detection.seasonal import arrays, level, novelty
from anomstack_provider.detection.seasonal.grid import DAYS, ELAPSED, MONTHS
from anomstack_provider.detection.seasonal.season import Fitter, season
from anomstack_provider.detection.series import Floats
from anomstack_provider.detection.series_detector import Rows, SeriesDetector, scale_of

_HOUR = 3_600_000_000
_DAY = 24 * _HOUR
_BLOCKS = 8


class _OnLevel(SeriesDetector):
    """A detector of what season and level leave over; levels are medians of eight blocks of ``block_`` columns."""

    # Columns per block, below a day and from a day on; fewer where the training rows are few.
    _below_a_day, _from_a_day = 32, 8
    # How many levels one after the other a score is made of.
    _levels = 1

    @property
    def reach(self) -> int:
        """See :class:`SeriesDetector`."""
        block: int | None = getattr(self, "block_", None)
        if block is None:
            grain = self._known_grain()
            daily = grain is not None and grain.unit in ("d", "w", "mo")
            block = self._from_a_day if daily else self._below_a_day
        return block * _BLOCKS * self._levels

    def _learn_season(self, rows: Rows) -> None:
        block = self._below_a_day if self.grid_.microseconds < _DAY else self._from_a_day
        while block > 1 and 2 * block * _BLOCKS * self._levels > len(rows):
            block //= 2
        self.block_ = block
        self.base_ = float(np.median(rows.x))
        placed, at = rows.placed(rows.x, self.reach)
        found = level.trailing(placed, block, _BLOCKS, least=1)[0]
        around = found[np.minimum(at + block * _BLOCKS // 2, len(found) - 1)]
        around = np.where(np.isfinite(around), around, self.base_)
        self.tables_ = tuple(table[0] for table in Fitter(self._slots(rows)).fit((rows.x - around)[None]))

    def _seasonless(self, rows: Rows) -> Floats:
        tables = tuple(table[None] for table in self.tables_)
        return np.asarray(rows.x - season(tables, self._slots(rows), (1, len(rows)))[0])


class SeasonalResidual(_OnLevel):
    r"""
    Distance of a value from season plus level, in robust standard deviations.

    .. math:: |y_t - s_{slot(t)} - l_t| / (1.4826\,\mathrm{median}_i |r_i|)

    The season is nested medians of hour of day, hour of weekdays and of weekends, hour of week; of weekday and day of
    month for days; of month of year. Each counts as far as the training rows bear it out, which is how the period comes
    from the data. The level is the median of the means of the eight blocks of 32 buckets (8 from a day on) before the
    row: anomalies shorter than half of them do not move it. Robust decomposition after Hochenbaum, Vallis and
    Kejariwal, "Automatic anomaly detection in the cloud via statistical learning" (2017); shrinkage of the seasons
    after Efron and Morris (1973).
    """

    def _learn(self, rows: Rows) -> Floats:
        self._learn_season(rows)
        rest = self._seasonless(rows)
        before = self._before(rows, rest)
        known = np.flatnonzero(np.isfinite(before))
        self.level_ = float(before[known[-1]]) if len(known) else float(np.median(rest))
        # The first rows have no level before them; the usual one stands in, in training only.
        residual = rest - np.where(np.isfinite(before), before, np.median(rest))
        self.scale_ = scale_of(residual)
        return np.abs(residual) / self.scale_

    def _scores(self, rows: Rows) -> Floats:
        rest = self._seasonless(rows)
        before = self._before(rows, rest)
        return np.asarray(np.abs(rest - np.where(np.isfinite(before), before, self.level_)) / self.scale_)

    def _before(self, rows: Rows, rest: Floats) -> Floats:
        placed, at = rows.placed(rest, self.reach)
        return np.asarray(arrays.shifted(level.trailing(placed, self.block_, _BLOCKS, least=1), 1)[0, at])


class SlowDrift(_OnLevel):
    r"""
    Change of the level from one stretch of time to the next, on the series without its season.

    .. math:: |d_t - \mathrm{median}(d)| / (1.4826\,\mathrm{MAD}(d)),\quad d_t = l_t - l_{t-w}

    Each level is the median of eight means of 16 buckets (2 from a day on), so ``w`` is 128 buckets, or 16: a drift
    that no single bucket shows adds up, an outlier does not. A trend that always was there is the median, so not odd.
    Two adjacent windows as in Kifer, Ben-David and Gehrke, "Detecting change in data streams" (VLDB 2004).
    """

    _below_a_day, _from_a_day = 16, 2
    _levels = 2

    def _learn(self, rows: Rows) -> Floats:
        self._learn_season(rows)
        drift = self._drift(rows)
        known = drift[np.isfinite(drift)]
        if not len(known):
            raise ValueError(f"SlowDrift needs {self.reach} training rows without long gaps")
        self.usual_ = float(np.median(known))
        self.scale_ = scale_of(known - self.usual_)
        return np.asarray(np.abs(drift - self.usual_) / self.scale_)

    def _scores(self, rows: Rows) -> Floats:
        return np.asarray(np.abs(self._drift(rows) - self.usual_) / self.scale_)

    def _drift(self, rows: Rows) -> Floats:
        placed, at = rows.placed(self._seasonless(rows), self.reach)
        # The level of a block or two is noise, which would look like drift.
        found = level.trailing(placed, self.block_, _BLOCKS, least=_BLOCKS // 2)
        return np.asarray((found - arrays.shifted(found, self.block_ * _BLOCKS))[0, at])


class SlotNeighbours(SeriesDetector):
    r"""
    Distance of the change since the same slot one season ago to the third nearest such change in training.

    .. math:: d^{(3)}(y_t - y_{t-s},\ \{y_i - y_{i-s}\}) / (1.4826\,\mathrm{median}_i |y_i - y_{i-s}|)

    The season ``s`` is a day by the clock of the time zone below daily grain, or a week when that leaves smaller
    changes; a week for days, a year for months. Training changes are compared with those of other fifths of the window
    only. An anomaly is odd once more one season later, when it is what is compared with. Seasonal differencing after
    Box and Jenkins (1970); the distance after Ramaswamy, Rastogi and Shim (SIGMOD 2000).
    """

    # Season and a change of the clocks; a longer season is not looked for.
    _most_rows = 2_160
    # A week must leave changes this much smaller than a day's.
    _better = 0.9
    # A season is a whole number of buckets but for this share of one.
    _near = 0.1

    @property
    def reach(self) -> int:
        """See :class:`SeriesDetector`."""
        days: int | None = getattr(self, "season_", None)
        if days is not None:
            return self._columns(days)
        grain = self._known_grain()
        if grain is None or grain.unit == "instant":
            return self._most_rows
        if grain.unit in ("min", "h"):
            step = int(grain.nominal.astype(np.int64))
            return min((7 * _DAY + 2 * _HOUR) // step, self._most_rows)
        return 12

    def _learn(self, rows: Rows) -> Floats:
        best, smallest = None, np.inf
        for candidate in self._candidates():
            self.season_ = candidate
            changes = self._changes(rows)
            known = changes[np.isfinite(changes)]
            if len(known) < max(len(rows) / 3, 2 * novelty.NEIGHBOURS):
                continue
            size = float(np.median(np.abs(known)))
            if best is None or size < self._better * smallest:
                best, smallest = candidate, size
        if best is None:
            self.__dict__.pop("season_", None)
            raise ValueError(
                "SlotNeighbours found no season: it needs buckets of half a day or less, of a day or of months, "
                "and a bucket one season earlier for a third of its training rows"
            )
        self.season_ = best
        changes = self._changes(rows)
        self.references_ = np.sort(changes[np.isfinite(changes)])
        self.scale_ = scale_of(self.references_)
        return np.asarray(novelty.cross_fitted(changes[None], novelty.folds(len(rows)))[0][0] / self.scale_)

    def _scores(self, rows: Rows) -> Floats:
        return np.asarray(novelty.distance(self.references_[None], self._changes(rows)[None])[0] / self.scale_)

    def _candidates(self) -> list[int]:
        """Return the seasons to try: days of elapsed time, else columns."""
        kind, step = self.grid_.kind, self.grid_.step
        if kind == ELAPSED:
            # Readings keep time only nearly; in a season of one bucket there are no slots.
            turns = {days: days * _DAY / step for days in (1, 7)}
            near = [days for days, turn in turns.items() if turn > 1.5 and abs(turn - round(turn)) < self._near]
            return [days for days in near if self._columns(days) <= self._most_rows]
        if kind == DAYS and step == 1:
            return [7]
        return [12 // step] if kind == MONTHS and 12 % step == 0 else []

    def _columns(self, season: int) -> int:
        if self.grid_.kind == ELAPSED:
            return (season * _DAY + 2 * _HOUR) // self.grid_.step
        return season

    def _changes(self, rows: Rows) -> Floats:
        """Return the change of each row since its slot one season before, NaN where that has no row."""
        if self.grid_.kind == ELAPSED:
            local = to_local(rows.times, self.timezone) - np.timedelta64(self.season_ * _DAY, "us")
            then = to_utc(local, self.timezone)
            earlier = self.grid_.positions(then, self.timezone)
            exists = to_local(then, self.timezone) == local  # the clock may have skipped that hour
        else:
            earlier, exists = rows.columns - self.season_, np.array(True)
        at = np.maximum(np.searchsorted(rows.columns, earlier, side="right") - 1, 0)
        there = exists & (rows.columns[at] == earlier) & (rows.columns - earlier <= self.reach)
        return np.where(there, rows.x - rows.x[at], np.nan)


class WindowNeighbours(SeriesDetector):
    r"""
    Distance of the last ``window`` values to the ``neighbours``-th nearest such window in training.

    .. math:: d^{(k)}(z_{t-w+1..t}),\quad z = (y - \mathrm{median}) / (1.4826\,\mathrm{MAD})

    Euclidean, scaled by the training rows' median and MAD, not window by window: a level is part of a shape. In
    training, windows that share a bucket do not vouch for each other, as in the matrix profile (Yeh et al., ICDM 2016);
    the distance is of Ramaswamy, Rastogi and Shim (SIGMOD 2000). A window with a gap has nothing to say.

    :param window: values per window, at least 2.
    :param neighbours: which nearest window counts, at least 1.
    """

    # The newest windows are enough: searching among more costs much and tells little.
    _most_windows = 5_000

    def __init__(
        self,
        window: int = 8,
        neighbours: int = 3,
        contamination: float = 0.1,
        grain: str | None = None,
        timezone: str = "UTC",
    ) -> None:
        super().__init__(contamination=contamination, grain=grain, timezone=timezone)
        if window < 2 or neighbours < 1:
            raise ValueError(f"window must be at least 2, neighbours at least 1; got {window} and {neighbours}")
        self.window = window
        self.neighbours = neighbours

    @property
    def reach(self) -> int:
        """See :class:`SeriesDetector`."""
        return self.window - 1

    def _learn(self, rows: Rows) -> Floats:
        self.center_ = float(np.median(rows.x))
        self.scale_ = scale_of(rows.x - self.center_)
        windows, whole = self._windows(rows)
        newest = whole[-self._most_windows :]
        self.windows_ = np.ascontiguousarray(windows[-self._most_windows :])
        scores = np.full(len(rows), np.nan)
        # That many at most share a bucket with the window itself.
        wanted = min(self.neighbours + 2 * self.window - 1, len(newest))
        if wanted < self.neighbours:
            return scores
        distance, index = KDTree(self.windows_).query(windows, k=wanted)
        apart = np.abs(rows.columns[newest][index] - rows.columns[whole][:, None]) >= self.window
        order = np.cumsum(apart, axis=1)
        first = np.argmax(apart & (order == self.neighbours), axis=1)
        found = order[:, -1] >= self.neighbours
        scores[whole[found]] = distance[np.flatnonzero(found), first[found]]
        return scores

    def _scores(self, rows: Rows) -> Floats:
        scores = np.full(len(rows), np.nan)
        windows, whole = self._windows(rows)
        if len(whole):
            # Built anew: what is stored stays small, and a tree of the same windows answers the same.
            scores[whole] = KDTree(self.windows_).query(windows, k=self.neighbours)[0][:, -1]
        return scores

    def _windows(self, rows: Rows) -> tuple[Floats, NDArray[np.intp]]:
        """Return the windows without a gap, shape (m, window), and the rows that they end at."""
        last = self.window - 1
        if len(rows) <= last:
            return np.empty((0, self.window)), np.empty(0, np.intp)
        scaled = np.clip((rows.x - self.center_) / self.scale_, -1e100, 1e100)
        windows = np.lib.stride_tricks.sliding_window_view(scaled, self.window)
        steps = np.lib.stride_tricks.sliding_window_view(np.diff(rows.columns), last)
        whole = np.flatnonzero((steps == 1).all(axis=1))
        return np.ascontiguousarray(windows[whole]), whole + last


class FlatLine(SeriesDetector):
    r"""
    How long a value has not moved, times how telling it is that it does not.

    .. math:: \max(0,\ -r_t \log p - u),\quad u = \max(\log n,\ Q_{0.99}(-r \log p))

    ``r`` is the number of rows in a row that repeat the one before, at most ``reach``; ``p`` the share of repeats among
    the n training rows, by Laplace's rule of succession. Were repeats independent, a run of chance ``p ** r = 1 / n``
    comes once in n rows: up to there, or up to what one row in a hundred has, a run is usual. Runs of success: Feller,
    "An Introduction to Probability Theory" I, XIII.7. A repeat across more than ``gap`` missing buckets is none.
    """

    _most, _gap, _usual = 128, 32, 0.99

    @property
    def reach(self) -> int:
        """See :class:`SeriesDetector`."""
        return self._most

    def _learn(self, rows: Rows) -> Floats:
        runs = self._runs(rows)
        self.still_ = float(-np.log((np.count_nonzero(runs) + 1) / (len(rows) + 1)))
        usual = float(arrays.quantile(runs[None] * self.still_, self._usual)[0])
        self.usual_ = max(float(np.log(len(rows))), usual)
        return self._scores(rows)

    def _scores(self, rows: Rows) -> Floats:
        return np.maximum(self._runs(rows) * self.still_ - self.usual_, 0.0)

    def _runs(self, rows: Rows) -> Floats:
        same = (rows.values[1:] == rows.values[:-1]) & (np.diff(rows.columns) <= self._gap + 1)
        number = np.arange(len(rows))
        moved = np.maximum.accumulate(np.where(np.concatenate([[False], same]), 0, number))
        return np.minimum(number - moved, self._most).astype(np.float64)
