"""A set of labelled series: rows, labels in the yardstick's format, and the schedule of the batch they would be."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import pandas as pd

# The cron of a batch by the length of its buckets in seconds.
_CRONS = {300: "*/5 * * * *", 1800: "*/30 * * * *", 3600: "@hourly", 86_400: "@daily"}


class Label(TypedDict):
    """What is known of one series. Times are UTC without zone, both ends of a span belong to it."""

    step_s: float
    score_from: str
    family: str
    events: list[Any]  # [start, end, kind]
    ignore: list[Any]  # [start, end]


@dataclass(frozen=True)
class Dataset:
    """
    Labelled series.

    :param rows: columns series, timestamp (``datetime64[us]``, naive UTC) and value, sorted, no key twice.
    :param labels: by series.
    :param warm_up: buckets to score before ``score_from`` that are not judged (what came before decides whether a
        score of NAB is a new one).
    """

    name: str
    rows: pd.DataFrame
    labels: Mapping[str, Label]
    warm_up: int = 0

    def head(self, count: int | None) -> Dataset:
        """Return so many series, taken evenly over the families; all if None."""
        if count is None or count >= len(self.labels):
            return self
        rank: dict[str, int] = {}
        turns = []
        for name, label in self.labels.items():
            rank[label["family"]] = rank.get(label["family"], -1) + 1
            turns.append((rank[label["family"]], name))
        return self.part([name for _, name in sorted(turns, key=lambda turn: turn[0])[:count]])

    def part(self, names: Sequence[str]) -> Dataset:
        """Return these series only."""
        chosen = set(names)
        labels = {name: label for name, label in self.labels.items() if name in chosen}
        return replace(self, rows=self.rows[self.rows["series"].isin(chosen)].reset_index(drop=True), labels=labels)

    def batches(self) -> list[Dataset]:
        """Return the series in batches that begin, are judged from and end at the same moments: one preview each."""
        ends = self.rows.groupby("series")["timestamp"].agg(["min", "max"])
        groups: dict[Any, list[str]] = {}
        for name, label in self.labels.items():
            key = (label["score_from"], label["step_s"], ends.loc[name, "min"], ends.loc[name, "max"])
            groups.setdefault(key, []).append(name)
        return [self.part(names) for names in groups.values()]

    @property
    def step(self) -> pd.Timedelta:
        """The length of a bucket; the longest where series differ."""
        return pd.Timedelta(seconds=max(label["step_s"] for label in self.labels.values()))

    @property
    def schedule(self) -> str:
        """The cron of the batch."""
        return _CRONS.get(int(self.step.total_seconds()), "@hourly")


def tidy(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows as :class:`Dataset` wants them; of rows with one key the last counts, as in the metrics table."""
    rows = rows[["series", "timestamp", "value"]].astype({"timestamp": "datetime64[us]", "value": np.float64})
    rows = rows.drop_duplicates(["series", "timestamp"], keep="last")
    return rows.sort_values(["series", "timestamp"], kind="stable", ignore_index=True)


def read(prefix: Path) -> Dataset:
    """Read ``{prefix}.csv.gz`` or ``{prefix}.csv`` (series, timestamp, value) and ``{prefix}_labels.json``."""
    packed, plain = Path(f"{prefix}.csv.gz"), Path(f"{prefix}.csv")
    rows = pd.read_csv(packed if packed.exists() else plain, parse_dates=["timestamp"])
    labels = json.loads(Path(f"{prefix}_labels.json").read_text())
    return Dataset(f"{prefix.parent.name}/{prefix.name}", tidy(rows), labels)
