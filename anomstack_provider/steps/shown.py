"""What a chart shows of one metric: its stored values, and of its scored buckets what their metadata say."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.detection.grain import infer, of_freq, parse
from anomstack_provider.detection.series import Floats, Times, split_columns
from anomstack_provider.steps.training import own_scores, stamp

if TYPE_CHECKING:
    import pandas as pd

NO_TIMES, NO_VALUES = np.empty(0, "datetime64[us]"), np.empty(0)


@dataclass(frozen=True)
class Shown:
    """One metric as read: its values, and of its scored buckets the score and the band, all at ``times``."""

    times: Times
    values: Floats
    score_times: Times
    scores: Floats
    band: dict[str, Floats]
    training_start: np.datetime64 | None

    @property
    def inside(self) -> NDArray[np.bool_]:
        """Whether the value of each scored bucket lies within its range, shape of ``score_times``; an open end is."""
        outside = (self.values > self.band["upper"]) | (self.values < self.band["lower"])
        return ~np.isin(self.score_times, self.times[outside])

    @classmethod
    def of(cls, spec: BatchSpec, frame: pd.DataFrame) -> Shown:
        """Take apart the rows of one metric."""
        empty: tuple[Any, ...] = (NO_TIMES, NO_VALUES, np.empty(0, object))
        columns = ("metric_value", "metadata")
        scored, measured = frame[own_scores(frame)], frame[frame["metric_type"] == "metric"]
        score_times, scores, metadata = next(iter(split_columns(scored, *columns).values()), empty)
        facts = [json.loads(text) for text in metadata]
        if spec.preprocess_params.freq is None:
            times, values, _ = next(iter(split_columns(measured, *columns).values()), empty)
        else:
            times, values = score_times, np.array([fact["value"] for fact in facts])
        band = {key: np.full(len(times), np.nan) for key in ("expected", "lower", "upper")}
        positions = np.searchsorted(times, score_times)
        for position, fact, time in zip(positions, facts, score_times, strict=True):
            if position < len(times) and times[position] == time:
                for key, array in band.items():
                    array[position] = np.nan if fact[key] is None else fact[key]
        starts = None
        if facts:
            tick = datetime.fromisoformat(facts[-1]["model"])
            starts = stamp(tick - timedelta(days=spec.train_metric_timestamp_max_days_ago))
        return cls(times, values.astype(np.float64), score_times, scores.astype(np.float64), band, starts)


def grain_of(spec: BatchSpec, times: Times) -> str:
    """Return how long the buckets that are shown are, as written in a config."""
    if spec.preprocess_params.freq is not None:
        return str(of_freq(spec.preprocess_params.freq))
    return str(parse(spec.grain) if spec.grain else infer(times, spec.timezone))
