"""What the models of the seasonal recipe say of buckets: how often a month brings one as odd, and what to expect."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from anomstack_provider.detection.seasonal import arrays, noise, repeats
from anomstack_provider.detection.seasonal import level as level_of
from anomstack_provider.detection.seasonal.grid import Slots
from anomstack_provider.detection.seasonal.model import MONTH, SUSTAINED, Full, Panel, changes, in_units, sustained
from anomstack_provider.detection.seasonal.season import season
from anomstack_provider.detection.series import Floats

# So many of the largest peaks of a month may have been anomalies; what came more often is usual.
_ANOMALIES_PER_MONTH = 0.3
# A cross-fitted bucket looks odder than a new one will, whose season and neighbours are nearer in time: peaks that come
# once a month or more often in the training window are that many times as frequent as those that follow (measured on
# twelve families of metrics). The seldom ones are not: what comes once in ten months is taken as it is.
_CROSS_FITTED_MORE = 2.4
_SELDOM = np.log(10.0)
# Of what the tail says beyond all that was seen, a history of so many months makes half believed: a few days have not
# shown what a month brings.
_BELIEVED = 0.15
# No end of a range is taken to be larger.
_LARGEST = float(np.finfo(np.float64).max)


@dataclass(frozen=True)
class Judgement:
    """
    What models say of some buckets, arrays of shape (m, k), or (k,) of one metric.

    :param rate: natural log of the number of usual buckets a month, after clustering, that look at least as odd.
    :param expected: in the metric's unit, as are the ends of the range that a usual bucket leaves so seldom.
    """

    rate: Floats
    expected: Floats
    lower: Floats
    upper: Floats


def judge(panel: Panel, values: Floats, slots: Slots, budget: float) -> Judgement:
    """
    Judge consecutive buckets of the metrics of a panel, all but the first ``panel.reach``, which the others look at.

    :param values: shape (m, reach + k), NaN where a bucket is missing.
    :param slots: slots of these columns.
    :param budget: false alarms a month that the range is drawn for.
    :return: arrays of shape (m, k).
    """
    with np.errstate(all="ignore"):
        return _judge(panel, values, slots, budget)


def _judge(panel: Panel, values: Floats, slots: Slots, budget: float) -> Judgement:
    asked = slice(panel.reach, None)
    # The newest mean and change of the first bucket that is asked for need the deviations before it.
    late = slice(panel.reach - SUSTAINED, None)
    x = in_units(values, panel.unit)
    seasonal = season(panel.tables, slots, x.shape) if panel.tables else np.zeros(x.shape)
    factor = noise.factor(panel.base[:, None] + seasonal[:, late], panel.usual, panel.growth)
    buckets = np.log(MONTH / panel.grid.microseconds)
    level = np.repeat(panel.level[:, None], x.shape[1] - panel.reach + SUSTAINED, axis=1)
    if panel.full:
        own = level_of.trailing(x - seasonal, panel.block, panel.blocks, level.shape[1])[:, late]
        level = np.where(np.isfinite(own), own, level)
    expected = level + seasonal[:, late]
    deviation = (x[:, late] - expected) / factor
    expected, factor = expected[:, SUSTAINED:], factor[:, SUSTAINED:]
    if panel.full:
        runs = repeats.runs(values, panel.block, panel.blocks)[:, asked]
        runs = runs * panel.usual_values.telling(values[:, asked], panel.still)
        rate = _rate(panel.full, _surprise(panel.full, deviation, panel.memory, runs))
        wanted = buckets - _before_doubt(panel.full.months, np.log(budget))
        above, below = panel.full.up.value_at(wanted)[:, None], panel.full.down.value_at(wanted)[:, None]
    else:
        # Student's t of the distance from the median; a tail as heavy as few points call for.
        freedom = np.clip(panel.points - 1.0, 1, 8)[:, None]
        # log(1 + t^2 / freedom), by logarithms, for t may be beyond the largest number.
        log_t = np.log(np.abs(deviation[:, SUSTAINED:])) - np.log(panel.spread)[:, None]
        rate = buckets - (freedom + 1) / 2 * np.logaddexp(0.0, 2 * log_t - np.log(freedom))
        far = np.maximum(2 * (buckets - np.log(budget)) / (freedom + 1), 0.0)
        above = below = panel.spread[:, None] * np.sqrt(freedom * np.expm1(far))
    lower, middle, upper = (
        np.clip(np.maximum(value, panel.floor[:, None]) * panel.unit[:, None], -_LARGEST, _LARGEST)
        for value in (expected - np.maximum(below, 0.0) * factor, expected, expected + np.maximum(above, 0.0) * factor)
    )
    return Judgement(np.where(np.isfinite(x[:, asked]), rate, np.nan), middle, lower, upper)


def _surprise(full: Full, deviation: Floats, memory: Floats, runs: Floats) -> Floats:
    """Return the largest surprise of each bucket; ``deviation`` begins four buckets earlier than ``runs``."""
    asked = slice(SUSTAINED, None)
    surprise: Floats = np.fmax.reduce(
        [
            full.deviation.surprise_of(deviation[:, asked]),
            full.change.surprise_of(changes(deviation, memory)[:, asked]),
            full.sustained.surprise_of(sustained(deviation)[:, asked]),
            full.repeat.surprise_of(runs),
        ]
    )
    return surprise


def _rate(full: Full, surprise: Floats) -> Floats:
    """Return the log of how often a month a peak is that large, by the tail of the peaks and by their count."""
    months, known = full.months[:, None], np.isfinite(full.peaks).sum(axis=1, keepdims=True)
    by_tail = np.log(known / months) - full.peak_tail.surprise_of(surprise)
    as_large = known - arrays.search(full.peaks, surprise) - _ANOMALIES_PER_MONTH * np.maximum(months, 1.0)
    by_count = np.log(np.maximum(as_large, 0.0) / months)
    rate = np.maximum(by_tail, by_count)
    corrected = rate - np.log(_CROSS_FITTED_MORE) * np.clip(1 + rate / _SELDOM, 0.0, 1.0)
    return _doubted(months, corrected)


def _doubted(months: Floats, rate: Floats) -> Floats:
    """Return the log of a rate of which what lies beyond once in ``months`` is believed in part."""
    once = -np.log(months)
    return np.asarray(np.where(rate < once, once + (rate - once) * months / (months + _BELIEVED), rate))


def _before_doubt(months: Floats, rate: float) -> Floats:
    """Return what the tail has to say for a log of a rate to come out: the inverse of :func:`_doubted`."""
    once = -np.log(months)
    return np.asarray(np.where(rate < once, once + (rate - once) * (months + _BELIEVED) / months, rate))
