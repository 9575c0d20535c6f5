"""Stores for a preview: what is read comes from the real table, what is written stays in memory."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd

from anomstack_provider.artifacts.model_store import Bundle, Manifest, ModelKey
from anomstack_provider.detection.feedback import WORD_OF
from anomstack_provider.steps.ports import COLUMNS, MetricRows
from anomstack_provider.steps.training import stamp

_KEY = ["metric_name", "metric_type", "metric_timestamp"]

# What a preview takes as it is stored: the metrics, and what people said of them.
_GIVEN = {"metric", *WORD_OF}


class MemoryRows:
    """Rows of one batch in memory, with the behaviour of the metrics table."""

    def __init__(self) -> None:
        empty = pd.DataFrame(columns=COLUMNS)
        self.rows = empty.astype({"metric_timestamp": "datetime64[us]", "metric_value": "float64"})

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
        rows = self.rows
        times = rows["metric_timestamp"].to_numpy()
        keep = rows["metric_type"].isin(list(metric_types)).to_numpy() & (times < stamp(until))
        if since is not None:
            keep &= times >= stamp(since)
        if metrics is not None:
            keep &= rows["metric_name"].isin(list(metrics)).to_numpy()
        found = rows[keep].sort_values(_KEY, kind="stable", ignore_index=True)
        if newest is None:
            return found
        older = found["metric_timestamp"].to_numpy() < stamp(cut or until)
        rank = found[older].groupby(_KEY[:2], sort=False).cumcount(ascending=False).to_numpy()
        keep = np.ones(len(found), bool)
        keep[older] = rank < newest
        return found[keep].reset_index(drop=True)

    def newest_timestamp(self, metric_type: str, before: datetime) -> datetime | None:
        """Return the newest time of that type before an aware time, None if there is none."""
        rows = self.read([metric_type], since=None, until=before)
        newest = rows["metric_timestamp"].max()
        return None if pd.isna(newest) else newest.to_pydatetime().replace(tzinfo=UTC)

    def replace(self, rows: pd.DataFrame, *, clear: pd.DataFrame | None = None) -> int:
        """Put rows in the place of those with the same keys."""
        gone = rows[_KEY] if clear is None else pd.concat([rows[_KEY], clear[_KEY]])
        kept = self.rows
        if len(kept):
            kept = kept[~pd.MultiIndex.from_frame(kept[_KEY]).isin(pd.MultiIndex.from_frame(gone))]
        parts = [part for part in (kept, rows[COLUMNS]) if len(part)]
        if parts:
            self.rows = pd.concat(parts, ignore_index=True)
        elif len(self.rows):
            self.rows = self.rows.iloc[:0]
        return len(rows)


class Overlay(MemoryRows):
    """
    Metrics and feedback of a real table beside scores and alerts in memory.

    Stored scores and alerts are not looked at.
    """

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
        if given := [t for t in metric_types if t in _GIVEN]:
            parts.append(self.table.read(given, **limits))
        if own := [t for t in metric_types if t not in _GIVEN]:
            parts.append(super().read(own, **limits))
        filled = [part for part in parts if len(part)] or parts[:1]
        return pd.concat(filled).sort_values(_KEY, kind="stable", ignore_index=True)

    def newest_timestamp(self, metric_type: str, before: datetime) -> datetime | None:
        """Return the newest time of that type before an aware time, None if there is none."""
        if metric_type in _GIVEN:
            return self.table.newest_timestamp(metric_type, before)
        return super().newest_timestamp(metric_type, before)


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
