"""Metrics that are fitted at the same time become the models that they become one by one."""

from __future__ import annotations

import multiprocessing
from dataclasses import astuple
from datetime import UTC, datetime
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest

from anomstack_provider.config.spec import BatchSpec, PreprocessParams
from anomstack_provider.detection import pipeline
from anomstack_provider.detection.series import Series
from anomstack_provider.steps.training import History, Trained, train_batch

TICK = datetime(2024, 2, 1, tzinfo=UTC)
MODELS = [{"model_name": name} for name in ("PCA", "KNN", "IForest")]
RECIPE = PreprocessParams()
WANTED = np.arange(200, 300)


def series() -> dict[str, Series]:
    """Eight metrics: one too young, one that no detector takes, one flat."""
    times = pd.date_range("2024-01-01", periods=300, freq="1h").to_numpy().astype("datetime64[us]")
    rng = np.random.default_rng(4)
    made = {f"m{number}": Series(times, rng.normal(100, 5, 300)) for number in range(5)}
    made["young"] = Series(times[-5:], np.ones(5))
    made["huge"] = Series(times, rng.choice([-1.7e308, 1.7e308], 300))
    return {**made, "flat": Series(times, np.full(300, 7.0))}


def trained(jobs: int) -> Trained:
    batch = {"metric_batch": "b", "ingest_sql": "-", "schedule": "@hourly", "model_configs": MODELS}
    histories = {name: History(points) for name, points in series().items()}
    return train_batch(BatchSpec.model_validate({**batch, "train_n_jobs": jobs}), histories, TICK)


def test_the_models_are_the_same_to_the_bit() -> None:
    alone, together = trained(1), trained(2)
    assert together.outcomes == alone.outcomes
    assert together.outcomes["huge"].startswith("failed: CannotFit: PCA: ")
    assert together.outcomes["young"] == "learning 5/14"
    assert list(together.models) == ["m0", "m1", "m2", "m3", "m4", "flat"]
    for name, points in series().items():
        if name in alone.models:
            one, two = (pipeline.score(t.models[name], points, WANTED, RECIPE, "mean") for t in (alone, together))
            assert all(np.array_equal(a, b) for a, b in zip(astuple(one), astuple(two), strict=True))


def test_one_process_per_processor_if_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Parallel(joblib.Parallel):
        def __init__(self, *args: Any, **keys: Any) -> None:
            super().__init__(*args, **keys)
            asked.append(joblib.effective_n_jobs(self.n_jobs))

    monkeypatch.setattr(joblib, "Parallel", Parallel)
    trained(-1)
    assert asked == [joblib.cpu_count()]


def test_a_process_that_may_have_no_children_fits_by_itself() -> None:
    alone = multiprocessing.get_context("fork").Process(target=_same_as_one, daemon=True)
    alone.start()
    alone.join(120)
    assert alone.exitcode == 0


def _same_as_one() -> None:
    with pytest.warns(UserWarning, match="setting n_jobs=1"):
        outcomes = trained(2).outcomes
    assert outcomes == trained(1).outcomes
