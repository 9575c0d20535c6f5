"""
What `anomstack migrate --write` makes of the folder: run from its rows to its alerts, beside the folder as it is.

The series is that of test_folder_runs.py: a spike on 1 March. A batch of the written folder that asks for no models of
its own is judged by recipe seasonal, so its scores are other ones. What may not change is what is stored, which rules
judge it, and that the spike is told on its day and once.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from anomstack_provider.config.loader import load_batches
from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.migrate.folder import write_folder
from anomstack_provider.runtime.window import RunWindow
from anomstack_provider.steps.preview import fetch_history, preview
from anomstack_provider.wiring.fetch import fetch_outside_airflow
from tests.contract.conftest import FOLDER

START, SPIKE, END = datetime(2024, 2, 25, tzinfo=UTC), datetime(2024, 3, 1), datetime(2024, 3, 9, 6, tzinfo=UTC)
Told = list[tuple[str, str, str, datetime]]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("migrated") / "folder"
    write_folder(FOLDER, target)
    return target


def specs(folder: Path) -> dict[str, BatchSpec]:
    loaded = load_batches(folder, environ={})
    assert loaded.errors == []
    return {name: batch.spec for name, batch in loaded.batches.items()}


def run(folder: Path, batch: str, monkeypatch: pytest.MonkeyPatch) -> tuple[pd.DataFrame, Told]:
    """Return the points that a batch ingests by its own query, and what its runs of two weeks tell."""
    monkeypatch.setenv("AIRFLOW__ANOMSTACK__METRICS_DIR", str(folder))
    spec = specs(folder)[batch]
    rows, _ = fetch_history(spec, RunWindow(START, END), lambda part: fetch_outside_airflow(spec, part, str(folder)))
    points = rows.read(["metric"], since=None, until=END)
    found = preview(spec, RunWindow(START, END), rows)
    told = [(a.metric_name, a.kind, a.transition, a.bucket.replace(tzinfo=None)) for a in found.alerts]
    return points, sorted(told)
