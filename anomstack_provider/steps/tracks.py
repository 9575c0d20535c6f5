"""Findings on one metric that are one problem: where something was looked for, what was found, what becomes of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from anomstack_provider.alerting import events, gates, rules
from anomstack_provider.alerting.alert import Alert
from anomstack_provider.alerting.findings import DIRECTIONS, Findings, Flags, Kind
from anomstack_provider.alerting.transitions import tell
from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.detection.series import Times

Priority: TypeAlias = Literal["low", "normal", "high"]

# What a finding that late data explain is stopped by, before any gate is asked.
LATE_DATA = "late_data"


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
    """

    name: str
    kinds: tuple[Kind, ...]
    times: Times
    findings: Findings
    verdicts: Sequence[gates.Verdict]
    stopped: NDArray[np.object_]
    merging: events.Merging
    quiet: Callable[[int], Findings]

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
    ) -> Track:
        """
        Ask the gates of the metric.

        :param explained: which findings late data explain; they are stopped too.
        """
        verdicts = gates.judge(findings, spec.gates(name), spec.timezone, others)
        stopped = gates.first_stop(verdicts, len(findings))
        if explained is not None:
            stopped[explained] = LATE_DATA
        return cls(name, kinds, times, findings, verdicts, stopped, merging, quiet)

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
        findings, severity, kept = _one_per_bucket(self.findings, kept, spec.priority(self.name))
        happened = events.fold(self.times[start:], findings, severity, self.merging)
        moved = [replace(what, position=what.position + start) for what in happened]

        def passed(k: int) -> tuple[str, ...]:
            return tuple(verdict.passed(int(kept[k])) for verdict in self.verdicts)

        return tell(spec, self.name, [what for what in moved if what.position >= first], findings, self.quiet, passed)

    def stops(self, opening: int) -> list[Stopped]:
        """Return the findings from a position on that a gate stopped."""
        found = self.findings
        return [
            Stopped(
                self.name,
                found.times[k],
                str(self.stopped[k]),
                DIRECTIONS[int(found.direction[k])],
                float(found.value[k]),
                float(found.expected[k]),
            )
            for k in np.flatnonzero((self.stopped != "") & (self.at >= opening)).tolist()
        ]


def _one_per_bucket(
    findings: Findings, kept: NDArray[np.intp], priority: Priority
) -> tuple[Findings, NDArray[np.int8], NDArray[np.intp]]:
    """
    Return some of the findings, their severities and positions, those of one bucket and direction as one.

    It is the first of them, with the reasons of all and the severity of the worst.
    """
    severity = rules.severity(findings, priority)
    groups: dict[tuple[int, int], list[int]] = {}
    for k in kept.tolist():
        groups.setdefault((int(findings.times[k].astype(np.int64)), int(findings.direction[k])), []).append(k)
    first = np.array([group[0] for group in groups.values()], np.intp)
    one = findings.take(first)
    worst = severity[first]
    for i, group in enumerate(groups.values()):
        if len(group) > 1:
            one.why[i] = tuple(reason for k in group for reason in findings.why[k])
            worst[i] = severity[group].max()
    return one, worst, first


@dataclass(frozen=True)
class Looked:
    """
    A track and which of its buckets a run looks at.

    :param first: position of the first of them.
    :param opening: position of the first that had not closed before the window.
    :param lead: so many buckets after the first known one are not judged themselves.
    """

    track: Track
    first: int
    opening: int
    lead: int = 0

    def is_settled(self, known: np.datetime64) -> bool:
        """
        Whether its buckets can be told of exactly: a quiet gap lies before them.

        :param known: from then on nothing is missing, but that the first ``lead`` buckets are not judged.
        """
        track = self.track
        if self.first == len(track.times):
            return True
        lead = int(np.searchsorted(track.times, known)) + self.lead
        start = events.quiet_start(track.fires[lead:], track.times[lead:], self.first - lead, track.merging)
        return start is not None
