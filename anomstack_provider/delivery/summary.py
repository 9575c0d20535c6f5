"""The daily summary as a message: a line per batch, the worst first, and who was not evaluated."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from anomstack_provider.alerting.wording import elide, isolated, one_line
from anomstack_provider.delivery.digest import lay_out

if TYPE_CHECKING:
    from anomstack_provider.messages.message import Message
    from anomstack_provider.steps.summary import BatchSummary

# Metrics and batches named in one message; more are counted.
_NAMED, _BATCHES = 5, 50


def compose_summary(
    summaries: Sequence[BatchSummary], destination: str, timezone: str, links: Mapping[str, str]
) -> Message:
    """
    Return the message about some batches of one day, worst first.

    :param summaries: at least one.
    :param destination: tells the summaries of one day apart that go to different places.
    :param timezone: IANA name of the zone that times are shown in.
    """
    until = summaries[0].until
    alerts = sum(one.total("alerts") for one in summaries)
    idle = sum(len(one.not_evaluated) for one in summaries)
    broken = sum(bool(one.problem) for one in summaries)
    said = [_count(len(summaries), "batch", "batches"), _count(alerts, "alert"), f"{idle} not evaluated"]
    if broken:
        said.append(f"{broken} could not be read")
    end = until.astimezone(ZoneInfo(timezone))
    first = f"[SUMMARY] {', '.join(said)} (until {end:%Y-%m-%d %H:%M %Z})"
    notes = [f"and {len(summaries) - _BATCHES} more batches"] if len(summaries) > _BATCHES else []
    lines = [_line(one) for one in summaries[:_BATCHES]]
    event = hashlib.sha256(f"summary {destination} {until.isoformat()}".encode()).hexdigest()[:16]
    return lay_out(first, lines, notes, links, (event, "opened"), charted=False)


def _line(one: BatchSummary) -> str:
    name = isolated(elide(one_line(one.metric_batch), 60))
    if one.problem:
        return f"{name}: {elide(one_line(one.problem), 200)}"
    parts = [
        f"{name}: {_count(one.total('alerts'), 'alert')}",
        f"{_count(len(one.metrics), 'metric')} with {_count(one.total('values'), 'value')}",
        _count(one.total("scores"), "score"),
    ]
    alerted = Counter({metric: found.alerts for metric, found in one.metrics.items() if found.alerts})
    if alerted:
        parts.append("alerts: " + _named([f"{_metric(m)} {count}" for m, count in alerted.most_common()]))
    if one.not_evaluated:
        named = _named([f"{_metric(m)} ({why})" for m, why in sorted(one.not_evaluated.items())])
        parts.append(f"not evaluated: {named}")
    return "; ".join(parts)


def _metric(name: str) -> str:
    return isolated(elide(one_line(name), 60))


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"
