"""JSON Schema, the file of defaults, the tables of keys: all made from the declarations, none by hand."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from anomstack_provider.config.schema import defaults_yaml, json_schema, key_table
from anomstack_provider.config.spec import BatchSpec, check


def test_the_schema_is_a_schema():
    Draft202012Validator.check_schema(json_schema())


def test_the_schema_describes_every_key():
    schema = json_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert list(schema["properties"])[:3] == ["metric_batch", "description", "owner"]
    assert set(schema["properties"]) == set(BatchSpec.model_fields)
    for key, declared in schema["properties"].items():
        assert {"title", "description"} <= set(declared), key
        assert ("default" in declared) == (key != "metric_batch"), key
    assert schema["properties"]["completeness_delay"]["default"] == "0"
    assert schema["properties"]["shards"]["minimum"] == 1
    assert schema["properties"]["train_default_schedule_status"]["enum"] == ["STOPPED", "RUNNING", None]
    assert schema["required"] == ["metric_batch"]


def test_every_default_fits_the_schema():
    schema = json_schema()
    defaults = {key: declared["default"] for key, declared in schema["properties"].items() if "default" in declared}
    assert list(Draft202012Validator(schema).iter_errors({"metric_batch": "x", **defaults})) == []


EXAMPLE: dict[str, Any] = {
    "metric_batch": "sales",
    "ingest_sql": "select 1",
    "schedule": "@daily",
    "grain": "1d",
    "completeness_delay": "2h",
    "start_date": "2024-01-31",
    "alert_methods": "email,slack",
    "email_to": ["a@example.com"],
    "preprocess_params": {"lags_n": 3},
    "model_configs": [{"model_name": "PCA", "model_params": {"contamination": 0.01}}],
    "metric_tags": {"m": {"team": "x"}},
    "tholdalert_thresholds": {"m": {"upper": 3}},
    "train_exclude_metrics": ["a"],
    "holidays": ["US-CA", {"country": "DE", "action": ["suppress", {"treat_as": "monday"}], "tags": {"team": "x"}}],
    "events": [{"name": "sale", "start": "2024-11-29", "end": "2024-12-02T12:00", "yearly": True, "metrics": "m"}],
}


def test_what_the_loader_accepts_fits_the_schema():
    assert check(EXAMPLE)[1] == []
    assert list(Draft202012Validator(json_schema()).iter_errors(EXAMPLE)) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"alert_treshold": 1},
        {"alert_threshold": 80},
        {"shards": 0},
        {"train_n_jobs": 0},
        {"shards": "x"},
        {"grain": "15m"},
        {"preprocess_params": {"lag_n": 1}},
        {"model_configs": []},
        {"metric_batch": ""},
        {"model_combination_method": "median"},
        {"score_default_schedule_status": "ON"},
        {"tags": {"a": 1}},
        {"holidays": [{"contry": "DE"}]},
        {"events": [{"name": "x", "start": "2024-05-01", "action": {"treat": "sunday"}}]},
    ],
    ids=str,
)
def test_what_the_loader_refuses_does_not_fit_the_schema(wrong: dict[str, Any]):
    assert check({**EXAMPLE, **wrong})[1] != []
    assert list(Draft202012Validator(json_schema()).iter_errors({**EXAMPLE, **wrong})) != []


def test_the_file_of_defaults_is_the_one_made_of_the_declarations():
    """After a change of a key: write ``defaults_yaml()`` to the file."""
    assert files("anomstack_provider.config").joinpath("defaults.yaml").read_text("utf-8") == defaults_yaml()


def test_the_file_of_defaults_holds_every_key_but_the_name():
    assert set(yaml.safe_load(defaults_yaml())) == set(BatchSpec.model_fields) - {"metric_batch"}


@pytest.mark.parametrize(
    "keys",
    [
        "ingest_sql: select 1\n",
        "ingest_fn: x\nschedule: '@daily'\n",
        "ingest_sql: select 1\ningest_cron_schedule: '@daily'\ndisable_alerts: true\n",
        "ingest_sql: select 1\nllmalert_anomaly_agent_system_prompt: x\n",
    ],
)
def test_the_file_of_defaults_changes_nothing_in_a_folder(folder: Any, keys: str):
    folder.write("a.yaml", f"metric_batch: a\n{keys}")
    before = folder.load().batches["a"]
    folder.write("defaults/defaults.yaml", defaults_yaml())
    after = folder.load()
    assert after.errors == []
    assert after.batches["a"].spec == before.spec
    assert len(after.batches["a"].warnings) == len(before.warnings)
    assert after.batches["a"].spec.config_hash() == before.spec.config_hash()


def test_the_tables_have_a_line_for_every_key():
    table = key_table()
    for key in BatchSpec.model_fields:
        assert table.count(f"\n| `{key}` | ") == 1
    lines = table.splitlines()
    assert lines[:4] == ["### The batch", "", "| key | type | default | what it does |", "|---|---|---|---|"]
    for line in (
        "| `metric_batch` | text | needed | Name of the batch, unique in the folder. |",
        "| `tags` | list of text | empty | Tags of the DAG. |",
        "| `alert_methods` | list of text | `email, slack` | Channels that alerts go to. |",
        "| `history_chunk` | duration | `30d` | Length of the pieces in which history is loaded. |",
        "| `disable_ingest` | true or false | `false` | Do not ingest: another tool fills the metrics table. |",
        "| `summary_cron_schedule` | cron or preset | `0 9 * * *` | When the summary is sent. |",
        "| `disable_dashboard` | true or false | `false` | Leave the batch out of the dashboard. |",
    ):
        assert line in lines
    assert all(line.replace("\\|", "").count("|") == 5 for line in lines if line.startswith("|"))
