"""Tracks of late data: of each metric that is late by itself, and of the whole batch; see ``finders``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from anomstack_provider.alerting import events, gates
from anomstack_provider.alerting.findings import Findings, Flags
from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.detection import grain
from anomstack_provider.detection.series import Times
from anomstack_provider.runtime.window import RunWindow
from anomstack_provider.steps import finders
from anomstack_provider.steps import score as score_step
from anomstack_provider.steps.finders import Lateness
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


def late_data(
    spec: BatchSpec, window: RunWindow, late: Late, others: gates.Others, since: dict[str, np.datetime64]
) -> Iterator[tuple[Looked, Mapping[datetime, tuple[str, ...]]]]:
    """
    Yield the track of each metric that is late by itself, and that of the batch with the names of who is late.

    :param since: from when on rows of a metric are written anew; those of its late data are among them.
    """
    lateness = late.since(score_step.look_back(spec))
    for name in lateness.gaps:
        findings = lateness.of_metric(name)
        own = findings.take(_told_by_itself(lateness, name))
        yield (
            _late(
                spec, window, name, own, findings.times, findings.grain, lateness.judged(name), others, since.get(name)
            ),
            {},
        )
    of_batch = lateness.of_batch()
    if len(of_batch):
        names = dict(zip(of_batch.times.tolist(), lateness.batch.metrics, strict=True))
        judged = lateness.batch.judged
        yield (
            _late(spec, window, spec.metric_batch, of_batch, of_batch.times, of_batch.grain, judged, others, None),
            names,
        )


def _told_by_itself(lateness: Lateness, name: str) -> Flags:
    """Return which late buckets the metric tells: of each silence those from the first that the batch does not tell."""
    parts = [np.logical_or.accumulate(~lateness.batch.tells(gap)) for gap in lateness.gaps[name]]
    return np.concatenate(parts)


def _late(
    spec: BatchSpec,
    window: RunWindow,
    name: str,
    findings: Findings,
    late_times: Times,
    lengths: NDArray[np.object_],
    times: Times,
    others: gates.Others,
    since: np.datetime64 | None,
) -> Looked:
    cut, until = (stamp(moment - spec.completeness_delay) for moment in (window.start, window.end))
    # A bucket is as long as the newest late one before it.
    own = lengths[np.clip(np.searchsorted(late_times, times, side="right") - 1, 0, None)]
    ends = grain.mixed_ends(own.tolist(), times, spec.timezone)
    closed = ends <= until
    times, ends, own = times[closed], ends[closed], own[closed]

    def quiet(position: int) -> Findings:
        at = slice(position, position + 1)
        value = others.values(name, times[at])
        return Findings.of("late", times[at], np.zeros(1, np.int8), why=[()], grain=own[at], value=value)

    # A silence is one event, and is over with the first bucket after it.
    merging = events.Merging(0, timedelta(0), 0, spec.renotify_pct, spec.event_expires)
    track = Track.judge(spec, name, ("late",), times, findings, merging, quiet, others)
    opening = int(np.searchsorted(ends, cut, side="right"))
    newest = max(len(times) - spec.alert_recent_n - spec.alert_snooze_n, 0)
    first = newest if since is None else int(np.searchsorted(times, since))
    return Looked(track, min(opening, first), opening)
