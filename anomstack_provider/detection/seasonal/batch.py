"""The seasonal recipe for series: onto columns, many metrics at a time, and back to buckets."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from anomstack_provider.detection.grain import Grain
from anomstack_provider.detection.seasonal import judgement, model
from anomstack_provider.detection.seasonal.grid import ORDER, Grid, Slots, grid_of, slots_of
from anomstack_provider.detection.seasonal.judgement import Judgement
from anomstack_provider.detection.seasonal.model import Fitted, Panel
from anomstack_provider.detection.series import Series, Times

# So many series are worked on at once: enough to spread NumPy's overhead, few enough to bound the memory of a batch.
_AT_ONCE = 128
_JUDGED = [part.name for part in fields(Judgement)]


class Weekdays(Protocol):
    """A metric's calendar, as far as it gives buckets another weekday; equal ones compare equal."""

    @property
    def is_empty(self) -> bool: ...
    def weekdays(self, times: Times, timezone: str) -> NDArray[np.int8]: ...


# Grain, grid, first and last column, calendar, and the name of a metric that has its columns for itself.
_Columns: TypeAlias = tuple[Grain, Grid, int, int, Weekdays | None, str]


@dataclass(frozen=True)
class Training:
    """What one metric is trained on."""

    series: Series
    grain: Grain
    calendar: Weekdays


@dataclass(frozen=True)
class Asked:
    """Buckets of one metric to judge: those at the positions ``wanted``, increasing, at least one."""

    fitted: Fitted
    series: Series
    wanted: NDArray[np.intp]
    calendar: Weekdays

    @property
    def panel(self) -> Panel:
        """The models that the metric's is among."""
        return self.fitted.panel


def fit(training: Mapping[str, Training], timezone: str, span: timedelta | None) -> Iterator[tuple[str, Fitted]]:
    """
    Yield the model of each metric; the same to the bit whatever others are fitted beside it.

    :param span: how far back a later bucket may look; None: as far as its model wants.
    """
    together: dict[_Columns, list[tuple[str, NDArray[np.int64]]]] = defaultdict(list)
    for name, one in training.items():
        grid = grid_of(one.series.times, one.grain, timezone)
        columns = grid.positions(one.series.times, timezone)
        # Irregular readings share no columns.
        alone = name if grid.kind == ORDER else ""
        calendar = None if one.calendar.is_empty else one.calendar
        together[one.grain, grid, int(columns[0]), int(columns[-1]), calendar, alone].append((name, columns))
    for (grain, grid, first, last, _, _), members in together.items():
        one = training[members[0][0]]
        slots = _slots(grid, np.arange(first, last + 1), one.series.times, timezone, one.calendar)
        reach = _columns(grid, span)
        for start in range(0, len(members), _AT_ONCE):
            part = members[start : start + _AT_ONCE]
            values = np.full((len(part), last - first + 1), np.nan)
            for row, (name, columns) in enumerate(part):
                values[row, columns - first] = training[name].series.values
            for rows, panel in model.fit(values, grain, grid, slots, reach):
                yield from ((part[row][0], Fitted(panel, place)) for place, row in enumerate(rows.tolist()))


def judge(asked: Sequence[Asked], timezone: str, budget: float, span: timedelta | None) -> list[Judgement]:
    """
    Judge buckets of many metrics; each sees its model's reach and no point older.

    :param budget: false alarms a month that the ranges are drawn for.
    :param span: points of a bucket that are older than this are not looked at; None: there is no such limit.
    :return: as asked for, arrays of shape (wanted,).
    """
    judged: list[Judgement | None] = [None] * len(asked)
    columns = [one.panel.grid.positions(one.series.times, timezone) for one in asked]
    together: dict[tuple[int, int, int, Weekdays | None, int], list[int]] = defaultdict(list)
    for number, (one, own) in enumerate(zip(asked, columns, strict=True)):
        if one.panel.grid.kind == ORDER and span is not None:
            # As many readings as the model reaches back may take longer than what a run is sure to have read.
            begin = np.searchsorted(one.series.times, one.series.times[one.wanted] - np.timedelta64(span))
            if (begin > one.wanted - one.panel.reach).any():
                judged[number] = _one_by_one(one, one.wanted, begin, timezone, budget)
                continue
        calendar = None if one.calendar.is_empty else one.calendar
        alone = number if one.panel.grid.kind == ORDER else -1
        together[id(one.panel), int(own[one.wanted[0]]), int(own[one.wanted[-1]]), calendar, alone].append(number)
    for members in together.values():
        for start in range(0, len(members), _AT_ONCE):
            part = members[start : start + _AT_ONCE]
            found = _judge_together([asked[i] for i in part], [columns[i] for i in part], timezone, budget)
            for number, one_judged in zip(part, found, strict=True):
                judged[number] = one_judged
    return [one for one in judged if one is not None]


