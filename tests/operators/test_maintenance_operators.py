"""The tasks that delete, draw and check, on a real DuckDB file and a folder of models; each as Airflow runs it."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest
from airflow.providers.common.compat.sdk import AirflowException
from PIL import Image

from anomstack_provider.operators.check import AnomstackCheckOperator
from anomstack_provider.operators.delete import AnomstackDeleteOperator
from anomstack_provider.operators.plot import AnomstackPlotOperator
from anomstack_provider.operators.score import AnomstackScoreOperator
from anomstack_provider.operators.summary import AnomstackSummaryOperator
from anomstack_provider.runtime.airflow_compat import AirflowFailException, AirflowSkipException
from anomstack_provider.steps import plot
from anomstack_provider.store.hooks import EmbeddedDuckDBHook
from anomstack_provider.store.ledger import Delivery, DeliveryLedger
from anomstack_provider.store.metric_store import MetricStore
from tests.operators.conftest import Task, at

Make = Callable[..., Any]
BASE = {"metric_batch": "web", "schedule": "@daily", "ingest_sql": "SELECT 1", "train_cron_schedule": "@daily"}


def put(database: Path, days: int = 60, name: str = "orders", end: str = "2024-03-06", batch: str = "web") -> None:
    times = pd.date_range(end=end, periods=days + 1, freq="1D", inclusive="left").astype("datetime64[us]")
    values = np.random.default_rng(0).normal(100, 5, days)
    rows = {"metric_name": name, "metric_type": "metric", "metric_timestamp": times, "metric_value": values}
    MetricStore(EmbeddedDuckDBHook(database), "metrics", batch).replace(pd.DataFrame({**rows, "metadata": None}))


def count(query: Callable[[str], Any], where: str = "true") -> int:
    return int(query(f"SELECT count(*) FROM metrics WHERE {where}")[0][0])


# --- delete


def test_rows_deliveries_and_models_are_counted(operator: Make, database: Path, query: Callable[[str], Any]) -> None:
    put(database)
    put(database, batch="other")
    config = {**BASE, "delete_after_n_days": 20}
    Task(operator(AnomstackScoreOperator, config=config)).run()
    ledger = DeliveryLedger(EmbeddedDuckDBHook(database), "metrics", "web")
    ledger.record([Delivery("e", "opened", "email", "web", "{}", "sent")], at("2024-01-01"))
    ledger.record([Delivery("f", "opened", "email", "web", "{}", "pending")], at("2024-01-01"))
    orphan = database.parent / "models" / "web" / "20200101T000000Z-old" / "0-of-1" / "manifest.json"
    orphan.parent.mkdir(parents=True)
    orphan.write_text("{}")
    os.utime(orphan, (0, 0))
    left = Task(operator(AnomstackDeleteOperator, config=config)).run()
    assert left == {"before": "2024-02-15T00:00:00+00:00", "rows": 40, "deliveries": 1, "models": 1}
    assert count(query, "metric_batch = 'web' AND metric_type = 'metric'") == 20
    assert count(query, "metric_batch = 'other'") == 60
    assert [delivery.event_id for delivery in ledger.unsent()] == ["f"]
    again = Task(operator(AnomstackDeleteOperator, config=config)).run()
    assert again == {"before": "2024-02-15T00:00:00+00:00", "rows": 0, "deliveries": 0, "models": 0}


def test_a_run_without_an_interval_counts_from_the_schedule_of_deleting(operator: Make, database: Path) -> None:
    put(database)
    config = {**BASE, "delete_after_n_days": 20, "delete_cron_schedule": "0 6 * * *"}
    run = Task(operator(AnomstackDeleteOperator, config=config), interval=None, run_after="2024-03-06T05:00:00")
    assert run.run()["before"] == "2024-02-14T06:00:00+00:00"


def test_a_batchs_own_statement_deletes_instead(
    operator: Make, database: Path, metrics_dir: Callable[..., str], query: Callable[[str], Any]
) -> None:
    put(database)
    text = "DELETE FROM {{ table_key }} WHERE metric_batch = '{{ metric_batch }}' AND metric_timestamp < "
    folder = metrics_dir(
        web_yaml="""
            metric_batch: web
            ingest_sql: SELECT 1
            delete_after_n_days: 20
            delete_sql: '{% include "./sql/delete.sql" %}'
        """,
        sql__delete_sql=text + "'{{ as_of }}'::TIMESTAMPTZ - INTERVAL {{ delete_after_n_days // 2 }} DAY;\n",
    )
    task = operator(AnomstackDeleteOperator, metric_batch="web", metrics_dir=folder)
    left = Task(task).run()
    assert left["rows"] == 50
    assert count(query) == 10
    assert Task(task).run()["rows"] == 0


def test_what_cannot_be_deleted_fails_after_all_else_was(
    operator: Make, database: Path, query: Callable[[str], Any]
) -> None:
    put(database)
    run = Task(operator(AnomstackDeleteOperator, config={**BASE, "delete_sql": "DELETE FROM nowhere"}))
    with pytest.raises(AirflowException, match=r"batch 'web': not all could be deleted\nrows: SourceError: .*nowhere"):
        run.run()
    assert run.ti.pushed["return_value"].keys() == {"before", "deliveries", "models"}
    (database.parent / "models").write_text("a file where a folder should be")
    run = Task(operator(AnomstackDeleteOperator, config={**BASE, "delete_after_n_days": 20}))
    with pytest.raises(AirflowException, match="models: ModelStoreUnavailable"):
        run.run()
    assert run.ti.pushed["return_value"] == {"before": "2024-02-15T00:00:00+00:00", "rows": 40, "deliveries": 0}
    assert count(query) == 20


# --- plot


def picture_of(database: Path) -> Path:
    return database.parent / "models" / "plots" / "web" / "latest.png"


def test_the_newest_picture_is_kept_beside_the_models(operator: Make, database: Path) -> None:
    put(database)
    draw = operator(AnomstackPlotOperator, config=BASE)
    left = Task(draw).run()
    path = picture_of(database)
    assert left == {"path": f"file://{path}", "metrics": 1, "left_out": 0}
    first = path.read_bytes()
    with Image.open(io.BytesIO(first)) as image:
        assert image.format == "PNG"
    assert plot.drawn_as_of(first) == at("2024-03-06")
    # A backfill of an earlier day leaves it, the same run draws the same again, a later run replaces it.
    with pytest.raises(AirflowSkipException, match="a picture as of 2024-03-06 00:00:00"):
        Task(draw, ("2024-03-01", "2024-03-02"), run_type="backfill").run()
    Task(draw).run()
    assert path.read_bytes() == first
    Task(draw, ("2024-03-06", "2024-03-07")).run()
    assert plot.drawn_as_of(path.read_bytes()) == at("2024-03-07")
    assert [file.name for file in path.parent.iterdir()] == ["latest.png"]


def test_a_run_without_a_tick_or_without_rows_is_skipped_with_the_reason(operator: Make, database: Path) -> None:
    with pytest.raises(AirflowSkipException, match="'web' has nothing to draw yet"):
        Task(operator(AnomstackPlotOperator, config=BASE)).run()
    put(database)
    mondays = operator(AnomstackPlotOperator, config={**BASE, "plot_cron_schedule": "0 0 * * 1"})
    with pytest.raises(AirflowSkipException, match=r"not due: no tick of '0 0 \* \* 1' from 2024-03-05"):
        Task(mondays).run()
    assert not picture_of(database).exists()
    assert Task(mondays, ("2024-03-04", "2024-03-05")).run()["metrics"] == 1


def test_a_score_that_cannot_be_read_keeps_one_metric_out_of_the_picture(operator: Make, database: Path) -> None:
    bad = pd.DataFrame({"metric_name": ["cut"], "metric_type": "score", "metric_value": 0.5})
    bad = bad.assign(metric_timestamp=pd.Timestamp("2024-03-01").as_unit("us"), metadata='{"value": 1, "grain": "1')
    put(database, name="cut")
    MetricStore(EmbeddedDuckDBHook(database), "metrics", "web").replace(bad)
    with pytest.raises(AirflowFailException, match="cut: one of its score rows has metadata that cannot be read"):
        Task(operator(AnomstackPlotOperator, config=BASE)).run()
    assert not picture_of(database).exists()
    put(database)
    with pytest.raises(AirflowFailException, match="1 drawn, these cannot be:\n  cut: "):
        Task(operator(AnomstackPlotOperator, config=BASE)).run()
    assert plot.drawn_as_of(picture_of(database).read_bytes()) == at("2024-03-06")


def test_a_damaged_picture_is_replaced(operator: Make, database: Path) -> None:
    put(database)
    picture_of(database).parent.mkdir(parents=True)
    picture_of(database).write_bytes(b"half a pict")
    Task(operator(AnomstackPlotOperator, config=BASE)).run()
    assert plot.drawn_as_of(picture_of(database).read_bytes()) == at("2024-03-06")


def test_a_batchs_own_query_reads_instead(operator: Make, database: Path) -> None:
    put(database)
    sql = """
        SELECT metric_timestamp, metric_name || ' of ' || '{{ ds }}' AS metric_name, metric_value * 2 AS metric_value
        FROM {{ table_key }} WHERE metric_batch = '{{ metric_batch }}' AND metric_timestamp < '{{ as_of }}'
    """
    Task(operator(AnomstackPlotOperator, config={**BASE, "plot_sql": sql})).run()
    own = picture_of(database).read_bytes()
    Task(operator(AnomstackPlotOperator, config=BASE)).run()
    assert picture_of(database).read_bytes() != own
    with pytest.raises(plot.PointsRefused, match="plot_sql: the result has no column metric_timestamp, metric_name"):
        Task(operator(AnomstackPlotOperator, config={**BASE, "plot_sql": "SELECT 1 AS metric_value"})).run()


# --- summary_sql


def test_a_batchs_own_query_counts_for_the_summary(
    operator: Make, database: Path, metrics_dir: Callable[..., str], mails: list[Any]
) -> None:
    put(database)
    folder = metrics_dir(
        web_yaml="""
            metric_batch: web
            ingest_sql: SELECT 1
            email_to: a@example.com
            summary_sql: |
              SELECT 'web' AS metric_batch, 'orders' AS metric_name, now() AS metric_timestamp_max,
                {{ summary_metric_timestamp_max_days_ago }} * 7 AS n_metric, 5 AS n_score, 3 AS n_alert
              UNION ALL SELECT 'another', 'x', now(), 1000, 1000, 1000
        """
    )
    summary = operator(AnomstackSummaryOperator, batches=["web"], method="email", metrics_dir=folder, cron="0 9 * * *")
    assert Task(summary).run() == {"batches": 1, "alerts": 3, "not_evaluated": 1, "unreadable": 0}
    text = mails[0].get_body(("plain",)).get_content()
    assert "web: 3 alerts; 1 metric with 7 values; 5 scores; alerts: orders 3" in text


# --- check


def check(operator: Make, folder: str) -> Any:
    return operator(AnomstackCheckOperator, metrics_dir=folder, cron="30 6 * * *")


def batch(name: str, **keys: Any) -> str:
    return json.dumps({**BASE, "metric_batch": name, "alert_methods": [], **keys})


def broken(operator: Make, folder: str) -> dict[str, Any]:
    run = Task(check(operator, folder))
    with pytest.raises(AirflowFailException) as caught:
        run.run()
    report: dict[str, Any] = run.ti.pushed["return_value"]
    lines = [f"{name}: {text}" for name, texts in report["broken"].items() for text in texts]
    assert str(caught.value) == "\n".join(lines)
    return report


def test_all_is_well(operator: Make, database: Path, metrics_dir: Callable[..., str]) -> None:
    put(database)
    folder = metrics_dir(web_yaml=batch("web"), off_yaml=batch("off", disable_batch=True, conn_id="not_there"))
    Task(operator(AnomstackScoreOperator, config={**BASE, "alert_methods": []})).run()
    assert Task(check(operator, folder)).run() == {"batches": 1, "broken": {}, "warnings": {}}
    assert list((database.parent / "models").rglob("*.txt")) == []


def test_a_new_batch_is_warned_of_and_not_broken(operator: Make, metrics_dir: Callable[..., str]) -> None:
    left = Task(check(operator, metrics_dir(web_yaml=batch("web")))).run()
    assert left["broken"] == {}
    assert left["warnings"] == {
        "web": [
            "metrics table: there is no table 'metrics' yet: nothing was ingested",
            "models: all models are missing; the next run trains them",
        ]
    }


def test_old_data_other_models_and_keys_without_effect_are_warnings(
    operator: Make, database: Path, metrics_dir: Callable[..., str]
) -> None:
    put(database, end="2024-02-20")
    Task(operator(AnomstackScoreOperator, config=BASE), ("2024-02-18", "2024-02-19")).run()
    folder = metrics_dir(
        web_yaml=batch("web", train_min_n=20, false_alarms_per_month=2, recipe="anomstack"),
        weekly_yaml=batch("weekly", schedule="@hourly"),
    )
    times = pd.date_range(end="2024-02-26", periods=9, freq="7D").astype("datetime64[us]")
    rows = {"metric_name": "m", "metric_type": "metric", "metric_timestamp": times, "metric_value": 1.0}
    MetricStore(EmbeddedDuckDBHook(database), "metrics", "weekly").replace(pd.DataFrame({**rows, "metadata": None}))
    left = Task(check(operator, folder)).run()
    assert left["broken"] == {}
    keys, data, models = left["warnings"]["web"]
    assert keys.startswith("keys: ")
    assert "false_alarms_per_month: no effect with recipe anomstack" in keys
    assert data == (
        "metrics table: the newest row is of 2024-02-19 00:00 UTC, expected one of the 3d before 2024-03-06 00:00 UTC"
    )
    assert models == "models: all models are of another config; the next run trains them"
    # Every hour it is asked for rows of weeks: the newest is as old as they get.
    assert left["warnings"]["weekly"] == ["models: all models are missing; the next run trains them"]


def test_models_that_are_refused_or_due_for_long(
    operator: Make, database: Path, metrics_dir: Callable[..., str]
) -> None:
    put(database)
    config = {**BASE, "alert_methods": []}
    Task(operator(AnomstackScoreOperator, config=config)).run()
    folder = metrics_dir(web_yaml=json.dumps(config))
    newest = max((database.parent / "models" / "web").iterdir())
    (newest / "0-of-1" / "manifest.json").write_text("{}")
    (warning,) = Task(check(operator, folder)).run()["warnings"]["web"]
    assert warning.startswith("models: The models of batch 'web'")
    assert warning.endswith("Scoring trains them again.")
    (newest / "0-of-1" / "manifest.json").unlink()
    put(database, end="2024-03-20")
    left = Task(check(operator, folder), ("2024-03-19", "2024-03-20")).run()
    due, missing = left["warnings"]["web"]
    assert due == "models: the newest ones are as of 2024-03-05 00:00 UTC, due since 2024-03-18 00:00 UTC"
    assert missing == "models: shard 0 of 1 has none as of 2024-03-05 00:00 UTC; scoring trains them"


def test_every_broken_part_is_named_and_no_batch_stops_another(
    operator: Make, database: Path, metrics_dir: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    put(database, batch="fine")
    (tmp_path / "no_folder").write_text("a file")
    nobody = {"conn_type": "postgres", "host": "127.0.0.1", "port": 1, "login": "x", "password": "hidden"}
    monkeypatch.setenv("AIRFLOW_CONN_NOBODY_LISTENS", json.dumps(nobody))
    with duckdb.connect(str(database)) as connection:
        connection.execute("CREATE TABLE half (metric_timestamp TIMESTAMP, metric_batch VARCHAR)")
    quiet = {"disable_train": True, "disable_score": True}
    folder = metrics_dir(
        one_yaml=batch("a columns", table_key="half"),
        two_yaml=batch("b database", conn_id="nobody_listens", **quiet),
        three_yaml=batch("c database too", conn_id="nobody_listens", **quiet),
        four_yaml=batch("d store", model_path=str(tmp_path / "no_folder" / "models")),
        five_yaml=batch("e channel", alert_methods=["slack"], slack_channel="#x"),
        six_yaml=batch("f connection", conn_id="not_there"),
        seven_yaml=batch("fine"),
        eight_yaml=batch("g bucket", model_path="s3://nobodys_aws@bucket/models"),
        bad_yaml="metric_batch: unreadable\nshards: 0\n",  # the health DAG's
    )
    report = broken(operator, folder)
    found = report["broken"]
    assert report["batches"] == 8
    assert set(found) == {"a columns", "b database", "d store", "e channel", "f connection", "g bucket"}
    (columns,) = found["a columns"]
    assert columns.startswith("metrics table: ")
    assert "metric_name" in columns
    (answer,) = found["b database"]  # and not once more for the next batch, nor for its table and ledger
    assert answer.startswith("database: SourceError: connection 'nobody_listens' refused the SQL")
    assert "hidden" not in answer
    (store,) = found["d store"]
    assert store.startswith("model store: ModelStoreUnavailable: ")
    (bucket,) = found["g bucket"]
    assert bucket.startswith("model store: ")
    assert "nobodys_aws" in bucket
    assert found["e channel"] == [
        "connections: no Airflow connection 'slack_api_default' (slack_conn_id); create it or name another"
    ]
    assert found["f connection"][0].startswith("connections: no Airflow connection 'not_there' (conn_id)")


def test_a_batch_that_begins_paused_is_warned_of_and_hides_nothing(
    operator: Make, metrics_dir: Callable[..., str]
) -> None:
    """It comes first in the alphabet, and what it shares with another is broken for that one."""
    paused = {"ingest_default_schedule_status": "STOPPED"}
    missing = "connections: no Airflow connection 'not_there' (conn_id); create it or name another"
    left = Task(check(operator, metrics_dir(a_yaml=batch("a", conn_id="not_there", **paused)))).run()
    assert left["broken"] == {}
    assert left["warnings"]["a"][0] == missing
    both = metrics_dir(
        a_yaml=batch("a", conn_id="not_there", **paused),
        b_yaml=batch("b", conn_id="not_there"),
    )
    found = broken(operator, both)
    assert list(found["broken"]) == ["b"]
    assert found["broken"]["b"][0] == missing
    assert any(text.startswith("database: ") for text in found["broken"]["b"])


def test_deliveries_that_were_refused_or_given_up_are_broken(
    operator: Make, database: Path, metrics_dir: Callable[..., str]
) -> None:
    put(database)
    ledger = DeliveryLedger(EmbeddedDuckDBHook(database), "metrics", "web")
    ledger.record([Delivery(f"e{n}", "opened", "email", "web", "{}") for n in range(3)], at("2024-03-01"))
    ledger.record([Delivery("e0", "opened", "pager", "web", "{}")], at("2024-03-01"))
    mine = ledger.claim("task", at("2024-03-01"), timedelta(minutes=10))
    ledger.settle(mine[:2], "abandoned", "550 no such user\nTraceback ...")
    ledger.settle(mine[3:], "failed", None)
    found = broken(operator, metrics_dir(web_yaml=batch("web")))["broken"]["web"]
    assert found == [
        "deliveries: 2 to email given up, such as e1: 550 no such user",
        "deliveries: 1 to pager refused so far, such as e0: no reason noted",
    ]
