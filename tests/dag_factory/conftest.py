"""A metrics folder to fill, and DAG files as Airflow parses them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

SIMPLE = """
metric_batch: {name}
schedule: "@daily"
ingest_sql: SELECT now() AS metric_timestamp, 'm' AS metric_name, 1 AS metric_value
"""


class MetricsFolder:
    """A metrics folder on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)

    def write(self, name: str, text: str) -> Path:
        """Write a file below the folder, its text dedented."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), "utf-8")
        return path

    def batch(self, name: str, more: str = "") -> Path:
        """Write a batch that can run, with further keys."""
        return self.write(f"{name}.yaml", SIMPLE.format(name=json.dumps(name)) + textwrap.dedent(more))


@pytest.fixture
def folder(tmp_path: Path) -> MetricsFolder:
    return MetricsFolder(tmp_path / "metrics")


@pytest.fixture
def dags(folder: MetricsFolder) -> Callable[..., dict[str, Any]]:
    """Return the DAGs of the folder."""

    def generate(**options: Any) -> dict[str, Any]:
        from anomstack_provider import generate_dags

        return generate_dags(str(folder.path), **options)

    return generate


@pytest.fixture
def repository() -> Path:
    return REPOSITORY


@pytest.fixture
def in_new_process() -> Callable[..., Any]:
    """Return a function that runs Python code in a new process and returns what its last line prints as JSON."""

    def run(code: str, **environment: str) -> Any:
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code)],
            check=False,
            capture_output=True,
            text=True,
            env={**os.environ, **environment},
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run
