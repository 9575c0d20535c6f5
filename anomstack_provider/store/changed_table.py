"""What to say of a table that somebody has changed by hand: which one it is, and which column is wrong."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from anomstack_provider.store.errors import StoreError, TableChanged
from anomstack_provider.store.session import Dialect, hook_name
from anomstack_provider.store.statements import template

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook

# The looks that follow an error must not wait as long as the work itself may.
_WAIT = 5.0
_COLUMN = re.compile(r"^ {4}([a-z_]+) ([A-Z]+)", re.MULTILINE)
# Of the classes that every DB-API driver has, those that mean: this statement, on this table, never.
_REFUSALS = {"ProgrammingError", "DataError", "IntegrityError", "NotSupportedError"}


def explained(error: Exception, dialect: Dialect, hook: DbApiHook, table: str, made_by: str) -> Exception:
    """
    Return what to raise for ``error``, which a statement on ``table`` ended with.

    It is a :class:`TableChanged` where the table lacks a column, or refuses what is put into one; a lost connection,
    and whatever is not about the table, is ``error`` itself.

    :param made_by: the template that makes the table, which says what columns it has.
    """
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if isinstance(error, StoreError) or "DatabaseError" not in kinds:
        return error
    if not kinds & _REFUSALS and "column" not in str(error):  # SQLite has one class for that and for all else
        return error
    where = f"{hook_name(hook)}: table {table!r}"
    try:
        there = dialect.run(
            hook, table, lambda session: set(session.columns("SELECT * FROM {table} LIMIT 0")), write=False, wait=_WAIT
        )
    except Exception:  # the database is gone, and that is what the first error says
        return error
    columns = dict(_COLUMN.findall(template(made_by)))
    missing = [f"{column} ({kind})" for column, kind in columns.items() if column not in there]
    if missing:
        return TableChanged(
            f"{where} has no column {', '.join(missing)}; it has {', '.join(sorted(there))}. Nothing was written. "
            "Add the column or give it its old name, or move the table away to have a new one made."
        )
    if kinds & _REFUSALS:
        return TableChanged(f"{where} was changed, or holds what no column of it should: {str(error).strip()}")
    return error
