"""When a bucket fires, the smoothed score against the threshold, and how severe that is. Pure arrays."""

from __future__ import annotations

from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from anomstack_provider.alerting.findings import Findings
from anomstack_provider.detection.features import trailing_mean
from anomstack_provider.detection.seasonal.score import threshold_of
from anomstack_provider.detection.series import Floats

SEVERITIES = ("low", "medium", "high")


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


def severity(findings: Findings, priority: Literal["low", "normal", "high"] = "normal") -> NDArray[np.int8]:
    """
    Return the severity of each finding as a position in ``SEVERITIES``, shape (n,).

    Low inside the expected range, medium outside it or where there is none, high from twice its half-width away. The
    range is taken from the side on which the value lies, so that a range cut off at zero is judged by its own width.
    The metric's priority moves it one step.
    """
    change, half = findings.change, findings.half_width
    rank = np.where(change <= half, 0, np.where(change >= 2 * half, 2, 1))
    step = {"low": -1, "normal": 0, "high": 1}[priority]
    moved = np.clip(np.where(np.isnan(change), 1, rank) + step, 0, len(SEVERITIES) - 1)
    return np.asarray(moved, np.int8)
