"""What the config tells people of a metric: how they call it and where they look."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class About:
    """
    What the config tells people of a metric, from ``metric_settings``; None where it tells nothing.

    :param title: the name to show instead of the metric's own.
    :param unit: shown behind every value, such as ``EUR``, ``%`` or ``ms``.
    :param runbook: URL of what to do; ``dashboard`` URL of where to look.
    """

    title: str | None = None
    unit: str | None = None
    owner: str | None = None
    runbook: str | None = None
    dashboard: str | None = None
