"""Tracks of late data: of each metric that is late by itself, and of the whole batch; see ``lateness``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anomstack_provider.alerting import events
from anomstack_provider.alerting.alert import Alert
from anomstack_provider.alerting.findings import Findings, Flags
from anomstack_provider.alerting.freshness import LateBatch
from anomstack_provider.alerting.transitions import ROW_TYPES, stored_alerts
from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.detection import grain
from anomstack_provider.detection.series import Times, split_columns
from anomstack_provider.runtime.window import RunWindow
from anomstack_provider.steps import lateness
from anomstack_provider.steps import score as score_step
from anomstack_provider.steps.groups import Group, read_in_groups
from anomstack_provider.steps.lateness import Lateness
from anomstack_provider.steps.ports import MetricRows
from anomstack_provider.steps.scored import ScoredBatch
from anomstack_provider.steps.tracks import Looked, Track
from anomstack_provider.steps.training import stamp

Names = Mapping[datetime, tuple[str, ...]]

_NEVER = np.datetime64("9999-01-01", "us")


class Late:
    """Late data of a batch in and before a window, worked out as far back as was asked for."""

    def __init__(self, spec: BatchSpec, window: RunWindow, store: MetricRows, groups: Sequence[Group]) -> None:
        self._spec, self._window, self._store = spec, window, store
        self.groups = groups
        self._back = 0
        self._found: Lateness | None = None

    def since(self, back: int) -> Lateness:
        """Return what is late after the ``back`` buckets of each metric before the window, or more of them."""
        if self._found is None or back > self._back:
            self._found = lateness.late_data(self._spec, self._window, self._store, back, self.groups)
            self._back = back
        return self._found

    def names(self) -> frozenset[str]:
        """Return the metrics that are or were late by themselves."""
        return frozenset(self.since(score_step.look_back(self._spec)).gaps)

    def explains(self, name: str, findings: Findings, back: int) -> Flags:
        """Return which findings on the metric's values its late data explain."""
        ends = grain.mixed_ends(findings.grain.tolist(), findings.times, self._spec.timezone)
        return self.since(back).explains(name, findings.times, ends)


@dataclass(frozen=True)
class LateTracks:
    """
    What a run says of late data.

    :param tracks: of each metric that is late by itself and of the batch, with who is late by bucket of the batch.
    :param clear: keys of the rows of late data that earlier runs stored in buckets that this run looks at.
    :param missing: every late bucket in UTC with its metric, or with the batch that tells it.
    """

    tracks: Sequence[tuple[Looked, Names]]
    clear: Sequence[tuple[str, str, Times]]
    missing: frozenset[tuple[str, datetime]] = frozenset()


def late_data(
    spec: BatchSpec,
    window: RunWindow,
    store: MetricRows,
    late: Late,
    batch: ScoredBatch,
    since: Mapping[str, np.datetime64],
) -> LateTracks:
    """
    Return the tracks of late data, and the rows of earlier runs in their place.

    :param since: from when on rows of a metric are written anew; those of its late data are among them.
    """
    if "late" not in spec.finds:
        return LateTracks((), ())
    everything = late.since(score_step.look_back(spec))
    looked = _batch_looked_at(spec, window, everything, since)
    found = everything.without_retired(looked)
    judged = {name: _judged(spec, window, found, name, since.get(name)) for name in found.gaps}
    begins = {name: own.times[own.first] if own.first < len(own.times) else _NEVER for name, own in judged.items()}
    whole = lateness.late_batch(spec, window, store, found, begins, looked, late.groups)
    tracks = [_of_metric(spec, name, own, found, whole, batch) for name, own in judged.items()]
    if len(whole.times):
        tracks.append(_of_batch(spec, window, whole, looked, batch))
    begins = {name: _newest(spec, times, since.get(name)) for name, times in everything.stored.items()} | begins
    earlier = _rows(spec, window, store, begins | {spec.metric_batch: looked}, everything, late.groups)
    late_times = {name: everything.of_metric(name).times for name in everything.gaps}
    missing = [*_missing(late_times), *_missing({spec.metric_batch: whole.times[whole.is_late]})]
    return LateTracks(tracks, [(name, ROW_TYPES["late"], times) for name, times in earlier.items()], frozenset(missing))


def _missing(found: Mapping[str, Times]) -> list[tuple[str, datetime]]:
    return [(name, time.replace(tzinfo=UTC)) for name, times in found.items() for time in times.tolist()]


@dataclass(frozen=True)
class _Judged:
    """Buckets of which it is said whether they are late, with their grains; ``first`` of them is looked at."""

    times: Times
    grain: NDArray[np.object_]
    first: int
    opening: int


