"""What a day's summary says of a batch, from rows of a real table."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from anomstack_provider.steps.overlay import MemoryRows
from anomstack_provider.steps.summary import BatchSummary, MetricSummary, summarise, worst_first
from tests.steps.conftest import Rig, at

AS_OF = "2024-03-01"


def put(r: Rig, name: str, kind: str, start: str, count: int, hours: int = 1, value: float = 1.0) -> None:
    times = np.datetime64(start, "us") + np.arange(count) * np.timedelta64(hours, "h")
    rows = {
        "metric_name": name,
        "metric_type": kind,
        "metric_timestamp": times,
        "metric_value": value,
        "metadata": None,
    }
    r.store.replace(pd.DataFrame(rows))


def test_rows_are_counted_and_who_was_not_evaluated_is_told_why(rig: Callable[..., Rig]) -> None:
    r = rig(schedule="@hourly")
    put(r, "orders", "metric", "2024-02-25", 24 * 5)
    put(r, "orders", "score", "2024-02-28", 48, value=0.1)
    put(r, "orders", "alert", "2024-02-29T05:00", 2)
    put(r, "orders", "alert", "2024-02-29T09:00", 1, value=0.0)  # the end of an event
    put(r, "orders", "tholdalert", "2024-02-29T05:00", 1)
    put(r, "young", "metric", "2024-02-29T20:00", 4)
    put(r, "old enough", "metric", "2024-02-25", 24 * 5)
    put(r, "silent", "metric", "2024-02-20", 24 * 7)
    put(r, "gone", "metric", "2024-01-01", 24)
    put(r, "weekly", "metric", "2024-01-05", 8, hours=24 * 7)
    found = summarise(r.spec, at(AS_OF), r.store)
    assert found.until == at(AS_OF)
    assert found.metrics["orders"] == MetricSummary(values=24, scores=24, alerts=3)
    assert found.not_evaluated == {"old enough": "no score", "silent": "no data", "young": "learning 4/14"}
    assert (found.total("values"), found.total("scores"), found.total("alerts")) == (24 + 4 + 24, 24, 3)


def test_metrics_that_are_not_scored_are_not_missed(rig: Callable[..., Rig]) -> None:
    for keys in ({"disable_score": True}, {"score_exclude_metrics": ["m"]}):
        r = rig(**keys)
        put(r, "m", "metric", "2024-02-29", 24)
        assert summarise(r.spec, at(AS_OF), r.store).not_evaluated == {}


def test_a_batch_without_rows_has_an_empty_summary(rig: Callable[..., Rig]) -> None:
    found = summarise(rig().spec, at(AS_OF), MemoryRows())
    assert (found.metrics, found.not_evaluated, found.total("alerts")) == ({}, {}, 0)


def test_the_worst_come_first() -> None:
    quiet, loud = BatchSummary("a", at(AS_OF)), BatchSummary("b", at(AS_OF), {"m": MetricSummary(alerts=2)})
    broken = BatchSummary("c", at(AS_OF), problem="could not be read")
    assert worst_first([quiet, loud, broken]) == [broken, loud, quiet]
