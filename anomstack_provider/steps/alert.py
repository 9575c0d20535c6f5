"""
The alert step: which of the buckets that closed in the window are announced, stored as alert rows.

It reads scores and decides by the rules of ``alerting``; sending is the operator's, through the delivery ledger.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from anomstack_provider.alerting import events, rules
from anomstack_provider.alerting.alert import Alert, event_id
from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.detection import grain
from anomstack_provider.detection.calendar import Calendar
from anomstack_provider.detection.series import Floats, Times, split_columns
from anomstack_provider.runtime.window import RunWindow
from anomstack_provider.steps import score as score_step
from anomstack_provider.steps.outcomes import StepResult
from anomstack_provider.steps.ports import COLUMNS, MetricRows, Models
from anomstack_provider.steps.training import freq_lengths, in_shard, longest_bucket, own_scores, stamp

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AlertResult:
    """Alerts of the window, oldest first, and what became of each metric."""

    alerts: tuple[Alert, ...]
    result: StepResult


@dataclass(frozen=True)
class _Scored:
    """
    Scores of one metric as read: times, scores, metadata; and the times of its metric rows.

    :param suppressed: which of the buckets an event keeps from alerting.
    :param notes: what the calendar says of each bucket.
    """

    times: Times
    scores: Floats
    metadata: NDArray[Any]
    points: Times
    suppressed: NDArray[np.bool_]
    notes: NDArray[np.object_]

    def judged(self) -> _Scored:
        """Return the buckets that may alert: the suppressed ones neither do nor count in the smoothing of others."""
        if not self.suppressed.any():
            return self
        keep = ~self.suppressed
        return _Scored(
            self.times[keep],
            self.scores[keep],
            self.metadata[keep],
            self.points,
            self.suppressed[keep],
            self.notes[keep],
        )


def alert(spec: BatchSpec, window: RunWindow, store: MetricRows, models: Models) -> AlertResult:
    """
    Decide the alerts of the window and store them.

    Looked at are the buckets that closed in the window, the newest ``alert_recent_n`` and as many before those as can
    mute them; what is found again was sent before, which the ledger knows. Where the fold over earlier buckets needs
    scores that no run has written yet, they are computed here, so the answer never depends on which runs came before.
    """
    scored = _complete(spec, window, store, models)
    suppressed = 0
    alerts: list[Alert] = []
    outcomes: dict[str, str] = {}
    looked_at: list[tuple[str, Times]] = []
    for name, rows in scored.items():
        if name in spec.alert_exclude_metrics or not len(rows.times):
            continue
        try:
            judged = rows.judged()
            first = _first(spec, judged, window)
            found = _alerts(spec, name, judged, first)
            suppressed += _suppressed(spec, rows, window)
        except Exception as error:  # one metric never stops its neighbours; the outcome carries the reason
            log.exception("metric %r: its scores cannot be judged", name)
            outcomes[name] = f"failed: {type(error).__name__}: {error}"
            continue
        alerts += found
        since = judged.times[first] if len(judged.times) else rows.times[0]
        looked_at.append((name, rows.times[rows.times >= since]))
        outcomes[name] = "alerted" if found else "evaluated"
    alerts.sort(key=lambda a: (a.bucket, a.metric_name))
    written = _write(store, alerts, looked_at)
    for found_alert in alerts:
        log.info(
            "alert: metric %r, bucket %s: value %s, expected %s, score %s",
            found_alert.metric_name,
            found_alert.bucket.isoformat(),
            found_alert.value,
            found_alert.expected,
            found_alert.score,
        )
    return AlertResult(tuple(alerts), StepResult("alert", written, outcomes, {"suppressed": suppressed}))


def _read(
    spec: BatchSpec, window: RunWindow, store: MetricRows, newest: int, since: datetime | None
) -> dict[str, _Scored]:
    """Read the window's rows and the ``newest`` before it, not older than ``since``."""
    cut = window.start - spec.completeness_delay
    frame = store.read(["metric", "score"], since=since, until=window.end, newest=newest, cut=cut)
    is_score = own_scores(frame)
    points = {name: times for name, (times,) in split_columns(frame[frame["metric_type"] == "metric"]).items()}
    found = {}
    for name, (times, scores, metadata) in split_columns(frame[is_score], "metric_value", "metadata").items():
        marks = Calendar.for_metric(spec, name).marks(times, spec.timezone)
        scores = scores.astype(np.float64)
        found[name] = _Scored(times, scores, metadata, points.get(name, times), marks.suppressed, marks.notes)
    return found


def _complete(spec: BatchSpec, window: RunWindow, store: MetricRows, models: Models) -> dict[str, _Scored]:
    """
    Return each metric's scores with enough earlier ones for an exact fold.

    One read is enough where a quiet gap lies within the look-back that the score step fills. For metrics where it
    does not (a long anomaly, a young series), earlier scores are filled in and read, four times as many each time.
    """
    back = score_step.look_back(spec)
    filled_since: datetime | None = window.end - timedelta(days=spec.score_metric_timestamp_max_days_ago)
    days = max(spec.alert_metric_timestamp_max_days_ago, spec.score_metric_timestamp_max_days_ago)
    oldest = min(window.start - spec.completeness_delay, window.end - timedelta(days=days))
    complete = _read(spec, window, store, back, oldest - longest_bucket(spec))
    while unsettled := {
        n for n, rows in complete.items() if not _settled(spec, rows.judged(), window, back, filled_since)
    }:
        back, filled_since = back * 4, None
        for shard in range(spec.shards):
            if mine := {name for name in unsettled if in_shard(name, shard, spec.shards)}:
                within: Any = {"shard": shard, "shards": spec.shards, "metrics": mine, "rescore": False}
                score_step.fill(spec, window, store, models, back=back, since=None, **within)
        again = _read(spec, window, store, back, None)
        complete.update({name: again[name] for name in unsettled})
    return complete


