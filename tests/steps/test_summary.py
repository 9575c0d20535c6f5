"""What a day's summary says of a batch, from rows of a real table."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from anomstack_provider.steps.overlay import MemoryRows
from anomstack_provider.steps.summary import BatchSummary, CountsRefused, MetricSummary, summarise, worst_first
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
    assert found.not_evaluated == {
        "old enough": "no score",
        "silent": "no data",
        "young": "learning 4/14",
        "weekly": "learning 8/14",  # its newest week ended in the day
    }
    assert (found.total("values"), found.total("scores"), found.total("alerts")) == (24 + 4 + 24 + 1, 24, 3)


@pytest.mark.parametrize("cron", ["0 0 * * *", "0 6 * * *"])
@pytest.mark.parametrize("hours", [1, 24])
def test_what_runs_of_the_last_day_judged_is_in_it_whenever_a_bucket_began(
    rig: Callable[..., Rig], cron: str, hours: int
) -> None:
    """At nine in the morning the bucket of yesterday is 33 hours old; the one before was told yesterday."""
    r = rig(schedule=cron)
    put(r, "m", "metric", "2024-01-01", 62 * 24 // hours, hours)
    put(r, "m", "score", "2024-02-01", 31 * 24 // hours, hours, value=0.1)
    put(r, "m", "alert", "2024-02-28", 1)
    days = {day: summarise(r.spec, at(f"2024-{day}T09:00"), r.store) for day in ("02-28", "02-29", "03-01")}
    counts = {day: found.metrics["m"] for day, found in days.items()}
    first = "02-29" if hours == 24 or cron == "0 0 * * *" else "02-28"
    assert counts == {day: MetricSummary(24 // hours, 24 // hours, int(day == first)) for day in days}
    assert all(found.not_evaluated == {} for found in days.values())


def test_metrics_that_are_not_scored_are_not_missed(rig: Callable[..., Rig]) -> None:
    for keys in ({"disable_score": True}, {"score_exclude_metrics": ["m"]}):
        r = rig(**keys)
        put(r, "m", "metric", "2024-02-29", 24)
        assert summarise(r.spec, at(AS_OF), r.store).not_evaluated == {}


def test_a_batch_without_rows_has_an_empty_summary(rig: Callable[..., Rig]) -> None:
    found = summarise(rig().spec, at(AS_OF), MemoryRows())
    assert (found.metrics, found.not_evaluated, found.total("alerts")) == ({}, {}, 0)


def test_the_batchs_own_counts_take_the_place_of_ours(rig: Callable[..., Rig]) -> None:
    r = rig(schedule="@hourly")
    put(r, "orders", "metric", "2024-02-25", 24 * 5)
    put(r, "young", "metric", "2024-02-29T20:00", 4)
    columns = {"METRIC_NAME": ["orders", "x"], "n_metric": [7, 1], "n_score": ["5", "1"], "n_alert": [3, 1]}
    counts = pd.DataFrame({**columns, "metric_batch": ["b", "another"]})
    found = summarise(r.spec, at(AS_OF), r.store, counts)
    assert found.metrics == {"orders": MetricSummary(values=7, scores=5, alerts=3)}
    # What was not evaluated is no matter of counts.
    assert found.not_evaluated == {"orders": "no score", "young": "learning 4/14"}
    everything = summarise(r.spec, at(AS_OF), r.store, counts.drop(columns="metric_batch"))
    assert set(everything.metrics) == {"orders", "x"}
    assert summarise(r.spec, at(AS_OF), r.store, counts.iloc[:0]).metrics == {}


def test_counts_that_are_none_are_refused(rig: Callable[..., Rig]) -> None:
    r = rig()
    counts = pd.DataFrame({"metric_name": ["orders"], "n_metric": [7], "n_score": [5], "n_alert": ["many"]})
    with pytest.raises(CountsRefused, match="summary_sql: n_alert of metric 'orders' is not a number"):
        summarise(r.spec, at(AS_OF), r.store, counts)
    with pytest.raises(CountsRefused, match="no column n_score, n_alert; it has metric_name, n_metric"):
        summarise(r.spec, at(AS_OF), r.store, counts[["metric_name", "n_metric"]])


def test_the_worst_come_first() -> None:
    quiet, loud = BatchSummary("a", at(AS_OF)), BatchSummary("b", at(AS_OF), {"m": MetricSummary(alerts=2)})
    broken = BatchSummary("c", at(AS_OF), problem="could not be read")
    assert worst_first([quiet, loud, broken]) == [broken, loud, quiet]