def _judged(spec: BatchSpec, window: RunWindow, found: Lateness, name: str, since: np.datetime64 | None) -> _Judged:
    """Return the closed buckets of a metric that has late ones."""
    cut, until = (stamp(moment - spec.completeness_delay) for moment in (window.start, window.end))
    times, late = found.judged(name), found.of_metric(name)
    # A bucket is as long as the newest late one before it.
    own = late.grain[np.clip(np.searchsorted(late.times, times, side="right") - 1, 0, None)]
    ends = grain.mixed_ends(own.tolist(), times, spec.timezone)
    closed = ends <= until
    times, ends, own = times[closed], ends[closed], own[closed]
    opening = int(np.searchsorted(ends, cut, side="right"))
    first = int(np.searchsorted(times, _newest(spec, times, since)))
    return _Judged(times, own, min(opening, first), opening)


def _newest(spec: BatchSpec, times: Times, since: np.datetime64 | None) -> np.datetime64:
    """Return from when on a run looks at buckets that closed before its window."""
    if since is not None:
        return since
    return times[-min(len(times), _looked_at(spec))] if len(times) else _NEVER


def _looked_at(spec: BatchSpec) -> int:
    return spec.alert_recent_n + spec.alert_snooze_n


def _batch_looked_at(
    spec: BatchSpec, window: RunWindow, found: Lateness, since: Mapping[str, np.datetime64]
) -> np.datetime64:
    """Return from when on a run looks at the batch: as at that of its living metrics that has the shortest buckets."""
    cut = stamp(window.start - spec.completeness_delay)
    living = found.without_retired(cut)
    names = [name for name, gaps in found.gaps.items() if len(living.gaps.get(name, ())) < len(gaps)]
    newest = [_newest(spec, living.judged(name), None) for name in found.stored if name not in names]
    return min(max(newest, default=cut), since.get(spec.metric_batch, cut), cut)


def _of_metric(
    spec: BatchSpec, name: str, own: _Judged, found: Lateness, whole: LateBatch, batch: ScoredBatch
) -> tuple[Looked, Names]:
    # Of each silence the metric tells all from the first late bucket on that the batch does not tell.
    told = [np.logical_or.accumulate(~whole.tells(gap)) for gap in found.gaps[name]]
    return _looked(spec, name, own, found.of_metric(name).take(np.concatenate(told)), batch), {}


def _of_batch(
    spec: BatchSpec, window: RunWindow, whole: LateBatch, looked: np.datetime64, batch: ScoredBatch
) -> tuple[Looked, Names]:
    first = lateness.first_looked(spec, window, whole, looked)
    opening = lateness.first_looked(spec, window, whole, _NEVER)
    own = _Judged(whole.times, whole.grain, first, opening)
    names = dict(zip(whole.times.tolist(), whole.metrics, strict=True))
    return _looked(spec, spec.metric_batch, own, lateness.findings_of(whole), batch), names


def _looked(spec: BatchSpec, name: str, own: _Judged, findings: Findings, batch: ScoredBatch) -> Looked:
    def quiet(position: int) -> Findings:
        at = slice(position, position + 1)
        value = batch.values(name, own.times[at])
        return Findings.of("late", own.times[at], np.zeros(1, np.int8), why=[()], grain=own.grain[at], value=value)

    # A silence is one event, and is over with the first bucket after it.
    merging = events.Merging(0, timedelta(0), 0, spec.renotify_pct, spec.event_expires)
    said = batch.said.get(name, ())
    track = Track.judge(spec, name, ("late",), own.times, findings, merging, quiet, batch, said=said)
    return Looked(track, own.first, own.opening)


def _rows(
    spec: BatchSpec,
    window: RunWindow,
    store: MetricRows,
    begins: Mapping[str, np.datetime64],
    found: Lateness,
    groups: Sequence[Group],
) -> dict[str, Times]:
    """
    Return the buckets, by name, of stored rows of late data that are looked at: what is said now is all there is.

    Those of silences that the run does not look at, of a retired metric, are left alone.
    """
    cut, until = (stamp(moment - spec.completeness_delay) for moment in (window.start, window.end))
    limits: dict[str, Any] = {"newest": _looked_at(spec), "cut": window.start - spec.completeness_delay}
    own = groups if groups[0].names is None else [*groups, Group(frozenset([spec.metric_batch]))]
    keys: dict[str, Times] = {}
    for rows in read_in_groups(store, own, [ROW_TYPES["late"]], since=None, until=window.end, **limits):
        for name, (times, texts) in split_columns(rows, "metadata").items():
            alerts = [_late_alerts(text) for text in texts]
            ours = np.array([bool(told) for told in alerts])
            if name not in begins or not ours.any():
                continue
            times, grains = times[ours], [told[0].grain for told in alerts if told]
            ends = grain.mixed_ends(grains, times, spec.timezone)
            retired = [gap.late for gap in found.gaps.get(name, ()) if gap.lasts and gap.newest < begins[name]]
            open_now = ((times >= begins[name]) | (ends > cut)) & (ends <= until)
            keys[name] = times[open_now & ~np.isin(times, np.concatenate([*retired, times[:0]]))]
    return keys


def _late_alerts(text: str) -> list[Alert]:
    """Return what a stored row tells if that is of late data only, else nothing."""
    if not isinstance(text, str) or '"late"' not in text:
        return []
    try:
        told = stored_alerts(text)
    except ValueError:
        return []
    return told if all(one.kind == "late" for one in told) else []