def _settled(spec: BatchSpec, rows: _Scored, window: RunWindow, back: int, filled_since: datetime | None) -> bool:
    """
    Whether the buckets to look at can be judged from these rows: a quiet gap lies before them, within what is filled.

    :param filled_since: the ``back`` buckets before the window that are not older have scores if they can have; None:
        all.
    """
    first = _first(spec, rows, window)
    if first == len(rows.times):
        return True
    cut = window.start - spec.completeness_delay
    before = rows.points[: np.searchsorted(rows.points, stamp(cut))]
    if filled_since is None and len(before) < back:
        return True  # the series begins within what is filled
    if spec.preprocess_params.freq is not None:
        oldest = stamp(cut - back * freq_lengths(spec)[0])
    else:
        oldest = before[max(len(before) - back, 0)] if len(before) else stamp(cut)
    if filled_since is not None:
        oldest = max(oldest, stamp(filled_since))
    lead = int(np.searchsorted(rows.times, oldest))
    fired = rules.fires(rules.smooth(rows.scores[lead:], spec.alert_smooth_n), rules.threshold(spec))
    known = spec.alert_smooth_n  # the first ones have no complete window of their own
    times = rows.times[lead + known :]
    return events.quiet_start(fired[known:], times, first - lead - known, _silence(spec)) is not None


def _silence(spec: BatchSpec) -> events.Silence:
    return events.Silence(spec.alert_snooze_n, spec.merge_max_gap)


def _first(spec: BatchSpec, rows: _Scored, window: RunWindow) -> int:
    """Return the position of the first bucket to look at: not closed before the window, or among the newest ones."""
    # Those that could mute the newest ones too: a late one, or one of a run that never was, is announced all the same.
    newest = max(len(rows.times) - spec.alert_recent_n - spec.alert_snooze_n, 0)
    return min(_opening(spec, rows, window), newest)


def _opening(spec: BatchSpec, rows: _Scored, window: RunWindow) -> int:
    """Return the position of the first bucket that had not closed before the window."""
    cut = window.start - spec.completeness_delay
    # Only of the few that began shortly before is it a question whether they had closed, by the grain of their model.
    begin, end = np.searchsorted(rows.times, [stamp(cut - longest_bucket(spec)), stamp(cut)])
    grains = [json.loads(text)["grain"] for text in rows.metadata[begin:end]]
    still_open = np.flatnonzero(grain.mixed_ends(grains, rows.times[begin:end], spec.timezone) > stamp(cut))
    return int(begin + still_open[0]) if len(still_open) else int(end)


def _suppressed(spec: BatchSpec, rows: _Scored, window: RunWindow) -> int:
    """Return how many buckets of the window reach the threshold and are kept from alerting by an event."""
    if not rows.suppressed.any():
        return 0
    fired = rules.fires(rules.smooth(rows.scores, spec.alert_smooth_n), rules.threshold(spec)) & rows.suppressed
    return int(fired[_opening(spec, rows, window) :].sum())


def _alerts(spec: BatchSpec, name: str, rows: _Scored, first: int) -> list[Alert]:
    smoothed = rules.smooth(rows.scores, spec.alert_smooth_n)
    fired = rules.fires(smoothed, rules.threshold(spec))
    start = events.quiet_start(fired, rows.times, first, _silence(spec)) or 0
    announced = (start + np.flatnonzero(events.announce(fired[start:], rows.times[start:], _silence(spec)))).tolist()
    return [_alert(spec, name, rows, smoothed, i) for i in announced if i >= first]


def _alert(spec: BatchSpec, name: str, rows: _Scored, smoothed: Floats, i: int) -> Alert:
    facts = json.loads(rows.metadata[i])
    bucket = rows.times[i].astype("datetime64[us]").item().replace(tzinfo=UTC)
    value, expected = facts["value"], facts["expected"]
    lower = -np.inf if facts["lower"] is None else facts["lower"]
    upper = np.inf if facts["upper"] is None else facts["upper"]
    direction = "up" if value >= expected else "down"
    return Alert(
        event_id=event_id(spec.metric_batch, name, "anomaly", direction, bucket),
        metric_batch=spec.metric_batch,
        metric_name=name,
        kind="anomaly",
        transition="opened",
        direction=direction,
        bucket=bucket,
        grain=facts["grain"],
        value=value,
        expected=expected,
        lower=facts["lower"],
        upper=facts["upper"],
        score=float(smoothed[i]),
        threshold=rules.threshold(spec),
        severity=rules.severity(value, expected, lower, upper),
        tags=tuple(sorted((str(k), str(v)) for k, v in spec.metric_tags.get(name, {}).items())),
        note=rows.notes[i],
    )


def _write(store: MetricRows, alerts: list[Alert], looked_at: list[tuple[str, Times]]) -> int:
    """Replace the alert rows of the buckets that were looked at: what no longer fires loses its row."""
    if not looked_at:
        return 0
    rows = pd.DataFrame([_row(a) for a in alerts], columns=COLUMNS)
    rows["metric_timestamp"] = rows["metric_timestamp"].astype("datetime64[us]")
    clear = pd.DataFrame(
        {
            "metric_name": np.concatenate([np.full(len(times), name, object) for name, times in looked_at]),
            "metric_type": "alert",
            "metric_timestamp": np.concatenate([times for _, times in looked_at]),
        }
    )
    return store.replace(rows, clear=clear)


def _row(found: Alert) -> tuple[Any, ...]:
    bucket = found.bucket.astimezone(UTC).replace(tzinfo=None)
    return found.metric_name, "alert", np.datetime64(bucket, "us"), 1.0, found.to_json()
