"""
Rows of a batch's own query (``train_sql``, ``score_sql``, ``alert_sql``, ``change_sql``), checked.

A query is rendered as of a moment, and nothing of that moment or after is taken from its answer, whatever it returns.
So a step that asks as of a train tick, of a run or of a bucket's own run is given the same rows live, in a backfill and
in a preview, as long as the query reads no clock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd

from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.detection.series import Floats, Series, Times, split_columns
from anomstack_provider.runtime.ticks import tick_at_or_after
from anomstack_provider.steps.ingest import timestamps
from anomstack_provider.steps.ports import MetricRows

_NEEDED = ("metric_timestamp", "metric_name", "metric_value")
# Of these the template of Anomstack's own alert job returns more than are needed.
_ALERT_NEEDED = ("metric_timestamp", "metric_name", "metric_score")
_NUMBERS = ("metric_value", "metric_score", "metric_score_smooth", "metric_alert", "metric_change")


class OverrideError(ValueError):
    """The rows of a batch's own query cannot be worked on; the message names batch, key and column."""


def series(spec: BatchSpec, store: MetricRows, key: str, as_of: datetime) -> dict[str, Series]:
    """Return the points that ``train_sql``, ``score_sql`` or ``change_sql`` gives as of a moment, by metric."""
    frame = _rows(spec, store, key, as_of, _NEEDED)
    frame = frame[frame["metric_value"].notna()]
    return {
        name: Series(times, values.astype(np.float64))
        for name, (times, values) in split_columns(frame, "metric_value").items()
    }


@dataclass(frozen=True)
class Judged:
    """
    What ``alert_sql`` says of one metric, shape (n,).

    :param scores: smoothed if the query smoothed them.
    :param values: NaN where it gives none.
    :param alerts: which of the buckets are alerts; None: the query leaves that to ``alert_threshold``.
    """

    times: Times
    scores: Floats
    values: Floats
    alerts: np.ndarray[Any, np.dtype[np.bool_]] | None


def judged(spec: BatchSpec, store: MetricRows, as_of: datetime) -> dict[str, Judged]:
    """Return what ``alert_sql`` gives as of a moment, by metric; a row without a score is none."""
    frame = _rows(spec, store, "alert_sql", as_of, _ALERT_NEEDED)
    decides = "metric_alert" in frame
    score = "metric_score_smooth" if decides and "metric_score_smooth" in frame else "metric_score"
    known = frame["metric_score"].notna() | ((frame["metric_alert"] == 1) if decides else False)
    frame = frame[known].reindex(columns=[*_KEY, score, "metric_value", "metric_alert"])
    return {
        name: Judged(times, scores.astype(np.float64), values.astype(np.float64), alerts == 1 if decides else None)
        for name, (times, scores, values, alerts) in split_columns(frame, score, "metric_value", "metric_alert").items()
    }


def rows(spec: BatchSpec, store: MetricRows, key: str, as_of: datetime) -> pd.DataFrame:
    """
    Return what ``dashboard_sql`` gives as of a moment, as rows like those of the metrics table, without metadata.

    ``metric_score`` makes a score, ``metric_alert`` and ``metric_change`` of 1 make an alert and a change.
    """
    frame = _rows(spec, store, key, as_of, _NEEDED)
    parts = []
    for column, kind in _SHOWN.items():
        if column in frame.columns:
            numbers = frame[column]
            mine = frame[numbers.notna() if kind in ("metric", "score") else numbers == 1]
            parts.append(mine[_KEY].assign(metric_type=kind, metric_value=mine[column].to_numpy(np.float64)))
    found = pd.concat(parts, ignore_index=True).assign(metadata=None)
    return found.sort_values(["metric_name", "metric_type", "metric_timestamp"], kind="stable", ignore_index=True)


def own_run(spec: BatchSpec, ends: Times, at_most: datetime) -> list[datetime]:
    """
    Return the end of the run in which each bucket closes, by the batch's schedule; not after ``at_most``.

    :param ends: ends of the buckets, UTC.
    """
    moments = (end.replace(tzinfo=UTC) + spec.completeness_delay for end in ends.astype("datetime64[us]").tolist())
    return [min(tick_at_or_after(spec.cron, spec.timezone, moment), at_most) for moment in moments]


_KEY = ["metric_name", "metric_timestamp"]
_SHOWN = {"metric_value": "metric", "metric_score": "score", "metric_alert": "alert", "metric_change": "change"}


def _rows(spec: BatchSpec, store: MetricRows, key: str, as_of: datetime, needed: Sequence[str]) -> pd.DataFrame:
    """Return the rows before a moment, sorted, numbers as float64, one per metric and time."""
    where = f"{spec.metric_batch}: {key}"
    frame = store.query(key, as_of)
    frame = frame.rename(columns={column: str(column).lower() for column in frame.columns})
    for column in needed:
        if column not in frame.columns:
            has = ", ".join(frame.columns) or "none"
            raise OverrideError(f"{where}: the result has no column {column}; it has {has}")
    _refuse_others(frame, where, spec.metric_batch, key)
    if frame[["metric_name", "metric_timestamp"]].isna().any(axis=None):
        raise OverrideError(f"{where}: a row has no metric_name or no metric_timestamp")
    times, unreadable = timestamps(frame["metric_timestamp"])
    if unreadable.any():
        row = frame.iloc[int(np.argmax(unreadable))]
        text = f"{row['metric_timestamp']!r} of metric {row['metric_name']!r}"
        raise OverrideError(f"{where}: column metric_timestamp: {text} is not a time")
    columns: dict[str, Any] = {"metric_name": frame["metric_name"].astype(str).astype(object).to_numpy()}
    columns["metric_timestamp"] = times
    for column in (column for column in _NUMBERS if column in frame.columns):
        columns[column] = _numbers(frame, column, where)
    found: pd.DataFrame = pd.DataFrame(columns)
    found = found[times < np.datetime64(as_of.astimezone(UTC).replace(tzinfo=None), "us")]
    twice = found.duplicated(_KEY).to_numpy()
    if twice.any():
        row = found.iloc[int(np.argmax(twice))]
        raise OverrideError(
            f"{where}: metric {row['metric_name']!r} has two rows at {row['metric_timestamp']}; "
            "give one per bucket, such as avg(metric_value) with group by"
        )
    return found.sort_values(_KEY, kind="stable", ignore_index=True)


def _refuse_others(frame: pd.DataFrame, where: str, metric_batch: str, key: str) -> None:
    """Refuse rows of other batches, and rows that are no metrics, where the query says what they are."""
    wanted: Mapping[str, str] = {"metric_batch": metric_batch}
    if key != "alert_sql":
        wanted = {**wanted, "metric_type": "metric"}
    for column, value in wanted.items():
        if column in frame.columns and len(other := frame.loc[frame[column] != value, column]):
            message = f"column {column}: there are rows of {other.iloc[0]!r}; ask for {column} = '{value}'"
            raise OverrideError(f"{where}: {message}")


def _numbers(frame: pd.DataFrame, column: str, where: str) -> Floats:
    given = frame[column]
    numbers = pd.to_numeric(given, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    wrong = np.isinf(numbers) | (np.isnan(numbers) & given.notna().to_numpy())
    if wrong.any():
        row = frame.iloc[int(np.argmax(wrong))]
        at = f"metric {row['metric_name']!r} at {row['metric_timestamp']}"
        raise OverrideError(f"{where}: column {column}: {row[column]!r} is not a finite number ({at})")
    return numbers
