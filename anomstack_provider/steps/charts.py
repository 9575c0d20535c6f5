"""What a person is told of an alert: its message and its chart, from the stored series around it, read once."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from anomstack_provider.alerting import events, rules
from anomstack_provider.alerting.alert import Alert
from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.detection.calendar import Calendar
from anomstack_provider.detection.grain import parse
from anomstack_provider.detection.series import Floats, Times, split_columns
from anomstack_provider.messages.buckets import first_bucket, last_bucket
from anomstack_provider.messages.chart import draw
from anomstack_provider.messages.chart_data import ChartData
from anomstack_provider.messages.headline import headline
from anomstack_provider.messages.message import Message, compose
from anomstack_provider.messages.surroundings import Surroundings
from anomstack_provider.steps.ports import MetricRows
from anomstack_provider.steps.seasons import Season, of_grain
from anomstack_provider.steps.shown import NO_TIMES, NO_VALUES, Shown
from anomstack_provider.steps.sources import merging
from anomstack_provider.steps.training import own_scores, stamp

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

# Buckets before the alerted one: enough to see four days of hours or three months of days at the width of a message.
_POINTS = 100
_ALERT_TYPES = ("alert", "tholdalert", "change", "llmalert")
_TICK = timedelta(microseconds=1)


@dataclass
class Briefings:
    """
    Messages and charts of the alerts of one batch; the series around an alert is read once for both.

    :param links: URL per name, shown in every message.
    :param upstream: what Airflow says of where the batch's data come from.
    :param actions: URL per answer to an alert; without any the command that answers is shown.
    :param answerable: False shows neither, of alerts that never were.
    """

    spec: BatchSpec
    store: MetricRows
    links: Mapping[str, str] = field(default_factory=dict)
    upstream: str | None = None
    actions: Callable[[Alert], Mapping[str, str]] | None = None
    answerable: bool = True
    _last: tuple[Alert, tuple[ChartData, Surroundings]] | None = None

    def first_line(self, alert: Alert) -> str:
        """Return the message's first line; reads nothing."""
        return headline(alert, self.spec.timezone, self.spec.about(alert.metric_name)).line

    def compose(self, alert: Alert) -> Message:
        """Return the message; without what surrounds the alert where that cannot be read: it has to go out."""
        try:
            _, around = self._read(alert)
        except Exception:
            log.exception("event %s: what surrounds it cannot be read", alert.event_id)
            around = Surroundings(upstream=self.upstream)
        return compose(
            alert,
            timezone=self.spec.timezone,
            links=self.links,
            about=self.spec.about(alert.metric_name),
            around=around,
            actions=self.actions(alert) if self.actions else None,
            answerable=self.answerable,
        )

    def draw(self, alert: Alert) -> bytes:
        """Return the chart as a PNG; raises whatever reading or drawing raises."""
        data, _ = self._read(alert)
        return draw(alert, data, timezone=self.spec.timezone, about=self.spec.about(alert.metric_name))

    def _read(self, alert: Alert) -> tuple[ChartData, Surroundings]:
        if self._last is None or self._last[0] != alert:
            self._last = (alert, _surround(self.spec, self.store, alert, self.upstream))
        return self._last[1]


def _surround(spec: BatchSpec, store: MetricRows, alert: Alert, upstream: str | None) -> tuple[ChartData, Surroundings]:
    metric = alert.metrics[0] if alert.metrics else alert.metric_name
    frame = store.read(
        ["metric", "score", *_ALERT_TYPES],
        since=alert.bucket - timedelta(days=spec.alert_metric_timestamp_max_days_ago),
        until=alert.bucket + _TICK,
        newest=_newest(spec, alert),
        metrics=sorted({metric, alert.metric_name}),
    )
    mine = frame[frame["metric_name"] == metric]
    shown = Shown.of(spec, mine)
    season = of_grain(parse(alert.grain))
    before = NO_TIMES, NO_VALUES
    if season is not None:
        before = _season_before(spec, store, alert, metric, season, shown.times)
    data = ChartData(
        times=shown.times,
        values=shown.values,
        fired=_fired(spec, alert, shown, mine),
        **shown.band,
        season_times=before[0],
        season=before[1],
        season_name=season.name if season else "",
        days=_days(spec, alert, metric, shown.times),
        training_start=shown.training_start,
        name=metric if alert.metrics else "",
    )
    then = before[1][before[0] == stamp(alert.bucket)]
    around = Surroundings(
        season_bucket=_earlier(alert, season, spec.timezone) if season and len(then) else None,
        season_value=float(then[0]) if len(then) else None,
        last_alert=_last_alert(alert, frame[frame["metric_name"] == alert.metric_name]),
        upstream=upstream,
    )
    return data, around


def _newest(spec: BatchSpec, alert: Alert) -> int:
    """Return how many points to show: the usual number, and of a longer event all with a third before it."""
    nominal = parse(alert.grain).nominal.astype("timedelta64[us]").item()
    buckets = (alert.bucket - first_bucket(alert)) // nominal if nominal else alert.fired
    return min(max(_POINTS, int(buckets * 4 / 3)), spec.alert_max_n)


