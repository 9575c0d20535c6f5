"""Includes that are not there, as the command line and the health task name them."""

from __future__ import annotations

from pathlib import Path

import pytest
from airflow.providers.common.compat.sdk import AirflowException

from anomstack_provider.cli import main
from anomstack_provider.config.includes import missing_includes
from anomstack_provider.config.loader import load_batches
from anomstack_provider.operators.health import AnomstackHealthOperator

SALES = """\
metric_batch: sales
train_sql: "{% include './defaults/sql/train.sql' %}"
ingest_sql: |
  {% include "sales/there.sql" %}
  {% include "gone.sql" %} {% include "may_be.sql" ignore missing %} {% include which ~ ".sql" %}
"""
NAMED = [
    "sales.yaml:3: ingest_sql: include of 'gone.sql' cannot be read; paths start at the metrics folder",
    "sales.yaml:3: ingest_sql: include of '../out.sql' cannot be read; paths start at the metrics folder",
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "metrics"
    (folder / "sales").mkdir(parents=True)
    (folder / "sales.yaml").write_text(SALES)
    (folder / "sales" / "there.sql").write_text("{% include '../out.sql' %}")
    (tmp_path / "out.sql").write_text("SELECT 1")  # there, but outside of the folder
    off = "metric_batch: off\ndisable_batch: true\ningest_sql: \"{% include 'gone_too.sql' %}\"\n"
    (folder / "off.yaml").write_text(off)
    return folder


def test_validation_names_file_line_and_key(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "--metrics-dir", str(folder)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("error")] == [f"error   {problem}" for problem in NAMED]

    (folder / "gone.sql").write_text("SELECT 2")
    (folder / "sales" / "there.sql").write_text("SELECT 1")
    assert main(["validate", "--metrics-dir", str(folder)]) == 0


def test_the_health_task_names_them_too(folder: Path) -> None:
    with pytest.raises(AirflowException) as failed:
        AnomstackHealthOperator(task_id="check", metrics_dir=str(folder)).execute({})
    assert str(failed.value).splitlines() == NAMED


def test_a_folder_without_a_batch_is_said_to_be_empty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "--metrics-dir", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"warning there is no metric batch in {tmp_path}\n"


def test_a_prompt_that_is_not_used_may_lack_its_file(tmp_path: Path) -> None:
    text = "metric_batch: b\nschedule: '@daily'\ningest_sql: SELECT 1\nprompt_fn: '{% include \"./own/prompt.py\" %}'\n"
    (tmp_path / "b.yaml").write_text(text, "utf-8")
    assert missing_includes(load_batches(tmp_path, environ={})) == []
    (tmp_path / "b.yaml").write_text(text + "disable_llmalert: false\nllmalert_conn_id: x\n", "utf-8")
    (problem,) = missing_includes(load_batches(tmp_path, environ={}))
    assert "b.yaml:4: prompt_fn: include of './own/prompt.py' cannot be read" in problem
