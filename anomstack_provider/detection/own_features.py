"""
Feature rows made by a batch's own function (``preprocess_fn``) in the place of Anomstack's recipe.

For training the function sees the training points once. For a score it sees a bucket and the points before it, a fixed
number of them and none after, and the row of that bucket is taken: so a score depends on nothing that came later, and
is the same whatever else was read or scored beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anomstack_provider.detection.series import Floats, Series
from anomstack_provider.runtime.user_function import call_again, line_in


class OwnFeaturesError(ValueError):
    """The function failed or its rows cannot be used; the message names batch, key, metric and the line if there is."""


@dataclass(frozen=True)
class OwnFeatures:
    """
    The function of one batch for one metric.

    :param text: Python that defines ``preprocess(df, ...)``, rendered.
    :param where: batch and key, for messages.
    :param arguments: what it may take beside the data frame: ``preprocess_params``, of which ``freq`` is done already.
    :param reach: how many points before a bucket it sees, at most.
    """

    text: str
    where: str
    metric_batch: str
    metric_name: str
    arguments: Mapping[str, Any]
    reach: int

    def of_training(self, points: Series) -> tuple[tuple[str, ...], Floats]:
        """Return the names of the features and a row for each training point that has one, in time order."""
        columns, _, rows = self._call(points)
        return columns, rows

    def of_buckets(
        self, series: Series, index: NDArray[np.intp], begin: NDArray[np.intp], columns: tuple[str, ...]
    ) -> tuple[Floats, NDArray[np.bool_]]:
        """
        Return a row per bucket at ``index`` that has one, and which of the buckets do.

        :param begin: no bucket sees a point before its ``begin``.
        :param columns: the features that the metric was trained on.
        """
        rows = np.empty((len(index), len(columns)))
        found = np.zeros(len(index), bool)
        for i, (at, oldest) in enumerate(zip(index.tolist(), begin.tolist(), strict=True)):
            first = max(at - self.reach, oldest)
            names, times, made = self._call(series.slice(first, at + 1))
            if names != columns:
                raise self._refuse(f"returned the columns {list(names)}, trained were {list(columns)}")
            own = np.flatnonzero(times == series.times[at])
            if len(own):
                rows[i], found[i] = made[own[0]], True
            elif at - first == self.reach:
                raise self._refuse(
                    f"returned no row for {series.times[at]}, the newest of {self.reach + 1} points; "
                    "it sees as many as score_max_n says, and none after the bucket"
                )
        return rows[found], found

    def _call(self, points: Series) -> tuple[tuple[str, ...], NDArray[np.datetime64], Floats]:
        import pandas as pd

        columns = {
            "metric_timestamp": points.times.copy(),
            "metric_batch": self.metric_batch,
            "metric_name": self.metric_name,
            "metric_value": points.values.copy(),
        }
        frame = pd.DataFrame(columns)
        try:
            made = call_again(self.text, "preprocess", frame, self.arguments, where=self.where)
        except Exception as error:  # the batch's own code may raise anything
            line = line_in(error, self.where)
            said = (
                f"line {line}: {type(error).__name__}: {error}" if line else str(error).removeprefix(f"{self.where}: ")
            )
            raise OwnFeaturesError(f"{self.where}: metric {self.metric_name!r}: {said}") from error
        if not isinstance(made, pd.DataFrame):
            raise self._refuse(f"returned {type(made).__name__}, not a pandas DataFrame")
        return self._checked(points, made)

    def _checked(self, points: Series, made: Any) -> tuple[tuple[str, ...], NDArray[np.datetime64], Floats]:
        """Return columns, times and rows in time order; each row has to be of one of the points."""
        import pandas as pd

        if len(made) == 0:
            return tuple(map(str, made.columns)), np.empty(0, "datetime64[us]"), np.empty((0, made.shape[1]))
        if not isinstance(made.index, pd.DatetimeIndex):
            raise self._refuse("returned rows whose index is not metric_timestamp; keep it, as set_index does")
        index = made.index.tz_convert("UTC").tz_localize(None) if made.index.tz is not None else made.index
        times = index.to_numpy().astype("datetime64[us]")
        strange = ~np.isin(times, points.times)
        if strange.any():
            raise self._refuse(f"returned a row for {times[strange][0]}, which is none of the points that it was given")
        if len(np.unique(times)) < len(times):
            raise self._refuse("returned two rows for one metric_timestamp")
        try:
            rows = made.to_numpy(np.float64, na_value=np.nan)
        except (TypeError, ValueError) as error:
            raise self._refuse(f"returned a column that is not of numbers: {error}") from error
        if rows.shape[1] == 0:
            raise self._refuse("returned no column")
        if not np.isfinite(rows).all():
            row, column = np.argwhere(~np.isfinite(rows))[0]
            raise self._refuse(
                f"returned {rows[row, column]} in column {made.columns[column]!r} for {times[row]}; drop such rows"
            )
        order = np.argsort(times, kind="stable")
        return tuple(map(str, made.columns)), times[order], np.ascontiguousarray(rows[order])

    def _refuse(self, what: str) -> OwnFeaturesError:
        return OwnFeaturesError(f"{self.where}: metric {self.metric_name!r}: preprocess() {what}")
