"""What a chart is drawn from: arrays and moments, as read; nothing of how it looks."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from anomstack_provider.alerting.alert import Alert
from anomstack_provider.detection.grain import parse

Array = npt.NDArray[Any]


def _no_times() -> Array:
    return np.empty(0, "datetime64[us]")


def _no_values() -> Array:
    return np.empty(0)


@dataclass(frozen=True)
class ChartData:
    """
    The stretch of a metric that a chart shows.

    :param times: bucket starts, datetime64[us], naive UTC, ascending; a bucket without a row is not there.
    :param values: the metric's values at ``times``; NaN where there is none.
    :param fired: bucket starts at which a rule fired.
    :param expected: values to expect at ``times``, or None; ``lower`` and ``upper`` likewise the usual range.
    :param season: the values of a season before, each at the time of ``season_times`` that it is held against.
    :param season_name: what that season is called, such as ``week before``.
    :param days: what the calendar names: start, end (datetime64[us], UTC) and name, in order.
    :param training_start: the first moment that the model has learnt from.
    :param name: the metric that is drawn, if the alert is not about one alone.
    """

    times: Array
    values: Array
    fired: Array
    expected: Array | None = None
    lower: Array | None = None
    upper: Array | None = None
    season_times: Array = field(default_factory=_no_times)
    season: Array = field(default_factory=_no_values)
    season_name: str = ""
    days: tuple[tuple[np.datetime64, np.datetime64, str], ...] = ()
    training_start: np.datetime64 | None = None
    name: str = ""

    def clipped(self, largest: float) -> ChartData:
        """Return the same with finite values within +-``largest``."""

        def clip(array: Array | None) -> Array | None:
            return None if array is None else np.where(np.isfinite(array), np.clip(array, -largest, largest), array)

        names = ("values", "expected", "lower", "upper", "season")
        changes: dict[str, Any] = {name: clip(getattr(self, name)) for name in names}
        return replace(self, **changes)


def moment(time: datetime) -> np.datetime64:
    """Return an aware time as ``datetime64[us]`` in UTC."""
    return np.datetime64(time.astimezone(UTC).replace(tzinfo=None), "us")


def half_bucket(alert: Alert) -> np.timedelta64:
    """Return half the usual length of the alert's buckets; zero for readings."""
    return parse(alert.grain).nominal // 2
