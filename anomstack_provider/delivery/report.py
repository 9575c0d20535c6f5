"""What became of everything that was due: what a task says in its summary, and why it failed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Outcome:
    """What became of one delivery; ``reason`` is empty where it was sent."""

    channel: str
    event_id: str
    transition: str
    reason: str = ""


@dataclass
class DeliveryReport:
    """
    What became of everything that was due.

    :param sent: acknowledged in this run, be they of this run's alerts or of an earlier run's.
    :param failed: refused; they stay in the ledger to be tried again, unless they went out in part or are abandoned.
    :param abandoned: how many of the failed were tried so often that they will not be tried again.
    :param suppressed: how many were recorded now as never to be sent.
    :param held: how many wait for the next digest.
    :param waiting: how many wait for the end of quiet hours, or for an earlier transition of their event.
    :param unconfigured: how many alerts could not go to a channel, by the config key that it lacks.
    :param orphaned: due for a channel that is no longer configured; they stay in the ledger.
    """

    sent: list[Outcome] = field(default_factory=list)
    failed: list[Outcome] = field(default_factory=list)
    abandoned: int = 0
    suppressed: int = 0
    held: int = 0
    waiting: int = 0
    unconfigured: dict[str, int] = field(default_factory=dict)
    orphaned: list[Outcome] = field(default_factory=list)

    def summary(self) -> dict[str, Any]:
        """Return the counts as plain JSON values; what did not happen is left out, but for what was sent."""
        counts: dict[str, Any] = {
            "sent": len(self.sent),
            "delivery_failed": len(self.failed),
            "abandoned": self.abandoned,
            "suppressed": self.suppressed,
            "held": self.held,
            "waiting": self.waiting,
            "unconfigured": self.unconfigured,
            "orphaned": len(self.orphaned),
        }
        return {name: count for name, count in counts.items() if count or name == "sent"}

    def describe_failures(self) -> str:
        """Return one line per channel and reason: how many deliveries failed, and which events."""
        grouped: dict[tuple[str, str], list[str]] = {}
        for outcome in self.failed:
            grouped.setdefault((outcome.channel, outcome.reason), []).append(outcome.event_id)
        return "\n".join(f"{channel}: {reason} ({_listed(events)})" for (channel, reason), events in grouped.items())


def _listed(events: Sequence[str]) -> str:
    shown = ", ".join(events[:5]) + (f" and {len(events) - 5} more" if len(events) > 5 else "")
    return f"{'event' if len(events) == 1 else 'events'} {shown}"
