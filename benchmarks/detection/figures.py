"""
From a score table to the figures that are reported, the yardstick's and a few more, with intervals.

For a budget of B false alarms per series per 30 days one threshold over all series is chosen, the lowest that keeps B;
after an alert a series is silent for a day. An alert in an event finds it, in an ignored span counts for nothing, and
anywhere else is false.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.detection import nab_score
from benchmarks.detection.judged import Floats, Indices, Judged
from benchmarks.detection.precision_recall import auc_pr, vus_pr

BUDGETS = (1.0, 0.25, 0.1)
# The borders of VUS-PR are at most a day wide for hours, a week for days, 100 buckets for anything shorter.
_WIDEST = 100
_GRID = 400


@dataclass(frozen=True)
class Summary:
    """What a set of alerts over all series is worth; ``delay`` is the median over found events, in buckets."""

    recall: float
    precision: float
    false_per_month: float
    delay: float
    events: int
    recall_by_kind: dict[str, float]


@dataclass(frozen=True)
class Figures:
    """
    All figures of one method on one dataset.

    :param realised: what the alerted column is worth; None for a method that does not say.
    :param false_by_family: realised false alarms per series per 30 days.
    :param nab: (profile, "raw" or "deduped") to the score.
    """

    budgets: dict[float, Summary]
    realised: Summary | None
    false_by_family: dict[str, float]
    auc_pr: float
    vus_pr: float
    nab: dict[tuple[str, str], float]


def figures(series: Sequence[Judged]) -> Figures:
    """Return the figures of every judged series of one dataset."""
    realised, by_family = None, {}
    if all(one.alerted is not None for one in series):
        realised = summarise(series, [one.own_alerts() for one in series])
        for family in sorted({one.family for one in series}):
            part = [one for one in series if one.family == family]
            by_family[family] = summarise(part, [one.own_alerts() for one in part]).false_per_month
    return Figures(
        budgets={budget: at_budget(series, budget)[1] for budget in BUDGETS},
        realised=realised,
        false_by_family=by_family,
        auc_pr=_mean([auc_pr(one) for one in series]),
        vus_pr=_mean([vus_pr(one, widest_border(one.step)) for one in series]),
        nab={
            (profile, kind): nab_score.nab(series, profile, deduped=kind == "deduped")
            for profile in nab_score.PROFILES
            for kind in ("raw", "deduped")
        },
    )


def widest_border(step: float) -> int:
    """Return the widest border of VUS-PR in buckets of so many seconds."""
    return min(_WIDEST, round(86_400 / step)) if step < 86_400 else 7


def summarise(series: Sequence[Judged], alerts: Sequence[Indices]) -> Summary:
    """Return what one array of alerts per series is worth."""
    delays = np.concatenate([one.delays(hot) for one, hot in zip(series, alerts, strict=True)])
    kinds = np.array([kind for one in series for kind in one.kinds], object)
    false = sum(one.false_alarms(hot) for one, hot in zip(series, alerts, strict=True))
    found = ~np.isnan(delays)
    hits = int(found.sum())
    return Summary(
        recall=hits / max(1, len(found)),
        precision=hits / max(1, hits + false),
        false_per_month=false / sum(one.months for one in series),
        delay=float(np.median(delays[found])) if hits else float("nan"),
        events=len(found),
        recall_by_kind={str(kind): float(found[kinds == kind].mean()) for kind in sorted(set(kinds))},
    )


def at_budget(series: Sequence[Judged], budget: float) -> tuple[float, Summary]:
    """Return the lowest threshold that keeps a budget and what its alerts are worth."""
    values = _scores(series)
    threshold = float(np.nextafter(values[-1], np.inf))  # if ties at the top break the budget: no alert at all
    if _false_rate(series, values[-1]) <= budget:
        # The rate is not quite monotone, as an alert silences others: halving is the yardstick's rule, step by step.
        low, high = 0, len(values) - 1
        while high - low > 1:
            middle = (low + high) // 2
            if _false_rate(series, values[middle]) <= budget:
                high = middle
            else:
                low = middle
        threshold = float(values[high])
    return threshold, summarise(series, [one.alerts(threshold) for one in series])


def _false_rate(series: Sequence[Judged], threshold: float) -> float:
    return sum(one.false_alarms(one.alerts(threshold)) for one in series) / sum(one.months for one in series)


def _scores(series: Sequence[Judged]) -> Floats:
    """Return every finite score that is judged, lowest first, each once."""
    judged = np.concatenate([one.score[one.start :] for one in series])
    return np.unique(judged[np.isfinite(judged)])


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


# --- intervals -------------------------------------------------------------------------------------------------------


def intervals(series: Sequence[Judged], rounds: int = 500, seed: int = 0) -> dict[str, tuple[float, float]]:
    """
    Return the 5th and 95th percentile of the headline figures over bootstrap samples of the series.

    Each sample chooses its own thresholds, from a grid of scores that is dense at the top.

    :return: by ``recall {budget}``, ``realised``, ``auc_pr``, ``vus_pr`` and ``nab raw``, ``nab deduped`` (standard).
    """
    rng = np.random.default_rng(seed)
    # How often each series is in each sample, shape (rounds, series).
    drawn = rng.multinomial(len(series), np.full(len(series), 1 / len(series)), size=rounds).astype(np.float64)
    months = drawn @ np.array([one.months for one in series])
    samples = _sampled_recall(series, drawn, months)
    if all(one.alerted is not None for one in series):
        samples["realised"] = drawn @ np.array([one.false_alarms(one.own_alerts()) for one in series]) / months
    areas = {
        "auc_pr": np.array([auc_pr(one) for one in series]),
        "vus_pr": np.array([vus_pr(one, widest_border(one.step)) for one in series]),
    }
    for name, values in areas.items():
        known = ~np.isnan(values)
        with np.errstate(invalid="ignore"):
            samples[name] = drawn[:, known] @ values[known] / drawn[:, known].sum(axis=1)
    for kind in ("raw", "deduped"):
        samples[f"nab {kind}"] = _sampled_nab(series, drawn, deduped=kind == "deduped")
    return {
        name: (float(np.nanpercentile(values, 5)), float(np.nanpercentile(values, 95)))
        for name, values in samples.items()
        if not np.isnan(values).all()
    }


def _sampled_recall(series: Sequence[Judged], drawn: Floats, months: Floats) -> dict[str, Floats]:
    values = _scores(series)[::-1]
    ranks = np.unique(np.geomspace(1, len(values), min(_GRID, len(values))).astype(int)) - 1
    thresholds = values[ranks]
    # Shape (thresholds, series); one more row on top for a threshold that nothing reaches.
    false, found = np.zeros((2, len(thresholds) + 1, len(series)))
    for column, one in enumerate(series):
        for row, threshold in enumerate(thresholds, start=1):
            hot = one.alerts(threshold)
            false[row, column] = one.false_alarms(hot)
            found[row, column] = np.count_nonzero(~np.isnan(one.delays(hot)))
    rates = false @ drawn.T / months
    recalls = found @ drawn.T / np.maximum(drawn @ np.array([len(one.kinds) for one in series]), 1)
    samples = {}
    for budget in BUDGETS:
        kept = np.logical_and.accumulate(rates <= budget, axis=0)
        samples[f"recall {budget:g}"] = recalls[kept.sum(axis=0) - 1, np.arange(len(drawn))]
    return samples


def _sampled_nab(series: Sequence[Judged], drawn: Floats, *, deduped: bool) -> Floats:
    curves = [nab_score.curve(one, "standard", deduped=deduped) for one in series]
    every = np.unique(np.concatenate([each.thresholds for each in curves]))[::-1]
    if not len(every):
        return np.full(len(drawn), np.nan)
    ranks = np.unique(np.geomspace(1, len(every), min(_GRID, len(every))).astype(int)) - 1
    totals = np.stack([each.at(every[ranks]) for each in curves])
    nothing = drawn @ np.array([each.nothing for each in curves])
    perfect = drawn @ np.array([each.windows for each in curves], np.float64)
    highest = np.maximum((drawn @ totals).max(axis=1), nothing)
    with np.errstate(invalid="ignore"):
        return np.asarray(100 * (highest - nothing) / (perfect - nothing))
