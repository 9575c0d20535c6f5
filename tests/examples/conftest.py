"""The repository's own metrics folder, its batches fetched and previewed as the command line does it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest

from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.runtime.window import RunWindow
from anomstack_provider.steps.preview import Preview, fetch_history, preview
from anomstack_provider.wiring.batches import load_spec
from anomstack_provider.wiring.fetch import fetch_outside_airflow
from tests.examples.services import Services, running

REPOSITORY = Path(__file__).resolve().parents[2]
METRICS = REPOSITORY / "metrics"


def window(start: str, end: str) -> RunWindow:
    return RunWindow(datetime.fromisoformat(start).replace(tzinfo=UTC), datetime.fromisoformat(end).replace(tzinfo=UTC))


def example(name: str) -> BatchSpec:
    return load_spec(name, str(METRICS))


def fetched(spec: BatchSpec, start: str, end: str) -> pd.DataFrame:
    """Return what the batch's query or function gives for a window."""
    return fetch_outside_airflow(spec, window(start, end), str(METRICS))


def previewed(spec: BatchSpec, history: str, start: str, end: str) -> Preview:
    """Ingest from ``history`` on, into memory, and replay a period."""
    whole = spec.model_copy(update={"history_start": None})  # that of the test, not the example's own
    rows, result = fetch_history(whole, window(history, end), lambda p: fetch_outside_airflow(spec, p, str(METRICS)))
    assert result.failed == {}
    return preview(spec, window(start, end), rows)


def opened(found: Preview) -> set[tuple[str, str, str]]:
    """Return (metric, bucket, direction) of the events that opened."""
    return {(alert.metric_name, f"{alert.bucket:%Y-%m-%d %H:%M}", alert.direction) for alert in found.opened}


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A DuckDB file and a folder of models of the test's own."""
    path = tmp_path / "anomstack.duckdb"
    monkeypatch.setenv("AIRFLOW__ANOMSTACK__DUCKDB_PATH", str(path))
    monkeypatch.setenv("AIRFLOW__ANOMSTACK__MODEL_PATH", str(tmp_path / "models"))
    monkeypatch.setenv("AIRFLOW__ANOMSTACK__METRICS_DIR", str(METRICS))
    return path


@pytest.fixture
def services(monkeypatch: pytest.MonkeyPatch) -> Iterator[Services]:
    """The services of the network examples, on loopback."""
    with running() as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        yield server
