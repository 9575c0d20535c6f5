"""
The metrics of a batch in groups, those of its shards, for a step that works through all of them in one task.

What it holds at a time is then as much as a shard has, however many metrics there are.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd

from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.steps.ports import MetricRows
from anomstack_provider.steps.training import shard_of

_WHOLE_ANSWERS = ("alert_sql", "change_sql")


@dataclass(frozen=True)
class Group:
    """
    Some metrics of a batch.

    :param names: they; None: all there are.
    :param seen: they, what their gates look at, and the batch, on which people may have said something too.
    """

    names: frozenset[str] | None = None
    seen: frozenset[str] | None = None

    def __contains__(self, name: str) -> bool:
        return self.names is None or name in self.names

    def rows(self, store: MetricRows) -> MetricRows:
        """Return the rows of what the group sees."""
        return store if self.seen is None else SomeMetrics(store, self.seen)


def groups_of(spec: BatchSpec, store: MetricRows, until: datetime) -> list[Group]:
    """
    Return the groups of the metrics stored before ``until``: one of all for a batch of one shard.

    So too where a query of the batch's own tells what is judged, as it does of all metrics at once.
    """
    if spec.shards == 1 or any(spec.override(key) is not None for key in _WHOLE_ANSWERS):
        return [Group()]
    by_shard: dict[int, set[str]] = {}
    for kind in ("metric", "score"):
        for name in store.metric_names(kind, since=None, until=until):
            by_shard.setdefault(shard_of(name, spec.shards), set()).add(name)
    return [_group(spec, names) for _, names in sorted(by_shard.items())] or [Group()]


def _group(spec: BatchSpec, names: Collection[str]) -> Group:
    looked_at = frozenset().union(*(spec.gates(name).references for name in names))
    return Group(frozenset(names), frozenset(names) | looked_at | {spec.metric_batch})


def read_in_groups(store: MetricRows, groups: Sequence[Group], types: Sequence[str], **limits: Any) -> Iterator[Any]:
    """Yield the rows of each group's own metrics, as :meth:`MetricStore.read` returns them."""
    for group in groups:
        rows = store if group.names is None else SomeMetrics(store, group.names)
        yield rows.read(types, **limits)


@dataclass(frozen=True)
class SomeMetrics:
    """The rows of some metrics of a batch."""

    rows: MetricRows
    names: frozenset[str]

    def read(self, metric_types: Sequence[str], *, metrics: Sequence[str] | None = None, **limits: Any) -> pd.DataFrame:
        """Return rows as :meth:`MetricStore.read` does."""
        wanted = self.names if metrics is None else self.names & set(metrics)
        return self.rows.read(metric_types, metrics=sorted(wanted), **limits)

    def metric_names(self, metric_type: str, *, since: datetime | None, until: datetime) -> list[str]:
        """Return the names that have rows of that type, sorted."""
        found = self.read([metric_type], since=since, until=until, newest=1)
        return sorted(found["metric_name"].unique())

    def newest_timestamp(self, metric_type: str, before: datetime) -> datetime | None:
        """Return the newest time of that type before an aware time, None if there is none."""
        newest = self.read([metric_type], since=None, until=before, newest=1)["metric_timestamp"].max()
        return None if pd.isna(newest) else newest.tz_localize("UTC").to_pydatetime()

    def replace(self, rows: pd.DataFrame, *, clear: pd.DataFrame | None = None) -> int:
        """Refuse: it is for looking only."""
        raise NotImplementedError("rows of some metrics are only read")

    def query(self, key: str, as_of: datetime) -> pd.DataFrame:
        """Return what the batch's own query gives of these metrics."""
        found = self.rows.query(key, as_of)
        of_names = [column for column in found if str(column).lower() == "metric_name"]
        return found[found[of_names[0]].isin(self.names)] if of_names else found
