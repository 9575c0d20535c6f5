"""Where in a statement a database found its mistake."""

from __future__ import annotations

from typing import NamedTuple


class Position(NamedTuple):
    """A place in a text, both counted from 1; a database may know the line alone."""

    line: int
    column: int | None = None

    def __str__(self) -> str:
        return f"line {self.line}" + (f", column {self.column}" if self.column is not None else "")


def at_index(sql: str, index: int) -> Position:
    """Return the place of the character ``index``, counted from 0."""
    before = sql[:index]
    return Position(before.count("\n") + 1, index - before.rfind("\n"))


def of_text(sql: str, text: str, line: int | None = None) -> Position | None:
    """Return the place of ``text`` in the statement, if it stands there once, or once in that line."""
    starts = []
    index = sql.find(text) if text else -1
    while index >= 0:
        if line is None or at_index(sql, index).line == line:
            starts.append(index)
        index = sql.find(text, index + 1)
    return at_index(sql, starts[0]) if len(starts) == 1 else None
