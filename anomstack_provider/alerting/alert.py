"""What an alert is: one transition of one event on one metric, with all that a message, a chart or a ledger row needs.

No rule lives here (see ``rules`` and ``events``) and nothing of Airflow.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import MISSING, asdict, dataclass, fields
from datetime import UTC, datetime
from typing import Any


def event_id(metric_batch: str, metric_name: str, kind: str, direction: str, first_bucket: datetime) -> str:
    """Return the id of an event: the same whichever run found it, 16 hexadecimal digits."""
    text = json.dumps([metric_batch, metric_name, kind, direction, first_bucket.astimezone(UTC).isoformat()])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Alert:
    """
    One transition of one event, as of the bucket that brought it.

    :param kind: what was found first: ``anomaly`` (score), ``threshold``, ``change`` (of level), ``llm`` (a language
        model named it) or ``late`` (missing data).
    :param transition: ``opened``, ``escalated``, ``closed`` or ``expired``; ``routine`` for a bucket that is told
        whatever its score, which is no event.
    :param direction: ``up``, ``down``, or ``none`` for data that are late and for routine; like ``severity`` that of
        the worst bucket that was looked at, which need not be ``bucket`` where a score looks back at earlier ones.
    :param bucket: start of the bucket of this transition, aware, UTC; of a closed event the first quiet one.
    :param grain: length of the bucket as written in a config, such as ``1h`` or ``1d``; ``instant`` for a reading.
    :param value: the metric's value in that bucket, None where there is none.
    :param expected: the value to expect there, None where no history of the same slot exists.
    :param lower: lower end of the expected range, same unit as ``value``.
    :param upper: upper end of the expected range, same unit as ``value``.
    :param score: the smoothed score that crossed ``threshold``, in [0, 1]; None for a finding without one.
    :param severity: ``low``, ``medium`` or ``high``.
    :param tags: the metric's own tags as sorted pairs.
    :param note: what the calendar says of the bucket, such as ``Holiday: Christmas Day``; "" for nothing.
    :param why: why it fired, a sentence per kind of finding.
    :param says: how a language model explains the bucket, untrusted text; "" where none named it.
    :param gates: the business gates that it passed, a sentence each.
    :param first_bucket: start of the event's first bucket that fired; ``bucket`` unless given.
    :param last_bucket: start of its newest bucket that fired so far; ``bucket`` unless given.
    :param fired: how many of its buckets fired so far.
    :param peak_bucket: start of its worst bucket so far, with ``peak_value`` and ``peak_expected``; None: ``bucket``.
        Before ``first_bucket`` where a smoothed score fired late.
    :param kinds: all that was found in the event so far, ``kind`` among them; () where that is all.
    :param metrics: names of the metrics that a late batch misses; empty for an event of one metric.
    """

    event_id: str
    metric_batch: str
    metric_name: str
    kind: str
    transition: str
    direction: str
    bucket: datetime
    grain: str
    value: float | None
    expected: float | None
    lower: float | None
    upper: float | None
    score: float | None
    threshold: float | None
    severity: str
    tags: tuple[tuple[str, str], ...] = ()
    note: str = ""
    why: tuple[str, ...] = ()
    gates: tuple[str, ...] = ()
    first_bucket: datetime | None = None
    last_bucket: datetime | None = None
    fired: int = 1
    peak_bucket: datetime | None = None
    peak_value: float | None = None
    peak_expected: float | None = None
    metrics: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    says: str = ""

    def is_of(self, kinds: Collection[str]) -> bool:
        """Whether any of what was found in the event is of one of these kinds."""
        return self.kind in kinds or not set(self.kinds).isdisjoint(kinds)

    @property
    def key(self) -> str:
        """What tells the transitions of an event apart: their name, and of escalations the bucket as well."""
        if self.transition != "escalated":
            return self.transition
        return f"{self.transition}@{self.bucket.astimezone(UTC).isoformat()}"

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; times as ISO 8601 with their offset."""
        times = {key: None if (time := getattr(self, key)) is None else time.isoformat() for key in _TIMES}
        lists = {key: list(getattr(self, key)) for key in _LISTS}
        return {**asdict(self), **times, **lists, "tags": dict(self.tags)}

    def to_json(self) -> str:
        """Return the alert as one line of JSON with sorted keys, the same text for the same alert."""
        return json.dumps(self.to_dict(), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Alert:
        """Read what :meth:`to_json` wrote, now or before there were as many keys; else raises ``ValueError``."""
        raw = json.loads(text)
        names = {field.name for field in fields(cls)}
        needed = {field.name for field in fields(cls) if field.default is MISSING}
        if not isinstance(raw, dict) or not needed <= set(raw) <= names:
            raise ValueError(f"not a stored alert: expected the keys {sorted(names)}")
        for key in _TIMES & set(raw):
            raw[key] = None if raw[key] is None else datetime.fromisoformat(raw[key])
        for key in _LISTS & set(raw):
            raw[key] = tuple(str(item) for item in raw[key])
        if "tags" in raw:
            raw["tags"] = tuple(sorted((str(k), str(v)) for k, v in raw["tags"].items()))
        return cls(**raw)


_TIMES = {"bucket", "first_bucket", "last_bucket", "peak_bucket"}
_LISTS = {"why", "gates", "metrics", "kinds"}
