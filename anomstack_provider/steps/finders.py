"""
What the alert step finds in stored values, as findings: fixed thresholds, changes of level, data that are late.

Each bucket is judged as of its own end, by buckets up to it, so a run of any window finds the same in it. Values are
taken as they are stored, whatever ``freq`` the scores are resampled to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, timedelta
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from anomstack_provider.alerting import freshness, thresholds
from anomstack_provider.alerting.findings import Findings, Kind
from anomstack_provider.alerting.freshness import Gap, LateBatch
from anomstack_provider.alerting.wording import number
from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.detection import change, grain
from anomstack_provider.detection.calendar import Calendar
from anomstack_provider.detection.grain import Grain
from anomstack_provider.detection.series import Series, Times, split
from anomstack_provider.runtime.window import RunWindow
from anomstack_provider.steps.ports import MetricRows
from anomstack_provider.steps.training import stamp

# Timestamps that tell the grain of the newest of them.
_GRAIN = 22
# Silences that tell what is usual for a metric; enough for months.
_LOOK_BACK = timedelta(days=4 * 365)
# Stored rows do not tell when they came, so nobody else can know.
ALWAYS_LATE = "if they always come this late, tell so by completeness_delay"


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
    if spec.disable_change:
        return _GRAIN, _LOOK_BACK
    points, time = change.history(spec)
    return max(points, _GRAIN), max(time, _LOOK_BACK)


def closed_buckets(spec: BatchSpec, series: Series, window: RunWindow, first: int = 0) -> Buckets:
    """
    Return the buckets from position ``first`` on that are closed at the end of the window.

    :param series: stored points, with :func:`history` before the first bucket in question.
    """
    grains = _grains(spec, series.times, first)
    texts = np.array([str(each) for each in grains], object)
    ends = grain.mixed_ends(texts.tolist(), series.times[first:], spec.timezone)
    # One that is still open closes all before it too, should a stray timestamp have told another grain for a moment.
    still_open = np.flatnonzero(ends > stamp(window.end - spec.completeness_delay))
    count = int(still_open[0]) if len(still_open) else len(ends)
    return Buckets(series.slice(0, first + count), first, ends[:count], texts[:count])


def _grains(spec: BatchSpec, times: Times, first: int) -> list[Grain]:
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


def thresholds_crossed(spec: BatchSpec, name: str, buckets: Buckets) -> Findings:
    """Return the buckets whose value is above or below its ``tholdalert_thresholds``."""
    judged = judge_thresholds(spec, name, buckets)
    return judged.findings if judged else _nothing("threshold")


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


def levels_changed(spec: BatchSpec, name: str, buckets: Buckets) -> Findings:
    """Return the buckets that lie at another level than the points before them."""
    judged = judge_levels(spec, name, buckets)
    return judged.findings if judged else _nothing("change")


def judge_levels(spec: BatchSpec, name: str, buckets: Buckets) -> Judged | None:
    """Compare values with the level of the points before them; None for a metric that is not looked at."""
    wanted = not spec.change_include_metrics or name in spec.change_include_metrics
    if spec.disable_change or not wanted or name in spec.change_exclude_metrics:
        return None
    resolution = 10.0**-spec.ingest_metric_rounding if spec.ingest_metric_rounding >= 0 else 0.0
    judged = change.changes(buckets.series, buckets.first, spec, resolution)
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


@dataclass(frozen=True)
class Lateness:
    """
    Data of a batch that are late.

    :param gaps: the silences of each metric that has any with late buckets, oldest first.
    :param stored: starts of the stored buckets of every metric that can be late.
    :param batch: when the whole batch is late, told by one event whose metric name is the batch's.
    """

    gaps: Mapping[str, Sequence[Gap]]
    stored: Mapping[str, Times]
    batch: LateBatch
    timezone: str

    def judged(self, name: str) -> Times:
        """Return the buckets of a metric in which it may be found late or not: the stored and the late ones."""
        return np.unique(np.concatenate([self.stored[name], *(gap.late for gap in self.gaps.get(name, ()))]))

    def of_metric(self, name: str) -> Findings:
        """Return the late buckets of one metric, those that the batch's event tells too: see :meth:`told_by_batch`."""
        return Findings.together([self._late(gap) for gap in self.gaps.get(name, ())] or [_nothing("late")])

    def told_by_batch(self, name: str) -> NDArray[np.bool_]:
        """Return which findings of :meth:`of_metric` the event of the batch explains."""
        told = [self.batch.tells(gap) for gap in self.gaps.get(name, ())]
        return np.concatenate(told) if told else np.zeros(0, bool)

    def of_batch(self) -> Findings:
        """Return the late buckets of the whole batch; ``batch.metrics`` has the names of each."""
        number = len(self.batch.times)
        why = [(_missing_text(names), ALWAYS_LATE) for names in self.batch.metrics]
        none = np.zeros(number, np.int8)
        return Findings.of("late", self.batch.times, none, why=why, grain=np.array(self.batch.grain, object))

    def explains(self, name: str, starts: Times, ends: Times) -> NDArray[np.bool_]:
        """Return which buckets of a metric its late data explain; see :func:`freshness.explained`."""
        return freshness.explained(self.gaps.get(name, ()), starts, ends)

    def _late(self, gap: Gap) -> Findings:
        last = gap.last.astype("datetime64[us]").item().replace(tzinfo=UTC).astimezone(ZoneInfo(self.timezone))
        usual = "the next one is due" if not gap.allowed else f"up to {gap.allowed} missing ones are usual"
        why = (f"no data since the bucket of {last:%Y-%m-%d %H:%M %Z}; {usual}", ALWAYS_LATE)
        count = len(gap.late)
        return Findings.of(
            "late",
            gap.late,
            np.zeros(count, np.int8),
            why=[why] * count,
            grain=np.full(count, gap.grain, object),
        )


