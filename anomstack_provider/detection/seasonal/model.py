"""
The models of the seasonal recipe: what they are and how they are fitted.

What is expected of a bucket is the season of its calendar slot on a level that follows slowly. Four questions are asked
of it: is its deviation unlike those before, is its change since the last bucket, is the mean deviation of the newest
four, has the value stopped moving? Each answer is a surprise, minus the log of a probability estimated out of sample:
the season of a stretch of time is that of the rest of the training window, and so are its neighbours. The largest
surprise is what the bucket says, and how often that happens in a usual month is its rate of false alarms, which the
score is another name for (see ``judgement``).

A young metric has too little to ask all this: with fewer than 50 points a bucket is judged by median and deviation
alone, with fewer than 100 by its season too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anomstack_provider.detection.grain import Grain
from anomstack_provider.detection.seasonal import arrays, noise, novelty, repeats, tails
from anomstack_provider.detection.seasonal import level as level_of
from anomstack_provider.detection.seasonal.grid import Grid, Slots
from anomstack_provider.detection.seasonal.repeats import UsualValues
from anomstack_provider.detection.seasonal.season import Fitter, season
from anomstack_provider.detection.seasonal.tails import Tails
from anomstack_provider.detection.series import Floats

MEDIAN, SEASONAL, FULL = "median", "seasonal", "full"
_SEASONAL_FROM, _FULL_FROM = 50, 100

MONTH = 30 * 86_400_000_000
_DAY = 86_400_000_000
# A level is the median of eight trailing means: a problem shorter than half of them does not become the level.
_BLOCKS = 8
_BLOCK, _BLOCK_OF_DAYS = 32, 8
# The tail of a member begins here; that of the peaks, which are large already, at their median.
_BEYOND, _PEAKS_BEYOND = 0.93, 0.5
# Distances grow faster in a tail than deviations; this power of them has a tail that is nearly exponential.
_POWER = 0.75
_LEAST_PEAKS = 60
# So many of the newest buckets make the mean of the third question.
SUSTAINED = 4
# No model looks further back than this.
MOST_COLUMNS = _BLOCK * _BLOCKS + SUSTAINED + 1
# Repeats come in runs: so many exceedances of their tail tell as much as one.
_RUN_CLUSTER = 4.0

# Values in their unit are not taken to be larger, so that their squares can be summed.
_LARGEST_RATIO = 1e150

Rows = NDArray[np.intp]


@dataclass(frozen=True)
class Member:
    """
    One question, of m metrics: what was seen before, and how seldom an answer is that large.

    :param references: sorted, NaN last, shape (m, n).
    :param unit: shape (m,).
    """

    references: NDArray[np.float32]
    unit: Floats
    tail: Tails

    def surprise_of(self, x: Floats) -> Floats:
        """Return the surprise of deviations, shape (m, k)."""
        # References are kept in single precision: what is no farther than they were rounded is at no distance.
        rounded = np.abs(x) * np.finfo(np.float32).eps
        near = np.maximum(novelty.distance(self.references, x) - rounded, 0.0)
        return self.tail.surprise_of(_bent(near, self.unit))

    def take(self, rows: Rows) -> Member:
        """Return the question of some of the metrics."""
        return Member(self.references[rows], self.unit[rows], self.tail.take(rows))


@dataclass(frozen=True)
class Full:
    """
    What m metrics with enough points are asked.

    :param repeat: tail of the length of runs of one value, times how telling a repeat is.
    :param peaks: largest surprise of each stretch of the training window, sorted, NaN last, shape (m, stretches).
    :param months: how long the peaks cover, shape (m,).
    :param up: tail of deviations above the expectation; ``down`` of those below, both as positive numbers.
    """

    deviation: Member
    change: Member
    sustained: Member
    repeat: Tails
    peaks: Floats
    months: Floats
    peak_tail: Tails
    up: Tails
    down: Tails

    def take(self, rows: Rows) -> Full:
        """Return what some of the metrics are asked."""
        return Full(
            deviation=self.deviation.take(rows),
            change=self.change.take(rows),
            sustained=self.sustained.take(rows),
            repeat=self.repeat.take(rows),
            peaks=self.peaks[rows],
            months=self.months[rows],
            peak_tail=self.peak_tail.take(rows),
            up=self.up.take(rows),
            down=self.down.take(rows),
        )


@dataclass(frozen=True)
class Panel:
    """
    The models of m metrics that have their columns and their rung in common; arrays of shape (m,) unless said.

    :param grain: length of the buckets.
    :param rung: how much there was to learn from: ``median``, ``seasonal`` or ``full``.
    :param points: how many values each was fitted to.
    :param unit: power of two that values are divided by; ``level``, ``usual`` and tables are in it.
    :param tables: season per slot, each of shape (m, slots).
    :param level: the newest level, for buckets without one of their own; ``base`` the median one.
    :param usual: what is expected of the middling bucket, the reference of ``growth``.
    :param growth: exponent by which the deviation grows with the season's expectation (Taylor 1961), 0 to 1.
    :param memory: share of a deviation that is left one bucket later, 0 to 1.
    :param still: minus log of the share of buckets that repeat the one before: how telling a repeat is.
    :param spread: robust standard deviation, for the first two rungs.
    :param floor: no bucket is expected below it, 0 for a metric that never was negative.
    """

    grain: Grain
    grid: Grid
    rung: str
    block: int
    blocks: int
    points: NDArray[np.int64]
    unit: Floats
    tables: tuple[Floats, ...]
    level: Floats
    base: Floats
    usual: Floats
    growth: Floats
    memory: Floats
    still: Floats
    usual_values: UsualValues
    spread: Floats
    floor: Floats
    full: Full | None

    @property
    def reach(self) -> int:
        """How many columns before a bucket its score depends on."""
        return self.block * self.blocks + SUSTAINED

    def take(self, rows: Rows) -> Panel:
        """Return the models of some of the metrics."""
        return Panel(
            grain=self.grain,
            grid=self.grid,
            rung=self.rung,
            block=self.block,
            blocks=self.blocks,
            points=self.points[rows],
            unit=self.unit[rows],
            tables=tuple(table[rows] for table in self.tables),
            level=self.level[rows],
            base=self.base[rows],
            usual=self.usual[rows],
            growth=self.growth[rows],
            memory=self.memory[rows],
            still=self.still[rows],
            usual_values=self.usual_values.take(rows),
            spread=self.spread[rows],
            floor=self.floor[rows],
            full=self.full and self.full.take(rows),
        )


@dataclass(frozen=True)
class Fitted:
    """The model of one metric: its row of a panel."""

    panel: Panel
    row: int

    @property
    def grain(self) -> Grain:
        """Length of the metric's buckets."""
        return self.panel.grain

    @property
    def rung(self) -> str:
        """How much there was to learn from: ``median``, ``seasonal`` or ``full``."""
        return self.panel.rung


