"""
The delivery ledger: what was or is to be sent, once per transition of an event and channel.

It is the only state that alerting has. It decides who sends what and remembers what the provider acknowledged;
it sends nothing itself, and the only clock it reads is the database's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import pandas as pd

from anomstack_provider.store.changed_table import explained
from anomstack_provider.store.dialects import store_dialect
from anomstack_provider.store.errors import StoreError, TableMissing
from anomstack_provider.store.session import LOCK_WAIT, Session, Value

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook

T = TypeVar("T")
Status = Literal["pending", "failed", "held", "sent", "suppressed", "abandoned"]

_ERROR_LENGTH = 2000
_STAGED = "anomstack_staged"


@dataclass(frozen=True)
class Delivery:
    """
    One transition of one event to one channel.

    :param payload: the alert as JSON.
    :param status: ``pending``, ``failed`` and ``held`` (for a digest) are claimed and tried; ``sent``, ``suppressed``
        and ``abandoned`` never again.
    :param attempts: how often sending it was tried.
    :param recorded_at: when it was written down, aware.
    :param tried_at: when sending it was last tried, aware.
    :param error: why it did not go out.
    :param seq: its place in the ledger.
    :param claims: how often it was claimed; tells our claim from another's.
    """

    event_id: str
    transition: str
    channel: str
    metric_batch: str
    payload: str
    status: Status = "pending"
    attempts: int = 0
    recorded_at: datetime | None = None
    tried_at: datetime | None = None
    error: str | None = None
    seq: int = 0
    claims: int = 0


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

    def clock(self) -> Callable[[], datetime]:
        """
        Return what tells the time that the database has by now, aware; it is asked once.

        Whoever shares a ledger shares its clock, so the lease of a claim does not depend on how right that of a worker
        is. A database that runs within its client, such as a DuckDB file, has that of the client's machine.
        """
        ((now,),) = self._once(lambda session: session.rows(session.template("now")), write=False)
        begin, asked = _moment(now), time.monotonic()
        assert begin is not None
        return lambda: begin + timedelta(seconds=time.monotonic() - asked)

    def record(self, deliveries: Sequence[Delivery], now: datetime) -> int:
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
            session.stage(_STAGED, staged)
            session.lock()
            return session.execute(session.template("record_deliveries"), now=now)

        return self._run(insert)

    def claim(self, claimant: str, now: datetime, lease: timedelta) -> list[Delivery]:
        """
        Take every delivery of the batch that is due, and return them in the order they were recorded.

        Due is what is pending, failed or held and not claimed, claimed by ``claimant`` itself (a task that was killed
        and tried again), or claimed longer than ``lease`` before ``now``. No two claimants get the same one.
        """

        def update(session: Session) -> list[Delivery]:
            session.lock()
            mine: dict[str, Value] = {"claimant": claimant, "now": now, "metric_batch": self.metric_batch}
            session.execute(session.template("claim_deliveries"), stale=now - lease, **mine)
            return _deliveries(session.rows(session.template("claimed_deliveries"), **mine))

        return self._run(update)

    def begin(self, deliveries: Sequence[Delivery], now: datetime) -> list[Delivery]:
        """
        Count a try to send these, and return those that may be sent: all that are still ours.

        Their lease begins anew. What another run took over meanwhile, or has sent, is left out.
        """

        def update(session: Session) -> list[Delivery]:
            _stage_claims(session, deliveries)
            session.lock()
            session.execute(session.template("begin_deliveries"), now=now)
            return _deliveries(session.rows(session.template("begun_deliveries")))

        return self._run(update)

    def sent(self, deliveries: Sequence[Delivery], now: datetime) -> None:
        """Mark what one message told as acknowledged by its provider at ``now``; it is never claimed again."""

        def update(session: Session) -> int:
            _stage_claims(session, deliveries)
            session.lock()
            return session.execute(session.template("deliveries_sent"), now=now)

        self._run(update)

    def settle(self, deliveries: Sequence[Delivery], status: Status, error: str | None) -> None:
        """Give claimed deliveries back as ``status``; nothing happens to those that someone else has by now."""

        def update(session: Session) -> int:
            _stage_claims(session, deliveries)
            session.lock()
            text = error and error[:_ERROR_LENGTH]
            return session.execute(session.template("give_back_deliveries", "outcome"), status=status, error=text)

        self._run(update)

    def release(self, deliveries: Sequence[Delivery]) -> None:
        """Give claimed deliveries back as they were."""

        def update(session: Session) -> int:
            _stage_claims(session, deliveries)
            session.lock()
            return session.execute(session.template("give_back_deliveries"))

        self._run(update)

    def of_events(self, event_ids: Iterable[str]) -> list[Delivery]:
        """Return all deliveries of these events, whatever became of them."""
        staged = pd.DataFrame({"event_id": sorted(set(event_ids))}, dtype=object)

        def read(session: Session) -> list[Delivery]:
            session.stage(_STAGED, staged)
            return _deliveries(session.rows(session.template("deliveries_of_events"), metric_batch=self.metric_batch))

        return self._run(read)

    def openings_since(self, since: datetime) -> list[Delivery]:
        """Return what was recorded at or after ``since`` of events that opened, or wait to be told; see ``lag``."""
        return self._run(
            lambda session: _deliveries(
                session.rows(session.template("openings_since"), metric_batch=self.metric_batch, since=since)
            )
        )

    def unsent(self) -> list[Delivery]:
        """Return what is pending, failed, held or abandoned. Makes no table: whoever looks changes nothing."""

        def select(session: Session) -> list[Delivery]:
            return _deliveries(session.rows(session.template("unsent_deliveries"), metric_batch=self.metric_batch))

        try:
            return self._once(select, write=False)
        except TableMissing:
            return []

    def messages_since(self, since: datetime) -> dict[str, int]:
        """Return how many messages each channel acknowledged at or after ``since``; of none, there is no entry."""
        rows = self._run(
            lambda session: session.rows(
                session.template("messages_since"), metric_batch=self.metric_batch, since=since
            )
        )
        return {str(channel): int(messages) for channel, messages in rows}

    def retry_abandoned(self) -> int:
        """Make what was abandoned pending again, its tries forgotten; returns how many."""

        def update(session: Session) -> int:
            session.lock()
            return session.execute(session.template("retry_abandoned"), metric_batch=self.metric_batch)

        return self._run(update)

    def delete_finished(self, before: datetime) -> int:
        """Delete what was sent or suppressed and was recorded before ``before``; return how many. Makes no table."""

        def delete(session: Session) -> int:
            session.lock()
            return session.execute(
                session.template("delete_finished_deliveries"), metric_batch=self.metric_batch, before=before
            )

        try:
            return self._once(delete, write=True)
        except TableMissing:
            return 0

    def _run(self, work: Callable[[Session], T]) -> T:
        try:
            return self._once(work, write=True)
        except TableMissing:
            self._once(self._create, write=True)
            return self._once(work, write=True)

    def _once(self, work: Callable[[Session], T], *, write: bool) -> T:
        try:
            return self._dialect.run(self._hook, self.table, work, write=write, wait=self._wait)
        except Exception as error:
            said = explained(error, self._dialect, self._hook, self.table, "create_deliveries")
            if said is error:
                raise
            raise said from error

    def _create(self, session: Session) -> None:
        session.lock()
        session.ensure_schema()
        session.execute(session.template("create_deliveries"))


def _stage_claims(session: Session, deliveries: Sequence[Delivery]) -> None:
    columns = {key: [getattr(delivery, key) for delivery in deliveries] for key in ("seq", "claims")}
    session.stage(_STAGED, pd.DataFrame(columns, dtype="int64"))


def _deliveries(rows: Sequence[tuple[Any, ...]]) -> list[Delivery]:
    """Return the rows of a ledger's query in the order of recording."""
    return [_delivery(row) for row in sorted(rows, key=lambda row: row[0])]


def _delivery(row: tuple[Any, ...]) -> Delivery:
    seq, event_id, transition, channel, batch, payload, status, attempts, recorded_at, tried_at, error, claims = row
    return Delivery(
        event_id=event_id,
        transition=transition,
        channel=channel,
        metric_batch=batch,
        payload=payload,
        status=status,
        attempts=attempts,
        recorded_at=_moment(recorded_at),
        tried_at=_moment(tried_at),
        error=error,
        seq=seq,
        claims=claims,
    )


def _moment(value: datetime | str | None) -> datetime | None:
    """Return a time of the ledger as aware UTC; SQLite has it as text."""
    if value is None:
        return None
    return (datetime.fromisoformat(value) if isinstance(value, str) else value).replace(tzinfo=UTC)
