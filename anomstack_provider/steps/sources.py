"""
Where the findings on one metric come from: its scores, and its stored values (thresholds, changes of level, what
a language model named).

They are found in the same buckets and make one event together, unless the scores are those of resampled buckets.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from anomstack_provider.alerting import events, rules
from anomstack_provider.alerting.findings import DOWN, UP, Findings, Kind
from anomstack_provider.alerting.wording import number
from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.detection import grain
from anomstack_provider.detection.calendar import Calendar
from anomstack_provider.detection.series import EMPTY, Floats, Series, Times
from anomstack_provider.runtime.window import RunWindow
from anomstack_provider.steps import finders
from anomstack_provider.steps.llm_answers import named_buckets
from anomstack_provider.steps.scored import Scored, ScoredBatch
from anomstack_provider.steps.training import longest_bucket, stamp

# Buckets behind an anomaly whose features hold it, in the seasonal recipe: the newest level is a mean of as many.
_SEASONAL_REACH = 4
_END = np.datetime64("9999-12-31", "us")
# A flat line or a drift: of what is unusual about it the distance from the expected value says nothing.
_WITH_OTHERS = "The value is within its usual range, but not usual behind those before it"


@dataclass(frozen=True)
class Source:
    """
    Judged buckets of one metric and what was found in them.

    :param times: starts of the buckets, oldest first; those of the findings are among them.
    :param quiet: returns a bucket, by its start, as if it had a finding.
    :param opening: start of the first bucket that had not closed before the run's window.
    :param recent: so many of the newest buckets are looked at in any case.
    :param lead: each score is judged by so many scores before it too, those of ``scored``.
    :param grains: lengths of the buckets, for scores; ``ends`` where they end, for values.
    """

    kinds: tuple[Kind, ...]
    times: Times
    findings: Findings
    quiet: Callable[[np.datetime64], Findings]
    opening: np.datetime64
    recent: int
    lead: int = 0
    scored: Times = field(default_factory=lambda: np.empty(0, "datetime64[us]"))
    grains: NDArray[np.object_] = field(default_factory=lambda: np.empty(0, object))
    ends: Times = field(default_factory=lambda: np.empty(0, "datetime64[us]"))


def sources(spec: BatchSpec, window: RunWindow, name: str, batch: ScoredBatch) -> list[Source]:
    """Return the sources of findings on a metric; each makes events of its own."""
    found = []
    if "anomaly" in spec.finds and name not in spec.alert_exclude_metrics and name in batch.scored:
        found.append(_of_scores(spec, window, batch.scored[name].judged()))
    if kinds := tuple(kind for kind in _VALUE_KINDS if kind in spec.finds):
        found.append(_of_values(spec, window, name, kinds, batch))
    if len(found) == 2 and spec.preprocess_params.freq is None:
        return [_together(spec, window, *found)]
    return found


_VALUE_KINDS: tuple[Kind, ...] = ("threshold", "change", "llm")


def merging(spec: BatchSpec, kinds: tuple[Kind, ...]) -> events.Merging:
    """Return which findings of a source are one event."""
    reach = _SEASONAL_REACH if spec.recipe == "seasonal" else _behind(spec)
    silence = {
        "anomaly": spec.alert_snooze_n,
        "threshold": spec.tholdalert_snooze_n,
        "change": spec.change_snooze_n,
        "llm": spec.alert_snooze_n,
        "late": 0,
    }
    buckets = max(silence[kind] for kind in kinds)
    return events.Merging(buckets, spec.merge_max_gap, reach, spec.renotify_pct, spec.event_expires)


def _behind(spec: BatchSpec) -> int:
    """Return how many buckets before its own a score may be about: those averaged, those in Anomstack's features."""
    if spec.recipe == "seasonal":
        return spec.alert_smooth_n
    recipe = spec.preprocess_params
    return recipe.lags_n + recipe.smooth_n + recipe.diff_n + spec.alert_smooth_n


