"""DAG files parsed in processes of their own: what they load, what they serialise to, and the examples that ship."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

NewProcess = Callable[..., Any]

# The DAGs of a folder as the scheduler stores them, and what was loaded to get there.
SERIALISE = """
    import json, sys
    from anomstack_provider import generate_dags
    before = set(sys.modules)
    found = generate_dags({folder!r})
    loaded = sorted({{name.partition(".")[0] for name in sys.modules}})
    from airflow.serialization import serialized_objects
    serialisation = getattr(serialized_objects, "DagSerialization", serialized_objects.SerializedDAG)
    from airflow.models.serialized_dag import SerializedDagModel
    dags = {{name: SerializedDagModel.hash(serialisation.to_dict(dag)) for name, dag in found.items()}}
    print(json.dumps({{"loaded": loaded, "dags": dags}}))
"""
IMPORT_FILE = """
    import json, sys
    from airflow.models import DagBag
    bag = DagBag({file!r}, {options})
    dags = {{dag_id: sorted(dag.task_ids) for dag_id, dag in bag.dags.items()}}
    print(json.dumps({{"errors": bag.import_errors, "dags": dags}}))
"""
HEAVY = {"duckdb", "matplotlib", "numpy", "pandas", "pyarrow", "pyod", "scipy", "sklearn", "sqlglot"}


@pytest.fixture
def full_folder(folder) -> Path:
    """A folder with a batch of every kind."""
    folder.batch("plain", "tags: [zebra, apple, mango]\nmetric_tags: {m: {b: 1, a: 2}}")
    folder.batch("sharded", "shards: 3\nconn_id: warehouse\nemail_to: a@example.com")
    folder.write("function.yaml", "metric_batch: function\ningest_fn: |\n  def ingest():\n    import pandas\n")
    folder.write("broken.yaml", "metric_batch: broken\nshards: 0\nretries: -1\n")
    folder.write("sub/twice.yaml", "metric_batch: twice\ningest_sql: SELECT 1\n")
    folder.write("sub/again.yaml", "metric_batch: twice\ningest_sql: SELECT 1\n")
    return folder.path


def test_two_processes_serialise_the_same_and_load_nothing_heavy(full_folder: Path, in_new_process: NewProcess) -> None:
    code = SERIALISE.format(folder=str(full_folder))
    first = in_new_process(code, PYTHONHASHSEED="1")
    second = in_new_process(code, PYTHONHASHSEED="2")
    assert set(first["loaded"]) & HEAVY == set()
    # A DAG whose hash changes from parse to parse gets a new version each time.
    assert first["dags"] == second["dags"]
    assert len(set(first["dags"].values())) == 9


def test_every_example_is_parsed_by_airflow_without_an_error(repository: Path, in_new_process: NewProcess) -> None:
    examples = sorted((repository / "example_dags").glob("*.py"))
    assert len(examples) == 5
    for file in examples:
        found = in_new_process(
            IMPORT_FILE.format(file=str(file), options="safe_mode=True"),
            AIRFLOW__ANOMSTACK__METRICS_DIR=str(repository / "metrics"),
            AIRFLOW__CORE__DAGS_FOLDER=str(file.parent),
        )
        assert found["errors"] == {}
        assert found["dags"], file.name
        if file.name == "anomstack_dags.py":
            generated = found["dags"]
    assert generated["anomstack_flights"] == ["alert", "ingest", "plot", "publish", "score", "train", "watch"]
