"""
How findings become events: a fold over the findings of one metric in time, never over stored alerts.

Findings of one direction that follow each other closely are one event. It opens with the first, escalates when it gets
worse than was last told, and closes at the first bucket beyond the gap after its newest finding. What came before a
gap that nothing reaches over cannot matter, so the fold may begin behind any such gap and comes out the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from anomstack_provider.alerting.findings import Findings, Flags
from anomstack_provider.detection.series import Times

Positions: TypeAlias = NDArray[np.intp]
# "routine" is the one of no event: a bucket that is told whatever it is.
Name = Literal["opened", "escalated", "closed", "expired", "routine"]

# In one bucket an old event ends before a new one begins.
_ORDER = ("closed", "expired", "opened", "escalated")


@dataclass(frozen=True)
class Merging:
    """
    Which findings are one event, and when it is told again.

    :param buckets: so many buckets without a finding end an event; at least one does.
    :param gap: and more than so much time without a finding.
    :param reach: for so many buckets an event's own value disturbs the judgement of those after it.
    :param renotify_pct: so much further from the expected value than last told, an event is told again.
    :param expires: an event that lasts longer says so and is silent from then on.
    """

    buckets: int
    gap: timedelta
    reach: int
    renotify_pct: float
    expires: timedelta

    def over(self, times: Times) -> Positions:
        """Return for each bucket the position at which an event is over whose newest finding is there."""
        by_count = np.arange(len(times)) + 1 + self.buckets
        return np.maximum(by_count, np.searchsorted(times, times + np.timedelta64(self.gap), side="right"))

    def settled(self, times: Times) -> Positions:
        """Return for each bucket the position from which a finding there does not matter any more."""
        return np.maximum(self.over(times) + 1, np.arange(len(times)) + 1 + self.reach)

    def unknown_until(self, times: Times) -> int:
        """Return the first position to which no finding before the first bucket matters."""
        by_time = int(np.searchsorted(times, times[0] + np.timedelta64(self.gap))) if len(times) else 0
        return max(max(self.buckets, by_time) + 1, self.reach)


@dataclass(frozen=True)
class Transition:
    """
    What happened to an event in one bucket; ``first``, ``newest`` and ``peak`` are positions among the findings.

    :param position: the bucket, among those that are judged.
    :param finding: the finding that brought it, None where there is none: the bucket is a quiet one.
    :param severity: of the finding; of one that escalates no less than was told before, of one that closes its worst.
    :param fired: how many of the event's buckets have a finding so far.
    """

    name: Name
    position: int
    finding: int | None
    first: int
    newest: int
    peak: int
    fired: int
    severity: int


@dataclass
class _Event:
    """An event that is not over yet; of the findings their positions."""

    first: int
    newest: int
    peak: int
    fired: int
    worst: int
    told_severity: int
    told_distance: float
    last: int
    told_limit: bool
    expired: bool = False

    def transition(self, name: Name, position: int, finding: int | None, severity: int) -> Transition:
        return Transition(name, position, finding, self.first, self.newest, self.peak, self.fired, severity)

    def close(self, position: int) -> list[Transition]:
        """Return its end, which nobody is told of an event that has expired."""
        return [] if self.expired else [self.transition("closed", position, None, self.worst)]


def fold(
    times: Times, findings: Findings, severity: NDArray[np.int8], merging: Merging, limits: Flags | None = None
) -> list[Transition]:
    """
    Return what happened to the events of one metric, oldest first, given that nothing was open before the first bucket.

    A finding whose own value is within its expected range, shortly after a bucket of an event, is that bucket's echo in
    the features of the later ones: it opens, extends and escalates nothing. How far out any other is, and so whether
    an event got worse, is said of its worst bucket. The first bucket of an event that crosses a limit that somebody set
    is told again too, and is nothing's echo.

    :param times: every bucket that was judged, shape (n,); those of the findings are among them.
    :param findings: of one kind, or of kinds whose findings are one problem, shape (k,).
    :param severity: of each finding, higher is worse, shape (k,).
    :param limits: which findings cross such a limit, shape (k,); none if not given.
    """
    limits = np.zeros(len(findings), bool) if limits is None else limits
    over = merging.over(times).tolist()
    worst = findings.worst
    distances, usual = worst.distance.tolist(), worst.inside.tolist()
    outside = list(zip(distances, worst.beyond.tolist(), strict=True))
    told: list[Transition] = []
    active: dict[int, _Event] = {}
    at = np.searchsorted(times, findings.times)
    echoed = echoes(at, findings.inside & ~limits, merging.reach)
    columns = (at, findings.direction, echoed, severity, limits)
    for k, (position, side, echo, rank, limit) in enumerate(zip(*(each.tolist() for each in columns), strict=True)):
        for other, event in list(active.items()):
            goes_on = other == side and not echo and position <= event.last + 1
            if over[event.last] <= position and not goes_on:
                told += event.close(over[event.last])
                del active[other]
        if echo:
            continue
        if side not in active:
            active[side] = _Event(k, k, k, 1, rank, rank, distances[k], position, limit)
            told.append(active[side].transition("opened", position, k, rank))
            continue
        event = active[side]
        _extend(event, k, position, rank, outside)
        lasted = findings.times[k] - findings.times[event.first]
        if name := _told_again(event, usual[k], distances[k], rank, limit, lasted, merging):
            told.append(event.transition(name, position, k, event.told_severity if name == "escalated" else rank))
    for event in active.values():
        if over[event.last] < len(times):
            told += event.close(over[event.last])
    return sorted(told, key=lambda t: (t.position, _ORDER.index(t.name), t.first))


def echoes(at: Positions, inside: Flags, reach: int) -> Flags:
    """
    Return which findings are an echo: within their range, at most ``reach`` buckets after one that is none itself.

    :param at: the bucket of each finding by position, increasing; ``inside`` which of them are within their range.
    """
    found = np.zeros(len(at), bool)
    newest = -reach - 1
    for k, (position, usual) in enumerate(zip(at.tolist(), inside.tolist(), strict=True)):
        found[k] = usual and 0 < position - newest <= reach
        newest = newest if found[k] else position
    return found


def _extend(event: _Event, k: int, position: int, rank: int, outside: list[tuple[float, float]]) -> None:
    event.fired += position > event.last
    event.newest, event.last = k, position
    event.worst = max(event.worst, rank)
    if outside[k] > outside[event.peak]:
        event.peak = k


def _told_again(
    event: _Event, inside: bool, distance: float, rank: int, limit: bool, lasted: np.timedelta64, merging: Merging
) -> Name | None:
    """Say how a finding that extends an event is told, if at all, and keep in mind what was told."""
    if event.expired:
        return None
    if lasted > np.timedelta64(merging.expires):
        event.expired = True
        return "expired"
    # Of a value without an expected one, such as that of a threshold, nobody knows how far out it is: 0.
    further = not inside and distance > 0 and distance >= event.told_distance * (1 + merging.renotify_pct / 100)
    if rank <= event.told_severity and not further and limit <= event.told_limit:
        return None
    event.told_limit |= limit
    event.told_severity, event.told_distance = max(rank, event.told_severity), max(distance, event.told_distance)
    return "escalated"


def quiet_start(fires: Flags, times: Times, first: int, merging: Merging) -> int | None:
    """
    Return the newest position, not after ``first``, from which the fold is exact whatever lies before the array.

    That is one to which no finding before it matters. None if the array does not reach back that far.

    :param fires: which of the buckets have a finding.
    """
    hot = np.flatnonzero(fires[:first])
    settled = np.maximum.accumulate(merging.settled(times)[hot])
    for start in range(first, merging.unknown_until(times) - 1, -1):
        before = int(np.searchsorted(hot, start))
        if before == 0 or settled[before - 1] <= start:
            return start
    return None