def _of_scores(spec: BatchSpec, window: RunWindow, rows: Scored) -> Source:
    smoothed = smoothed_scores(spec, rows)
    at = np.flatnonzero(fires(spec, rows))

    def quiet(start: np.datetime64) -> Findings:
        return findings_at(spec, rows, smoothed, np.searchsorted(rows.times, np.array([start])))

    return Source(
        kinds=("anomaly",),
        times=rows.times,
        findings=_fired(spec, rows, smoothed, at),
        quiet=quiet,
        opening=_start(rows.times, first_open(spec, window, rows)),
        # Those that could mute the newest ones too: a late one, or one of a run that never was, is told all the same.
        recent=spec.alert_recent_n + spec.alert_snooze_n,
        lead=_behind(spec),
        scored=rows.times,
        grains=rows.grains,
    )


def smoothed_scores(spec: BatchSpec, rows: Scored) -> Floats:
    """Return what is compared with the threshold; where the batch's own query decides, what it gives."""
    return rows.scores if rows.fired is not None else rules.smooth(rows.scores, spec.alert_smooth_n)


def fires(spec: BatchSpec, rows: Scored) -> NDArray[np.bool_]:
    """Return which buckets fire."""
    return rows.fired if rows.fired is not None else rules.fires(smoothed_scores(spec, rows), rules.threshold(spec))


def _fired(spec: BatchSpec, rows: Scored, smoothed: Floats, at: NDArray[np.intp]) -> Findings:
    """Return the buckets that fired as findings, each about the worst bucket that its score looks at."""
    found, behind = findings_at(spec, rows, smoothed, at), _behind(spec)
    if not behind or rows.fired is not None:
        return found
    looked = np.unique(at[:, None] - np.arange(behind + 1))
    looked = looked[looked >= 0]
    judged = findings_at(spec, rows, smoothed, looked)
    distance = np.full(len(rows.times), np.nan)
    distance[looked] = judged.distance
    worst = rules.worst_bucket(distance, at, spec.alert_smooth_n, behind)
    return found.about(judged.take(np.searchsorted(looked, worst)))


def findings_at(spec: BatchSpec, rows: Scored, smoothed: Floats, at: NDArray[np.intp]) -> Findings:
    """Return some of the buckets as findings on their scores."""
    numbers, grains = rows.facts(at)
    threshold = rules.threshold(spec) if rows.fired is None else np.nan
    # A bucket without an expected value has a side only beside the others.
    usual = numbers["expected"]
    if np.isnan(usual).any():
        values = rows.facts(np.arange(len(rows.times)))[0]["value"]
        middle = np.median(values[np.isfinite(values)]) if np.isfinite(values).any() else np.nan
        usual = np.where(np.isnan(usual), middle, usual)
    value, lower, upper = numbers["value"], numbers["lower"], numbers["upper"]
    within = np.isfinite(numbers["expected"]) & ~((value > upper) | (value < lower)) & (_behind(spec) == 0)
    return Findings.of(
        "anomaly",
        rows.times[at],
        np.where(value >= usual, UP, DOWN).astype(np.int8),
        why=[
            (_why(spec, score, threshold), *([_WITH_OTHERS] if is_within else []))
            if rows.fired is None
            else (_own_why(score),)
            for score, is_within in zip(smoothed[at].tolist(), within.tolist(), strict=True)
        ],
        grain=grains,
        note=rows.notes[at],
        score=smoothed[at],
        threshold=np.full(len(at), threshold),
        **cast("dict[str, Any]", numbers),
    )


def _own_why(score: float) -> str:
    return "The batch's own alert_sql says so" + (f", with a score of {number(score)}" if np.isfinite(score) else "")


def _why(spec: BatchSpec, score: float, threshold: float) -> str:
    over = f" on average over {spec.alert_smooth_n + 1} buckets" if spec.alert_smooth_n else ""
    if spec.alert_threshold is not None:
        return f"Its anomaly score {number(score)}{over} is at or above the threshold of {number(threshold)}"
    alarms = "false alarm" if spec.false_alarms_per_month == 1 else "false alarms"
    budget = f"{number(spec.false_alarms_per_month)} {alarms} a month"
    return f"It is more unusual{over} than a budget of {budget} allows"


