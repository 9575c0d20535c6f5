"""
The metrics table, for one batch: reads of key ranges and replacement by key, in a constant number of statements.

Every call opens a connection, works and closes it again, because DuckDB's file admits one process at a time. What
an engine does differently is in ``dialects``; what a row must be is in ``rows``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import pandas as pd

from anomstack_provider.store.changed_table import explained
from anomstack_provider.store.dialects import store_dialect
from anomstack_provider.store.errors import NoQueries, TableChanged, TableMissing
from anomstack_provider.store.rows import checked_keys, checked_rows, empty_frame, read_frame
from anomstack_provider.store.session import LOCK_WAIT, Session, Value, hook_name, split

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook

T = TypeVar("T")

# Rows that one transaction deletes at most.
DELETED_AT_ONCE = 50_000


class MetricStore:
    """
    The rows of one ``metric_batch`` in one table.

    Times given are aware; times in frames are naive ``datetime64[us]`` in UTC. No constraint is expected of a table
    that someone else made, and its time column may be with or without a zone, or ISO 8601 text.

    :param hook: any SQL hook whose engine is in ``dialects``.
    :param table: the table's key, ``metrics`` or ``schema.metrics``.
    :param lock_wait: seconds to wait for a database that others have locked, then :class:`StoreBusy`.
    :param queries: runs the batch's own query of a key as of a moment, see :meth:`query`.
    """

    def __init__(
        self,
        hook: DbApiHook,
        table: str,
        metric_batch: str,
        *,
        lock_wait: float = LOCK_WAIT,
        queries: Callable[[str, datetime], pd.DataFrame] | None = None,
    ) -> None:
        split(table)
        self._queries = queries
        self.table = table
        self.metric_batch = metric_batch
        self._hook = hook
        self._dialect = store_dialect(hook)
        self._wait = lock_wait
        self._known_time_column: str | None = None
        self._keeps_fractions = False

    @property
    def _named(self) -> str:
        return f"{hook_name(self._hook)}: table {self.table!r}"

    def ensure_table(self) -> None:
        """Create the table, and the schema its key names, unless it is there; nothing is asked of one that is."""

        def create(session: Session) -> None:
            session.lock()
            session.ensure_schema()
            session.execute(session.template("create_metrics"))

        self._known_time_column = None  # of a table that someone may have dropped since
        try:
            self._run(self._time_column, write=False)
        except TableMissing:
            self._run(create, write=True)

    def read(
        self,
        metric_types: Sequence[str],
        *,
        since: datetime | None,
        until: datetime,
        newest: int | None = None,
        cut: datetime | None = None,
        metrics: Sequence[str] | None = None,
    ) -> pd.DataFrame:
        """
        Return the batch's rows of ``metric_types`` with ``since <= metric_timestamp < until``.

        With ``newest``: all rows at or after ``cut`` (default: ``until``), and before it the rows of the ``newest``
        most recent times of each metric and type. With ``metrics``: only these, however many. The frame has
        ``metric_name``, ``metric_type``, ``metric_timestamp`` (datetime64[us], UTC), ``metric_value`` (float64)
        and ``metadata`` (text or None), sorted by name, type and time. Of rows with the same key in a table
        that someone else wrote, the last one is kept. No table yet gives an empty frame.
        """
        if newest is not None and newest < 0:
            raise ValueError(f"newest is {newest}, expected a number of rows")
        if not metric_types or (metrics is not None and not len(metrics)):
            return empty_frame()
        types = {f"metric_type_{number}": kind for number, kind in enumerate(metric_types)}
        values: dict[str, Value] = {"metric_batch": self.metric_batch, "until": until, **types}
        parts = []
        if since is not None:
            parts.append("since")
            values["since"] = since
        if newest is not None:
            parts.append("newest")
            values.update(newest=newest, cut=until if cut is None else cut)
        if metrics is not None:
            parts.append("metrics")

        def select(session: Session) -> pd.DataFrame:
            if metrics is not None:
                names = pd.DataFrame({"metric_name": pd.Series(sorted(set(metrics)), dtype=object)})
                session.stage("anomstack_wanted", names)
            marks = ", ".join(f"${name}" for name in types)
            sql = session.template("read", *parts, time=self._time_column(session), metric_types=marks)
            return read_frame(session.columns(sql, **values), self._named)

        try:
            return self._run(select, write=False)
        except TableMissing:
            return empty_frame()

    def newest_timestamp(self, metric_type: str, before: datetime) -> datetime | None:
        """Return the batch's newest time of ``metric_type`` before ``before``, aware UTC; None if there is none."""

        def select(session: Session) -> datetime | None:
            sql = session.template("newest_timestamp", time=self._time_column(session))
            rows = session.rows(sql, metric_batch=self.metric_batch, metric_type=metric_type, before=before)
            newest = rows[0][0]
            if isinstance(newest, str):
                newest = datetime.fromisoformat(newest)
            return None if newest is None else newest.replace(tzinfo=UTC)

        try:
            return self._run(select, write=False)
        except TableMissing:
            return None

    def metric_names(self, metric_type: str, *, since: datetime | None, until: datetime) -> list[str]:
        """Return the names, sorted, that have rows of ``metric_type`` with ``since <= metric_timestamp < until``."""
        limits: dict[str, Value] = {"metric_batch": self.metric_batch, "metric_type": metric_type, "until": until}
        if since is not None:
            limits["since"] = since

        def select(session: Session) -> list[str]:
            parts = [] if since is None else ["since"]
            sql = session.template("metric_names", *parts, time=self._time_column(session))
            return sorted(str(name) for (name,) in session.rows(sql, **limits))

        try:
            return self._run(select, write=False)
        except TableMissing:
            return []

    def replace(self, rows: pd.DataFrame, *, clear: pd.DataFrame | None = None) -> int:
        """
        Put ``rows`` in the place of whatever the batch has under their keys; return how many were written.

        ``rows`` has the columns that :meth:`read` gives; ``clear`` has at least ``metric_name``, ``metric_type`` and
        ``metric_timestamp``: what is stored under these keys goes as well. All in one transaction: a failure at
        any point leaves the table as it was. Creates the table if need be. Raises :class:`RowsRefused`.
        """
        staged = checked_rows(rows)
        if clear is not None and len(clear):
            gone = checked_keys(clear, "keys to clear").assign(metric_value=0.0)
            gone["metadata"] = pd.Series([None] * len(gone), dtype=object)
            staged = pd.concat([staged, gone], ignore_index=True) if len(staged) else gone
        if not len(staged):
            return 0
        staged["kept"] = np.arange(len(staged)) < len(rows)
        first, last = (_aware(staged["metric_timestamp"].agg(edge)) for edge in ("min", "max"))

        def write(session: Session) -> int:
            session.stage("anomstack_staged", staged)
            session.lock()
            time = self._time_column(session)
            for name in self._dialect.replacing:
                sql = session.template(name, time=time)
                session.execute(sql, metric_batch=self.metric_batch, first=first, last=last)
            self._check_fractions(session, time, staged[staged["kept"]])
            return len(rows)

        try:
            return self._run(write, write=True)
        except TableMissing:
            self.ensure_table()
            return self._run(write, write=True)

    def delete_before(self, before: datetime, *, spare: pd.DataFrame | None = None, most: int = DELETED_AT_ONCE) -> int:
        """
        Delete the batch's rows of every type that are older than ``before``; return how many.

        :param spare: keys, in ``metric_name``, ``metric_type`` and ``metric_timestamp``, of rows that stay.
        :param most: rows that one transaction deletes at most; others get their turn in between.
        """
        staged = None if spare is None or not len(spare) else checked_keys(spare, "keys to spare")

        def delete(session: Session) -> int:
            if staged is not None:
                session.stage("anomstack_staged", staged)
            session.lock()
            time = self._time_column(session)
            sql = session.template("delete_before", *([] if staged is None else ["spare"]), time=time)
            return session.execute(sql, metric_batch=self.metric_batch, before=before, most=most)

        total, deleted = 0, most
        try:
            while deleted == most:
                deleted = self._run(delete, write=True)
                total += deleted
        except TableMissing:
            return total
        return total

    def has_table(self) -> bool:
        """Tell whether there is a table yet; :class:`TableChanged` if it lacks a column."""

        def look(session: Session) -> bool:
            self._time_column(session)
            session.columns(session.template("check_columns"))
            return True

        try:
            return self._run(look, write=False)
        except TableMissing:
            return False

    def query(self, key: str, as_of: datetime) -> pd.DataFrame:
        """
        Return what the batch's own query of that key, such as ``train_sql``, gives as of a moment, as it comes.

        Raises :class:`NoQueries` in a store that was opened without any.
        """
        if self._queries is None:
            raise NoQueries(f"{self.metric_batch}: {key}: this store was opened without the batch's queries")
        return self._queries(key, as_of)

    def _run(self, work: Callable[[Session], T], *, write: bool) -> T:
        try:
            return self._dialect.run(self._hook, self.table, work, write=write, wait=self._wait)
        except Exception as error:
            said = explained(error, self._dialect, self._hook, self.table, "create_metrics")
            if said is error:
                raise
            raise said from error

    def _check_fractions(self, session: Session, time: str, rows: pd.DataFrame) -> None:
        """Refuse a column that keeps whole numbers only and says nothing; asked once, of the row that tells best."""
        values = rows["metric_value"].to_numpy()
        distances = np.abs(values - np.round(values))
        row = rows.iloc[int(np.argmax(distances))] if len(rows) else None
        if self._keeps_fractions or row is None or not distances.max() > 0:
            return
        kept = session.rows(
            session.template("read_value", time=time),
            metric_batch=self.metric_batch,
            metric_name=row["metric_name"],
            metric_type=row["metric_type"],
            metric_timestamp=_aware(row["metric_timestamp"]),
        )
        if kept and kept[0][0] == round(kept[0][0]):
            raise TableChanged(
                f"{self._named} keeps {row['metric_value']} in its column metric_value "
                f"as {kept[0][0]}. Nothing was written. Change the column's type to DOUBLE."
            )
        self._keeps_fractions = True

    def _time_column(self, session: Session) -> str:
        if self._known_time_column is None:
            self._known_time_column = session.time_column()
        return self._known_time_column


def _aware(moment: pd.Timestamp) -> datetime:
    return moment.to_pydatetime().replace(tzinfo=UTC)
