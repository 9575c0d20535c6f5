"""Series to fit and judge by the seasonal recipe, and what it takes to compare what comes out to the bit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anomstack_provider.detection.grain import Grain, parse
from anomstack_provider.detection.seasonal import batch
from anomstack_provider.detection.seasonal.batch import Asked, Training, Weekdays
from anomstack_provider.detection.seasonal.judgement import Judgement
from anomstack_provider.detection.seasonal.model import Fitted
from anomstack_provider.detection.series import Floats, Series, Times

STEPS = {"5min": 300, "1h": 3600, "1d": 86_400, "1w": 7 * 86_400, "instant": 3600}


class NoCalendar:
    """A calendar that says nothing."""

    is_empty = True

    def weekdays(self, times: Times, timezone: str) -> NDArray[np.int8]:
        raise AssertionError("an empty calendar is not asked")


EMPTY = NoCalendar()


def times(n: int, grain: str = "1h", start: str = "2024-01-01") -> Times:
    if grain == "1mo":
        return (np.datetime64(start, "M") + np.arange(n)).astype("datetime64[us]")
    return np.datetime64(start, "us") + np.arange(n) * np.timedelta64(STEPS[grain], "s")


def series(values: Floats, grain: str = "1h", start: str = "2024-01-01") -> Series:
    """Return values in a row; NaN is a bucket that is missing."""
    values = np.asarray(values, np.float64)
    known = np.isfinite(values)
    return Series(times(len(values), grain, start)[known], values[known])


def training(one: Series, grain: str = "1h", calendar: Weekdays = EMPTY) -> Training:
    return Training(one, parse(grain), calendar)


def fit_all(many: Mapping[str, Training], timezone: str = "UTC", span: timedelta | None = None) -> dict[str, Fitted]:
    return dict(batch.fit(many, timezone, span))


def fit(one: Series, grain: str = "1h", timezone: str = "UTC", span: timedelta | None = None) -> Fitted:
    return fit_all({"m": training(one, grain)}, timezone, span)["m"]


def judge(
    fitted: Fitted,
    one: Series,
    wanted: Any,
    timezone: str = "UTC",
    budget: float = 1.0,
    span: timedelta | None = None,
    calendar: Weekdays = EMPTY,
) -> Judgement:
    return batch.judge([Asked(fitted, one, np.asarray(wanted, np.intp), calendar)], timezone, budget, span)[0]


def judge_values(fitted: Fitted, values: Floats, since: int, grain: str = "1h") -> Judgement:
    """Judge the buckets from ``since`` on of values in a row without gaps."""
    return judge(fitted, series(values, grain), np.arange(since, len(values)))


def facts(value: object) -> object:
    """Return all that a record holds, its arrays as bytes: equal facts are equal bits; of a panel the metric's row."""
    if isinstance(value, Fitted):
        return facts(value.panel.take(np.array([value.row])))
    if isinstance(value, np.ndarray):
        return value.shape, value.dtype.str, value.tobytes()
    if isinstance(value, float):
        return value.hex()
    if isinstance(value, tuple):
        return tuple(facts(part) for part in value)
    if is_dataclass(value) and not isinstance(value, (type, Grain)):
        return {part.name: facts(getattr(value, part.name)) for part in fields(value)}
    return value


def part(found: Judgement, where: Any) -> Judgement:
    return Judgement(found.rate[where], found.expected[where], found.lower[where], found.upper[where])


def business(n: int, seed: int = 0, step: int = 3600) -> Floats:
    """Return a metric with hours of the day, weekends, a moving level and noise, as many are."""
    rng = np.random.default_rng(seed)
    hours = np.arange(n) * step / 3600
    day = 1 + 0.4 * np.sin(hours / 24 * 2 * np.pi)
    week = np.where(hours // 24 % 7 >= 5, 0.7, 1.0)
    level = 100 * np.exp(np.cumsum(rng.normal(0, 0.002, n)))
    out: Floats = level * day * week * np.exp(rng.normal(0, 0.05, n))
    return out