def _of_values(spec: BatchSpec, window: RunWindow, name: str, kinds: tuple[Kind, ...], batch: ScoredBatch) -> Source:
    cut = stamp(window.start - spec.completeness_delay)
    points = batch.points[name]
    buckets = finders.closed_buckets(spec, points, window, max(points.before(cut) - batch.back, 0))
    marks = Calendar.for_metric(spec, name).marks(buckets.times, spec.timezone)
    kept = ~marks.suppressed
    series = Series(buckets.times[kept], buckets.series.values[buckets.first :][kept])
    looked_in = dict.fromkeys(kinds, buckets)
    if "change" in kinds and batch.levels is not None:
        looked_in["change"] = finders.own_buckets(spec, batch.levels.get(name, EMPTY), window, buckets)
    judge = {"threshold": finders.judge_thresholds, "change": finders.judge_levels}
    judged = [judge[kind](spec, name, looked_in[kind]) for kind in kinds if kind in judge]
    found = [told.findings for told in judged if told is not None]
    if "llm" in kinds and name in batch.answers:
        found.append(named_buckets(spec, buckets, batch.answers[name], batch.judged(name, buckets.times)))
    findings = Findings.together([*found, finders.nothing(kinds[0])])
    findings = findings.take(np.isin(findings.times, series.times))
    findings.note[:] = marks.notes[np.searchsorted(buckets.times, findings.times)]

    def quiet(start: np.datetime64) -> Findings:
        return finders.only_stored(buckets, np.searchsorted(buckets.times, np.array([start])))

    recent = {
        "threshold": spec.tholdalert_recent_n + spec.tholdalert_snooze_n,
        "change": 1 + spec.change_snooze_n,
        "llm": spec.llmalert_recent_n + spec.alert_snooze_n,
    }
    return Source(
        kinds=kinds,
        times=series.times,
        findings=findings,
        quiet=quiet,
        opening=_start(series.times, int(np.searchsorted(buckets.ends[kept], cut, side="right"))),
        recent=max(recent[kind] for kind in kinds),
        ends=buckets.ends[kept],
    )


def _together(spec: BatchSpec, window: RunWindow, scores: Source, values: Source) -> Source:
    """
    Return both as one; of the buckets with scores those that were stored before the values begin are left out.

    A bucket is closed when it is by the grain of its score, or of the score before it, and by that of its values:
    whoever finds it open would tell of it later than the other.
    """
    since = values.times[0] if len(values.times) else _END
    times = np.union1d(scores.times[scores.times >= since], values.times)
    ends = times.copy()
    if len(scores.times):
        newest = np.clip(np.searchsorted(scores.times, times, side="right") - 1, 0, None)
        ends = grain.mixed_ends(scores.grains[newest].tolist(), times, spec.timezone)
    at = np.searchsorted(values.times, times)
    known = at < len(values.times)
    ends[known] = np.maximum(ends[known], values.ends[at[known]])
    cut, until = (stamp(moment - spec.completeness_delay) for moment in (window.start, window.end))
    still_open = np.flatnonzero(~known | (ends > until))
    times, ends = (array[: still_open[0]] if len(still_open) else array for array in (times, ends))
    open_before = np.flatnonzero(ends > cut)
    found = Findings.together([scores.findings, values.findings])
    return Source(
        kinds=(*scores.kinds, *values.kinds),
        times=times,
        findings=found.take(np.isin(found.times, times)),
        quiet=lambda start: (scores if np.isin(start, scores.times) else values).quiet(start),
        opening=times[open_before[0]] if len(open_before) else _END,
        recent=max(scores.recent, values.recent),
        lead=scores.lead,
        scored=scores.scored,
    )


def _start(times: Times, position: int) -> np.datetime64:
    return times[position] if position < len(times) else _END


def first_open(spec: BatchSpec, window: RunWindow, rows: Scored) -> int:
    """Return the position of the first bucket that had not closed before the window."""
    cut = window.start - spec.completeness_delay
    # Only of the few that began shortly before is it a question whether they had closed, by the grain of their model.
    begin, end = np.searchsorted(rows.times, [stamp(cut - longest_bucket(spec)), stamp(cut)])
    grains = rows.grains[begin:end].tolist()
    still_open = np.flatnonzero(grain.mixed_ends(grains, rows.times[begin:end], spec.timezone) > stamp(cut))
    return int(begin + still_open[0]) if len(still_open) else int(end)
