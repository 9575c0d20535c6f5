"""
The delivery ledger: what was or is to be sent, once per transition of an event and channel.

It is the only state that alerting has. It decides who sends what and remembers what the provider acknowledged;
it sends nothing itself and reads no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal, TypeVar

import pandas as pd

from anomstack_provider.store.dialects import store_dialect
from anomstack_provider.store.errors import StoreError, TableMissing
from anomstack_provider.store.session import LOCK_WAIT, Session
from anomstack_provider.store.statements import template

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook

T = TypeVar("T")
Status = Literal["pending", "sent", "failed", "suppressed"]

_ERROR_LENGTH = 2000


@dataclass(frozen=True)
class Delivery:
    """
    One transition of one event to one channel.

    :param payload: the alert as JSON.
    :param status: ``suppressed`` is recorded and never sent; ``failed`` is claimed and tried again.
    :param attempts: how often it was claimed.
    """

    event_id: str
    transition: str
    channel: str
    metric_batch: str
    payload: str
    status: Status = "pending"
    attempts: int = 0


class DeliveryLedger:
    """
    The deliveries of one ``metric_batch``, in the table ``{table}_deliveries`` beside the metrics.

    The table is made on first use. Any number of processes may work on it at once.
    """

    def __init__(self, hook: DbApiHook, table: str, metric_batch: str, *, lock_wait: float = LOCK_WAIT) -> None:
        self.table = f"{table}_deliveries"
        self.metric_batch = metric_batch
        self._hook = hook
        self._dialect = store_dialect(hook)
        self._wait = lock_wait

    def record(self, deliveries: Sequence[Delivery]) -> int:
        """Add the deliveries whose key is not there yet, and return how many; what is there is never changed."""
        known: dict[tuple[str, str, str], Delivery] = {}
        for delivery in deliveries:
            if delivery.metric_batch != self.metric_batch:
                raise StoreError(
                    f"delivery of {delivery.event_id} belongs to batch {delivery.metric_batch!r}, "
                    f"this is the ledger of {self.metric_batch!r}"
                )
            known.setdefault((delivery.event_id, delivery.transition, delivery.channel), delivery)
        if not known:
            return 0
        texts = ("event_id", "transition", "channel", "metric_batch", "payload", "status")
        staged = pd.DataFrame(
            {
                "seq": range(1, len(known) + 1),
                **{text: [getattr(delivery, text) for delivery in known.values()] for text in texts},
            }
        )

        def insert(session: Session) -> int:
            session.lock()
            session.stage("anomstack_staged", staged)
            return session.execute(template("record_deliveries"))

        return self._run(insert)

    def claim(self, claimant: str, now: datetime, lease: timedelta) -> list[Delivery]:
        """
        Take every delivery of the batch that is due, and return them in the order they were recorded.

        Due is what is pending or failed and not claimed, claimed by ``claimant`` itself (a task that was killed and
        tried again), or claimed longer than ``lease`` before ``now``. No two claimants get the same one.
        """

        def update(session: Session) -> list[Delivery]:
            session.lock()
            rows = session.rows(
                template("claim_deliveries"),
                claimant=claimant,
                now=now,
                stale=now - lease,
                metric_batch=self.metric_batch,
            )
            return [Delivery(*row[1:]) for row in sorted(rows)]

        return self._run(update)

    def sent(self, delivery: Delivery, now: datetime) -> None:
        """Mark a delivery as acknowledged by its provider at ``now``; it is never claimed again."""

        def update(session: Session) -> int:
            return session.execute(template("delivery_sent"), now=now, **_key(delivery))

        self._run(update)

    def failed(self, delivery: Delivery, error: str) -> None:
        """Give a claimed delivery back, to be tried again; nothing happens if someone else has it by now."""

        def update(session: Session) -> int:
            return session.execute(
                template("delivery_failed"),
                error=error[:_ERROR_LENGTH],
                attempts=delivery.attempts,
                **_key(delivery),
            )

        self._run(update)

    def _run(self, work: Callable[[Session], T]) -> T:
        try:
            return self._dialect.run(self._hook, self.table, work, write=True, wait=self._wait)
        except TableMissing:
            self._dialect.run(self._hook, self.table, self._create, write=True, wait=self._wait)
            return self._dialect.run(self._hook, self.table, work, write=True, wait=self._wait)

    def _create(self, session: Session) -> None:
        session.lock()
        session.ensure_schema()
        session.execute(template("create_deliveries", *(["unique"] if self._dialect.key_is_unique else [])))


def _key(delivery: Delivery) -> dict[str, str]:
    return {
        "event_id": delivery.event_id,
        "transition": delivery.transition,
        "channel": delivery.channel,
    }
