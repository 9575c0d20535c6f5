"""Operators as a task runs them, without a scheduler: rendered with the DAG's environment, then executed."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.api.datamodels._generated import DagRun
from airflow.sdk.execution_time.context import MacrosAccessor, OutletEventAccessors


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@dataclass
class TaskInstance:
    """The border to Airflow's API: what a task pushes, and what tasks before it left."""

    pushed: dict[str, Any] = field(default_factory=dict)
    left_by: dict[str, Any] = field(default_factory=dict)

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[key] = json.loads(json.dumps(value))

    def xcom_pull(self, task_ids: str, key: str = "return_value") -> Any:
        left = self.left_by.get(task_ids)
        return left if key == "return_value" else (left or {}).get(key)


@dataclass(frozen=True)
class Emitted:
    """An asset event, as a task asks Airflow for it."""

    uri: str
    extra: dict[str, Any]


class Recorded(dict[str, list[Emitted]]):
    """The border to Airflow's record of asset events: those of the tasks that succeeded, by name of the alias."""

    def add(self, emitted: OutletEventAccessors) -> None:
        for alias, accessor in emitted.items():
            own = self.setdefault(alias.name, [])
            own += [Emitted(event.dest_asset_key.uri, event.extra) for event in accessor.asset_alias_events]


class Task:
    """One run of one operator."""

    def __init__(
        self,
        operator: Any,
        interval: tuple[str, str] | None = ("2024-03-05", "2024-03-06"),
        run_type: str = "scheduled",
        run_after: str = "2024-03-06T00:00:01",
        recorded: Recorded | None = None,
    ) -> None:
        start, end = (at(text) for text in interval) if interval else (None, None)
        fields: dict[str, Any] = {
            "dag_id": "d",
            "run_id": f"{run_type}__{run_after}",
            "logical_date": start,
            "data_interval_start": start,
            "data_interval_end": end,
            "run_after": at(run_after),
            "start_date": at(run_after),
            "end_date": None,
            "run_type": run_type,
            "state": "running",
            "consumed_asset_events": [],
        }
        if "partition_key" in DagRun.model_fields:  # Airflow 3.2 on
            fields["partition_key"] = None
        self.operator = operator
        self.ti = TaskInstance()
        self.recorded = Recorded() if recorded is None else recorded
        self.context: Any = {
            "inlet_events": [self.recorded.get(inlet.name, []) for inlet in operator.inlets],
            "outlet_events": OutletEventAccessors(),
            "dag_run": DagRun(**fields),
            "ti": self.ti,
            "macros": MacrosAccessor(),
            "params": {"shop": "north"},
        }
        if start is not None:  # else Airflow leaves these out
            self.context |= {"logical_date": start, "ds": f"{start:%Y-%m-%d}"}

    def run(self) -> Any:
        """Render as the task runner does, execute, and return what would become the XCom, through JSON."""
        dag = self.operator.dag
        self.operator.render_template_fields(self.context, dag.get_template_env())
        left = json.loads(json.dumps(self.operator.execute(self.context)))
        self.recorded.add(self.context["outlet_events"])
        return left


@pytest.fixture
def task() -> type[Task]:
    return Task


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The DuckDB file and the folder of models of one test, through the [anomstack] section."""
    path = tmp_path / "anomstack.duckdb"
    monkeypatch.setenv("AIRFLOW__ANOMSTACK__DUCKDB_PATH", str(path))
    monkeypatch.setenv("AIRFLOW__ANOMSTACK__MODEL_PATH", str(tmp_path / "models"))
    return path


@pytest.fixture
def operator(database: Path) -> Callable[..., Any]:
    """Return a function that makes an operator in a DAG of its own."""

    def make(cls: type[Any], **arguments: Any) -> Any:
        with DAG("d", schedule=None):
            return cls(task_id="t", **arguments)

    return make


@pytest.fixture
def metrics_dir(tmp_path: Path) -> Callable[..., str]:
    """Return a function that writes files of a metrics folder and returns the folder."""

    def write(**files: str) -> str:
        for name, text in files.items():
            stem, _, suffix = name.rpartition("_")
            path = tmp_path / "metrics" / f"{stem.replace('__', '/')}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text), "utf-8")
        return str(tmp_path / "metrics")

    return write
