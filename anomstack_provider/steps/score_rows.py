"""Score rows of many metrics on their way to one write."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.detection.pipeline import Scores
from anomstack_provider.detection.series import Floats, Series, Times


@dataclass
class ScoreRows:
    """What was scored so far, a list of arrays per column."""

    names: list[str] = field(default_factory=list)
    times: list[Times] = field(default_factory=list)
    scores: list[Floats] = field(default_factory=list)
    metadata: list[str] = field(default_factory=list)

    def add(self, spec: BatchSpec, name: str, points: Series, scored: Scores, length: str, tick: str) -> None:
        """Add a metric's scores; the metadata tell the value, what was expected, the grain and the model's tick."""
        decimals = spec.score_metric_rounding
        self.names += [name] * len(scored.index)
        self.times.append(points.times[scored.index])
        self.scores.append(scored.score if decimals < 0 else np.round(scored.score, decimals))
        facts = [points.values[scored.index], scored.expected, scored.lower, scored.upper]
        same = json.dumps({"grain": length, "model": tick})[1:]
        self.metadata += [
            f'{{"value": {value}, "expected": {expected}, "lower": {lower}, "upper": {upper}, {same}'
            for value, expected, lower, upper in zip(*map(_json, facts), strict=True)
        ]

    def frame(self) -> pd.DataFrame:
        """Return all rows, with the columns that a step writes."""
        return pd.DataFrame(
            {
                "metric_name": pd.Series(self.names, dtype=object),
                "metric_type": pd.Series(["score"] * len(self.names), dtype=object),
                "metric_timestamp": np.concatenate([np.empty(0, "datetime64[us]"), *self.times]),
                "metric_value": np.concatenate([np.empty(0), *self.scores]),
                "metadata": pd.Series(self.metadata, dtype=object),
            }
        )


def _json(numbers: Floats) -> list[str]:
    """Return numbers as JSON: null for one that is not finite, such as the end of a range that has none."""
    texts = list(map(repr, numbers.tolist()))
    for place in np.flatnonzero(~np.isfinite(numbers)).tolist():
        texts[place] = "null"
    return texts