def blocks_for(grid: Grid, span: int) -> tuple[int, int]:
    """
    Return length and number of the blocks that a level is made of, all within ``span`` columns.

    Below a day 8 blocks of 32 buckets, else 8 of 8; fewer and shorter ones where no more is kept, never less than one.
    """
    block = _BLOCK if grid.microseconds < _DAY else _BLOCK_OF_DAYS
    room = span - SUSTAINED
    while block > 1 and block > room:
        block //= 2
    return block, int(np.clip(room // block, 1, _BLOCKS))


def fit(values: Floats, grain: Grain, grid: Grid, slots: Slots, span: int) -> list[tuple[Rows, Panel]]:
    """
    Fit many series on the same columns; each comes out as if it were fitted alone.

    :param values: shape (m, n), NaN where a bucket is missing; each row has at least one value, in the metric's unit.
    :param slots: slots of the columns.
    :param span: how many columns back a later bucket may look.
    :return: the rows of each rung that there is, and their models in that order.
    """
    counts = np.isfinite(values).sum(axis=1)
    seasonal = counts >= _SEASONAL_FROM
    full = (counts >= _FULL_FROM) & (values.shape[1] // _peak_size(grid, values.shape[1]) >= _BLOCKS)
    rungs = {MEDIAN: ~seasonal, SEASONAL: seasonal & ~full, FULL: full}
    with np.errstate(all="ignore"):
        return [
            (rows, _panel(values[rows], rung, grain, grid, slots, span))
            for rung, of_rung in rungs.items()
            if len(rows := np.flatnonzero(of_rung))
        ]


def _panel(values: Floats, rung: str, grain: Grain, grid: Grid, slots: Slots, span: int) -> Panel:
    counts = np.isfinite(values).sum(axis=1)
    unit = arrays.power_of_two(values)
    x = in_units(values, unit)
    lowest = np.nanmin(x, axis=1)
    block, blocks = blocks_for(grid, span)
    if rung == MEDIAN:
        tables: tuple[Floats, ...] = ()
        outside = np.zeros_like(x)
        level = np.repeat(arrays.median(x)[:, None], x.shape[1], axis=1)
        deviation = x - level
    else:
        fitter = Fitter(slots)
        flat = x - level_of.centred(x, block, blocks)
        tables = fitter.fit(flat)
        level, outside, deviation = _cross_fitted(fitter, x, flat, block, blocks)
    base, newest = arrays.median(level), level_of.last(level)
    expected = base[:, None] + outside
    usual, growth = noise.growth_of(expected, deviation, lowest)
    deviation = deviation / noise.factor(expected, usual, growth)
    memory = noise.memory_of(deviation)
    still = repeats.still(values, block)
    usual_values = repeats.usual_values(values)
    full = None
    if rung == FULL:
        runs = repeats.runs(values, block, blocks) * usual_values.telling(values, still)
        full = _full(x, deviation, memory, runs, grid)
    return Panel(
        grain=grain,
        grid=grid,
        rung=rung,
        block=block,
        blocks=blocks,
        points=counts,
        unit=unit,
        tables=tables,
        level=newest,
        base=base,
        usual=usual,
        growth=growth if rung == FULL else np.zeros_like(growth),
        memory=memory,
        still=still,
        usual_values=usual_values,
        spread=noise.spread_of(deviation, x, counts),
        floor=np.where(lowest >= 0, 0.0, -np.inf),
        full=full,
    )


def _full(x: Floats, deviation: Floats, memory: Floats, runs: Floats, grid: Grid) -> Full:
    """
    Return what the full rung has more.

    :param runs: length of the run of one value that each bucket ends, times how telling a repeat is.
    """
    folds = novelty.folds(x.shape[1])
    least = 1e-3 * np.maximum(arrays.median(np.abs(x)), 1e-12)
    rounding = 1e-9 * least
    surprises = []
    members = []
    for statistic in (deviation, changes(deviation, memory), sustained(deviation)):
        distances, ordered = novelty.cross_fitted(statistic, folds)
        sorted_distances, count = arrays.sort_last(distances)
        unit = arrays.quantile_of(sorted_distances, count, _BEYOND)
        # Values that differ by no more than their arithmetic's rounding are the same.
        smallest = np.nanmin(np.where(distances > rounding[:, None], distances, np.inf), axis=1)
        unit = np.where(unit > rounding, unit, np.where(np.isfinite(smallest), smallest, least))
        bent = _bent(sorted_distances, unit)
        tail = tails.fit_sorted(bent, count, _BEYOND, 0.01 * arrays.middle(bent, count))
        surprises.append(tail.surprise_of(_bent(distances, unit)))
        members.append(Member(ordered.astype(np.float32), unit, tail))
    repeat = tails.fit(runs, _BEYOND, 1.0, _RUN_CLUSTER)
    surprises.append(repeat.surprise_of(runs))
    together = np.fmax.reduce(surprises)
    size = _peak_size(grid, x.shape[1])
    number = x.shape[1] // size
    peaks = np.fmax.reduce(together[:, x.shape[1] - number * size :].reshape(len(x), number, size), axis=2)
    ordered_peaks, known_peaks = arrays.sort_last(peaks)
    of_deviation, of_change, of_sustained = members
    return Full(
        deviation=of_deviation,
        change=of_change,
        sustained=of_sustained,
        repeat=repeat,
        peaks=ordered_peaks,
        months=known_peaks * size * grid.microseconds / MONTH,
        peak_tail=tails.fit(peaks, _PEAKS_BEYOND, 1e-3),
        up=tails.fit(deviation, _BEYOND, 1e-9),
        down=tails.fit(-deviation, _BEYOND, 1e-9),
    )


def _cross_fitted(fitter: Fitter, x: Floats, flat: Floats, block: int, blocks: int) -> tuple[Floats, Floats, Floats]:
    """
    Return level, season and deviation of every bucket.

    The season of each fold is fitted to the others.

    :param flat: the values without their level, which the season is fitted to.
    """
    folds = novelty.folds(x.shape[1])
    outside = np.zeros_like(x)
    for number in np.unique(folds):
        own = folds == number
        tables = fitter.fit(np.where(own, np.nan, flat))
        outside[:, own] = season(tables, fitter.slots, x.shape)[:, own]
    rest = x - outside
    level = level_of.trailing(rest, block, blocks)
    level = np.where(np.isfinite(level), level, level_of.ahead_of(level, rest, block, blocks))
    return level, outside, rest - level


def changes(deviation: Floats, memory: Floats) -> Floats:
    """Return what of a deviation the one before does not explain; all of it where that is missing."""
    change = deviation - memory[:, None] * arrays.shifted(deviation, 1)
    return np.where(np.isfinite(change), change, deviation)


def sustained(deviation: Floats) -> Floats:
    """Return the mean deviation of each bucket and the three before it."""
    return arrays.trailing_mean(deviation, SUSTAINED, SUSTAINED / 2)


def in_units(values: Floats, unit: Floats) -> Floats:
    """Return the values in their unit; one that is beyond all measure as the largest that can be reckoned with."""
    return np.clip(values / unit[:, None], -_LARGEST_RATIO, _LARGEST_RATIO)


def _peak_size(grid: Grid, columns: int) -> int:
    """Return how many buckets share one peak: a day's, or fewer where that would leave less than sixty peaks."""
    return int(np.clip(_DAY // grid.microseconds, 1, max(columns // _LEAST_PEAKS, 1)))


def _bent(distances: Floats, unit: Floats) -> Floats:
    bent: Floats = (1.0 + distances / unit[:, None]) ** _POWER
    return bent
