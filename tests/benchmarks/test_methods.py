"""What is compared: baselines look at the past only, previews are the product's, the table shows them side by side."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.detection import product, synthetic
from benchmarks.detection.baselines import BASELINES
from benchmarks.detection.dataset import Dataset
from benchmarks.detection.figures import at_budget
from benchmarks.detection.judged import judge
from benchmarks.detection.run import baseline

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("step", [300.0, 3600.0, 86_400.0])
def test_no_score_changes_when_the_future_does(name: str, step: float):
    rng = np.random.default_rng(1)
    times = pd.date_range("2024-01-01", periods=3000, freq=pd.Timedelta(seconds=step)).to_numpy()
    values = rng.normal(100, 5, 3000)
    cut = 2500
    other = values.copy()
    other[cut:] = 1e9 * rng.random(500)
    score = BASELINES[name]
    np.testing.assert_array_equal(
        score(times, values, step, "a")[:cut],
        score(times, other, step, "a")[:cut],
    )
    np.testing.assert_array_equal(
        score(times, values, step, "a")[:cut], score(times[:cut], values[:cut], step, "a"), strict=True
    )


@pytest.mark.parametrize("name", ["EWMA chart", "seasonal naive"])
def test_a_baseline_sees_a_spike_also_after_a_flat_line(name: str):
    times = pd.date_range("2024-01-01", periods=1000, freq="h").to_numpy()
    for values in (np.full(1000, 7.0), 100 + 10 * np.sin(np.arange(1000) * 2 * np.pi / 24)):
        spiked = values.copy()
        spiked[900] += 80
        scores = BASELINES[name](times, spiked, 3600.0, "a")
        assert int(np.nanargmax(scores[:901])) == 900
        assert np.isfinite(scores[600:]).all()


def test_baselines_find_more_than_noise():
    data = synthetic.generate("hourly").head(12)
    recall = {name: at_budget(judge(baseline(name, data), data.labels), 1.0)[1].recall for name in BASELINES}
    assert recall["EWMA chart"] > recall["random"] + 0.2
    assert recall["seasonal naive"] > recall["random"]


def test_ours_sets_nothing_and_the_compatible_recipe_sets_upstreams_models():
    assert product.settings(product.OURS) == {}
    models = product.settings(product.COMPATIBLE)["model_configs"]
    assert [model["model_name"] for model in models] == ["PCA", "KNN"]


def test_a_preview_scores_every_judged_bucket_of_a_batch():
    data = synthetic.generate("daily").head(6)
    start = pd.Timestamp(next(iter(data.labels.values()))["score_from"])
    (batch,) = Dataset(
        "short", data.rows[data.rows["timestamp"] < start + pd.Timedelta(days=20)].reset_index(drop=True), data.labels
    ).batches()
    found = product.preview(product.OURS, batch)
    assert found.columns.tolist() == ["series", "timestamp", "score", "alerted"]
    pd.testing.assert_frame_equal(
        found[["series", "timestamp"]], batch.rows[["series", "timestamp"]], check_dtype=False
    )
    judged = found["timestamp"] >= start
    assert found.loc[judged, "score"].notna().mean() > 0.9
    assert found.loc[~judged, "score"].isna().all()
    assert set(found["alerted"]) <= {0, 1}


@pytest.mark.timeout(300)
def test_the_command_prints_the_methods_side_by_side_and_writes_what_the_yardstick_reads(tmp_path: Path):
    command = [sys.executable, "-m", "benchmarks.detection", "daily", "--series", "2", "--jobs", "1"]
    command += ["--only", "ours", "--only", "EWMA chart", "--scores", str(tmp_path / "scores")]
    command += ["--markdown", str(tmp_path / "table.md")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    text = (tmp_path / "table.md").read_text()
    assert text.strip() in done.stdout
    header = next(line for line in text.splitlines() if line.startswith("|"))
    assert [cell.strip() for cell in header.strip("|").split("|")] == ["", "ours", "EWMA chart"]
    assert all(f"| {row}" in text for row in ("recall at 0.1", "AUC-PR", "VUS-PR", "NAB standard, deduped", "CPU s"))
    assert sorted(path.name for path in (tmp_path / "scores").iterdir()) == [
        "synthetic_daily_dev_EWMA_chart.csv",
        "synthetic_daily_dev_labels.json",
        "synthetic_daily_dev_ours.csv",
    ]
