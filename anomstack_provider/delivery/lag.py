"""
Late data that came after all: which of them are told, and that they came.

Stored rows do not tell when they came, so data that always come late make an event of their own in every run, and each
is gone in the next. The ledger remembers: whoever was told that data were late is told that they came, and the next
late data of that metric wait until a second run misses them too. So a mere lag is told once a day, and a real outage
one run later.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from anomstack_provider.alerting.alert import Alert
from anomstack_provider.delivery.holding import CLOSING
from anomstack_provider.detection import grain
from anomstack_provider.detection.grain import Grain

if TYPE_CHECKING:
    from anomstack_provider.store.ledger import Delivery

log = logging.getLogger(__name__)

# A metric and one of its buckets, UTC.
Missing = tuple[str, datetime]
# Key of the row that remembers late data which wait, with the run that missed them; it has no channel.
_SUSPECTED = "suspected@"
# For so long, and so many buckets, data that came after all make the next ones wait.
_PERIOD, _BUCKETS = timedelta(days=1), 7
# No period is longer: seven months.
_LONGEST = timedelta(days=217)


class Ledger(Protocol):
    """What is asked of the ledger; see :class:`~anomstack_provider.store.ledger.DeliveryLedger`."""

    def openings_since(self, since: datetime) -> list[Delivery]: ...

    def record(self, deliveries: Sequence[Delivery], now: datetime) -> int: ...

    def of_events(self, event_ids: Collection[str]) -> list[Delivery]: ...


def told(
    alerts: Sequence[Alert], missing: Collection[Missing], ledger: Ledger, as_of: datetime, now: datetime
) -> list[Alert]:
    """
    Return the alerts without openings of late data that wait, and with those that have waited.

    :param missing: every bucket that is late by now; the batch's own are under its name.
    :param as_of: when the run's window ends, aware: what it finds again when it is tried again has not waited.
    """
    if not missing:
        return list(alerts)
    known = _openings(ledger, now)
    waited = {one.alert.event_id: one.alert for one in known if one.is_missing(missing) and one.suspected_before(as_of)}
    sent = {one.alert.event_id for one in known if not one.suspected}
    ready = waited.keys() | sent
    came = [one for one in known if one.was_told and not one.is_missing(missing)]
    waiting = [
        alert
        for alert in alerts
        if alert.kind == "late"
        and alert.transition == "opened"
        and alert.event_id not in ready
        and any(one.alert.metric_name == alert.metric_name and one.holds(alert, now) for one in came)
    ]
    if waiting:
        ledger.record([_suspected(alert, as_of) for alert in waiting], now)
        for alert in waiting:
            log.info(
                "metric %r is late, as it was before its data came: told if the next run misses them too",
                alert.metric_name,
            )
    kept = [alert for alert in alerts if alert not in waiting]
    keys = {(alert.event_id, alert.key) for alert in kept}
    return [one for one in waited.values() if one.event_id not in sent and (one.event_id, one.key) not in keys] + kept


def returned(
    alerts: Sequence[Alert],
    missing: Collection[Missing],
    ledger: Ledger,
    until: datetime,
    now: datetime,
    timezone: str,
) -> list[Alert]:
    """
    Return the ends of late data that people were told of and that came with the times that they belong to.

    For the fold over the stored rows these were never late, so no rule finds their end. Nothing is an end that the
    run found itself, that was told before, or that is asked about a time before the event.

    :param alerts: what the run found.
    :param missing: every bucket that is late by now; the batch's own are under its name.
    :param until: a bucket that ended later is not missing yet, aware.
    :param timezone: IANA name of the zone whose calendar the buckets follow.
    """
    known = _openings(ledger, now)
    found = {alert.event_id for alert in alerts}
    came = {
        one.alert.event_id: end
        for one in known
        if one.was_told and one.alert.event_id not in found and not one.is_missing(missing)
        if (end := _end(one.alert, until, timezone)) is not None
    }
    ended = {row.event_id for row in ledger.of_events(came) if row.transition in CLOSING} if came else set()
    return [alert for event_id, alert in came.items() if event_id not in ended]


def _end(opened: Alert, until: datetime, timezone: str) -> Alert | None:
    """Return the end of late data as of a moment; None if that is before their first bucket ended."""
    length, first = grain.parse(opened.grain), (opened.first_bucket or opened.bucket).astimezone(UTC)
    if length == grain.INSTANT:
        newest = late = until
        count = int(until > first)
    else:
        nominal: timedelta = length.nominal.astype("timedelta64[us]").item()
        count = (until - first) // nominal + 2  # more than there are: days and months may be shorter
        while count > 0 and _after(first, count, length, timezone) > until:
            count -= 1
        newest, late = (_after(first, max(count - back, 0), length, timezone) for back in (1, 2))
    if count < 1:
        return None
    why = ("The missing data have come",)
    return replace(opened, transition="closed", bucket=newest, first_bucket=first, last_bucket=late, why=why, gates=())


def _after(first: datetime, count: int, length: Grain, timezone: str) -> datetime:
    """Return the start of the bucket that is so many after the one at ``first``."""
    import numpy as np

    if not count:
        return first
    start = np.array([first.replace(tzinfo=None)], "datetime64[us]")
    moment: datetime = Grain(length.count * count, length.unit).ends(start, timezone)[0].item()
    return moment.replace(tzinfo=UTC)


@dataclass(frozen=True)
class _Opening:
    """An opening of late data that the ledger knows."""

    row: Delivery
    alert: Alert

    @property
    def suspected(self) -> bool:
        return self.row.transition.startswith(_SUSPECTED)

    def suspected_before(self, as_of: datetime) -> bool:
        """Whether an earlier run made it wait."""
        return self.suspected and datetime.fromisoformat(self.row.transition.removeprefix(_SUSPECTED)) < as_of

    @property
    def was_told(self) -> bool:
        return not self.suspected and self.row.status != "suppressed"

    def is_missing(self, missing: Collection[Missing]) -> bool:
        """Whether what was late then still is, be it of the batch or of any of its metrics."""
        bucket = (self.alert.first_bucket or self.alert.bucket).astimezone(UTC)
        return any((name, bucket) in missing for name in (self.alert.metric_name, *self.alert.metrics))

    def holds(self, alert: Alert, now: datetime) -> bool:
        """Whether it is so recent that an alert of its metric waits."""
        nominal: timedelta = grain.parse(alert.grain).nominal.astype("timedelta64[us]").item()
        period = min(max(_PERIOD, _BUCKETS * nominal), _LONGEST)
        return self.row.recorded_at is not None and now - self.row.recorded_at < period


def _openings(ledger: Ledger, now: datetime) -> list[_Opening]:
    """Return the openings of late data that the ledger knows of the longest period."""
    return [_Opening(row, Alert.from_json(row.payload)) for row in ledger.openings_since(now - _LONGEST) if _late(row)]


def _late(row: Delivery) -> bool:
    return bool(json.loads(row.payload).get("kind") == "late")


def _suspected(alert: Alert, as_of: datetime) -> Delivery:
    from anomstack_provider.store.ledger import Delivery

    return Delivery(
        event_id=alert.event_id,
        transition=f"{_SUSPECTED}{as_of.astimezone(UTC).isoformat()}",
        channel="",
        metric_batch=alert.metric_batch,
        payload=alert.to_json(),
        status="suppressed",
    )
