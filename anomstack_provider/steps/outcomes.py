"""What became of each metric in a step: counted, stated, and small enough for an XCom."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# Enough to see what is wrong; a batch may have thousands of metrics, and all are in the log.
_NAMED = 20


@dataclass(frozen=True)
class StepResult:
    """
    What a step did.

    :param step: ``ingest``, ``train``, ``score`` or ``alert``.
    :param rows: rows written to the metrics table.
    :param outcomes: metric name to what became of it: ``scored``, ``learning 9/14``, ``no data``, ``failed: ...``.
    :param facts: further counts and ids, JSON values.
    """

    step: str
    rows: int = 0
    outcomes: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def failed(self) -> dict[str, str]:
        """The metrics that failed, with the reason."""
        return {
            name: text.removeprefix("failed: ") for name, text in self.outcomes.items() if text.startswith("failed")
        }

    def counts(self) -> dict[str, int]:
        """Return how many metrics had each kind of outcome, details left out."""
        return dict(sorted(Counter(_kind(text) for text in self.outcomes.values()).items()))

    def summary(self) -> dict[str, Any]:
        """Return JSON values for an XCom: counts, and twenty names at most that were not evaluated, failed first."""
        others = [(n, t) for n, t in sorted(self.outcomes.items()) if _kind(t).split(" (")[0] not in _DONE]
        named = sorted(others, key=lambda item: not item[1].startswith("failed"))[:_NAMED]
        return {
            "step": self.step,
            "rows": self.rows,
            "metrics": len(self.outcomes),
            "outcomes": self.counts(),
            "not_evaluated": dict(named),
            **self.facts,
        }


_DONE = {"trained", "scored", "up to date", "evaluated", "alerted", "ingested"}


def _kind(outcome: str) -> str:
    """Return ``learning`` for ``learning 9/14`` and ``failed`` for ``failed: ...``."""
    return (
        outcome.split(":")[0] if outcome.startswith("failed") else outcome.split(" ")[0] if "/" in outcome else outcome
    )
