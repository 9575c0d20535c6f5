"""
What the jobs of one run read of the metrics table: queries, rows and bytes.

Bytes are those of the answers, as a worker gets them: eight for a time or a number, for a text those of its UTF-8. What
an engine looks at to find them, and bills, only the engine knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd

from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.runtime.ticks import last_tick, tick_at_or_before
from anomstack_provider.runtime.window import RunWindow
from anomstack_provider.steps import alert, score, train
from anomstack_provider.steps.deciding import Deciding
from anomstack_provider.steps.groups import Group
from anomstack_provider.steps.ports import MetricRows, Models

_TEXTS = ("metric_name", "metric_type", "metadata")
_NUMBER = 8


@dataclass
class Read:
    """Queries, the rows that they answered with, and the bytes of these."""

    queries: int = 0
    rows: int = 0
    bytes: int = 0

    def add(self, rows: int, size: int) -> None:
        """Count a query."""
        self.queries, self.rows, self.bytes = self.queries + 1, self.rows + rows, self.bytes + size


@dataclass(frozen=True)
class Counted:
    """
    Rows of a batch that count what is read of them.

    :param all_scored: whether to count a bucket that is read beside the scores as if it had its own: in a preview those
        from before the period have none yet.
    """

    table: MetricRows
    read_so_far: Read
    all_scored: bool = False

    def read(self, metric_types: Sequence[str], **limits: Any) -> pd.DataFrame:
        """Return rows as :meth:`MetricStore.read` does."""
        found = self.table.read(metric_types, **limits)
        count, size = len(found), _size(found)
        scores = found[found["metric_type"] == "score"]
        if self.all_scored and len(scores):
            missing = max(int((found["metric_type"] == "metric").sum()) - len(scores), 0)
            count, size = count + missing, size + missing * _size(scores) // len(scores)
        self.read_so_far.add(count, size)
        return found

    def newest_timestamp(self, metric_type: str, before: datetime) -> datetime | None:
        """Return the newest time of that type before an aware time, None if there is none."""
        self.read_so_far.add(1, _NUMBER)
        return self.table.newest_timestamp(metric_type, before)

    def metric_names(self, metric_type: str, *, since: datetime | None, until: datetime) -> list[str]:
        """Return the names that have rows of that type, sorted."""
        found = self.table.metric_names(metric_type, since=since, until=until)
        self.read_so_far.add(len(found), sum(map(_length, found)))
        return found

    def replace(self, rows: pd.DataFrame, *, clear: pd.DataFrame | None = None) -> int:
        """Write what is missing beside the rows, in memory."""
        return self.table.replace(rows, clear=clear)

    def query(self, key: str, as_of: datetime) -> pd.DataFrame:
        """Return what the batch's own query gives."""
        found = self.table.query(key, as_of)
        texts = [
            found[column].map(lambda text: _length(str(text))).sum() for column in found if _is_text(found[column])
        ]
        self.read_so_far.add(len(found), int(sum(texts)) + _NUMBER * len(found) * (found.shape[1] - len(texts)))
        return found


class RunReads:
    """
    What the jobs of a batch's last run in a period read, counted group by group.

    The reads of train and score are done and thrown away; alert is decided in full, which needs the scores.

    :param rows: the batch's rows, with scores of the run in what :meth:`add` is given.
    """

    def __init__(self, spec: BatchSpec, period: RunWindow, rows: MetricRows, groups: Sequence[Group]) -> None:
        end = tick_at_or_before(spec.cron, spec.timezone, period.end)
        self.window = RunWindow(last_tick(spec.cron, spec.timezone, end), end)
        has = {"ingest": not spec.disable_ingest, "alert": bool(spec.finds)}
        has |= {job: not spec.is_off(job) for job in ("train", "score")}
        self.jobs = {job: Read() for job in ("ingest", "train", "score", "alert") if has[job]}
        self._spec, self._shards = spec, len(groups)
        # Of a resampled batch one score is that of many points.
        self._all_scored = spec.preprocess_params.freq is None
        self._alert = self.jobs.get("alert", Read())
        self._rows = Counted(rows, self._alert)
        self._deciding = Deciding(spec, self.window, self._rows, groups)
        if groups[0].names is not None:
            self._count_names(rows)

    def _count_names(self, rows: MetricRows) -> None:
        """Count how each task of a shard finds out which metrics are its own, and alert which there are."""
        names = Read()
        Counted(rows, names).metric_names("metric", since=None, until=self.window.end)
        for job, times in (("train", self._shards), ("score", self._shards), ("alert", 2)):
            for _ in range(times if job in self.jobs else 0):
                self.jobs[job].add(names.rows, names.bytes)

    def add(self, group: Group, part: MetricRows, models: Models) -> None:
        """Count the reads of a group."""
        spec, window, jobs = self._spec, self.window, self.jobs
        if "ingest" in jobs:
            Counted(part, jobs["ingest"]).read(["metric"], since=window.start, until=window.end)
        if "train" in jobs:
            train.read(spec, window, Counted(part, jobs["train"]), 0, 1)
        if "score" in jobs:
            score.read(spec, window, Counted(part, jobs["score"], self._all_scored))
        if "alert" in jobs:
            self._deciding.judge(group, Counted(part, self._alert, self._all_scored), models)

    def finish(self) -> dict[str, Read]:
        """Count what is read of all groups together, and return the counts by job."""
        if "alert" in self.jobs:
            self._deciding.late_data()
            alert.stored(self._rows, self._deciding.told.clear)
        return self.jobs


def _size(frame: pd.DataFrame) -> int:
    texts = sum(_length(text) for column in _TEXTS for text in frame[column].to_numpy(object) if text is not None)
    return texts + 2 * _NUMBER * len(frame)


def _length(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))


def _is_text(column: pd.Series[Any]) -> bool:
    return bool(column.dtype == object or pd.api.types.is_string_dtype(column))
