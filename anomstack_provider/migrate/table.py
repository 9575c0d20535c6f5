"""Copy a batch's rows out of a table that Anomstack wrote, clean: UTC, one row per key, finite values."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from anomstack_provider.steps.ports import MetricRows
    from anomstack_provider.store.foreign import ForeignTable

PAGE = 50_000
"""Rows that are read and written at once."""

_KEY = ["metric_name", "metric_type", "metric_timestamp"]


@dataclass(frozen=True)
class Copied:
    """
    What became of the rows of one batch; together they are all that it has.

    :param copied: written.
    :param there: left alone, since the target has a row of the same key.
    :param duplicates: left out, since a row stored later has the same key.
    :param empty: left out, since their value is NULL, NaN or infinite.
    :param unnamed: left out, since they have no time, no kind or no metric name.
    """

    copied: int = 0
    there: int = 0
    duplicates: int = 0
    empty: int = 0
    unnamed: int = 0

    def __str__(self) -> str:
        return ", ".join(f"{getattr(self, one.name):,} {_SAID[one.name]}" for one in fields(self))


_SAID = {
    "copied": "copied",
    "there": "there already",
    "duplicates": "duplicates",
    "empty": "without a value",
    "unnamed": "without a name, kind or time",
}


def copy_batch(source: ForeignTable, metric_batch: str, target: MetricRows, page: int = PAGE) -> Copied:
    """
    Copy what ``target`` does not have yet; again it copies nothing, and after a kill the rest.

    Rows of the target are never replaced: scores and alerts that this package wrote are worth more than the copied.
    """
    kinds = source.kinds(metric_batch)
    copied = there = empty = unnamed = read = 0
    for since, until, rows in source.pages(metric_batch, kinds, page):
        read += len(rows)
        named = rows["metric_name"].map(lambda name: isinstance(name, str) and bool(name.strip())).astype(bool)
        finite = rows["metric_value"].abs() < float("inf")  # NaN is not less
        kept = rows[named & finite].reset_index(drop=True)
        unnamed += int((~named).sum())
        empty += int((named & ~finite).sum())
        new = _not_in(kept, target.read(kinds.types, since=since, until=until))
        there += len(kept) - len(new)
        new["metadata"] = new["metadata"].map(_no_blank).astype(object)
        copied += target.replace(new) if len(new) else 0
    duplicates = max(kinds.rows - kinds.untimed - read, 0)
    return Copied(copied, there, duplicates, empty, unnamed + kinds.untimed)


def _not_in(rows: pd.DataFrame, others: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    known = pd.MultiIndex.from_frame(others[_KEY])
    return rows[~pd.MultiIndex.from_frame(rows[_KEY]).isin(known)].reset_index(drop=True)


def _no_blank(text: object) -> str | None:
    return text if isinstance(text, str) and text.strip() else None
