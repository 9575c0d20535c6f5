"""The errors of the store. Each says what was given and what to do; none holds a secret."""

from __future__ import annotations


class StoreError(RuntimeError):
    """Base of every error that the store raises on its own account."""


class UnsupportedEngine(StoreError):
    """The connection is no SQL connection, or one of an engine without a dialect here."""


class TableMissing(StoreError):
    """The table of a statement does not exist (yet)."""


class TableChanged(StoreError):
    """Somebody has changed the table so that it cannot be worked on; the message names it and the column."""


class StoreBusy(StoreError):
    """The database stayed locked by someone else, or in conflict with them, for the whole bounded wait."""


class RowsRefused(StoreError, ValueError):
    """Rows that must not be written: wrong columns, a value that is not finite, no time, a key given twice."""


class SourceError(StoreError):
    """A user's SQL failed in its database; the message has the statement and the database's reason."""


class NoQueries(StoreError):
    """These rows cannot be asked by a batch's own query."""
