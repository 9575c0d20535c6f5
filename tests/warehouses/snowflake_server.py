"""A program that stands in for Snowflake: fakesnow's HTTP server, whose sessions conflict as Snowflake's do."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Any

import duckdb
import fakesnow.arrow
import fakesnow.cursor
import fakesnow.server
import pyarrow as pa
import snowflake.connector.errors
import sqlglot
import uvicorn
from sqlglot import exp

_execute = fakesnow.cursor.FakeSnowflakeCursor._execute


def _with_codes(self: Any, statement: Any, *args: Any, **kwargs: Any) -> None:
    """
    Answer as Snowflake does where fakesnow answers with HTTP 500, which its driver would try again for ever.

    Snowflake keeps the second writer waiting until a time-out, this engine refuses it at once.
    """
    if isinstance(statement, exp.Create | exp.Drop | exp.Alter):
        with suppress(duckdb.TransactionException):  # DDL commits the transaction it stands in, if there is one
            self._duck_conn.commit()
    # It notes comments and lengths of texts by the table's name, where temporary tables of two sessions collide.
    for note in ("table_comment", "text_lengths"):
        statement.args.pop(note, None)
    try:
        _execute(self, statement, *args, **kwargs)
        if isinstance(statement, exp.Transaction):  # it begins one, and then fails to describe what BEGIN returns
            _execute(self, sqlglot.parse_one(fakesnow.cursor.SQL_SUCCESS, read="duckdb"))
    except duckdb.TransactionException as error:
        raise snowflake.connector.errors.ProgrammingError(msg=str(error), errno=625, sqlstate="57014") from error
    except duckdb.Error as error:
        raise snowflake.connector.errors.ProgrammingError(msg=str(error), errno=100183, sqlstate="P0000") from error


_timestamps = fakesnow.arrow.timestamp_to_sf_struct


def _with_nulls(times: pa.ChunkedArray) -> pa.StructArray:
    """Keep a time that is NULL, where fakesnow sends the year 1970."""
    times = times.combine_chunks()
    sent = _timestamps(times)
    fields = list(sent.type)
    parts = [sent.field(number).fill_null(0) for number in range(len(fields))]
    return pa.StructArray.from_arrays(parts, fields=fields, mask=times.is_null())


fakesnow.cursor.FakeSnowflakeCursor._execute = _with_codes  # type: ignore[method-assign]
fakesnow.arrow.timestamp_to_sf_struct = _with_nulls
# It looks for session variables in the texts of a statement as well.
fakesnow.cursor.FakeSnowflakeCursor._inline_variables = lambda self, sql: sql  # type: ignore[method-assign]

if __name__ == "__main__":
    uvicorn.run(fakesnow.server.app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
