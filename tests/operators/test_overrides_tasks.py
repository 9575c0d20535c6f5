"""The tasks of a batch that overrides its steps: from a metrics folder, with includes, to the mail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from anomstack_provider import (
    AnomstackAlertOperator,
    AnomstackIngestOperator,
    AnomstackScoreOperator,
    AnomstackTrainOperator,
)
from anomstack_provider.runtime.airflow_compat import AirflowFailException
from tests.operators.test_steps_operators import HISTORY

BATCH = """
metric_batch: b
schedule: "@daily"
train_cron_schedule: "@weekly"
model_configs: [{model_name: KNN}]
alert_smooth_n: 0
alert_snooze_n: 0
alert_always: true
disable_change: true
alert_methods: email
email_to: team@example.com
train_min_n: 10
ingest_sql: "{% include './own/ingest.sql' %}"
train_sql: "{% include './own/rows.sql' %}"
score_sql: "{% include './own/rows.sql' %} and metric_name <> 'orders'"
preprocess_fn: "{% include './own/features.py' %}"
alert_sql: |
  select metric_timestamp, metric_name, metric_value as metric_score, metric_value > 0.99 as metric_alert
  from {{ table_key }} where metric_batch = '{{ metric_batch }}' and metric_type = 'score'
"""
ROWS = """
select metric_timestamp, metric_name, metric_value from {{ table_key }}
where metric_batch = '{{ metric_batch }}' and metric_type = 'metric' and metric_timestamp < '{{ as_of }}'
"""
FEATURES = """
def preprocess(df, **rest):
    return df.set_index("metric_timestamp")[["metric_value"]]
"""
DAY = ("2024-03-05", "2024-03-06")


@pytest.fixture
def tasks(metrics_dir: Any, operator: Any, task: Any) -> Any:
    """Run a step of the batch as its task does; ``features`` is its preprocess_fn."""

    def run(cls: type[Any], features: str = FEATURES) -> Any:
        files = {"own__ingest_sql": HISTORY, "own__rows_sql": ROWS, "own__features_py": features}
        folder = metrics_dir(b_yaml=BATCH, **files)
        return task(operator(cls, metric_batch="b", metrics_dir=folder), DAY).run()

    return run


def test_every_task_works_on_the_batch_s_own_rows(tasks: Any, mails: list[Any]) -> None:
    tasks(AnomstackIngestOperator)
    assert tasks(AnomstackTrainOperator)["outcomes"] == {"trained": 3}
    scored = tasks(AnomstackScoreOperator)
    assert scored["outcomes"] == {"left out by score_sql": 1, "scored": 2}
    assert scored["not_evaluated"] == {"orders": "left out by score_sql"}
    told = tasks(AnomstackAlertOperator)
    assert told["transitions"] == {"opened": 1, "routine": 1}
    subjects = sorted(str(mail["Subject"]) for mail in mails)
    assert subjects[0].startswith("[HIGH] b · calls ")
    assert subjects[1].startswith("[ROUTINE] b · it's / 🎉 ")
    tasks(AnomstackAlertOperator)
    assert len(mails) == 2, "sent once"


def test_a_function_that_fails_is_named_by_the_task(tasks: Any) -> None:
    tasks(AnomstackIngestOperator)
    with pytest.raises(AirflowFailException) as caught:
        tasks(AnomstackTrainOperator, FEATURES + "\n\ndef preprocess(df):\n    return df['no such column']\n")
    said = "calls: OwnFeaturesError: b: preprocess_fn: metric 'calls': line 7: KeyError: 'no such column'"
    assert said in str(caught.value)
    assert "3 of 3 metrics failed" in str(caught.value)


def test_a_batch_in_the_dag_file_includes_from_the_folder_it_names(tmp_path: Path) -> None:
    (tmp_path / "rows.sql").write_text("select 1")
    config = {"metric_batch": "b", "ingest_sql": "select 1", "train_sql": "{% include './rows.sql' %}"}
    one = AnomstackTrainOperator(task_id="train", config=config, metrics_dir=str(tmp_path))
    assert one.spec.render("train_sql") == "select 1"
