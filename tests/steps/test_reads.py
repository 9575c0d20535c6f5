"""What one run reads of the metrics table, counted beside a preview."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest

from anomstack_provider.runtime.window import RunWindow
from anomstack_provider.steps import alert, score, train
from anomstack_provider.steps.preview import preview
from anomstack_provider.steps.reads import Counted, Read
from tests.steps.conftest import Rig, at, noise

DAY = timedelta(days=1)


@pytest.fixture
def batch(rig) -> Rig:  # type: ignore[no-untyped-def]
    one: Rig = rig(train_cron_schedule="@daily", disable_change=True)
    for number in range(6):
        one.put(f"m{number}", noise(90, number))
    return one


@pytest.mark.parametrize("shards", [1, 3])
def test_what_is_counted_is_what_the_tasks_of_that_run_read(batch: Rig, shards: int) -> None:
    spec = batch.spec.model_copy(update={"shards": shards})
    end = at("2024-03-31")
    counted = preview(spec, RunWindow(end - 5 * DAY, end), batch.store, keep_scores=False, count_reads=True).reads
    # A long run has scored what is before, and the last one, of a day, is watched.
    tasks = {job: Read() for job in ("train", "score", "alert")}
    for days, watched in ((60, {job: Read() for job in tasks}), (1, tasks)):
        window = RunWindow(end - days * DAY, end - (days > 1) * DAY)
        for shard in range(shards):
            within = {"shard": shard, "shards": shards}
            train.train(spec, window, Counted(batch.store, watched["train"]), batch.models, **within)
            score.score(spec, window, Counted(batch.store, watched["score"]), batch.models, **within)
        alert.alert(spec, window, Counted(batch.store, watched["alert"]), batch.models)

    assert counted["train"] == tasks["train"]
    for job in ("score", "alert"):
        assert counted[job].queries == tasks[job].queries
        # More: the buckets from which a metric is learned have no scores, nor has the run's own when it is read. Less:
        # the alerts that are stored.
        assert -6 <= counted[job].rows - tasks[job].rows <= 6 * (spec.train_min_n + 1), job
        assert 0.9 < counted[job].bytes / tasks[job].bytes < 1.2, job
    assert (counted["ingest"].rows, counted["ingest"].bytes) == (6, 6 * (len("m0") + len("metric") + 16))


def test_nothing_is_counted_unasked_and_counting_changes_no_alert(batch: Rig) -> None:
    values = noise(90, 0)
    values[-2] += 50
    batch.put("m0", values)
    period = RunWindow(at("2024-03-20"), at("2024-03-31"))
    plain = preview(batch.spec, period, batch.store)
    beside = preview(batch.spec, period, batch.store, count_reads=True)
    assert not plain.reads
    assert plain.alerts == beside.alerts
    assert plain.alerts
    assert plain.scores is not None
    assert beside.scores is not None
    assert np.array_equal(plain.scores["score"], beside.scores["score"], equal_nan=True)


def test_a_job_that_the_batch_does_not_have_reads_nothing(batch: Rig) -> None:
    spec = batch.spec.model_copy(update={"disable_train": True, "disable_ingest": True})
    period = RunWindow(at("2024-03-20"), at("2024-03-31"))
    assert set(preview(spec, period, batch.store, count_reads=True).reads) == {"score", "alert"}


def test_texts_count_in_bytes(batch: Rig) -> None:
    batch.put("größe 🎉", noise(3, 1), start="2024-03-01")
    read = Read()
    Counted(batch.store, read).read(["metric"], since=None, until=at("2024-04-01"), metrics=["größe 🎉"])
    assert (read.queries, read.rows, read.bytes) == (1, 3, 3 * (12 + len("metric") + 16))
