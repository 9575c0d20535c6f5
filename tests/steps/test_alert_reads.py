"""What the alert step reads and trains: next to nothing while nothing is wrong."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.runtime.window import RunWindow
from anomstack_provider.steps.alert import alert
from anomstack_provider.steps.overlay import MemoryRows, NoModels
from tests.steps.conftest import at, noise

NOW = at("2024-02-01T12:00:00")
HOUR = timedelta(hours=1)


class Counted(MemoryRows):
    """Rows in memory that remember of which metrics scores were asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Any] = []

    def read(self, metric_types: Any, **limits: Any) -> pd.DataFrame:
        if "score" in metric_types:
            self.asked.append(limits.get("metrics"))
        return super().read(metric_types, **limits)


class Untrained(NoModels):
    """A model store that fails the test when it is asked for a model."""

    def load(self, key: Any) -> None:
        pytest.fail("a model was asked for")


def rows_of(scores: dict[str, np.ndarray]) -> Counted:
    """Hourly metrics, each hour of which has its score already."""
    store = Counted()
    for name, values in scores.items():
        times = pd.date_range(end=NOW.replace(tzinfo=None) - HOUR, periods=len(values), freq="1h")
        frame = pd.DataFrame({"metric_name": name, "metric_timestamp": times.astype("datetime64[us]")})
        facts = '{"value": 1.0, "expected": 1.0, "lower": 0.0, "upper": 2.0, "grain": "1h", "model": "2024-01-01"}'
        store.replace(frame.assign(metric_type="metric", metric_value=noise(len(values)), metadata=None))
        store.replace(frame.assign(metric_type="score", metric_value=values, metadata=facts))
    return store


def test_buckets_that_have_their_scores_are_read_once_and_nothing_is_trained() -> None:
    spec = BatchSpec(metric_batch="b", ingest_sql="select 1", schedule="@hourly", alert_threshold=0.9)
    store = rows_of({f"m{number}": np.zeros(200) for number in range(3)})

    found = alert(spec, RunWindow(NOW - HOUR, NOW), store, Untrained())

    assert set(found.result.outcomes.values()) == {"evaluated"}
    assert store.asked == [None]


@pytest.mark.parametrize(
    ("hours", "text"),
    [(1, '{"grain": "1'), (1, '{"grain": 5}'), (1, '{"grain": "soon"}'), (45, '{"value": 1, "grain"'), (45, '"grain"')],
)
def test_a_score_row_that_cannot_be_read_stops_no_neighbour(hours: int, text: str) -> None:
    spec = BatchSpec(metric_batch="b", ingest_sql="select 1", schedule="@hourly", alert_threshold=0.9)
    lasting, spike = np.zeros(200), np.zeros(200)
    lasting[-40:] = spike[-1] = 1.0
    store = rows_of({"odd": lasting, "spiked": spike, "fine": np.zeros(200)})
    stamp = pd.Timestamp(NOW.replace(tzinfo=None)) - hours * HOUR
    row = {"metric_name": "odd", "metric_type": "score", "metric_timestamp": stamp, "metric_value": 1.0}
    store.replace(pd.DataFrame([{**row, "metadata": text}]).astype({"metric_timestamp": "datetime64[us]"}))

    found = alert(spec, RunWindow(NOW - HOUR, NOW), store, Untrained())

    assert {one.metric_name for one in found.alerts} == {"spiked"}
    assert {name: what.partition(":")[0] for name, what in found.result.outcomes.items()} == {
        "odd": "failed",
        "spiked": "alerted",
        "fine": "evaluated",
    }
    assert "one of its score rows has metadata that cannot be read" in found.result.outcomes["odd"]


def test_only_metrics_of_which_something_was_found_are_read_further_back() -> None:
    spec = BatchSpec(metric_batch="b", ingest_sql="select 1", schedule="@hourly", alert_threshold=0.9)
    lasting = np.zeros(200)
    lasting[-40:] = 1.0
    store = rows_of({"fine": np.zeros(200), "odd": lasting})

    found = alert(spec, RunWindow(NOW - HOUR, NOW), store, Untrained())

    assert set(found.result.outcomes.values()) == {"evaluated"}
    assert store.asked == [None, ["odd"]]
