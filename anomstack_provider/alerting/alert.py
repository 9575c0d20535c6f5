"""What an alert is: one transition of one event on one metric, with all that a message, a chart or a ledger row needs.

No rule lives here (see ``rules`` and ``events``) and nothing of Airflow.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import Any


def event_id(metric_batch: str, metric_name: str, kind: str, direction: str, first_bucket: datetime) -> str:
    """Return the id of an event: the same whichever run found it, 16 hexadecimal digits."""
    text = json.dumps([metric_batch, metric_name, kind, direction, first_bucket.astimezone(UTC).isoformat()])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Alert:
    """
    One transition of one event.

    :param bucket: start of the bucket that fired, aware, UTC.
    :param grain: length of the bucket as written in a config, such as ``1h`` or ``1d``; ``instant`` for a reading.
    :param value: the metric's value in that bucket.
    :param expected: the value to expect there, None where no history of the same slot exists.
    :param lower: lower end of the expected range, same unit as ``value``.
    :param upper: upper end of the expected range, same unit as ``value``.
    :param score: the smoothed score that crossed ``threshold``, in [0, 1].
    :param tags: the metric's own tags as sorted pairs.
    :param note: what the calendar says of the bucket, such as ``Holiday: Christmas Day``; "" for nothing.
    """

    event_id: str
    metric_batch: str
    metric_name: str
    kind: str
    transition: str
    direction: str
    bucket: datetime
    grain: str
    value: float
    expected: float | None
    lower: float | None
    upper: float | None
    score: float
    threshold: float
    severity: str
    tags: tuple[tuple[str, str], ...] = ()
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; ``bucket`` as ISO 8601 with its offset."""
        return {**asdict(self), "bucket": self.bucket.isoformat(), "tags": dict(self.tags)}

    def to_json(self) -> str:
        """Return the alert as one line of JSON with sorted keys, the same text for the same alert."""
        return json.dumps(self.to_dict(), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Alert:
        """Read what :meth:`to_json` wrote; raises ``ValueError`` for anything else."""
        raw = json.loads(text)
        names = {field.name for field in fields(cls)}
        if not isinstance(raw, dict) or set(raw) != names:
            raise ValueError(f"not a stored alert: expected the keys {sorted(names)}")
        raw["bucket"] = datetime.fromisoformat(raw["bucket"])
        raw["tags"] = tuple(sorted((str(k), str(v)) for k, v in raw["tags"].items()))
        return cls(**raw)
