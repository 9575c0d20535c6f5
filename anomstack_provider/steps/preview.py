"""
Preview: the alerts that a config would have sent, from the same score and alert steps that a DAG runs.

Nothing is written and nothing sent. The whole period is one window: each bucket is scored by the model of its own train
tick and each alert is decided by a fold over the buckets before it, exactly as by the runs of the single intervals.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pandas as pd

from anomstack_provider.alerting.alert import Alert
from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.detection import grain
from anomstack_provider.runtime.ticks import last_tick
from anomstack_provider.runtime.window import RunWindow
from anomstack_provider.steps.alert import AlertResult, alert, alert_rows, is_told, result_of
from anomstack_provider.steps.deciding import Deciding
from anomstack_provider.steps.groups import groups_of
from anomstack_provider.steps.ingest import Fetch, ingest
from anomstack_provider.steps.outcomes import StepResult
from anomstack_provider.steps.overlay import MemoryRows, NoModels, Overlay
from anomstack_provider.steps.ports import MetricRows
from anomstack_provider.steps.reads import Read, RunReads
from anomstack_provider.steps.score import score
from anomstack_provider.steps.tracks import Stopped
from anomstack_provider.steps.training import stamp


@dataclass(frozen=True)
class Preview:
    """
    What a config would have done in a period.

    :param alerts: the transitions of events that would have been told, oldest first.
    :param scores: every bucket of the period: metric_name, metric_timestamp (naive UTC), value, score (NaN if it was
        not evaluated), alerted (1 where an event opened, else 0). None where they were not kept.
    :param result: what became of each metric in the score step.
    :param suppressed: buckets at or above the threshold that an event of the calendar kept from alerting.
    :param stopped: findings that a business gate kept from alerting.
    :param unjudged: metrics that were scored and not judged as configured, with the reason.
    :param switched_off: the batch's switches that keep a live run from alerting on scores.
    :param reads: what each job of one run reads, if it was counted.
    :param rows: the stored metrics with the preview's alerts beside them, in memory, and its scores if they were kept.
    """

    window: RunWindow
    alerts: tuple[Alert, ...]
    scores: pd.DataFrame | None
    result: StepResult
    suppressed: int
    stopped: tuple[Stopped, ...]
    unjudged: Mapping[str, str]
    rows: MetricRows
    switched_off: list[str]
    reads: Mapping[str, Read]

    @property
    def opened(self) -> tuple[Alert, ...]:
        """The alerts that opened an event."""
        return tuple(found for found in self.alerts if found.transition == "opened")

    def outcomes(self) -> dict[str, Any]:
        """Return JSON values: per outcome the number of metrics, and by name why metrics were not evaluated."""
        return {
            "counts": self.result.counts(),
            "not_evaluated": {**self.unjudged, **self.result.summary()["not_evaluated"]},
            "suppressed": self.suppressed,
            "events": dict(Counter(found.transition for found in self.alerts)),
            "stopped": dict(sorted(Counter(one.gate for one in self.stopped).items())),
            "switched_off": self.switched_off,
        }


def preview(
    spec: BatchSpec,
    window: RunWindow,
    table: MetricRows,
    *,
    keep_scores: bool = True,
    count_reads: bool = False,
) -> Preview:
    """
    Replay a period over the stored metrics, shard by shard.

    :param keep_scores: False forgets the scores of a shard once its alerts are decided, so that what is held at a time
        does not grow with the batch: there is no table of scores then, and nothing to draw charts of.
    :param count_reads: whether to count what the jobs of the last run in the period read.
    """
    rows, models = Overlay(table), NoModels()
    groups = groups_of(spec, table, window.end)
    # Of a group all there is is asked for, and not a shard of it.
    whole = spec.model_copy(update={"shards": 1})
    deciding = None if spec.is_silent or _asks_run_by_run(spec) else Deciding(whole, window, rows, groups)
    reads = RunReads(whole, window, rows, groups) if count_reads else None
    scored: dict[str, str] = {}
    for group in groups:
        part = Overlay(group.rows(table))
        result = score(whole, window, part, models)
        scored |= {name: outcome for name, outcome in result.outcomes.items() if name in group}
        if deciding is not None:
            deciding.judge(group, part, models)
        if reads is not None:
            reads.add(group, part, models)
        if keep_scores:
            rows.take_over(part)
    decided = _run_by_run(spec, window, rows, models) if _asks_run_by_run(spec) and not spec.is_silent else None
    if deciding is not None:
        decided = result_of(deciding, deciding.late_data())
        rows.replace(alert_rows(decided.alerts))
    alerts = tuple(a for a in decided.alerts if is_told(spec, a)) if decided else ()
    return Preview(
        window,
        alerts,
        _scores(spec, window, rows, alerts) if keep_scores else None,
        StepResult("score", outcomes=dict(sorted(scored.items()))),
        decided.result.facts["suppressed"] if decided else 0,
        decided.stopped if decided else (),
        decided.result.summary()["not_evaluated"] if decided else {},
        rows,
        spec.switched_off,
        reads.finish() if reads is not None else {},
    )


def _asks_run_by_run(spec: BatchSpec) -> bool:
    """Whether a query of the batch's own gives what is judged: it answers as of a run's end, not the period's."""
    return any(spec.override(key) is not None for key in ("alert_sql", "change_sql"))