def _judge_together(
    asked: Sequence[Asked], columns: Sequence[NDArray[np.int64]], timezone: str, budget: float
) -> list[Judgement]:
    """Judge metrics of one panel whose buckets begin and end in the same columns."""
    one, own = asked[0], columns[0]
    panel = one.panel
    begin, end = int(own[one.wanted[0]]), int(own[one.wanted[-1]])
    first = begin - panel.reach
    values = np.full((len(asked), end - first + 1), np.nan)
    for row, (metric, places) in enumerate(zip(asked, columns, strict=True)):
        known = slice(int(np.searchsorted(places, first)), int(metric.wanted[-1]) + 1)
        values[row, places[known] - first] = metric.series.values[known]
    grid_columns = np.arange(first, end + 1)
    # Columns before the first reading have no slot of their own; no value either, so any will do.
    times = one.series.times[np.maximum(grid_columns, 0)] if panel.grid.kind == ORDER else one.series.times
    slots = _slots(panel.grid, grid_columns, times, timezone, one.calendar)
    rows = np.array([metric.fitted.row for metric in asked])
    found = judgement.judge(panel.take(rows), values, slots, budget)
    out = []
    for row, (metric, places) in enumerate(zip(asked, columns, strict=True)):
        wanted, at = metric.wanted, places[metric.wanted] - begin
        judged = Judgement(found.rate[row, at], found.expected[row, at], found.lower[row, at], found.upper[row, at])
        # Of two readings of one bucket the later stands; the earlier is judged as it stood before that one came.
        replaced = (wanted < wanted[-1]) & (places[np.minimum(wanted + 1, wanted[-1])] == places[wanted])
        if replaced.any():
            since = np.searchsorted(places, places[wanted[replaced]] - panel.reach)
            alone = _one_by_one(metric, wanted[replaced], since, timezone, budget)
            for name in _JUDGED:
                getattr(judged, name)[replaced] = getattr(alone, name)
        out.append(judged)
    return out


def _one_by_one(
    asked: Asked, wanted: NDArray[np.intp], begin: NDArray[np.intp], timezone: str, budget: float
) -> Judgement:
    """Judge each bucket from the points from ``begin`` on, as if none came after it."""
    singles = [
        Asked(asked.fitted, asked.series.slice(since, place + 1), np.array([place - since]), asked.calendar)
        for since, place in zip(begin.tolist(), wanted.tolist(), strict=True)
    ]
    found = [judge([single], timezone, budget, None)[0] for single in singles]
    return Judgement(*(np.concatenate([getattr(one, name) for one in found]) for name in _JUDGED))


def _slots(grid: Grid, columns: NDArray[np.int64], times: Times, timezone: str, calendar: Weekdays) -> Slots:
    starts = times if grid.kind == ORDER else grid.times(columns, timezone)
    weekdays = None if calendar.is_empty else calendar.weekdays(starts, timezone)
    return slots_of(grid, starts, timezone, weekdays)


def _columns(grid: Grid, span: timedelta | None) -> int:
    """Return how many columns back a span reaches."""
    if span is None:
        return model.MOST_COLUMNS
    return max(int(np.timedelta64(span).astype("timedelta64[us]").astype(np.int64)) // grid.microseconds, 1)
