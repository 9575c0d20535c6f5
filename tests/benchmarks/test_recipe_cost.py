"""The speed benchmark measures what it says: all sides score the same buckets and write what they are said to."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import recipe_cost
from benchmarks.recipe_cost import NEWEST, POINTS, SIDES, Cost

ROOT = Path(__file__).parents[2]


def test_series_end_with_the_buckets_to_score():
    frame = recipe_cost.series(3)
    times = frame.groupby("metric_name")["metric_timestamp"]
    assert times.size().tolist() == [POINTS + NEWEST] * 3
    assert (frame["metric_timestamp"] >= recipe_cost.TICK.replace(tzinfo=None)).sum() == 3 * NEWEST
    assert np.isfinite(frame["metric_value"]).all()


@pytest.mark.parametrize("side", SIDES)
def test_each_side_scores_the_newest_buckets_of_every_metric(side: str):
    cost = recipe_cost.measure(side, metrics=4, shard=3)
    assert cost.scores == 4 * NEWEST
    assert cost.cpu > cost.table_cpu >= 0
    assert cost.memory >= cost.before > 0
    # One pickle per metric; ours: a bundle and its manifest per shard.
    assert cost.objects == {"plain recipe": 4, "PyOD alone": 0}.get(side, 4)
    assert (cost.bytes > 0) == (cost.objects > 0)


def test_the_command_measures_a_side_in_a_process_of_its_own():
    cost = recipe_cost.apart("ours", metrics=2, shard=1000)
    assert cost.scores == 2 * NEWEST
    text = recipe_cost.report(2, {"plain recipe": Cost(8, 1, 0, 1, 1, 2, 5, 50), "ours": Cost(2, 1, 0, 1, 1, 2, 5, 50)})
    assert "4.00 times the CPU" in text
    done = subprocess.run(
        [sys.executable, "benchmarks/recipe_cost.py", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "--metrics" in done.stdout
