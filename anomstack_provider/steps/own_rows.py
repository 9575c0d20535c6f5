"""
The points that buckets are scored with where the batch gives a ``score_sql`` of its own.

Which buckets are scored is decided by what is stored, as ever; the query gives the points. Each bucket is scored with
the rows that the query gives as of the run in which the bucket closes, so a late run, a backfill and a preview come to
the same score even if the query returns the newest few rows only.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.detection.series import Series
from anomstack_provider.runtime.window import RunWindow
from anomstack_provider.steps import overrides
from anomstack_provider.steps.ports import MetricRows
from anomstack_provider.steps.training import metric_grain, prepare, stamp

Wanted: TypeAlias = Mapping[str, NDArray[np.intp]]


@dataclass
class OwnRows:
    """What ``score_sql`` gives the runs of a batch; asked once per run whose buckets are to be scored."""

    spec: BatchSpec
    window: RunWindow
    store: MetricRows

    @cached_property
    def _newest(self) -> dict[str, Series]:
        return self._as_of(self.window.end)

    @property
    def names(self) -> set[str]:
        """The metrics that the query gives as of the end of the window."""
        return set(self._newest)

    def parts(
        self, stored: Mapping[str, Series], wanted: Wanted, *, only_known: bool
    ) -> Iterator[tuple[Mapping[str, Series], Wanted]]:
        """
        Yield the query's points of one run after another, and the positions in them of the buckets to score.

        :param stored: the stored points, in which ``wanted`` has positions.
        :param only_known: of the buckets that closed before the window, only those that the query gives now.
        """
        cut = stamp(self.window.start - self.spec.completeness_delay)
        by_run: dict[datetime, dict[str, list[np.datetime64]]] = defaultdict(lambda: defaultdict(list))
        for name, positions in wanted.items():
            points = stored[name]
            starts = points.times[positions]
            ends = metric_grain(self.spec, points).ends(starts, self.spec.timezone)
            if only_known:
                now = self._newest.get(name)
                kept = ends > cut if now is None else (ends > cut) | np.isin(starts, now.times)
                starts, ends = starts[kept], ends[kept]
            for start, run in zip(starts, overrides.own_run(self.spec, ends, self.window.end), strict=True):
                by_run[run][name].append(start)
        for run in sorted(by_run):
            given = self._newest if run == self.window.end else self._as_of(run)
            at = {
                name: np.flatnonzero(np.isin(given[name].times, starts))
                for name, starts in by_run[run].items()
                if name in given
            }
            yield given, {name: positions for name, positions in at.items() if len(positions)}

    def _as_of(self, moment: datetime) -> dict[str, Series]:
        return prepare(self.spec, overrides.series(self.spec, self.store, "score_sql", moment), None)
