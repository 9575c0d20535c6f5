"""
The ingest step: rows of a batch's query or function, checked and stored.

A row that cannot be stored is refused by name while its neighbours are stored; the step then says which and why.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.detection.series import Times
from anomstack_provider.runtime.ticks import last_tick, tick_at_or_after, tick_at_or_before
from anomstack_provider.runtime.window import RunWindow
from anomstack_provider.steps.outcomes import StepResult
from anomstack_provider.steps.ports import MetricRows

log = logging.getLogger(__name__)

REQUIRED = ("metric_timestamp", "metric_name", "metric_value")

Fetch = Callable[[RunWindow], pd.DataFrame]


class IngestError(ValueError):
    """What the query or the function returned cannot be a set of metrics; the message names what is missing."""


@dataclass(frozen=True)
class Wrangled:
    """
    Rows fit for the metrics table and what happened to the others.

    :param rows: metric_name, metric_type, metric_timestamp (naive UTC, microseconds), metric_value, metadata.
    :param empty: rows left out because their value was NaN or NULL.
    :param duplicates: rows left out because a later one has the same metric and timestamp.
    :param refused: metric name to the reason, naming the row, of rows that are wrong.
    """

    rows: pd.DataFrame
    empty: int
    duplicates: int
    refused: dict[str, str]


def ingest(spec: BatchSpec, window: RunWindow, store: MetricRows, fetch: Fetch) -> StepResult:
    """
    Fetch, check and store the rows of the window; with ``history_start`` also what is missing before it.

    :param fetch: returns what the batch's query or function gives for a window.
    :raises IngestError: the answer lacks a needed column.
    """
    written = empty = duplicates = 0
    refused: dict[str, str] = {}
    outcomes: dict[str, str] = {}
    for part in windows(spec, window, store):
        answer = wrangle(fetch(part), spec.ingest_metric_rounding)
        written += store.replace(answer.rows) if len(answer.rows) else 0
        empty, duplicates = empty + answer.empty, duplicates + answer.duplicates
        refused.update(answer.refused)
        outcomes.update(dict.fromkeys(answer.rows["metric_name"].unique(), "ingested"))
        log.info("%s to %s: %s rows, %s without a value", part.start, part.end, len(answer.rows), answer.empty)
    outcomes.update({name: f"failed: {reason}" for name, reason in refused.items()})
    return StepResult("ingest", written, outcomes, {"empty_values": empty, "duplicates": duplicates})


def windows(spec: BatchSpec, window: RunWindow, store: MetricRows) -> Iterator[RunWindow]:
    """
    Yield the windows to fetch, oldest first: the run's own, before it what ``history_start`` asks for and is missing.

    With ``history_start`` the stored series has no hole that a run skipped: each run continues from the newest point
    before its window, so a first run loads the history, a killed one is resumed, and runs in any order leave the same
    series. What is older than ``delete_after_n_days`` is not loaded: it would be deleted, and loaded again for ever.
    """
    start = window.start
    if spec.history_start is not None and (oldest := _oldest(spec, spec.history_start, window)) < window.start:
        start = _first_missing(spec, oldest, window, store)
    while start < window.start:
        # Pieces end where a run's window would, so that no bucket is cut that runs do not cut.
        end = tick_at_or_before(spec.cron, spec.timezone, start + spec.history_chunk)
        end = min(end if end > start else start + spec.history_chunk, window.start)
        yield RunWindow(start, end)
        start = end
    yield window


def _oldest(spec: BatchSpec, history_start: datetime, window: RunWindow) -> datetime:
    """Return from where on history is kept: ``history_start``, or the first tick that is not past the age to delete."""
    kept = window.end - timedelta(days=spec.delete_after_n_days)
    if spec.disable_delete or kept <= history_start:
        return history_start
    log.info("history before %s is not loaded: delete_after_n_days is %s", kept, spec.delete_after_n_days)
    return tick_at_or_after(spec.cron, spec.timezone, kept)


def _first_missing(spec: BatchSpec, history_start: datetime, window: RunWindow, store: MetricRows) -> datetime:
    """Return where to fetch from: the window if the interval before it has points, else the newest one that has."""
    newest = store.newest_timestamp("metric", window.start)
    if newest is None or newest < history_start:
        return history_start
    if newest >= last_tick(spec.cron, spec.timezone, window.start):
        return window.start
    return max(tick_at_or_before(spec.cron, spec.timezone, newest), history_start)


def wrangle(frame: pd.DataFrame, rounding: int) -> Wrangled:
    """
    Check what a batch returned and bring it into the form of the metrics table.

    :param frame: the needed columns in any case and order; further columns are left out.
    :param rounding: decimals to round values to; negative for none.
    :raises IngestError: a needed column is missing.
    """
    frame = frame.rename(columns={c: str(c).lower() for c in frame.columns})
    if missing := [c for c in REQUIRED if c not in frame.columns]:
        raise IngestError(f"the result has no column {', '.join(missing)}; it has {', '.join(frame.columns) or 'none'}")
    names = frame["metric_name"]
    values = pd.to_numeric(frame["metric_value"], errors="coerce").astype("float64")
    times, unreadable = timestamps(frame["metric_timestamp"])
    unnamed = (names.isna() | (names.astype(str).str.strip() == "")).to_numpy()
    not_a_number = (values.isna() & frame["metric_value"].notna() & ~_is_nan(frame["metric_value"])).to_numpy()
    infinite = np.isinf(values.to_numpy())
    refused: dict[str, str] = {}
    for bad, what in (
        (unnamed, "metric_name is empty"),
        (unreadable, "metric_timestamp is not a time"),
        (infinite, "metric_value is infinite"),
        (not_a_number, "metric_value is not a number"),
    ):
        for i in np.flatnonzero(bad):
            name = "(no name)" if unnamed[i] else str(names.iloc[i])
            row = frame.iloc[i]
            value = row["metric_value"]
            value = value.item() if isinstance(value, np.generic) else value
            reason = f"row {i + 1}: {what}: {row['metric_timestamp']!s}, {value!r}"
            refused.setdefault(name, reason)
    wrong = unnamed | unreadable | infinite | not_a_number
    empty = values.isna().to_numpy() & ~wrong
    keep = ~(wrong | empty)
    numbers = values.to_numpy()[keep]
    rows = pd.DataFrame(
        {
            "metric_name": names.to_numpy(object)[keep].astype(str).astype(object),
            "metric_type": "metric",
            "metric_timestamp": times[keep],
            "metric_value": np.round(numbers, rounding) if rounding >= 0 else numbers,
            "metadata": None,
        }
    )
    unique = rows.drop_duplicates(["metric_name", "metric_timestamp"], keep="last")
    return Wrangled(unique.reset_index(drop=True), int(empty.sum()), len(rows) - len(unique), refused)


def timestamps(column: pd.Series[Any]) -> tuple[Times, NDArray[np.bool_]]:
    """
    Return UTC times as ``datetime64[us]`` and which rows have none; a time without a zone is UTC.

    A number is no time: pandas would take it for nanoseconds, and whoever wrote it may have meant seconds or a day. Nor
    is ``now``, which is another time whenever it is read.
    """
    if column.dtype.kind == "M":
        parsed = pd.to_datetime(column, utc=True)
    else:
        column = column.astype(object).map(lambda value: None if _is_no_time(value) else value)
        parsed = pd.to_datetime(column, utc=True, errors="coerce", format="ISO8601")
        if parsed.isna().any():  # the slow way, row by row, for what is not written as ISO 8601
            parsed = parsed.fillna(pd.to_datetime(column, utc=True, errors="coerce", format="mixed"))
    times = parsed.dt.tz_localize(None).to_numpy().astype("datetime64[us]")
    return times, np.isnat(times)


def _is_no_time(value: object) -> bool:
    if isinstance(value, str):
        return value.strip().lower() in {"now", "today"}
    return isinstance(value, int | float | np.number)


def _is_nan(column: pd.Series[Any]) -> pd.Series[bool]:
    return column.map(lambda v: isinstance(v, float) and v != v)
