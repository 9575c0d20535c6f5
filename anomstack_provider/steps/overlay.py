"""Stores for a preview: what is read comes from the real table, what is written stays in memory."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd

from anomstack_provider.artifacts.model_store import Bundle, Manifest, ModelKey
from anomstack_provider.steps.ports import COLUMNS, MetricRows
from anomstack_provider.steps.training import stamp

_KEY = ["metric_name", "metric_type", "metric_timestamp"]
_TEXTS = ["metric_name", "metric_type", "metadata"]


class MemoryRows:
    """Rows of one batch in memory, with the behaviour of the metrics table."""

    def __init__(self) -> None:
        # By metric type, each sorted by name and time: what is read is mostly of one type and needs no sorting.
        self._rows: dict[str, pd.DataFrame] = {}

    def read(
        self,
        metric_types: Sequence[str],
        *,
        since: datetime | None,
        until: datetime,
        newest: int | None = None,
        cut: datetime | None = None,
        metrics: Sequence[str] | None = None,
    ) -> pd.DataFrame:
        """Return rows as :meth:`MetricStore.read` does."""
        return _together(
            [
                _part(self._rows[kind], since, until, newest, cut or until, metrics)
                for kind in dict.fromkeys(metric_types)
                if kind in self._rows
            ]
        )

    def newest_timestamp(self, metric_type: str, before: datetime) -> datetime | None:
        """Return the newest time of that type before an aware time, None if there is none."""
        rows = self.read([metric_type], since=None, until=before)
        newest = rows["metric_timestamp"].max()
        return None if pd.isna(newest) else newest.to_pydatetime().replace(tzinfo=UTC)

    def metric_names(self, metric_type: str, *, since: datetime | None, until: datetime) -> list[str]:
        """Return the names that have rows of that type, sorted."""
        rows = self._rows.get(metric_type, _EMPTY)
        return sorted(_part(rows, since, until, None, until, None)["metric_name"].unique())

    def replace(self, rows: pd.DataFrame, *, clear: pd.DataFrame | None = None) -> int:
        """Put rows in the place of those with the same keys."""
        gone = rows[_KEY] if clear is None else pd.concat([rows[_KEY], clear[_KEY]])
        for kind, keys in gone.groupby("metric_type", sort=False):
            kept = self._rows.get(str(kind), _EMPTY)
            if len(kept):
                kept = kept[~pd.MultiIndex.from_frame(kept[_KEY]).isin(pd.MultiIndex.from_frame(keys))]
            new = rows[rows["metric_type"] == kind][COLUMNS].astype(dict.fromkeys(_TEXTS, object))
            self._rows[str(kind)] = _together([kept, new.sort_values(_KEY, kind="stable", ignore_index=True)])
        return len(rows)


class Overlay(MemoryRows):
    """Metric rows of a real table beside scores and alerts in memory; stored scores and alerts are not looked at."""

    def __init__(self, table: MetricRows) -> None:
        super().__init__()
        self.table = table

    def read(
        self,
        metric_types: Sequence[str],
        *,
        since: datetime | None,
        until: datetime,
        newest: int | None = None,
        cut: datetime | None = None,
        metrics: Sequence[str] | None = None,
    ) -> pd.DataFrame:
        """Return rows as :meth:`MetricStore.read` does."""
        limits: dict[str, Any] = {"since": since, "until": until, "newest": newest, "cut": cut, "metrics": metrics}
        parts = []
        if "metric" in metric_types:
            parts.append(self.table.read(["metric"], **limits))
        if own := [t for t in metric_types if t != "metric"]:
            parts.append(super().read(own, **limits))
        return _together(parts)

    def newest_timestamp(self, metric_type: str, before: datetime) -> datetime | None:
        """Return the newest time of that type before an aware time, None if there is none."""
        if metric_type == "metric":
            return self.table.newest_timestamp(metric_type, before)
        return super().newest_timestamp(metric_type, before)

    def metric_names(self, metric_type: str, *, since: datetime | None, until: datetime) -> list[str]:
        """Return the names that have rows of that type, sorted."""
        if metric_type == "metric":
            return self.table.metric_names(metric_type, since=since, until=until)
        return super().metric_names(metric_type, since=since, until=until)


def _part(
    rows: pd.DataFrame,
    since: datetime | None,
    until: datetime,
    newest: int | None,
    cut: datetime,
    metrics: Sequence[str] | None,
) -> pd.DataFrame:
    """Return the rows of one type that a read wants."""
    times = rows["metric_timestamp"].to_numpy()
    keep = times < stamp(until)
    if since is not None:
        keep &= times >= stamp(since)
    if metrics is not None:
        keep &= rows["metric_name"].isin(list(metrics)).to_numpy()
    if newest is not None:
        older = np.flatnonzero(keep & (times < stamp(cut)))
        names = rows["metric_name"].to_numpy()[older]
        counts = np.diff(np.flatnonzero(np.r_[True, names[1:] != names[:-1], True])) if len(older) else older
        # How many rows of its metric come after each.
        rank = np.repeat(np.cumsum(counts), counts) - np.arange(len(older)) - 1
        keep[older[rank >= newest]] = False
    return rows[keep].reset_index(drop=True)


def _together(parts: list[pd.DataFrame]) -> pd.DataFrame:
    """Return the rows of several sorted parts, sorted."""
    filled = [part for part in parts if len(part)]
    if len(filled) < 2:
        return filled[0] if filled else _EMPTY.copy()
    return pd.concat(filled).sort_values(_KEY, kind="stable", ignore_index=True)


_EMPTY = pd.DataFrame({column: pd.Series([], dtype=object) for column in COLUMNS}).astype(
    {"metric_timestamp": "datetime64[us]", "metric_value": "float64"}
)


class NoModels:
    """A model store that keeps nothing: every model is trained from the stored series when it is asked for."""

    def load(self, key: ModelKey) -> Bundle | None:
        """Return None."""

    def save(self, key: ModelKey, models: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
        """Keep nothing."""

    def find(self, key: ModelKey) -> Manifest | None:
        """Return None."""

    def prune(self, metric_batch: str, keep: int, spare: Collection[datetime] = ()) -> list[str]:
        """Remove nothing."""
        return []