def late_data(spec: BatchSpec, window: RunWindow, store: MetricRows, back: int) -> Lateness:
    """
    Find what is late in the buckets that closed in the window, and after the ``back`` stored ones before it.

    One read of the newest buckets tells which metrics were silent for long; one more, of these alone, what is usual
    for them.
    """
    if "late" not in spec.finds:
        return Lateness({}, {}, freshness.of_batch({}, {}), spec.timezone)
    auto = spec.freshness == "auto"
    least = freshness.LEAST if auto else 3
    stored = _stored(spec, window, store, back + max(least, _GRAIN))
    if auto:
        asked = {name: _asked(spec, window, times, back) for name, times in stored.items()}
        suspects = [name for name, silences in asked.items() if freshness.may_be_late(*silences)]
        stored |= _stored(spec, window, store, back + freshness.HISTORY + 1, suspects)
    found = {name: _gaps(spec, window, times, back) for name, times in stored.items()}
    found = {name: kept for name, own in found.items() if (kept := _alerting(spec, name, own))}
    return Lateness(found, stored, freshness.of_batch(found, stored, least, _LOOK_BACK), spec.timezone)


def _stored(
    spec: BatchSpec, window: RunWindow, store: MetricRows, newest: int, metrics: Sequence[str] | None = None
) -> dict[str, Times]:
    """Return the starts of the newest buckets of each metric that can alert."""
    cut = window.start - spec.completeness_delay
    since = cut - 2 * _LOOK_BACK
    rows = store.read(["metric"], since=since, until=window.end, newest=newest, cut=cut, metrics=metrics)
    return {name: series.times for name, series in split(rows).items() if name not in spec.alert_exclude_metrics}


def _asked(spec: BatchSpec, window: RunWindow, times: Times, back: int) -> tuple[Times, np.datetime64, list[Grain]]:
    """Return stored times, the end of the run, and the grains of the buckets whose following silences are judged."""
    before = int(np.searchsorted(times, stamp(window.start - spec.completeness_delay)))
    grains = _grains(spec, times, max(before - back, 0))
    return times, stamp(window.end - spec.completeness_delay), grains


def _gaps(spec: BatchSpec, window: RunWindow, times: Times, back: int) -> list[Gap]:
    """Return the silences after the ``back`` buckets before the window and those after them."""
    after = spec.freshness if isinstance(spec.freshness, timedelta) else None
    return freshness.gaps(*_asked(spec, window, times, back), spec.timezone, after, _LOOK_BACK)


def _alerting(spec: BatchSpec, name: str, found: Sequence[Gap]) -> list[Gap]:
    """Return the silences without the buckets in which the calendar lets nothing alert."""
    calendar = Calendar.for_metric(spec, name)
    if calendar.is_empty:
        return list(found)
    kept = [(gap, ~calendar.marks(gap.late, spec.timezone).suppressed) for gap in found]
    return [replace(gap, late=gap.late[keep], ends=gap.ends[keep]) for gap, keep in kept if keep.any()]


def _missing_text(names: Sequence[str], most: int = 5) -> str:
    listed = ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
    return f"no data of {listed}"


def _nothing(kind: Kind) -> Findings:
    none = np.empty(0)
    return Findings.of(kind, none.astype("datetime64[us]"), none.astype(np.int8), why=[], grain=none.astype(object))
