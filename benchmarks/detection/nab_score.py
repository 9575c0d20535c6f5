"""
The score of the Numenta Anomaly Benchmark (Lavin & Ahmad 2015, https://arxiv.org/abs/1510.03336).

A detection inside a window earns up to 1, the earlier the more; one outside costs the weight of a false positive, less
so shortly after a window; a missed window costs the weight of a false negative. One threshold for all series, the best
there is; 0 is a detector that finds nothing, 100 one that finds every window at its first point and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from benchmarks.detection.judged import Floats, Judged

# Weights of a false positive and of a false negative; a true positive weighs 1.
PROFILES = {"standard": (0.11, 1.0), "low_fp": (0.22, 1.0), "low_fn": (0.11, 2.0)}
_MEMORY = 200


@dataclass(frozen=True)
class Curve:
    """
    What one series adds to the sum of all, by threshold.

    :param thresholds: its scores, highest first, each once.
    :param totals: the sum of rewards and costs when all scores from there up are detections, same shape.
    :param nothing: the sum for a detector that finds nothing.
    :param windows: how many windows there are, which is what a perfect detector gets.
    """

    thresholds: Floats
    totals: Floats
    nothing: float
    windows: int

    def at(self, thresholds: Floats) -> Floats:
        """Return the sums at any thresholds."""
        reached = np.searchsorted(-self.thresholds, -thresholds, side="right")
        return np.asarray(np.r_[self.nothing, self.totals][reached])


def nab(series: Sequence[Judged], profile: str, *, deduped: bool) -> float:
    """Return the score of a profile; NaN without windows."""
    curves = [curve(one, profile, deduped=deduped) for one in series]
    thresholds = np.unique(np.concatenate([each.thresholds for each in curves]))
    return best(np.stack([each.at(thresholds) for each in curves]).sum(axis=0), curves)


def best(totals: Floats, curves: Sequence[Curve]) -> float:
    """Return the best of the totals of these curves on the scale from 0 (finds nothing) to 100 (perfect)."""
    nothing, perfect = sum(each.nothing for each in curves), sum(each.windows for each in curves)
    if not perfect:
        return float("nan")
    highest = max(float(totals.max(initial=nothing)), nothing)
    return 100 * (highest - nothing) / (perfect - nothing)


def curve(series: Judged, profile: str, *, deduped: bool) -> Curve:
    """
    Return the sums of one series.

    :param deduped: only a score higher than the 200 before it is a detection.
    """
    cost, miss = PROFILES[profile]
    score = np.where(np.isnan(series.score), -np.inf, series.score)
    if deduped:
        # Pandas leaves rows without a score out; where there is none among the 200, any score is news.
        before = pd.Series(score).rolling(_MEMORY, min_periods=1).max().shift(1).fillna(-np.inf).to_numpy()
        score = np.where(score > before, score, -np.inf)
    value, window = _values(series, cost)
    order = np.argsort(-score, kind="stable")
    order = order[(order >= series.start) & np.isfinite(score[order])]
    rows = pd.DataFrame({"score": score[order], "value": value[order], "window": window[order]})
    # Of the detections in a window only the most valuable counts, and the first takes back what missing it costs.
    inside = rows[rows["window"] >= 0].groupby("window")["value"]
    reached = inside.cummax().clip(lower=-miss)
    rows.loc[reached.index, "value"] = reached - reached.groupby(rows["window"]).shift(1, fill_value=-miss)
    nothing = -miss * len(series.begins)
    totals = nothing + rows["value"].cumsum().to_numpy()
    ordered = rows["score"].to_numpy()
    last = np.flatnonzero(np.r_[ordered[1:] != ordered[:-1], True]) if len(ordered) else np.empty(0, np.intp)
    return Curve(ordered[last], totals[last], nothing, len(series.begins))


def _values(series: Judged, cost: float) -> tuple[Floats, Floats]:
    """Return per row what a detection there is worth, and the number of its window, -1 outside."""
    rows = np.arange(len(series.score))
    window = np.full(len(rows), -1.0)
    previous = np.searchsorted(series.ends, rows, side="left") - 1
    value = np.full(len(rows), -1.0)
    after = previous >= 0
    if len(series.begins):
        width = np.maximum(series.ends - series.begins, 1)[previous]
        value = np.where(after, _sigmoid((rows - series.ends[previous]) / width), -1.0)
    value *= cost
    for number, (begin, end) in enumerate(zip(series.begins, series.ends, strict=True)):
        inside = rows[begin : end + 1]
        value[inside] = _sigmoid((inside - end - 1) / (end - begin + 1)) / _sigmoid(np.array(-1.0))
        window[inside] = number
    return value, window


def _sigmoid(position: Floats) -> Floats:
    """Return NAB's scaled sigmoid of a position relative to the end of a window: 1 far before, -1 far after."""
    return np.where(position > 3, -1.0, 2 / (1 + np.exp(5 * np.minimum(position, 3.0))) - 1)
