"""The folder of this room in Anomstack's form, run by Airflow's own task runner, and what came of it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG

FOLDER = Path(__file__).parent / "folder"
DAG_FILE = (
    "from airflow.sdk import dag\nfrom anomstack_provider import generate_dags\nglobals().update(generate_dags({!r}))\n"
)


@dataclass(frozen=True)
class Site:
    """An Airflow with the folder's DAGs, a database of its own and models of its own."""

    dags: dict[str, DAG]
    database: Path

    def run(self, batch: str, day: str) -> dict[str, str]:
        """Run a batch's DAG for the interval that begins on a day; return the states of its tasks."""
        from airflow.settings import engine
        from sqlalchemy import text

        dag = self.dags[f"anomstack_{batch}"]
        run = dag.test(logical_date=datetime.fromisoformat(day).replace(tzinfo=UTC))
        with engine.connect() as connection:
            found = connection.execute(
                text("SELECT task_id, state FROM task_instance WHERE dag_id = :dag AND run_id = :run"),
                {"dag": dag.dag_id, "run": run.run_id},
            ).fetchall()
        return {task: state for task, state in found}

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Ask the metrics database."""
        import duckdb

        with duckdb.connect(str(self.database)) as connection:
            return connection.execute(sql).fetchall()


@pytest.fixture(scope="session")
def dags_folder() -> Path:
    """The DAGs folder of this process's Airflow home, beside a database."""
    done = subprocess.run(
        [sys.executable, "-m", "airflow", "db", "migrate"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    folder = Path(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def make_site(dags_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], Site]]:
    """Return a function that gives an Airflow with the DAGs of a metrics folder; alerts go by mail."""
    monkeypatch.setenv("AIRFLOW__ANOMSTACK__DUCKDB_PATH", str(tmp_path / "anomstack.duckdb"))
    monkeypatch.setenv("AIRFLOW__ANOMSTACK__MODEL_PATH", str(tmp_path / "models"))
    monkeypatch.setenv("AIRFLOW__ANOMSTACK__EMAIL_TO", "team@example.com")
    for batch in ("NETWORK", "KEY", "WAREHOUSE"):
        monkeypatch.setenv(f"ANOMSTACK__{batch}__RETRIES", "0")  # else dag.test() waits for the second try
    path = dags_folder / "contract_dags.py"

    def make(folder: Path) -> Site:
        path.write_text(DAG_FILE.format(str(folder)), "utf-8")
        names: dict[str, Any] = {"__file__": str(path), "__name__": "contract_dags"}
        exec(compile(path.read_text("utf-8"), str(path), "exec"), names)
        dags = {name: value for name, value in names.items() if isinstance(value, DAG)}
        return Site(dags, tmp_path / "anomstack.duckdb")

    yield make
    path.unlink(missing_ok=True)
    # What ``dag.test()`` of Airflow 3.1 leaves: the wish to see one DAG alone in every file parsed later.
    for name in ("_AIRFLOW_PARSING_CONTEXT_DAG_ID", "_AIRFLOW_PARSING_CONTEXT_TASK_ID"):
        os.environ.pop(name, None)


@pytest.fixture
def site(make_site: Callable[[Path], Site]) -> Site:
    """The folder as it is."""
    return make_site(FOLDER)
