"""The folder of this room in Anomstack's form, run by Airflow's own task runner, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG

from tests.dag_fixtures import DAG_FILE, ran

FOLDER = Path(__file__).parent / "folder"


@dataclass(frozen=True)
class Site:
    """An Airflow with the folder's DAGs, a database of its own and models of its own."""

    dags: dict[str, DAG]
    database: Path

    def run(self, batch: str, day: str) -> dict[str, str]:
        """Run a batch's DAG for the interval that begins on a day; return the states of its tasks."""
        return ran(self.dags[f"anomstack_{batch}"], day)[1]

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Ask the metrics database."""
        import duckdb

        with duckdb.connect(str(self.database)) as connection:
            return connection.execute(sql).fetchall()


@pytest.fixture
def make_site(
    dags_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_parsing_context: None
) -> Iterator[Callable[[Path], Site]]:
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


@pytest.fixture
def site(make_site: Callable[[Path], Site]) -> Site:
    """The folder as it is."""
    return make_site(FOLDER)
