"""A batch, its table in a DuckDB file and its models in a folder, all real."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from anomstack_provider.artifacts.model_store import ModelStore, open_model_store
from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.runtime.window import RunWindow
from anomstack_provider.store.hooks import EmbeddedDuckDBHook
from anomstack_provider.store.metric_store import MetricStore


def at(text: str) -> datetime:
    """An aware UTC time."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@dataclass
class Rig:
    """What a step is called with."""

    spec: BatchSpec
    store: MetricStore
    models: ModelStore
    folder: Path

    def put(self, name: str, values: np.ndarray, start: str = "2024-01-01", freq: str = "1D") -> None:
        """Store a metric's values, one per bucket."""
        times = pd.date_range(start, periods=len(values), freq=freq).astype("datetime64[us]")
        columns = {"metric_name": name, "metric_type": "metric", "metric_timestamp": times, "metric_value": values}
        self.store.replace(pd.DataFrame({**columns, "metadata": None}))

    def rows(self, kind: str) -> pd.DataFrame:
        """All stored rows of a type."""
        return self.store.read([kind], since=None, until=at("2100-01-01"))

    def window(self, start: str, end: str) -> RunWindow:
        return RunWindow(at(start), at(end))


@pytest.fixture
def rig(tmp_path: Path) -> Callable[..., Rig]:
    def build(**keys: Any) -> Rig:
        config = {"metric_batch": "b", "ingest_sql": "select 1", "schedule": "@daily", "train_cron_schedule": "@daily"}
        spec = BatchSpec.model_validate({**config, **keys})
        store = MetricStore(EmbeddedDuckDBHook(tmp_path / "metrics.duckdb"), spec.table_key, spec.metric_batch)
        return Rig(spec, store, open_model_store("models", str(tmp_path)), tmp_path)

    return build


def noise(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(100, 5, n)
