"""A metrics table that Anomstack wrote: which batches it holds, and the rows of one in pages that memory can hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from anomstack_provider.store.dialects import store_dialect
from anomstack_provider.store.metric_store import MetricStore
from anomstack_provider.store.session import LOCK_WAIT, Session, split

if TYPE_CHECKING:
    import pandas as pd
    from airflow.providers.common.sql.hooks.sql import DbApiHook

_INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True)
class Kinds:
    """
    What a table holds of a batch.

    :param types: kinds of rows, sorted; rows without one are not read.
    :param rows: all rows, ``untimed`` those without a time or a kind.
    :param oldest: first time, aware UTC; None if no row has one. ``newest`` the last.
    """

    types: tuple[str, ...]
    rows: int
    untimed: int
    oldest: datetime | None
    newest: datetime | None


class ForeignTable:
    """
    Reads one table, whatever type its time has: with a zone, without one (then it is UTC), or ISO 8601 text.

    Raises :class:`~anomstack_provider.store.errors.TableMissing` if it is not there.
    """

    def __init__(self, hook: DbApiHook, table: str, *, lock_wait: float = LOCK_WAIT) -> None:
        split(table)
        self.table = table
        self._hook = hook
        self._dialect = store_dialect(hook)
        self._wait = lock_wait

    def batches(self) -> dict[str | None, int]:
        """Return how many rows each batch has, by name; those without a name under None."""
        return {name: int(count) for name, count in self._rows("batches")}

    def kinds(self, metric_batch: str) -> Kinds:
        """Return which kinds of rows a batch has, and how many."""
        found = self._rows("kinds", metric_batch=metric_batch)
        typed = [row for row in found if row[0] is not None and row[2]]
        return Kinds(
            tuple(sorted(str(row[0]) for row in typed)),
            sum(int(row[1]) for row in found),
            sum(int(row[1]) for row in found) - sum(int(row[2]) for row in typed),
            min((_aware(row[3]) for row in typed), default=None),
            max((_aware(row[4]) for row in typed), default=None),
        )

    def pages(self, metric_batch: str, kinds: Kinds, size: int) -> Iterator[tuple[datetime, datetime, pd.DataFrame]]:
        """
        Yield the rows of a batch in the order of time: begin and end of a page's times, and its rows.

        Rows are those of :meth:`MetricStore.read`: of equal keys the one stored last. A page has ``size`` rows, or more
        where they have one time.
        """
        store = MetricStore(self._hook, self.table, metric_batch, lock_wait=self._wait)
        since = kinds.oldest
        while since is not None and kinds.newest is not None and since <= kinds.newest:
            until = self._end(metric_batch, since, size) or kinds.newest + _INSTANT
            yield since, until, store.read(kinds.types, since=since, until=until)
            since = until

    def _end(self, metric_batch: str, since: datetime, size: int) -> datetime | None:
        found = self._rows("page_end", "later", metric_batch=metric_batch, since=since, later=size)
        if found and _aware(found[0][0]) == since:
            found = self._rows("page_end", "next", metric_batch=metric_batch, since=since)
        return _aware(found[0][0]) if found else None

    def _rows(self, name: str, *parts: str, **values: Any) -> list[tuple[Any, ...]]:
        def select(session: Session) -> list[tuple[Any, ...]]:
            return session.rows(session.template(name, *parts, time=session.time_column()), **values)

        return self._dialect.run(self._hook, self.table, select, write=False, wait=self._wait)


def _aware(moment: datetime | str) -> datetime:
    found = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return found.replace(tzinfo=UTC)
