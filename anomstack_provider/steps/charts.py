"""The chart of an alert, drawn from the stored series."""

from __future__ import annotations

import json
from datetime import timedelta

import numpy as np

from anomstack_provider.alerting import rules
from anomstack_provider.alerting.alert import Alert
from anomstack_provider.alerting.chart import ChartData, draw
from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.detection.series import split_columns
from anomstack_provider.steps.ports import MetricRows

# Buckets before the alerted one: enough to see two weeks of hours or three months of days at the width of a message.
_POINTS = 100


class Charts:
    """
    Charts of alerts of one batch, the series up to the alerted bucket.

    :param store: read once per alert.
    """

    def __init__(self, spec: BatchSpec, store: MetricRows) -> None:
        self._spec = spec
        self._store = store

    def draw(self, alert: Alert) -> bytes:
        """Return a PNG; raises whatever reading or drawing raises."""
        return draw(alert, self._data(alert), timezone=self._spec.timezone)

    def _data(self, alert: Alert) -> ChartData:
        spec = self._spec
        frame = self._store.read(
            ["metric", "score"],
            since=alert.bucket - timedelta(days=spec.alert_metric_timestamp_max_days_ago),
            until=alert.bucket + timedelta(microseconds=1),
            newest=min(_POINTS, spec.alert_max_n),
            metrics=[alert.metric_name],
        )
        is_score = frame["metric_type"] == "score"
        empty = (np.empty(0, "datetime64[us]"), np.empty(0), np.empty(0, object))
        columns = ("metric_value", "metadata")
        score_times, scores, metadata = split_columns(frame[is_score], *columns).get(alert.metric_name, empty)
        facts = [json.loads(text) for text in metadata]
        if spec.preprocess_params.freq is None:
            times, values, _ = split_columns(frame[~is_score], *columns).get(alert.metric_name, empty)
        else:
            times, values = score_times, np.array([f["value"] for f in facts])
        aligned = {key: np.full(len(times), np.nan) for key in ("expected", "lower", "upper")}
        positions = np.searchsorted(times, score_times)
        for position, fact, time in zip(positions, facts, score_times, strict=True):
            if position < len(times) and times[position] == time:
                for key, array in aligned.items():
                    array[position] = np.nan if fact[key] is None else fact[key]
        fired = rules.fires(rules.smooth(scores.astype(np.float64), spec.alert_smooth_n), rules.threshold(spec))
        return ChartData(
            times=times,
            values=values.astype(np.float64),
            score_times=score_times,
            scores=scores.astype(np.float64),
            fired=score_times[fired],
            **aligned,
        )