def _run_by_run(spec: BatchSpec, window: RunWindow, rows: Overlay, models: NoModels) -> AlertResult:
    """Return the alerts of the period as the runs in it would have decided them, one after the other."""
    alerts: dict[tuple[str, str], Alert] = {}
    stopped: dict[tuple[str, str, str], Stopped] = {}
    suppressed = 0
    for part in _runs(spec, window):
        found = alert(spec, part, rows, models)
        for one in found.alerts:
            alerts.setdefault((one.event_id, one.key), one)
        for gone in found.stopped:
            stopped.setdefault((gone.metric_name, str(gone.bucket), gone.gate), gone)
        suppressed += found.result.facts["suppressed"]
    result = replace(found.result, facts={**found.result.facts, "suppressed": suppressed})
    return AlertResult(tuple(alerts.values()), result, tuple(stopped.values()), found.missing)


def _runs(spec: BatchSpec, window: RunWindow) -> list[RunWindow]:
    """Return the windows of the batch's runs in a period, oldest first; the first and the last may be shorter."""
    edges = [window.end]
    while edges[-1] > window.start:
        edges.append(max(last_tick(spec.cron, spec.timezone, edges[-1]), window.start))
    return [RunWindow(start, end) for start, end in pairwise(reversed(edges))]


def fetch_history(spec: BatchSpec, window: RunWindow, fetch: Fetch) -> tuple[MemoryRows, StepResult]:
    """Ingest a period into memory, for a preview of a batch whose metrics are not stored yet."""
    rows = MemoryRows()
    return rows, ingest(spec, window, rows, fetch)


def _scores(spec: BatchSpec, window: RunWindow, rows: Overlay, alerts: tuple[Alert, ...]) -> pd.DataFrame:
    """Return every bucket of the period with its score; of a resampled batch the buckets that have one."""
    scored = rows.read(["score"], since=None, until=window.end)
    facts = [json.loads(text) for text in scored["metadata"]]
    starts = scored["metric_timestamp"].to_numpy().astype("datetime64[us]")
    ends = grain.mixed_ends([fact["grain"] for fact in facts], starts, spec.timezone)
    # Not the look-back, which closed before and was only scored for what it says about the period.
    inside = ends > stamp(window.start - spec.completeness_delay)
    scored = scored.assign(value=[fact["value"] for fact in facts])[inside]
    columns = ["metric_name", "metric_timestamp", "value"]
    table = scored[columns].assign(score=scored["metric_value"])
    if spec.preprocess_params.freq is None:
        metrics = rows.read(["metric"], since=window.start, until=window.end).rename(columns={"metric_value": "value"})
        table = metrics[columns].merge(table.drop(columns="value"), on=columns[:2], how="outer")
        values = scored.set_index(columns[:2])["value"]
        index = pd.MultiIndex.from_frame(table[columns[:2]])
        table["value"] = table["value"].fillna(pd.Series(values.reindex(index).to_numpy(), index=table.index))
    opened = [a for a in alerts if a.transition == "opened"]
    fired = {(a.metric_name, a.bucket.astimezone(UTC).replace(tzinfo=None)) for a in opened}
    keys = zip(table["metric_name"], pd.DatetimeIndex(table["metric_timestamp"]).to_pydatetime(), strict=True)
    table["alerted"] = [int(key in fired) for key in keys]
    return table.sort_values(columns[:2], ignore_index=True)


def by_week(alerts: tuple[Alert, ...]) -> dict[tuple[str, str], int]:
    """Return how many events opened per metric and ISO week (``2013-W06``), the weeks those of the buckets in UTC."""
    counts: dict[tuple[str, str], int] = {}
    for found in alerts:
        if found.transition != "opened":
            continue
        year, week, _ = found.bucket.isocalendar()
        key = (found.metric_name, f"{year}-W{week:02d}")
        counts[key] = counts.get(key, 0) + 1
    return dict(sorted(counts.items()))


def to_json(found: Alert) -> dict[str, Any]:
    """Return an alert as ``preview --output json`` lists it; times in UTC."""
    return {
        "metric_batch": found.metric_batch,
        "metric_name": found.metric_name,
        "metric_timestamp": utc_text(found.bucket),
        "kind": found.kind,
        "transition": found.transition,
        "direction": found.direction,
        "value": found.value,
        "expected": found.expected,
        "lower": found.lower,
        "upper": found.upper,
        "score": found.score,
        "severity": found.severity,
        "note": found.note,
        "event_id": found.event_id,
        "why": list(found.why),
        "gates": list(found.gates),
        "first_bucket": utc_text(found.first_bucket or found.bucket),
        "last_bucket": utc_text(found.last_bucket or found.bucket),
        "fired": found.fired,
    }


def stopped_to_json(one: Stopped) -> dict[str, Any]:
    """Return a stopped finding as ``preview --output json`` lists it; times in UTC."""
    bucket: datetime = one.bucket.astype("datetime64[us]").item()
    return {
        "metric_name": one.metric_name,
        "metric_timestamp": utc_text(bucket.replace(tzinfo=UTC)),
        "gate": one.gate,
        "direction": one.direction,
        "value": None if math.isnan(one.value) else one.value,
        "expected": None if math.isnan(one.expected) else one.expected,
    }


def utc_text(moment: datetime) -> str:
    """Return a time as ISO 8601 in UTC, ending in ``Z``."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
