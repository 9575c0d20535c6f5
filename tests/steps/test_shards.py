"""A batch of several shards is worked through one after the other, and gives what it gives as a whole."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.detection import feedback
from anomstack_provider.runtime.window import RunWindow
from anomstack_provider.steps.alert import AlertResult, alert
from anomstack_provider.steps.groups import groups_of
from anomstack_provider.steps.overlay import MemoryRows, NoModels
from anomstack_provider.steps.preview import Preview, preview
from anomstack_provider.steps.score import score
from anomstack_provider.steps.training import shard_of
from tests.steps.conftest import at
from tests.steps.test_replay import CASES, END_OF_TIME, Case, store

DAY = timedelta(days=1)
TYPES = ["metric", "score", "alert", "tholdalert", "change"]


@pytest.mark.parametrize("make", CASES, ids=lambda make: make.__name__)
def test_a_preview_of_shards_is_that_of_the_whole(make: Callable[[], Case]) -> None:
    case = make()
    rows = MemoryRows()
    store(case, rows)
    whole, kept, forgotten = (
        preview(spec, case.period, rows, keep_scores=keep)
        for spec, keep in ((case.spec, True), (in_shards(case.spec), True), (in_shards(case.spec), False))
    )

    assert len(groups_of(in_shards(case.spec), rows, END_OF_TIME)) > 1
    assert told(whole) == told(kept) == told(forgotten)
    pd.testing.assert_frame_equal(whole.scores, kept.scores, check_exact=True)
    assert forgotten.scores is None
    pd.testing.assert_frame_equal(everything(whole.rows), everything(kept.rows), check_exact=True)
    assert not len(forgotten.rows.read(["score"], since=None, until=END_OF_TIME))


def in_shards(spec: BatchSpec, shards: int = 7) -> BatchSpec:
    return spec.model_copy(update={"shards": shards})


def told(found: Preview) -> Any:
    return found.alerts, [str(one) for one in found.stopped], found.outcomes(), found.result


def everything(rows: Any) -> pd.DataFrame:
    found: pd.DataFrame = rows.read(TYPES, since=None, until=END_OF_TIME)
    return found.reset_index(drop=True)


# --- a source that is down: the whole batch is late, and only all of its metrics together tell ------------------------

DOWN = pd.Timestamp("2024-03-20")


def outage(metrics: int = 12) -> tuple[BatchSpec, MemoryRows]:
    """Daily metrics that all end on one day but for one that ended before, and one of another source."""
    keys = {"schedule": "@daily", "train_cron_schedule": "@weekly", "alert_always": True, "freshness": "2d"}
    gates = {"metric_settings": {"m1": {"alert_gates": {"guardrail": {"metric": "m2"}}}}}
    spec = BatchSpec.model_validate({"metric_batch": "b", "ingest_sql": "select 1", **keys, **gates})
    rows = MemoryRows()
    days = pd.date_range("2024-01-01", "2024-04-01", inclusive="left").astype("datetime64[us]")
    for number in range(metrics):
        until = {0: DOWN - 6 * DAY, 1: days[-1] + DAY}.get(number, DOWN)
        values = 100 + np.random.default_rng(number).normal(size=len(days))
        values[70 + number % 9] += 40
        frame = pd.DataFrame({"metric_name": f"m{number}", "metric_timestamp": days, "metric_value": values})
        rows.replace(frame[days < until].assign(metric_type="metric", metadata=None))
    return spec, rows


def run(spec: BatchSpec, rows: MemoryRows, first: str = "2024-03-08", last: str = "2024-03-28") -> list[AlertResult]:
    """Score and alert day by day."""
    found = []
    for day in map(at, pd.date_range(first, last).strftime("%Y-%m-%d")):
        window = RunWindow(day - DAY, day)
        for shard in range(spec.shards):
            score(spec, window, rows, NoModels(), shard=shard, shards=spec.shards)
        found.append(alert(spec, window, rows, NoModels()))
    return found


def test_an_outage_of_the_batch_is_one_event_whatever_the_shards() -> None:
    (spec, whole), (_, split) = outage(), outage()
    said = feedback.to_metadata(feedback.Verdict("real", at("2024-03-21"), at("2024-03-23")), ())
    verdict = {"metric_name": "b", "metric_type": feedback.ROW_TYPES["real"], "metric_value": 1.0, "metadata": said}
    for rows in (whole, split):
        frame = pd.DataFrame([{**verdict, "metric_timestamp": pd.Timestamp("2024-03-21")}])
        rows.replace(frame.astype({"metric_timestamp": "datetime64[us]"}))

    expected, found = run(spec, whole), run(in_shards(spec, 5), split)

    for one, other in zip(expected, found, strict=True):
        assert (one.alerts, one.missing, one.result) == (other.alerts, other.missing, other.result)
        assert [str(stop) for stop in one.stopped] == [str(stop) for stop in other.stopped]
    of_batch = [a for result in expected for a in result.alerts if a.metric_name == "b"]
    assert len({a.event_id for a in of_batch}) == 1
    assert {a.kind for result in expected for a in result.alerts} >= {"anomaly", "late"}
    assert "routine" in {a.transition for result in expected for a in result.alerts}
    pd.testing.assert_frame_equal(everything(whole), everything(split), check_exact=True)


class Watched(MemoryRows):
    """Rows in memory that remember how many metrics each read of them returned, and how often they were read."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[int] = []

    def read(self, *types: Any, **limits: Any) -> pd.DataFrame:
        found = super().read(*types, **limits)
        self.seen.append(found["metric_name"].nunique())
        return found


def test_no_read_holds_more_than_a_shard_and_their_number_grows_with_the_shards_alone() -> None:
    reads = []
    for metrics in (40, 80):
        spec, rows = outage(metrics)
        watched = Watched()
        watched.replace(everything(rows))
        spec = in_shards(spec.model_copy(update={"metric_settings": {}}), 5)
        sizes = [0] * 5
        for number in range(metrics):
            sizes[shard_of(f"m{number}", 5)] += 1
        run(spec, watched, "2024-03-18", "2024-03-18")
        preview(spec, RunWindow(at("2024-03-01"), at("2024-03-18")), watched, keep_scores=False)
        # One of them may be the batch, on which people may have said something.
        assert max(watched.seen) <= max(sizes) + 1
        reads.append(len(watched.seen))
    assert reads[0] == reads[1]
