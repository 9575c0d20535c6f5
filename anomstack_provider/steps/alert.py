"""
The alert step: what is found in the buckets that closed in the window becomes events, stored as alert rows.

It reads scores and decides by the rules, gates and events of ``alerting``; sending is the operator's, through the
delivery ledger.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from anomstack_provider.alerting import events, gates, rules
from anomstack_provider.alerting.alert import Alert
from anomstack_provider.alerting.findings import DIRECTIONS, DOWN, UP, Findings, Flags
from anomstack_provider.alerting.transitions import stored_rows, tell
from anomstack_provider.alerting.wording import number
from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.detection import grain
from anomstack_provider.detection.series import Floats, Times
from anomstack_provider.runtime.window import RunWindow
from anomstack_provider.steps.outcomes import StepResult
from anomstack_provider.steps.ports import COLUMNS, MetricRows, Models
from anomstack_provider.steps.scored import BEGINNING, Scored, ScoredBatch, read_complete
from anomstack_provider.steps.training import longest_bucket, stamp

log = logging.getLogger(__name__)

# Buckets behind an anomaly whose features hold it, in the seasonal recipe: the newest level is a mean of as many.
_SEASONAL_REACH = 4


@dataclass(frozen=True)
class Stopped:
    """A finding that a gate kept from alerting; its bucket in UTC, naive."""

    metric_name: str
    bucket: np.datetime64
    gate: str
    direction: str
    value: float
    expected: float


@dataclass(frozen=True)
class AlertResult:
    """
    Alerts of the window, oldest first, and what became of each metric.

    :param stopped: findings of the window that a gate kept from alerting.
    """

    alerts: tuple[Alert, ...]
    result: StepResult
    stopped: tuple[Stopped, ...] = ()


@dataclass(frozen=True)
class _Judged:
    """
    The judged buckets of one metric and what was found in them.

    :param at: the bucket of each finding, by its position.
    :param stopped: the gate that stopped each finding, "" where none did.
    """

    rows: Scored
    smoothed: Floats
    findings: Findings
    at: NDArray[np.intp]
    verdicts: Sequence[gates.Verdict]
    stopped: NDArray[np.object_]

    @property
    def fires(self) -> Flags:
        """Which buckets have a finding that passed the gates."""
        flags = np.zeros(len(self.rows.times), bool)
        flags[self.at[self.stopped == ""]] = True
        return flags


def alert(spec: BatchSpec, window: RunWindow, store: MetricRows, models: Models) -> AlertResult:
    """
    Decide the alerts of the window and store them.

    Looked at are the buckets that closed in the window, the newest ``alert_recent_n`` and as many before those as can
    mute them; what is found again was sent before, which the ledger knows. Where the fold over earlier buckets needs
    scores that no run has written yet, they are computed here, so the answer never depends on which runs came before.
    """
    batch = read_complete(spec, window, store, models, partial(_unsettled, spec, window))
    suppressed = 0
    alerts: list[Alert] = []
    stopped: list[Stopped] = []
    outcomes: dict[str, str] = {}
    looked_at: list[tuple[str, Times]] = []
    for name, rows in batch.scored.items():
        if name in spec.alert_exclude_metrics or not len(rows.times):
            continue
        try:
            judged = _judge(spec, name, batch)
            first = _first(spec, judged.rows, window)
            found = _alerts(spec, name, judged, first)
            suppressed += _suppressed(spec, rows, window)
            stopped += _stopped(name, judged, _opening(spec, judged.rows, window))
        except Exception as error:  # one metric never stops its neighbours; the outcome carries the reason
            log.exception("metric %r: its scores cannot be judged", name)
            outcomes[name] = f"failed: {type(error).__name__}: {error}"
            continue
        alerts += found
        since = judged.rows.times[first] if len(judged.rows.times) else rows.times[0]
        looked_at.append((name, rows.times[rows.times >= since]))
        outcomes[name] = _outcome(spec, name, batch, found)
    alerts.sort(key=lambda a: (a.bucket, a.metric_name))
    written = _write(store, alerts, looked_at)
    _log(alerts, stopped)
    facts = {
        "suppressed": suppressed,
        "transitions": dict(Counter(a.transition for a in alerts)),
        "stopped": dict(sorted(Counter(one.gate for one in stopped).items())),
    }
    return AlertResult(tuple(alerts), StepResult("alert", written, outcomes, facts), tuple(stopped))


def is_told(spec: BatchSpec, found: Alert) -> bool:
    """Whether an alert goes out to people: the end of an event only if the batch wants it."""
    return found.transition != "closed" or spec.notify_closed


def _outcome(spec: BatchSpec, name: str, batch: ScoredBatch, found: list[Alert]) -> str:
    if missing := sorted(spec.gates(name).references - set(batch.points)):
        return f"a gate looks at {', '.join(map(repr, missing))}, which the batch does not have"
    return "alerted" if found else "evaluated"


def merging(spec: BatchSpec) -> events.Merging:
    """Return which findings of the batch are one event."""
    recipe = spec.preprocess_params
    if spec.recipe == "seasonal":
        reach = _SEASONAL_REACH
    else:
        reach = recipe.lags_n + recipe.smooth_n + recipe.diff_n + spec.alert_smooth_n
    return events.Merging(spec.alert_snooze_n, spec.merge_max_gap, reach, spec.renotify_pct, spec.event_expires)


def _judge(spec: BatchSpec, name: str, batch: ScoredBatch) -> _Judged:
    rows = batch.scored[name].judged()
    smoothed = rules.smooth(rows.scores, spec.alert_smooth_n)
    at = np.flatnonzero(rules.fires(smoothed, rules.threshold(spec)))
    findings = _findings(spec, rows, smoothed, at)
    verdicts = gates.judge(findings, spec.gates(name), spec.timezone, batch)
    return _Judged(rows, smoothed, findings, at, verdicts, gates.first_stop(verdicts, len(at)))


def _findings(spec: BatchSpec, rows: Scored, smoothed: Floats, at: NDArray[np.intp]) -> Findings:
    """Return some of the buckets as findings on their scores."""
    numbers, grains = rows.facts(at)
    threshold = rules.threshold(spec)
    return Findings.of(
        "anomaly",
        rows.times[at],
        np.where(numbers["value"] >= numbers["expected"], UP, DOWN).astype(np.int8),
        why=[(_why(spec, score, threshold),) for score in smoothed[at].tolist()],
        grain=grains,
        note=rows.notes[at],
        score=smoothed[at],
        threshold=np.full(len(at), threshold),
        **numbers,
    )


def _why(spec: BatchSpec, score: float, threshold: float) -> str:
    over = f" on average over {spec.alert_smooth_n + 1} buckets" if spec.alert_smooth_n else ""
    if spec.alert_threshold is not None:
        return f"Its anomaly score {number(score)}{over} is at or above the threshold of {number(threshold)}"
    budget = f"{number(spec.false_alarms_per_month)} false alarms a month"
    return f"It is more unusual{over} than a budget of {budget} allows"


def _unsettled(spec: BatchSpec, window: RunWindow, batch: ScoredBatch) -> set[str]:
    """Return the metrics whose rows do not reach back far enough, and those that their gates look at."""
    found: set[str] = set()
    for name in batch.scored:
        if name in spec.alert_exclude_metrics:
            continue
        looks_at = {name} | (spec.gates(name).references & set(batch.points))
        known = batch.known_since(looks_at)
        if known != BEGINNING and not _settled(spec, name, window, batch, known):
            found |= looks_at
    return found


def _settled(spec: BatchSpec, name: str, window: RunWindow, batch: ScoredBatch, known: np.datetime64) -> bool:
    """Whether the buckets to look at can be judged: a quiet gap lies before them, behind which everything is known."""
    try:
        judged = _judge(spec, name, batch)
        first = _first(spec, judged.rows, window)
    except Exception:
        log.debug("metric %r: its scores cannot be judged, which is said once for all", name, exc_info=True)
        return True
    times = judged.rows.times
    if first == len(times):
        return True
    # The first ones have no complete window of their own.
    lead = int(np.searchsorted(times, known)) + spec.alert_smooth_n
    return events.quiet_start(judged.fires[lead:], times[lead:], first - lead, merging(spec)) is not None


def _first(spec: BatchSpec, rows: Scored, window: RunWindow) -> int:
    """Return the position of the first bucket to look at: not closed before the window, or among the newest ones."""
    # Those that could mute the newest ones too: a late one, or one of a run that never was, is announced all the same.
    newest = max(len(rows.times) - spec.alert_recent_n - spec.alert_snooze_n, 0)
    return min(_opening(spec, rows, window), newest)


def _opening(spec: BatchSpec, rows: Scored, window: RunWindow) -> int:
    """Return the position of the first bucket that had not closed before the window."""
    cut = window.start - spec.completeness_delay
    # Only of the few that began shortly before is it a question whether they had closed, by the grain of their model.
    begin, end = np.searchsorted(rows.times, [stamp(cut - longest_bucket(spec)), stamp(cut)])
    grains = [json.loads(text)["grain"] for text in rows.metadata[begin:end]]
    still_open = np.flatnonzero(grain.mixed_ends(grains, rows.times[begin:end], spec.timezone) > stamp(cut))
    return int(begin + still_open[0]) if len(still_open) else int(end)


def _suppressed(spec: BatchSpec, rows: Scored, window: RunWindow) -> int:
    """Return how many buckets of the window reach the threshold and are kept from alerting by an event."""
    if not rows.suppressed.any():
        return 0
    fired = rules.fires(rules.smooth(rows.scores, spec.alert_smooth_n), rules.threshold(spec)) & rows.suppressed
    return int(fired[_opening(spec, rows, window) :].sum())


def _stopped(name: str, judged: _Judged, opening: int) -> list[Stopped]:
    """Return the findings of the window that a gate stopped."""
    found = judged.findings
    return [
        Stopped(
            name, found.times[k], judged.stopped[k], DIRECTIONS[found.direction[k]], found.value[k], found.expected[k]
        )
        for k in np.flatnonzero((judged.stopped != "") & (judged.at >= opening)).tolist()
    ]


def _alerts(spec: BatchSpec, name: str, judged: _Judged, first: int) -> list[Alert]:
    """Return the alerts of the transitions in the buckets from ``first`` on."""
    rules_of_events = merging(spec)
    times = judged.rows.times
    start = events.quiet_start(judged.fires, times, first, rules_of_events) or 0
    kept = np.flatnonzero((judged.stopped == "") & (judged.at >= start))
    findings = judged.findings.take(kept)
    severity = rules.severity(findings, spec.priority(name))
    happened = events.fold(times[start:], findings, severity, rules_of_events)
    moved = [replace(what, position=what.position + start) for what in happened]

    def quiet(position: int) -> Findings:
        return _findings(spec, judged.rows, judged.smoothed, np.array([position]))

    def passed(k: int) -> tuple[str, ...]:
        return tuple(verdict.passed(int(kept[k])) for verdict in judged.verdicts)

    return tell(spec, name, [what for what in moved if what.position >= first], findings, quiet, passed)


def _write(store: MetricRows, alerts: list[Alert], looked_at: list[tuple[str, Times]]) -> int:
    """Replace the alert rows of the buckets that were looked at: what no longer fires loses its row."""
    if not looked_at:
        return 0
    rows = pd.DataFrame(stored_rows(alerts), columns=COLUMNS)
    rows["metric_timestamp"] = rows["metric_timestamp"].astype("datetime64[us]")
    clear = pd.DataFrame(
        {
            "metric_name": np.concatenate([np.full(len(times), name, object) for name, times in looked_at]),
            "metric_type": "alert",
            "metric_timestamp": np.concatenate([times for _, times in looked_at]),
        }
    )
    return store.replace(rows, clear=clear)


def _log(alerts: list[Alert], stopped: list[Stopped]) -> None:
    for found in alerts:
        log.info(
            "%s: metric %r, bucket %s: value %s, expected %s, score %s",
            found.transition,
            found.metric_name,
            found.bucket.isoformat(),
            found.value,
            found.expected,
            found.score,
        )
    for one in stopped:
        log.info("stopped by %s: metric %r, bucket %s: value %s", one.gate, one.metric_name, one.bucket, one.value)
