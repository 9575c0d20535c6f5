"""The plot step: the metrics of a batch in one picture, those first that look odd."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from anomstack_provider.alerting import rules, thresholds
from anomstack_provider.alerting.transitions import ROW_TYPES
from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.detection.series import Series, split, split_columns
from anomstack_provider.messages.chart_data import ChartData
from anomstack_provider.messages.chart_plot import Panel, draw_plot
from anomstack_provider.runtime.ticks import last_tick
from anomstack_provider.runtime.window import RunWindow
from anomstack_provider.steps.groups import groups_of, read_in_groups
from anomstack_provider.steps.ports import MetricRows
from anomstack_provider.steps.shown import Shown, grain_of
from anomstack_provider.steps.training import own_scores

# Panels of one picture: more are too small to read, or make a picture that nobody scrolls through.
MOST_PANELS = 12
_ALERT_TYPES = tuple(dict.fromkeys(ROW_TYPES.values()))
_AS_OF = "anomstack as of"


class PointsRefused(ValueError):
    """The rows of ``plot_sql`` cannot be drawn; the message says what is missing."""


@dataclass(frozen=True)
class Plotted:
    """What a picture shows, how many metrics it leaves out, and which cannot be drawn and why."""

    panels: Sequence[Panel]
    left_out: int = 0
    refused: Mapping[str, str] = field(default_factory=dict)


def due(spec: BatchSpec, window: RunWindow) -> bool:
    """Whether a tick of ``plot_cron_schedule`` lies in the window."""
    return last_tick(spec.plot_cron_schedule, spec.timezone, window.end) >= window.start


def read(spec: BatchSpec, as_of: datetime, store: MetricRows) -> Plotted:
    """
    Read what to draw: the newest ``alert_max_n`` points of ``alert_metric_timestamp_max_days_ago`` days.

    Of more than :data:`MOST_PANELS` metrics those with the highest score among their newest ``score_max_n``, which are
    read shard by shard, so that what is held at a time does not grow with the batch.
    """
    since = as_of - timedelta(days=spec.alert_metric_timestamp_max_days_ago)
    names = store.metric_names("metric", since=since, until=as_of)
    chosen = names
    if len(names) > MOST_PANELS:
        limits: dict[str, Any] = {"since": since, "until": as_of, "newest": spec.score_max_n}
        recent: dict[str, Series] = {}
        for frame in read_in_groups(store, groups_of(spec, store, as_of), ["score"], **limits):
            recent |= split(frame[own_scores(frame)])
        chosen = _highest(names, recent)
    kinds = ["metric", "score", *_ALERT_TYPES]
    frame = store.read(kinds, since=since, until=as_of, newest=spec.alert_max_n, metrics=chosen)
    by_name = dict(list(frame.groupby("metric_name", sort=False)))
    panels: list[Panel] = []
    refused: dict[str, str] = {}
    for name in (name for name in chosen if name in by_name):
        try:
            panels.append(_panel(spec, name, by_name[name]))
        except (ValueError, KeyError, TypeError) as error:  # a score row written or cut by hand stops no neighbour
            refused[name] = f"one of its score rows has metadata that cannot be read: {type(error).__name__}: {error}"
    return Plotted(panels, len(names) - len(panels) - len(refused), refused)


def of_rows(spec: BatchSpec, rows: pd.DataFrame) -> Plotted:
    """
    Return what to draw from the rows of ``plot_sql``.

    :raises PointsRefused: a needed column is missing.
    """
    rows = rows.rename(columns={column: str(column).lower() for column in rows.columns})
    if missing := [column for column in ("metric_timestamp", "metric_name", "metric_value") if column not in rows]:
        known = ", ".join(rows.columns) or "none"
        raise PointsRefused(f"plot_sql: the result has no column {', '.join(missing)}; it has {known}")
    if "metric_batch" in rows:
        rows = rows[rows["metric_batch"] == spec.metric_batch]
    optional = {column: rows.get(column, np.nan) for column in ("metric_score", "metric_alert")}
    stamps = pd.to_datetime(rows["metric_timestamp"], utc=True, format="ISO8601" if len(rows) else None)
    numbers = {"metric_value": rows["metric_value"], **optional}
    rows = rows.assign(metric_timestamp=stamps.dt.tz_localize(None).astype("datetime64[us]"))
    rows = rows.assign(**{key: pd.to_numeric(value, errors="coerce") for key, value in numbers.items()})
    rows = rows.dropna(subset=["metric_timestamp"]).sort_values(["metric_name", "metric_timestamp"], kind="stable")
    found = split_columns(rows, "metric_value", "metric_score", "metric_alert")
    recent = {name: Series(times, scores) for name, (times, _, scores, _) in found.items()}
    chosen = _highest(list(found), recent) if len(found) > MOST_PANELS else sorted(found)
    panels = []
    for name in chosen:
        times, values, scores, alerts = (part[-spec.alert_max_n :] for part in found[name])
        data = ChartData(times, values.astype(np.float64), times[np.nan_to_num(alerts.astype(np.float64)) > 0])
        is_judged = "anomaly" in spec.finds and np.isfinite(scores.astype(np.float64)).any()
        threshold = rules.threshold(spec) if is_judged else None
        bounds = _bounds(spec, name)
        panels.append(Panel(name, spec.about(name), data, grain_of(spec, times), times, scores, threshold, bounds))
    return Plotted(panels, len(found) - len(panels))


def draw(spec: BatchSpec, as_of: datetime, plotted: Plotted) -> bytes:
    """Return the picture as a PNG, which remembers what it is as of."""
    end = as_of.astimezone(ZoneInfo(spec.timezone))
    shown = len(plotted.panels)
    metrics = "1 metric" if shown == 1 else f"{shown} metrics"
    if plotted.left_out:
        metrics += f" with the highest scores of {shown + plotted.left_out}, {plotted.left_out} left out"
    return draw_plot(
        plotted.panels,
        head=spec.metric_batch,
        note=f"{metrics}, until {end:%Y-%m-%d %H:%M %Z}",
        timezone=spec.timezone,
        texts={_AS_OF: as_of.isoformat()},
    )


def drawn_as_of(picture: bytes | None) -> datetime | None:
    """Return what a stored picture is as of; None where there is none, or it is none of ours."""
    from PIL import Image, UnidentifiedImageError

    if picture is None:
        return None
    try:
        with Image.open(io.BytesIO(picture), formats=["PNG"]) as image:
            return datetime.fromisoformat(image.info[_AS_OF])
    except (UnidentifiedImageError, KeyError, ValueError, OSError, SyntaxError):
        return None


def _highest(names: Sequence[str], scores: Mapping[str, Series]) -> list[str]:
    """Return the metrics with the highest recent scores, highest first; those without any after them, by name."""

    def rank(name: str) -> tuple[float, str]:
        found = scores[name].values[np.isfinite(scores[name].values)] if name in scores else ()
        return (-max(found) if len(found) else np.inf, name)

    return sorted(names, key=rank)[:MOST_PANELS]


def _panel(spec: BatchSpec, name: str, frame: pd.DataFrame) -> Panel:
    shown = Shown.of(spec, frame)
    alerts = frame[frame["metric_type"].isin(_ALERT_TYPES) & (frame["metric_value"] > 0)]
    fired = np.unique(alerts["metric_timestamp"].to_numpy().astype("datetime64[us]"))
    first = shown.times[0] if len(shown.times) else np.datetime64("NaT")
    band: dict[str, Any] = shown.band
    data = ChartData(shown.times, shown.values, fired[fired >= first], **band)
    threshold = rules.threshold(spec) if len(shown.scores) and "anomaly" in spec.finds else None
    grain = grain_of(spec, shown.times)
    return Panel(name, spec.about(name), data, grain, shown.score_times, shown.scores, threshold, _bounds(spec, name))


def _bounds(spec: BatchSpec, name: str) -> list[float]:
    """Return the fixed thresholds that a metric is held against."""
    if "threshold" not in spec.finds or name in spec.tholdalert_exclude_metrics:
        return []
    limits = thresholds.limits(spec.tholdalert_thresholds[name]) if name in spec.tholdalert_thresholds else ()
    return [limit for limit in limits if np.isfinite(limit)]
