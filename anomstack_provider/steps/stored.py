"""
Tracks of what is found in stored values, whether they have scores or not: thresholds, changes of level, late data.

What is found is in ``steps.finders``; here it is read as far back as an exact answer needs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anomstack_provider.alerting import events, gates
from anomstack_provider.alerting.findings import Findings, Flags, Kind
from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.detection import grain
from anomstack_provider.detection.calendar import Calendar
from anomstack_provider.detection.series import Times, split
from anomstack_provider.runtime.window import RunWindow
from anomstack_provider.steps import finders
from anomstack_provider.steps import score as score_step
from anomstack_provider.steps.finders import Buckets, Lateness
from anomstack_provider.steps.ports import MetricRows
from anomstack_provider.steps.tracks import Looked, Track
from anomstack_provider.steps.training import stamp


class Late:
    """Late data of a batch in and before a window, worked out as far back as was asked for."""

    def __init__(self, spec: BatchSpec, window: RunWindow, store: MetricRows) -> None:
        self._spec, self._window, self._store = spec, window, store
        self._back = 0
        self._found: Lateness | None = None

    def since(self, back: int) -> Lateness:
        """Return what is late after the ``back`` stored buckets of each metric before the window, or more of them."""
        if self._found is None or back > self._back:
            self._found = finders.late_data(self._spec, self._window, self._store, back)
            self._back = back
        return self._found

    def explains(self, name: str, findings: Findings, back: int) -> Flags:
        """Return which findings on the metric's values its late data explain."""
        ends = grain.mixed_ends(findings.grain.tolist(), findings.times, self._spec.timezone)
        return self.since(back).explains(name, findings.times, ends)


def merging(spec: BatchSpec, kind: Kind) -> events.Merging:
    """Return which findings of a kind are one event; those of scores have their own."""
    buckets = {"threshold": spec.tholdalert_snooze_n, "change": spec.change_snooze_n}.get(kind, 0)
    gap = timedelta(0) if kind == "late" else spec.merge_max_gap
    return events.Merging(buckets, gap, 0, spec.renotify_pct, spec.event_expires)


def values_of(
    spec: BatchSpec, window: RunWindow, store: MetricRows, late: Late, others: gates.Others
) -> dict[str, list[Looked]]:
    """Return per metric the tracks of its thresholds and of its changes of level."""
    kinds: list[Kind] = [kind for kind in ("threshold", "change") if kind in spec.finds]
    found: dict[str, list[Looked]] = {}
    if not kinds:
        return found
    names: Collection[str] | None = None if "change" in kinds else list(spec.tholdalert_thresholds)
    back = score_step.look_back(spec)
    cut = stamp(window.start - spec.completeness_delay)
    while names is None or names:
        newest = back + finders.history(spec)[0]
        limits: dict[str, Any] = {
            "since": None,
            "until": window.end,
            "newest": newest,
            "cut": window.start - spec.completeness_delay,
        }
        wanted = None if names is None else sorted(names)
        unsettled = set()
        for name, series in split(store.read(["metric"], metrics=wanted, **limits)).items():
            before = series.before(cut)
            buckets = finders.closed_buckets(spec, series, window, max(before - back, 0))
            found[name] = [_value_track(spec, name, kind, buckets, cut, late, others, back) for kind in kinds]
            begins = before <= back
            if not begins and not all(one.track.is_settled(one.first, 0) for one in found[name]):
                unsettled.add(name)
        names, back = unsettled, back * 4
    return found


def _value_track(
    spec: BatchSpec,
    name: str,
    kind: Kind,
    buckets: Buckets,
    cut: np.datetime64,
    late: Late,
    others: gates.Others,
    back: int,
) -> Looked:
    find = finders.thresholds_crossed if kind == "threshold" else finders.levels_changed
    marks = Calendar.for_metric(spec, name).marks(buckets.times, spec.timezone)
    kept = ~marks.suppressed
    times, lengths, values = buckets.times[kept], buckets.grain[kept], buckets.series.values[buckets.first :][kept]
    findings = find(spec, name, buckets)
    findings = findings.take(np.isin(findings.times, times))
    findings.note[:] = marks.notes[np.searchsorted(buckets.times, findings.times)]

    def quiet(position: int) -> Findings:
        at = slice(position, position + 1)
        return Findings.of(
            kind, times[at], np.zeros(1, np.int8), why=[()], grain=lengths[at], value=values[at].astype(np.float64)
        )

    explained = late.explains(name, findings, back)
    track = Track.judge(spec, name, kind, times, findings, merging(spec, kind), quiet, others, explained)
    recent = spec.tholdalert_recent_n + spec.tholdalert_snooze_n if kind == "threshold" else 1 + spec.change_snooze_n
    opening = int(np.searchsorted(buckets.ends[kept], cut, side="right"))
    return Looked(track, min(opening, max(len(times) - recent, 0)), opening)


def late_data(
    spec: BatchSpec, window: RunWindow, late: Late, others: gates.Others, since: dict[str, np.datetime64]
) -> Iterator[tuple[Looked, Mapping[datetime, tuple[str, ...]]]]:
    """
    Yield the track of each metric that is late by itself, and that of the batch, with the names of who is late by bucket.

    :param since: from when on rows of a metric are written anew; those of its late data are among them.
    """
    lateness = late.since(score_step.look_back(spec))
    for name in lateness.gaps:
        findings = lateness.of_metric(name)
        own = findings.take(_told_by_itself(lateness, name))
        yield _late(spec, window, name, own, findings.grain, lateness.judged(name), others, since.get(name)), {}
    of_batch = lateness.of_batch()
    if len(of_batch):
        names = dict(zip(of_batch.times.tolist(), lateness.batch.metrics, strict=True))
        judged = lateness.batch.judged
        yield _late(spec, window, spec.metric_batch, of_batch, of_batch.grain, judged, others, None), names


def _told_by_itself(lateness: Lateness, name: str) -> Flags:
    """Return which late buckets the metric tells: of each silence those from the first that the batch does not tell."""
    parts = [np.logical_or.accumulate(~lateness.batch.tells(gap)) for gap in lateness.gaps[name]]
    return np.concatenate(parts)


def _late(
    spec: BatchSpec,
    window: RunWindow,
    name: str,
    findings: Findings,
    lengths: NDArray[np.object_],
    times: Times,
    others: gates.Others,
    since: np.datetime64 | None,
) -> Looked:
    cut, until = (stamp(moment - spec.completeness_delay) for moment in (window.start, window.end))
    # Silences of one metric nearly always have buckets of one length.
    ends = grain.mixed_ends([str(lengths[-1])] * len(times), times, spec.timezone)
    times, ends = times[ends <= until], ends[ends <= until]

    def quiet(position: int) -> Findings:
        at = slice(position, position + 1)
        value = others.values(name, times[at])
        return Findings.of("late", times[at], np.zeros(1, np.int8), why=[()], grain=[str(lengths[-1])], value=value)

    track = Track.judge(spec, name, "late", times, findings, merging(spec, "late"), quiet, others)
    opening = int(np.searchsorted(ends, cut, side="right"))
    newest = max(len(times) - spec.alert_recent_n - spec.alert_snooze_n, 0)
    first = newest if since is None else int(np.searchsorted(times, since))
    return Looked(track, min(opening, first), opening)
