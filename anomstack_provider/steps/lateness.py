"""
Which data of a batch are late, out of the stored series: silences of each metric, and when the whole batch is late.

What is said of a moment never depends on the run that asks: what it needs of the series before is read, however far
back. What becomes of it is in ``late``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from anomstack_provider.alerting import freshness
from anomstack_provider.alerting.findings import Findings
from anomstack_provider.alerting.freshness import Gap, LateBatch
from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.detection.calendar import Calendar
from anomstack_provider.detection.grain import Grain
from anomstack_provider.detection.series import Times, split
from anomstack_provider.runtime.window import RunWindow
from anomstack_provider.steps import finders
from anomstack_provider.steps.groups import Group, read_in_groups
from anomstack_provider.steps.ports import MetricRows
from anomstack_provider.steps.training import freq_lengths, stamp

# Stored rows do not tell when they came, so nobody else can know.
ALWAYS_LATE = "if they always come this late, tell so by completeness_delay"


@dataclass(frozen=True)
class Lateness:
    """
    Data of the metrics of a batch that are late.

    :param gaps: the silences of each metric that has any with late buckets, oldest first.
    :param stored: starts of the stored buckets of every metric that can be late.
    """

    gaps: Mapping[str, Sequence[Gap]]
    stored: Mapping[str, Times]
    timezone: str

    def judged(self, name: str) -> Times:
        """Return the buckets of a metric in which it may be found late or not: the stored and the late ones."""
        late = [gap.late for gap in self.gaps.get(name, ())]
        return np.unique(np.concatenate([self.stored[name], *late])) if late else self.stored[name]

    def of_metric(self, name: str) -> Findings:
        """Return the late buckets of one metric, those too that the event of the batch tells."""
        found = [self._late(gap) for gap in self.gaps.get(name, ())]
        return Findings.together(found or [finders.nothing("late")])

    def explains(self, name: str, starts: Times, ends: Times) -> NDArray[np.bool_]:
        """Return which buckets of a metric its late data explain; see :func:`freshness.explained`."""
        return freshness.explained(self.gaps.get(name, ()), starts, ends)

    def without_retired(self, before: np.datetime64) -> Lateness:
        """Return what is late without the silences of metrics that were retired at a moment."""
        kept = {name: [gap for gap in own if not gap.lasts or gap.over > before] for name, own in self.gaps.items()}
        return replace(self, gaps={name: own for name, own in kept.items() if own})

    def _late(self, gap: Gap) -> Findings:
        last = gap.last.astype("datetime64[us]").item().replace(tzinfo=UTC).astimezone(ZoneInfo(self.timezone))
        usual = "the next one is due" if not gap.allowed else f"up to {gap.allowed} missing ones are usual"
        why = (f"no data since the bucket of {last:%Y-%m-%d %H:%M %Z}; {usual}", ALWAYS_LATE)
        return _findings(gap.late, [why] * len(gap.late), np.full(len(gap.late), gap.grain, object))


def findings_of(batch: LateBatch) -> Findings:
    """Return the buckets in which the whole batch is late."""
    late = np.flatnonzero(batch.is_late)
    why = [(_missing_text(batch.metrics[k]), ALWAYS_LATE) for k in late.tolist()]
    return _findings(batch.times[late], why, batch.grain[late])


def _findings(times: Times, why: Sequence[tuple[str, ...]], grain: NDArray[np.object_]) -> Findings:
    return Findings.of("late", times, np.zeros(len(times), np.int8), why=why, grain=grain)


def _missing_text(names: Sequence[str], most: int = 5) -> str:
    listed = ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
    return f"no data of {listed}"


def late_data(
    spec: BatchSpec, window: RunWindow, store: MetricRows, back: int, groups: Sequence[Group] = (Group(),)
) -> Lateness:
    """
    Find what is late in the buckets that closed in the window, and after the ``back`` ones before it.

    One read of the newest buckets tells which metrics were silent for long; one more, of these alone, what is usual
    for them. Both once per group.
    """
    if "late" not in spec.finds:
        return Lateness({}, {}, spec.timezone)
    cut = window.start - spec.completeness_delay
    if spec.preprocess_params.freq is None:
        return _silences(spec, window, store, cut, back, groups)
    # Any number of stored buckets make one that is scored.
    return _silences(spec, window, store, cut - back * freq_lengths(spec)[1], 0, groups)


def late_batch(
    spec: BatchSpec,
    window: RunWindow,
    store: MetricRows,
    found: Lateness,
    since: Mapping[str, np.datetime64],
    looked: np.datetime64,
    groups: Sequence[Group] = (Group(),),
) -> LateBatch:
    """
    Find when the whole batch was late: wherever a silence tells anything, and from the beginning of its own event.

    :param since: from which bucket on a metric's silences tell.
    :param looked: from when on buckets of the batch are looked at; those that closed in the window are too.
    """
    told = [gap for name, own in found.gaps.items() for gap in own if gap.newest >= since[name]]
    if not told:
        return freshness.of_batch({}, {})
    begin = min(gap.last for gap in told)
    while True:
        moment: datetime = begin.astype("datetime64[us]").item()
        known = _silences(spec, window, store, moment.replace(tzinfo=UTC), 0, groups)
        batch = freshness.of_batch(known.gaps, known.stored, _least(spec), finders.LOOK_BACK, begin)
        before = [gap.last for own in known.gaps.values() for gap in own if gap.last < begin <= gap.ended]
        first = first_looked(spec, window, batch, looked)
        if not before or first == len(batch.times) or not batch.is_late[:first].all():
            return batch
        begin = min(before)


def first_looked(spec: BatchSpec, window: RunWindow, batch: LateBatch, looked: np.datetime64) -> int:
    """Return the position of the first bucket of the batch that is looked at."""
    opening = int(np.searchsorted(batch.ends, stamp(window.start - spec.completeness_delay), side="right"))
    return min(opening, int(np.searchsorted(batch.times, looked)))


def _least(spec: BatchSpec) -> int:
    return freshness.LEAST if spec.freshness == "auto" else 3


def _silences(
    spec: BatchSpec, window: RunWindow, store: MetricRows, cut: datetime, back: int, groups: Sequence[Group]
) -> Lateness:
    """Find the silences up to the end of the window, from the one before the ``back`` buckets before ``cut`` on."""
    back += 1
    stored = _stored(spec, window, store, cut, back + max(_least(spec), finders.GRAIN), groups)
    if spec.freshness == "auto":
        suspects = [
            name for name, times in stored.items() if freshness.may_be_late(*_asked(spec, window, times, cut, back))
        ]
        stored |= _stored(spec, window, store, cut, back + freshness.HISTORY + 1, groups, suspects)
    found = {name: _gaps(spec, window, times, cut, back) for name, times in stored.items()}
    gaps = {name: kept for name, own in found.items() if (kept := _alerting(spec, name, own))}
    return Lateness(gaps, stored, spec.timezone)


def _stored(
    spec: BatchSpec,
    window: RunWindow,
    store: MetricRows,
    cut: datetime,
    newest: int,
    groups: Sequence[Group],
    metrics: Sequence[str] | None = None,
) -> dict[str, Times]:
    """Return the starts of the newest buckets of each metric that can alert."""
    limits: dict[str, Any] = {"since": cut - 2 * finders.LOOK_BACK, "until": window.end, "newest": newest, "cut": cut}
    # Most metrics of a batch have rows at the same times, which are kept once.
    shared: dict[bytes, Times] = {}
    found: dict[str, Times] = {}
    for rows in read_in_groups(store, groups, ["metric"], **limits, metrics=metrics):
        for name, series in split(rows).items():
            if name not in spec.alert_exclude_metrics:
                found[name] = shared.setdefault(series.times.tobytes(), series.times.copy())
    return found


def _asked(
    spec: BatchSpec, window: RunWindow, times: Times, cut: datetime, back: int
) -> tuple[Times, np.datetime64, list[Grain]]:
    """Return stored times, the end of the run, and the grains of the buckets whose following silences are judged."""
    before = int(np.searchsorted(times, stamp(cut)))
    grains = finders.grains(spec, times, max(before - back, 0))
    return times, stamp(window.end - spec.completeness_delay), grains


def _gaps(spec: BatchSpec, window: RunWindow, times: Times, cut: datetime, back: int) -> list[Gap]:
    after = spec.freshness if isinstance(spec.freshness, timedelta) else None
    return freshness.gaps(*_asked(spec, window, times, cut, back), spec.timezone, after, finders.LOOK_BACK)


def _alerting(spec: BatchSpec, name: str, found: Sequence[Gap]) -> list[Gap]:
    """Return the silences without the buckets in which the calendar lets nothing alert."""
    calendar = Calendar.for_metric(spec, name)
    if calendar.is_empty:
        return list(found)
    kept = [(gap, ~calendar.marks(gap.late, spec.timezone).suppressed) for gap in found]
    return [replace(gap, late=gap.late[keep], ends=gap.ends[keep]) for gap, keep in kept if keep.any()]
