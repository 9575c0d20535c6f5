"""Stores for a preview: what is read comes from the real table, what is written stays in memory."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from anomstack_provider.artifacts.model_store import Bundle, Manifest, ModelKey
from anomstack_provider.detection.feedback import WORD_OF
from anomstack_provider.detection.series import Floats, Times, split_columns
from anomstack_provider.steps.llm_answers import ANSWER
from anomstack_provider.steps.ports import COLUMNS, MetricRows
from anomstack_provider.steps.training import stamp
from anomstack_provider.store.errors import NoQueries

_KEY = ["metric_name", "metric_type", "metric_timestamp"]

# What a preview takes as it is stored: the metrics, and what people and language models said of them.
_GIVEN = {"metric", ANSWER, *WORD_OF}


@dataclass(frozen=True)
class _Rows:
    """Rows of one metric and type, in time order: ``datetime64[us]`` in UTC, numbers, texts."""

    times: Times
    values: Floats
    metadata: NDArray[np.object_]

    def slice(self, since: np.datetime64 | None, until: np.datetime64) -> slice:
        """Return which rows lie in a range."""
        first = 0 if since is None else int(self.times.searchsorted(since))
        return slice(first, max(int(self.times.searchsorted(until)), first))

    def replaced(self, gone: Times, new: _Rows) -> _Rows:
        """Return them with others in the place of those at the times ``gone``."""
        if not len(self.times):
            return new
        kept = ~np.isin(self.times, gone)
        times = np.concatenate([self.times[kept], new.times])
        order = np.argsort(times, kind="stable")
        return _Rows(
            times[order],
            np.concatenate([self.values[kept], new.values])[order],
            np.concatenate([self.metadata[kept], new.metadata])[order],
        )


_NONE = _Rows(np.empty(0, "datetime64[us]"), np.empty(0), np.empty(0, object))


class MemoryRows:
    """Rows of one batch in memory, with the behaviour of the metrics table."""

    def __init__(self) -> None:
        # By name and type: a read touches no other metric and has nothing to sort.
        self._rows: dict[str, dict[str, _Rows]] = {}

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
        found: list[tuple[str, str, _Rows, slice]] = []
        begin, end = None if since is None else stamp(since), stamp(until)
        newest_before = end if cut is None else min(stamp(cut), end)
        for name in sorted(self._rows if metrics is None else set(metrics) & set(self._rows)):
            for kind in sorted(set(metric_types) & set(self._rows[name])):
                rows = self._rows[name][kind]
                wanted = rows.slice(begin, end)
                if newest is not None:
                    oldest = int(rows.times.searchsorted(newest_before)) - newest
                    wanted = slice(min(max(wanted.start, oldest), wanted.stop), wanted.stop)
                found.append((name, kind, rows, wanted))
        return _frame(found)

    def newest_timestamp(self, metric_type: str, before: datetime) -> datetime | None:
        """Return the newest time of that type before an aware time, None if there is none."""
        rows = self.read([metric_type], since=None, until=before, newest=1)
        newest = rows["metric_timestamp"].max()
        return None if pd.isna(newest) else newest.to_pydatetime().replace(tzinfo=UTC)

    def metric_names(self, metric_type: str, *, since: datetime | None, until: datetime) -> list[str]:
        """Return the names that have rows of that type, sorted."""
        found = []
        begin, end = None if since is None else stamp(since), stamp(until)
        for name, kinds in self._rows.items():
            wanted = kinds.get(metric_type, _NONE).slice(begin, end)
            if wanted.stop > wanted.start:
                found.append(name)
        return sorted(found)

    def replace(self, rows: pd.DataFrame, *, clear: pd.DataFrame | None = None) -> int:
        """Put rows in the place of those with the same keys."""
        new = _by_key(rows)
        gone = new if clear is None else _by_key(pd.concat([rows[_KEY], clear[_KEY]]))
        for (name, kind), keys in gone.items():
            kinds = self._rows.setdefault(name, {})
            kinds[kind] = kinds.get(kind, _NONE).replaced(keys.times, new.get((name, kind), _NONE))
        return len(rows)

    def query(self, key: str, as_of: datetime) -> pd.DataFrame:
        """Raise: a query asks the database, which knows nothing of these rows."""
        raise NoQueries(f"{key} asks the database, and these rows are only in memory; store them first")


def _by_key(frame: pd.DataFrame) -> dict[tuple[str, str], _Rows]:
    """Return rows by name and type; values and metadata only where the frame has them."""
    frame = frame.reindex(columns=COLUMNS)
    found = {}
    for kind, rows in frame.groupby("metric_type", sort=False):
        ordered = rows.sort_values(["metric_name", "metric_timestamp"], kind="stable")
        for name, (times, values, metadata) in split_columns(ordered, "metric_value", "metadata").items():
            texts = metadata.astype(object)
            texts[pd.isna(metadata)] = None
            found[name, str(kind)] = _Rows(times, values.astype(np.float64), texts)
    return found


def _frame(found: Sequence[tuple[str, str, _Rows, slice]]) -> pd.DataFrame:
    counts = [wanted.stop - wanted.start for _, _, _, wanted in found]
    rows = [(part.times[wanted], part.values[wanted], part.metadata[wanted]) for _, _, part, wanted in found]
    times, values, metadata = zip(*rows, strict=True) if rows else ((), (), ())
    names, kinds = (np.repeat(np.array([key[i] for key in found], object), counts) for i in (0, 1))
    return pd.DataFrame(
        {
            "metric_name": pd.Series(names, dtype=object),
            "metric_type": pd.Series(kinds, dtype=object),
            "metric_timestamp": np.concatenate([_NONE.times, *times]),
            "metric_value": np.concatenate([_NONE.values, *values]),
            "metadata": pd.Series(np.concatenate([_NONE.metadata, *metadata]), dtype=object),
        },
        copy=False,
    )


class Overlay(MemoryRows):
    """
    Metrics, feedback and a language model's answers of a real table beside scores and alerts in memory.

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
        filled = [part for part in parts if len(part)]
        if len(filled) < 2:
            return (filled or parts)[0]
        return pd.concat(filled).sort_values(_KEY, kind="stable", ignore_index=True)

    def newest_timestamp(self, metric_type: str, before: datetime) -> datetime | None:
        """Return the newest time of that type before an aware time, None if there is none."""
        if metric_type in _GIVEN:
            return self.table.newest_timestamp(metric_type, before)
        return super().newest_timestamp(metric_type, before)

    def metric_names(self, metric_type: str, *, since: datetime | None, until: datetime) -> list[str]:
        """Return the names that have rows of that type, sorted."""
        if metric_type == "metric":
            return self.table.metric_names(metric_type, since=since, until=until)
        return super().metric_names(metric_type, since=since, until=until)

    def query(self, key: str, as_of: datetime) -> pd.DataFrame:
        """Return what the batch's own query gives: it sees the scores and alerts that are stored, not those here."""
        return self.table.query(key, as_of)


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
