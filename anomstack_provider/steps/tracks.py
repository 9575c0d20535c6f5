"""Findings on one metric that are one problem: where something was looked for, what was found, what becomes of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from anomstack_provider.alerting import events, gates, rules
from anomstack_provider.alerting.alert import Alert
from anomstack_provider.alerting.findings import DIRECTIONS, Findings, Flags, Kind
from anomstack_provider.alerting.transitions import tell
from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.detection import feedback, grain
from anomstack_provider.detection.feedback import Verdicts
from anomstack_provider.detection.series import Times
from anomstack_provider.steps.feedback import decided_at
from anomstack_provider.steps.training import stamp

Priority: TypeAlias = Literal["low", "normal", "high"]

# What a finding that late data explain is stopped by, before any gate is asked.
LATE_DATA = "late_data"
# And what people stopped: by a snooze, or by what they said of the event.
SNOOZE, FEEDBACK = "snooze", "feedback"


@dataclass(frozen=True)
class Stopped:
    """A finding that a gate kept from alerting; its bucket in UTC, naive."""

    metric_name: str
    bucket: np.datetime64
    gate: str
    direction: str
    value: float
    expected: float


@dataclass(frozen=True)
class Track:
    """
    The buckets of one metric that were judged, and what was found, of one kind or of some that make events together.

    :param times: starts of the buckets, oldest first; those of the findings are among them.
    :param stopped: the gate that stopped each finding, "" where none did.
    :param merging: which of the findings are one event.
    :param quiet: returns the bucket at a position as if it had a finding.
    :param said: what people said of the metric's buckets.
    """

    name: str
    kinds: tuple[Kind, ...]
    times: Times
    findings: Findings
    verdicts: Sequence[gates.Verdict]
    stopped: NDArray[np.object_]
    merging: events.Merging
    quiet: Callable[[int], Findings]
    said: Verdicts = ()

    @classmethod
    def judge(
        cls,
        spec: BatchSpec,
        name: str,
        kinds: tuple[Kind, ...],
        times: Times,
        findings: Findings,
        merging: events.Merging,
        quiet: Callable[[int], Findings],
        others: gates.Others,
        explained: Flags | None = None,
        said: Verdicts = (),
    ) -> Track:
        """
        Ask the gates of the metric, of each finding about its worst bucket.

        :param explained: which findings late data explain; they are stopped too.
        """
        verdicts = gates.judge(findings.worst, spec.gates(name), spec.timezone, others)
        stopped = gates.first_stop(verdicts, len(findings))
        if explained is not None:
            stopped[explained] = LATE_DATA
        if said:
            snoozed, _ = feedback.snoozed(said, decided(spec, findings))
            stopped[snoozed & (stopped == "")] = SNOOZE
        return cls(name, kinds, times, findings, verdicts, stopped, merging, quiet, said)

    @property
    def at(self) -> NDArray[np.intp]:
        """The bucket of each finding, by its position."""
        return np.searchsorted(self.times, self.findings.times)

    @property
    def fires(self) -> Flags:
        """Which buckets have a finding that passed the gates."""
        flags = np.zeros(len(self.times), bool)
        flags[self.at[self.stopped == ""]] = True
        return flags

    def alerts(self, spec: BatchSpec, first: int) -> list[Alert]:
        """Return the alerts of the transitions in the buckets from ``first`` on."""
        start = events.quiet_start(self.fires, self.times, first, self.merging) or 0
        kept = np.flatnonzero((self.stopped == "") & (self.at >= start))
        findings, severity, kept, kinds = _one_per_bucket(self.findings, kept, spec.priority(self.name))
        limits = np.array(["threshold" in found for found in kinds], bool)
        happened = events.fold(self.times[start:], findings, severity, self.merging, limits)
        moved = [replace(what, position=what.position + start) for what in happened]

        def passed(k: int) -> tuple[str, ...]:
            return tuple(verdict.passed(int(kept[k])) for verdict in self.verdicts)

        news = [what for what in moved if what.position >= first]
        told = tell(spec, self.name, news, findings, self.quiet, passed, kinds)
        return [one for one in told if not _is_settled(spec, self.said, one)] if self.said else told

    def stops(self, spec: BatchSpec, opening: int) -> list[Stopped]:
        """Return the findings from a position on that a gate or what people said stopped."""
        found, stopped = self.findings, self._with_feedback(spec) if self.said else self.stopped
        return [
            Stopped(
                self.name,
                found.times[k],
                str(stopped[k]),
                DIRECTIONS[int(found.direction[k])],
                float(found.value[k]),
                float(found.expected[k]),
            )
            for k in np.flatnonzero((stopped != "") & (self.at >= opening)).tolist()
        ]

    def _with_feedback(self, spec: BatchSpec) -> NDArray[np.object_]:
        """
        Return what stopped each finding, also for those of an event that someone has settled.

        Only for the record: without them before the fold, their echoes would make an event of their own.
        """
        over, stopped = self.merging.over(self.times), self.stopped.copy()
        moments = decided(spec, self.findings)
        for direction in np.unique(self.findings.direction):
            mine = np.flatnonzero((stopped == "") & (self.findings.direction == direction))
            events_of = feedback.chains(self.at[mine], over)
            settled, _ = feedback.stopped(self.said, self.findings.times[mine], moments[mine], events_of)
            stopped[mine[settled]] = FEEDBACK
        return stopped


def decided(spec: BatchSpec, found: Findings) -> Times:
    """Return when each finding is decided: what was said counts from the moment it was given."""
    return decided_at(spec, grain.mixed_ends(found.grain.tolist(), found.times, spec.timezone))


def _is_settled(spec: BatchSpec, said: Verdicts, one: Alert) -> bool:
    """Whether someone has said of the event, before this was decided, what makes it no news."""
    bucket = np.array([stamp(one.bucket)])
    (end,) = decided_at(spec, grain.mixed_ends([one.grain], bucket, spec.timezone)).tolist()
    return bool(feedback.silenced(said, one.first_bucket or one.bucket, one.bucket, end.replace(tzinfo=UTC)))


def _one_per_bucket(
    findings: Findings, kept: NDArray[np.intp], priority: Priority
) -> tuple[Findings, NDArray[np.int8], NDArray[np.intp], list[tuple[str, ...]]]:
    """
    Return some of the findings, their severities, positions and kinds, those of one bucket and direction as one.

    It is the first of them, with the reasons of all and the severity of the worst.
    """
    severity = rules.severity(findings, priority)
    groups: dict[tuple[int, int], list[int]] = {}
    for k in kept.tolist():
        groups.setdefault((int(findings.times[k].astype(np.int64)), int(findings.direction[k])), []).append(k)
    first = np.array([group[0] for group in groups.values()], np.intp)
    one = findings.take(first)
    worst = severity[first]
    kinds = [tuple(findings.kind[group].tolist()) for group in groups.values()]
    for i, group in enumerate(groups.values()):
        if len(group) > 1:
            one.why[i] = tuple(reason for k in group for reason in findings.why[k])
            one.says[i] = next((findings.says[k] for k in group if findings.says[k]), "")
            worst[i] = severity[group].max()
    return one, worst, first, kinds


@dataclass(frozen=True)
class Looked:
    """
    A track and which of its buckets a run looks at.

    :param first: position of the first of them.
    :param opening: position of the first that had not closed before the window.
    :param lead: each score is judged by so many scores before it too.
    :param scored: starts of the buckets that have a score.
    """

    track: Track
    first: int
    opening: int
    lead: int = 0
    scored: Times = field(default_factory=lambda: np.empty(0, "datetime64[us]"))

    def is_settled(self, known: np.datetime64) -> bool:
        """
        Whether its buckets can be told of exactly: a quiet gap lies before them.

        :param known: from then on nothing is missing, but that the first ``lead`` scores are not judged exactly.
        """
        track = self.track
        if self.first == len(track.times):
            return True
        begin = int(np.searchsorted(track.times, known))
        if len(unsure := self.scored[np.searchsorted(self.scored, known) :][: self.lead]):
            begin = int(np.searchsorted(track.times, unsure[-1], side="right"))
        start = events.quiet_start(track.fires[begin:], track.times[begin:], self.first - begin, track.merging)
        return start is not None
