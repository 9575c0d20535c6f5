"""
Who is told, exactly once: every alert goes to every channel through the delivery ledger.

A delivery is recorded before it is sent and marked sent only on the provider's acknowledgement. What fails is
tried again, alone, by the next run. How a message looks is in ``message``, how it travels in ``channels``.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from anomstack_provider.alerting.alert import Alert
from anomstack_provider.alerting.channels.base import Channel, DeliveryError, Unconfigured
from anomstack_provider.alerting.message import Message

if TYPE_CHECKING:
    from anomstack_provider.store.ledger import Delivery

log = logging.getLogger(__name__)

# A run that dies keeps its claims so long. A live one sends only in the first half of it; the other is far
# more than one send can take, so no second run takes over a delivery that is still on its way.
LEASE = timedelta(minutes=30)
# After so many failures in a row a channel is left alone for this run: each may wait for a time-out.
_PATIENCE = 3


class Ledger(Protocol):
    """What delivery needs of a ledger; see :class:`~anomstack_provider.store.ledger.DeliveryLedger`."""

    def record(self, deliveries: Sequence[Delivery]) -> int: ...

    def claim(self, claimant: str, now: datetime, lease: timedelta) -> list[Delivery]: ...

    def sent(self, delivery: Delivery, now: datetime) -> None: ...

    def failed(self, delivery: Delivery, error: str) -> None: ...


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
    :param failed: refused; they stay in the ledger to be tried again, unless they went out in part.
    :param suppressed: how many were recorded now as never to be sent.
    :param unconfigured: how many alerts could not go to a channel, by the config key that it lacks.
    :param orphaned: due for a channel that is no longer configured; they stay in the ledger.
    """

    sent: list[Outcome] = field(default_factory=list)
    failed: list[Outcome] = field(default_factory=list)
    suppressed: int = 0
    unconfigured: dict[str, int] = field(default_factory=dict)
    orphaned: list[Outcome] = field(default_factory=list)

    def summary(self) -> dict[str, Any]:
        """Return the counts as plain JSON values; what did not happen is left out, but for what was sent."""
        counts: dict[str, Any] = {
            "sent": len(self.sent),
            "delivery_failed": len(self.failed),
            "suppressed": self.suppressed,
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


def deliver(
    alerts: Sequence[Alert],
    *,
    ledger: Ledger,
    channels: Mapping[str, Channel | Unconfigured],
    compose: Callable[[Alert], Message],
    chart: Callable[[Alert], bytes],
    claimant: str,
    clock: Callable[[], datetime],
    notify: bool,
) -> DeliveryReport:
    """
    Send every alert once by every channel, and whatever earlier runs of the batch left unsent.

    Nothing that goes wrong on one channel keeps the others from sending; only the ledger's errors are raised.

    :param channels: as :func:`~anomstack_provider.alerting.channels.open_channels` returns them.
    :param chart: draws the PNG of an alert; where it fails, the message goes out without.
    :param claimant: names this task so that its retry, and no other run, takes up what it had claimed.
    :param clock: the time now, aware.
    :param notify: False records the alerts as known and never to be sent, such as those of a backfill.
    """
    report = DeliveryReport()
    report.suppressed = _record(alerts, ledger, channels, notify=notify) if alerts else 0
    missing = [channel for channel in channels.values() if isinstance(channel, Unconfigured)]
    if alerts and notify:
        report.unconfigured = {channel.key: len(alerts) for channel in missing}
    for key in report.unconfigured:
        log.warning("%d alerts did not go out by a channel that has no destination: set %s", len(alerts), key)
    _send_due(report, ledger, channels, compose, chart, claimant, clock)
    return report


def _record(
    alerts: Sequence[Alert], ledger: Ledger, channels: Mapping[str, Channel | Unconfigured], *, notify: bool
) -> int:
    """Write down who is to be told; returns how many new deliveries were suppressed."""
    from anomstack_provider.store.ledger import Delivery

    added = ledger.record(
        [
            Delivery(
                event_id=alert.event_id,
                transition=alert.transition,
                channel=name,
                metric_batch=alert.metric_batch,
                payload=alert.to_json(),
                status="pending" if notify else "suppressed",
            )
            for alert in alerts
            for name, channel in channels.items()
            if not isinstance(channel, Unconfigured)
        ]
    )
    return 0 if notify else added


def _send_due(
    report: DeliveryReport,
    ledger: Ledger,
    channels: Mapping[str, Channel | Unconfigured],
    compose: Callable[[Alert], Message],
    chart: Callable[[Alert], bytes],
    claimant: str,
    clock: Callable[[], datetime],
) -> None:
    """Claim what is due and send it, oldest first; every claim ends as sent or is given back."""
    charts = _Charts(chart)
    failures: Counter[str] = Counter()
    claimed_at = clock()
    for delivery in ledger.claim(claimant, claimed_at, LEASE):
        channel = channels.get(delivery.channel)
        outcome = Outcome(delivery.channel, delivery.event_id, delivery.transition)
        if channel is None or isinstance(channel, Unconfigured):
            reason = f"not sent: {_why_orphaned(delivery.channel, channel)}"
            ledger.failed(delivery, reason)
            report.orphaned.append(_with_reason(outcome, reason))
            log.warning("event %s, %s: %s", delivery.event_id, delivery.channel, reason)
            continue
        problem = _postponed(failures[delivery.channel], clock() - claimed_at)
        accepted = False
        if problem is None:
            problem, accepted = _send(channel, delivery, compose, charts)
            failures[delivery.channel] = failures[delivery.channel] + 1 if problem and not accepted else 0
        if problem is None or accepted:
            ledger.sent(delivery, clock())
        else:
            ledger.failed(delivery, problem)
        if problem is None:
            report.sent.append(outcome)
        else:
            report.failed.append(_with_reason(outcome, problem))
            log.error("event %s, %s: %s", delivery.event_id, delivery.channel, problem)


def _send(
    channel: Channel, delivery: Delivery, compose: Callable[[Alert], Message], charts: _Charts
) -> tuple[str | None, bool]:
    """Send one delivery; returns what went wrong, if anything, and whether it went out in part."""
    try:
        alert = Alert.from_json(delivery.payload)
        filename = f"alert-{alert.bucket:%Y%m%d}-{delivery.event_id[:16]}.png"
        channel.send(compose(alert), charts.of(alert), filename)
    except DeliveryError as error:
        return error.reason, error.accepted
    except Exception as error:
        # A fault of ours, or a stored alert of another version: the others still have to go out.
        # Its text may hold anything, so it goes to the log, which masks secrets, and not into the ledger.
        log.exception("event %s could not be sent by %s", delivery.event_id, delivery.channel)
        return f"unexpected {type(error).__name__}, see the task's log", False
    return None, False


class _Charts:
    """Draws the chart of an alert once for all channels; they are asked for one event after the other."""

    def __init__(self, draw: Callable[[Alert], bytes]) -> None:
        self._draw = draw
        self._last: tuple[Alert, bytes | None] | None = None

    def of(self, alert: Alert) -> bytes | None:
        """Return the PNG, or None where it cannot be drawn: an alert without a picture is still an alert."""
        if self._last is None or self._last[0] != alert:
            try:
                self._last = (alert, self._draw(alert))
            except Exception:
                log.exception("the chart of event %s could not be drawn", alert.event_id)
                self._last = (alert, None)
        return self._last[1]


def _postponed(failures: int, elapsed: timedelta) -> str | None:
    """Say why a delivery is not even tried in this run, if so."""
    if failures >= _PATIENCE:
        return f"not tried: {_PATIENCE} before it failed in a row; the next run tries again"
    if elapsed >= LEASE / 2:
        return "not tried: this run has been sending for too long; the next run sends it"
    return None


def _why_orphaned(name: str, channel: Unconfigured | None) -> str:
    if channel is None:
        return f"{name} is no longer among alert_methods"
    return f"{name} has no destination any more, set {channel.key}"


def _with_reason(outcome: Outcome, reason: str) -> Outcome:
    return Outcome(outcome.channel, outcome.event_id, outcome.transition, reason)


def _listed(events: Sequence[str]) -> str:
    shown = ", ".join(events[:5]) + (f" and {len(events) - 5} more" if len(events) > 5 else "")
    return f"{'event' if len(events) == 1 else 'events'} {shown}"
