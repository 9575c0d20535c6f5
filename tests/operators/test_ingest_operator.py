"""The ingest task: templates, Python text, and what it says and stores when rows are wrong."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import Any

import pytest
from jinja2 import UndefinedError

from anomstack_provider import AnomstackIngestOperator
from anomstack_provider.config.errors import ConfigError, TemplateError
from anomstack_provider.runtime.airflow_compat import AirflowFailException
from anomstack_provider.runtime.user_function import UserFunctionError
from anomstack_provider.runtime.window import RunWindow
from anomstack_provider.steps.ingest import IngestError
from anomstack_provider.wiring.batches import BatchNotFound, load_spec
from anomstack_provider.wiring.fetch import fetch_outside_airflow
from tests.dag_fixtures import Query

STORED = "SELECT metric_timestamp, metric_name, metric_value FROM metrics WHERE metric_type = 'metric' ORDER BY ALL"


def config(**keys: Any) -> dict[str, Any]:
    return {"metric_batch": "b", "schedule": "@daily", **keys}


def select(*rows: str) -> str:
    values = ", ".join(f"({row})" for row in rows)
    return f"SELECT * FROM (VALUES {values}) AS v(metric_timestamp, metric_name, metric_value)"


# --- SQL -------------------------------------------------------------------------------------------------------------


def test_the_query_sees_the_window_the_batch_and_airflows_context(operator, task, query: Query) -> None:
    sql = """
        SELECT '{{ data_interval_start }}' AS metric_timestamp, 'ds' AS metric_name, {{ ds_nodash }} AS metric_value
        UNION ALL SELECT '{{ data_interval_end }}', '{{ params.shop }}', 1
        UNION ALL SELECT '{{ as_of }}', '{{ metric_batch }} {{ train_min_n }}', 2
        UNION ALL SELECT '{{ macros.ds_add(ds, 7) }}', '{{ ts }}', 3
    """
    ingest = operator(AnomstackIngestOperator, config=config(ingest_sql=sql, train_min_n=20))
    summary = task(ingest).run()
    assert query(STORED) == [
        (datetime(2024, 3, 5), "ds", 20240305.0),
        (datetime(2024, 3, 6), "b 20", 2.0),
        (datetime(2024, 3, 6), "north", 1.0),
        (datetime(2024, 3, 12), "2024-03-05T00:00:00+00:00", 3.0),
    ]
    assert summary == {
        "step": "ingest",
        "rows": 4,
        "metrics": 4,
        "outcomes": {"ingested": 4},
        "not_evaluated": {},
        "empty_values": 0,
        "duplicates": 0,
    }
    assert "'2024-03-05 00:00:00+00:00' AS metric_timestamp" in ingest.sql  # what the UI shows as rendered


@pytest.mark.parametrize("key", ["ingest_sql", "ingest_fn"])
def test_an_include_that_is_not_there_is_named_with_its_key(operator, task, metrics_dir, key: str) -> None:
    folder = metrics_dir(b_yaml=json.dumps({**config(), key: "{% include 'no/such.file' %}"}))
    ingest = operator(AnomstackIngestOperator, metric_batch="b", metrics_dir=folder)
    with pytest.raises(TemplateError, match=f"^b: {key}: include of 'no/such.file' cannot be read; paths start at"):
        task(ingest).run()


# What Anomstack's templates do with a key: they print it as the file has it, and ask whether there is a value at all.
ASKED = (
    "{{ alert_methods }} {{ ','.join(score_exclude_metrics) }} {{ history_start }} {{ preprocess_params.lags_n }}"
    "{% if gcp_project_id is defined %} in {{ gcp_project_id }}{% endif %}"
    "{% if train_exclude_metrics %} without{% endif %} {{ gcp_project_id | default('nowhere') }}"
)
ANSWERED = "email,slack 'a b' 2024-03-05 5 nowhere"


@pytest.mark.parametrize("key", ["ingest_sql", "ingest_fn"])
@pytest.mark.parametrize("is_airflow", [True, False])
def test_the_keys_are_as_written_and_one_without_a_value_can_be_asked_for(
    operator, task, query: Query, metrics_dir, key: str, is_airflow: bool
) -> None:
    text = {
        "ingest_sql": f"select date '2024-03-05' as metric_timestamp, $${ASKED}$$ metric_name, 1 as metric_value",
        "ingest_fn": "import pandas\n\ndef ingest():\n    return pandas.DataFrame({'metric_name': ["
        f'"""{ASKED}"""' + "], 'metric_timestamp': '2024-03-05', 'metric_value': 1})\n",
    }[key]
    keys = {"alert_methods": "email,slack", "score_exclude_metrics": ["'a b'"], "history_start": "2024-03-05"}
    folder = metrics_dir(b_yaml=json.dumps({**config(**keys), key: text}))
    if is_airflow:
        task(operator(AnomstackIngestOperator, metric_batch="b", metrics_dir=folder)).run()
        assert query(STORED) == [(datetime(2024, 3, 5), ANSWERED, 1.0)]
    else:
        window = RunWindow(datetime(2024, 3, 5, tzinfo=UTC), datetime(2024, 3, 6, tzinfo=UTC))
        assert fetch_outside_airflow(load_spec("b", folder), window, folder)["metric_name"].tolist() == [ANSWERED]


def test_a_key_without_a_value_is_not_printed_as_nothing(operator, task) -> None:
    sql = select("'2024-03-05', '{{ gcp_project_id }}', 1")
    with pytest.raises(UndefinedError, match="'gcp_project_id' has no value in this batch"):
        task(operator(AnomstackIngestOperator, config=config(ingest_sql=sql))).run()


def test_a_run_without_a_logical_date_has_dates_too(operator, task, query: Query) -> None:
    sql = "SELECT '{{ ds }}' AS metric_timestamp, '{{ logical_date }}' AS metric_name, 1 AS metric_value"
    ingest = operator(AnomstackIngestOperator, config=config(ingest_sql=sql))
    task(ingest, interval=None, run_type="manual", run_after="2024-03-06T13:37:00").run()
    assert query(STORED) == [(datetime(2024, 3, 5), "2024-03-05 00:00:00+00:00", 1.0)]


def test_includes_are_found_below_the_metrics_folder(operator, task, query: Query, metrics_dir) -> None:
    folder = metrics_dir(
        b_yaml="metric_batch: b\ningest_sql: |\n  {% include './deep/one.sql' %}\n",
        deep__one_sql="{% include 'deep/two.sql' %} WHERE '{{ ds }}' = '2024-03-05'",
        deep__two_sql=select("'2024-03-05', 'm', 1"),
    )
    task(operator(AnomstackIngestOperator, metric_batch="b", metrics_dir=folder)).run()
    assert len(query(STORED)) == 1


def test_the_configured_folder_is_searched_for_batch_and_includes(
    operator, task, query: Query, metrics_dir, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = metrics_dir(
        b_yaml="metric_batch: b\ningest_sql: '{% include \"one.sql\" %}'\n", one_sql=select("'2024-03-05', 'm', 1")
    )
    monkeypatch.setenv("AIRFLOW__ANOMSTACK__METRICS_DIR", folder)
    task(operator(AnomstackIngestOperator, metric_batch="b")).run()
    assert len(query(STORED)) == 1


def test_the_window_can_be_given_as_a_template(operator, task, query: Query) -> None:
    sql = select("'{{ data_interval_start }}', 'm', 1")
    ingest = operator(
        AnomstackIngestOperator,
        config=config(ingest_sql=sql),
        window_start="{{ macros.ds_add(ds, -7) }}",
        window_end="{{ ds }}T06:00:00+02:00",
    )
    task(ingest).run()
    assert query(STORED) == [(datetime(2024, 2, 27), "m", 1.0)]
    assert (ingest.window_start, ingest.window_end) == ("2024-02-27", "2024-03-05T06:00:00+02:00")


def test_history_is_asked_for_part_by_part(operator, task, query: Query) -> None:
    sql = select("'{{ data_interval_start }}', 'm', date_diff('day', DATE '{{ ds }}', DATE '{{ as_of }}')")
    sql = sql.replace("DATE '{{ as_of }}'", "'{{ as_of }}'::TIMESTAMP::DATE")
    keys = config(ingest_sql=sql, history_start="2024-01-01", history_chunk="30d")
    ingest = operator(AnomstackIngestOperator, config=keys)
    task(ingest).run()
    parts = [(datetime(2024, 1, 1), "m", 30.0), (datetime(2024, 1, 31), "m", 30.0), (datetime(2024, 3, 1), "m", 4.0)]
    assert query(STORED) == [*parts, (datetime(2024, 3, 5), "m", 1.0)]
    assert "2024-03-05 00:00:00+00:00" in ingest.sql


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({}, "give either metric_batch or config"),
        ({"metric_batch": "b", "config": {}}, "give either metric_batch or config"),
        ({"metric_batch": "b", "window_start": "2024-03-05"}, "give both window_start and window_end"),
    ],
)
def test_arguments_that_contradict_are_refused_when_the_dag_is_parsed(operator, arguments, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        operator(AnomstackIngestOperator, **arguments)


def test_an_unknown_or_broken_batch_is_named(operator, task, metrics_dir) -> None:
    folder = metrics_dir(
        bad_yaml="metric_batch: bad\nshards: 0\ningest_sql: SELECT 1\n",
        b_yaml="metric_batch: b\ningest_sql: SELECT 1\n",
    )
    with pytest.raises(BatchNotFound, match=r"no batch 'bade' in .*; there are: b"):
        task(operator(AnomstackIngestOperator, metric_batch="bade", metrics_dir=folder)).run()
    with pytest.raises(ConfigError, match=r"bad\.yaml:2: shards: "):
        task(operator(AnomstackIngestOperator, metric_batch="bad", metrics_dir=folder)).run()
    with pytest.raises(ConfigError, match=r"config: ingest_sgl: unknown key; did you mean 'ingest_sql'\?"):
        task(operator(AnomstackIngestOperator, config=config(ingest_sgl="SELECT 1"))).run()


# --- rows ------------------------------------------------------------------------------------------------------------


def test_one_bad_metric_fails_the_task_and_its_neighbours_are_stored(operator, task, query: Query) -> None:
    sql = select("'2024-03-05', 'good', 1", "'2024-03-05', 'endless', 'inf'::DOUBLE", "'no day', 'timeless', 2")
    run = task(operator(AnomstackIngestOperator, config=config(ingest_sql=sql)))
    with pytest.raises(AirflowFailException) as caught:
        run.run()
    assert "ingest of batch 'b': 2 of 3 metrics failed, the others are done" in str(caught.value)
    assert "  endless: row 2: metric_value is infinite: 2024-03-05, inf" in str(caught.value)
    assert "  timeless: row 3: metric_timestamp is not a time: no day" in str(caught.value)
    assert query(STORED) == [(datetime(2024, 3, 5), "good", 1.0)]
    assert run.ti.pushed["return_value"]["outcomes"] == {"failed": 2, "ingested": 1}
    assert set(run.ti.pushed["return_value"]["not_evaluated"]) == {"endless", "timeless"}


def test_a_missing_column_is_named(operator, task) -> None:
    sql = "SELECT 1 AS metric_timestamp, 'm' AS name, 1 AS metric_value"
    run = task(operator(AnomstackIngestOperator, config=config(ingest_sql=sql)))
    with pytest.raises(IngestError, match="no column metric_name; it has metric_timestamp, name, metric_value"):
        run.run()


def test_an_answer_without_rows_is_fine(operator, task, query: Query) -> None:
    sql = select("'2024-03-05', 'm', 1") + " WHERE false"
    assert task(operator(AnomstackIngestOperator, config=config(ingest_sql=sql))).run()["rows"] == 0
    assert query(STORED) == []


def test_again_leaves_the_same_rows(operator, task, query: Query) -> None:
    for value in (1, 1, 2):
        sql = select(f"'2024-03-05', 'm', {value}")
        task(operator(AnomstackIngestOperator, config=config(ingest_sql=sql))).run()
    assert query(STORED) == [(datetime(2024, 3, 5), "m", 2.0)]


# --- Python ----------------------------------------------------------------------------------------------------------

FUNCTION = """
import datetime as dt
from math import pi

