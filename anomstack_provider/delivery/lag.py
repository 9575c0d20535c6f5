"""
Late data that came after all: which of them are told.

Stored rows do not tell when they came, so data that always come late make an event of their own in every run, and each
is gone in the next. The ledger remembers: once someone was told of late data that came since, the next late data of
that metric wait until a second run misses them too. So a mere lag is told once a day, and a real outage one run later.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from anomstack_provider.alerting.alert import Alert
from anomstack_provider.detection import grain

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
    known = [_Opening(row, Alert.from_json(row.payload)) for row in ledger.openings_since(now - _LONGEST) if _late(row)]
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
