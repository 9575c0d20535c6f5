"""One kind of finding on one metric: where it could have been found, where it was, and what becomes of that."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from anomstack_provider.alerting import events, gates, rules
from anomstack_provider.alerting.alert import Alert
from anomstack_provider.alerting.findings import DIRECTIONS, Findings, Flags, Kind
from anomstack_provider.alerting.transitions import tell
from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.detection.series import Times

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
    The buckets of one metric that were judged for one kind of finding, and what was found.

    :param times: starts of the buckets, oldest first; those of the findings are among them.
    :param stopped: the gate that stopped each finding, "" where none did.
    :param merging: which of the findings are one event.
    :param quiet: returns the bucket at a position as if it had a finding.
    """

    name: str
    kind: Kind
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
        kind: Kind,
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
        return cls(name, kind, times, findings, verdicts, stopped, merging, quiet)

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

    def is_settled(self, first: int, known: int) -> bool:
        """
        Whether the buckets from ``first`` on can be told of exactly: a quiet gap lies before them.

        :param known: from this position on nothing is missing.
        """
        if first == len(self.times):
            return True
        start = events.quiet_start(self.fires[known:], self.times[known:], first - known, self.merging)
        return start is not None

    def alerts(self, spec: BatchSpec, first: int) -> list[Alert]:
        """Return the alerts of the transitions in the buckets from ``first`` on."""
        start = events.quiet_start(self.fires, self.times, first, self.merging) or 0
        kept = np.flatnonzero((self.stopped == "") & (self.at >= start))
        findings = self.findings.take(kept)
        severity = rules.severity(findings, spec.priority(self.name))
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


@dataclass(frozen=True)
class Looked:
    """
    A track and which of its buckets a run looks at.

    :param first: position of the first of them.
    :param opening: position of the first that had not closed before the window.
    """

    track: Track
    first: int
    opening: int
