"""
What a frame of metric rows must be before it may be written, and how one that was read is laid out.

Times in frames are naive ``datetime64[us]`` in UTC, values float64. No database here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from anomstack_provider.store.errors import RowsRefused, TableChanged

KEY = ["metric_name", "metric_type", "metric_timestamp"]
COLUMNS = [*KEY, "metric_value", "metadata"]


def checked_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """
    Return ``rows`` with the columns :data:`COLUMNS` in their stored types, in the given order of rows.

    Raises :class:`RowsRefused`, naming metric and time, for a value that is not finite, a missing time or a key
    given twice, and for missing or other columns or types.
    """
    if sorted(map(str, rows.columns)) != sorted(COLUMNS):
        raise RowsRefused(f"rows have the columns {list(rows.columns)}, expected exactly {COLUMNS}")
    frame = checked_keys(rows, "rows")
    values = rows["metric_value"]
    if values.dtype.kind not in "fiu" and len(values):
        raise RowsRefused(f"metric_value has the type {values.dtype}, expected float64")
    frame["metric_value"] = values.to_numpy(dtype=np.float64, na_value=np.nan)
    _refuse(frame, ~np.isfinite(frame["metric_value"].to_numpy()), "its value is not a finite number")
    _refuse(frame, frame.duplicated(KEY).to_numpy(), "its key is given twice")
    metadata = rows["metadata"]
    if pd.api.types.infer_dtype(metadata, skipna=True) not in {"string", "empty"}:
        raise RowsRefused("metadata must be text or None in every row")
    texts = metadata.to_numpy(dtype=object, copy=True)
    texts[pd.isna(texts)] = None
    frame["metadata"] = pd.Series(texts, dtype=object)
    return frame


def checked_keys(rows: pd.DataFrame, what: str) -> pd.DataFrame:
    """Return the key columns of ``rows``, numbered from 0; other columns are left out. Raises as above."""
    missing = [column for column in KEY if column not in rows.columns]
    if missing:
        raise RowsRefused(f"{what} have no column {missing[0]!r}; a key is {KEY}")
    frame = pd.DataFrame({"metric_timestamp": _utc_microseconds(rows["metric_timestamp"])})
    for column in ("metric_name", "metric_type"):
        texts = rows[column].reset_index(drop=True)
        if len(texts) and (texts.isna().any() or pd.api.types.infer_dtype(texts) != "string"):
            raise RowsRefused(f"{column} must be text in every row of {what}")
        frame[column] = texts
    frame = frame[KEY]
    _refuse(frame, frame["metric_timestamp"].isna().to_numpy(), "it has no time")
    return frame


def read_frame(columns: dict[str, Any], table: str = "the table") -> pd.DataFrame:
    """
    Return a query's columns, sorted by key, as a frame; of rows with the same key the last one is kept.

    A value may be text where a column takes anything, as SQLite's do: :class:`TableChanged` names ``table``, metric and
    time of the first one.
    """
    _refuse_text(columns, table)
    frame = pd.DataFrame(
        {
            "metric_name": pd.Series(_texts(columns["metric_name"]), dtype=object),
            "metric_type": pd.Series(_texts(columns["metric_type"]), dtype=object),
            "metric_timestamp": np.asarray(columns["metric_timestamp"], dtype="datetime64[us]"),
            "metric_value": _floats(columns["metric_value"]),
            "metadata": pd.Series(_texts(columns["metadata"]), dtype=object),
        }
    )
    times = frame["metric_timestamp"].to_numpy()
    if (times[1:] == times[:-1]).any():  # cheap, and nearly always all there is to do
        frame = frame.drop_duplicates(KEY, keep="last", ignore_index=True)
    return frame


def empty_frame() -> pd.DataFrame:
    """Return :func:`read_frame` of nothing."""
    return read_frame(dict.fromkeys(COLUMNS, ()))


def _texts(values: Any) -> np.ndarray[Any, np.dtype[np.object_]]:
    texts = np.empty(len(values), dtype=object)
    texts[:] = np.ma.getdata(values) if isinstance(values, np.ma.MaskedArray) else values
    if isinstance(values, np.ma.MaskedArray):
        texts[np.ma.getmaskarray(values)] = None
    return texts


def _refuse_text(columns: dict[str, Any], table: str) -> None:
    values = columns["metric_value"]
    if isinstance(values, np.ndarray):  # of one type, and no engine's type for text comes as this
        return
    texts = [row for row, value in enumerate(values) if isinstance(value, str)]
    if texts:
        name, kind, when = (columns[column][texts[0]] for column in KEY)
        raise TableChanged(
            f"{table} has text that is no number as the value of {len(texts)} of {len(values)} rows; the first is "
            f"metric {name!r} ({kind}) at {when}: {values[texts[0]]!r}. Correct or delete it."
        )


def _floats(values: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    if isinstance(values, np.ma.MaskedArray):
        return np.asarray(values.filled(np.nan), dtype=np.float64)
    return np.asarray(values, dtype=np.float64)


def _utc_microseconds(times: pd.Series[Any]) -> np.ndarray[Any, np.dtype[np.datetime64]]:
    if isinstance(times.dtype, pd.DatetimeTZDtype):
        times = times.dt.tz_convert("UTC").dt.tz_localize(None)
    if times.dtype.kind != "M" and len(times):
        raise RowsRefused(f"metric_timestamp has the type {times.dtype}, expected datetime64[us] in UTC")
    return times.to_numpy(dtype="datetime64[us]")


def _refuse(frame: pd.DataFrame, bad: Any, why: str) -> None:
    if bad.any():
        first = int(np.argmax(bad))
        name, kind, when = (frame[column].iloc[first] for column in KEY)
        raise RowsRefused(
            f"{int(bad.sum())} of {len(frame)} rows cannot be stored; "
            f"the first is metric {name!r} ({kind}) at {when}: {why}"
        )
