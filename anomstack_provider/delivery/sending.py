"""
Who is told, exactly once: every alert goes to every channel of its route through the delivery ledger.

A delivery is recorded before it is sent and marked sent only on the provider's acknowledgement. What fails is
tried again, alone, by the next run. What waits and what goes out together is decided in ``holding``, how a message
looks in ``message`` and ``digest``, how it travels in ``channels``.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Literal, Protocol

from anomstack_provider.alerting.alert import Alert
from anomstack_provider.delivery.channels.base import Channel, DeliveryError, Unconfigured
from anomstack_provider.delivery.digest import by_impact, compose_group
from anomstack_provider.delivery.holding import CLOSING, Due, HoldingRules, Parcel, Plan, plan
from anomstack_provider.delivery.report import DeliveryReport, Outcome
from anomstack_provider.messages.message import Message

if TYPE_CHECKING:
    from anomstack_provider.store.ledger import Delivery, Status

log = logging.getLogger(__name__)

# A run that dies keeps its claims so long. A live one begins the lease anew with every try, and it is far more than
# one send can take, so no second run takes over a delivery that is on its way.
LEASE = timedelta(minutes=30)
# After so many failures in a row a channel is left alone for this run: each may wait for a time-out.
_PATIENCE = 3


class Ledger(Protocol):
    """What delivery needs of a ledger; see :class:`~anomstack_provider.store.ledger.DeliveryLedger`."""

    def record(self, deliveries: Sequence[Delivery], now: datetime) -> int: ...

    def claim(self, claimant: str, now: datetime, lease: timedelta) -> list[Delivery]: ...

    def begin(self, deliveries: Sequence[Delivery], now: datetime) -> list[Delivery]: ...

    def sent(self, deliveries: Sequence[Delivery], now: datetime) -> None: ...

    def settle(self, deliveries: Sequence[Delivery], status: Status, error: str | None) -> None: ...

    def release(self, deliveries: Sequence[Delivery]) -> None: ...

    def of_events(self, event_ids: Iterable[str]) -> list[Delivery]: ...

    def messages_since(self, since: datetime) -> dict[str, int]: ...


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
    route: Callable[[Alert], Sequence[str]] | None = None,
    rules: HoldingRules | None = None,
    first_line: Callable[[Alert], str] | None = None,
    links: Mapping[str, str] | None = None,
) -> DeliveryReport:
    """
    Send every alert once by every channel of its route, and whatever earlier runs of the batch left unsent.

    Nothing that goes wrong on one channel keeps the others from sending; only the ledger's errors are raised.

    :param channels: as :func:`~anomstack_provider.delivery.channels.open_channels` returns them.
    :param chart: draws the PNG of an alert; where it fails, the message goes out without.
    :param claimant: names this task so that its retry, and no other run, takes up what it had claimed.
    :param clock: the time now, aware.
    :param notify: False records the alerts as known and never to be sent, such as those of a backfill.
    :param route: names the channels of an alert; all of them unless given.
    :param rules: what waits and what goes out together.
    :param first_line: gives the line of an alert in a message about many; the first of its own message unless given.
    :param links: URL per name, for a message about many alerts.
    """
    report = DeliveryReport()
    if alerts:
        _record(report, alerts, ledger, channels, route or (lambda alert: list(channels)), clock(), notify=notify)
    group = partial(compose_group, line=first_line or (lambda alert: compose(alert).first_line), links=links or {})
    _Dispatch(report, ledger, channels, compose, group, _Charts(chart), clock, rules or HoldingRules()).run(claimant)
    return report


def _record(
    report: DeliveryReport,
    alerts: Sequence[Alert],
    ledger: Ledger,
    channels: Mapping[str, Channel | Unconfigured],
    route: Callable[[Alert], Sequence[str]],
    now: datetime,
    *,
    notify: bool,
) -> None:
    """Write down who is to be told."""
    from anomstack_provider.store.ledger import Delivery

    told: dict[str, set[str]] = {}
    for delivery in _history(ledger, (alert.event_id for alert in alerts if alert.transition in CLOSING)):
        told.setdefault(delivery.event_id, set()).add(delivery.channel)
    deliveries: list[Delivery] = []
    missing: Counter[str] = Counter()
    for alert in alerts:
        known = told.setdefault(alert.event_id, set())
        # Who was told that it began is told that it ended, whatever its severity is by then.
        names = sorted(known & set(channels)) if alert.transition in CLOSING and known else route(alert)
        for name in names:
            channel = channels.get(name)
            if channel is None or isinstance(channel, Unconfigured):
                missing[f"a channel {name}" if channel is None else channel.key] += 1
                continue
            known.add(name)
            deliveries.append(
                Delivery(
                    event_id=alert.event_id,
                    transition=alert.key,
                    channel=name,
                    metric_batch=alert.metric_batch,
                    payload=alert.to_json(),
                    status="pending" if notify else "suppressed",
                )
            )
    added = ledger.record(deliveries, now)
    if not notify:
        report.suppressed = added
        return
    report.unconfigured = dict(missing)
    for key, count in missing.items():
        log.warning("%d alerts did not go out by a channel that has no destination: set %s", count, key)


def _history(ledger: Ledger, event_ids: Iterable[str]) -> list[Delivery]:
    wanted = set(event_ids)
    return ledger.of_events(wanted) if wanted else []


class _Dispatch:
    """One run's sending: every claim ends as sent, as settled, or is given back."""

    def __init__(
        self,
        report: DeliveryReport,
        ledger: Ledger,
        channels: Mapping[str, Channel | Unconfigured],
        compose: Callable[[Alert], Message],
        compose_group: Callable[[Sequence[Alert], Literal["storm", "digest"]], Message],
        charts: _Charts,
        clock: Callable[[], datetime],
        rules: HoldingRules,
    ) -> None:
        self._report = report
        self._ledger = ledger
        self._channels = channels
        self._compose = compose
        self._compose_group = compose_group
        self._charts = charts
        self._clock = clock
        self._rules = rules
        self._failures: Counter[str] = Counter()
        self._stuck: set[tuple[str, str]] = set()

    def run(self, claimant: str) -> None:
        """Claim what is due, put aside what waits, send the rest, oldest first."""
        now = self._clock()
        due = [
            Due(delivery, alert)
            for delivery in self._ledger.claim(claimant, now, LEASE)
            if self._has_a_channel(delivery) and (alert := self._read(delivery)) is not None
        ]
        if not due:
            return
        budgets = self._rules.budgets
        planned = plan(
            due,
            self._rules,
            now,
            history=_history(self._ledger, (item.delivery.event_id for item in due if item.closes)),
            messages=self._ledger.messages_since(self._rules.week) if budgets else {},
        )
        self._put_aside(planned)
        for parcel in planned.parcels:
            self._send(parcel)

    def _has_a_channel(self, delivery: Delivery) -> bool:
        channel = self._channels.get(delivery.channel)
        if channel is not None and not isinstance(channel, Unconfigured):
            return True
        reason = f"not sent: {_why_orphaned(delivery.channel, channel)}"
        self._ledger.settle([delivery], _unsent(delivery), reason)
        self._report.orphaned.append(_outcome(delivery, reason))
        log.warning("event %s, %s: %s", delivery.event_id, delivery.channel, reason)
        return False

    def _read(self, delivery: Delivery) -> Alert | None:
        try:
            return Alert.from_json(delivery.payload)
        except Exception as error:
            log.exception("event %s: the stored alert cannot be read", delivery.event_id)
            self._refused(self._ledger.begin([delivery], self._clock()), _unexpected(error), "failed")
            return None

    def _put_aside(self, planned: Plan) -> None:
        report = self._report
        if planned.waiting:
            self._ledger.release([item.delivery for item in planned.waiting])
        if planned.held:
            self._ledger.settle([item.delivery for item in planned.held], "held", None)
        if planned.pointless:
            reason = "not sent: nobody was told by this channel that it had begun"
            self._ledger.settle([item.delivery for item in planned.pointless], "suppressed", reason)
        report.waiting += len(planned.waiting)
        report.held += len(planned.held)
        report.suppressed += len(planned.pointless)
        for item, moment in planned.pausing:
            last = item.delivery.error or "no reason given"
            reason = f"not tried before {moment:%Y-%m-%d %H:%M} UTC, after {item.delivery.attempts} tries: {last}"
            self._give_back([item.delivery], reason)

    def _send(self, parcel: Parcel) -> None:
        deliveries = [item.delivery for item in parcel.items]
        if self._failures[parcel.channel] >= _PATIENCE:
            self._give_back(deliveries, f"not tried: {_PATIENCE} before it failed in a row; the next run tries again")
            return
        if parcel.kind == "alert" and parcel.items[0].event in self._stuck:
            self._give_back(deliveries, "not tried: what came before it has not gone out yet")
            return
        begun = {delivery.seq: delivery for delivery in self._ledger.begin(deliveries, self._clock())}
        self._stuck |= {item.event for item in parcel.items if item.delivery.seq not in begun}
        items = tuple(
            replace(item, delivery=begun[item.delivery.seq]) for item in parcel.items if item.delivery.seq in begun
        )
        if not items:
            log.info("another run has taken over: %s", ", ".join(sorted({d.event_id for d in deliveries})))
            return
        mine = [item.delivery for item in items]
        problem, accepted = self._hand_over(replace(parcel, items=items))
        if problem is None or accepted:
            self._ledger.sent(mine, self._clock())
            self._failures[parcel.channel] = 0
        if problem is None:
            self._report.sent += [_outcome(delivery) for delivery in mine]
        elif accepted:
            self._tell(mine, problem)
        else:
            self._failures[parcel.channel] += 1
            self._refused(mine, problem, "held" if parcel.kind == "digest" else "failed")

    def _hand_over(self, parcel: Parcel) -> tuple[str | None, bool]:
        """Give a message to its channel; returns what went wrong, if anything, and whether it went out in part."""
        channel = self._channels[parcel.channel]
        assert not isinstance(channel, Unconfigured)  # those were sorted out
        alerts = [item.alert for item in parcel.items]
        try:
            if parcel.kind == "alert":
                (alert,) = alerts
                message = self._compose(alert)
                filename = f"alert-{alert.bucket:%Y%m%d}-{alert.event_id[:16]}.png"
            else:
                alerts = by_impact(alerts)
                message = self._compose_group(alerts, parcel.kind)
                filename = f"{parcel.kind}-{message.event_id}.png"
            channel.send(message, self._charts.of(alerts[0]), filename, alerts=alerts)
        except DeliveryError as error:
            return error.reason, error.accepted
        except Exception as error:
            # A fault of ours: the others still have to go out.
            # Its text may hold anything, so it goes to the log, which masks secrets, and not into the ledger.
            log.exception("event %s could not be sent by %s", parcel.items[0].delivery.event_id, parcel.channel)
            return _unexpected(error), False
        return None, False

    def _refused(self, deliveries: Sequence[Delivery], problem: str, status: Status) -> None:
        """Give back what was tried in vain, or abandon it."""
        spent = [delivery for delivery in deliveries if delivery.attempts >= self._rules.attempts]
        kept = [delivery for delivery in deliveries if delivery.attempts < self._rules.attempts]
        if kept:
            self._ledger.settle(kept, status, problem)
            self._tell(kept, problem)
        if spent:
            tries = self._rules.attempts
            reason = f"abandoned after {tries} {'try' if tries == 1 else 'tries'}: {problem}"
            self._ledger.settle(spent, "abandoned", reason)
            self._report.abandoned += len(spent)
            self._tell(spent, reason)
        self._stuck |= {(delivery.channel, delivery.event_id) for delivery in deliveries}

    def _give_back(self, deliveries: Sequence[Delivery], reason: str) -> None:
        """Leave for a later run what was not even tried."""
        self._ledger.release(deliveries)
        self._stuck |= {(delivery.channel, delivery.event_id) for delivery in deliveries}
        self._tell(deliveries, reason)

    def _tell(self, deliveries: Sequence[Delivery], reason: str) -> None:
        self._report.failed += [_outcome(delivery, reason) for delivery in deliveries]
        for delivery in deliveries:
            log.error("event %s, %s: %s", delivery.event_id, delivery.channel, reason)


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


def _unsent(delivery: Delivery) -> Status:
    return "held" if delivery.status == "held" else "failed"


def _unexpected(error: Exception) -> str:
    return f"unexpected {type(error).__name__}, see the task's log"


def _why_orphaned(name: str, channel: Unconfigured | None) -> str:
    if channel is None:
        return f"{name} is no longer among alert_methods or routes"
    return f"{name} has no destination any more, set {channel.key}"


def _outcome(delivery: Delivery, reason: str = "") -> Outcome:
    return Outcome(delivery.channel, delivery.event_id, delivery.transition, reason)
