"""BigQuery."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar

from anomstack_provider.store.engines.columns import plain_values
from anomstack_provider.store.engines.times import PLAIN
from anomstack_provider.store.errors import StoreError
from anomstack_provider.store.position import Position
from anomstack_provider.store.session import Dialect, Session, split

if TYPE_CHECKING:
    import pandas as pd

_REQUEST = 8_000_000  # bytes of staged rows; BigQuery limits a request to ten million
_SCRIPT = """BEGIN
BEGIN TRANSACTION;
UPDATE {lock} SET taken = taken + 1 WHERE TRUE;
{statement};
COMMIT TRANSACTION;
END"""


@dataclass
class _Connection:
    """A client of the hook's, how its jobs are set up, and what this session has staged and locked."""

    client: Any
    config: Mapping[str, Any]
    dataset: str | None
    lock: str | None = None
    staged: dict[str, Any] = field(default_factory=dict)

    def close(self) -> None:
        self.client.close()


class BigQuery(Dialect):
    """
    BigQuery: each statement is a job, and those of one transaction are one script.

    So a change is sent as it stands, with the lock before it: a row of the table ``..._lock`` that each script updates.
    Of two scripts that run at once BigQuery aborts one, which is tried again. Values, staged frames too, are parameters
    of the job, so that nothing is left behind. Times are of the type DATETIME, in UTC.
    """

    engine = "bigquery"
    options = ("no_rowid",)
    replacing = ("replace_staged",)
    types: ClassVar = {"M": "DATETIME", "f": "FLOAT64", "b": "BOOL", "i": "INT64"}
    text = "STRING"

    def open(self, hook: Any, wait: float) -> Any:
        client = hook.get_client(project_id=hook.project_id, location=hook.location)
        connection = hook.get_connection(hook.get_conn_id())
        dataset = connection.extra_dejson.get("dataset") or connection.schema
        if dataset and "." not in dataset:
            dataset = f"{client.project}.{dataset}"
        return _Connection(client, hook.api_resource_configs, dataset)

    def commit(self, connection: Any) -> None:
        """Do nothing: each script commits."""

    def is_contention(self, error: BaseException) -> bool:
        text = str(error)
        return "due to concurrent update" in text or "Transaction is aborted" in text

    def position(self, error: BaseException, sql: str) -> Position | None:
        told = re.search(r"at \[(\d+):(\d+)\]", str(error))
        return Position(int(told[1]), int(told[2])) if told else None

    def is_missing(self, error: BaseException) -> bool:
        return getattr(error, "code", None) == 404

    def lock(self, connection: Any, table: str) -> None:
        lock = self.quoted(f"{table}_lock")
        try:
            self._dry_run(connection, f"SELECT taken FROM {lock}")
        except Exception as error:
            if not self.is_missing(error):
                raise
            try:
                self._job(connection, f"CREATE TABLE IF NOT EXISTS {lock} AS SELECT 0 AS taken")
            except Exception as second:
                if self.is_missing(second):
                    return  # no dataset yet, so nobody to wait for
                raise
        connection.lock = lock

    def ensure_schema(self, session: Session) -> None:
        name = ".".join(split(session.table)[:-1]) or session.connection.dataset
        if name is None:
            raise StoreError(
                f"table key {session.table!r}: BigQuery needs a dataset, as in 'dataset.{session.table}', or the extra "
                "'dataset' of the connection"
            )
        client = session.connection.client
        client.create_dataset(name if "." in name else f"{client.project}.{name}", exists_ok=True)

    def rewrite(self, tree: Any) -> Any:
        from sqlglot import exp

        def spell(node: Any) -> Any:
            # Several columns are compared as one value, of which the query has to return one as well.
            if isinstance(node, exp.In) and isinstance(node.this, exp.Tuple) and node.args.get("query"):
                select = node.args["query"].find(exp.Select)
                select.set("expressions", [exp.Tuple(expressions=select.expressions)])
            return node

        return tree.transform(spell)

    def time_column(self, connection: Any, sql: str) -> str:
        kind = self._dry_run(connection, sql)[0].field_type
        if kind == "DATETIME":
            return PLAIN
        # In DuckDB's dialect: TIMESTAMP there is DATETIME here, which takes no offset.
        return "CAST(CAST(metric_timestamp AS TIMESTAMPTZ) AS TIMESTAMP)"

    def identifier(self, name: str) -> str:
        if "`" in name or "\\" in name:
            raise StoreError(f"table key {name!r}: BigQuery has no names with ` or \\ in them")
        return f"`{name}`"

    def placeholder(self, name: str) -> str:
        return f"@{name}"

    # --- statements ------------------------------------------------------------------------------------------

    def execute(self, connection: Any, sql: str, values: Mapping[str, Any]) -> int:
        if connection.lock is None or sql.lstrip().startswith("CREATE"):
            return int(self._job(connection, sql, values)[0].num_dml_affected_rows or 0)
        script = _SCRIPT.format(lock=connection.lock, statement=sql)
        counted = _counted(sql)
        count = int(self.rows(connection, counted, values)[0][0]) if counted else 0
        self._job(connection, script, values)
        return count

    def rows(self, connection: Any, sql: str, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        found = self.columns(connection, sql, values)
        return list(zip(*found.values(), strict=True))

    def columns(self, connection: Any, sql: str, values: Mapping[str, Any]) -> dict[str, Any]:
        _, rows = self._job(connection, sql, values)
        if not rows.schema:
            raise StoreError("the statement returns no rows, so there is nothing to read")
        parts: Sequence[Sequence[Any]] = list(zip(*(row.values() for row in rows), strict=True))
        parts = parts or [()] * len(rows.schema)
        return {
            part.name: tuple(_naive(value) for value in column) if part.field_type == "TIMESTAMP" else column
            for part, column in zip(rows.schema, parts, strict=True)
        }

    def stage(self, connection: Any, name: str, frame: pd.DataFrame) -> None:
        rows = json.dumps(_records(frame), ensure_ascii=False)
        if len(rows.encode()) > _REQUEST:
            raise StoreError(
                f"{len(frame)} rows are more than can be sent to BigQuery in one request of {_REQUEST:,} bytes: set a "
                "shorter history_chunk, or split the batch"
            )
        fields = (
            f"CAST(JSON_VALUE(staged_row, '$.{column}') AS {self.staged_type(column, frame[column])}) AS {column}"
            for column in frame.columns
        )
        query = f"(SELECT {', '.join(fields)} FROM UNNEST(JSON_QUERY_ARRAY(@{name})) AS staged_row)"
        connection.staged[name] = (query, rows)

    def _job(self, connection: Any, sql: str, values: Mapping[str, Any] | None = None) -> tuple[Any, Any]:
        for name, (query, _) in connection.staged.items():
            sql = sql.replace(f"FROM {name}", f"FROM {query}")
        job = connection.client.query(sql, job_config=self._config(connection, sql, values or {}))
        return job, job.result()

    def _dry_run(self, connection: Any, sql: str) -> Any:
        """Return the columns of a query without running it, which costs nothing."""
        config = self._config(connection, sql, {})
        config.dry_run = True
        config.use_query_cache = False
        return connection.client.query(sql, job_config=config).schema

    def _config(self, connection: Any, sql: str, values: Mapping[str, Any]) -> Any:
        from google.cloud import bigquery

        config = bigquery.QueryJobConfig.from_api_repr({"query": {}, **connection.config})
        config.use_legacy_sql = False
        if connection.dataset:
            config.default_dataset = connection.dataset
        staged = [
            bigquery.ScalarQueryParameter(name, "STRING", rows)
            for name, (_, rows) in connection.staged.items()
            if f"@{name}" in sql
        ]
        scalars = [bigquery.ScalarQueryParameter(name, _kind(value), value) for name, value in values.items()]
        config.query_parameters = scalars + staged
        return config


def _kind(value: Any) -> str:
    return {datetime: "DATETIME", int: "INT64", float: "FLOAT64"}.get(type(value), "STRING")


def _naive(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.astimezone(UTC).replace(tzinfo=None)


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows as JSON may hold them: numbers and times as text, which is exact."""
    columns = {name: plain_values(frame[name]) for name in frame.columns}
    for name, values in columns.items():
        if frame[name].dtype.kind == "f":
            columns[name] = [repr(value) for value in values]
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _counted(sql: str) -> str | None:
    """Return the query that counts the rows that a statement is about to change; a script tells nothing of that."""
    verb, _, rest = sql.lstrip().partition(" ")
    if verb == "INSERT":
        return f"SELECT COUNT(*) FROM ({rest[rest.index('SELECT') :]})"
    if verb == "UPDATE" and " WHERE " in rest:
        return f"SELECT COUNT(*) FROM {rest.partition(' SET ')[0]} WHERE {rest.partition(' WHERE ')[2]}"
    return f"SELECT COUNT(*) {rest}" if verb == "DELETE" and ";" not in rest else None
