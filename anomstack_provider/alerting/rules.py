"""When a bucket fires: the smoothed score against the threshold. Pure arrays."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from anomstack_provider.detection.features import trailing_mean
from anomstack_provider.detection.seasonal.score import threshold_of
from anomstack_provider.detection.series import Floats


def smooth(scores: Floats, smooth_n: int) -> Floats:
    """
    Return the mean of each score and the ``smooth_n`` before it, shape (n,).

    NaN for the first ``smooth_n``, whose window is not complete: no bucket fires on less evidence than the next one.
    """
    lead = min(max(smooth_n, 0), len(scores))
    return np.concatenate([np.full(lead, np.nan), trailing_mean(scores, max(smooth_n, 0) + 1)])


class Sensitivity(Protocol):
    """The part of a batch's config that says from which score on a bucket is an anomaly."""

    @property
    def alert_threshold(self) -> float | None: ...
    @property
    def false_alarms_per_month(self) -> float: ...


def threshold(config: Sensitivity) -> float:
    """Return the score from which on a bucket fires: the configured one, else that of the budget of false alarms."""
    if config.alert_threshold is not None:
        return config.alert_threshold
    return threshold_of(config.false_alarms_per_month)


def fires(smoothed: Floats, at: float) -> NDArray[np.bool_]:
    """Return which buckets are at or above the threshold."""
    with np.errstate(invalid="ignore"):
        return np.asarray(smoothed >= at)


def severity(value: float, expected: float, lower: float, upper: float) -> str:
    """
    Return ``low`` inside the expected range, ``medium`` outside it, ``high`` from twice its half-width away.

    The range is taken from the side on which the value lies, so that a range cut off at zero is judged by its own
    width.
    """
    half = (upper - expected) if value >= expected else (expected - lower)
    distance = abs(value - expected)
    if distance <= half or not np.isfinite(distance):
        return "low"
    return "high" if distance >= 2 * half else "medium"
