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


def worst_bucket(distance: Floats, at: NDArray[np.intp], smooth_n: int, reach: int) -> NDArray[np.intp]:
    """
    Return for each bucket that fired the position of the one that its score is about, shape (k,).

    It is the one farthest outside its expected range, of those whose scores were averaged; if all of these are usual,
    of those further back that can still be in their features; if those are too, the bucket itself.

    :param distance: of each bucket from its expected value in half-widths of its range, shape (n,); where NaN, it is
        not looked at.
    :param at: the buckets that fired, shape (k,).
    :param smooth_n: so many earlier scores were averaged with the bucket's own.
    :param reach: so many buckets before it can be in its score, at least ``smooth_n``.
    """
    back = at[:, None] - np.arange(reach + 1)
    with np.errstate(invalid="ignore"):
        outside = np.where((back >= 0) & (distance[back] > 1), distance[back], 0.0)
    near = outside[:, : smooth_n + 1]
    steps = np.where(near.any(axis=1), near.argmax(axis=1), outside.argmax(axis=1))
    return np.asarray(at - steps, np.intp)


def severity(findings: Findings, priority: Literal["low", "normal", "high"] = "normal") -> NDArray[np.int8]:
    """
    Return the severity of each finding, by its worst bucket, as a position in ``SEVERITIES``, shape (n,).

    Low inside the expected range, medium outside it or where there is none, high from twice its half-width away. The
    range is taken from the side on which the value lies, so that a range cut off at zero is judged by its own width.
    The metric's priority moves it one step.
    """
    worst = findings.worst
    change, half = worst.change, worst.half_width
    rank = np.where(change <= half, 0, np.where(change >= 2 * half, 2, 1))
    step = {"low": -1, "normal": 0, "high": 1}[priority]
    moved = np.clip(np.where(np.isnan(change), 1, rank) + step, 0, len(SEVERITIES) - 1)
    return np.asarray(moved, np.int8)