def _fired(spec: BatchSpec, alert: Alert, shown: Shown, frame: pd.DataFrame) -> Times:
    """
    Return the buckets to mark: those at which the alert's own rule fired.

    Of those within their range the ones of the alert's own event, without its echoes, and those that were told:
    others, which a gate stopped or which echo an earlier event, would be marks that nobody can make out.
    """
    if alert.kind == "late":
        return NO_TIMES
    if alert.kind == "anomaly" and spec.override("alert_sql") is None:  # whose answer is not stored
        smoothed = rules.smooth(shown.scores, spec.alert_smooth_n)
        at = np.flatnonzero(rules.fires(smoothed, rules.threshold(spec)))
        times, usual = shown.score_times[at], shown.inside[at]
        told = frame[frame["metric_type"].isin(_ALERT_TYPES) & (frame["metric_value"] > 0)]["metric_timestamp"]
        known = np.isin(times, told.to_numpy().astype("datetime64[us]"))
        known |= (times >= stamp(first_bucket(alert))) & (times <= stamp(last_bucket(alert)))
        return times[~events.echoes(at, usual, merging(spec, ("anomaly",)).reach) & (known | ~usual)]
    inside = (shown.times >= stamp(first_bucket(alert))) & (shown.times <= stamp(last_bucket(alert)))
    if alert.kind == "threshold":
        over = np.zeros(len(shown.times), bool)
        if alert.lower is not None:
            over |= shown.values < alert.lower
        if alert.upper is not None:
            over |= shown.values > alert.upper
        inside &= over | (shown.times == stamp(last_bucket(alert)))
    return shown.times[inside]


def _season_before(
    spec: BatchSpec, store: MetricRows, alert: Alert, metric: str, season: Season, times: Times
) -> tuple[Times, Floats]:
    """Return the values of the season before, each at the time that it is held against: the newest season at most."""
    bucket = np.array([stamp(alert.bucket)])
    first = season.shift(bucket, -1, spec.timezone)
    if len(times):
        first = np.maximum(first, times[:1])
    first, last = (season.shift(ends, -1, spec.timezone)[0].item() for ends in (first, bucket))
    limits: dict[str, Any] = {"since": first.replace(tzinfo=UTC), "until": last.replace(tzinfo=UTC) + _TICK}
    frame = store.read(["score" if spec.preprocess_params.freq else "metric"], metrics=[metric], **limits)
    if spec.preprocess_params.freq:
        frame = frame[own_scores(frame)]
        frame = frame.assign(metric_value=[json.loads(text)["value"] for text in frame["metadata"]])
    found = split_columns(frame, "metric_value").get(metric)
    if found is None:
        return NO_TIMES, NO_VALUES
    return season.shift(found[0], 1, spec.timezone), found[1].astype(np.float64)


def _earlier(alert: Alert, season: Season, timezone: str) -> datetime:
    earlier: datetime = season.shift(np.array([stamp(alert.bucket)]), -1, timezone)[0].item()
    return earlier.replace(tzinfo=UTC)


def _days(
    spec: BatchSpec, alert: Alert, metric: str, times: Times
) -> tuple[tuple[np.datetime64, np.datetime64, str], ...]:
    """Return what the calendar names, from the first bucket of a name to the end of its last."""
    calendar = Calendar.for_metric(spec, metric)
    if calendar.is_empty or not len(times):
        return ()
    notes = calendar.marks(times, spec.timezone).notes
    ends = parse(alert.grain).ends(times, spec.timezone)
    edges = np.flatnonzero(np.append(True, notes[1:] != notes[:-1]))
    stops = np.append(edges[1:], len(notes))
    return tuple((times[a], ends[b - 1], notes[a]) for a, b in zip(edges, stops, strict=True) if notes[a])


def _last_alert(alert: Alert, frame: pd.DataFrame) -> datetime | None:
    """Return when the event before this one opened, from the stored alerts, those of another tool included."""
    rows = frame[frame["metric_type"].isin(_ALERT_TYPES) & (frame["metric_value"] > 0)]
    times = rows["metric_timestamp"].to_numpy().astype("datetime64[us]")
    opened = np.array([_is_opening(text, alert.event_id) for text in rows["metadata"]], bool)
    earlier = times[opened & (times < stamp(first_bucket(alert)))]
    return earlier.max().item().replace(tzinfo=UTC) if len(earlier) else None


def _is_opening(metadata: object, event_id: str) -> bool:
    """Whether a stored alert opened another event; one that says nothing of transitions stands for itself."""
    try:
        stored = json.loads(metadata) if isinstance(metadata, str) else None
    except ValueError:
        return True
    if not isinstance(stored, dict):
        return True
    return stored.get("transition", "opened") == "opened" and stored.get("event_id") != event_id
