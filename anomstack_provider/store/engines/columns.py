"""The columns of a frame as the values that drivers take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


def plain_values(column: pd.Series[Any]) -> list[Any]:
    """Return numbers as they are, texts, None for what is no text, and times as ``YYYY-MM-DD HH:MM:SS.ffffff``."""
    if column.dtype.kind == "M":
        return [str(value).replace("T", " ") for value in column.to_numpy()]
    return list(column.tolist()) if column.dtype.kind in "fib" else list(texts(column))


def texts(column: pd.Series[Any]) -> list[str | None]:
    """Return texts, and None for what is none."""
    return [value if isinstance(value, str) else None for value in column.tolist()]