import pandas as pd

FACTOR = 2


def helper(x):
    return x * FACTOR + dt.timedelta(0).days


class Holder:
    value = helper(pi)


def ingest(as_of, data_interval_start=None, metric="{{ metric_batch }}", **others):
    from dagster import get_dagster_logger

    get_dagster_logger().info("in Anomstack's way")
    values = [helper(i) for i in range(3)]
    return pd.DataFrame(
        {
            "metric_timestamp": [data_interval_start, as_of, as_of],
            "metric_name": [metric, "holder", __name__],
            "metric_value": [values[2], Holder.value, len(others)],
            "extra": 1,
        }
    )


if __name__ == "__main__":
    raise SystemExit("run by hand")
"""


def test_a_function_sees_its_whole_module_and_gets_the_window(operator, task, query: Query) -> None:
    summary = task(operator(AnomstackIngestOperator, config=config(ingest_fn=FUNCTION))).run()
    assert query(STORED) == [
        (datetime(2024, 3, 5), "b", 4.0),
        (datetime(2024, 3, 6), "anomstack_ingest", 0.0),
        (datetime(2024, 3, 6), "holder", 6.2832),
    ]
    assert summary["outcomes"] == {"ingested": 3}
    assert "dagster" not in sys.modules


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("def injest():\n    pass\n", r"b: ingest_fn: the text defines no function ingest\(\)"),
        ("def ingest():\n    return [1]\n", r"b: ingest_fn: ingest\(\) returned list, not a pandas DataFrame"),
        ("def ingest(shop):\n    pass\n", r"needs a value for 'shop'; give it a default, or use one of as_of"),
    ],
)
def test_a_function_that_cannot_be_used_is_explained(operator, task, text: str, complaint: str) -> None:
    with pytest.raises(UserFunctionError, match=complaint):
        task(operator(AnomstackIngestOperator, config=config(ingest_fn=text))).run()


def test_an_error_in_a_function_shows_its_own_lines(operator, task) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        task(operator(AnomstackIngestOperator, config=config(ingest_fn="def ingest():\n    return 1 / 0\n"))).run()
    last = caught.traceback[-1]
    assert (str(last.path), last.lineno + 1) == ("<b: ingest_fn>", 2)
