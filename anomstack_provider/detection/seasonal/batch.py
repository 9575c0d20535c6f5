"""The seasonal recipe for series: onto columns, many metrics at a time, and back to buckets."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from anomstack_provider.detection.grain import Grain
from anomstack_provider.detection.seasonal import model
from anomstack_provider.detection.seasonal.grid import ORDER, Grid, Slots, grid_of, slots_of
from anomstack_provider.detection.seasonal.model import Fitted
from anomstack_provider.detection.series import Series, Times

# So many series are worked on at once: enough to spread NumPy's overhead, few enough to bound the memory of a batch.
_AT_ONCE = 128
_JUDGED = [part.name for part in fields(model.Judgement)]


class Weekdays(Protocol):
    """A metric's calendar, as far as it gives buckets another weekday; equal ones compare equal."""

    @property
    def is_empty(self) -> bool: ...
    def weekdays(self, times: Times, timezone: str) -> NDArray[np.int8]: ...


# Grid, first and last column, calendar, and the name of a metric that has its columns for itself.
_Panel: TypeAlias = tuple[Grid, int, int, Weekdays | None, str]


@dataclass(frozen=True)
class Training:
    """What one metric is trained on."""

    series: Series
    grain: Grain
    calendar: Weekdays


def fit(training: Mapping[str, Training], timezone: str, span: timedelta | None) -> Iterator[tuple[str, Fitted]]:
    """
    Yield the model of each metric; the same to the bit whatever others are fitted beside it.

    :param span: how far back a later bucket may look; None: as far as its model wants.
    """
    panels: dict[_Panel, list[tuple[str, NDArray[np.int64]]]] = defaultdict(list)
    for name, one in training.items():
        grid = grid_of(one.series.times, one.grain, timezone)
        columns = grid.positions(one.series.times, timezone)
        # Irregular readings share no columns.
        alone = name if grid.kind == ORDER else ""
        calendar = None if one.calendar.is_empty else one.calendar
        panels[grid, int(columns[0]), int(columns[-1]), calendar, alone].append((name, columns))
    for (grid, first, last, _, _), members in panels.items():
        one = training[members[0][0]]
        slots = _slots(grid, np.arange(first, last + 1), one.series.times, timezone, one.calendar)
        reach = _columns(grid, span)
        for start in range(0, len(members), _AT_ONCE):
            part = members[start : start + _AT_ONCE]
            values = np.full((len(part), last - first + 1), np.nan)
            for row, (name, columns) in enumerate(part):
                values[row, columns - first] = training[name].series.values
            yield from zip([name for name, _ in part], model.fit(values, grid, slots, reach), strict=True)


def judge(
    fitted: Fitted,
    series: Series,
    wanted: NDArray[np.intp],
    timezone: str,
    calendar: Weekdays,
    budget: float,
    span: timedelta | None,
) -> model.Judgement:
    """
    Judge the buckets at the positions ``wanted``, increasing; each sees its model's reach and no point older.

    :param span: points of a bucket that are older than this are not looked at; None: there is no such limit.
    """
    if fitted.grid.kind == ORDER and span is not None:
        # As many readings as the model reaches back may take longer than what a run is sure to have read.
        begin = np.searchsorted(series.times, series.times[wanted] - np.timedelta64(span))
        short = begin > wanted - fitted.reach
        if short.any():
            return _one_by_one(fitted, series, wanted, begin, timezone, calendar, budget)
    columns = fitted.grid.positions(series.times, timezone)
    first = int(columns[wanted[0]]) - fitted.reach
    known = slice(int(np.searchsorted(columns, first)), int(wanted[-1]) + 1)
    at = columns[known] - first
    values = np.full(int(at[-1]) + 1, np.nan)
    values[at] = series.values[known]
    grid_columns = np.arange(first, first + len(values))
    if fitted.grid.kind == ORDER:
        # Columns before the first reading have no slot of their own; no value either, so any will do.
        times = series.times[np.maximum(grid_columns, 0)]
        slots = _slots(fitted.grid, grid_columns, times, timezone, calendar)
    else:
        slots = _slots(fitted.grid, grid_columns, series.times, timezone, calendar)
    found = model.judge(fitted, values, slots, budget)
    out = columns[wanted] - first
    judged = model.Judgement(found.rate[out], found.expected[out], found.lower[out], found.upper[out])
    # Of two readings of one bucket the later stands; the earlier is judged as it stood before that one came.
    replaced = (wanted < wanted[-1]) & (columns[np.minimum(wanted + 1, wanted[-1])] == columns[wanted])
    if replaced.any():
        begin = np.searchsorted(columns, columns[wanted[replaced]] - fitted.reach)
        alone = _one_by_one(fitted, series, wanted[replaced], begin, timezone, calendar, budget)
        for name in _JUDGED:
            getattr(judged, name)[replaced] = getattr(alone, name)
    return judged


def _one_by_one(
    fitted: Fitted,
    series: Series,
    wanted: NDArray[np.intp],
    begin: NDArray[np.intp],
    timezone: str,
    calendar: Weekdays,
    budget: float,
) -> model.Judgement:
    found = [
        judge(fitted, series.slice(b, w + 1), np.array([w - b]), timezone, calendar, budget, None)
        for b, w in zip(begin.tolist(), wanted.tolist(), strict=True)
    ]
    return model.Judgement(*(np.concatenate([getattr(one, name) for one in found]) for name in _JUDGED))


def _slots(grid: Grid, columns: NDArray[np.int64], times: Times, timezone: str, calendar: Weekdays) -> Slots:
    starts = times if grid.kind == ORDER else grid.times(columns, timezone)
    weekdays = None if calendar.is_empty else calendar.weekdays(starts, timezone)
    return slots_of(grid, starts, timezone, weekdays)


def _columns(grid: Grid, span: timedelta | None) -> int:
    """Return how many columns back a span reaches."""
    if span is None:
        return model.MOST_COLUMNS
    return max(int(np.timedelta64(span).astype("timedelta64[us]").astype(np.int64)) // grid.microseconds, 1)
