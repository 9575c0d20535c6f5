"""
What the alert step finds in stored values, as findings: fixed thresholds and changes of level.

Each bucket is judged as of its own end, by buckets up to it, so a run of any window finds the same in it. Values are
taken as they are stored, whatever ``freq`` the scores are resampled to.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from anomstack_provider.alerting import thresholds
from anomstack_provider.alerting.findings import Findings, Kind
from anomstack_provider.alerting.wording import number
from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.detection import change, grain
from anomstack_provider.detection.grain import Grain
from anomstack_provider.detection.series import Series, Times
from anomstack_provider.runtime.window import RunWindow
from anomstack_provider.steps.training import stamp

# Timestamps that tell the grain of the newest of them.
GRAIN = 22
# What is older tells nothing of what is usual; enough for months.
LOOK_BACK = timedelta(days=4 * 365)
_ALL_DAYS = 100_000


@dataclass(frozen=True)
class Buckets:
    """
    Stored buckets of one metric that are closed.

    :param series: with what was stored before the buckets in question.
    :param first: position of the first bucket in question.
    :param ends: where the buckets from there on end, UTC, shape (n - first,).
    :param grain: their length, such as ``1h``, shape (n - first,).
    """

    series: Series
    first: int
    ends: Times
    grain: NDArray[np.object_]

    @property
    def times(self) -> Times:
        """Starts of the buckets in question."""
        return self.series.times[self.first :]


def history(spec: BatchSpec) -> tuple[int, timedelta]:
    """Return how many stored points before a bucket, and of how much time before it, its findings depend on."""
    if spec.is_off("change"):
        return GRAIN, LOOK_BACK
    points, time = change.history(spec)
    return max(points, GRAIN), max(time, LOOK_BACK)


def closed_buckets(spec: BatchSpec, series: Series, window: RunWindow, first: int = 0) -> Buckets:
    """
    Return the buckets from position ``first`` on that are closed at the end of the window.

    :param series: stored points, with :func:`history` before the first bucket in question.
    """
    texts = np.array([str(each) for each in grains(spec, series.times, first)], object)
    ends = grain.mixed_ends(texts.tolist(), series.times[first:], spec.timezone)
    # One that is still open closes all before it too, should a stray timestamp have told another grain for a moment.
    still_open = np.flatnonzero(ends > stamp(window.end - spec.completeness_delay))
    count = int(still_open[0]) if len(still_open) else len(ends)
    return Buckets(series.slice(0, first + count), first, ends[:count], texts[:count])


def own_buckets(spec: BatchSpec, own: Series, window: RunWindow, stored: Buckets) -> Buckets:
    """Return the buckets of other points, those that the batch's own query gives, at the times of the stored ones."""
    first = own.before(stored.times[0]) if len(stored.times) else len(own)
    return closed_buckets(spec, own, window, first)


def grains(spec: BatchSpec, times: Times, first: int) -> list[Grain]:
    """Return the grain of stored timestamps: with ``freq`` the configured one is that of the scores."""
    if spec.grain and spec.preprocess_params.freq is None:
        return [grain.parse(spec.grain)] * (len(times) - first)
    return grain.infer_each(times, spec.timezone, first)


@dataclass(frozen=True)
class Judged:
    """
    What one finder says of the buckets in question.

    :param fires: in which of them it found something, shape (n,).
    :param describe: returns findings for any of them by position, those that do not fire too: their value and range,
        direction ``NONE``, and no reason.
    """

    fires: NDArray[np.bool_]
    describe: Callable[[NDArray[np.intp]], Findings]

    @property
    def findings(self) -> Findings:
        """What was found, oldest first."""
        return self.describe(np.flatnonzero(self.fires))


def judge_thresholds(spec: BatchSpec, name: str, buckets: Buckets) -> Judged | None:
    """Compare values with ``tholdalert_thresholds``; None for a metric that is not compared."""
    bounds = spec.tholdalert_thresholds.get(name)
    if bounds is None or spec.disable_tholdalert or name in spec.tholdalert_exclude_metrics:
        return None
    values = buckets.series.values[buckets.first :]
    side = thresholds.sides(values, bounds)
    lower, upper = thresholds.limits(bounds)
    words = {1: f"above the upper threshold of {number(upper)}", -1: f"below the lower threshold of {number(lower)}"}

    def describe(at: NDArray[np.intp]) -> Findings:
        return Findings.of(
            "threshold",
            buckets.times[at],
            side[at],
            why=[(f"{number(values[i])} is {words[int(side[i])]}",) if side[i] else () for i in at.tolist()],
            grain=buckets.grain[at],
            value=values[at],
            lower=np.full(len(at), lower),
            upper=np.full(len(at), upper),
        )

    return Judged(side != 0, describe)


def judge_levels(spec: BatchSpec, name: str, buckets: Buckets) -> Judged | None:
    """Compare values with the level of the points before them; None for a metric that is not looked at."""
    wanted = not spec.change_include_metrics or name in spec.change_include_metrics
    if spec.is_off("change") or not wanted or name in spec.change_exclude_metrics:
        return None
    resolution = 10.0**-spec.ingest_metric_rounding if spec.ingest_metric_rounding >= 0 else 0.0
    rule = spec
    if spec.override("change_sql") is not None:  # which says how many and how old itself
        every = {"change_max_n": len(buckets.series) + 1, "change_metric_timestamp_max_days_ago": _ALL_DAYS}
        rule = spec.model_copy(update=every)
    judged = change.changes(buckets.series, buckets.first, rule, resolution)
    side = (np.where(judged.smoothed > judged.median, 1, -1) * judged.fires).astype(np.int8)
    values = buckets.series.values[buckets.first :]

    def describe(at: NDArray[np.intp]) -> Findings:
        return Findings.of(
            "change",
            buckets.times[at],
            side[at],
            why=[(_change_text(spec, judged, i),) if side[i] else () for i in at.tolist()],
            grain=buckets.grain[at],
            value=values[at],
            expected=judged.median[at],
            lower=judged.lower[at],
            upper=judged.upper[at],
        )

    return Judged(judged.fires, describe)


def _change_text(spec: BatchSpec, judged: change.Changes, i: int) -> str:
    smooth = spec.change_smooth_n
    what = number(judged.smoothed[i]) if smooth < 2 else f"the mean of {smooth} values, {number(judged.smoothed[i])},"
    side = "above" if judged.smoothed[i] > judged.median[i] else "below"
    distance = f"{number(judged.distance[i])} median deviations {side} {number(judged.median[i])}"
    return f"{what} is {distance}, the median of the points before; {number(spec.change_threshold)} are usual"


def only_stored(buckets: Buckets, at: NDArray[np.intp]) -> Findings:
    """Return buckets by position as if they had a finding, with their values alone: whose range counts, events say."""
    direction, values = np.zeros(len(at), np.int8), buckets.series.values[buckets.first :][at]
    no_reason: list[tuple[str, ...]] = [()] * len(at)
    return Findings.of("change", buckets.times[at], direction, why=no_reason, grain=buckets.grain[at], value=values)


def nothing(kind: Kind) -> Findings:
    """Return no findings of a kind."""
    none = np.empty(0)
    return Findings.of(kind, none.astype("datetime64[us]"), none.astype(np.int8), why=[], grain=none.astype(object))
