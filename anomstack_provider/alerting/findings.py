"""
Findings of one metric as arrays: the buckets in which something was found, whoever found it.

A finding is a bucket, a kind and a direction with the numbers that a message shows. Scores, thresholds, changes of
level, a language model and late data all come in this form; which of them are told is decided by ``gates`` and
``events``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from anomstack_provider.detection.series import Floats, Times

Flags: TypeAlias = NDArray[np.bool_]
Kind = Literal["anomaly", "threshold", "change", "llm", "late"]

UP, NONE, DOWN = 1, 0, -1
DIRECTIONS = {UP: "up", NONE: "none", DOWN: "down"}


@dataclass(frozen=True)
class Findings:
    """
    Findings of one metric, oldest first, every array of shape (n,).

    :param times: starts of the buckets, ``datetime64[us]`` in UTC, increasing; the same bucket may have one per kind.
    :param kind: ``anomaly``, ``threshold``, ``change``, ``llm`` or ``late``.
    :param direction: ``UP``, ``DOWN``, or ``NONE`` for late data; int8. It is that of the worst bucket.
    :param value: the metric's value, NaN where there is none; so for every number below.
    :param lower: lower end of the expected range, NaN where it is open.
    :param score: what crossed ``threshold``, for a kind that has a score.
    :param grain: length of the bucket, such as ``1h``.
    :param note: what the calendar says of the bucket.
    :param why: sentences that say why it was found, a tuple per finding.
    :param says: how a language model explains it, "" where none was asked or it did not name the bucket.
    :param worst_times: the worst of the buckets that the finding is about, not after its own, with its numbers below;
        its own unless what was found looks back at earlier ones.
    """

    times: Times
    kind: NDArray[np.object_]
    direction: NDArray[np.int8]
    value: Floats
    expected: Floats
    lower: Floats
    upper: Floats
    score: Floats
    threshold: Floats
    grain: NDArray[np.object_]
    note: NDArray[np.object_]
    why: NDArray[np.object_]
    says: NDArray[np.object_]
    worst_times: Times
    worst_value: Floats
    worst_expected: Floats
    worst_lower: Floats
    worst_upper: Floats

    @classmethod
    def of(
        cls,
        kind: Kind,
        times: Times,
        direction: NDArray[np.int8],
        *,
        why: Sequence[tuple[str, ...]],
        grain: Sequence[str] | NDArray[np.object_],
        note: NDArray[np.object_] | None = None,
        says: NDArray[np.object_] | None = None,
        **numbers: Floats,
    ) -> Findings:
        """Return findings of one kind; of ``numbers`` (value, expected, ...) those left out are NaN."""
        n = len(times)
        reasons = np.empty(n, object)
        reasons[:] = list(why)
        given: dict[str, Any] = {name: np.full(n, np.nan) for name in _NUMBERS} | numbers
        notes = np.full(n, "", object) if note is None else note
        return cls(
            times=times,
            kind=np.full(n, kind, object),
            direction=direction,
            grain=np.asarray(grain, object),
            note=notes,
            why=reasons,
            says=np.full(n, "", object) if says is None else says,
            worst_times=times,
            **{f"worst_{name}": given[name] for name in _WORST},
            **given,
        )

    @classmethod
    def together(cls, parts: Sequence[Findings]) -> Findings:
        """Return the findings of all parts, oldest first; in one bucket in the order of the parts."""
        order = np.argsort(np.concatenate([part.times for part in parts]), kind="stable")
        names = [field.name for field in fields(cls)]
        return cls(**{name: np.concatenate([getattr(part, name) for part in parts])[order] for name in names})

    def __len__(self) -> int:
        return len(self.times)

    def take(self, keep: Flags | NDArray[np.intp] | slice) -> Findings:
        """Return some of the findings."""
        return Findings(**{field.name: getattr(self, field.name)[keep] for field in fields(self)})

    def about(self, worst: Findings) -> Findings:
        """Return the same findings with others, as many, for their worst buckets."""
        numbers: dict[str, Any] = {f"worst_{name}": getattr(worst, name) for name in _WORST}
        return replace(self, direction=worst.direction, worst_times=worst.times, **numbers)

    @property
    def worst(self) -> Findings:
        """The same findings, each with the start and the numbers of its worst bucket instead of its own."""
        numbers = {name: getattr(self, f"worst_{name}") for name in _WORST}
        return replace(self, times=self.worst_times, **numbers)

    @property
    def change(self) -> Floats:
        """Distance of the value from the expected one, in the metric's unit; NaN without either."""
        return np.abs(self.value - self.expected)

    @property
    def half_width(self) -> Floats:
        """Distance from the expected value to the end of the range on the value's side; inf where that is open."""
        above = self.value >= self.expected
        half = np.where(above, self.upper - self.expected, self.expected - self.lower)
        return np.where(np.isnan(half), np.inf, half)

    @property
    def inside(self) -> Flags:
        """Whether the value lies within its expected range; an end that is open is never passed."""
        return ~((self.value > self.upper) | (self.value < self.lower))

    @property
    def distance(self) -> Floats:
        """How far out the value is: its change in half-widths of the range, 0 without a range or expected value."""
        change, half = self.change, self.half_width
        known = np.isfinite(change) & np.isfinite(half)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = change / half
        return np.where(known & (change > 0), ratio, 0.0)

    @property
    def beyond(self) -> Floats:
        """How far the value is beyond its range, in the metric's unit; 0 for one within it."""
        return np.fmax(np.fmax(self.value - self.upper, self.lower - self.value), 0.0)


_WORST = ("value", "expected", "lower", "upper")
_NUMBERS = (*_WORST, "score", "threshold")
