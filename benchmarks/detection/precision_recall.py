"""Areas under precision-recall curves of one series: of its points, and of its ranges with soft borders (VUS-PR)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.detection.judged import Floats, Judged


def auc_pr(series: Judged) -> float:
    """
    Return the average precision of the points: the sum of precision times gain in recall over all thresholds.

    Left out are rows before the start, without a score, or in an ignored span outside of any event. NaN without events.
    """
    inside = series.in_event
    kept = _kept(series) & (inside | ~series.excused)
    truth, score = inside[kept].astype(np.float64), series.score[kept]
    if not truth.any():
        return float("nan")
    order = np.argsort(-score, kind="stable")
    hits = np.cumsum(truth[order])
    last = _last_of_ties(score[order])
    precision, recall = hits[last] / (last + 1), hits[last] / hits[-1]
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def vus_pr(series: Judged, widest: int) -> float:
    """
    Return the volume under the precision-recall surface (Paparrizos et al., PVLDB 15(11), 2022, section 4).

    For each width l = 0, 1, ..., ``widest`` the labels get borders of l // 2 buckets on both sides that fall off as
    ``sqrt(1 - distance / l)``. With such labels, at a threshold that predicts n points::

        true positives  TP = sum of the labels of the predicted points
        recall             = min(TP / P, 1) x share of the ranges that are touched,  P = (sum of hard + soft labels) / 2
        precision          = TP / n

    The area is the sum of precision times gain in recall over every threshold, and the volume the mean over l. Rows are
    left out as by :func:`auc_pr`, but for those that a border covers. NaN without events.
    """
    hard = series.in_event.astype(np.float64)
    if not hard[_kept(series)].any():
        return float("nan")
    areas = [_range_area(series, hard, _soften(hard, width)) for width in range(widest + 1)]
    return float(np.mean(areas))


def _range_area(series: Judged, hard: Floats, soft: Floats) -> float:
    kept = _kept(series) & ((soft > 0) | ~series.excused)
    labels, score = soft[kept], series.score[kept]
    positives = (hard[kept].sum() + labels.sum()) / 2
    order = np.argsort(-score, kind="stable")
    last = _last_of_ties(score[order])
    hits = np.cumsum(labels[order])[last]
    touched = _ranges_touched(labels, order)[last]
    recall = np.minimum(hits / positives, 1.0) * touched
    precision = hits / (last + 1)
    # The share of ranges makes recall climb in steps, but it never falls.
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def _ranges_touched(labels: Floats, order: NDArray[np.intp]) -> Floats:
    """Return after each predicted point the share of the ranges of positive labels that hold a predicted one."""
    positive = labels > 0
    begins = np.flatnonzero(positive & ~np.r_[False, positive[:-1]])
    rank = np.empty(len(order), np.intp)
    rank[order] = np.arange(len(order))
    first = np.minimum.reduceat(np.where(positive, rank, len(rank)), begins)
    return np.cumsum(np.bincount(first, minlength=len(order))) / len(begins)


def _soften(hard: Floats, width: int) -> Floats:
    """Return labels with borders of ``width // 2`` points on both sides of each range; where two meet they add up."""
    soft = hard.copy()
    if width < 2:
        return soft
    edges = np.flatnonzero(np.diff(np.r_[0.0, hard, 0.0]))
    for begin, end in zip(edges[::2], edges[1::2] - 1, strict=True):
        after = np.arange(end + 1, min(end + width // 2, len(hard) - 1) + 1)
        soft[after] += np.sqrt(1 - (after - end) / width)
        before = np.arange(max(begin - width // 2, 0), begin)
        soft[before] += np.sqrt(1 - (begin - before) / width)
    return np.minimum(soft, 1.0)


def _kept(series: Judged) -> NDArray[np.bool_]:
    kept = np.isfinite(series.score)
    kept[: series.start] = False
    return kept


def _last_of_ties(ordered: Floats) -> NDArray[np.intp]:
    """Return the last position of each run of equal scores: a threshold takes all of them or none."""
    return np.flatnonzero(np.r_[ordered[1:] != ordered[:-1], True])
