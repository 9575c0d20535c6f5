"""
Business gates: which findings are worth telling, decided on arrays. A score is never touched by them.

Each gate that is configured gives a verdict; the first that stops a finding is the one that it is counted under. A gate
that has nothing to compare (no expected value, late data) lets a finding through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from anomstack_provider.alerting.findings import DOWN, NONE, UP, Findings, Flags
from anomstack_provider.alerting.hours import in_hours, in_maintenance
from anomstack_provider.alerting.wording import number
from anomstack_provider.config.gates import Gates
from anomstack_provider.detection import grain
from anomstack_provider.detection.series import Floats, Times

_SIDE = {"up": UP, "down": DOWN}
_OF_EXPECTED = {"up": "above", "down": "below"}


class Others(Protocol):
    """The other metrics of the batch, in buckets of the same start."""

    def values(self, metric_name: str, times: Times) -> Floats:
        """Return the metric's values, NaN where it has none."""
        ...

    def sides(self, metric_name: str, times: Times) -> NDArray[np.int8]:
        """Return where the metric lies beside its own expected range: ``UP``, ``DOWN``, or ``NONE`` within it."""
        ...


@dataclass(frozen=True)
class Verdict:
    """What one gate says: which findings it stops, and a sentence on each that it let through, by position."""

    gate: str
    stops: Flags
    passed: Callable[[int], str]


def judge(findings: Findings, gates: Gates, timezone: str, others: Others) -> list[Verdict]:
    """Return the verdicts of the gates that are configured, in the order in which they are asked."""
    return list(_verdicts(findings, gates, timezone, others)) if len(findings) else []


def first_stop(verdicts: Sequence[Verdict], n: int) -> NDArray[np.object_]:
    """Return the name of the first gate that stops each of ``n`` findings, "" for those that pass, shape (n,)."""
    names = np.full(n, "", object)
    for verdict in verdicts:
        names[verdict.stops & (names == "")] = verdict.gate
    return names


def _verdicts(found: Findings, gates: Gates, timezone: str, others: Others) -> Iterator[Verdict]:
    valued = found.direction != NONE
    if gates.direction != "both":
        said = f"only values {_OF_EXPECTED[gates.direction]} what is expected alert"
        yield Verdict("direction", valued & (found.direction != _SIDE[gates.direction]), lambda i: said)
    if (least := gates.min_abs_change) is not None:
        change = found.change
        yield Verdict(
            "min_abs_change",
            change < least,  # never true for NaN
            lambda i: f"{number(change[i])} from expected, at least {number(least)}",
        )
    if (percent := gates.min_pct_change) is not None:
        share = _percent(found)
        yield Verdict(
            "min_pct_change",
            share < percent,
            lambda i: f"{_percent_text(share[i])} from expected, at least {number(percent)} %",
        )
    if (volume := gates.min_volume) is not None:
        counts = others.values(volume.metric, found.times)
        yield Verdict(
            "min_volume",
            valued & ~(counts >= volume.at_least),  # a missing count is not enough
            lambda i: f"{volume.metric} is {number(counts[i])}, at least {number(volume.at_least)}",
        )
    if (fine := gates.valid_range) is not None:
        lower, upper = (
            -np.inf if fine.lower is None else fine.lower,
            np.inf if fine.upper is None else fine.upper,
        )
        limits = " and ".join(
            f"{word} {number(edge)}" for word, edge in (("at least", lower), ("at most", upper)) if np.isfinite(edge)
        )
        yield Verdict(
            "valid_range",
            (lower <= found.value) & (found.value <= upper),
            lambda i: f"a valid value is {limits}",
        )
    if (guard := gates.guardrail) is not None:
        sides = others.sides(guard.metric, found.times)
        outside = sides != NONE if guard.direction == "both" else sides == _SIDE[guard.direction]
        yield Verdict(
            "guardrail",
            valued & ~outside,
            lambda i: f"{guard.metric} is {'above' if sides[i] == UP else 'below'} its expected range too",
        )
    yield from _of_the_clock(found, gates, timezone)


def _of_the_clock(found: Findings, gates: Gates, timezone: str) -> Iterator[Verdict]:
    if gates.active_hours is None and not gates.maintenance:
        return
    ends = grain.mixed_ends(found.grain.tolist(), found.times, timezone)
    none = np.timedelta64(0, "us")
    if (hours := gates.active_hours) is not None:
        inside = in_hours(hours, found.times, ends, timezone)
        yield Verdict("active_hours", inside <= none, lambda i: f"within {hours}")
    if gates.maintenance:
        covered = in_maintenance(gates.maintenance, found.times, ends, timezone)
        yield Verdict("maintenance", 2 * covered >= ends - found.times, lambda i: "no maintenance")


def _percent(found: Findings) -> Floats:
    """Return the distance from the expected value in percent of it; inf of an expected 0, 0 without any distance."""
    with np.errstate(divide="ignore", invalid="ignore"):
        share = 100 * found.change / np.abs(found.expected)
    return np.where(found.change == 0, 0.0, share)


def _percent_text(share: float) -> str:
    return f"{number(share)} %" if np.isfinite(share) else "any share"
