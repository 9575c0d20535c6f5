"""
Fit and score the seasonal recipe.

What is expected of a bucket is the season of its calendar slot on a level that follows slowly. Four questions are asked
of it: is its deviation unlike those before, is its change since the last bucket, is the mean deviation of the newest
four, has the value stopped moving? Each answer is a surprise, minus the log of a probability estimated out of sample:
the season of a stretch of time is that of the rest of the training window, and so are its neighbours. The largest
surprise is what the bucket says, and how often that happens in a usual month is its rate of false alarms, which the
score is another name for.

A young metric has too little to ask all this: with fewer than 50 points a bucket is judged by median and deviation
alone, with fewer than 100 by its season too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anomstack_provider.detection.seasonal import arrays, noise, novelty, repeats, tails
from anomstack_provider.detection.seasonal import level as level_of
from anomstack_provider.detection.seasonal.grid import Grid, Slots
from anomstack_provider.detection.seasonal.season import Fitter, Tables, season
from anomstack_provider.detection.seasonal.tails import Tail
from anomstack_provider.detection.series import Floats

MEDIAN, SEASONAL, FULL = "median", "seasonal", "full"
_SEASONAL_FROM, _FULL_FROM = 50, 100

_MONTH = 30 * 86_400_000_000
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
_SUSTAINED = 4
# No model looks further back than this.
MOST_COLUMNS = _BLOCK * _BLOCKS + _SUSTAINED + 1
# So many of the largest peaks of a month may have been anomalies; what came more often is usual.
_ANOMALIES_PER_MONTH = 0.3
# Repeats come in runs: so many exceedances of their tail tell as much as one.
_RUN_CLUSTER = 4.0
# A cross-fitted bucket looks odder than a new one will, whose season and neighbours are nearer in time: peaks of the
# training window are about twice as frequent as those that follow (measured on twelve families of metrics).
_CROSS_FITTED_TWICE = 2.0

# Values in their unit are not taken to be larger, so that their squares can be summed; nor is a range wider than this.
_LARGEST_RATIO, _LARGEST = 1e150, float(np.finfo(np.float64).max)


@dataclass(frozen=True)
class Member:
    """One question: what was seen before, sorted, and how seldom an answer is that large."""

    references: NDArray[np.float32]
    unit: float
    tail: Tail

    def surprise_of(self, x: Floats) -> Floats:
        """Return the surprise of deviations, shape (n,)."""
        # References are kept in single precision: what is no farther than they were rounded is at no distance.
        rounded = np.abs(x) * np.finfo(np.float32).eps
        return self.tail.surprise_of(_bent(np.maximum(novelty.distance(self.references, x) - rounded, 0.0), self.unit))


@dataclass(frozen=True)
class Full:
    """
    What a metric with enough points is asked.

    :param repeat: tail of the length of runs of one value, times how telling a repeat is.
    :param peaks: largest surprise of each stretch of the training window, sorted; they cover ``months``.
    :param up: tail of deviations above the expectation; ``down`` of those below, both as positive numbers.
    """

    deviation: Member
    change: Member
    sustained: Member
    repeat: Tail
    peaks: Floats
    months: float
    peak_tail: Tail
    up: Tail
    down: Tail


@dataclass(frozen=True)
class Fitted:
    """
    The model of one metric.

    :param rung: how much there was to learn from: ``median``, ``seasonal`` or ``full``.
    :param unit: power of two that values are divided by; ``level``, ``usual`` and tables are in it.
    :param tables: season per slot, each of shape (slots,).
    :param level: the newest level, for buckets without one of their own; ``base`` the median one.
    :param usual: what is expected of the middling bucket, the reference of ``growth``.
    :param growth: exponent by which the deviation grows with the season's expectation (Taylor 1961), 0 to 1.
    :param memory: share of a deviation that is left one bucket later, 0 to 1.
    :param still: minus log of the share of buckets that repeat the one before: how telling a repeat is.
    :param usual_values: sorted values that came at least three times, and how telling each is; shape (2, values).
    :param spread: robust standard deviation, for the first two rungs.
    :param floor: no bucket is expected below it, 0 for a metric that never was negative.
    """

    rung: str
    grid: Grid
    points: int
    unit: float
    block: int
    blocks: int
    tables: tuple[Floats, ...]
    level: float
    base: float
    usual: float
    growth: float
    memory: float
    still: float
    usual_values: Floats
    spread: float
    floor: float
    full: Full | None

    @property
    def reach(self) -> int:
        """How many columns before a bucket its score depends on."""
        return self.block * self.blocks + _SUSTAINED


def blocks_for(grid: Grid, span: int) -> tuple[int, int]:
    """
    Return length and number of the blocks that a level is made of, all within ``span`` columns.

    Below a day 8 blocks of 32 buckets, else 8 of 8; fewer and shorter ones where no more is kept, never less than one.
    """
    block = _BLOCK if grid.microseconds < _DAY else _BLOCK_OF_DAYS
    room = span - _SUSTAINED
    while block > 1 and block > room:
        block //= 2
    return block, int(np.clip(room // block, 1, _BLOCKS))


def fit(values: Floats, grid: Grid, slots: Slots, span: int) -> list[Fitted]:
    """
    Fit many series on the same columns; each comes out as if it were fitted alone.

    :param values: shape (m, n), NaN where a bucket is missing; each row has at least one value, in the metric's unit.
    :param slots: slots of the columns.
    :param span: how many columns back a later bucket may look.
    """
    with np.errstate(all="ignore"):
        return _fit(values, grid, slots, span)


def _fit(values: Floats, grid: Grid, slots: Slots, span: int) -> list[Fitted]:
    counts = np.isfinite(values).sum(axis=1)
    unit = arrays.power_of_two(values)
    x = _in_units(values, unit[:, None])
    lowest = np.nanmin(x, axis=1)
    block, blocks = blocks_for(grid, span)
    fitter = Fitter(slots if counts.max() >= _SEASONAL_FROM else Slots((), ()))
    seasonal = (counts >= _SEASONAL_FROM)[:, None]
    flat = x - level_of.centred(x, block, blocks)
    tables = tuple(np.where(seasonal, table, 0.0) for table in fitter.fit(flat))
    level, outside, deviation = _cross_fitted(fitter, x, flat, block, blocks, seasonal)
    base, center = arrays.median(level), level_of.last(level)
    expected = base[:, None] + outside
    usual, growth = noise.growth_of(expected, deviation, lowest)
    deviation = deviation / noise.factor(expected, usual, growth)
    memory = noise.memory_of(deviation)
    still = repeats.still(values, block)
    usual_values = [repeats.usual_values(row) for row in values]
    telling = np.stack([repeats.telling(row, *own) for row, *own in zip(values, still, usual_values, strict=True)])
    spread = noise.spread_of(deviation, x, counts)

    size = _peak_size(grid, x.shape[1])
    full = np.flatnonzero((counts >= _FULL_FROM) & (x.shape[1] // size >= _BLOCKS))
    found: dict[int, Full] = {}
    if len(full):
        found = _full(
            x[full], values[full], deviation[full], memory[full], telling[full], grid, (block, blocks), size, full
        )
    models = []
    for i in range(len(values)):
        rung = FULL if i in found else SEASONAL if counts[i] >= _SEASONAL_FROM else MEDIAN
        models.append(
            Fitted(
                rung=rung,
                grid=grid,
                points=int(counts[i]),
                unit=float(unit[i]),
                block=block,
                blocks=blocks,
                tables=tuple(table[i].copy() for table in tables) if rung != MEDIAN else (),
                level=float(center[i]),
                base=float(base[i]),
                usual=float(usual[i]),
                growth=float(growth[i]) if rung == FULL else 0.0,
                memory=float(memory[i]),
                still=float(still[i]),
                usual_values=usual_values[i],
                spread=float(spread[i]),
                floor=0.0 if lowest[i] >= 0 else -np.inf,
                full=found.get(i),
            )
        )
    return models


def _full(
    x: Floats,
    values: Floats,
    deviation: Floats,
    memory: Floats,
    telling: Floats,
    grid: Grid,
    blocks: tuple[int, int],
    size: int,
    rows: NDArray[np.intp],
) -> dict[int, Full]:
    """Return what the full rung has more, by row."""
    folds = novelty.folds(x.shape[1])
    least = 1e-3 * np.maximum(arrays.median(np.abs(x)), 1e-12)
    rounding = 1e-9 * least
    surprises = []
    members = []
    for statistic in (deviation, _changes(deviation, memory), _sustained(deviation)):
        distances = novelty.cross_fitted(statistic, folds)
        unit = arrays.quantile(distances, _BEYOND)
        # Values that differ by no more than their arithmetic's rounding are the same.
        smallest = np.nanmin(np.where(distances > rounding[:, None], distances, np.inf), axis=1)
        unit = np.where(unit > rounding, unit, np.where(np.isfinite(smallest), smallest, least))
        bent = _bent(distances, unit[:, None])
        tail = tails.fit(bent, _BEYOND, 0.01 * arrays.median(bent))
        surprises.append(tail.surprise_of(bent))
        references, known = arrays.sort_last(statistic)
        members.append((references, known, unit, tail))
    runs = repeats.runs(values, *blocks) * telling
    repeat = tails.fit(runs, _BEYOND, 1.0, _RUN_CLUSTER)
    surprises.append(repeat.surprise_of(runs))
    together = np.fmax.reduce(surprises)
    number = x.shape[1] // size
    peaks = np.fmax.reduce(together[:, x.shape[1] - number * size :].reshape(len(x), number, size), axis=2)
    peak_tail = tails.fit(peaks, _PEAKS_BEYOND, 1e-3)
    up = tails.fit(deviation, _BEYOND, 1e-9)
    down = tails.fit(-deviation, _BEYOND, 1e-9)
    ordered, known_peaks = arrays.sort_last(peaks)
    out = {}
    for i, row in enumerate(rows.tolist()):
        deviation_member, change_member, sustained_member = (
            Member(references[i, : known[i]].astype(np.float32), float(unit[i]), tail.row(i))
            for references, known, unit, tail in members
        )
        out[row] = Full(
            deviation=deviation_member,
            change=change_member,
            sustained=sustained_member,
            repeat=repeat.row(i),
            peaks=ordered[i, : known_peaks[i]].copy(),
            months=float(known_peaks[i] * size * grid.microseconds / _MONTH),
            peak_tail=peak_tail.row(i),
            up=up.row(i),
            down=down.row(i),
        )
    return out


@dataclass(frozen=True)
class Judgement:
    """
    What the model says of some buckets, arrays of shape (n,).

    :param rate: natural log of the number of usual buckets a month, after clustering, that look at least as odd.
    :param expected: in the metric's unit, as are the ends of the range that a usual bucket leaves so seldom.
    """

    rate: Floats
    expected: Floats
    lower: Floats
    upper: Floats


def judge(fitted: Fitted, values: Floats, slots: Slots, budget: float) -> Judgement:
    """
    Judge consecutive buckets; each uses no other than itself and the ``reach`` columns before it.

    :param values: shape (n,), NaN where a bucket is missing.
    :param budget: false alarms a month that the range is drawn for.
    """
    with np.errstate(all="ignore"):
        return _judge(fitted, values, slots, budget)


def _judge(fitted: Fitted, values: Floats, slots: Slots, budget: float) -> Judgement:
    x = _in_units(values, fitted.unit)[None]
    tables: Tables = tuple(table[None] for table in fitted.tables)
    seasonal = season(tables, slots, x.shape) if tables else np.zeros(x.shape)
    full = fitted.full
    if full:
        # The first ``reach`` columns are there for what follows them: of these, their newest mean needs a level.
        newest = x.shape[1] - fitted.reach + _SUSTAINED
        level = level_of.trailing(x - seasonal, fitted.block, fitted.blocks, newest)
        level = np.where(np.isfinite(level), level, fitted.level)
    else:
        level = np.full(x.shape, fitted.level)
    expected = level + seasonal
    factor = noise.factor(fitted.base + seasonal, np.array([fitted.usual]), np.array([fitted.growth]))
    deviation = (x - expected) / factor
    buckets = np.log(_MONTH / fitted.grid.microseconds)
    if full:
        changes = _changes(deviation, np.array([fitted.memory]))
        runs = repeats.runs(values[None], fitted.block, fitted.blocks) * repeats.telling(
            values, fitted.still, fitted.usual_values
        )
        surprise = np.fmax.reduce(
            [
                full.deviation.surprise_of(deviation[0]),
                full.change.surprise_of(changes[0]),
                full.sustained.surprise_of(_sustained(deviation)[0]),
                full.repeat.surprise_of(runs[0]),
            ]
        )
        rate = _rate(full, surprise)
        wanted = buckets - np.log(budget)
        above, below = full.up.value_at(wanted), full.down.value_at(wanted)
    else:
        # Student's t of the distance from the median; a tail as heavy as few points call for.
        freedom = float(np.clip(fitted.points - 1, 1, 8))
        # log(1 + t^2 / freedom), by logarithms, for t may be beyond the largest number.
        log_t = np.log(np.abs(deviation[0])) - np.log(fitted.spread)
        rate = buckets - (freedom + 1) / 2 * np.logaddexp(0.0, 2 * log_t - np.log(freedom))
        reach = 2 * (buckets - np.log(budget)) / (freedom + 1)
        above = below = fitted.spread * float(np.sqrt(freedom * np.expm1(max(reach, 0.0))))
    known = np.isfinite(x[0])
    lower, middle, upper = (
        np.clip(np.maximum(value[0], fitted.floor) * fitted.unit, -_LARGEST, _LARGEST)
        for value in (expected - np.maximum(below, 0.0) * factor, expected, expected + np.maximum(above, 0.0) * factor)
    )
    return Judgement(np.where(known, rate, np.nan), middle, lower, upper)


def _rate(full: Full, surprise: Floats) -> Floats:
    """Return the log of how often a month a peak is that large, by the tail of the peaks and by their count."""
    by_tail = np.log(len(full.peaks) / full.months) - full.peak_tail.surprise_of(surprise)
    allowed = _ANOMALIES_PER_MONTH * max(full.months, 1.0)
    as_large = np.maximum(tails.rank_from_top(full.peaks, surprise) - allowed, 0.0)
    rate: Floats = np.maximum(by_tail, np.log(as_large / full.months)) - np.log(_CROSS_FITTED_TWICE)
    return rate


def _cross_fitted(
    fitter: Fitter, x: Floats, flat: Floats, block: int, blocks: int, seasonal: NDArray[np.bool_]
) -> tuple[Floats, Floats, Floats]:
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
    outside = np.where(seasonal, outside, 0.0)
    rest = x - outside
    level = level_of.trailing(rest, block, blocks)
    level = np.where(np.isfinite(level), level, level_of.ahead_of(level, rest, block, blocks))
    level = np.where(seasonal, level, arrays.median(rest)[:, None])
    return level, outside, rest - level


def _changes(deviation: Floats, memory: Floats) -> Floats:
    """Return what of a deviation the one before does not explain; all of it where that is missing."""
    change = deviation - memory[:, None] * arrays.shifted(deviation, 1)
    return np.where(np.isfinite(change), change, deviation)


def _sustained(deviation: Floats) -> Floats:
    """Return the mean deviation of each bucket and the three before it."""
    return arrays.trailing_mean(deviation, _SUSTAINED, _SUSTAINED / 2)


def _in_units(values: Floats, unit: Floats | float) -> Floats:
    """Return the values in their unit; one that is beyond all measure as the largest that can be reckoned with."""
    return np.clip(values / unit, -_LARGEST_RATIO, _LARGEST_RATIO)


def _peak_size(grid: Grid, columns: int) -> int:
    """Return how many buckets share one peak: a day's, or fewer where that would leave less than sixty peaks."""
    return int(np.clip(_DAY // grid.microseconds, 1, max(columns // _LEAST_PEAKS, 1)))


def _bent(distances: Floats, unit: Floats | float) -> Floats:
    bent: Floats = (1.0 + distances / unit) ** _POWER
    return bent
