"""A folder written for Anomstack loads unchanged; the files have its format and its oddities."""

from __future__ import annotations

from typing import Any

import pytest

DEFAULTS = """\
# default values to be applied to all batches unless overridden in metric batch specific yaml files.
db: "duckdb" # database type to use.
table_key: "tmp.metrics"
disable_batch: False
model_configs:
  - model_name: "PCA"
    model_tag: "pca_default"
    model_params:
      contamination: 0.01
preprocess_params:
  diff_n: 1
  smooth_n: 3
  lags_n: 5
  freq: null
  freq_agg: 'mean'
alert_methods: "email,slack"
alert_always: False
train_cron_schedule: "*/5 * * * *"
train_default_schedule_status: 'STOPPED'
llmalert_metric_rounding: -1
train_sql: >
  {% include "./defaults/sql/train.sql" %}
prompt_fn: >
  {% include "./defaults/python/prompt.py" %}
"""
SQL_BATCH = """\
# a basic minimal example of a batch
db: "bigquery"
table_key: "project.metrics.metrics"
disable_batch: False
metric_batch: "gsod"
model_path: "gs://bucket/models"
ingest_cron_schedule: "30 10 * * *"
train_cron_schedule: "*/180 * * * *" # every 3 hours
alert_methods: "email"
disable_llmalert: False
train_exclude_metrics:
  - "'temp max'"
  - wind
metric_tags:
  temp:
    team: weather
tholdalert_thresholds:
  temp: {upper: 45, lower: -30.5}
ingest_sql: >
  {% include "./examples/gsod/gsod.sql" %}
"""
FUNCTION_BATCH = """\
metric_batch: "prometheus-x"
db: "prometheus"
ingest_cron_schedule: "*/5 * * * *"
llmalert_cron_schedule: "*/60 * * * *"
prometheus_query_type: "query_range"  # "query" for instant
prometheus_start: "now-10m"
prometheus_end: "now"
prometheus_step: "30s"
prometheus_queries:
  - name: "load"
    query: "node_load1{mode!=\\"idle\\"}"
ingest_fn: >
  {% include "./examples/prometheus/prometheus.py" %}

"""
JINJA_BATCH = """\
disable_batch: True
metric_batch: "example_jinja"
ingest_sql: >
  {% set metrics = ['metric_1', 'metric_2'] %}
  select * from (
  {% for metric in metrics %}
  select get_current_timestamp() as metric_timestamp, '{{ metric }}' as metric_name, random() as metric_value
  {% if not loop.last %}union all{% endif %}
  {% endfor %}
  );
"""


@pytest.fixture
def anomstack(folder: Any) -> Any:
    folder.write("defaults/defaults.yaml", DEFAULTS)
    folder.write("defaults/sql/train.sql", "select 1")
    folder.write("examples/gsod/gsod.yaml", SQL_BATCH)
    folder.write("examples/gsod/gsod.sql", "select 1")
    folder.write("examples/prometheus/prometheus.yaml", FUNCTION_BATCH)
    folder.write("my.yml", JINJA_BATCH)
    return folder


def test_every_batch_loads(anomstack: Any):
    loaded = anomstack.load()
    assert loaded.errors == []
    assert loaded.warnings == ()
    assert {name: batch.disabled for name, batch in loaded.batches.items()} == {
        "gsod": False,
        "prometheus-x": False,
        "example_jinja": True,
    }


def test_values_are_those_written(anomstack: Any):
    gsod = anomstack.load().batches["gsod"].spec
    assert (gsod.db, gsod.table_key, gsod.model_path) == (
        "bigquery",
        "project.metrics.metrics",
        "gs://bucket/models",
    )
    assert gsod.alert_methods == ("email",)
    assert gsod.train_exclude_metrics == ("temp max", "wind")
    assert gsod.metric_tags == {"temp": {"team": "weather"}}
    assert (gsod.tholdalert_thresholds["temp"].upper, gsod.tholdalert_thresholds["temp"].lower) == (45, -30.5)
    assert gsod.train_default_schedule_status == "STOPPED"
    assert gsod.disable_llmalert is False
    assert [model.model_tag for model in gsod.model_configs] == ["pca_default"]
    assert gsod.train_sql == '{% include "./defaults/sql/train.sql" %}\n'


def test_a_cron_that_is_not_what_it_looks_like_is_a_warning(anomstack: Any):
    cron, thresholds, silent, built_in = anomstack.load().batches["gsod"].warnings
    assert cron == (
        "examples/gsod/gsod.yaml:8: train_cron_schedule: '*/180 * * * *' is '0 * * * *' to cron: "
        "minute 0 only, not "
        "every 180 minutes; for every 3 hours write '0 */3 * * *'"
    )
    assert "tholdalert_thresholds: no effect without disable_tholdalert: false" in thresholds
    assert "alert_methods: email sends nothing without email_to" in silent
    assert built_in.endswith("are not run (prompt_fn, train_sql); one of another name or folder is")


def test_keys_of_its_prometheus_examples_reach_the_function(anomstack: Any):
    spec = anomstack.load().batches["prometheus-x"].spec
    assert spec.prometheus_queries == ({"name": "load", "query": 'node_load1{mode!="idle"}'},)
    assert (spec.prometheus_query_type, spec.prometheus_step) == ("query_range", "30s")


def test_a_profile_of_variables_holds(anomstack: Any):
    environ = {
        "ANOMSTACK_IGNORE_EXAMPLES": "no",
        "ANOMSTACK_TABLE_KEY": "all.metrics",
        "ANOMSTACK_MODEL_PATH": "s3://bucket/models",
        "ANOMSTACK_GCP_PROJECT_ID": "project",
        "ANOMSTACK__PROMETHEUS_X__INGEST_DEFAULT_SCHEDULE_STATUS": "RUNNING",
        "ANOMSTACK__PROMETHEUS_X__ALERT_ALWAYS": "True",
        "ANOMSTACK__PROMETHEUS_X__INGEST_CRON_SCHEDULE": "*/30 * * * *",
        "ANOMSTACK__PROMETHEUS_X__ALERT_METHODS": "",
    }
    batches = anomstack.load(environ).batches
    assert batches["gsod"].spec.table_key == "project.metrics.metrics", "its own"
    assert batches["gsod"].spec.model_path == "s3://bucket/models"
    spec = batches["prometheus-x"].spec
    assert (spec.table_key, spec.gcp_project_id) == ("all.metrics", "project")
    assert (spec.ingest_default_schedule_status, spec.alert_always) == ("RUNNING", True)
    assert (spec.cron, spec.alert_methods) == ("*/30 * * * *", ())
