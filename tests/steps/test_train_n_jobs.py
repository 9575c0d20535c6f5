"""Metrics that are fitted at the same time become the models that they become one by one."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest

from anomstack_provider.artifacts.serialization import pack
from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.detection import pipeline
from anomstack_provider.detection.series import Series
from anomstack_provider.steps.training import Trained, train_batch

TICK = datetime(2024, 2, 1, tzinfo=UTC)
MODELS = [{"model_name": name} for name in ("PCA", "KNN", "IForest")]


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
    return train_batch(BatchSpec.model_validate({**batch, "train_n_jobs": jobs}), series(), TICK)


@pytest.mark.parametrize("jobs", [2, 5, -1])
def test_the_models_are_the_same_to_the_bit(jobs: int) -> None:
    alone, together = trained(1), trained(jobs)
    assert together.outcomes == alone.outcomes
    assert together.outcomes["huge"].startswith("failed: CannotFit: PCA: ")
    assert together.outcomes["young"] == "learning 5/14"
    assert list(together.models) == ["m0", "m1", "m2", "m3", "m4", "flat"]
    assert pack("{}", together.models) == pack("{}", alone.models)


def test_as_many_metrics_as_asked_for_are_fitted_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    meeting = threading.Barrier(3, timeout=60)  # passed by three at once, or broken
    fit: Callable[..., Any] = pipeline.fit

    def fit_with_two_others(*args: Any) -> Any:
        meeting.wait()
        return fit(*args)

    monkeypatch.setattr(pipeline, "fit", fit_with_two_others)
    known = {name: points for name, points in series().items() if name in ("m0", "m1", "m2")}
    batch = {"metric_batch": "b", "ingest_sql": "-", "schedule": "@hourly", "model_configs": MODELS}
    done = train_batch(BatchSpec.model_validate({**batch, "train_n_jobs": 3}), known, TICK)
    assert set(done.outcomes.values()) == {"trained"}


def test_the_filters_of_warnings_are_as_before() -> None:
    before = list(warnings.filters)
    trained(4)
    assert warnings.filters == before
